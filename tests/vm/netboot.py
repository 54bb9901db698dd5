# SPDX-License-Identifier: Apache-2.0
#
# netboot.py ROOT IMAGE DIR: boots the netboot image, hands over an identity
# that it makes itself from what identity.h says, and logs in by SSH with the
# pinned host key.  netboot.sh runs it.
import base64
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import time
import zlib

ROOT, IMAGE, DIR = sys.argv[1:4]
LIMIT = 180  # seconds for a boot without KVM on a busy host
os.chdir(DIR)
bad = 0


def check(what, good, why=""):
    global bad
    if good:
        print("ok", what)
    else:
        bad = 1
        print(f"not ok {what}: {why}")
    sys.stdout.flush()


def header(name):
    text = open(f"{ROOT}/include/identity.h").read()
    value = re.search(rf"#define {name}\b((?:.*\\\n)*.*)", text).group(1)
    return "".join(re.findall(r'"([^"]*)"', value))


def newc(files):
    out = bytearray()

    def entry(number, name, mode, data):
        name = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
        out.extend(b"070701" + b"".join(b"%08X" % f for f in fields) + name)
        out.extend(b"\0" * (-len(out) % 4) + data)
        out.extend(b"\0" * (-len(out) % 4))

    folders = []
    for name, _, _ in files:
        parts = name.split("/")
        for n in range(1, len(parts)):
            folder = "/".join(parts[:n])
            if folder not in folders:
                folders.append(folder)
    for n, folder in enumerate(folders):
        entry(n + 1, folder, 0o40755, b"")
    for n, (name, mode, data) in enumerate(files):
        entry(1000 + n, name, 0o100000 | mode, data)
    entry(0, "TRAILER!!!", 0, b"")
    return bytes(out)


def dropbear_key(name):
    lines = open(name).read().split("\n")
    private = base64.b64decode("".join(l for l in lines if "-----" not in l))
    public = base64.b64decode(open(name + ".pub").read().split()[1])[-32:]
    # OpenSSH's private part ends with seed || public.
    at = private.rindex(public)
    return (struct.pack(">I", 11) + b"ssh-ed25519" + struct.pack(">I", 64) +
            private[at - 32:at + 32])


def identity(clock):
    conf = ("NAME=node01\nDOMAIN=cluster.internal\n"
            f"CLOCK={clock:.9f}\nNICS='525400000101=10.36.0.11/24,1400 "
            "525400000102=-,1500'\n")
    return newc([
        ("etc/hostname", 0o644, b"node01\n"),
        ("etc/hosts", 0o644, b"127.0.0.1 localhost\n10.36.0.12 node02\n"),
        ("root/.ssh/authorized_keys", 0o600, open("user.pub", "rb").read()),
        ("etc/dropbear/dropbear_ed25519_host_key", 0o600, dropbear_key("host")),
        ("etc/rackfs/node.conf", 0o644, conf.encode()),
        ("etc/rackfs/seed", 0o600, os.urandom(64)),
    ])


def frame(archive):
    return (header("IDENTITY_MAGIC").encode() +
            b" %d %08x\n" % (len(archive), zlib.crc32(archive)) + archive)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Machine:
    def __init__(self, initrd, second_port):
        for name in ("console.log", "identity", "qmp"):
            if os.path.exists(name):
                os.unlink(name)
        self.port = free_port()
        with open("known_hosts", "w") as f:
            key = " ".join(open("host.pub").read().split()[:2])
            f.write(f"[127.0.0.1]:{self.port} {key}\n")
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "disk",
                        "1G"], check=True)
        args = [
            "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display",
            "none", "-M", "pc,hpet=off", "-accel", "tcg,thread=multi", "-cpu",
            "max", "-m", "256", "-no-reboot", "-action", "panic=exit-failure",
            "-device", "pvpanic-pci", "-kernel", f"{IMAGE}/kernel",
            "-initrd", initrd, "-append", header("NETBOOT_CMDLINE"),
            "-serial", "file:console.log", "-qmp",
            "unix:qmp,server=on,wait=off", "-netdev",
            f"user,id=m,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-:22",
            "-device", "virtio-net-pci,netdev=m,romfile=,mac=" +
            header("MANAGEMENT_MAC")]
        for n in (1, 2):
            args += ["-netdev", f"hubport,id=h{n},hubid={n}", "-device",
                     f"virtio-net-pci,netdev=h{n},romfile=,"
                     f"mac=52:54:00:00:01:0{n}"]
        args += ["-drive", "if=none,id=d,file=disk,format=qcow2", "-device",
                 f"virtio-blk-pci,drive=d,serial={header('DISK_SERIAL')}"]
        if second_port:
            args += ["-chardev", "socket,id=i,path=identity,server=on,wait=off",
                     "-device", "isa-serial,chardev=i,index=1"]
        self.began = time.monotonic()
        self.log = open("qemu.log", "w")
        self.qemu = subprocess.Popen(args, stdin=subprocess.DEVNULL,
                                     stdout=self.log, stderr=self.log)

    def console(self):
        try:
            return open("console.log", "rb").read()
        except FileNotFoundError:
            return b""

    def wait_mark(self, mark, count=1):
        while self.console().count(header(mark).encode()) < count:
            if self.qemu.poll() is not None:
                raise RuntimeError("QEMU ended: " + open("qemu.log").read())
            if time.monotonic() - self.began > LIMIT:
                raise RuntimeError(f"no {mark} in {self.console()!r}")
            time.sleep(0.02)
        return time.monotonic() - self.began

    def marks(self):
        return self.console().count(header("MARK_WAITING").encode())

    def ssh_argv(self, command):
        return ["ssh", "-n", "-F", "none", "-p", str(self.port), "-i", "user",
                "-o", "UserKnownHostsFile=known_hosts",
                "-o", "GlobalKnownHostsFile=none",
                "-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes",
                "-o", "BatchMode=yes", "root@127.0.0.1", command]

    def ssh(self, command):
        return subprocess.run(self.ssh_argv(command), capture_output=True,
                              text=True, timeout=120)

    def qmp(self, command):
        s = socket.socket(socket.AF_UNIX)
        s.connect("qmp")
        f = s.makefile("rw")
        f.readline()
        for c in ("qmp_capabilities", command):
            f.write('{"execute":"%s"}\n' % c)
            f.flush()
            while '"return"' not in f.readline():
                pass

    def ended(self, what, status):
        try:
            self.qemu.wait(60)
        except subprocess.TimeoutExpired:
            pass
        check(what, self.qemu.returncode == status,
              f"{self.qemu.returncode} {self.console()[-300:]!r}")

    def kill(self):
        if self.qemu.poll() is None:
            self.qemu.kill()
        self.qemu.wait()


LOOKS = {
    "its name": ("hostname", "node01\n"),
    "the pinned NICs' addresses":
        ("ip -4 -o addr | awk '{ print $4 }' | sort",
         "10.0.2.15/24\n10.36.0.11/24\n127.0.0.1/8\n"),
    "the MTU":
        ("for d in /sys/class/net/eth*; do cat $d/address $d/mtu; done | "
         "paste - - | grep 01:01",
         "52:54:00:00:01:01\t1400\n"),
    "a NIC without an address is up":
        ("ip -o link | grep 01:02 | grep -c ',UP'", "1\n"),
    "the disk's serial": ("cat /sys/block/vda/serial", "rackfs-disk"),
    "the seed is gone": ("ls /etc/rackfs/seed /run/identity 2>/dev/null", ""),
    "the lock is there": ("flock -n /run/rackfs.lock echo yes", "yes\n"),
    "no password logs in": ("grep -c 'root:[*]:' /etc/shadow", "1\n"),
    "the network again changes nothing": ("rackfs-net && ip -4 -o addr | wc -l",
                                          "3\n"),
    "an address that was lost comes back":
        ("d=$(ip -o link | grep 01:01 | cut -d: -f2); ip addr flush dev $d; "
         "ip link set $d down; rackfs-net; ip -4 addr show dev $d | "
         "grep -c 'inet 10.36.0.11/24'", "1\n"),
}
PARTITION = """set -e
printf '%s\\n' 'label: gpt' 'size=63MiB, type=U, name=boot' 'type=L, name=root' |
    sfdisk -q --wipe always --wipe-partitions always /dev/vda
mkfs.vfat -F32 -n boot /dev/vda1; mkfs.ext4 -q -F -L root /dev/vda2
mount /dev/vda2 /mnt; mkdir /mnt/boot; mount -t vfat /dev/vda1 /mnt/boot
echo kept >/mnt/boot/f; blkid -p -s LABEL -o value /dev/vda1 /dev/vda2"""


def by_port():
    m = Machine(f"{IMAGE}/initrd", True)
    try:
        print(f"# asks after {m.wait_mark('MARK_WAITING'):.1f} s")
        s = socket.socket(socket.AF_UNIX)
        s.connect("identity")
        # A broken frame, then half of one: it goes on asking.
        broken = bytearray(frame(identity(time.time())))
        broken[-50] ^= 1
        n = m.marks()
        s.sendall(b"noise RACKFS-\n" + broken)
        m.wait_mark("MARK_WAITING", n + 1)
        n = m.marks()
        s.sendall(frame(identity(time.time()))[:700])
        m.wait_mark("MARK_WAITING", n + 1)
        check("broken frames are thrown away",
              header("MARK_TAKEN").encode() not in m.console())
        # A day ahead: only a fresh CLOCK explains what the guest shows then.
        s.sendall(frame(identity(time.time() + 86400)))
        m.wait_mark("MARK_TAKEN")
        print(f"# ready after {m.wait_mark('MARK_READY'):.1f} s")
        r = m.ssh("date +%s")
        check("logs in with the pinned key", r.returncode == 0, r.stderr)
        ahead = int(r.stdout or 0) - time.time() - 86400
        check("the clock is the host's", abs(ahead) < 30, f"{ahead} s off")
        for what, (command, wanted) in LOOKS.items():
            r = m.ssh(command)
            check(what, r.stdout == wanted, repr(r.stdout + r.stderr))
        r = m.ssh(PARTITION)
        check("a disk is laid out and mounted", r.stdout.endswith("boot\nroot\n"),
              r.stdout + r.stderr)
        change = subprocess.Popen(m.ssh_argv(
            "flock /run/rackfs.lock sh -c 'echo held; sleep 1; echo whole'"),
            stdout=subprocess.PIPE, text=True)
        held = change.stdout.readline()
        check("power-off answers", m.ssh("poweroff").returncode == 0)
        rest = change.communicate(timeout=60)[0]
        check("a change of the guest is let end first",
              (held, rest, change.returncode) == ("held\n", "whole\n", 0),
              repr(held + rest))
        m.ended("and ends the machine", 0)
        r = subprocess.run(["qemu-img", "convert", "-O", "raw", "disk", "raw"])
        data = open("raw", "rb").read()
        check("what was written is on the disk",
              r.returncode == 0 and b"kept\n" in data)
    finally:
        m.kill()


def appended():
    base = open(f"{IMAGE}/initrd", "rb").read()
    with open("initrd", "wb") as f:
        f.write(base + b"\0" * (-len(base) % 4) + identity(0))
    m = Machine("initrd", False)
    try:
        m.wait_mark("MARK_READY")
        r = m.ssh("hostname; date +%Y; rackfs-guest clock x")
        check("an appended identity is taken",
              r.stdout == f"node01\n{time.gmtime().tm_year}\n",
              r.stdout + r.stderr)
        m.qmp("system_powerdown")
        m.ended("the power button ends it", 0)
        check("by our power-off", b"rackfs: poweroff" in m.console())
    finally:
        m.kill()


def none():
    m = Machine(f"{IMAGE}/initrd", False)
    try:
        while b"no identity in the initrd" not in m.console():
            if time.monotonic() - m.began > LIMIT:
                break
            time.sleep(0.05)
        check("without an identity it says so",
              b"no identity in the initrd" in m.console())
    finally:
        m.kill()


def panics():
    m = Machine("initrd", False)
    try:
        m.wait_mark("MARK_READY")
        m.ssh("(sleep 1; echo c >/proc/sysrq-trigger) >/dev/null 2>&1 &")
        m.ended("a panic ends QEMU with its own status", 1)
    finally:
        m.kill()


INIT = """#!/bin/busybox sh
echo "installed: $(/bin/busybox uname -r) on $(/bin/busybox grep ' / ' \
    /proc/mounts | /bin/busybox tail -n 1)"
/bin/busybox modprobe vfat && /bin/busybox grep vfat /proc/filesystems
/bin/busybox poweroff -f
"""


def installed_disk():
    """A file system with an absolute link for its init, as Debian has it, and
    the modules that come with the image."""
    for folder in ("bin", "dev", "proc", "sys", "sbin", "usr/lib"):
        os.makedirs("tree/" + folder)
    os.symlink("usr/lib", "tree/lib")
    shutil.copy(shutil.which("busybox"), "tree/bin/busybox")
    for lib in re.findall(r"(/\S+) \(", subprocess.run(
            ["ldd", "tree/bin/busybox"], capture_output=True,
            text=True).stdout):
        os.makedirs("tree" + os.path.dirname(lib), exist_ok=True)
        shutil.copy(os.path.realpath(lib), "tree" + lib)
    with open("tree/usr/lib/toy-init", "w") as f:
        f.write(INIT)
    os.chmod("tree/usr/lib/toy-init", 0o755)
    os.symlink("/usr/lib/toy-init", "tree/sbin/init")
    subprocess.run(["tar", "-xf", f"{IMAGE}/modules.tar", "-C", "tree"],
                   check=True)
    subprocess.run(["/sbin/mke2fs", "-q", "-t", "ext4", "-L", "root", "-d",
                    "tree", "installed.raw", "128M"], check=True)


def boot_disk(words):
    return subprocess.run(
        ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display",
         "none", "-M", "pc,hpet=off", "-accel", "tcg,thread=multi", "-cpu",
         "max", "-m", "256", "-no-reboot", "-action", "panic=exit-failure",
         "-device", "pvpanic-pci", "-kernel", f"{IMAGE}/kernel", "-initrd",
         f"{IMAGE}/disk-initrd", "-append",
         "console=ttyS0 panic=-1 quiet " + words, "-serial", "stdio",
         "-drive", "if=none,id=d,file=installed.raw,format=raw", "-device",
         "virtio-blk-pci,drive=d"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=LIMIT)


def disk():
    installed_disk()
    r = boot_disk("root=LABEL=root rw")
    check("the disk-initrd goes over into what is installed",
          r.returncode == 0 and "installed: 6" in r.stdout and
          "ext4 rw" in r.stdout, r.stdout[-400:])
    check("with modules for a system that has no kernel", "\tvfat" in r.stdout,
          r.stdout[-400:])
    r = boot_disk("root=LABEL=other rootdelay=1")
    check("a root that is missing is told, and ends the machine",
          r.returncode == 1 and
          "rackfs: there is no LABEL=other after 1 seconds; disks: vda"
          in " ".join(r.stdout.split()), f"{r.returncode} {r.stdout[-400:]}")
    r = boot_disk("root=/dev/vda init=/sbin/nothing")
    check("so is an init that is missing", r.returncode == 1 and
          "there is no /sbin/nothing in the file system on /dev/vda"
          in r.stdout, f"{r.returncode} {r.stdout[-400:]}")


for key in ("user", "host"):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key],
                   check=True)
for run in (by_port, appended, none, panics, disk):
    try:
        run()
    except Exception as e:  # each case is one line, whatever breaks
        check(run.__name__.replace("_", " "), False, str(e).replace("\n", " "))
sys.exit(bad)
