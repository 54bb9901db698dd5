#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# console.py STEP CONSOLE [LOG]: what a user does at the console of a real
# guest, in terminals of their own (socat on a pty).  A line "ok ..." or
# "not ok ..." for each thing that is looked at.
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

STEP, CONSOLE = sys.argv[1], sys.argv[2]
LIMIT = 120
LINES = 90000  # of 16 bytes: more than the 1 MiB that is kept
bad = 0


def check(what, good, more=""):
    global bad
    bad += not good
    print(f"ok {what}" if good else f"not ok {what}: {more}", flush=True)


class Terminal:
    """What a user has: a terminal that runs socat."""

    def __init__(self):
        self.text = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvp("socat", ["socat", "-,raw,echo=0,escape=0x1d", CONSOLE])

    def key(self, text):
        os.write(self.fd, text.encode())

    def more(self, timeout):
        if not select.select([self.fd], [], [], timeout)[0]:
            return True
        try:
            piece = os.read(self.fd, 65536)
        except OSError:  # socat has ended
            piece = b""
        self.text += piece
        return bool(piece)

    def sees(self, wanted):
        """Reads until it is there; what it said."""
        end = time.monotonic() + LIMIT
        while not re.search(wanted, self.text) and time.monotonic() < end:
            if not self.more(1):
                break
        return bool(re.search(wanted, self.text))

    def close(self, last="\x1d"):
        self.key(last)
        end = time.monotonic() + 20
        while self.more(0.2) and time.monotonic() < end:
            pass
        if time.monotonic() >= end:
            os.kill(self.pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.fd)
        return status


def opened(t):
    """socat is at the console once what is typed comes back."""
    end = time.monotonic() + LIMIT
    while not t.text and time.monotonic() < end:
        t.key("\r")
        t.more(0.5)
    return bool(t.text)


def numbers(text):
    return [int(n) for n in re.findall(rb"^line (\d{9})\r?$", text, re.M)]


PROMPT = rb"root@c:[^\n]*# (\x1b\[6n)?$"


def terminal():
    a, b = Terminal(), Terminal()
    check("a terminal is answered", opened(a) and opened(b))
    # The shell reads a line in another mode than a program: each in its turn.
    a.sees(PROMPT)
    a.text = b""
    a.key("echo first-$((6*7))\r")
    check("it shows what the guest says", a.sees(rb"first-42\r\n"), a.text)
    check("as does the other one", b.sees(rb"first-42\r\n"), b.text)
    b.key("echo second-$((6*7))\r")
    check("which types as well", b.sees(rb"second-42\r\n"), b.text)
    check("and the first one sees it", a.sees(rb"second-42\r\n"), a.text)
    check("what is typed is echoed by the guest, once",
          a.text.count(b"echo first-$") == 1, a.text)
    a.sees(PROMPT)
    a.key("echo cat-$((6*7)); cat\r")
    a.sees(rb"cat-42\r\n")
    a.key("to the cat\r")
    check("a program reads the keyboard",
          a.sees(rb"to the cat\r\nto the cat\r\n"), a.text)
    a.key("\x03")
    a.sees(rb"\^C\r\n" + PROMPT)
    a.key("echo third-$((6*7))\r")
    check("control-C ends it", a.sees(rb"third-42\r\n"), a.text)
    check("control-] leaves the terminal", a.close() == 0)
    b.key("echo fourth-$((6*7))\r")
    check("the other one stays", b.sees(rb"fourth-42\r\n"), b.text)
    check("and is left too", b.close() == 0)


def quiet():
    """The guest's shell says nothing more but what its commands say."""
    with open(CONSOLE, "w") as f:
        f.write("stty -echo; PS1=; echo quiet-$((6*7))\n")
    wait_log(rb"^quiet-42\r$")


def log():
    with open(CONSOLE, "rb") as f:
        return f.read()


def wait_log(wanted):
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        if re.search(wanted, log(), re.M):
            return True
        time.sleep(0.1)
    return False


def count(to):
    """The guest prints numbered lines; all come through one program."""
    with open(CONSOLE, "w") as f:
        f.write("awk 'BEGIN { for (i = 0; i < %d; i++) "
                "printf \"line %%09d\\n\", i }'; echo all-$((%d+1))\n"
                % (to, to))


def limits():
    """Readers that never read, and more than is kept."""
    idle = os.open(CONSOLE, os.O_RDWR)  # a terminal that never reads
    pipe = subprocess.Popen(["cat", CONSOLE], stdout=subprocess.PIPE)
    before = os.stat(CONSOLE).st_size
    began = time.monotonic()
    count(LINES)
    check("readers that never read stall nobody",
          wait_log(b"^all-%d\r$" % (LINES + 1)))
    took = time.monotonic() - began
    size = os.stat(CONSOLE).st_size
    print(f"# {size - before} bytes in {took:.1f} s, "
          f"{(size - before) / took / 1e6:.2f} MB/s")
    check("the size counts all that was printed",
          size >= before + 16 * LINES, f"{before} -> {size}")
    text = log()
    got = numbers(text)
    check("of the log the newest 1 MiB is kept, and little more",
          1 << 20 <= len(text) < (1 << 20) + (1 << 17), len(text))
    check("to the last line, with none left out",
          got and got == list(range(got[0], LINES)), got[:3] + got[-3:])
    fd = os.open(CONSOLE, os.O_RDONLY)
    os.lseek(fd, size - 100, os.SEEK_SET)
    check("offsets stay", os.read(fd, 100) == text[-100:])
    check("what was given back reads as zeros",
          os.pread(fd, 4096, 4096) == bytes(4096))
    os.close(fd)
    disk = os.stat(sys.argv[3]).st_blocks * 512
    check("and takes no room on disk", disk < (1 << 20) + (1 << 18), disk)
    late = b""
    while select.select([idle], [], [], 1)[0]:
        late += os.read(idle, 65536)
    got = numbers(late)
    check("the terminal that did not read goes on with what is kept",
          got and got == list(range(got[0], LINES)) and len(late) > 1 << 19,
          f"{len(late)} bytes, {got[:2]} {got[-2:]}")
    os.close(idle)
    pipe.kill()
    pipe.communicate()


def begin():
    """Numbers that go on while there is no daemon."""
    quiet()
    count(12000)


def cat():
    """From now on the guest says what is typed, once."""
    with open(CONSOLE, "w") as f:
        f.write("cat\n")


def whole():
    check("the guest printed on without a daemon",
          wait_log(rb"^all-12001\r$"))
    got = numbers(log())
    check("and not a line is lost, twice or out of order",
          got == list(range(12000)), f"{len(got)}: {got[:3]} {got[-3:]}")


{"terminal": terminal, "limits": limits, "begin": begin,
 "whole": whole, "cat": cat}[STEP]()
sys.exit(bool(bad))
