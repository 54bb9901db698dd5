#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Alive through death: the daemon killed with -9 again and again, replaced by
# SIGHUP, the herald killed, the keeper killed; nobody who works in the tree
# sees an error, and what is blocked can always be ended.
# shellcheck source=tests/fs/lib.sh
. "$ROOT/tests/fs/lib.sh"

KILLS=${KILLS:-200}

# shellcheck disable=SC2119
start_daemon
echo '{"defaults":{"driver":"fake","fake":{"delay":"10ms"}}}' >"$M/spec"
mkdir "$M"/nodes/{r,w,s,a,v,b,c}
echo '{"cpus":1}' >"$M/nodes/r/spec"
echo up >"$M/nodes/c/state"
settle c >/dev/null
block() { # node b: starts for an hour
	echo '{"fake":{"delay":"1h"}}' >"$M/nodes/b/spec"
	echo up >"$M/nodes/b/state"
}
survive() {
	timeout 220 python3 "$ROOT/tests/fs/survive.py" "$M" "$R" "$@" ||
		bad=$((bad + 1))
}
daemon() { cat "$R/daemon.pid"; }
other_daemon() { [ "$(daemon)" != "$1" ] && kill -0 "$(daemon)"; }

block
survive "$KILLS"
block
survive 5 reload
block
survive 10 herald

# --- what is blocked, in each phase ---
block
keeper=$D
for who in nobody daemon; do
	# A job in the background ignores SIGINT unless told otherwise.
	env --default-signal=INT timeout -s INT -k 20 3 \
		cat "$M/wait/b" >"$T/blocked" 2>&1 &
	reader=$!
	timeout -s KILL 3 cat "$M/wait/b" >"$T/blocked2" 2>&1 &
	other=$!
	if [ $who = daemon ]; then
		until_true 20 test -s "/proc/$other/stat"
		old=$(daemon)
		kill -KILL "$old"
		eventually "another daemon comes" 30 other_daemon "$old"
	fi
	wait $reader
	is "SIGINT ends a blocked reader ($who killed)" $? 124
	wait $other
	is "SIGKILL too" $? 137
done
t "the keeper is the same" kill -0 "$keeper"

# --- a mount that is used, unmounted while a reader is blocked ---
timeout 60 cat "$M/wait/b" >"$T/blocked" 2>&1 &
reader=$!
pid=$D D=
umount -l "$M"
kill -TERM "$pid"
eventually "the keeper ends though a reader was blocked" 30 gone "$pid"
wait $reader
is "the reader too, with an error" "$(($? != 0 && $? != 124))" 1
is "no pid file is left" "$(find "$R" -name "*.pid")" ""

# --- the keeper killed ---
# shellcheck disable=SC2119
start_daemon
old=$(daemon)
timeout 60 cat "$M/wait/b" >"$T/blocked" 2>&1 &
reader=$!
pid=$D D=
kill -KILL "$pid"
eventually "the daemon ends after its keeper" 30 gone "$old"
fails "and the mount is gone" mountpoint -q "$M"
wait $reader
is "a blocked reader ended" "$(($? != 124))" 1
# shellcheck disable=SC2119
start_daemon
is "the next start adopts" "$(cat "$M/nodes/r/spec")" '{"cpus":1}'
is "what runs" "$(settle c)" up
echo down >"$M/nodes/c/state"
is "and goes on" "$(settle c)" down
