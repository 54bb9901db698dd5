#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# claims.py MOUNT PAGE: what docs/FILES.md says of each file is what happens:
# modes, errors of opening, inotify events, poll bits. A row of the table that
# nothing here changes must be named below.
import ctypes
import errno
import os
import re
import select
import stat
import struct
import sys

import checks
from checks import M, check

PAGE = sys.argv[2]
LIMIT = 20

# Rows that only real machines, switches and builds change: tests/vm/ does.
# Their kind is that of others here.
STILL = {"networks/<network>/" + f for f in ("state", "ports", "reach", "log")}
STILL |= {"images/<image>/" + f for f in ("state", "log")}
STILL |= {"known_hosts"}  # fake nodes have no keys

EVENTS = {"MODIFY": 0x2, "CLOSE_WRITE": 0x8, "CREATE": 0x100, "DELETE": 0x200}
BITS = {"IN": select.POLLIN, "PRI": select.POLLPRI, "ERR": select.POLLERR,
        "OUT": select.POLLOUT}


def words(cell):
    return {w for w in cell.split(", ") if w}


class Row:
    def __init__(self, cells):
        self.path, mode, _, _, errors, events, bits = cells
        self.path = self.path.strip("`")
        self.mode = int(mode.split()[-1], 8)
        self.errors, self.events, self.bits = map(words, (errors, events, bits))
        self.name = self.path
        for each, one in (("<node>", "node01"), ("<network>", "lan"),
                          ("<image>", "netboot")):
            self.name = self.name.replace(each, one)
        self.at = f"{M}/{self.name}"
        self.seen, self.polled = set(), set()

    def directory(self):
        return self.path.endswith("/")

    def grows(self):
        return self.events == {"MODIFY"}


def rows():
    with open(PAGE) as f:
        for line in f:
            cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
            if len(cells) == 7 and cells[0].startswith(" `"):
                yield Row([c.strip() for c in cells])


class Watches:
    def __init__(self, table):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self.libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self.rows = {}
        for row in table:
            at = self.libc.inotify_add_watch(
                self.fd, row.at.encode(), sum(EVENTS.values()))
            if at < 0:
                sys.exit(f"{row.at}: {os.strerror(ctypes.get_errno())}")
            self.rows[at] = row

    def take(self, seconds):
        """Notes what has happened; False when nothing came."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return False
        data = os.read(self.fd, 1 << 16)
        while data:
            at, mask, _, length = struct.unpack_from("iIII", data)
            row = self.rows[at]
            # Who watches a directory is told of its files as well.
            if not (row.directory() and mask & 0xa):
                row.seen |= {k for k, v in EVENTS.items() if mask & v}
            data = data[16 + length:]
        return True


def look(row):
    """What poll says now; then reads all, so that it says when there is more."""
    poll = select.poll()
    poll.register(row.fd, select.POLLIN | select.POLLPRI | select.POLLOUT)
    bits = {k for _, got in poll.poll(0) for k, v in BITS.items() if got & v}
    row.polled |= bits
    try:
        if not row.grows():
            os.pread(row.fd, 1 << 22, 0)
        else:
            while os.read(row.fd, 1 << 16):
                pass
    except OSError as e:
        if e.errno not in (errno.EAGAIN, errno.EIO):
            raise
    return bits


def write(path, text, flags=os.O_WRONLY | os.O_TRUNC):
    """False: refused."""
    fd = os.open(f"{M}/{path}", flags)
    done = True
    try:
        os.write(fd, text.encode())
    except OSError:
        done = False
    try:
        os.close(fd)  # tells of a refused document as well
    except OSError:
        done = False
    return done


def settle(node):
    try:
        with open(f"{M}/wait/{node}") as f:
            return f.read()
    except OSError:
        return None


def story():
    """Changes all that fake nodes can change; a pause after each step."""
    yield os.mkdir(f"{M}/nodes/other")
    yield write("nodes/other/state", "up")
    yield write("spec", '{"name":"another","defaults":{"driver":"fake",'
                        '"fake":{"delay":"10ms"}},"checks":{"x":{'
                        '"from":"node01","tcp":"node01:80","every":"1s"}}}')
    yield write("nodes/node01/state", "up")
    yield settle("node01")
    yield write("nodes/node01/state", "reboot")
    yield settle("node01")
    yield write("nodes/node01/disk", '{"size":"1G"}')
    yield write("nodes/node01/spec", '{"cpus":2,"tls":{},"run":{"x":{'
                                     '"command":["/bin/true"]}}}')
    yield settle("node01")
    yield write("nodes/node01/spec", "{no}")
    yield write("networks/lan/spec", '{"mtu":1400}')
    yield write("networks/lan/spec", "{no}")
    yield write("images/netboot/spec", '{"kind":"netboot","build":"debian",'
                                       '"packages":["vim-tiny"]}')
    yield write("images/netboot/spec", "{no}")
    yield write("nodes/node01/state", "off")
    yield settle("node01")
    yield os.mkdir(f"{M}/networks/other")
    yield os.mkdir(f"{M}/images/other")
    try:
        yield os.mkdir(f"{M}/nodes/No")
    except OSError:
        pass
    yield write("nodes/other/state", "off")
    yield settle("other")
    for what in ("nodes", "networks", "images"):
        yield os.rmdir(f"{M}/{what}/other")


table = list(rows())
if len(table) < 30:
    sys.exit(f"{PAGE}: {len(table)} rows are no table")
for row in table:
    st = os.stat(row.at)
    check(f"{row.path}: mode", stat.S_IMODE(st.st_mode), row.mode)
    check(f"{row.path}: directory", stat.S_ISDIR(st.st_mode), row.directory())
    if row.directory():
        continue
    try:
        os.close(os.open(row.at, os.O_WRONLY))
        got = None
    except OSError as e:
        got = errno.errorcode[e.errno]
    check(f"{row.path}: opened for writing", got or "OK",
          "EACCES" if "EACCES" in row.errors else "OK")
    row.fd = os.open(row.at, os.O_NONBLOCK |
                     (os.O_RDWR if "OUT" in row.bits else os.O_RDONLY))
    look(row)
watches = Watches(table)
files = [row for row in table if not row.directory()]
for _ in story():
    while watches.take(0.05):
        pass
    for row in files:
        look(row)
still = 0
while still < LIMIT * 10 and any(
        row.seen != row.events and row.path not in STILL for row in table):
    still += not watches.take(0.1)
for row in table:
    if row.path in STILL:
        check(f"{row.path}: inotify, no more", row.seen - row.events, set())
        check(f"{row.path}: poll, no more", row.polled - row.bits, set())
        continue
    check(f"{row.path}: inotify", sorted(row.seen), sorted(row.events))
    if not row.directory():
        check(f"{row.path}: poll", sorted(row.polled), sorted(row.bits))
sys.exit(checks.failed)
