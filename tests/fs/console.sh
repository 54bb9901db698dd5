#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# console: read, write, and both, with a fake machine; log and its followers.
# shellcheck source=tests/fs/lib.sh
. "$ROOT/tests/fs/lib.sh"
fake 5ms
cd "$M/nodes/node01" || exit 1

is "before the first start it is empty" "$(cat console)" ""
refused "a keyboard without a machine" ENODEV put console <<<"x"
echo up >state
settle node01 >/dev/null
like "a read gives what the machine printed" "$(cat console)" '.+'
is "and ends, with a true size" "$(stat -c %s console)" "$(wc -c <console)"
refused "a keyboard" OK put console <<<"hello console"
eventually "a fake machine echoes it" 20 grep -q "hello console" console
size=$(stat -c %s console)

# Open for both: starts at the end, blocks for more, is interrupted.
python3 - >"$T/terminal" <<'PY' &
import os, signal
fd = os.open("console", os.O_RDWR)
print("open", flush=True)
got = b""
while b"more to see" not in got:
    piece = os.read(fd, 4096)
    if not piece:
        break
    got += piece
print("earlier" if b"hello console" in got else "from the end")
print("seen" if b"more to see" in got else "ended early")
PY
terminal=$!
eventually "a terminal opens" 20 grep -q open "$T/terminal"
echo "more to see" >console
eventually "it sees what comes" 20 grep -qx seen "$T/terminal"
t "only what comes" grep -qx "from the end" "$T/terminal"
wait $terminal
out=$(timeout 20 python3 - <<'PY'
import errno, os
fd = os.open("console", os.O_RDWR | os.O_NONBLOCK)
try:
    os.read(fd, 10)
except OSError as e:
    print(errno.errorcode[e.errno])
PY
)
is "O_NONBLOCK at the end" "$out" EAGAIN
timeout -s INT 1 socat -u OPEN:console,rdwr - >/dev/null 2>&1
is "a blocked terminal ends by SIGINT" "$(($? != 137))" 1

t "tail -c reads the end" test -n "$(tail -c 20 console)"
is "more was printed since" "$(($(stat -c %s console) > size))" 1
echo reboot >state
settle node01 >/dev/null
unlike "after a start it is a new log" "$(cat console)" 'hello console'
like "log grows" "$(cat log)" '.+'
is "log's size is true" "$(stat -c %s log)" "$(wc -c <log)"
