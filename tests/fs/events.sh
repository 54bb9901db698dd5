#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# events: numbered, one line a change, going on over kill -9; what was
# acknowledged is there after it; adoption of (fake) machines.
# shellcheck source=tests/fs/lib.sh
. "$ROOT/tests/fs/lib.sh"
fake 5ms
cd "$M" || exit 1

numbered() { # every line is JSON and the numbers have no gap
	jq -e -n '[inputs.seq] | . == [range(.[0]; .[0] + length)]' <"$1"
}
echo up >state
settle >/dev/null
t "events are numbered without a gap" numbered events
is "they begin with 1" "$(head -n 1 events | jq .seq)" 1
like "a mkdir is one" "$(cat events)" 'node01'
is "a change of state says from and to" "$(jq -r 'select(.to == "up" and
	(.object // .name | tostring | contains("node01"))) | .to' events | head -n 1)" up
size=$(stat -c %s events)
is "the size is true" "$size" "$(wc -c <events)"

# tail -f follows.
timeout 60 tail -n 0 -f events >"$T/followed" &
follower=$!
until_true 10 grep -q pos: "/proc/$follower/fdinfo/3"
echo down >nodes/node03/state
settle node03 >/dev/null
eventually "tail -f sees what comes" 20 grep -q node03 "$T/followed"
kill $follower
wait $follower 2>/dev/null

# --- kill -9 ---
last=$(tail -n 1 events | jq .seq)
cd "$T" || exit 1
for round in 1 2 3 4 5; do
	echo "{\"cpus\":$round}" >"$M/nodes/node01/spec"
	echo up >"$M/nodes/node03/state"
	kill_daemon
	# shellcheck disable=SC2119
	start_daemon
	is "round $round: an acknowledged spec is there" \
		"$(cat "$M/nodes/node01/spec")" "{\"cpus\":$round}"
	is "round $round: and the wish" "$(settle)" up
	echo down >"$M/nodes/node03/state"
	is "round $round: the next one too" "$(settle node03)" down
done
t "the numbers went on without a gap" numbered "$M/events"
is "from where they were" "$(($(tail -n 1 "$M/events" | jq .seq) > last))" 1
is "the first are still there" "$(head -n 1 "$M/events" | jq .seq)" 1
is "no temporary file is left in the store" \
	"$(find "$S" \( -name '*.tmp' -o -name '.*.new' \) -print)" ""

# --- a stop, and again ---
last=$(tail -n 1 "$M/events" | jq .seq)
stop_daemon
# shellcheck disable=SC2119
start_daemon
t "numbers go on over a stop" numbered "$M/events"
is "upwards" "$(($(tail -n 1 "$M/events" | jq .seq) >= last))" 1
