#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Files and commands of the spec in a machine that runs our netboot system:
# busybox and dropbear.  Put there, kept, changed, taken away again.
# shellcheck source=tests/vm/lib.sh
. "$ROOT/tests/vm/lib.sh"
start_cluster
mkdir "$M/nodes/node01"
spec=$M/nodes/node01/spec

# Thirty files, among them one of this host and one that is big.
head -c 3M /dev/urandom >"$T/big"
echo first >"$T/source"
jq -n --arg source "$T/source" --arg big "$T/big" '{
	memory: "256M",
	internet: true,
	files: (([range(28) | {key: "/opt/files/\(. % 5)/\(.)",
		value: {content: "file \(.)\n"}}] | from_entries) + {
		"/opt/source": {source: $source, mode: "0600"},
		"/opt/big": {source: $big, mode: "0755", owner: "0:0"}
	}),
	run: {
		two: {command: ["sh", "-c", "echo two >>/opt/ran"], after: ["one"]},
		one: {command: ["sh", "-c", "cat /opt/files/0/0 >/opt/ran"]}
	}
}' >"$spec"
echo up >"$M/nodes/node01/state"
settles node01 up "a machine with files and commands" || exit 1
is "all the files are there" "$(on node01 "cat /opt/files/*/* | wc -l")" 28
is "with what was written" "$(on node01 cat /opt/files/2/27)" "file 27"
is "with their modes" "$(on node01 stat -c %a:%U /opt/source /opt/big)" \
	"600:root
755:root"
is "a big one is whole" "$(on node01 sha256sum /opt/big | cut -c1-64)" \
	"$(sha256sum <"$T/big" | cut -c1-64)"
is "commands have run in their order" "$(on node01 cat /opt/ran)" "file 0
two"
is "nothing is left to do" "$(cat "$M/plan")" ""
sent() { grep -c 'files: sent' "$M/nodes/node01/log"; }
is "all went in one" "$(sent)" 1

# A host's file is watched.
echo second >"$T/source.new"
mv "$T/source.new" "$T/source"
# shellcheck disable=SC2317 # called by eventually
changed() { [ "$(on node01 cat /opt/source)" = second ]; }
eventually "a new version of a host's file is sent" 60 changed

# One that changes, or vanishes, while it is sent.
error() { cat "$M/nodes/node01/error"; }
# shellcheck disable=SC2317 # called by eventually
sending() { on node01 test -s /opt/.rackfs-new/sent; }
same() { # same WHAT: in the guest and on this host
	is "$1" "$(on node01 sha256sum /opt/sent | cut -c1-64)" \
		"$(sha256sum <"$T/sent" | cut -c1-64)"
}
anew() { # in one go, of SIZE
	head -c "$1" /dev/urandom >"$T/new"
	mv "$T/new" "$T/sent"
}
echo '{"observe_every":"0s"}' >>"$M/spec"
anew 24M
echo "{\"files\":{\"/opt/sent\":{\"source\":\"$T/sent\"}}}" >>"$spec"
eventually "a host file is sent" 60 sending
anew 1M
settles node01 up "it is replaced while it is sent"
same "the newer one is there"
anew 24M
eventually "another is sent" 60 sending
rm "$T/sent"
fails "it vanishes while it is sent" settle node01
like "... is told" "$(error)" \
	"^failed: configure: .*the host's file $T/sent can't be read: No such file"
# A whole one, which may be the one that was on its way.
unlike "... no part of it is there" "$(on node01 'ls -A /opt; wc -c </opt/sent')" \
	'rackfs-new|^[0-9]{1,6}$'
anew 2M
eventually "one that comes is used" 60 reads "$M/nodes/node01/state" up
settles node01 up "and settled"
same "it is the one in the guest"
# For ever.
anew 24M
(while [ ! -e "$T/enough" ]; do
	echo more >>"$T/sent"
	sleep 0.01
done) &
growing=$!
# shellcheck disable=SC2317 # called at the end
at_end() { touch "$T/enough"; }
eventually "one that changes again and again is told" 60 grep -q \
	"$T/sent changes while it is read: write it beside" \
	"$M/nodes/node01/log"
touch "$T/enough"
wait $growing
eventually "once that ends it is used" 60 reads "$M/nodes/node01/state" up
settles node01 up "and settled too"
same "it is whole"
is "nothing of all that is left to do" "$(cat "$M/plan")" ""
echo '{"observe_every":null}' >>"$M/spec"

# Somebody changes one in the guest.
on node01 "echo drift >/opt/files/0/5; chmod 600 /opt/files/0/10"
echo up >"$M/nodes/node01/state"
# shellcheck disable=SC2317 # called by eventually
mended() { [ "$(on node01 cat /opt/files/0/5)" = "file 5" ]; }
eventually "a file that somebody changed is put right" 60 mended
settles node01 up "and the node is up"
is "with its mode" "$(on node01 stat -c %a /opt/files/0/10)" 644

# The spec changes.
# shellcheck disable=SC2028 # an escape of JSON
echo '{"files":{"/opt/files/0/0":null,"/opt/files/1/1":{"content":"new\n"}},
	"run":{"two":{"command":["sh","-c","echo again >>/opt/ran"]}}}' >>"$spec"
settles node01 up "another spec"
fails "a file that left it is gone" on node01 test -e /opt/files/0/0
is "another has its new content" "$(on node01 cat /opt/files/1/1)" new
is "a command runs once for each content" "$(on node01 cat /opt/ran)" "file 0
two
again"

# Who may log in.
ssh-keygen -q -t ed25519 -N '' -f "$T/mine"
port=$(ssh -nTG -F "$M/ssh_config" node01 | awk '$1 == "port" { print $2 }')
# shellcheck disable=SC2317 # called by eventually
login() {
	timeout 30 ssh -n -F /dev/null -o BatchMode=yes -o IdentitiesOnly=yes \
		-o UserKnownHostsFile="$M/known_hosts" -i "$T/mine" -p "$port" \
		root@127.0.0.1 true
}
# shellcheck disable=SC2317 # called by eventually
no_login() { ! login; }
fails "a stranger's key" login
echo "{\"authorized_keys\":[\"$(cat "$T/mine.pub")\"]}" >>"$M/spec"
eventually "is taken once the spec has it" 30 login
echo '{"authorized_keys":null}' >>"$M/spec"
eventually "and not any more" 30 no_login

# What is outside; here: this host.
echo "a page of $$" >"$T/page"
python3 -u -m http.server --bind 127.0.0.1 --directory "$T" 0 >"$T/web" 2>&1 </dev/null &
web=$!
until_true 20 grep -q port "$T/web"
like "\`internet\` leads outside" "$(on node01 "printf 'GET /page HTTP/1.0\r\n\r\n' |
	nc 10.0.2.2 $(grep -oE 'port [0-9]+' "$T/web" | cut -d' ' -f2)")" \
	"^$(tail -n 1 "$T/page")\$"
kill $web
settles node01 up "and the node is up"

# What can't be.
on node01 mkdir /opt/folder
echo '{"files":{"/opt/folder":{"content":"x"}}}' >>"$spec"
fails "a folder is in the way" settle node01
like "the error says so" "$(cat "$M/nodes/node01/error")" \
	'/opt/folder is a folder in the guest'
echo '{"files":{"/opt/folder":null},
	"run":{"bad":{"command":["sh","-c","echo so it is >&2; exit 3"]}}}' >>"$spec"
fails "a command fails" settle node01
like "the error has its last words" "$(cat "$M/nodes/node01/error")" \
	'run\.bad: exit status 3: so it is'
unlike "the log has no command" "$(cat "$M/nodes/node01/log")" 'exit 3'
echo '{"run":{"bad":null}}' >>"$spec"
settles node01 up "without it the node is up"
exit $((bad > 0))
