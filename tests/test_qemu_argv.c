/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/drivers/machine_qemu.h"
#include "identity.h"
#include "tests/test.h"

#define UUID "00000000-0000-8000-8000-000000000001"
#define BASE(accel, cpu, cpus, memory)                                         \
	QEMU_PROGRAM " -M pc,hpet=off -accel " accel " -cpu " cpu              \
		     " -smp cpus=" cpus ",sockets=1,cores=" cpus               \
		     ",threads=1 -m " memory                                   \
		     " -name guest=node01,debug-threads=on -uuid " UUID        \
		     " -nodefaults -no-user-config -display none"              \
		     " -rtc base=utc -no-reboot -action panic=exit-failure"    \
		     " -sandbox on,obsolete=deny,elevateprivileges=deny,"      \
		     "spawn=deny,resourcecontrol=deny"                         \
		     " -chardev socket,id=qmp,path=qmp,server=on,wait=off"     \
		     " -mon chardev=qmp,mode=control"                          \
		     " -chardev pipe,id=events,path=events"                    \
		     " -mon chardev=events,mode=control"                       \
		     " -chardev pipe,id=console,path=console"                  \
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
	    .n_disks = 2,
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
	    " -blockdev {\"driver\":\"qcow2\",\"node-name\":\"disk0\","
	    "\"discard\":\"unmap\",\"detect-zeroes\":\"unmap\",\"file\":"
	    "{\"driver\":\"file\",\"discard\":\"unmap\",\"filename\":"
	    "\"/s/a \\\"b\\\",c.qcow2\"}}"
	    " -device virtio-blk-pci,id=vd0,drive=disk0,serial=rackfs-disk,"
	    "addr=0x8"
	    " -blockdev {\"driver\":\"raw\",\"node-name\":\"disk1\","
	    "\"discard\":\"unmap\",\"detect-zeroes\":\"unmap\",\"file\":"
	    "{\"driver\":\"file\",\"discard\":\"unmap\",\"filename\":"
	    "\"/s/data.raw\"}}"
	    " -device virtio-blk-pci,id=vd1,drive=disk1,serial=rackfs-data,"
	    "addr=0x9");
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
}

static void boots_from_its_disk(void)
{
	static const struct machine_disk disk = {.name = "disk", .path = "/d"};
	struct machine_slice s = {
	    .cpus = 1, .memory = MIB, .disks = &disk, .n_disks = 1};
	struct qemu_argv o = {.name = "node01", .uuid = UUID};
	_cleanup_strv_ char **argv = qemu_argv(&s, &o);

	CHECK_STR(argv[strv_len(argv) - 1],
	    "virtio-blk-pci,id=vd0,drive=disk0,serial=rackfs-disk,addr=0x8,"
	    "bootindex=0");
	for (char **a = argv; *a; a++)
		CHECK(!STREQ(*a, "-append") && !STREQ(*a, "-kernel"));
}

static void serials_fit(void)
{
	char serial[21];

	qemu_disk_serial("disk", serial);
	CHECK_STR(serial, DISK_SERIAL);
	qemu_disk_serial("a-very-long-name-of-a-volume", serial);
	CHECK_STR(serial, "rackfs-a-very-long-n");
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
    CASE(serials_fit),
    CASE(uuids_stay_and_differ),
    CASE(slices_are_copied_whole),
};
TEST_MAIN(cases)
