#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What a machine takes while it runs: forwards that come and go, another port
# for SSH, a NIC that comes, one that is put on another network, one that is
# taken away.
# shellcheck source=tests/vm/lib.sh
. "$ROOT/tests/vm/lib.sh"
share_image
# shellcheck disable=SC2119
start_daemon
cd "$M" || exit 1
mkdir networks/san networks/dmz nodes/node01 nodes/node02
for i in 1 2; do
	port=220$i
	! taken $port || port=$(free_port)
	echo "{\"memory\":\"128M\",\"nics\":{\"lan\":{}},\"ssh\":{\"port\":$port}}" \
		>nodes/node0$i/spec
done
echo '{"nics":{"san":{}}}' >>nodes/node02/spec
echo up >state
settles all up "two nodes up" || exit 1
launch=$(status node01 .machine.launch)
same_run() { # same_run WHAT
	is "$1: nothing waits for a restart" \
		"$(status node01 '.restart_required | tostring')" "[]"
	is "$1: in the same run" "$(status node01 .machine.launch)" "$launch"
}

# --- forwards -----------------------------------------------------------------------

banner() { # what answers on a port of this host
	(exec 3<>"/dev/tcp/127.0.0.1/$1" && read -rt 15 line <&3 &&
		echo "$line") 2>/dev/null
}
first=$(free_port)
echo "{\"forwards\":{\"$first\":22}}" >>nodes/node01/spec
settles node01 up "a forward comes"
like "and leads into the node" "$(banner "$first")" '^SSH-2'
same_run "a forward"
second=$(free_port)
echo "{\"forwards\":{\"$first\":null,\"$second\":22}}" >>nodes/node01/spec
settles node01 up "another comes in its place"
like "which leads there as well" "$(banner "$second")" '^SSH-2'
t "the first is gone" eval "! taken $first"
t "ssh goes on as before" on node01 true

python3 -c 'import signal, socket
s = socket.create_server(("127.0.0.1", 0))
print(s.getsockname()[1], flush=True)
signal.pause()' >"$T/port" </dev/null &
holder=$!
has_port() { [ -s "$T/port" ]; }
until_true 20 has_port
third=$(cat "$T/port")
echo "{\"forwards\":{\"$third\":22}}" >>nodes/node01/spec
refused "a port that somebody has" EIO read wait/node01
like "is told" "$(cat nodes/node01/error)" \
	"^failed: machine: forwards: port $third is in use by another program.*python"
kill $holder
wait $holder 2>/dev/null
echo up >nodes/node01/state
settles node01 up "once it is free, up tries again"
like "and it leads into the node" "$(banner "$third")" '^SSH-2'
same_run "forwards"
port=$(free_port)
was=$(ssh -G -F ssh_config node01 | sed -n 's/^port //p')
echo "{\"ssh\":{\"port\":$port}}" >>nodes/node01/spec
settles node01 up "SSH gets another port"
is "which ssh_config names" \
	"$(ssh -G -F ssh_config node01 | sed -n 's/^port //p')" "$port"
t "and which leads there" on node01 true
t "the old one does not" eval "! taken $was"
same_run "another port"

# --- a NIC that comes -----------------------------------------------------------------

is "one NIC" "$(status node01 '.nics | length')" 1
echo '{"nics":{"san":{}}}' >>nodes/node01/spec
settles node01 up "a NIC comes"
like "with its address" "$(on node01 ip -4 -o addr show)" '10\.36\.1\.11/24'
t "it reaches the other node" on node01 ping -c 2 -W 2 10.36.1.12
t "as the first one does" on node01 ping -c 1 -W 2 node02
eventually "it is in ports" 20 grep -q node01 networks/san/ports
is "and said to be plugged in" "$(status node01 \
	'.nics[] | select(.name == "san") | .plugged')" true
same_run "a NIC"
echo '{"nics":{"san":{"link":"down"}}}' >>nodes/node01/spec
settles node01 up "its link goes down"
fails "so it reaches nobody" on node01 ping -c 1 -W 2 10.36.1.12
echo '{"nics":{"san":{"link":"up"}}}' >>nodes/node01/spec
settles node01 up "and up again"
t "and it does" on node01 ping -c 2 -W 3 10.36.1.12

# --- another network -------------------------------------------------------------------

echo '{"nics":{"san":{"network":"dmz"}}}' >>nodes/node01/spec
settles node01 up "a NIC is put on another network"
like "with an address there" "$(on node01 ip -4 -o addr show)" '10\.36\.2\.11/24'
unlike "and none of the old one" "$(on node01 ip -4 -o addr show)" '10\.36\.1\.11'
fails "it is off the old one" on node01 ping -c 1 -W 2 10.36.1.12
echo '{"nics":{"san":{"network":"dmz"}}}' >>nodes/node02/spec
settles node02 up "the other follows"
t "they meet" on node01 ping -c 2 -W 3 10.36.2.12
eventually "the network that nobody uses goes down" 20 \
	reads networks/san/state down
same_run "another network"

# --- the daemon is killed ---------------------------------------------------------------

cd "$T" || exit 1
kill_daemon
again
cd "$M" || exit 1
settles all up "after kill -9 all is up"
same_run "after kill -9"
like "forwards are there" "$(banner "$second")" '^SSH-2'
t "and the NIC" on node01 ping -c 2 -W 2 10.36.2.12

# --- taken away -------------------------------------------------------------------------

echo "{\"forwards\":null,\"nics\":{\"san\":null}}" >>nodes/node01/spec
settles node01 up "a NIC and all forwards are taken away"
t "no forward is left" eval "! taken $second && ! taken $third"
fails "the NIC reaches nobody" on node01 ping -c 1 -W 2 10.36.2.12
is "its device goes with the next start" \
	"$(status node01 '.restart_required | tostring')" '["nics.san"]'
echo reboot >nodes/node01/state
settles node01 up "reboot"
is "with one NIC" "$(on node01 "cat /sys/class/net/*/address |
	grep -vc -e 00:00:00:00 -e 52:54:00:00:00:fe")" 1
is "nothing waits" "$(status node01 '.restart_required | tostring')" "[]"

# --- wanted up again while it goes down --------------------------------------------------

launch=$(status node01 .machine.launch)
echo down >nodes/node01/state
echo up >nodes/node01/state
unlike "a machine that was told to go is not up" "$(cat nodes/node01/state)" up
settles node01 up "wanted up again at once"
is "it has another run" "$(status node01 .machine.launch)" $((launch + 1))
echo down >nodes/node01/state
kill -KILL "$(cat "$R/daemon.pid")"
echo up >nodes/node01/state
settles node01 up "and while the daemon dies of it"
is "it is wanted up" "$(status node01 .power)" up
echo off >state
settles all down "all off"
