#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# poll.py MOUNT RUNTIME_DIR: what poll(2) and its kin say of the tree.
import ctypes
import errno
import os
import select
import signal
import sys
import threading

import checks
from checks import M, R, check


def state(node, word=None):
    if word is None:
        with open(f"{M}/nodes/{node}/state") as f:
            return f.read()
    with open(f"{M}/nodes/{node}/state", "w") as f:
        f.write(word)


def settle(node):
    with open(f"{M}/wait/{node}") as f:
        return f.read()


def later(call, *args):
    """Does it once this thread waits in its system call."""
    def run():
        with open(f"/proc/self/task/{me}/stat") as f:
            while f.seek(0) or f.read().rsplit(")", 1)[1].split()[0] != "S":
                pass
        call(*args)
    me = threading.get_native_id()
    thread = threading.Thread(target=run)
    thread.start()
    return thread


CHANGED = select.POLLPRI | select.POLLERR
ALWAYS = select.POLLIN | select.POLLRDNORM

# --- a text, level-triggered ---
fd = os.open(f"{M}/nodes/node01/state", os.O_RDONLY)
p = select.poll()
p.register(fd, select.POLLIN | select.POLLPRI)
os.read(fd, 100)
check("a text is always readable", p.poll(0), [(fd, select.POLLIN)])
p.modify(fd, select.POLLPRI)
check("unchanged since it was read", p.poll(0), [])
thread = later(state, "node01", "up")
check("a change wakes", p.poll(checks.LIMIT * 1000), [(fd, CHANGED)])
thread.join()
check("and is told until it is read", p.poll(0), [(fd, CHANGED)])
settle("node01")
check("a read at 0", os.pread(fd, 100, 0), b"up\n")
check("ends it", p.poll(0), [])

# --- epoll, both ways, and select ---
e = select.epoll()
e.register(fd, select.EPOLLPRI)
edge = select.epoll()
edge.register(fd, select.EPOLLPRI | select.EPOLLET)
edge.poll(0)
thread = later(state, "node01", "down")
check("epoll", [x for x, _ in e.poll(checks.LIMIT)], [fd])
check("epoll, edge", [x for x, _ in edge.poll(checks.LIMIT)], [fd])
thread.join()
settle("node01")
while edge.poll(0.2):
    pass
check("no edge without a change", edge.poll(0), [])
os.pread(fd, 100, 0)
thread = later(state, "node01", "up")
check("select, exceptfds", select.select([], [], [fd], checks.LIMIT), ([], [], [fd]))
thread.join()
settle("node01")

# --- a growing file ---
events = os.open(f"{M}/events", os.O_RDONLY)
p = select.poll()
p.register(events, select.POLLIN)
check("events: there is something", p.poll(0), [(events, select.POLLIN)])
while os.read(events, 65536):
    pass
check("events: nothing since", p.poll(0), [])
thread = later(state, "node01", "down")
check("events: more", p.poll(checks.LIMIT * 1000), [(events, select.POLLIN)])
thread.join()
check("events: a read gives it", len(os.read(events, 65536)) > 0, True)
settle("node01")

# --- wait/ ---
with open(f"{M}/nodes/node02/spec", "w") as f:
    f.write('{"fake":{"delay":"2s"}}')
state("node02", "up")
w = os.open(f"{M}/wait/node02", os.O_RDONLY | os.O_NONBLOCK)
p = select.poll()
p.register(w, select.POLLIN)
check("wait: not yet", p.poll(0), [])
try:
    os.read(w, 100)
    check("wait: O_NONBLOCK", "no error", "EAGAIN")
except OSError as err:
    check("wait: O_NONBLOCK", err.errno, errno.EAGAIN)
check("wait: when it has settled", p.poll(checks.LIMIT * 1000), [(w, select.POLLIN)])
check("wait: its word", os.read(w, 100), b"up\n")

# --- a signal that is handled ends a read ---
def interrupted(path, flags):
    f = os.open(path, flags)
    over = threading.Event()
    main = threading.get_ident()

    def strike():
        while not over.wait(0.05):
            signal.pthread_kill(main, signal.SIGUSR1)

    thread = threading.Thread(target=strike)
    thread.start()
    got = libc.read(f, ctypes.create_string_buffer(9), 9)
    code = errno.errorcode.get(ctypes.get_errno())
    over.set()
    thread.join()
    os.close(f)
    return got, code


libc = ctypes.CDLL(None, use_errno=True)  # Python's own read goes on
signal.signal(signal.SIGUSR1, lambda *_: None)
signal.siginterrupt(signal.SIGUSR1, True)
with open(f"{M}/nodes/node02/spec", "w") as f:
    f.write('{"fake":{"delay":"1h"}}')
state("node02", "reboot")
for what, path, flags in (
        ("wait", f"{M}/wait/node02", os.O_RDONLY),
        ("a terminal", f"{M}/nodes/node03/console", os.O_RDWR)):
    check(f"{what}: a handled signal", interrupted(path, flags), (-1, "EINTR"))
state("node02", "off")

# --- over the death of the daemon ---
os.pread(fd, 100, 0)
p = select.poll()
p.register(fd, select.POLLPRI)
check("nothing new", p.poll(0), [])


def daemon():
    with open(f"{R}/daemon.pid") as f:
        return int(f.read())


def replace():
    os.kill(daemon(), signal.SIGKILL)
    state("node01", "up")


thread = later(replace)
check("a poller outlives a daemon", p.poll(checks.LIMIT * 1000), [(fd, CHANGED)])
thread.join()
settle("node01")
check("and reads the news", os.pread(fd, 100, 0), b"up\n")
check("then is quiet", p.poll(0), [])

# --- what is gone ---
settle("node03")
gone = os.open(f"{M}/nodes/node03/state", os.O_RDONLY)
os.read(gone, 10)
p = select.poll()
p.register(gone, select.POLLPRI)
thread = later(os.rmdir, f"{M}/nodes/node03")
ready = p.poll(checks.LIMIT * 1000)
thread.join()
check("a file that went: POLLERR and POLLHUP",
      [bits & (select.POLLERR | select.POLLHUP) for _, bits in ready],
      [select.POLLERR | select.POLLHUP])
sys.exit(checks.failed)
