#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# told.py MOUNT HERALD: a change while watchers are told of the one before must
# be told as well.  Each refusal follows at once on the event of the last one;
# every second time the herald stops there, before it says that it is done.
import ctypes
import os
import select
import signal
import sys

M, HERALD = sys.argv[1], int(sys.argv[2])
ROUNDS, LIMIT_MS, IN_MODIFY = 200, 10000, 2

libc = ctypes.CDLL(None, use_errno=True)
events = libc.inotify_init1(os.O_CLOEXEC)
if libc.inotify_add_watch(events, f"{M}/nodes/node01/error".encode(),
                          IN_MODIFY) < 0:
    sys.exit(os.strerror(ctypes.get_errno()))
state = os.open(f"{M}/nodes/node01/state", os.O_WRONLY)
poll = select.poll()
poll.register(events, select.POLLIN)


def refuse(i):
    try:
        os.write(state, b"verb%d" % i)
        sys.exit("an unknown verb was taken")
    except OSError:
        pass


refuse(0)
for i in range(1, ROUNDS):
    if not poll.poll(LIMIT_MS):
        sys.exit(f"nobody was told of refusal {i - 1}")
    stopped = i % 2
    if stopped:
        os.kill(HERALD, signal.SIGSTOP)
    os.read(events, 65536)
    refuse(i)
    if stopped:
        os.kill(HERALD, signal.SIGCONT)
if not poll.poll(LIMIT_MS):
    sys.exit("nobody was told of the last refusal")
with open(f"{M}/nodes/node01/error") as f:
    if f"verb{ROUNDS - 1}" not in f.read():
        sys.exit("the last refusal is not there")
