#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One operation by plain system calls; prints its errno's name, or OK.

errno.py write FILE         one write(2) of stdin after O_TRUNC, then close
errno.py append FILE        the same with O_APPEND
errno.py pieces SIZE FILE   many writes of SIZE bytes
errno.py put FILE           write without O_TRUNC (state, console)
errno.py mkdir|rmdir|unlink|create|readdir|read|readwrite|open_append PATH
errno.py rename|link|symlink FROM TO
errno.py chmod MODE PATH; truncate SIZE PATH; nonblock PATH; pwrite OFFSET PATH

An error that close(2) alone gives is printed as "close:EINVAL".
"""
import errno
import os
import sys


def write(path, flags, size=None):
    data = sys.stdin.buffer.read()
    fd = os.open(path, flags)
    size = size or max(len(data), 1)
    try:
        at = 0
        while True:
            at += os.write(fd, data[at:at + size])
            if at == len(data):
                break
    except OSError:
        try:
            os.close(fd)
        except OSError:
            pass
        raise
    try:
        os.close(fd)
    except OSError as e:
        return "close:" + errno.errorcode[e.errno]
    return "OK"


def read(path, flags):
    fd = os.open(path, flags)
    try:
        while os.read(fd, 65536):
            pass
    finally:
        os.close(fd)


def run(op, *args):
    last = args[-1]
    if op == "write":
        return write(last, os.O_WRONLY | os.O_TRUNC)
    if op == "append":
        return write(last, os.O_WRONLY | os.O_APPEND)
    if op == "put":
        return write(last, os.O_WRONLY)
    if op == "pieces":
        return write(last, os.O_WRONLY | os.O_TRUNC, int(args[0]))
    if op == "create":
        os.close(os.open(last, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
    elif op == "read":
        read(last, os.O_RDONLY)
    elif op == "nonblock":
        read(last, os.O_RDONLY | os.O_NONBLOCK)
    elif op == "readwrite":
        os.close(os.open(last, os.O_RDWR))
    elif op == "open_append":
        os.close(os.open(last, os.O_WRONLY | os.O_APPEND))
    elif op == "readdir":
        os.listdir(last)
    elif op == "pwrite":
        fd = os.open(last, os.O_WRONLY)
        os.pwrite(fd, sys.stdin.buffer.read(), int(args[0]))
    elif op in ("rename", "link", "symlink"):
        getattr(os, op)(*args)
    elif op == "chmod":
        os.chmod(last, int(args[0], 8))
    elif op == "truncate":
        os.truncate(last, int(args[0]))
    elif op in ("mkdir", "rmdir", "unlink"):
        getattr(os, op)(last)
    else:
        sys.exit("errno.py: unknown operation " + op)
    return "OK"


try:
    print(run(*sys.argv[1:]))
except OSError as error:
    print(errno.errorcode[error.errno])
