#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The console of a real guest, as a live terminal, a log and a keyboard; and
# the daemon killed with -9 again and again beside real machines.  One boot of
# two machines serves all.
# shellcheck source=tests/vm/lib.sh
. "$ROOT/tests/vm/lib.sh"
command -v socat >/dev/null || skip "socat is not here"
KILLS=${KILLS:-20}
export RACKFS_CONSOLE_MAX=$((1 << 20))

share_image
# shellcheck disable=SC2119
start_daemon
echo '{"defaults":{"memory":"256M"}}' >"$M/spec"
for node in c v; do
	mkdir "$M/nodes/$node"
	echo "{\"ssh\":{\"port\":$(free_port)}}" >"$M/nodes/$node/spec"
	echo up >"$M/nodes/$node/state"
done
settles all up "two machines" || exit 1
console=$M/nodes/c/console
step() {
	timeout 300 python3 "$ROOT/tests/vm/console.py" "$@" "$console" \
		"$S"/nodes/c/console-1.log || bad=$((bad + 1))
}

step terminal
like "a read gives the log since the start" "$(cat "$console")" \
	'^rackfs: ssh ready'
like "with what was done there" "$(tr -d '\r' <"$console")" '^second-42$'
# shellcheck disable=SC2016 # the guest's shell
echo 'echo typed-$((6*7))' >"$console"
eventually "a write types" 30 grep -q "^typed-42" "$console"

# --- nobody is there --------------------------------------------------------------

step begin
printed() { [ "$(grep -c '^line ' "$console")" -gt 10 ]; }
until_true 30 printed
old=$(stat -c %s "$console")
kill_daemon
grown() { [ "$(stat -c %s "$S"/nodes/c/console-1.log)" -gt $((old + 50000)) ]; }
eventually "a guest prints on without daemon and keeper" 60 grown
again
step whole
step limits

# --- kills of the daemon, beside real machines --------------------------------------

# r, w, s and a stay down; v goes up and down; b is a start that takes an hour.
before=$(qemu_pid c)
mkdir "$M"/nodes/{r,w,s,a,b}
echo '{"cpus":1}' >"$M/nodes/r/spec"
echo '{"driver":"fake","fake":{"delay":"1h"}}' >"$M/nodes/b/spec"
echo up >"$M/nodes/b/state"
step cat
timeout 400 python3 "$ROOT/tests/fs/survive.py" "$M" "$R" "$KILLS" daemon 3 ||
	bad=$((bad + 1))
settles c up "the machine is up all the same"
is "and the same" "$(qemu_pid c)" "$before"
