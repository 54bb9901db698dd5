#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Every call that can block, against everything that may happen meanwhile: it
# is answered, or ends with an error; nothing hangs.  Each row of the table:
# the call; what holds it (nothing that happens, a disk that stops, a daemon
# that is stopped); what ends it well.

# A process elsewhere that copies the table of mounts would hold this one after
# it was detached; of a table of our own nobody takes a copy.
if [ "$(id -u)" = 0 ] && [ -z "${OWN_MOUNTS:-}" ]; then
	OWN_MOUNTS=1 exec unshare -m "$0"
fi
# shellcheck source=tests/fs/lib.sh
. "$ROOT/tests/fs/lib.sh"
table='
wait     event
console  event
poll     event
write    disk
fsync    disk
close    disk
rename   disk
verb     disk
mkdir    disk
request  daemon
'

begin() {
	gate_start
	[ ! -d "$M/nodes/a" ] || return 0
	echo '{"defaults":{"driver":"fake","fake":{"delay":"5ms"}}}' >"$M/spec"
	mkdir "$M"/nodes/{a,b,c}
	echo up >"$M/nodes/c/state"
	settle c >/dev/null
}
# The tree as each case finds it, whatever the one before has done.
fresh() {
	if [ -z "$D" ] || gone "$D"; then begin; fi
	echo '{"cpus":1}' >"$M/nodes/a/spec"
	echo off >"$M/nodes/a/state"
	rmdir "$M/nodes/made" 2>/dev/null
	echo '{"fake":{"delay":"1h"}}' >"$M/nodes/b/spec"
	echo off >"$M/nodes/b/state"
	settle b >/dev/null
	echo up >"$M/nodes/b/state"
}
daemon() { cat "$R/daemon.pid"; }
other_daemon() { [ "$(daemon)" != "$1" ] && kill -0 "$(daemon)"; }

# --- one call ---------------------------------------------------------------------

# Begins CALL; returns once it is blocked in the kernel.
begin_call() {
	rm -f "$T/go" "$T/said" "$GATE.held"
	mkfifo "$T/go"
	(cd "$M" && exec env --default-signal=INT python3 \
		"$ROOT/tests/fs/blocked.py" "$call" <"$T/go" >"$T/said" 2>&1) &
	caller=$!
	exec 7>"$T/go"
	until_true 30 grep -q ready "$T/said" || not_ok "$call: it did not begin"
	case $hold in
	disk) : >"$GATE" ;;
	daemon) kill -STOP "$(daemon)" ;;
	esac
	echo go >&7
	exec 7>&-
	until_true 30 blocked || not_ok "$call: it does not block"
	# A name is looked up first, in a request of its own.
	[ "$hold" != disk ] || until_true 30 test -e "$GATE.held" ||
		not_ok "$call: it does not come to the disk"
}
# In a system call, and not in the read of its standard input.
blocked() {
	local number first rest
	read -r number first rest <"/proc/$caller/syscall" || return 1
	[ "$number" != running ] && [ "$number $first" != "0 0x0" ]
}
# What it waits for comes.
release() {
	case $hold:$call in
	disk:*) rm -f "$GATE" ;;
	daemon:*) kill -CONT "$(daemon)" ;;
	event:console) echo x >"$M/nodes/c/console" ;;
	event:*) echo off >"$M/nodes/b/state" ;;
	esac
}
# ends WHAT WANTED: how the caller ends: its word, or the signal's status.
ends() {
	local got rc
	if ! until_true 20 gone "$caller"; then
		not_ok "$call: $1: it hangs"
		kill -KILL "$caller"
		release
		return
	fi
	wait "$caller"
	rc=$?
	got=$(sed -n '/^ready$/!p' "$T/said")
	[ $rc = 0 ] || got=$rc
	if [[ $got =~ ^($2)$ ]]; then
		ok "$call: $1: $got"
	else
		not_ok "$call: $1: \"$got\" is not $2"
		note <"$T/said"
	fi
}

# --- what may happen ----------------------------------------------------------------

answered() {
	release
	ends "it is answered" ok
}
# A disk that stops holds its callers as any disk does: the signal ends them
# once it answers.
interrupted() {
	kill -INT "$caller"
	[ "$hold" != disk ] || release
	ends "SIGINT" 130
	release
}
daemon_killed() {
	local old
	old=$(daemon)
	kill -KILL "$old"
	until_true 30 other_daemon "$old" || not_ok "$call: no other daemon comes"
	[ "$hold" = daemon ] || until_true 30 blocked ||
		not_ok "$call: the daemon's end ended it"
	[ "$hold" = daemon ] || release
	ends "the daemon killed, then an answer" ok
}
keeper_killed() {
	local keeper=$D also="" old
	old=$(daemon)
	D=
	kill -KILL "$keeper"
	# A stopped daemon may answer before it sees that it is alone.
	if [ "$hold" = daemon ]; then
		release
		also="|ok"
	fi
	ends "the keeper killed" "ENOTCONN|ECONNABORTED$also"
	rm -f "$GATE"
	until_true 30 gone "$old" || not_ok "$call: the daemon outlives its keeper"
}
unmounted() {
	fails "$call: it holds the mount" fusermount3 -u "$M"
	release
	ends "an unmount that was refused, then an answer" ok
}
detached() {
	local keeper=$D
	fusermount3 -u -z "$M"
	if [ "$hold" = event ]; then
		kill -INT "$caller"
		ends "detached, then SIGINT" 130
	else
		release
		ends "detached, then an answer" ok
	fi
	until_true 30 gone "$keeper" ||
		not_ok "$call: the keeper outlives its mount"
	D=
}

while read -r call hold; do
	[ -n "$call" ] || continue
	for event in answered interrupted daemon_killed unmounted keeper_killed \
		detached; do
		fresh
		begin_call
		$event
	done
done <<<"$table"
