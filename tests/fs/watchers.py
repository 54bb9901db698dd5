#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""watchers.py MOUNT: a thousand inotify watches, and all nodes go up.

As many watchers as the system allows, up to fifty, share the files of all nodes.
Each must see the last change of each state, and read what it has become.
"""
import ctypes
import os
import select
import struct
import sys
import time

WATCHES = 1000
IN_CLOSE_WRITE, IN_NONBLOCK = 0x8, 0o4000
FILES = ("state", "status.json", "progress", "spec", "error", "log", "disk",
         "console")

root = sys.argv[1]
libc = ctypes.CDLL(None, use_errno=True)
nodes = sorted(os.listdir(root + "/nodes"))
paths = [f"{root}/nodes/{n}/{f}" for n in nodes for f in FILES]
watchers, watches = [], 0
while watches < WATCHES:
    fd = libc.inotify_init1(IN_NONBLOCK)
    if fd < 0:
        sys.exit(f"{watches} watches in {len(watchers)} watchers, then: " +
                 os.strerror(ctypes.get_errno()))
    watched = {}
    for path in paths:
        wd = libc.inotify_add_watch(fd, path.encode(), 0xfff)
        if wd < 0:
            sys.exit(f"{path}: {os.strerror(ctypes.get_errno())}")
        watched[wd] = path
    watchers.append((fd, watched))
    watches += len(watched)


def changed(fd):
    """Watch descriptors of files that somebody wrote and closed."""
    data, at = os.read(fd, 1 << 20), 0
    while at < len(data):
        wd, mask, _, length = struct.unpack_from("iIII", data, at)
        at += 16 + length
        if mask & IN_CLOSE_WRITE:
            yield wd


with open(root + "/state", "w") as f:
    f.write("up")
began = time.monotonic()
# A state that was not up when a watcher was woken must wake it again.
waiting = {(fd, wd) for fd, watched in watchers
           for wd, path in watched.items() if path.endswith("/state")}
poll = select.poll()
for fd, _ in watchers:
    poll.register(fd, select.POLLIN)
paths_of = dict(watchers)
while waiting:
    ready = poll.poll(20000)
    if not ready:
        sys.exit(f"{len(waiting)} of the watchers of a state heard nothing")
    for fd, _ in ready:
        for wd in changed(fd):
            if (fd, wd) in waiting:
                with open(paths_of[fd][wd]) as f:
                    if f.read() == "up\n":
                        waiting.discard((fd, wd))
print(f"# {watches} watches of {len(watchers)} watchers: "
      f"{(time.monotonic() - began) * 1000:.0f} ms until all knew")
