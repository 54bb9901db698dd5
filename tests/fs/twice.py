#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# twice.py MOUNT RUNTIME_DIR GATE: requests that are served twice.  The daemon
# (gate.c is preloaded) serves one, is killed before it answers, and the next
# one serves it again: the caller must not see that, nor may it act twice.
import json
import os
import sys
import threading

import checks
from checks import M, check, eventually, kill_daemon, read, told, until, write

GATE = sys.argv[3]
A, B = f"{M}/nodes/node01", f"{M}/nodes/node02"
SETATTR, SYMLINK, MKDIR, UNLINK, RMDIR, RENAME = 4, 6, 9, 10, 11, 12
OPEN, WRITE, RELEASE, FSYNC, FLUSH, CREATE = 14, 16, 18, 20, 25, 35
EXCL = os.O_RDWR | os.O_CREAT | os.O_EXCL


def twice(opcode, call, *args):
    """What the call gives when its request of this opcode is served twice."""
    got = []
    with open(GATE + ".reply", "w") as f:
        f.write(str(opcode))
    thread = threading.Thread(target=lambda: got.append(told(call, *args)))
    thread.start()
    held = until(lambda: os.path.exists(GATE + ".held"))
    kill_daemon()
    os.unlink(GATE + ".reply")
    if held:
        os.unlink(GATE + ".held")
    thread.join(checks.LIMIT)
    if not held:
        return "its request did not come"
    return got[0] if got else "it hangs"


def names():
    return sorted(set(os.listdir(A)) - table)


def status(key):
    return json.loads(read(f"{A}/status.json"))[key]


def settle(node="node01"):
    return told(read, f"{M}/wait/{node}")


os.chdir(A)
table = set(os.listdir("."))
write("spec", '{"cpus":1}')

# --- names ---
check("O_CREAT, O_EXCL", isinstance(twice(CREATE, os.open, "a", EXCL), int), True)
check("makes one", names(), ["a"])
check("that is there: still EEXIST", told(os.open, "a", EXCL), "EEXIST")
check("symlink", twice(SYMLINK, os.symlink, "to", "l"), None)
check("is one", os.readlink("l"), "to")
check("rename", twice(RENAME, os.rename, "a", "b"), None)
check("moves it", names(), ["b", "l"])
check("rename over another", twice(RENAME, os.rename, "b", "l"), None)
check("leaves one", names(), ["l"])
check("unlink", twice(UNLINK, os.unlink, "l"), None)
check("takes it away", names(), [])
write("new", '{"cpus":2}')
check("rename over spec", twice(RENAME, os.rename, "new", "spec"), None)
check("is in force", (read("spec"), names()), ('{"cpus":2}', []))
check("a backup of spec", twice(RENAME, os.rename, "spec", "spec~"), None)
check("has its text", (read("spec~"), os.path.exists("spec")),
      ('{"cpus":2}', False))
check("unlink of the backup", twice(UNLINK, os.unlink, "spec~"), None)
eventually("spec comes back", lambda: os.path.exists("spec"))
check("unlink of spec", twice(UNLINK, os.unlink, "spec"), None)
check("hides it", os.path.exists("spec"), False)
write("spec", '{"cpus":3}')
check("and it is written anew", read("spec"), '{"cpus":3}')
check("mkdir", twice(MKDIR, os.mkdir, f"{M}/nodes/made"), None)
check("of what is there: still EEXIST", told(os.mkdir, f"{M}/nodes/made"),
      "EEXIST")
check("rmdir", twice(RMDIR, os.rmdir, f"{M}/nodes/made"), None)
check("of what is not: still ENOENT", told(os.rmdir, f"{M}/nodes/made"),
      "ENOENT")

# A number that is used again while somebody is in the directory that had it.
for way in "by the next daemon", "twice", "by the same":
    os.mkdir(f"{M}/nodes/old")
    inside = os.open(f"{M}/nodes/old", os.O_RDONLY | os.O_DIRECTORY)
    number = os.fstat(inside).st_ino
    os.rmdir(f"{M}/nodes/old")
    if way == "twice":
        check("mkdir", twice(MKDIR, os.mkdir, f"{M}/nodes/made"), None)
    else:
        if way == "by the next daemon":
            kill_daemon()
        os.mkdir(f"{M}/nodes/made")
    check(f"mkdir, {way}: the number is used again",
          os.stat(f"{M}/nodes/made").st_ino, number)
    check(f"mkdir, {way}: what is in it is there",
          told(read, f"{M}/nodes/made/state"), "down\n")
    os.close(inside)
    os.rmdir(f"{M}/nodes/made")

# --- content ---
fd = os.open("t", EXCL | os.O_APPEND)
os.write(fd, b"one ")
check("O_APPEND to a temporary file", twice(WRITE, os.write, fd, b"two "), 4)
os.write(fd, b"three")
check("is there once", read("t"), "one two three")
check("ftruncate", twice(SETATTR, os.ftruncate, fd, 3), None)
check("open, O_TRUNC", isinstance(twice(OPEN, os.open, "t",
      os.O_WRONLY | os.O_TRUNC), int), True)
check("cuts it", os.fstat(fd).st_size, 0)
os.close(fd)
os.unlink("t")

fd = os.open("spec", os.O_WRONLY | os.O_APPEND)
os.write(fd, b'{"mem')
check("a piece of a patch", twice(WRITE, os.write, fd, b'ory":"1'), 7)
check("and its end", twice(WRITE, os.write, fd, b'G"}'), 3)
check("in force at close", twice(FLUSH, os.close, fd), None)
check("as one document", json.loads(read("spec")), {"cpus": 3, "memory": "1G"})
fd = os.open("spec", os.O_WRONLY | os.O_TRUNC)
check("a document", twice(WRITE, os.write, fd, b'{"cpus":4}'), 10)
check("fsync", twice(FSYNC, os.fsync, fd), None)
check("is in force", read("spec"), '{"cpus":4}')
check("a wrong one", twice(WRITE, os.write, fd, b'{"cpus":"x"}'), "EINVAL")
told(os.close, fd)
check("changes nothing", read("spec"), '{"cpus":4}')

# --- verbs ---
check("up", twice(WRITE, write, "state", "up"), None)
check("is up", settle(), "up\n")
launch = status("machine")["launch"]
check("reboot", twice(WRITE, write, "state", "reboot"), None)
check("is up again", settle(), "up\n")
check("after one more start", status("machine")["launch"], launch + 1)
check("the same again", twice(WRITE, write, "state", "reset"), None)
check("is up again", settle(), "up\n")
check("after one more start", status("machine")["launch"], launch + 2)
check("an unknown one", twice(WRITE, write, "state", "sideways"), "EINVAL")

# --- a keyboard ---
fd = os.open("console", os.O_WRONLY)
check("what is typed", twice(WRITE, os.write, fd, b"only once\n"), 10)
os.write(fd, b"and this\n")
eventually("and what follows", lambda: "and this" in read("console"))
check("is typed once", read("console").count("only once"), 1)
os.close(fd)
check("off", twice(WRITE, write, "state", "off"), None)
check("is down", settle(), "down\n")
check("nothing is left", names(), [])
sys.exit(checks.failed)
