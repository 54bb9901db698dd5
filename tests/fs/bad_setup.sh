#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What goes wrong between installed and checked, with fake nodes: names that
# are none, host files that go, checks that never end.  Each is told, and
# mending it is enough.
# shellcheck source=tests/fs/lib.sh
. "$ROOT/tests/fs/lib.sh"
fake 10ms
cd "$M" || exit 1
node=nodes/node01
system='"disk":{"size":"1G","partitions":[
	{"size":"100%","filesystem":"ext4","mount":"/"}]},
	"install":{"image":"system"}'
mkdir images/system

# --- names in certificates ---------------------------------------------------------

good='{"tls":{"names":["web.example","10.9.8.7"]}}'
echo "$good" >$node/spec
while read -r names sentence; do
	refused "a certificate for $names" EINVAL write $node/spec \
		<<<"{\"tls\":{\"names\":[${names//_/ }]}}"
	like "... says why" "$(cat $node/error)" "^refused: spec: tls\.names.*$sentence"
	is "... and the old document stays" "$(cat $node/spec)" "$good"
done <<END
"two_words" "two words" is not a DNS name: labels of small letters
"a..b" "a\.\.b" is not a DNS name
"-a.example" "-a\.example" is not a DNS name
"under_score!" is not a DNS name
"http://web" "http://web" is not a DNS name
"web.example:443" "web\.example:443" is not a DNS name
"$(printf 'a%.0s' {1..64}).b" is not a DNS name
"" is not a DNS name
"web.example","10.9.8.256" "10\.9\.8\.256" ends like an address and is none
"web.7" "web\.7" ends like an address
7 found the number 7, wanted a string
END
echo up >$node/state
is "good names are taken" "$(settle node01)" up
like "... and are in the certificate" "$(openssl x509 -noout -ext subjectAltName \
	-in "$S/$node/tls.crt")" 'DNS:web.example,.*IP Address:10\.9\.8\.7'

# --- host files ------------------------------------------------------------------------

echo one >"$T/file"
echo '[Service]' >"$T/web.service"
cat >$node/spec <<-JSON || not_ok "the spec: $(cat $node/error)"
	{"files":{"/opt/x":{"source":"file"}},
	"services":{"web":{"source":"web.service"}},$system}
JSON
is "a disk for a machine that runs" "$(settle node01)" up
is "... comes with its next start" \
	"$(json $node/status.json '.restart_required | tostring')" '["disk","install"]'
echo reboot >$node/state
settle node01 >/dev/null
is "two host files are used" "$(settle node01) $(
	json $node/status.json .from_disk)" "up true"
for file in file web.service; do
	mv "$T/$file" "$T/away"
	failed() { grep -q "^failed: configure: .*$T/$file" $node/error; }
	eventually "$file vanishes: its node has failed" 20 failed
	like "... says which and why" "$(cat $node/error)" \
		"can't (be )?read.*No such file or directory"
	mv "$T/away" "$T/$file"
	eventually "it comes back: the node is up" 20 reads $node/state up
done
# Gone for a moment: its absence was noticed, and is no failure any more.
tries() { grep -c 'failed, unless.*web.service' $node/log; }
before=$(tries)
noticed() { [ "$(tries)" -gt "$before" ]; }
mv "$T/web.service" "$T/away"
eventually "one that goes is noticed" 20 noticed
mv "$T/away" "$T/web.service"
is "no error is left" "$(settle node01; cat $node/error)" up

# --- checks that never end -----------------------------------------------------------

python3 - "$T/port" <<'PYTHON' >/dev/null 2>&1 &
# Takes connections, and says nothing.
import os, socket, sys, time
s = socket.socket()
s.bind(("127.0.0.1", 0))
s.listen(8)
with open(sys.argv[1] + ".new", "w") as f:
    f.write(str(s.getsockname()[1]))
os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(200)
PYTHON
silent=$!
# shellcheck disable=SC2317 # called at the end
at_end() { kill "$silent" 2>/dev/null; }
until_true 20 test -s "$T/port"
check() { echo "\"$1\":{\"every\":\"1s\",\"timeout\":\"1s\",\"from\":\"host\",$2}"; }
command() { check "$1" "\"command\":[\"sh\",\"-c\",\"echo \$\$ >>$T/pids.$1; $2\"]"; }
cat >>spec <<JSON || not_ok "the checks: $(cat error)"
{"checks":{$(command sleeps 'exec sleep 1000'),
	$(command ignores "trap : TERM; while :; do sleep 1000; done"),
	$(command children 'sleep 1000 & sleep 1000 & wait'),
	$(command floods 'exec yes'),
	$(check missing '"command":["no-such-program"]'),
	$(check silent "\"http\":\"http://127.0.0.1:$(cat "$T/port")/\""),
	$(check good '"command":["true"]')}}
JSON
line() { grep -E "^$1 +$2 " checks; }
for name in sleeps ignores children floods silent; do
	eventually "$name: the check fails" 20 line $name fail
	like "... says why" "$(cat checks)" \
		"^$name +fail .*(did not|took longer|no end|no answer)"
done
eventually "a program that is not there fails" 20 line missing fail
like "... is named" "$(line missing fail)" 'no-such-program'
t "and the others pass" line good pass
# Tried again and again: none is left, of whatever generation.
tried() { [ "$(wc -l <"$T/pids.$1")" -ge 3 ]; }
eventually "they are tried again" 20 tried ignores
at_most() { # of the processes that a check has left: one try's
	[ "$(pgrep -c -x "$1" -P "$(paste -sd, "$T/pids.$2")")" -le "$3" ]
}
t "what ignores a signal is gone with its try" at_most sleep ignores 1
t "and so are children" at_most sleep children 2
echo '{"checks":null}' >>spec
left() { # of all that were begun
	while read -r pid; do
		gone "$pid" || return 1
	done < <(cat "$T"/pids.*)
}
eventually "without checks none runs" 20 left
is "their lines go" "$(cat checks)" "$(grep '^node' checks)"
settle node01 >/dev/null
is "and the node is as it was" "$(cat $node/state)" up
