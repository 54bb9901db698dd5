/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "backend/drivers/machine_qemu.h"
#include "identity.h"
#include "tests/test.h"

#define UUID "00000000-0000-8000-8000-000000000001"
#define BASE(accel, cpu, cpus, memory)                                         \
	QEMU_PROGRAM " -M pc,hpet=off" AFTER_M(accel, cpu, cpus, memory)
#define AFTER_M(accel, cpu, cpus, memory)                                      \
	" -accel " accel " -cpu " cpu " -smp cpus=" cpus                       \
	",sockets=1,cores=" cpus ",threads=1 -m " memory                       \
	" -name guest=node01,debug-threads=on -uuid " UUID                     \
	" -nodefaults -no-user-config -display none"                           \
	" -rtc base=utc -no-reboot -action panic=exit-failure"                 \
	" -sandbox on,obsolete=deny,elevateprivileges=deny,"                   \
	"spawn=deny,resourcecontrol=deny"                                      \
	" -chardev socket,id=qmp,path=qmp,server=on,wait=off"                  \
	" -mon chardev=qmp,mode=control"                                       \
	" -chardev pipe,id=events,path=events"                                 \
	" -mon chardev=events,mode=control"                                    \
	" -chardev pipe,id=console,path=console"                               \
	" -device isa-serial,chardev=console,index=0"
#define IDENTITY                                                               \
	" -chardev socket,id=identity,path=identity,server=on,wait=off"        \
	" -device isa-serial,chardev=identity,index=1"
#define DEVICES " -device virtio-rng-pci,addr=0x3 -device pvpanic-pci,addr=0x4"
#define MANAGEMENT                                                             \
	" -device "                                                            \
	"virtio-net-pci,id=management,netdev=mgmt,mac=" MANAGEMENT_MAC         \
	",romfile=,addr=0x2"

/* The words of the command line with a space between, unquoted. */
static void check_argv(
    const struct machine_slice *s, bool kvm, const char *want)
{
	struct qemu_argv o = {.name = "node01", .uuid = UUID, .kvm = kvm};
	_cleanup_strv_ char **argv = qemu_argv(s, &o);
	_cleanup_buf_ struct buf b = {0};

	for (char **a = argv; *a; a++)
		buf_printf(&b, "%s%s", a == argv ? "" : " ", *a);
	CHECK_STR(buf_str(&b), want);
}

static void smallest(void)
{
	struct machine_slice s = {.cpus = 1, .memory = 512 * MIB};

	check_argv(&s, false,
	    BASE("tcg,thread=multi", "max", "1", "512M") DEVICES
	    " -netdev user,id=mgmt,ipv6=off,restrict=on" MANAGEMENT);
}

static void everything(void)
{
	static const struct forward_spec forwards[] = {{8080, 80}, {8443, 443}};
	static const struct machine_nic nics[] = {
	    {.name = "lan",
		.mac = {0x52, 0x54, 0, 0, 1, 2},
		.endpoint = "/run/x,y/ctl",
		.mtu = 1500},
	    {.name = "san", .mac = {0x52, 0x54, 0, 0, 1, 3}, .mtu = 9000},
	};
	static const struct machine_disk disks[] = {
	    {.name = "disk",
		.path = "/s/a \"b\",c.qcow2",
		.format = FORMAT_QCOW2},
	    {.name = "data", .path = "/s/data.raw", .format = FORMAT_RAW},
	    {.name = "payload",
		.path = "/s/a.tar",
		.format = FORMAT_RAW,
		.readonly = true},
	};
	struct machine_slice s = {
	    .cpus = 4,
	    .memory = 100 * KIB + 1,
	    .kernel = "/k",
	    .initrd = "/i",
	    .cmdline_extra = "a=b,c",
	    .identity = true,
	    .nics = nics,
	    .n_nics = 2,
	    .disks = disks,
	    .n_disks = 3,
	    .ssh_port = 2201,
	    .forwards = forwards,
	    .n_forwards = 2,
	    .internet = true,
	};

	check_argv(&s, true,
	    BASE("kvm", "host", "4", "101K") IDENTITY DEVICES
	    " -kernel /k -initrd /i -append " NETBOOT_CMDLINE " a=b,c"
	    " -netdev user,id=mgmt,ipv6=off,restrict=off"
	    ",hostfwd=tcp:127.0.0.1:2201-:22,hostfwd=tcp:127.0.0.1:8080-:80"
	    ",hostfwd=tcp:127.0.0.1:8443-:443" MANAGEMENT
	    " -netdev hubport,id=hn0,hubid=0"
	    " -device virtio-net-pci,id=nic0,netdev=hn0,mac=52:54:00:00:01:02,"
	    "romfile=,addr=0x10"
	    " -netdev vde,id=v0,sock=/run/x,,y/ctl"
	    " -netdev hubport,id=hv0,hubid=0,netdev=v0"
	    " -netdev hubport,id=hn1,hubid=1"
	    " -device virtio-net-pci,id=nic1,netdev=hn1,mac=52:54:00:00:01:03,"
	    "romfile=,host_mtu=9000,addr=0x11"
	    " -blockdev {\"driver\":\"qcow2\",\"node-name\":\"disk0.disk\","
	    "\"discard\":\"unmap\",\"detect-zeroes\":\"unmap\",\"file\":"
	    "{\"driver\":\"file\",\"discard\":\"unmap\",\"filename\":"
	    "\"/s/a \\\"b\\\",c.qcow2\"}}"
	    " -device virtio-blk-pci,id=vd0,drive=disk0.disk,"
	    "serial=rackfs-disk,addr=0x8"
	    " -blockdev {\"driver\":\"raw\",\"node-name\":\"disk1.data\","
	    "\"discard\":\"unmap\",\"detect-zeroes\":\"unmap\",\"file\":"
	    "{\"driver\":\"file\",\"discard\":\"unmap\",\"filename\":"
	    "\"/s/data.raw\"}}"
	    " -device virtio-blk-pci,id=vd1,drive=disk1.data,serial=data,"
	    "addr=0x9"
	    " -blockdev {\"driver\":\"raw\",\"node-name\":\"disk2.payload\","
	    "\"read-only\":true,\"file\":{\"driver\":\"file\",\"filename\":"
	    "\"/s/a.tar\"}}"
	    " -device virtio-blk-pci,id=vd2,drive=disk2.payload,"
	    "serial=payload,addr=0xa");
}

/* The last word of a command line. */
static void check_append(const struct machine_slice *s, const char *want)
{
	struct qemu_argv o = {.name = "node01", .uuid = UUID};
	_cleanup_strv_ char **argv = qemu_argv(s, &o);
	const char *got = NULL;

	for (char **a = argv; *a; a++)
		if (STREQ(*a, "-append"))
			got = a[1];
	CHECK_STR(got, want);
}

static void command_lines(void)
{
	struct machine_slice s = {.cpus = 1, .memory = MIB, .kernel = "/k"};

	/* Somebody's own kernel is told of the console and nothing else. */
	check_append(&s, "console=ttyS0,115200");
	s.cmdline_extra = "single";
	check_append(&s, "console=ttyS0,115200 single");
	s.cmdline = "root=/dev/vda";
	check_append(&s, "root=/dev/vda single");
	s.identity = true;
	check_append(&s, "root=/dev/vda single");
	s.cmdline = NULL;
	s.cmdline_extra = NULL;
	check_append(&s, NETBOOT_CMDLINE);
	s.from_disk = true;
	check_append(&s, "console=ttyS0,115200");
	s.cmdline = "root=LABEL=root rw";
	s.cmdline_extra = "quiet";
	check_append(&s, "root=LABEL=root rw quiet");
}

static void boots_from_its_disk(void)
{
	static const struct machine_disk disk = {.name = "disk", .path = "/d"};
	struct machine_slice s = {
	    .cpus = 1, .memory = MIB, .disks = &disk, .n_disks = 1};
	struct qemu_argv o = {.name = "node01", .uuid = UUID};
	_cleanup_strv_ char **argv = qemu_argv(&s, &o);

	CHECK_STR(argv[strv_len(argv) - 1],
	    "virtio-blk-pci,id=vd0,drive=disk0.disk,serial=rackfs-disk,"
	    "addr=0x8,bootindex=0");
	for (char **a = argv; *a; a++)
		CHECK(!STREQ(*a, "-append") && !STREQ(*a, "-kernel"));
}

static void boots_by_uefi(void)
{
	static const struct machine_disk disk = {
	    .name = "disk", .path = "/d", .format = FORMAT_RAW};
	struct machine_slice s = {.cpus = 1,
	    .memory = 512 * MIB,
	    .disks = &disk,
	    .n_disks = 1,
	    .from_disk = true,
	    .firmware = FIRMWARE_UEFI};

	check_argv(&s, false,
	    QEMU_PROGRAM " -M q35,hpet=off,pflash0=code,pflash1=vars" AFTER_M(
		"tcg,thread=multi", "max", "1", "512M") DEVICES
	    " -blockdev {\"driver\":\"raw\",\"node-name\":\"code\","
	    "\"read-only\":true,\"file\":{\"driver\":\"file\",\"filename\":"
	    "\"/usr/share/OVMF/OVMF_CODE_4M.fd\"}}"
	    " -blockdev {\"driver\":\"raw\",\"node-name\":\"vars\","
	    "\"file\":{\"driver\":\"file\",\"filename\":\"vars.fd\"}}"
	    " -netdev user,id=mgmt,ipv6=off,restrict=on" MANAGEMENT
	    " -blockdev {\"driver\":\"raw\",\"node-name\":\"disk0.disk\","
	    "\"discard\":\"unmap\",\"detect-zeroes\":\"unmap\",\"file\":"
	    "{\"driver\":\"file\",\"discard\":\"unmap\",\"filename\":"
	    "\"/d\"}}"
	    " -device virtio-blk-pci,id=vd0,drive=disk0.disk,"
	    "serial=rackfs-disk,addr=0x8,bootindex=0");
	/* A kernel that is given needs no firmware but the BIOS. */
	s.kernel = "/k";
	CHECK(!qemu_boots_uefi(&s));
}

/* More disks than slots: each slot takes several. */
static void many_disks(void)
{
	struct machine_disk disks[DISKS_MAX];
	struct machine_slice s = {
	    .cpus = 1, .memory = MIB, .disks = disks, .n_disks = DISKS_MAX};
	struct qemu_argv o = {.name = "node01", .uuid = UUID};
	char names[DISKS_MAX][8];
	_cleanup_buf_ struct buf b = {0};

	for (size_t i = 0; i < DISKS_MAX; i++) {
		snprintf(names[i], sizeof(names[i]), "v%zu", i);
		disks[i] = (struct machine_disk){
		    .name = names[i], .path = "/d", .readonly = true};
	}
	_cleanup_strv_ char **argv = qemu_argv(&s, &o);
	for (char **a = argv; *a; a++)
		if (strncmp(*a, "virtio-blk", 10) == 0)
			buf_printf(&b, "%s ", strstr(*a, "addr="));
	CHECK_STR(buf_str(&b),
	    "addr=0x8,multifunction=on,bootindex=0 addr=0x9,multifunction=on "
	    "addr=0xa,multifunction=on addr=0xb,multifunction=on "
	    "addr=0xc,multifunction=on addr=0xd,multifunction=on "
	    "addr=0xe,multifunction=on addr=0xf,multifunction=on "
	    "addr=0x8.1 addr=0x9.1 addr=0xa.1 addr=0xb.1 addr=0xc.1 addr=0xd.1 "
	    "addr=0xe.1 addr=0xf.1 addr=0x8.2 addr=0x9.2 addr=0xa.2 ");
}

static void check_refused(struct machine_disk *disks, size_t n, const char *why)
{
	struct machine_slice s = {.disks = disks, .n_disks = n};
	struct err err = ERR_INIT;

	CHECK(qemu_check(&s, &err) < 0);
	CHECK(strstr(err_text(&err), why));
	if (!strstr(err_text(&err), why))
		printf("# %s\n", err_text(&err));
}

static void names_are_serials(void)
{
	struct machine_disk disks[2] = {
	    {.name = "disk", .path = "/d"}, {.name = "data", .path = "/e"}};
	struct machine_slice s = {.disks = disks, .n_disks = 2};

	CHECK_STR(qemu_disk_serial("disk"), DISK_SERIAL);
	CHECK_STR(qemu_disk_serial("data"), "data");
	disks[1].name = "twenty-characters-20";
	CHECK_INT(qemu_check(&s, NULL), 0);
	disks[1].name = "twenty-one-characters";
	check_refused(disks, 2, "has at most 20 characters");
	disks[1].name = "a,b";
	check_refused(disks, 2, "letters, digits");
	disks[1].name = DISK_SERIAL;
	check_refused(disks, 2, "the same serial number");
	disks[1] = (struct machine_disk){
	    .name = "payload", .path = "/no/such.tar", .readonly = true};
	check_refused(disks, 2, "the payload /no/such.tar can't be read");
	s.n_disks = 0;
	s.from_disk = true;
	CHECK_INT(qemu_check(&s, NULL), -EINVAL);
}

/* As QEMU 7.2 says it: the netdevs of others, and connections, are no
 * forwards of ours. */
static void forwards_are_read(void)
{
	static const char text[] =
	    "Hub -1 (other):\n"
	    "  Protocol[State]    FD  Source Address  Port   Dest. Address  "
	    "Port RecvQ SendQ\n"
	    "  TCP[HOST_FORWARD]  11       127.0.0.1  7000       10.0.2.15    "
	    "70     0     0\n"
	    "Hub -1 (mgmt):\n"
	    "  Protocol[State]    FD  Source Address  Port   Dest. Address  "
	    "Port RecvQ SendQ\n"
	    "  TCP[ESTABLISHED]   20       127.0.0.1  2201       10.0.2.15    "
	    "22     0     0\n"
	    "  TCP[HOST_FORWARD]  14       127.0.0.1  8080       10.0.2.15    "
	    "80     0     0\n"
	    "  TCP[HOST_FORWARD]  12       127.0.0.1  2201       10.0.2.15    "
	    "22     0     0\n";
	struct forward_spec f[4];

	CHECK_INT(qemu_forwards_parse(text, f, 4), 2);
	CHECK(f[0].host == 8080 && f[0].guest == 80);
	CHECK(f[1].host == 2201 && f[1].guest == 22);
	CHECK_INT(qemu_forwards_parse(text, f, 1), 1);
	CHECK_INT(qemu_forwards_parse("", f, 4), 0);
	CHECK_INT(qemu_forwards_parse("Hub -1 (mgmt):", f, 4), 0);
}

static void uuids_stay_and_differ(void)
{
	char a[37], b[37];

	qemu_uuid("/state", "node01", a);
	qemu_uuid("/state", "node01", b);
	CHECK_STR(a, b);
	CHECK_INT(strlen(a), 36);
	CHECK(a[14] == '8');
	CHECK(strchr("89ab", a[19]) != NULL);
	qemu_uuid("/state", "node02", b);
	CHECK(strcmp(a, b) != 0);
	qemu_uuid("/other", "node01", b);
	CHECK(strcmp(a, b) != 0);
}

static void slices_are_copied_whole(void)
{
	static char *args[] = {"-x", "y", NULL};
	static const struct machine_nic nic = {
	    .name = "lan", .endpoint = "/e", .incarnation = 5};
	static const struct machine_disk disk = {.name = "disk", .path = "/d"};
	static const struct forward_spec forward = {1, 2};
	struct machine_slice s = {.cpus = 3,
	    .kernel = "/k",
	    .initrd = "",
	    .nics = &nic,
	    .n_nics = 1,
	    .disks = &disk,
	    .n_disks = 1,
	    .forwards = &forward,
	    .n_forwards = 1,
	    .extra_args = args};
	struct machine_slice *to = qemu_slice_copy(&s);

	CHECK_INT(to->cpus, 3);
	CHECK_STR(to->kernel, "/k");
	CHECK(to->kernel != s.kernel && to->initrd == NULL);
	CHECK(to->cmdline == NULL);
	CHECK_STR(to->nics[0].endpoint, "/e");
	CHECK_INT(to->nics[0].incarnation, 5);
	CHECK_STR(to->disks[0].path, "/d");
	CHECK_INT(to->forwards[0].guest, 2);
	CHECK_STR(to->extra_args[1], "y");
	qemu_slice_free(to);
}

static const struct test_case cases[] = {
    CASE(smallest),
    CASE(everything),
    CASE(command_lines),
    CASE(boots_from_its_disk),
    CASE(boots_by_uefi),
    CASE(many_disks),
    CASE(names_are_serials),
    CASE(forwards_are_read),
    CASE(uuids_stay_and_differ),
    CASE(slices_are_copied_whole),
};
TEST_MAIN(cases)
