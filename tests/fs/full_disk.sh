#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The state directory is on a disk that is full: every write is refused with
# ENOSPC, nothing is lost, events too are there once there is room again.
# shellcheck source=tests/fs/lib.sh
. "$ROOT/tests/fs/lib.sh"
mkdir "$T/full"
mount -t tmpfs -o size=2m rackfs-test "$T/full" 2>/dev/null ||
	skip "a disk to fill needs root"
at_end() { umount -l "$T/full"; }
S=$T/full/s
fake 5ms
node=$M/nodes/node01
echo '{"cpus":2}' >"$node/spec"
echo up >"$M/state"
is "all are up" "$(settle)" up
fill() { dd if=/dev/zero of="$T/full/fill" bs=4k >/dev/null 2>&1; }
nonsense() { # nonsense TIMES: so many events
	local i
	for ((i = 0; i < $1; i++)); do echo nonsense >"$node/state"; done 2>/dev/null
}
seen() { jq -n '[inputs.seq] | "\(length) \(.[-1])"' -r "$M/events"; }

fill
for op in write append; do
	refused "$op of a spec" ENOSPC $op "$node/spec" <<<'{"cpus":3}'
done
refused "a patch of disk" ENOSPC append "$node/disk" <<<'{"size":"1G"}'
refused "the cluster's spec" ENOSPC append "$M/spec" <<<'{"name":"other"}'
refused "a node" ENOSPC mkdir "$M/nodes/node04"
refused "a verb" ENOSPC write "$node/state" <<<down
cp "$node/spec" "$T/new"
echo '{"cpus":4}' >"$node/new"
refused "a rename over spec" ENOSPC rename "$node/new" "$node/spec"
is "the temporary file is there" "$(cat "$node/new")" '{"cpus":4}'
like "error says why" "$(cat "$node/error")" 'refused: spec: .*No space left'
is "the document is the old one" "$(cat "$node/spec")" '{"cpus":2}'
is "and the state" "$(cat "$M/state")" up
is "no node was made" "$(ls "$M/nodes")" $'node01\nnode02\nnode03'

# More events than a page that may be left of their file.
nonsense 60
t "events are whole lines" jq -e -n '[inputs] | length > 0' "$M/events"
is "of the size that stat tells" "$(stat -c %s "$M/events")" "$(wc -c <"$M/events")"
t "the daemon says so" grep -q "events can't be written" "$T/daemon.log"
daemon=$(cat "$R/daemon.pid")
kill -KILL "$daemon"
is "another daemon goes on" "$(settle)" up
is "with the old document" "$(cat "$node/spec")" '{"cpus":2}'
stop_daemon
# shellcheck disable=SC2119
start_daemon
is "and a new start" "$(settle)" up
t "events are whole lines still" jq -e -n '[inputs] | length > 0' "$M/events"

nonsense 60
rm "$T/full/fill"
eventually "with room again what waited is written" 20 \
	grep -q "events can be written again" "$T/daemon.log"
refused "a spec is written" OK write "$node/spec" <<<'{"cpus":5}'
is "and in force" "$(cat "$node/spec")" '{"cpus":5}'
refused "a verb" OK write "$M/state" <<<down
is "and done" "$(settle)" down
count=$(grep -c nonsense "$M/events")
is "no refusal is missing" "$((count >= 60))" 1
read -r lines last <<<"$(seen)"
is "nor a number" "$lines" "$last"
stop_daemon
