#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# examples/deploy-a-binary as its README has it, on a machine that is installed
# for it; then what else a service meets in its life, on the same machine: drift,
# checks, names, keys, certificates, volumes.
# shellcheck source=tests/vm/lib.sh
. "$ROOT/tests/vm/lib.sh"
for program in curl openssl ssh-keygen; do
	command -v $program >/dev/null || skip "$program is not here"
done
for port in 2201 8080; do
	! taken $port || skip "the example needs port $port, and somebody has it"
done
cp -r "$ROOT/examples" "$T/"
echo silent >"$T/.curlrc" # its output goes to no terminal
ln -s "$M" "$T/cluster"
cd "$T" || exit 1
spec=$M/nodes/node01/spec
patch() { echo "$2" >>"$1" || not_ok "$1 takes $2: $(cat "${1%/*}/error")"; }
seq() { tail -n 1 "$M/events" | jq .seq; }
# what SEQ FILTER: events after number SEQ.
what() { jq -r --argjson after "$1" "select(.seq > \$after) | $2" "$M/events"; }

# --- the README, word by word ------------------------------------------------------

# Lines of output as an expression: times are any, "..." is anything.
expression() {
	sed -E 's/[][\.*^$+?(){}|]/\\&/g; s/(\\\.){3}/.*/g; s/  +/ +/g
		s/20[0-9]{2}-[0-9-]+T[0-9:]+Z/[0-9TZ:-]+/g' <<<"$1"
}
follow() { # follow COMMAND OUTPUT
	local got
	case $1 in
	"build/rackfs cluster")
		share_image
		start_daemon
		return
		;;
	esac
	got=$(timeout 400 bash -c "$1" 2>&1)
	if [[ $got =~ ^$(expression "$2")$ ]]; then
		ok "\$ $1"
		return
	fi
	not_ok "\$ $1: not \"$2\" but"
	{
		echo "$got"
		cat "$M/status" "$M/nodes/node01/error" "$M"/images/*/error
		tail -n 15 "$M/nodes/node01/log"
	} 2>&1 | note
}
command='' output=''
while IFS= read -r line; do
	if [[ $line != '$ '* ]]; then
		output+=${output:+$'\n'}$line
		continue
	fi
	[ -z "$command" ] || follow "$command" "$output"
	command=${line#'$ '} output=''
done < <(awk '/^```/ { on = /console/; next } on' \
	examples/deploy-a-binary/README.md; echo '$ true')
is "the node is up" "$(cat "$M/nodes/node01/state")" up || exit 1

# --- a new version without a word -----------------------------------------------------

version() { [ "$(curl -s --max-time 5 http://127.0.0.1:8080/)" = "version $1" ]; }
make -s -C examples/deploy-a-binary VERSION=3
eventually "the file alone is enough" 60 version 3
settles node01 up "and the node is up"
fails "nothing leads outside without \`internet\`" on node01 \
	"timeout 3 bash -c '</dev/tcp/10.0.2.2/2201'"

# --- drift ------------------------------------------------------------------------------

patch "$spec" '{"services":{"helper":{"unit":
"[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"}}}'
settles node01 up "one more service"
patch "$M/spec" '{"observe_every":"2s","on_drift":"report"}'
# A look that takes longer than that comes to its end.
on node01 "printf '#!/bin/sh\nsleep 3\nexec /usr/bin/stat \"\$@\"\n' \
	>/usr/local/bin/stat; chmod 755 /usr/local/bin/stat
	systemctl stop helper; echo >>/etc/systemd/system/server.service"
eventually "a service that somebody stopped is seen" 60 \
	grep -qE '^node01 +services\.helper +20.*Z +' "$M/drift"
eventually "a file that somebody changed too" 60 \
	grep -qE '^node01 +services\.server\.unit +20.*Z +' "$M/drift"
on node01 rm /usr/local/bin/stat
like "plan says what would be done" "$(cat "$M/plan")" \
	'^node01 +drift +services\.helper: .*on_drift is report'
kill_daemon
again
settles node01 up "a new daemon"
eventually "... sees it as well" 60 grep -q 'services\.helper ' "$M/drift"
is "... and leaves it" "$(on node01 systemctl is-active helper)" inactive
patch "$M/spec" '{"on_drift":null}'
eventually "it is put right when it may be" 60 \
	on node01 systemctl is-active helper
eventually "all of it" 60 test ! -s "$M/drift"
settles node01 up "and the node is up again"
patch "$M/spec" '{"observe_every":"10m"}'
before=$(seq)
on node01 systemctl stop server
eventually "a required service that somebody stopped is back" 60 version 3
settles node01 up "and the node is up"
is "it had not failed" "$(what "$before" 'select(.to == "failed") | .object')" ""

# --- checks -------------------------------------------------------------------------------

patch "$M/spec" '{"checks":{
	"port":{"from":"node01","tcp":"node01:8080","every":"1s"},
	"said":{"from":"node01","command":["sh","-c","echo so; exit 1"],"every":"1s"},
	"endless":{"from":"node01","command":["sleep","1000"],"every":"1s",
		"timeout":"1s"}}}'
eventually "a check from a node" 30 grep -q '^port *pass' "$M/checks"
eventually "one that fails, with its words" 30 grep -q '^said *fail.*so$' "$M/checks"
eventually "one that never ends" 30 grep -q '^endless *fail' "$M/checks"
like "says so" "$(cat "$M/checks")" '^endless +fail +20.*Z +no end within 1 s'
eventually "and leaves nothing running" 30 on node01 "! pgrep -fx 'sleep 1000'"
patch "$M/spec" '{"checks":null}'

# --- order, and a service that is required -------------------------------------------------

patch "$spec" '{"services":{
	"first":{"required":true,"check":"exec:test -e /run/first","unit":
"[Service]\nExecStart=/bin/sh -c \"sleep 3; touch /run/first; exec sleep infinity\"\n"},
	"second":{"after":["first"],"unit":
"[Service]\nExecStart=/bin/sh -c \"stat -c %%Y /run/first >/run/second; exec sleep infinity\"\n"}}}'
settles node01 up "two services more"
like "the second started once the check of the first had passed" \
	"$(on node01 cat /run/second)" '^[0-9]+$'
eventually "the first passes" 30 grep -q '^node01.first *pass' "$M/checks"
before=$(seq)
on node01 rm /run/first
eventually "three failures make the node failed" 90 reads "$M/nodes/node01/state" failed
like "and say why" "$(cat "$M/nodes/node01/error")" \
	'^failed: services: the check of first failed 3 times in a row'
kill_daemon
again
is "as a new daemon knows" "$(cat "$M/nodes/node01/state")" failed
on node01 touch /run/first
eventually "passing mends it" 60 reads "$M/nodes/node01/state" up
is "as the events tell" "$(what "$before" \
	'select(.change == "check" and (.why | startswith("node01.first:"))) | .to' |
	tr '\n' ' ')" "fail pass "
patch "$spec" '{"services":{"first":null,"second":null}}'

# --- names and keys ---------------------------------------------------------------------------

settles node01 up "without them"
has_line() { on node01 grep -q ' node02$' /etc/hosts; }
has_none() { ! has_line; }
mkdir "$M/nodes/node02"
eventually "the line of a new node comes" 30 has_line
rmdir "$M/nodes/node02"
eventually "and goes" 30 has_none
ssh-keygen -q -t ed25519 -N '' -f "$T/mine"
login() {
	timeout 30 ssh -n -F /dev/null -o BatchMode=yes -o IdentitiesOnly=yes \
		-o UserKnownHostsFile="$M/known_hosts" -i "$T/mine" -p 2201 \
		root@127.0.0.1 true
}
fails "a stranger's key" login
patch "$M/spec" "{\"authorized_keys\":[\"$(cat "$T/mine.pub")\"]}"
eventually "is taken once the spec has it" 30 login
patch "$M/spec" '{"authorized_keys":null}'
no_login() { ! login; }
eventually "and not any more" 30 no_login

# --- certificates --------------------------------------------------------------------------------

patch "$spec" '{"tls":{"names":["web.example"]},
	"services":{"server":{"uses":["/usr/local/bin/server","/etc/rackfs/tls"]}}}'
settles node01 up "with a certificate"
started() { on node01 systemctl show -p MainPID server; }
theirs() { on node01 cat /etc/rackfs/tls/cert.pem; }
names() { theirs | openssl x509 -noout -ext subjectAltName; }
like "for its names" "$(names)" 'DNS:web.example, IP Address:10.36.0.11'
pid=$(started)
serial=$(theirs | openssl x509 -noout -serial)
patch "$M/spec" '{"tls":{"days":10}}'
eventually "a shorter life is another certificate" 30 sh -c \
	"[ '$serial' != \"\$(ssh -n -F $M/ssh_config node01 \
		cat /etc/rackfs/tls/cert.pem | openssl x509 -noout -serial)\" ]"
settles node01 up "which is there"
t "by the same authority" openssl verify -CAfile "$M/ca.crt" <(theirs)
is "what uses it was told" "$([ "$(started)" != "$pid" ]; echo $?)" 0
pid=$(started)
patch "$spec" '{"nics":{"lan":{"address":"10.36.0.77"}}}'
settles node01 up "another address"
like "is in the certificate" "$(names)" 'IP Address:10.36.0.77'
like "and on the NIC" "$(on node01 ip -4 -o addr show)" 'inet 10\.36\.0\.77/24'
is "what uses the certificate was told" "$([ "$(started)" != "$pid" ]; echo $?)" 0

# --- a volume --------------------------------------------------------------------------------------

patch "$spec" '{"volumes":{"data":{"size":"64M","filesystem":"ext4","mount":"/srv"}}}'
settles node01 up "a volume comes"
like "it is mounted" "$(on node01 findmnt -no SOURCE,FSTYPE /srv)" '^/dev/vd.* +ext4'
like "and will be" "$(on node01 cat /etc/fstab)" ' /srv ext4 '
t "it takes a file" on node01 "echo mine >/srv/file"
patch "$spec" '{"volumes":{"data":{"size":"128M"}}}'
settles node01 up "it grows"
is "to its new size" "$(on node01 "df -m /srv | awk 'END { print (\$2 > 100) }'")" 1
is "with what was on it" "$(on node01 cat /srv/file)" mine
is "nothing is left to do" "$(cat "$M/plan")" ""
