/* SPDX-License-Identifier: Apache-2.0
 *
 * How a netboot guest of ours is given its identity, in one place for the
 * host (backend/drivers/machine_qemu.c), the guest's helper
 * (backend/netboot/guest.c) and the tests.
 *
 * The guest prints MARK_WAITING on its console, again every second, and reads
 * its second serial port.  The host writes one frame there: the line
 * IDENTITY_MAGIC " <bytes> <crc32 in 8 hex digits>\n", then the bytes: a newc
 * archive (cpio(5)).  crc32 is that of zlib and IEEE 802.3.  A guest that gets
 * a broken frame throws its input away and goes on asking.  A guest that has
 * no such port finds the same files in its initrd, where the archive was
 * appended.  The guest prints MARK_TAKEN when it has unpacked it, and
 * MARK_READY when sshd listens.
 *
 * Files in the archive:
 *   etc/hostname, etc/hosts, root/.ssh/authorized_keys (0600)
 *   etc/dropbear/dropbear_ed25519_host_key (0600; format: see keys.h)
 *   etc/rackfs/node.conf   sourced by the guest's init:
 *       NAME=node01
 *       DOMAIN=cluster.internal
 *       CLOCK=<seconds.nanoseconds since the epoch>
 *       NICS='525400000102=10.36.0.11/24,1500 ...'
 *            (MAC without colons = address/prefix or "-", MTU)
 *   etc/rackfs/seed (0600) 64 random bytes
 */
#ifndef RACKFS_IDENTITY_H
#define RACKFS_IDENTITY_H

#define IDENTITY_MAGIC "RACKFS-IDENTITY"
#define IDENTITY_MAX   (8 * 1024 * 1024)

#define MARK_WAITING "rackfs: waiting for identity"
#define MARK_TAKEN   "rackfs: identity taken"
#define MARK_READY   "rackfs: ssh ready"

/* The management NIC: the same in every machine, on QEMU's user network. */
#define MANAGEMENT_MAC "52:54:00:00:00:fe"

/* Where a disk of the spec shows in the guest: the virtio serial. */
#define DISK_SERIAL "rackfs-disk"

/* The kernel command line of our netboot image, where an image's spec gives
 * none.  lpj, tsc and no_timer_check spare calibration loops that are slow
 * without KVM; the kernel is in a machine of its own, so mitigations and
 * KASLR guard nothing here and cost boot time.  panic=-1 with QEMU's
 * -no-reboot: a panic ends the machine at once.  norandmaps: QEMU's translated
 * code is bound to addresses, so with random ones every program that starts is
 * translated anew, three times the work, and pages gather translations until
 * one that is written to takes minutes. */
#define NETBOOT_CMDLINE                                                        \
	"console=ttyS0,115200 quiet loglevel=3 panic=-1 nokaslr norandmaps "   \
	"mitigations=off tsc=reliable no_timer_check lpj=4000000 "             \
	"cryptomgr.notests random.trust_cpu=on audit=0 apparmor=0 "            \
	"selinux=0 lsm= 8250.nr_uarts=2 noreplace-smp "                        \
	"rcupdate.rcu_expedited=1 pci=noaer"

/* The lock under which every command that changes a guest runs, and the mark
 * that tells a netboot guest of ours. */
#define GUEST_LOCK "/run/rackfs.lock"

#endif
