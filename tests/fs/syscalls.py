#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# syscalls.py MOUNT RUNTIME_DIR: what each system call answers.
import ctypes
import errno
import fcntl
import mmap
import os
import resource
import signal
import stat
import sys
import time

import checks
from checks import M, check, read, refused, told, write

libc = ctypes.CDLL(None, use_errno=True)
os.chdir(f"{M}/nodes/node01")
WRONLY, RDWR, TRUNC = os.O_WRONLY, os.O_RDWR, os.O_TRUNC


def document(n):
    return f'{{"cpus":{n}}}\n'.encode()


def spec():
    with open("spec", "rb") as f:
        return f.read()


def put(n):
    write("spec", document(n).decode())


def child(call):
    """In another process, which then ends with all its descriptors."""
    pid = os.fork()
    if pid == 0:
        call()
        os._exit(0)
    return os.waitpid(pid, 0)[1]


# --- truncate and O_TRUNC ---
put(10)
check("O_TRUNC alone changes nothing",
      (os.close(os.open("spec", WRONLY | TRUNC)), spec()), (None, document(10)))
refused("truncate to 0", None, os.truncate, "spec", 0)
check("changes nothing", spec(), document(10))
refused("truncate to its size", None, os.truncate, "spec", len(document(10)))
refused("truncate to less", "EINVAL", os.truncate, "spec", 3)
refused("truncate to more", "EINVAL", os.truncate, "spec", 1 << 40)
refused("truncate of a file that nobody writes", "EACCES", os.truncate,
        "status.json", 0)
fd = os.open("spec", RDWR)
os.ftruncate(fd, 0)
check("ftruncate begins anew", os.pread(fd, 99, 0), b"")
check("others see the old", spec(), document(10))
os.write(fd, document(11))
check("what was written is read", os.pread(fd, 99, 0), document(11))
check("and fstat tells it", os.fstat(fd).st_size, len(document(11)))
refused("ftruncate to more than there is", "EINVAL", os.ftruncate, fd, 4096)
os.close(fd)
check("in force at the close", spec(), document(11))

# What a writer sees is not what others see, also once it is over: the kernel
# keeps one size for all. (spec is looked up anew each time, disk is not.)
write("disk", '{"size":"64M"}')
size = len(read("disk"))
reader = os.open("disk", os.O_RDONLY)
fd = os.open("disk", RDWR)
os.ftruncate(fd, 0)
check("ftruncate: others see the old size",
      (os.stat("disk").st_size, os.fstat(reader).st_size), (size, size))
os.ftruncate(fd, 0)
os.close(fd)
check("and once it was given up", os.stat("disk").st_size, size)
os.close(os.open("disk", WRONLY | TRUNC))
check("O_TRUNC, given up", os.stat("disk").st_size, size)
fd = os.open("disk", WRONLY | TRUNC)
os.write(fd, b'{"size":"1')
check("half a document: others see the old size",
      child(lambda: os.stat("disk").st_size == size or os._exit(1)), 0)
told(os.close, fd)
check("and once it was refused", os.stat("disk").st_size, size)
write("disk", '{"size":"64M","format":"raw"}')
check("then all see the new size", os.stat("disk").st_size, len(read("disk")))
os.close(reader)
write("disk", "null")
put(11)

# --- in the middle, at the end ---
fd = os.open("spec", WRONLY)
os.pwrite(fd, b"2", len(b'{"cpus":1'))
os.close(fd)
check("pwrite in the middle", spec(), document(12))
fd = os.open("spec", WRONLY)
os.pwrite(fd, b'"', 3)
refused("one that breaks it, at the close", "EINVAL", os.close, fd)
check("changes nothing", spec(), document(12))
fd = os.open("spec", WRONLY | TRUNC)
os.pwrite(fd, document(13)[8:], 8)
os.pwrite(fd, document(13)[:8], 0)
os.close(fd)
check("the end before the beginning", spec(), document(13))
fd = os.open("spec", WRONLY | TRUNC)
refused("a write beyond the limit", "EFBIG", os.pwrite, fd, b"x", 1 << 20)
told(os.close, fd)
fd = os.open("spec", WRONLY | os.O_APPEND)
os.write(fd, b'{"memory":')
os.write(fd, b'"1G"}')
os.fsync(fd)
check("O_APPEND patches", (b'"1G"' in spec(), b"13" in spec()), (True, True))
os.write(fd, b'{"memory":null}')
os.close(fd)
check("twice with one descriptor", b"memory" in spec(), False)

# --- several descriptors ---
put(20)
a, b = (os.open("spec", WRONLY | TRUNC) for _ in range(2))
os.write(a, document(21)[:5])
os.write(b, document(22))
os.close(b)
check("two descriptors, two transactions", spec(), document(22))
os.write(a, document(21)[5:])
os.close(a)
check("the later one counts", spec(), document(21))
a = os.open("spec", WRONLY | TRUNC)
b = os.dup(a)
os.write(a, document(23)[:5])
refused("closing a copy of half a document", "EINVAL", os.close, b)
os.write(a, document(23)[5:])
os.close(a)
check("does not end it", spec(), document(23))
a = os.open("spec", WRONLY | TRUNC)
os.write(a, document(24)[:5])
check("a child that ends", child(lambda: None), 0)
os.write(a, document(24)[5:])
os.close(a)
check("neither", spec(), document(24))
a = os.open("spec", WRONLY | TRUNC)
check("a child that writes", child(lambda: os.write(a, document(25)[:5])), 0)
os.write(a, document(25)[5:])
os.close(a)
check("and its parent: one document", spec(), document(25))
held = os.open("spec", WRONLY | TRUNC)
os.write(held, b'{"cpus":')
put(26)
check("one that never closes is in nobody's way", spec(), document(26))
write("new", document(27).decode())
os.rename("new", "spec")
os.unlink("spec")
put(28)
check("nor of those who rename or unlink", spec(), document(28))
refused("half of it stays his", "EINVAL", os.close, held)
check("and nobody else's", spec(), document(28))
os.close(os.open("spec", os.O_RDWR | os.O_CREAT))
refused("O_CREAT and O_EXCL", "EEXIST", os.open, "spec",
        WRONLY | os.O_CREAT | os.O_EXCL)
check("O_NOFOLLOW, O_NOATIME, O_SYNC, O_DIRECT", told(lambda: os.close(os.open(
    "spec", RDWR | os.O_NOFOLLOW | os.O_NOATIME | os.O_SYNC | os.O_DIRECT))),
    None)
refused("O_DIRECTORY", "ENOTDIR", os.open, "spec", os.O_DIRECTORY)
refused("O_TMPFILE", "ENOTSUP", os.open, ".", RDWR | os.O_TMPFILE, 0o600)

# --- fsync ---
fd = os.open("spec", WRONLY | TRUNC)
check("fsync with nothing written", told(os.fsync, fd), None)
os.write(fd, document(30)[:5])
refused("fsync of half a document", "EINVAL", os.fsync, fd)
os.write(fd, document(30)[5:])
check("of a whole one", told(os.fdatasync, fd), None)
check("puts it in force", spec(), document(30))
os.close(fd)
fd = os.open("spec", os.O_RDONLY)
check("fsync of a reader", told(os.fsync, fd), None)
folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
check("fsync of a folder", told(os.fsync, folder), None)
check("syncfs", libc.syncfs(folder), 0)

# --- seek, and reads of every kind ---
check("SEEK_END", os.lseek(fd, 0, os.SEEK_END), len(document(30)))
check("SEEK_HOLE", os.lseek(fd, 0, os.SEEK_HOLE), len(document(30)))
check("SEEK_DATA", os.lseek(fd, 0, os.SEEK_DATA), 0)
check("pread", os.pread(fd, 4, 2), document(30)[2:6])
check("readv", os.readv(fd, [bytearray(3)]), 3)
r, w = os.pipe()
check("sendfile", os.sendfile(w, fd, 0, 99), len(document(30)))
check("gives it", os.read(r, 99), document(30))
check("splice", os.splice(fd, w, 99, offset_src=0), len(document(30)))
check("gives it too", os.read(r, 99), document(30))

# --- copy_file_range ---


def copy(source, target, flags):
    a, b = os.open(source, os.O_RDONLY), os.open(target, flags, 0o644)
    try:
        return os.copy_file_range(a, b, 4096)
    finally:
        os.close(a)
        os.close(b)


write("new", document(31).decode())
check("copy_file_range onto spec", copy("new", "spec", WRONLY | TRUNC),
      len(document(31)))
check("writes it", spec(), document(31))
check("from spec", copy("spec", "new2", WRONLY | os.O_CREAT), len(document(31)))
check("reads it", read("new2").encode(), document(31))
os.unlink("new2")
a = os.open("new", os.O_RDONLY)
b = os.open("spec", WRONLY)
refused("FICLONE", "ENOTSUP", fcntl.ioctl, b, 0x40049409, a)
check("fallocate", (libc.fallocate(b, 0, 0, 4096),
                    errno.errorcode[ctypes.get_errno()]), (-1, "ENOTSUP"))
os.close(b)
os.close(a)
os.unlink("new")

# --- mmap ---
kernel = tuple(int(x) for x in os.uname().release.split(".")[:2])
shared = kernel >= (6, 6)


def mapped(path, kind, prot=mmap.PROT_READ):
    f = os.open(path, RDWR if prot & mmap.PROT_WRITE else os.O_RDONLY)
    try:
        with mmap.mmap(f, 0, kind, prot) as m:
            return m[:]
    finally:
        os.close(f)


hosts = read(f"{M}/hosts").encode()
check("MAP_PRIVATE", mapped(f"{M}/hosts", mmap.MAP_PRIVATE), hosts)
check("MAP_SHARED", told(mapped, f"{M}/hosts", mmap.MAP_SHARED),
      hosts if shared else "ENODEV")
put(32)
check("after a change the new text",
      told(mapped, "spec", mmap.MAP_SHARED), document(32) if shared else "ENODEV")
check("and read(2) gives it as well", spec(), document(32))
if shared:
    f = os.open("spec", RDWR)
    with mmap.mmap(f, 0, mmap.MAP_SHARED) as m:
        m[8:10] = b"33"
        m.flush()
    os.close(f)
    check("a map that is written", spec(), document(33))
    f = os.open("spec", RDWR)
    with mmap.mmap(f, 0, mmap.MAP_SHARED) as m:
        m[0:1] = b"!"
        told(m.flush)
    told(os.close, f)
    check("badly changes nothing", spec(), document(33))
    f = os.open("mapped", RDWR | os.O_CREAT)
    os.ftruncate(f, 10000)
    with mmap.mmap(f, 0, mmap.MAP_SHARED) as m:
        m[5000:5005] = b"hello"
    os.close(f)
    with open("mapped", "rb") as f:
        check("one of a temporary file", f.read(), b"\0" * 5000 + b"hello" +
              b"\0" * 4995)
    os.unlink("mapped")
write("x", "abc")
check("a temporary file, private", mapped("x", mmap.MAP_PRIVATE), b"abc")
os.unlink("x")

# --- mode, owner, times, attributes ---
before = os.stat("spec")
for mode in 0o600, 0o755, 0o400:
    check(f"chmod {mode:o} of spec: no error", told(os.chmod, "spec", mode), None)
check("and no change", os.stat("spec").st_mode, before.st_mode)
check("chmod of state to what it has", told(os.chmod, "state", 0o644), None)
refused("to another", "EPERM", os.chmod, "state", 0o600)
refused("of a folder", "EPERM", os.chmod, ".", 0o700)
check("chown to who has it", told(os.chown, "state", os.geteuid(), -1), None)
if os.geteuid() == 0:
    refused("to another", "EPERM", os.chown, "state", 1234, -1)
    refused("of a folder", "EPERM", os.chown, ".", 1234, 1234)
    check("of spec: no error", told(os.chown, "spec", 1234, 1234), None)
check("and no change", (os.stat("spec").st_uid, os.stat("spec").st_gid),
      (before.st_uid, before.st_gid))
for name in "spec", "state", "status.json":
    old = os.stat(name).st_mtime_ns
    check(f"touch {name}: no error", told(os.utime, name), None)
    check("with a time", told(os.utime, name, (1, 1)), None)
    if name != "status.json":
        check("and no change", os.stat(name).st_mtime_ns, old)
put(34)
check("mtime is when the content changed",
      time.time() - 60 < os.stat("spec").st_mtime < time.time() + 1, True)
for name in "spec", "state", ".":
    refused(f"setxattr of {name}", "ENOTSUP", os.setxattr, name, "user.a", b"b")
    refused("getxattr", "ENOTSUP", os.getxattr, name, "user.a")
    check("listxattr", told(os.listxattr, name) in ([], "ENOTSUP"), True)
fd2 = os.open("spec", RDWR)
check("flock", told(fcntl.flock, fd2, fcntl.LOCK_EX | fcntl.LOCK_NB), None)
refused("is seen by another", "EAGAIN", lambda: fcntl.flock(
    os.open("spec", RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB))
check("fcntl lock", told(fcntl.lockf, fd2, fcntl.LOCK_EX | fcntl.LOCK_NB), None)
os.close(fd2)
refused("an ioctl", "ENOTTY", fcntl.ioctl, fd, 0x5401, b"\0" * 64)
check("access", [os.access("spec", os.R_OK | os.W_OK),
                 os.access("spec", os.X_OK), os.access("status.json", os.W_OK)],
      [True, False, False])
check("statvfs: names", os.statvfs(".").f_namemax, 255)


def room():
    st = os.statvfs(".")
    return st.f_blocks * st.f_frsize, st.f_bavail * st.f_frsize


check("all the room of temporary files", room()[0], 64 << 20)
before = room()[1]
write("x", "x" * (1 << 20))
check("less of it", 1 << 20 <= before - room()[1] <= (1 << 20) + 8192, True)
os.unlink("x")
check("and again all", room()[1], before)

# --- names ---
refused("link of spec", "EPERM", os.link, "spec", "other")
refused("link into nodes/", "EPERM", os.link, "spec", "../other")
refused("a symbolic link in nodes/", "EPERM", os.symlink, "node01", "../alias")
refused("mkdir in a node", "EPERM", os.mkdir, "d")
refused("mkdir in wait/", "EPERM", os.mkdir, f"{M}/wait/d")
refused("mkdir at the top", "EPERM", os.mkdir, f"{M}/d")
refused("rename of a node", "EPERM", os.rename, f"{M}/nodes/node02",
        f"{M}/nodes/other")
refused("of a folder", "EPERM", os.rename, f"{M}/nodes", f"{M}/other")
refused("of state", "EPERM", os.rename, "state", "other")
refused("unlink of state", "EPERM", os.unlink, "state")
refused("unlink of a file in wait/", "EPERM", os.unlink, f"{M}/wait/node01")
refused("rmdir of a folder of the tree", "EPERM", os.rmdir, f"{M}/nodes")
refused("rmdir of a file", "ENOTDIR", os.rmdir, "spec")
refused("a device", "EPERM", os.mknod, "dev", stat.S_IFCHR | 0o600, 0x103)
refused("exec", "EACCES", os.execv, "./spec", ["spec"])

# --- what is left open ---
limit = resource.getrlimit(resource.RLIMIT_FSIZE)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4, limit[1]))
got = told(os.pwrite, os.open("spec", WRONLY), b"x" * 9, 4)
resource.setrlimit(resource.RLIMIT_FSIZE, limit)  # of our own output as well
check("ulimit -f", got, "EFBIG")
check("spec stays", spec(), document(34))
check("no temporary file is left", sorted(os.listdir(".")),
      sorted(os.listdir("../node02")))
sys.exit(checks.failed)
