#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# scratch.py MOUNT RUNTIME_DIR: temporary files, renames onto documents, names
# that are gone for a moment.
import ctypes
import json
import os
import random
import stat
import struct
import sys
import threading
import time

import checks
from checks import M, check, eventually, kill_daemon, read, refused, told, write

NODE = f"{M}/nodes/node01"
SIZE_MAX, FILES_MAX, TOTAL_MAX = 4 << 20, 64, 64 << 20
TABLE = sorted(os.listdir(NODE))
libc = ctypes.CDLL(None, use_errno=True)
os.chdir(NODE)


def document(n):
    return f'{{"cpus":{n}}}\n'


def scratches():
    return sorted(set(os.listdir(".")) - set(TABLE))


def renameat2(old, new, flags):
    if libc.renameat2(-100, old.encode(), -100, new.encode(), flags):
        raise OSError(ctypes.get_errno(), "renameat2")
    return "OK"


def create(name, flags=os.O_RDWR | os.O_CREAT | os.O_EXCL, mode=0o644):
    return os.open(name, flags, mode)


def clear():
    for name in scratches():
        os.unlink(name)


# --- a file like any other ---
os.umask(0o027)
fd = create("a", mode=0o666)
st = os.fstat(fd)
check("mode", stat.S_IMODE(st.st_mode), 0o640)
check("owner", (st.st_uid, st.st_gid), (os.geteuid(), os.getegid()))
check("empty", (st.st_size, st.st_nlink), (0, 1))
check("listed", scratches(), ["a"])
check("by its number", [e.inode() for e in os.scandir(".") if e.name == "a"],
      [st.st_ino])
os.write(fd, b"hello world")
os.pwrite(fd, b"W", 6)
os.pwrite(fd, b"!", 15)
check("content", os.pread(fd, 100, 0), b"hello World\0\0\0\0!")
os.ftruncate(fd, 5)
os.ftruncate(fd, 8)
check("cut and made longer", os.pread(fd, 100, 0), b"hello\0\0\0")
check("size", os.stat("a").st_size, 8)
os.truncate("a", 2)
other = os.open("a", os.O_WRONLY | os.O_APPEND)
os.write(other, b"y ")
os.write(fd, b"")
os.write(other, b"you")
os.close(other)
check("O_APPEND", read("a"), "hey you")
os.close(os.open("a", os.O_WRONLY | os.O_TRUNC))
check("O_TRUNC", os.fstat(fd).st_size, 0)
refused("O_EXCL", "EEXIST", create, "a")
check("without O_EXCL it is that file",
      os.fstat(os.open("a", os.O_RDWR | os.O_CREAT)).st_ino, st.st_ino)
os.chmod("a", 0o4751)
check("chmod, without set-user-id", stat.S_IMODE(os.stat("a").st_mode), 0o751)
os.utime("a", ns=(10**18 + 1, 10**18 + 2))
check("utime, to the nanosecond",
      (os.stat("a").st_atime_ns, os.stat("a").st_mtime_ns),
      (10**18 + 1, 10**18 + 2))
os.lseek(fd, 0, os.SEEK_SET)
os.write(fd, b"x")
check("a write sets mtime", os.stat("a").st_mtime > 1.6e9, True)
if os.geteuid() == 0:
    os.chown("a", 1234, 4321)
    check("chown", (os.stat("a").st_uid, os.stat("a").st_gid), (1234, 4321))
check("fsync", (told(os.fsync, fd), told(os.fdatasync, fd)), (None, None))
os.rename("a", "b")
check("rename", (scratches(), os.stat("b").st_ino), (["b"], st.st_ino))
write("c", "old")
os.rename("b", "c")
check("rename over another", (scratches(), read("c")), (["c"], "x"))
os.unlink("c")
check("unlinked", (scratches(), os.fstat(fd).st_nlink), ([], 0))
os.write(fd, b"yz")
check("and still open", os.pread(fd, 10, 0), b"xyz")
os.close(fd)
write("c", "new")
check("a number is not used twice", os.stat("c").st_ino != st.st_ino, True)

os.symlink("user@host.123:456", ".#spec")
check("a symbolic link", os.readlink(".#spec"), "user@host.123:456")
check("is one", stat.S_ISLNK(os.lstat(".#spec").st_mode), True)
check("of a size", os.lstat(".#spec").st_size, 17)
refused("a second of that name", "EEXIST", os.symlink, "x", ".#spec")
os.symlink("spec", "way")
check("leads", read("way"), read("spec"))
refused("one named as a file of the tree", "EEXIST", os.symlink, "x", "spec")
refused("a hard link", "EPERM", os.link, "c", "d")
refused("a hard link to spec", "EPERM", os.link, "spec", "d")
refused("a folder", "EPERM", os.mkdir, "d")
refused("a FIFO", "EPERM", os.mkfifo, "d")
refused("RENAME_NOREPLACE", "EEXIST", renameat2, "c", "way", 1)
check("to a free name", told(renameat2, "c", "e", 1), "OK")
refused("RENAME_EXCHANGE", "EINVAL", renameat2, "e", "way", 2)
os.rename("e", f"{M}/nodes/node02/e")
check("to another folder", read(f"{M}/nodes/node02/e"), "new")
os.unlink(f"{M}/nodes/node02/e")
clear()
for place in ".", "nodes", "networks", "images", "wait":
    got = told(write, f"{M}/{place}/x", "x")
    check(f"one in {place}/", got, None if place == "." else "EPERM")
for place in "networks/lan", "images/netboot":
    check(f"one in {place}/", told(write, f"{M}/{place}/x", "x"), None)
    os.unlink(f"{M}/{place}/x")
refused("to a place that has none", "EPERM", os.rename, f"{M}/x", f"{M}/nodes/x")
os.unlink(f"{M}/x")

# --- names ---
for name in b"a\nb", b"\xff\xfe", b" ", b"-rf", b"nodes", b"n" * 255, b"\x1b[2J":
    os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    check(f"the name {name[:9]!r}", os.listdir(b".").count(name), 1)
    os.unlink(name)
refused("a name of 256 bytes", "ENAMETOOLONG", create, "n" * 256)
refused("a rename to it", "ENAMETOOLONG", lambda: (
    write("x", "x"), os.rename("x", "n" * 256)))
check("leaves the file", read("x"), "x")
refused("a link of 5,000 bytes", "ENAMETOOLONG", os.symlink, "x" * 5000, "l")
clear()

# --- limits ---
before = sorted(os.listdir("."))
for i in range(FILES_MAX):
    write(f"f{i}", str(i))
check(f"{FILES_MAX} of them", len(scratches()), FILES_MAX)
refused("one more", "ENOSPC", create, "more")
refused("a link", "ENOSPC", os.symlink, "x", "more")
check("a rename of one", told(os.rename, "f0", "f"), None)
check("a document, though", told(write, "spec", document(1)), None)
os.unlink("f")
check("one more, when one went", told(write, "more", "x"), None)
seen = []
with os.scandir(".") as entries:  # names that go while they are listed
    for entry in entries:
        seen.append(entry.name)
        if entry.name in scratches():
            os.unlink(entry.name)
check("each is listed once", len(seen), len(set(seen)))
clear()
check("all gone", sorted(os.listdir(".")), before)

fd = create("big")
block = random.randbytes(1 << 16)
for at in range(0, SIZE_MAX, len(block)):
    os.pwrite(fd, block, at)
check("4 MiB", (os.fstat(fd).st_size, os.pread(fd, 1 << 16, SIZE_MAX - (1 << 16))),
      (SIZE_MAX, block))
refused("a byte more", "EFBIG", os.pwrite, fd, b"x", SIZE_MAX)
check("what fits of two", os.pwrite(fd, b"xy", SIZE_MAX - 1), 1)
refused("far beyond", "EFBIG", os.pwrite, fd, b"x", 1 << 40)
refused("truncate to more", "EFBIG", os.ftruncate, fd, SIZE_MAX + 1)
check("the file stays", os.fstat(fd).st_size, SIZE_MAX)
refused("as a document", "EFBIG", os.rename, "big", "spec")
os.close(fd)
nodes = ["node01", "node02", "node03"]
made = []


def fill():
    for i in range(TOTAL_MAX // SIZE_MAX + 1):
        made.append(f"{M}/nodes/{nodes[i % 3]}/fill{i}")
        os.close(os.open(made[-1], os.O_WRONLY | os.O_CREAT))
        os.truncate(made[-1], SIZE_MAX)


refused("more than 64 MiB in all", "ENOSPC", fill)
check("after nearly all of them", len(made) >= TOTAL_MAX // SIZE_MAX - 1, True)
check("a document, though", told(write, "spec", document(2)), None)
for name in made:
    os.unlink(name)
for _ in range(5):  # what is given back is there again
    made.clear()
    told(fill)
    for name in made:
        os.unlink(name)
check("and all of it again", len(made) >= TOTAL_MAX // SIZE_MAX - 1, True)
clear()

# --- put in place of a document ---
write("new", document(3))
number = os.stat("spec").st_ino
held = os.open("spec", os.O_RDONLY)
os.rename("new", "spec")
check("renamed onto spec", (read("spec"), scratches()), (document(3), []))
check("spec is the same file", os.stat("spec").st_ino, number)
check("of its mode", stat.S_IMODE(os.stat("spec").st_mode), 0o600)
check("of one link", os.stat("spec").st_nlink, 1)
check("an open one goes on", os.pread(held, 100, 0).decode(), document(3))
os.close(held)
for what, text, wanted in (
        ("not JSON", '{"cpus":', "EINVAL"), ("an unknown key", '{"x":1}', "EINVAL"),
        ("nothing", "", "EINVAL"), ("blanks", " \n", "EINVAL"),
        ("a network that is not there", '{"nics":{"a":{"network":"b"}}}', "ENOENT"),
        ("2 MiB", "{" + " " * (2 << 20) + "}", "EFBIG")):
    write("new", text)
    refused(f"{what}, renamed onto spec", wanted, os.rename, "new", "spec")
    check("... spec and the file stay", (read("spec"), read("new")),
          (document(3), text))
    check("... error tells", read("error").startswith("refused: spec: "), True)
os.unlink("new")
os.symlink("spec", "new")
refused("a symbolic link", "EINVAL", os.rename, "new", "spec")
os.unlink("new")
write("new", document(2))
refused("RENAME_NOREPLACE onto spec", "EEXIST", renameat2, "new", "spec", 1)
os.rename("new", "spec")
check("an accepted one takes the refusal away", read("error"), "")
write("new", '{"size":"64M"}')
os.rename("new", "disk")
spec = json.loads(read("spec"))
check("onto disk", (json.loads(read("disk")), spec["cpus"], spec["disk"]),
      ({"size": "64M"}, 2, {"size": "64M"}))
write("new", "null")
os.rename("new", "disk")
write("new", "up")
for name in "state", "status.json", "console":
    refused(f"onto {name}", "EPERM", os.rename, "new", name)
os.unlink("new")
write("new", document(4))
os.rename("new", f"{M}/nodes/node02/spec")
check("onto another node's", read(f"{M}/nodes/node02/spec"), document(4))
refused("spec onto spec", "EPERM", os.rename, "spec", f"{M}/nodes/node02/spec")
write("new", document(5))
fd = os.open("new", os.O_RDWR)
os.rename("new", "spec")
os.write(fd, b"late")
check("a writer of the old name changes nothing", read("spec"), document(5))
os.close(fd)

# --- gone for a moment ---
RETURN = 2.0
for name in "state", "disk", "error", "console":
    refused(f"unlink {name}", "EPERM", os.unlink, name)
    refused(f"rename {name}", "EPERM", os.rename, name, "other")


class Watch:
    """inotify events of a folder: (mask, name)."""

    def __init__(self, path):
        self.fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        libc.inotify_add_watch(self.fd, path.encode(), 0xFC6)
        self.seen = []

    def saw(self, mask, name):
        try:
            data = os.read(self.fd, 1 << 16)
        except BlockingIOError:
            data = b""
        while data:
            _, bits, _, size = struct.unpack("iIII", data[:16])
            self.seen.append((bits, data[16:16 + size].rstrip(b"\0").decode()))
            data = data[16 + size:]
        return any(bits & mask and n == name for bits, n in self.seen)


CREATE, DELETE, MOVED_FROM, MOVED_TO, CLOSE_WRITE = 0x100, 0x200, 0x40, 0x80, 8
watch = Watch(".")
began = time.monotonic()
held = os.open("spec", os.O_RDONLY)
os.unlink("spec")
refused("unlinked, spec is not there", "ENOENT", os.stat, "spec")
check("nor listed", "spec" in os.listdir("."), False)
check("what is open goes on", os.pread(held, 99, 0).decode(), document(5))
check("the configuration stays",
      json.loads(read("status.json"))["spec"]["cpus"], 5)
refused("a second unlink", "ENOENT", os.unlink, "spec")
refused("a link of that name", "EPERM", os.symlink, "x", "spec")
eventually("it is back", lambda: os.path.exists("spec"))
took = time.monotonic() - began
check(f"after {took:.1f} s", RETURN - 0.1 <= took < RETURN + 5, True)
check("with its content", (read("spec"), "spec" in os.listdir(".")),
      (document(5), True))
check("watchers saw it go", watch.saw(DELETE, "spec"), True)
eventually("and come", lambda: watch.saw(CREATE, "spec"))
os.close(held)

os.unlink("spec")
fd = create("spec", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
check("made anew it is the same file", os.fstat(fd).st_ino, number)
check("with the old content", read("spec"), document(5))
os.write(fd, document(6).encode())
os.close(fd)
check("until it is written", read("spec"), document(6))
check("of its mode", stat.S_IMODE(os.stat("spec").st_mode), 0o600)
os.unlink("spec")
refused("a bad one", "EINVAL", write, "spec", '{"x":')
check("leaves the old", read("spec"), document(6))
os.unlink("spec")
os.close(create("spec"))
check("an empty one too", read("spec"), document(6))
os.unlink("spec")
write("new", document(7))
os.rename("new", "spec")
check("a rename onto the gone name", read("spec"), document(7))
os.unlink("spec")
write("new", "{")
watch = Watch(".")
refused("a bad one, renamed", "EINVAL", os.rename, "new", "spec")
check("the old is back", read("spec"), document(7))
eventually("and watchers see it come", lambda: watch.saw(CREATE, "spec"))
os.unlink("new")

os.rename("spec", "spec~")
check("a backup has the content", read("spec~"), document(7))
check("and is a file of its own", os.stat("spec~").st_ino != number, True)
refused("spec is gone", "ENOENT", os.stat, "spec")
write("spec", document(8))
check("made anew", (read("spec"), read("spec~")), (document(8), document(7)))
os.rename("spec", "spec~")
check("a second backup", read("spec~"), document(8))
os.rename("spec~", "spec")
check("and back", (read("spec"), scratches()), (document(8), []))
os.rename("spec", f"{M}/nodes/node02/kept")
check("a backup elsewhere", read(f"{M}/nodes/node02/kept"), document(8))
os.unlink(f"{M}/nodes/node02/kept")
eventually("spec is back after a rename too", lambda: os.path.exists("spec"))
for i in range(FILES_MAX):
    write(f"f{i}", str(i))
refused("a backup where there is no room", "ENOSPC", os.rename, "spec", "spec~")
check("spec stays", read("spec"), document(8))
check("over another there is", told(os.rename, "spec", "f0"), None)
check("a copy", read("f0"), document(8))
clear()
write("spec", document(9))

# --- a node that goes takes them along ---
os.mkdir(f"{M}/nodes/short")
write(f"{M}/nodes/short/x", "x")
fd = os.open(f"{M}/nodes/short/x", os.O_RDWR)
os.unlink(f"{M}/nodes/short/spec")
check("rmdir", told(os.rmdir, f"{M}/nodes/short"), None)
check("who has it open reads on", os.pread(fd, 9, 0), b"x")
os.close(fd)
os.mkdir(f"{M}/nodes/short")
check("the next of that name has none", sorted(os.listdir(f"{M}/nodes/short")),
      TABLE)
os.rmdir(f"{M}/nodes/short")

# --- the daemon dies ---
fd = create("half", mode=0o600)
os.write(fd, b'{"cpus":')
os.symlink("user@host", ".#spec")
gone = create("nameless")
os.write(gone, b"no name")
os.unlink("nameless")
inode = os.fstat(fd).st_ino
kill_daemon()
os.write(fd, b"10}\n")
check("a half-written file goes on", read("half"), document(10))
check("with number and mode", (os.stat("half").st_ino, os.stat("half").st_mode),
      (inode, stat.S_IFREG | 0o600))
check("a link is there", os.readlink(".#spec"), "user@host")
check("one without a name too", os.pread(gone, 99, 0), b"no name")
os.close(gone)
os.close(fd)
os.rename("half", "spec")
check("and becomes the document", read("spec"), document(10))
os.unlink(".#spec")
os.unlink("spec")
kill_daemon()
refused("a name that is gone stays so", "ENOENT", os.stat, "spec")
write("spec", document(11))
check("until it is made anew", read("spec"), document(11))
os.rename("spec", "spec~")
kill_daemon()
eventually("or comes back", lambda: os.path.exists("spec"))
check("with its content", (read("spec"), read("spec~")), (document(11),) * 2)
clear()

# Files made, moved and taken away, specs replaced in every way, while daemons
# are killed: no call fails, nothing is left over.
KILLS = 25
over = threading.Event()
bad, rounds, longest = [], {}, [0.0]


def worker(f):
    def run():
        i = 0
        try:
            while not over.is_set():
                began = time.monotonic()
                f(i)
                longest[0] = max(longest[0], time.monotonic() - began)
                i += 1
                rounds[f.__name__] = i
        except Exception as e:  # whatever it is, the user saw it
            bad.append(f"{f.__name__}, round {i}: {e!r}")
    return threading.Thread(target=run, daemon=True)


def same(got, wanted):
    if got != wanted:
        raise ValueError(f"{got!r} is not {wanted!r}")


def replacer(i):  # sed -i
    write("sed1", document(i % 200 + 1))
    os.rename("sed1", "spec")
    same(read("spec"), document(i % 200 + 1))


def second(i):  # install, and vim with a backup
    path = f"{M}/nodes/node02/"
    if i % 2:
        os.rename(path + "spec", path + "spec~")
    else:
        os.unlink(path + "spec")
    write(path + "spec", document(i % 200 + 1))
    same(read(path + "spec"), document(i % 200 + 1))
    if i % 2:
        os.unlink(path + "spec~")


def refuser(i):
    path = f"{M}/nodes/node03/"
    write(path + "x", '{"cpus":')
    same(told(os.rename, path + "x", path + "spec"), "EINVAL")
    same(read(path + "x"), '{"cpus":')


def files(i):
    fd = create("t1")
    for _ in range(5):
        os.write(fd, b"0123456789")
    os.rename("t1", "t2")
    os.symlink("x", "t3")
    os.write(fd, b"end")
    same(os.pread(fd, 99, 0), b"0123456789" * 5 + b"end")
    os.unlink("t2")
    os.unlink("t3")
    same(os.fstat(fd).st_size, 53)
    os.close(fd)


threads = [worker(f) for f in (replacer, second, refuser, files)]
for thread in threads:
    thread.start()
for _ in range(KILLS):
    # Not before something was done, however slow the machine is; then at any
    # instant.
    before, until = sum(rounds.values()), time.monotonic() + checks.LIMIT
    while sum(rounds.values()) < before + 4 and time.monotonic() < until:
        time.sleep(0.002)
    time.sleep(random.uniform(0, 0.03))
    kill_daemon()
    if bad:
        break
over.set()
for thread in threads:
    thread.join(60)
check(f"{KILLS} kills while {rounds} rounds were made", bad, [])
print(f"# longest round: {longest[0] * 1000:.0f} ms")
check("nothing is left over", scratches(), [])
os.unlink(f"{M}/nodes/node03/x")
sys.exit(checks.failed)
