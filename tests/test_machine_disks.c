/* SPDX-License-Identifier: Apache-2.0
 *
 * Disks of the machine driver "qemu" against the real QEMU: made, grown, shared
 * or not, and booted from; by UEFI too, from a file system that is made here.
 */
#include "tests/qemu_rig.h"

/* clang-format off */
/* A program for UEFI: PE32+ with one section, which writes a line to the first
 * serial port. */
__asm__(
"	.pushsection .rodata\n"
"	.globl efi_start, efi_end\n"
"efi_start:\n"
"	.ascii \"MZ\"; .org efi_start + 0x3c; .long 0x40\n"
"	.ascii \"PE\\0\\0\"; .short 0x8664, 1; .long 0, 0, 0\n"
"	.short 0xa0, 0x22e\n"           /* optional header, executable */
"	.short 0x20b, 0; .long 0x200, 0, 0, 0x200, 0x200\n" /* entry, code */
"	.quad 0; .long 0x200, 0x200\n"  /* base, alignments */
"	.short 0, 0, 0, 0, 0, 0; .long 0\n"
"	.long 0x400, 0x200, 0\n"        /* image, headers, checksum */
"	.short 10, 0\n"                 /* an application */
"	.quad 0, 0, 0, 0; .long 0, 6; .quad 0, 0, 0, 0, 0, 0\n"
"	.ascii \".text\\0\\0\\0\"; .long 0x200, 0x200, 0x200, 0x200\n"
"	.long 0, 0; .short 0, 0; .long 0x60000020\n"
"	.org efi_start + 0x200\n"
"	lea efi_line(%rip), %rsi\n"
"1:	mov (%rsi), %bl; inc %rsi; test %bl, %bl; jz 3f\n"
"2:	mov $0x3fd, %dx; in %dx, %al; test $0x20, %al; jz 2b\n"
"	mov %bl, %al; mov $0x3f8, %dx; out %al, %dx; jmp 1b\n"
"3:	hlt; jmp 3b\n"
"efi_line: .asciz \"\\r\\n" MARK_READY "\\r\\n\"\n"
"	.org efi_start + 0x400, 0\n"
"efi_end:\n"
"	.popsection\n"
);
/* clang-format on */
extern const uint8_t efi_start[0x400], efi_end[];

#define SECTOR      512UL
#define FAT_SECTORS 16384UL /* of 512 bytes, one a cluster: FAT16 */
#define FAT_TABLE   64UL    /* sectors */
#define FAT_DATA    (1 + FAT_TABLE + 1)

static void le16(uint8_t *p, unsigned v)
{
	p[0] = v & 0xff;
	p[1] = (v >> 8) & 0xff;
}

/* FAT: an entry of a folder; name: "BOOTX64 EFI". */
static void fat_entry(
    uint8_t *p, const char *name, uint8_t kind, unsigned cluster, unsigned size)
{
	memcpy(p, name, 11);
	p[11] = kind;
	le16(p + 26, cluster);
	le16(p + 28, size);
}

/* EFI/BOOT/BOOTX64.EFI in a file system on the whole disk. */
static void make_esp(const char *path)
{
	_cleanup_free_ uint8_t *b = xcalloc(FAT_SECTORS, SECTOR);
	static const unsigned chain[] = {
	    0xfff8, 0xffff, 0xffff, 0xffff, 5, 0xffff};
	static const uint8_t jump[] = {0xeb, 0x3c, 0x90};
	static const char type[8] = {'F', 'A', 'T', '1', '6', ' ', ' ', ' '};
	enum { FOLDER = 0x10, ARCHIVE = 0x20 };
	uint8_t *root = b + (1 + FAT_TABLE) * SECTOR;
	uint8_t *efi = b + FAT_DATA * SECTOR, *boot = efi + SECTOR;

	memcpy(b, jump, sizeof(jump));
	le16(b + 11, SECTOR);
	b[13] = 1; /* sectors a cluster */
	le16(b + 14, 1);
	b[16] = 1;        /* tables */
	le16(b + 17, 16); /* entries of the root folder */
	le16(b + 19, FAT_SECTORS);
	b[21] = 0xf8;
	le16(b + 22, FAT_TABLE);
	memcpy(b + 54, type, sizeof(type));
	le16(b + 510, 0xaa55);
	for (size_t i = 0; i < ARRAY_SIZE(chain); i++)
		le16(b + SECTOR + 2 * i, chain[i]);
	fat_entry(root, "EFI        ", FOLDER, 2, 0);
	fat_entry(efi, ".          ", FOLDER, 2, 0);
	fat_entry(efi + 32, "..         ", FOLDER, 0, 0);
	fat_entry(efi + 64, "BOOT       ", FOLDER, 3, 0);
	fat_entry(boot, ".          ", FOLDER, 3, 0);
	fat_entry(boot + 32, "..         ", FOLDER, 2, 0);
	fat_entry(boot + 64, "BOOTX64 EFI", ARCHIVE, 4, sizeof(efi_start));
	memcpy(boot + SECTOR, efi_start, sizeof(efi_start));
	CHECK_INT(
	    file_replace(AT_FDCWD, path, b, FAT_SECTORS * SECTOR, 0600), 0);
}

/* Its firmware finds a loader on the disk without any variable of an earlier
 * run, also the second time. */
static void boots_by_uefi(void)
{
	struct rig r;

	if (!rig_new(&r))
		SKIP("QEMU is not installed");
	if (qemu_uefi_check(&r.err) < 0) {
		rig_free(&r);
		SKIP("ovmf is not installed");
	}
	make_esp(r.disk);
	r.disks[0].size = FAT_SECTORS * SECTOR;
	r.slice.memory = 256 * MIB;
	r.slice.identity = false;
	r.slice.from_disk = true;
	r.slice.firmware = FIRMWARE_UEFI;
	for (int i = 0; i < 2; i++) {
		CHECK_INT(rig_start(&r), 0);
		CHECK(rig_shows(&r, MARK_READY));
		CHECK_INT(rig_stop(&r, true), 0);
	}
	rig_free(&r);
}

static void makes_disks(void)
{
	struct rig r;
	struct machine_look look;
	char path[256];
	struct stat st;

	if (!rig_new(&r))
		SKIP("QEMU is not installed");
	snprintf(path, sizeof(path), "%s/new,disk.qcow2", r.state);
	r.disks[0] = (struct machine_disk){.name = "disk",
	    .path = path,
	    .format = FORMAT_QCOW2,
	    .size = 16 * MIB};
	CHECK_INT(rig_start(&r), 0);
	rig_look(&r, &look);
	CHECK_INT(look.disk_size, 16 * MIB);
	/* Grown while it runs, then while it is down. */
	r.disks[0].size = 32 * MIB;
	CHECK_INT(rig_apply(&r), 0);
	CHECK_INT(rig_stop(&r, true), 0);
	r.disks[0].size = 64 * MIB;
	CHECK_INT(rig_start(&r), 0);
	rig_look(&r, &look);
	CHECK_INT(look.disk_size, 64 * MIB);
	CHECK_INT(rig_stop(&r, true), 0);
	/* Never shrunk. */
	r.disks[0].size = 16 * MIB;
	CHECK_INT(rig_start(&r), 0);
	rig_look(&r, &look);
	CHECK_INT(look.disk_size, 64 * MIB);
	CHECK_INT(rig_stop(&r, true), 0);
	snprintf(path, sizeof(path), "%s/new.raw", r.state);
	r.disks[0].format = FORMAT_RAW;
	r.disks[0].size = 3 * MIB;
	CHECK_INT(rig_start(&r), 0);
	CHECK_INT(stat(path, &st), 0);
	CHECK_INT(st.st_size, 3 * MIB);
	CHECK_INT(st.st_mode & 0777, 0600);
	rig_free(&r);
}

static uint64_t file_size(const char *path)
{
	struct stat st;

	CHECK_INT(stat(path, &st), 0);
	return (uint64_t)st.st_size;
}

/* As many as there can be: each is made, and grown by its name. */
static void takes_many_disks(void)
{
	struct rig r;
	struct machine_look look;
	struct machine_disk disks[DISKS_MAX];
	char names[DISKS_MAX][16], paths[DISKS_MAX][256];

	if (!rig_new(&r))
		SKIP("QEMU is not installed");
	disks[0] = r.disks[0];
	for (size_t i = 1; i < DISKS_MAX; i++) {
		snprintf(names[i], sizeof(names[i]), "volume-%zu", i);
		snprintf(
		    paths[i], sizeof(paths[i]), "%s/%s.raw", r.state, names[i]);
		disks[i] = (struct machine_disk){.name = names[i],
		    .path = paths[i],
		    .format = FORMAT_RAW,
		    .size = i * MIB};
	}
	r.slice.disks = disks;
	r.slice.n_disks = DISKS_MAX;
	CHECK_INT(rig_start(&r), 0);
	CHECK(rig_shows(&r, MARK_WAITING)); /* the first one boots */
	CHECK_INT(file_size(paths[3]), 3 * MIB);
	CHECK_INT(file_size(paths[DISKS_MAX - 1]), (DISKS_MAX - 1) * MIB);
	/* The next daemon's slice has fewer, in another order, and one that the
	 * machine was not started with. */
	rig_daemon_dies(&r);
	rig_open(&r);
	CHECK_INT(rig_observe(&r), 0);
	disks[2].size = 40 * MIB;
	disks[1] = disks[DISKS_MAX - 1];
	disks[1].size = 30 * MIB;
	disks[3].name = "later";
	disks[3].size = 50 * MIB;
	r.slice.n_disks = 4;
	CHECK_INT(rig_apply(&r), 0);
	CHECK_INT(file_size(paths[1]), 1 * MIB);
	CHECK_INT(file_size(paths[2]), 40 * MIB);
	CHECK_INT(file_size(paths[3]), 3 * MIB);
	CHECK_INT(file_size(paths[DISKS_MAX - 1]), 30 * MIB);
	rig_look(&r, &look);
	CHECK_INT(look.disk_size, 1 * MIB);
	rig_free(&r);
}

/* Two machines on one file would destroy it; what is only read can be shared,
 * and neither made, grown nor written to. */
static void disks_are_not_shared(void)
{
	struct rig a, b;
	struct machine_disk disks[2];
	char payload[256];

	if (!rig_new(&a))
		SKIP("QEMU is not installed");
	CHECK(rig_new(&b));
	snprintf(payload, sizeof(payload), "%s/payload.tar", a.dir);
	disks[0] = a.disks[0];
	disks[1] = (struct machine_disk){.name = "payload",
	    .path = payload,
	    .format = FORMAT_RAW,
	    .size = 64 * MIB,
	    .readonly = true};
	a.slice.disks = disks;
	a.slice.n_disks = 2;
	CHECK_INT(rig_start(&a), -ENOENT);
	CHECK(access(payload, F_OK) < 0);
	int fd = open(payload, O_WRONLY | O_CREAT | O_CLOEXEC, 0400);
	/* Neither its size nor its first bytes are those of a disk. */
	CHECK_INT(write_all(fd, "QFI\xfb and so on", 15), 0);
	close(fd);
	CHECK_INT(rig_start(&a), 0);
	CHECK(rig_shows(&a, MARK_WAITING));
	CHECK_INT(rig_apply(&a), 0);
	CHECK_INT(file_size(payload), 15);
	/* The guest sees whole sectors, and so its last byte too. */
	CHECK_INT(((struct qemu *)a.m)->disks[1].size, 512);

	b.disks[0].path = a.disk;
	CHECK_INT(rig_start(&b), -EIO);
	CHECK(strstr(err_text(&b.err), "another process using the image"));
	b.disks[0].path = b.disk;
	struct machine_disk shared[2] = {b.disks[0], disks[1]};
	b.slice.disks = shared;
	b.slice.n_disks = 2;
	CHECK_INT(rig_start(&b), 0);
	CHECK(rig_shows(&b, MARK_WAITING));
	rig_free(&b);
	rig_free(&a);
}

/* A system that says nothing on its console is started, adopted and stopped as
 * any other; by UEFI too, whose variables are its own. */
static void silent_machines(void)
{
	struct rig r;
	struct machine_look look;

	for (int uefi = 0; uefi < 2; uefi++) {
		if (!rig_new(&r))
			SKIP("QEMU is not installed");
		if (uefi && qemu_uefi_check(&r.err) < 0) {
			rig_free(&r);
			SKIP("ovmf is not installed");
		}
		int fd = open(r.disk, O_WRONLY | O_TRUNC | O_CLOEXEC);
		CHECK_INT(ftruncate(fd, 1 << 20), 0);
		close(fd);
		r.slice.memory = 256 * MIB;
		r.slice.identity = false;
		r.slice.from_disk = true;
		r.slice.firmware = uefi ? FIRMWARE_UEFI : FIRMWARE_DIRECT;
		CHECK_INT(rig_start(&r), 0);
		rig_look(&r, &look);
		pid_t pid = look.pid;
		rig_daemon_dies(&r);
		rig_open(&r);
		CHECK_INT(rig_observe(&r), 0);
		rig_look(&r, &look);
		CHECK_INT(look.state, MACHINE_RUNNING);
		CHECK_INT(look.pid, pid);
		CHECK_INT(look.disk_size, 1 << 20);
		CHECK(!look.marked);
		_cleanup_free_ char *vars =
		    xasprintf("%s/launch-1/vars.fd", r.run);
		CHECK_INT(access(vars, F_OK), uefi ? 0 : -1);
		CHECK_INT(rig_stop(&r, true), 0);
		rig_free(&r);
	}
}

static const struct test_case cases[] = {
    CASE(makes_disks),
    CASE(takes_many_disks),
    CASE(disks_are_not_shared),
    CASE(silent_machines),
    CASE(boots_by_uefi),
};
TEST_MAIN(cases)
