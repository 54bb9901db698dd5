#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Thousands of fake nodes: made, loaded, started, answered, without growing
# slow.  The limits are wide: the build has sanitizers and the machine is shared.
# `make bench` has the numbers for 10,000; RACKFS_MANY=10000 runs them here.
# shellcheck source=tests/fs/lib.sh
. "$ROOT/tests/fs/lib.sh"
N=${RACKFS_MANY:-3000}
LIMIT=200

fake 0ms
rmdir "$M"/nodes/node0{1,2,3}
echo '{"subnet":"10.36.0.0/16"}' >"$M/networks/lan/spec"
echo '{"observe_every":"0s","defaults":{"driver":"fake","fake":{"delay":"0ms"}}}' >"$M/spec"

# seconds WHAT LIMIT COMMAND...
seconds() {
	local what=$1 limit=$2 from to
	shift 2
	from=${EPOCHREALTIME/./}
	"$@" >"$T/out" 2>&1 || {
		not_ok "$what failed"
		note <"$T/out"
		return
	}
	to=${EPOCHREALTIME/./}
	if [ $((to - from)) -le $((limit * 1000000)) ]; then
		ok "$what: $(((to - from) / 1000)) ms"
	else
		not_ok "$what took $(((to - from) / 1000)) ms, not at most $limit s"
	fi
}
made() {
	python3 - "$M" "$N" <<'PY'
import os, sys
for i in range(int(sys.argv[2])):
    os.mkdir("%s/nodes/n%05d" % (sys.argv[1], i + 1))
PY
}
seconds "mkdir of $N" 200 made
is "all are listed" "$(find "$M/nodes" -mindepth 1 -maxdepth 1 | wc -l)" "$N"
stop_daemon
# shellcheck disable=SC2119
seconds "start and load" 30 start_daemon
seconds "cat status" 5 cat "$M/status"
is "has a line each" "$(grep -c '^n[0-9]' "$T/out")" "$N"
seconds "ls -l" 20 ls -l "$M/nodes"
seconds "status.json" 10 jq -e ".nodes | length == $N" "$M/status.json"
up() { echo up >"$M/state" && settle all 200; }
seconds "up, and wait for all" 200 up
is "gives up" "$(cat "$T/out")" up
states() { cat "$M"/nodes/*/state | sort | uniq -c; }
seconds "each state" 60 states
is "all are up" "$(tr -s ' ' <"$T/out")" " $N up"
one() {
	local node
	node=$(printf 'n%05d' $((N / 2)))
	echo down >"$M/nodes/$node/state" && settle "$node" &&
		echo up >"$M/nodes/$node/state" && settle "$node"
}
seconds "one node down and up" 10 one
seconds "a spec is written" 5 tee "$M/nodes/n00001/spec" <<<'{"cpus":2}'

# Nothing to do, once all who may watch were told: no CPU time is used (clock
# ticks of 10 ms).
ticks() { awk '{ print $14 + $15 }' "/proc/$(cat "$R/daemon.pid")/stat"; }
rests() {
	local before
	before=$(ticks)
	timeout 3 tail -f /dev/null
	[ $(($(ticks) - before)) -lt 10 ]
}
eventually "an idle daemon rests" 60 rests
down() { echo off >"$M/state" && settle all 200; }
seconds "off" 200 down
