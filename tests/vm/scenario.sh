#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# make scenario: from blank disks to a Raft cluster whose health is a file; then
# what users do with such a cluster, on the same machines: a node goes and comes
# back, files drift, a host file changes, a unit fails.
# shellcheck source=tests/vm/lib.sh
. "$ROOT/tests/vm/lib.sh"
for port in 2201 2202 2203; do
	! taken $port || skip "the scenario needs port $port, and somebody has it"
done

export DEMO_DIR=$T/demo
mkdir -p "$DEMO_DIR/.rackfs/state"
cp -r "$ROOT/examples" "$DEMO_DIR/"
cp -a "$RACKFS_BUILD/cache" "$DEMO_DIR/.rackfs/state/" 2>/dev/null
cd "$DEMO_DIR" || exit 1
C=$DEMO_DIR/cluster
# What the common end of all tests takes away.
M=$C R=$DEMO_DIR/.rackfs/scenario/run S=$DEMO_DIR/.rackfs/scenario/state
raft=$ROOT/examples/raft-cluster
scenario() { timeout "$2" "$ROOT/examples/scenario" "$1" "$RACKFS" </dev/null 2>&1; }
# --- all of it --------------------------------------------------------------------
scenario start 700 >first
is "make scenario" $? 0
D=$(cat "$R/keeper.pid")
[ $bad = 0 ] || {
	note <first
	for node in node01 node02 node03; do
		tail -n 20 "$C/nodes/$node/log" | note
	done
}
# What it built serves the next run, and other tests.
cp -an "$DEMO_DIR"/.rackfs/state/cache/. "$RACKFS_BUILD/cache/" 2>/dev/null
is "the cluster is up" "$(cat "$C/state")" up
is "plan is empty" "$(cat "$C/plan")" ""
is "drift is empty" "$(cat "$C/drift")" ""
t "every check passes" "$raft/wait-for-checks" "$C" 60
like "the leader was killed, and nothing was lost" "$(cat first)" \
	'nothing lost'
for node in node01 node02 node03; do
	is "$node runs from its own disk" \
		"$(on $node 'stat -f -c %T /; cat /etc/hostname')" "ext2/ext3
$node"
done
t "the operator's certificate is the authority's" openssl verify \
	-CAfile "$C/ca.crt" "$C/client/cert.pem"
# With the operator's certificate, from this host, through a tunnel.
api=$(free_port)
ssh -N -F "$C/ssh_config" -o ExitOnForwardFailure=yes \
	-L "127.0.0.1:$api:10.36.0.11:2379" node01 </dev/null >/dev/null 2>&1 &
tunnel=$!
until_true 20 taken "$api"
ask() {
	curl -s --max-time 60 --resolve "node01:$api:127.0.0.1" \
		--cacert "$C/ca.crt" "$@" "https://node01:$api/health"
}
like "with it the operator is served" \
	"$(ask --cert "$C/client/cert.pem" --key "$C/client/key.pem")" \
	'"health":"true"'
fails "nobody is without one" ask
like "openssl agrees" "$(timeout 60 openssl s_client -brief -verify_return_error \
	-connect "127.0.0.1:$api" -verify_hostname node01.raft.internal \
	-CAfile "$C/ca.crt" -cert "$C/client/cert.pem" \
	-key "$C/client/key.pem" </dev/null 2>&1)" 'Verification: OK'
kill $tunnel
unlike "no private key is told anywhere" \
	"$(cat "$C/events" "$C"/nodes/*/log "$C/status.json")" 'PRIVATE KEY'

# --- once more --------------------------------------------------------------------
seq=$(tail -n 1 "$C/events" | jq .seq)
scenario start 200 >second
is "a second time" $? 0
like "there is nothing to do" "$(cat second)" 'nothing to do'
is "and nothing is done" "$(jq -c "select(.seq > $seq and .change != \"check\")" \
	"$C/events")" ""

# --- a node goes, and comes back from its own disk -------------------------------------
echo down >"$C/nodes/node02/state"
is "node02 is down" "$(timeout 60 cat "$C/wait/node02")" down
eventually "its checks say so" 60 grep -q '^node02.etcd *waiting' "$C/checks"
t "two go on" on node01 'etcdctl put --command-timeout=60s while two' >/dev/null
echo up >"$C/nodes/node02/state"
is "node02 is up again" "$(timeout 200 cat "$C/wait/node02")" up
is "it was not installed again" \
	"$(grep -c '"object":"nodes/node02".*"to":"installed"' "$C/events")" 1
t "it rejoins" "$raft/wait-for-checks" "$C" 120
like "and has what was written without it" \
	"$(on node02 'etcdctl get --print-value-only while')" two

# --- drift --------------------------------------------------------------------------
echo '{"observe_every":"3s","on_drift":"report"}' >>"$C/spec"
on node03 'echo 10.9.9.9 stranger >>/etc/hosts'
eventually "drift is seen" 60 grep -q 'node03.*hosts' "$C/drift"
is "and told, not mended" "$(on node03 'grep -c stranger /etc/hosts')" 1
echo '{"on_drift":"repair"}' >>"$C/spec"
eventually "and mended when it may be" 60 test ! -s "$C/drift"
fails "really" on node03 'grep stranger /etc/hosts'
echo '{"observe_every":"60s"}' >>"$C/spec"

# --- a host file that a spec names ------------------------------------------------------
eventually "all is quiet" 60 test ! -s "$C/plan"
echo '# a word more' >>examples/raft-cluster/etcd.env
eventually "its change is an event" 20 grep -q '"change":"source"' "$C/events"
timeout 200 cat "$C/wait/all" >/dev/null
like "it is pushed" "$(on node01 'cat /etc/etcd/etcd.env')" \
	'a word more'
t "what uses it works again" "$raft/wait-for-checks" "$C" 120

# --- a unit that fails -------------------------------------------------------------------
cat >>"$C/nodes/node03/spec" <<'SPEC'
{"services": {"bad": {"unit":
"[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo broken-thing >&2; exit 3'\n"
}}}
SPEC
fails "a unit that fails makes its node failed" timeout 120 \
	cat "$C/wait/node03"
like "error has its journal" "$(cat "$C/nodes/node03/error")" 'broken-thing'
echo '{"services":{"bad":null}}' >>"$C/nodes/node03/spec"
is "without it the node is up" "$(timeout 120 cat "$C/wait/node03")" up

# --- nothing is left -----------------------------------------------------------------------
scenario stop 200 >stopped
is "make scenario-stop" $? 0
D=
fails "nothing is mounted" mountpoint -q "$C"
