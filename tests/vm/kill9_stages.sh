#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# kill -9 of the daemon at every stage of a start: the end is the same, up, with
# one QEMU and no second copy.  The programs of a stage are held at a gate, so
# that the kill comes when it is meant to.
# shellcheck source=tests/vm/lib.sh
. "$ROOT/tests/vm/lib.sh"

# Programs that the daemon finds first in PATH: each waits while its gate is shut
# (a pipe that nobody writes to), then becomes the real one.  It waits without a
# child of its own, so that it is one process all along.
mkdir "$T/bin" "$T/gates"
for program in vde_switch qemu-system-x86_64 qemu-img apt-get; do
	cat >"$T/bin/$program" <<-GATE
		#!/bin/sh
		if [ -p "$T/gates/$program" ]; then
			: >"$T/gates/$program.waits"
			read -r _ <"$T/gates/$program"
		fi
		exec $(command -v $program || echo /usr/bin/$program) "\$@"
	GATE
	chmod +x "$T/bin/$program"
done
export PATH=$T/bin:$PATH
shut() { mkfifo "$T/gates/$1"; }
at_gate() { [ -e "$T/gates/$1.waits" ]; }
open_gate() { # who waits reads the pipe's end, who comes later finds no pipe
	local gate
	exec {gate}<>"$T/gates/$1"
	rm -f "$T/gates/$1" "$T/gates/$1.waits"
	exec {gate}>&-
}

# The image: its builder is a child and ends with the daemon.
mkdir -m 700 "$S"
mkdir "$S/cache"
cp -a "$RACKFS_BUILD/cache/." "$S/cache/" 2>/dev/null
# What was downloaded may stay; what was built from it goes.
rm -rf "$S"/cache/netboot-* "$S"/cache/known-*
again
own_port
mkdir "$M/nodes/node01"
cp "$ROOT/examples/three-nodes/node01.spec" "$M/nodes/node01/spec"

# at STAGE: kills the daemon while it runs, starts the next.
at() {
	if until_true $LIMIT stage_runs "$1"; then
		ok "$1: the stage runs"
	else
		not_ok "$1: the stage was not seen to run"
		note <"$M/nodes/node01/progress"
	fi
	kill_daemon
}
# Not KVM's probe, which is run from elsewhere.
launched() { at_gate qemu-system-x86_64 && [ -n "$(pids_of qemu-system)" ]; }
stage_runs() { grep -qE "^$1 +running" "$M/nodes/node01/progress"; }
comes_up() {
	again
	settles node01 up "$1: the next daemon brings it up"
	is "$1: by one QEMU" "$(count "$(pids_of qemu-system)")" 1
	is "$1: and one switch" "$(count "$(pids_of vde_switch)")" 1
	t "$1: which answers" on node01 true
}
nothing_runs() { ! machines_run; }
fresh() {
	echo off >"$M/nodes/node01/state"
	settle node01 >/dev/null
	echo wipe >"$M/nodes/node01/state"
	settles node01 down "$1: begins down with an empty disk"
	until_true 30 nothing_runs
}

shut apt-get
echo up >"$M/nodes/node01/state"
at image
is "image: no machine runs yet" "$(pids_of qemu-system)" ""
open_gate apt-get
comes_up image

fresh network
shut vde_switch
echo up >"$M/nodes/node01/state"
eventually "network: its switch is at the gate" 30 at_gate vde_switch
at network
open_gate vde_switch
comes_up network

fresh "network, later"
shut vde_switch
echo up >"$M/nodes/node01/state"
until_true 30 at_gate vde_switch
kill_daemon
again
open_gate vde_switch
settles node01 up "network: adopted before the switch answers, it comes up"
is "network: with one switch" "$(count "$(pids_of vde_switch)")" 1

fresh machine
shut qemu-img
echo up >"$M/nodes/node01/state"
eventually "machine: its disk is at the gate" 30 at_gate qemu-img
at machine
open_gate qemu-img
comes_up machine

fresh "machine, later"
shut qemu-system-x86_64
echo up >"$M/nodes/node01/state"
eventually "machine: QEMU is launched, and at the gate" 30 launched
kill_daemon
before=$(machine_pids | sort)
again
open_gate qemu-system-x86_64
settles node01 up "machine: adopted before it is QEMU, it comes up"
is "machine: by the same process" "$(machine_pids | sort)" "$before"

for stage in boot ssh partition; do
	fresh $stage
	echo up >"$M/nodes/node01/state"
	at $stage
	before=$(pids_of qemu-system)
	comes_up $stage
	is "$stage: it is the same process" "$(pids_of qemu-system)" "$before"
done
on node01 "cat /proc/mounts" >"$T/mounts"
t "at the end the disk is mounted" grep -q '^/dev/vda2 /mnt ext4' "$T/mounts"

# Going down.
echo down >"$M/nodes/node01/state"
kill_daemon
again
settles node01 down "down: the next daemon ends it"
is "down: nothing runs" "$(pids_of qemu-system)" ""
