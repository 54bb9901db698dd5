#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# survive.py MOUNT RUNTIME_DIR KILLS [WHO [PAUSE]]: readers, writers, watchers,
# pollers, a blocked wait and a live console work while the daemon (WHO: daemon,
# herald or reload) is killed KILLS times, up to PAUSE seconds apart.  Each of
# them checks what it sees; a line "ok ..." or "not ok ..." each.  The nodes r,
# w, s, a, v, b and c must be there; b, a fake one, starts for an hour; c is up
# and says what is typed.
import ctypes
import errno
import json
import os
import random
import select
import signal
import struct
import sys
import threading
import time

M, R, KILLS = sys.argv[1], sys.argv[2], int(sys.argv[3])
WHO = sys.argv[4] if len(sys.argv) > 4 else "daemon"
PAUSE = float(sys.argv[5]) if len(sys.argv) > 5 else 0.15
IN_MODIFY, IN_CLOSE_WRITE = 2, 8
libc = ctypes.CDLL(None, use_errno=True)
over = threading.Event()
bad = []
longest = [0.0, "nothing"]
rounds = {}


def node(name, file):
    return f"{M}/nodes/{name}/{file}"


def read(path):
    with open(path) as f:
        return f.read()


def write(path, text):
    with open(path, "w") as f:
        f.write(text)


def timed(what, call, *args):
    began = time.monotonic()
    try:
        return call(*args)
    finally:
        took = time.monotonic() - began
        if took > longest[0]:
            longest[:] = [took, what]


def worker(f):
    """Runs f(i) for i = 0, 1, ... until it is over; any error is told."""

    def run():
        i = 0
        try:
            while not over.is_set():
                f(i)
                i += 1
                rounds[f.__name__] = i
        except Exception as e:  # whatever it is, the user saw it
            bad.append(f"{f.__name__}, round {i}: {e!r}")

    return run


# --- readers ---

held = os.open(node("r", "spec"), os.O_RDONLY)
folder = os.open(M + "/nodes/r", os.O_RDONLY | os.O_DIRECTORY)
number = os.fstat(folder).st_ino


def reader(i):
    json.loads(timed("read status.json", read, M + "/status.json"))
    if timed("read state", read, node("r", "state")) != "down\n":
        raise ValueError("the state of r")
    timed("stat", os.stat, node("r", "spec"))


def held_open(i):
    if timed("pread", os.pread, held, 100, 0) != b'{"cpus":1}\n':
        raise ValueError("what the old descriptor gives")
    if "spec" not in os.listdir(folder) or os.fstat(folder).st_ino != number:
        raise ValueError("what the old directory gives")
    with open("state") as f:  # the working directory is there too
        f.read()


def in_two_steps(i):
    fd = os.open(node("r", "status.json"), os.O_RDONLY)
    text = os.read(fd, 20)
    time.sleep(0.01)
    while piece := os.read(fd, 50):
        text += piece
    os.close(fd)
    json.loads(text)


# --- writers ---


def writer(i):
    text = '{"cpus":%d}\n' % (i % 8 + 1)
    timed("write spec", write, node("w", "spec"), text)
    if read(node("w", "spec")) != text:
        raise ValueError("the spec that was written")


def slow_writer(i):
    text = json.dumps({"cpus": i % 8 + 1, "memory": "1G"}, indent=1)
    fd = os.open(node("s", "spec"), os.O_WRONLY | os.O_TRUNC)
    for c in text:
        timed("write a byte", os.write, fd, c.encode())
        if random.random() < 0.1:
            time.sleep(0.02)
    os.close(fd)
    if read(node("s", "spec")) != text:
        raise ValueError("the spec that was written slowly")


def patcher(i):
    fd = os.open(node("a", "spec"), os.O_WRONLY | os.O_APPEND)
    for piece in '{"mem', 'ory":"%dM"}\n' % (512 + i % 100):
        timed("append", os.write, fd, piece.encode())
        time.sleep(0.005)
    os.close(fd)
    if json.loads(read(node("a", "spec")))["memory"] != "%dM" % (512 + i % 100):
        raise ValueError("the patch")


def maker(i):
    timed("mkdir", os.mkdir, M + "/nodes/made")
    if read(M + "/wait/made") != "down\n":
        raise ValueError("a new node")
    timed("rmdir", os.rmdir, M + "/nodes/made")
    time.sleep(PAUSE)


def verbs(i):
    verb = ("up", "down")[i % 2]
    timed("write state", write, node("v", "state"), verb + "\n")
    word = read(M + "/wait/v")
    if word != verb + "\n":
        raise ValueError(f"wait gave {word!r} for {verb}")


# --- those who wait ---

seen = {"inotify": None, "poll": None, "typed": 0, "terminal": []}


def watcher():
    fd = libc.inotify_init1(os.O_CLOEXEC)
    for path in node("v", "state"), node("w", "spec"):
        if libc.inotify_add_watch(fd, path.encode(), IN_CLOSE_WRITE) < 0:
            bad.append("inotify_add_watch")
            return
    ready = select.poll()
    ready.register(fd, select.POLLIN)
    while not over_all.is_set():
        if ready.poll(100):
            os.read(fd, 65536)
            seen["inotify"] = (read(node("v", "state")),
                               read(node("w", "spec")))


def poller():
    fd = os.open(node("v", "state"), os.O_RDONLY)
    seen["poll"] = os.pread(fd, 100, 0).decode()
    ready = select.epoll()
    ready.register(fd, select.EPOLLPRI)
    while not over_all.is_set():
        if ready.poll(0.1):
            seen["poll"] = os.pread(fd, 100, 0).decode()


def follower():
    """Reads events as they come: no number is left out."""
    fd = os.open(M + "/events", os.O_RDONLY)
    ready = select.poll()
    ready.register(fd, select.POLLIN)
    last, text = None, b""
    while not over_all.is_set():
        ready.poll(100)
        while piece := os.read(fd, 65536):
            text += piece
        lines = text.split(b"\n")
        text = lines.pop()
        for line in lines:
            seq = json.loads(line)["seq"]
            if last is not None and seq != last + 1:
                bad.append(f"event {seq} after {last}")
            last = seq
    rounds["events"] = last


def waiter():
    try:
        blocked.append(read(M + "/wait/b"))
    except OSError as e:
        blocked.append(e)


def terminal():
    fd = os.open(node("c", "console"), os.O_RDWR)
    terminal_open.set()
    text = b""
    while b"the end" not in text:
        piece = os.read(fd, 4096)
        if not piece:
            bad.append("the terminal ended")
            break
        text += piece
    for line in text.decode().split("\n"):
        if "typed " in line:
            seen["terminal"].append(int(line.split("typed ")[1].split()[0]))


def typist(i):
    terminal_open.wait()
    fd = os.open(node("c", "console"), os.O_WRONLY)
    timed("type", os.write, fd, b"typed %d\n" % i)
    os.close(fd)
    seen["typed"] = i + 1
    time.sleep(PAUSE / 15)


# --- who kills ---


def pid_of(file):
    return int(read(f"{R}/{file}.pid"))


def herald_pid():
    keeper = str(pid_of("keeper"))
    for p in filter(str.isdigit, os.listdir("/proc")):
        try:
            stat = read(f"/proc/{p}/stat")
        except OSError:
            continue
        name, rest = stat.split("(", 1)[1].rsplit(")", 1)
        if name == "rackfs-herald" and rest.split()[:2] == ["S", keeper]:
            return int(p)
    return None


def kill():
    before = pid_of("daemon")
    if WHO == "herald":
        pid = herald_pid()
        if pid is None:
            return False
        os.kill(pid, signal.SIGKILL)
        return True
    if before in dead:
        return False
    if WHO == "reload":
        os.kill(pid_of("keeper"), signal.SIGHUP)
    else:
        try:
            os.kill(before, signal.SIGKILL)
        except ProcessLookupError:
            return False
    dead.add(before)
    return True


def within(seconds, what, condition):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            bad.append(f"{what}: {seen}")
            return
        time.sleep(0.02)


os.chdir(M + "/nodes/r")
dead, blocked = set(), []
over_all, terminal_open = threading.Event(), threading.Event()
waiting = [threading.Thread(target=f, daemon=True)
           for f in (watcher, poller, follower, waiter, terminal)]
working = [threading.Thread(target=worker(f), daemon=True)
           for f in (reader, held_open, in_two_steps, writer, slow_writer,
                     patcher, maker, verbs, typist)]
for thread in waiting + working:
    thread.start()
done = 0
began = time.monotonic()
served = -1
while done < KILLS:
    time.sleep(random.uniform(PAUSE / 30, PAUSE))
    # Every second one comes whenever it likes; the others get some work done.
    if done % 2 and rounds.get("reader") == served:
        continue
    served = rounds.get("reader")
    done += kill()
    if time.monotonic() - began > 180:
        bad.append(f"only {done} of {KILLS} could be killed")
        break
over.set()
for thread in working:
    thread.join(150)
    if thread.is_alive():
        bad.append(f"{thread.name} hangs")

# The last value is seen by all.
last = (read(node("v", "state")), read(node("w", "spec")))
within(20, f"the watcher did not see {last}", lambda: seen["inotify"] == last)
within(20, f"the poller did not see {last}", lambda: seen["poll"] == last[0])
if blocked:
    bad.append(f"the blocked wait ended early: {blocked}")
spec = json.loads(read(node("b", "spec")))
spec["fake"]["delay"] = "10ms"
write(node("b", "spec"), json.dumps(spec))
write(node("b", "state"), "off\n")
# A start that is under way is not broken off; the next daemon knows of none.
os.kill(pid_of("daemon"), signal.SIGKILL)
within(20, "the blocked wait did not end", lambda: blocked)
if blocked and blocked[0] != "down\n":
    bad.append(f"the blocked wait gave {blocked}")
write(node("c", "console"), "the end\n")
waiting[4].join(30)
lost = set(range(seen["typed"])) - set(seen["terminal"])
if lost or waiting[4].is_alive():
    bad.append(f"the terminal did not see {sorted(lost)[:9]}")
if seen["terminal"] != sorted(seen["terminal"]):
    bad.append("the terminal saw lines out of order")
twice = len(seen["terminal"]) - len(set(seen["terminal"]))
over_all.set()
for thread in waiting:
    thread.join(30)
print(f"# {done} kills of {WHO}; rounds: {rounds}")
print(f"# longest stall: {longest[0] * 1000:.0f} ms ({longest[1]}); "
      f"typed lines seen twice: {twice}")
for line in bad:
    print(f"not ok {WHO} killed: {line}")
if not bad:
    print(f"ok {done} kills of {WHO}: no error, nothing lost")
sys.exit(bool(bad))
