# SPDX-License-Identifier: Apache-2.0
"""What the Python tests of the tree share.  sys.argv: MOUNT RUNTIME_DIR."""
import errno
import os
import signal
import sys
import time

M, R = sys.argv[1], sys.argv[2]
LIMIT = 30
failed = 0
killed = set()


def check(what, got, wanted):
    global failed
    if got == wanted:
        print(f"ok {what}", flush=True)
    else:
        failed = 1
        print(f"not ok {what}: {got!r:.300} is not {wanted!r:.300}", flush=True)


def told(call, *args, **options):
    """What a call gives; the name of its errno when it fails."""
    try:
        return call(*args, **options)
    except OSError as e:
        return errno.errorcode[e.errno]


def refused(what, wanted, call, *args, **options):
    check(f"{what}: {wanted}", told(call, *args, **options), wanted)


def read(path):
    with open(path) as f:
        return f.read()


def write(path, text, flags=os.O_WRONLY | os.O_TRUNC | os.O_CREAT):
    """One write(2), then close(2); both may tell."""
    fd = os.open(path, flags, 0o644)
    try:
        os.write(fd, text.encode())
    except OSError:
        try:
            os.close(fd)
        except OSError:
            pass
        raise
    os.close(fd)


def until(condition, seconds=LIMIT):
    """Did it come true?"""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def eventually(what, condition, seconds=LIMIT):
    check(what, until(condition, seconds) or f"not within {seconds} s", True)


def kill_daemon():
    """kill -9, once for each daemon; the next call in the tree waits for the
    one that follows."""
    deadline = time.monotonic() + LIMIT
    while True:
        pid = int(read(f"{R}/daemon.pid"))
        if pid not in killed:
            killed.add(pid)
            try:
                os.kill(pid, signal.SIGKILL)
                return
            except ProcessLookupError:
                pass
        if time.monotonic() > deadline:
            sys.exit("not ok no daemon comes")
        time.sleep(0.01)
