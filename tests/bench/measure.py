#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# measure.py MOUNT RUNTIME_DIR WHAT [N]: prints how long things take.  run
# starts the daemon.
import os
import signal
import subprocess
import sys
import threading
import time

M, R, WHAT = sys.argv[1:4]
N = int(sys.argv[4]) if len(sys.argv) > 4 else 0


def read(path):
    with open(f"{M}/{path}") as f:
        return f.read()


def write(path, text):
    with open(f"{M}/{path}", "w") as f:
        f.write(text)


def timed(call, *args):
    began = time.perf_counter()
    call(*args)
    return time.perf_counter() - began


def tell(what, times):
    times = sorted(times)
    print(f"{what}: median {times[len(times) // 2] * 1000:.2f} ms, "
          f"99% {times[len(times) * 99 // 100] * 1000:.2f} ms, "
          f"longest {times[-1] * 1000:.2f} ms, of {len(times)}", flush=True)


def took(what, call, *args):
    nodes = len(os.listdir(M + "/nodes"))
    t = timed(call, *args)
    print(f"{max(nodes, N)} nodes, {what}: {t * 1000:.0f} ms", flush=True)


def daemon():
    with open(R + "/daemon.pid") as f:
        return int(f.read())


def memory():
    with open(f"/proc/{daemon()}/status") as f:
        kib = next(line.split()[1] for line in f if line.startswith("VmRSS"))
    print(f"the daemon's memory: {int(kib) / 1024:.1f} MiB", flush=True)


def calls():
    """One user, one node, one call after the other."""
    spec = [f'{{"cpus":{i % 8 + 1}}}\n' for i in range(N)]
    tell("write a spec (checked, synced)",
         [timed(write, "nodes/node01/spec", s) for s in spec])
    tell("read state",
         [timed(read, "nodes/node01/state") for _ in range(N)])
    tell("read status.json",
         [timed(read, "nodes/node01/status.json") for _ in range(N)])
    tell("stat", [timed(os.stat, M + "/nodes/node01/spec") for _ in range(N)])

    def cycle():
        for word in "up", "down":
            write("nodes/node01/state", word + "\n")
            if read("wait/node01") != word + "\n":
                sys.exit("node01 is not " + word)

    tell("a fake node up and down", [timed(cycle) for _ in range(N // 10)])
    memory()


def kills():
    """How long a reader and a writer stand still when the daemon is killed."""
    over = threading.Event()
    ended = {"read": [], "write a spec": []}  # (when, how long it took)
    stalls = {what: [] for what in ended}
    nodes = sorted(os.listdir(M + "/nodes"))

    def work(what, call, *args):
        while not over.is_set():
            t = timed(call, *args)
            ended[what].append((time.perf_counter(), t))

    threads = [
        threading.Thread(target=work, args=(
            "read", read, f"nodes/{nodes[0]}/state")),
        threading.Thread(target=work, args=(
            "write a spec", write, f"nodes/{nodes[0]}/spec", '{"cpus":2}\n'))]
    for t in threads:
        t.start()
    for _ in range(N):
        killed = time.perf_counter()
        os.kill(daemon(), signal.SIGKILL)
        for what, calls in ended.items():
            # The one that was under way, and one of the next daemon's.
            while not (late := [c for c in calls if c[0] > killed])[1:]:
                time.sleep(0.005)
            stalls[what].append(max(t for _, t in late))
        time.sleep(0.5)
        for calls in ended.values():
            calls.clear()
    over.set()
    for t in threads:
        t.join()
    for what in stalls:
        tell(f"{len(nodes)} nodes, the daemon killed, stall of: {what}",
             stalls[what])


def many():
    def make():
        for i in range(N):
            os.mkdir(f"{M}/nodes/n{i + 1:05}")

    def up():
        write("state", "up\n")
        if read("wait/all") != "up\n":
            sys.exit("not all are up")

    os.rmdir(M + "/nodes/node01")
    took("mkdir of all", make)
    took("up, and wait for all", up)
    memory()
    # One that comes after another is no reason to look at all of them.
    write("state", "down\n")
    read("wait/all")
    write(f"nodes/n{N:05}/spec", '{"after":["n00001"]}\n')
    took("up, one after another", up)


def look():
    def states():
        for node in os.listdir(M + "/nodes"):
            read(f"nodes/{node}/state")

    took("cat status", read, "status")
    took("cat status.json", read, "status.json")
    took("cat each state", states)
    took("ls -l", lambda: subprocess.run(["ls", "-l", M + "/nodes"],
                                         stdout=subprocess.DEVNULL))
    memory()


{"calls": calls, "kills": kills, "many": many, "look": look}[WHAT]()
