#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# blocked.py WHAT: one call that blocks, in the tree that is the working
# directory.  Prints "ready" before it, then "ok" or the name of its errno.  A
# line on stdin lets it begin.
import errno
import os
import select
import signal
import sys

WHAT = sys.argv[1]
SPEC = b'{"cpus":2}\n'
signal.signal(signal.SIGINT, signal.SIG_DFL)


def ready():
    print("ready", flush=True)
    sys.stdin.readline()


def wait():
    fd = os.open("wait/b", os.O_RDONLY)
    ready()
    return os.read(fd, 100)


def console():
    fd = os.open("nodes/c/console", os.O_RDWR)
    ready()
    return os.read(fd, 100)


def poll():
    fd = os.open("nodes/b/state", os.O_RDONLY)
    os.read(fd, 100)
    p = select.poll()
    p.register(fd, select.POLLPRI)
    p.poll(0)
    ready()
    p.poll()
    os.lseek(fd, 0, os.SEEK_SET)
    return os.read(fd, 100)


def write():
    fd = os.open("nodes/a/spec", os.O_WRONLY | os.O_TRUNC)
    ready()
    os.write(fd, SPEC)


def fsync():
    fd = os.open("nodes/a/spec", os.O_WRONLY | os.O_TRUNC)
    os.write(fd, SPEC)
    ready()
    os.fsync(fd)


def close():
    fd = os.open("nodes/a/spec", os.O_WRONLY | os.O_TRUNC)
    os.write(fd, SPEC)
    ready()
    os.close(fd)


def rename():
    with open("nodes/a/new", "wb") as f:
        f.write(SPEC)
    ready()
    os.rename("nodes/a/new", "nodes/a/spec")


def verb():
    fd = os.open("nodes/a/state", os.O_WRONLY)
    ready()
    os.write(fd, b"up\n")


def mkdir():
    ready()
    os.mkdir("nodes/made")


def request():
    fd = os.open("status.json", os.O_RDONLY)
    ready()
    return os.pread(fd, 100, 1)


try:
    globals()[WHAT]()
    print("ok")
except OSError as e:
    print(errno.errorcode[e.errno])
