#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# wait/: no race between a write and the wait after it, in a thousand rounds;
# EIO and why; many readers; interrupted readers; EOF after the answer.
# shellcheck source=tests/fs/lib.sh
. "$ROOT/tests/fs/lib.sh"
fake 1ms
cd "$M" || exit 1

# In one process: a thousand shells would be the slower part.
cat >"$T/rounds.py" <<'PY'
import sys
wrong = 0
for i in range(1000):
    verb = ("up", "down")[i % 2]
    with open("nodes/node01/state", "w") as f:
        f.write(verb + "\n")
    with open("wait/node01") as f:
        word = f.read()
    if word != verb + "\n":
        wrong += 1
        print("round", i, verb, repr(word))
sys.exit(wrong != 0)
PY
t "a thousand rounds of write and wait" timeout 240 python3 "$T/rounds.py"

# --- failure ---
echo '{"fake":{"delay":"10ms","fail":["boot"],"fail_times":1}}' >nodes/node02/spec
echo up >nodes/node02/state
is "a machine that panics once is started again" "$(settle node02)" up
echo off >nodes/node02/state
settle node02 >/dev/null
echo '{"fake":{"delay":"10ms","fail":["ssh"],"fail_times":1}}' >nodes/node02/spec
echo up >nodes/node02/state
refused "wait for a node that fails" EIO read wait/node02
is "the state is failed" "$(cat nodes/node02/state)" failed
like "error says at which stage" "$(cat nodes/node02/error)" '^failed: ssh: .+'
is "at most two lines" "$(($(wc -l <nodes/node02/error) <= 2))" 1
like "progress shows it" "$(cat nodes/node02/progress)" '^ssh +failed'
is "what is wanted stays" "$(json nodes/node02/status.json .power)" up
refused "wait/all as well" EIO read wait/all
is "the cluster's state tells" "$(cat state)" failed
refused "settled it stays so: nothing tries again by itself" EIO read wait/node02
echo up >nodes/node02/state
is "up tries again" "$(settle node02)" up
is "the error went" "$(cat nodes/node02/error)" ""
echo '{"fake":{"delay":"10ms","fail":["ssh"],"fail_times":100},"cpus":2}' >nodes/node02/spec
echo reboot >nodes/node02/state
refused "it fails again" EIO read wait/node02
echo '{"fake":{"delay":"10ms"}}' >nodes/node02/spec
is "another spec tries again too" "$(settle node02)" up
echo '{"fake":{"delay":"10ms","fail":["machine"],"fail_times":100}}' >nodes/node02/spec
echo reboot >nodes/node02/state
refused "it fails at its start" EIO read wait/node02
echo down >nodes/node02/state
is "down ends it" "$(settle node02)" down
is "and the error went" "$(cat nodes/node02/error)" ""
echo '{"fake":{"delay":"1ms"}}' >nodes/node02/spec

# --- readers ---
echo '{"fake":{"delay":"300ms"}}' >nodes/node03/spec
echo up >nodes/node03/state
for i in $(seq 100); do
	timeout 60 cat wait/node03 >"$T/reader.$i" &
done
wait
is "a hundred readers hear the same" "$(cat "$T"/reader.* | sort | uniq -c |
	tr -s ' ')" " 100 up"
is "after its answer the next read is EOF" \
	"$(timeout 10 python3 -c 'import os
fd = os.open("wait/node03", os.O_RDONLY)
print(os.read(fd, 100), os.read(fd, 100))')" "b'up\\n' b''"

echo '{"fake":{"delay":"1h"}}' >nodes/node03/spec
echo reboot >nodes/node03/state
timeout -s INT 1 cat wait/node03
is "a blocked reader ends by SIGINT" $? 124
timeout -s KILL 1 cat wait/node03
is "and by SIGKILL" $? 137
refused "O_NONBLOCK does not wait" EAGAIN nonblock wait/node03
t "no other operation waits" timeout 20 grep -r --exclude-dir=wait up .
like "status.json says for what it waits" \
	"$(json nodes/node03/status.json '.waiting_for, .deadline, .reason')" '[a-z]+'
timeout 60 cat wait/node03 >"$T/late" &
echo off >nodes/node03/state
wait $!
is "a reader hears of the end that came instead" "$(cat "$T/late")" down
rmdir nodes/node03 || not_ok "rmdir"
fails "the wait of a node that went is gone" test -e wait/node03
