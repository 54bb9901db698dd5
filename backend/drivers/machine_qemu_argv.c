/* SPDX-License-Identifier: Apache-2.0
 *
 * A machine's slice of the spec becomes QEMU's command line.  Pure: no I/O.
 * Names of sockets and logs are relative: QEMU runs in its launch folder, so
 * they are short whatever that folder's path is.
 *
 * PCI slots are fixed, so that a device has the same place in every run:
 * 2 management NIC, 3 random numbers, 4 pvpanic, 8.. disks (eight slots, one
 * function of each after the other), 16.. NICs, 24.. disks that came while it
 * ran (QEMU_PLUG_SLOTS of them, until the next start).
 */
#include <stdio.h>

#include "identity.h"
#include "machine_qemu.h"

#define SLOT_MANAGEMENT 0x2
#define SLOT_RNG        0x3
#define SLOT_PVPANIC    0x4
#define SLOT_DISKS      0x8
#define SLOTS_DISKS     8
#define SLOT_NICS       0x10
#define SLOT_PLUGGED    0x18
#define MTU_DEFAULT     1500

/* Without an image's own command line and without our init. */
#define PLAIN_CMDLINE "console=ttyS0,115200"

/* A value of QEMU's key=value options: a comma is written twice. */
static void option_value(struct buf *b, const char *s)
{
	for (; *s; s++) {
		if (*s == ',')
			buf_putc(b, ',');
		buf_putc(b, *s);
	}
}

static void push2(char ***v, const char *option, const char *value)
{
	strv_push(v, option);
	strv_push(v, value);
}

const char *qemu_disk_serial(const char *disk_name)
{
	return STREQ(disk_name, "disk") ? DISK_SERIAL : disk_name;
}

bool qemu_boots_uefi(const struct machine_slice *s)
{
	return !s->kernel && s->firmware == FIRMWARE_UEFI;
}

void qemu_uuid(const char *state_dir, const char *name, char ret[37])
{
	_cleanup_buf_ struct buf b = {0};
	uint64_t high, low;

	buf_printf(&b, "rackfs\n%s\n%s", state_dir, name);
	high = hash_bytes(b.data, b.len);
	buf_putc(&b, '\n');
	low = hash_bytes(b.data, b.len);
	/* RFC 9562, version 8: the bits are ours to choose. */
	snprintf(ret, 37, "%08x-%04x-8%03x-%04x-%012llx",
	    (unsigned)(high >> 32), (unsigned)(high >> 16 & 0xffff),
	    (unsigned)(high & 0xfff), (unsigned)((low >> 48 & 0x3fff) | 0x8000),
	    (unsigned long long)(low & 0xffffffffffffULL));
}

static void add_base(
    char ***v, const struct machine_slice *s, const struct qemu_argv *o)
{
	push2(v, "-M",
	    qemu_boots_uefi(s) ? "q35,hpet=off,pflash0=code,pflash1=vars"
			       : "pc,hpet=off");
	push2(v, "-accel", o->kvm ? "kvm" : "tcg,thread=multi");
	push2(v, "-cpu", o->kvm ? "host" : "max");
	strv_push(v, "-smp");
	strv_pushf(v, "cpus=%u,sockets=1,cores=%u,threads=1", s->cpus, s->cpus);
	strv_push(v, "-m");
	if (s->memory % MIB == 0)
		strv_pushf(v, "%lluM", (unsigned long long)(s->memory / MIB));
	else
		strv_pushf(v, "%lluK",
		    (unsigned long long)((s->memory + KIB - 1) / KIB));
	strv_push(v, "-name");
	strv_pushf(v, "guest=%s,debug-threads=on", o->name);
	push2(v, "-uuid", o->uuid);
	strv_push(v, "-nodefaults");
	strv_push(v, "-no-user-config");
	push2(v, "-display", "none");
	push2(v, "-rtc", "base=utc");
	/* A reboot is a new start: it takes what has changed in the spec. */
	strv_push(v, "-no-reboot");
	push2(v, "-action", "panic=exit-failure");
	push2(v, "-sandbox",
	    "on,obsolete=deny,elevateprivileges=deny,spawn=deny,"
	    "resourcecontrol=deny");
}

static void add_control(char ***v, const struct machine_slice *s)
{
	push2(v, "-chardev", "socket,id=qmp,path=qmp,server=on,wait=off");
	push2(v, "-mon", "chardev=qmp,mode=control");
	/* A second monitor whose output is a file: how a run ended is there
	 * whether or not somebody listened. */
	push2(v, "-chardev", "pipe,id=events,path=events");
	push2(v, "-mon", "chardev=events,mode=control");
	/* Out into the log, in from a FIFO. */
	push2(v, "-chardev", "pipe,id=console,path=console");
	push2(v, "-device", "isa-serial,chardev=console,index=0");
	if (s->identity) {
		push2(v, "-chardev",
		    "socket,id=identity,path=identity,server=on,wait=off");
		push2(v, "-device", "isa-serial,chardev=identity,index=1");
	}
	strv_push(v, "-device");
	strv_pushf(v, "virtio-rng-pci,addr=0x%x", SLOT_RNG);
	strv_push(v, "-device");
	strv_pushf(v, "pvpanic-pci,addr=0x%x", SLOT_PVPANIC);
}

static void add_uefi(char ***v)
{
	_cleanup_buf_ struct buf code = {0};

	buf_puts(&code, "{\"driver\":\"raw\",\"node-name\":\"code\","
			"\"read-only\":true,\"file\":{\"driver\":\"file\","
			"\"filename\":");
	buf_json_string(&code, qemu_uefi_code());
	buf_puts(&code, "}}");
	push2(v, "-blockdev", buf_str(&code));
	push2(v, "-blockdev",
	    "{\"driver\":\"raw\",\"node-name\":\"vars\",\"file\":{\"driver\":"
	    "\"file\",\"filename\":\"" UEFI_VARS "\"}}");
}

static void add_boot(char ***v, const struct machine_slice *s)
{
	_cleanup_buf_ struct buf line = {0};

	if (qemu_boots_uefi(s))
		add_uefi(v);
	if (!s->kernel)
		return;
	push2(v, "-kernel", s->kernel);
	if (s->initrd)
		push2(v, "-initrd", s->initrd);
	if (s->cmdline)
		buf_puts(&line, s->cmdline);
	else
		buf_puts(&line, s->identity && !s->from_disk ? NETBOOT_CMDLINE
							     : PLAIN_CMDLINE);
	if (s->cmdline_extra && s->cmdline_extra[0])
		buf_printf(&line, " %s", s->cmdline_extra);
	push2(v, "-append", buf_str(&line));
}

static void add_management(char ***v, const struct machine_slice *s)
{
	_cleanup_buf_ struct buf net = {0};

	buf_printf(&net, "user,id=mgmt,ipv6=off,restrict=%s",
	    s->internet ? "off" : "on");
	if (s->ssh_port)
		buf_printf(&net, ",hostfwd=tcp:127.0.0.1:%u-:%u", s->ssh_port,
		    SSH_GUEST_PORT);
	for (size_t i = 0; i < s->n_forwards; i++)
		buf_printf(&net, ",hostfwd=tcp:127.0.0.1:%u-:%u",
		    s->forwards[i].host, s->forwards[i].guest);
	push2(v, "-netdev", buf_str(&net));
	strv_push(v, "-device");
	strv_pushf(v,
	    "virtio-net-pci,id=management,netdev=mgmt,mac=%s,romfile=,addr=0x%"
	    "x",
	    MANAGEMENT_MAC, SLOT_MANAGEMENT);
}

/* NIC <-> hub <-> switch: the two sides are hub ports, so that the switch's
 * side can be plugged again and the guest's never notices. */
static void add_nic(char ***v, const struct machine_nic *n, unsigned i)
{
	_cleanup_buf_ struct buf b = {0};
	char mac[18];

	format_mac(n->mac, mac);
	strv_push(v, "-netdev");
	strv_pushf(v, "hubport,id=hn%u,hubid=%u", i, i);
	strv_push(v, "-device");
	buf_printf(&b, "virtio-net-pci,id=nic%u,netdev=hn%u,mac=%s,romfile=,",
	    i, i, mac);
	if (n->mtu && n->mtu != MTU_DEFAULT)
		buf_printf(&b, "host_mtu=%u,", n->mtu);
	buf_printf(&b, "addr=0x%x", SLOT_NICS + i);
	strv_push(v, buf_str(&b));
	if (!n->endpoint)
		return;
	buf_clear(&b);
	buf_printf(&b, "vde,id=v%u,sock=", i);
	option_value(&b, n->endpoint);
	push2(v, "-netdev", buf_str(&b));
	strv_push(v, "-netdev");
	strv_pushf(v, "hubport,id=hv%u,hubid=%u,netdev=v%u", i, i, i);
}

char *qemu_nic_device(const struct machine_nic *n, unsigned i)
{
	struct buf b = {0};
	char mac[18];

	format_mac(n->mac, mac);
	buf_printf(&b,
	    "{\"driver\":\"virtio-net-pci\",\"id\":\"nic%u\","
	    "\"netdev\":\"hn%u\",\"mac\":\"%s\",\"romfile\":\"\",",
	    i, i, mac);
	if (n->mtu && n->mtu != MTU_DEFAULT)
		buf_printf(&b, "\"host_mtu\":%u,", n->mtu);
	buf_printf(&b, "\"bus\":\"pci.0\",\"addr\":\"0x%x\"}", SLOT_NICS + i);
	return buf_take(&b);
}

/* The format is always told and never guessed from what a guest may have
 * written. */
char *qemu_blockdev(const struct machine_disk *d, unsigned i)
{
	struct buf b = {0};

	buf_printf(&b, "{\"driver\":\"%s\",\"node-name\":\"disk%u.%s\",",
	    disk_format_name(d->format), i, d->name);
	/* Writes go through the host's cache and a flush of the guest is a
	 * flush of the file: safe, and as fast as safe can be. */
	buf_puts(&b, d->readonly
			 ? "\"read-only\":true,\"file\":{\"driver\":\"file\","
			 : "\"discard\":\"unmap\",\"detect-zeroes\":\"unmap\","
			   "\"file\":{\"driver\":\"file\","
			   "\"discard\":\"unmap\",");
	buf_puts(&b, "\"filename\":");
	buf_json_string(&b, d->path);
	buf_puts(&b, "}}");
	return buf_take(&b);
}

char *qemu_plug_device(const struct machine_disk *d, unsigned i, unsigned slot)
{
	return xasprintf("{\"driver\":\"virtio-blk-pci\",\"id\":\"vd%u\","
			 "\"drive\":\"disk%u.%s\",\"serial\":\"%s\","
			 "\"bus\":\"pci.0\",\"addr\":\"0x%x\"}",
	    i, i, d->name, qemu_disk_serial(d->name), SLOT_PLUGGED + slot);
}

static void add_disk(char ***v, const struct machine_slice *s, unsigned i)
{
	const struct machine_disk *d = &s->disks[i];
	_cleanup_buf_ struct buf b = {0};
	unsigned function = i / SLOTS_DISKS;

	_cleanup_free_ char *blockdev = qemu_blockdev(d, i);

	push2(v, "-blockdev", blockdev);
	buf_printf(&b, "virtio-blk-pci,id=vd%u,drive=disk%u.%s,serial=%s,", i,
	    i, d->name, qemu_disk_serial(d->name));
	buf_printf(&b, "addr=0x%x", SLOT_DISKS + i % SLOTS_DISKS);
	if (function)
		buf_printf(&b, ".%u", function);
	else if (s->n_disks > i + SLOTS_DISKS)
		buf_puts(&b, ",multifunction=on");
	if (i == 0 && !s->kernel)
		buf_puts(&b, ",bootindex=0");
	push2(v, "-device", buf_str(&b));
}

char **qemu_argv(const struct machine_slice *s, const struct qemu_argv *o)
{
	char **v = strv_new(QEMU_PROGRAM, NULL);

	add_base(&v, s, o);
	add_control(&v, s);
	add_boot(&v, s);
	add_management(&v, s);
	for (size_t i = 0; i < s->n_nics; i++)
		add_nic(&v, &s->nics[i], (unsigned)i);
	for (size_t i = 0; i < s->n_disks; i++)
		add_disk(&v, s, (unsigned)i);
	return v;
}
