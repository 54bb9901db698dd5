#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# From blank disks to checked services, on fake nodes: stages in their order,
# failures of each, plan, drift and checks, host files, certificates, the order
# of nodes.
# shellcheck source=tests/fs/lib.sh
. "$ROOT/tests/fs/lib.sh"
fake 10ms
cd "$M" || exit 1
seq() { tail -n 1 events | jq .seq; }
# what SEQ FILTER: events after number SEQ.
what() { jq -r --argjson after "$1" "select(.seq > \$after) | $2" events; }
# words SEQ WORDS NODE...: the states that nodes came into, those of WORDS alone.
words() {
	local after=$1 of=$2
	shift 2
	what "$after" "select(.change == \"state\") | .object + \" \" + .to" |
		awk -v of="$of" -v nodes="$*" '
			index(" " of " ", " " $2 " ") && sub("nodes/", "") &&
			index(" " nodes " ", " " $1 " ") {
				print nodes ~ / / ? $1 : $2 }' | uniq | tr '\n' ' '
}
stages() { awk '{ print $1 ":" $2 }' "nodes/$1/progress" | tr '\n' ' '; }
empty() { [ ! -s "$1" ]; }
patch() { echo "$2" >>"$1" || not_ok "$1 takes $2: $(cat "${1%/*}/error")"; }

# --- nothing is asked for ---
is "no plan, no drift, no check" "$(cat plan drift checks)" ""
is "no authority" "$(cat ca.crt client/cert.pem client/key.pem)" ""
is "the operator's folder is private" "$(stat -c %a client client/key.pem | tr '\n' ' ')" "700 400 "
like "a summary" "$(tail -n 1 status)" '^cluster: down; nodes: 3 down$'

# --- a whole machine, each stage failing once ---
mkdir images/system
system='"disk":{"size":"1G","partitions":[
	{"size":"100%","filesystem":"ext4","mount":"/"}]},
	"install":{"image":"system"}'
cp "$ROOT/README.md" "$T/source"
cat >nodes/node01/spec <<JSON || not_ok "the spec: $(cat nodes/node01/error)"
{$system,
"volumes":{"data":{"size":"64M","filesystem":"ext4","mount":"/srv"}},
"files":{"/etc/motd":{"content":"SECRET of a file"},"/etc/source":{"source":"source"}},
"run":{"first":{"command":["/bin/echo","SECRET of a command"]}},
"services":{"web":{"unit":"[Service]\nExecStart=/bin/SECRET\n","check":"tcp:80"},
	"db":{"unit":"[Service]\nExecStart=/bin/db\n","required":true}},
"tls":{"names":["web.example"]},
"fake":{"fail":["install"]}}
JSON
before=$(seq)
echo up >nodes/node01/state
for stage in install configure run services; do
	fails "it fails in $stage" settle node01
	like "... says error" "$(cat nodes/node01/error)" "^failed: $stage: .*fake.fail"
	like "... says plan" "$(cat plan)" "^node01 +failed +$stage: .*\`up\` tries again"
	like "... says progress" "$(cat nodes/node01/progress)" "^$stage +failed"
	like "... says status" "$(cat status)" "^node01 +failed .* $stage: "
	[ $stage != install ] || is "nothing is installed" \
		"$(json nodes/node01/status.json .installed)" null
	case $stage in
	install) patch nodes/node01/spec '{"fake":{"fail":["configure"]}}' ;;
	configure) patch nodes/node01/spec '{"fake":{"fail":["run"]}}' ;;
	run) patch nodes/node01/spec '{"fake":{"fail":["services"]}}' ;;
	services) echo up >nodes/node01/state ;;
	esac
done
is "then it is up" "$(settle node01)" up
is "through every stage" "$(stages node01)" \
	"machine:done boot:done ssh:done partition:done install:done configure:done run:done services:done "
is "one after the other" \
	"$(words "$before" "partitioning installing configuring failed up" node01 |
		sed 's/failed partitioning/failed/g')" \
	"partitioning installing failed installing partitioning configuring failed configuring failed configuring failed configuring up "
is "the plan is empty" "$(cat plan)" ""
is "and so is drift" "$(cat drift)" ""

# --- what it says of itself ---
status() { json nodes/node01/status.json "$1"; }
is "it runs from its disk" "$(status '.from_disk, .machine.launch' | tr '\n' ' ')" "true 2 "
like "what is installed" "$(status .installed.digest)" .
is "volumes" "$(status '.volumes[] | [.name, .filesystem, .mount, .made] | join(" ")')" \
	"data ext4 /srv true"
is "nothing differs" "$(status '.drift.differs | length')" 0
like "... and when it was looked at" "$(status .drift.looked)" '^20.*Z$'
is "the certificate's end" "$(date -d "$(status .tls.not_after)" +%s)" \
	"$(awk '$1 ~ /^rackfs_node_certificate_end/ { print int($2) }' metrics.prom)"
passing() { [ "$(grep -c ' pass ' checks)" = "$1" ]; }
eventually "checks pass" 30 passing 2
like "a line each" "$(cat checks)" '^node01\.web +pass +20[0-9T:-]+Z  .'
is "as status.json has it" "$(status '.checks[] | [.name, .state] | join(" ")')" \
	"$(awk '{ print $1, $2 }' checks)"
is "metrics" "$(awk '/^rackfs_check_pass/ { print $2 }' metrics.prom | tr '\n' ' ')" "1 1 "
like "the summary counts them" "$(tail -n 1 status)" '; checks: 2 pass$'

# --- certificates ---
t "the operator's certificate is by the authority" \
	openssl verify -CAfile ca.crt client/cert.pem
is "the key is its key" "$(openssl pkey -in client/key.pem -pubout)" \
	"$(openssl x509 -in client/cert.pem -noout -pubkey)"
t "the node's too" openssl verify -CAfile ca.crt "$S/nodes/node01/tls.crt"
like "for its names" "$(openssl x509 -in "$S/nodes/node01/tls.crt" -noout -ext subjectAltName)" \
	'DNS:node01, DNS:node01.cluster.internal,.*DNS:web.example,.*IP Address:10.36.0.11'
is "ca.crt has a true size" "$(stat -c %s ca.crt)" "$(wc -c <ca.crt)"
refused "nobody writes the key" EACCES write client/key.pem </dev/null
refused "nothing is made there" EPERM create client/x

# The node's certificate as it would be with so much time left.
cert=$S/nodes/node01/tls.crt
cat >"$T/ca.conf" <<CONFIG
[ca]
default_ca = authority
[authority]
database = $T/database
new_certs_dir = $T
rand_serial = yes
unique_subject = no
default_md = sha256
policy = policy
[policy]
commonName = supplied
CONFIG
touch "$T/database"
{
	echo "extendedKeyUsage=serverAuth,clientAuth"
	openssl x509 -in "$cert" -noout -ext subjectAltName |
		sed '1d; s/^ */subjectAltName=/; s/IP Address/IP/g'
} >"$T/names"
lasts() { # lasts TIME: as date(1) has it
	openssl req -new -subj /CN=node01 -key "$S/nodes/node01/tls.key" \
		-out "$T/request" &&
		openssl ca -batch -notext -config "$T/ca.conf" -in "$T/request" \
			-cert "$S/tls/ca.crt" -keyfile "$S/tls/ca.key" \
			-enddate "$(date -u -d "$1" +%y%m%d%H%M%SZ)" \
			-extfile "$T/names" -out "$cert.new" 2>"$T/ca.log" &&
		mv "$cert.new" "$cert" && return
	not_ok "a certificate until $1"
	note <"$T/ca.log"
}
end=$(json nodes/node01/status.json .tls.not_after)
before=$(seq)
lasts "+200 days"
echo up >nodes/node01/state
is "a certificate with time left" "$(settle node01)" up
is "... stays" "$(what "$before" 'select(.change == "certificate") | .why')" ""
lasts "+2 hours"
echo up >nodes/node01/state
is "one that is near its end" "$(settle node01)" up
like "... is renewed" "$(what "$before" 'select(.change == "certificate") | .why')" \
	'made for 365 days'
is "... by the same authority, for as long" "$(openssl verify -CAfile ca.crt "$cert" >"$T/out"
	echo $?) $(json nodes/node01/status.json '.tls.not_after >= "'"$end"'"')" "0 true"
before=$(seq)
patch spec '{"tls":{"days":30}}'
settle node01 >/dev/null
like "a shorter life is at once" \
	"$(what "$before" 'select(.change == "certificate") | .why')" 'made for 30 days'
patch spec '{"domain":"other.internal"}'
settle node01 >/dev/null
like "another domain is another name" \
	"$(openssl x509 -in "$cert" -noout -ext subjectAltName)" 'DNS:node01.other.internal'
patch nodes/node01/spec '{"nics":{"lan":{"address":"10.36.0.77"}}}'
settle node01 >/dev/null
like "another address too" \
	"$(openssl x509 -in "$cert" -noout -ext subjectAltName)" 'IP Address:10.36.0.77'

# --- required: a node that does not serve has failed; others go on ---
patch nodes/node01/spec '{"fake":{"fail":["check"],"fail_times":6}}'
failing=$(seq)

# --- a host file that comes, changes, and goes ---
patch nodes/node02/spec '{"files":{"/opt/x":{"source":"not-yet"}}}'
echo up >nodes/node02/state
fails "a host file that is not there" settle node02
like "is told" "$(cat nodes/node02/error)" "^failed: configure: .*$T/not-yet"
echo one >"$T/not-yet"
eventually "one that appears is used" 10 reads nodes/node02/state up
settle node02 >/dev/null
before=$(seq)
echo two >"$T/new"
mv "$T/new" "$T/not-yet"
changed() { what "$before" 'select(.change == "source") | .why'; }
told() { [ "$(changed)" = "$T/not-yet changed" ]; }
eventually "one that changes is an event" 10 told
settle node02 >/dev/null
t "the node stayed up" reads nodes/node02/state up
like "and was set up anew" "$(json nodes/node02/status.json .drift.looked)" "$(
	what "$before" 'select(.change == "source") | .time[0:17]' | head -n 1)"
patch nodes/node02/spec '{"run":{"x":{"command":["/opt/x"]}},"fake":{"fail":["run"]}}'
fails "a command that it brings fails" settle node02
echo three >"$T/new"
mv "$T/new" "$T/not-yet"
eventually "... and is run again when the file was mended" 10 \
	reads nodes/node02/state up
settle node02 >/dev/null

# --- drift: reported, then repaired ---
echo files./opt/x >"$R/nodes/node02/fake-drift"
before=$(seq)
patch spec '{"on_drift":"report","observe_every":"1s"}'
eventually "drift is seen" 10 test -s drift
like "what and when" "$(cat drift)" '^node02  files\./opt/x  20[0-9T:-]+Z  changed$'
like "it is left alone" "$(cat plan)" '^node02  drift +files\./opt/x: changed; on_drift is report'
is "the node is up and settled" "$(settle node02)" up
like "metrics" "$(cat metrics.prom)" '^rackfs_node_drift\{node="node02"\} 1$'
looked() { json nodes/node02/status.json .drift.looked; }
once=$(looked)
looks_again() { [ "$(looked)" != "$once" ]; }
eventually "looks go on" 10 looks_again
is "one event" "$(what "$before" 'select(.change == "drift") | .why')" "files./opt/x: changed"

# --- the required service ---
has_failed() { [ "$(words "$failing" failed node01)" = "failed " ]; }
eventually "a required service that fails makes its node failed" 60 has_failed
like "it is named" "$(what "$failing" 'select(.to == "failed") | .why')" \
	'the check of db failed 3 times in a row'
is "it is settled" "$(call read wait/node01)" EIO
kill -KILL "$(cat "$R/daemon.pid")"
eventually "once it passes the node is up again, whatever daemon asks" 60 \
	reads nodes/node01/state up
is "results are events" "$(what "$failing" \
	'select(.change == "check" and (.why | startswith("node01.db:"))) | .to' | tr '\n' ' ')" \
	"fail pass "

# --- a restart is no repair, and makes no result of a check doubtful ---
patch spec '{"checks":{"count":{"from":"host","every":"10m",
	"command":["sh","-c","echo >>ran"]}}}'
ran() { [ "$(wc -l <"$T/ran")" = "$1" ]; }
eventually "a check of this host" 10 grep -q '^count *pass' checks
before=$(seq)
results=$(cat checks)
cd "$T" || exit 1
kill_daemon
# shellcheck disable=SC2119
start_daemon
cd "$M" || exit 1
is "results of checks are kept" "$(cat checks)" "$results"
eventually "they are made again at once" 30 ran 2
is "and have not changed" "$(cat checks)" "$results"
is "none is an event" "$(what "$before" 'select(.change == "check") | .why')" ""

# --- nodes that come and go keep no check from its time ---
echo '{}' >nodes/node03/spec
patch spec '{"checks":{"count":{"every":"1s"}}}'
before=$(wc -l <"$T/ran")
come_and_go() {
	echo up >nodes/node03/state
	echo down >nodes/node03/state
	[ "$(wc -l <"$T/ran")" -gt $((before + 2)) ]
}
eventually "checks are made while nodes come and go" 30 come_and_go
is "node03 is down" "$(settle node03)" down
patch spec '{"checks":null}'
settle node02 >/dev/null
eventually "a new daemon sees it" 10 test -s drift
t "and leaves it alone" grep -q /opt/x "$R/nodes/node02/fake-drift"
patch spec '{"on_drift":"repair"}'
eventually "it is repaired when that is asked for" 10 empty drift
settle node02 >/dev/null
t "in the guest" empty "$R/nodes/node02/fake-drift"
patch spec '{"on_drift":null,"observe_every":"0s"}'

# --- a spec that changes while the one before is carried out ---
settle node01 >/dev/null
patch spec '{"on_drift":"report","observe_every":"1s"}'
patch nodes/node01/spec '{"fake":{"delay":"500ms"},"files":{"/etc/motd":{"content":"one"}}}'
eventually "files are on their way" 10 grep -q '^node01 .*files are put' plan
patch nodes/node01/spec '{"files":{"/etc/motd":{"content":"two"}}}'
is "... and others come" "$(settle node01)" up
once=$(status .drift.looked)
looked_since() { [ "$(status .drift.looked)" != "$once" ]; }
eventually "a look" 10 looked_since
is "... finds the last" "$(cat drift)" ""
patch spec '{"on_drift":null,"observe_every":"0s"}'
patch nodes/node01/spec '{"fake":{"delay":null}}'

# --- volumes of a machine that runs ---
settle node01 >/dev/null
launch=$(status .machine.launch)
patch nodes/node01/spec '{"volumes":{"data":{"size":"128M"},
	"more":{"size":"64M","filesystem":"ext4","mount":"/more"}}}'
is "a volume grows, another comes" "$(settle node01)" up
is "nothing waits for a restart" "$(status '.restart_required | tostring')" "[]"
is "in the same run" "$(status .machine.launch)" "$launch"
size_of() { awk '{ print $6 }' "$S/nodes/node01/fake-disk-$1"; }
is "with their sizes" "$(size_of data) $(size_of more)" "134217728 67108864"
is "both are made" "$(status '.volumes[].made' | tr '\n' ' ')" "true true "
patch nodes/node01/spec '{"volumes":{"more":null}}'
is "one that leaves the spec" "$(settle node01)" up
is "... stays until the next start" "$(status '.restart_required | tostring')" \
	'["volumes.more"]'
like "... says plan" "$(cat plan)" '^node01 +restart required +volumes.more.*next start'
cd "$T" || exit 1
kill_daemon
# shellcheck disable=SC2119
start_daemon
cd "$M" || exit 1
settle node01 >/dev/null
is "... after a restart of the daemon too" \
	"$(status '.restart_required | tostring')" '["volumes.more"]'
patch nodes/node01/spec '{"boot":{"firmware":"uefi"}}'
is "a boot loader comes with an install only" "$(settle node01) $(
	status '.wipe_required | tostring')" 'up ["boot.firmware"]'
patch nodes/node01/spec '{"boot":null}'
patch nodes/node01/spec '{"volumes":{"data":{"filesystem":"vfat"}}}'
is "another file system is not acted on" "$(settle node01) $(
	status '.wipe_required | tostring')" 'up ["volumes.data.filesystem"]'
echo down >nodes/node01/state
settle node01 >/dev/null
echo wipe >nodes/node01/state
settle node01 >/dev/null
is "wipe takes those that left the spec too" \
	"$(find "$S/nodes/node01" -name 'fake-disk*')" ""
patch nodes/node01/spec '{"volumes":null}'

# --- order ---
patch nodes/node02/spec '{"files":null}'
echo down >nodes/node02/state
settle node02 >/dev/null
mkdir nodes/node04
patch nodes/node03/spec '{"after":["node02"]}'
patch nodes/node04/spec '{"after":["node03"]}'
refused "a cycle is refused" EINVAL append nodes/node02/spec <<<'{"after":["node04"]}'
like "and named" "$(cat nodes/node02/error)" 'node04.*node02|node02.*node04'
refused "a node that is not there" ENOENT append nodes/node02/spec <<<'{"after":["none"]}'
before=$(seq)
echo up >state
like "who comes after waits" "$(cat plan)" '^node04 +machine +waits for node03 to be up'
is "all are up" "$(settle)" up
is "in their order" "$(words "$before" up node02 node03 node04)" \
	"node02 node03 node04 "
before=$(seq)
echo down >state
settle >/dev/null
is "down in reverse" "$(words "$before" down node02 node03 node04)" \
	"node04 node03 node02 "
patch nodes/node02/spec '{"fake":{"fail":["ssh"]}}'
echo up >state
fails "one that fails" settle node02
fails "... fails those after it" settle node03
like "... who say so" "$(cat nodes/node03/error)" '^failed: machine: it comes after node02'
echo up >nodes/node02/state
eventually "mended, they go on" 20 reads nodes/node04/state up

# --- secrets ---
fails "no secret is told" grep -rlE "SECRET|PRIVATE" \
	nodes/*/{status.json,log,progress,error} plan drift checks status \
	status.json events error inventory.json metrics.prom
