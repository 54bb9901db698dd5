#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# examples/follow-events.py: every event once, over the daemon's death and its
# own; what is kept no more is told by the numbers.
# shellcheck source=tests/fs/lib.sh
. "$ROOT/tests/fs/lib.sh"
fake 5ms

follow() { # follow NAME [SEQ]: prints to $T/NAME
	python3 "$ROOT/examples/follow-events.py" "$M/events" "${@:2}" \
		>"$T/$1" 2>"$T/$1.err" </dev/null &
	follower=$!
}
end_follow() {
	kill $follower
	wait $follower 2>/dev/null
}
caught_up() { cmp "$M/events" "$T/$1"; }
last_seq() { tail -n 1 "$M/events" | jq .seq; }

follow all
echo up >"$M/state"
settle >/dev/null
eventually "every event is printed" 20 caught_up all
t "while it lasts" kill -0 $follower
daemon=$(cat "$R/daemon.pid")
kill -KILL "$daemon"
echo down >"$M/nodes/node02/state"
settle node02 >/dev/null
eventually "over the daemon's death as well" 20 caught_up all
is "it runs in the next one's time" "$([ "$(cat "$R/daemon.pid")" != "$daemon" ])$?" 0
end_follow
is "none was missed" "$(cat "$T/all.err")" ""

# --- a pause ---
last=$(last_seq)
echo up >"$M/nodes/node02/state"
settle node02 >/dev/null
follow pause "$last"
until_pause() { [ "$(tail -n 1 "$T/pause")" = "$(tail -n 1 "$M/events")" ]; }
eventually "after a pause it goes on" 20 until_pause
is "where it was" "$(cat "$T/pause")" "$(jq -c "select(.seq > $last)" "$M/events")"
end_follow
is "none was missed in the pause" "$(cat "$T/pause.err")" ""

# --- a pause of more events than are kept, while it reads ---
follow slow
until_true 20 caught_up slow
kill -STOP $follower
last=$(last_seq)
t "eleven thousand refusals" timeout 120 python3 - "$M/nodes/node01/state" <<'PY'
import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY)
for i in range(11100):
    try:
        os.write(fd, b"verb%d" % i)
        sys.exit("taken")
    except OSError:
        pass
PY
oldest=$(head -n 1 "$M/events" | jq .seq)
is "the oldest are kept no more" "$((oldest > last + 1))" 1
is "ten thousand are" "$(($(last_seq) - oldest >= 9999))" 1
kill -CONT $follower
slow_ends() { [ "$(tail -n 1 "$T/slow")" = "$(tail -n 1 "$M/events")" ]; }
eventually "a reader that slept catches up" 20 slow_ends
is "and says what it missed" "$(cat "$T/slow.err")" \
	"missed $((last + 1)) to $((oldest - 1))"
is "and that alone" "$(tail -n +$((last + 1)) "$T/slow" | cmp - "$M/events")" ""
end_follow

# --- the end ---
follow last
until_true 20 test -s "$T/last"
is "a new reader is told as well" "$(cat "$T/last.err")" "missed 1 to $((oldest - 1))"
stop_daemon
eventually "it ends with the mount" 20 gone $follower
wait $follower
is "with an exit status" $? 1
like "and says why" "$(cat "$T/last.err")" "^$M/events: "
