/* SPDX-License-Identifier: Apache-2.0
 *
 * Layouts of disks: the script and the commands that are made of a spec, and
 * what is read out of a guest's answer.  tests/disk/ has real answers of the
 * netboot image, taken on QEMU; a superblock is cut after what is read of it.
 */
#include <errno.h>
#include <fcntl.h>

#include "drivers/disk_layout.h"
#include "test.h"

static struct partition_spec parts[3];
static struct disk_spec spec;
static struct disk_plan plan;
static struct disk_layout layout;
static struct disk_facts facts;
static struct disk_verdict v;

/* ESP and root as in the answers of tests/disk/, but for its size. */
static void gpt(uint64_t esp)
{
	parts[0] = (struct partition_spec){.name = "ESP",
	    .size = esp,
	    .filesystem = FS_VFAT,
	    .label = "boot",
	    .mount = "/boot",
	    .flags = PARTITION_ESP};
	parts[1] = (struct partition_spec){.name = "root",
	    .filesystem = FS_EXT4,
	    .label = "root",
	    .mount = "/"};
	spec = (struct disk_spec){.present = true,
	    .size = GIB,
	    .table = TABLE_GPT,
	    .partitions = parts,
	    .n_partitions = 2};
	plan =
	    (struct disk_plan){.uuid = "5b8d0a6c-2e46-4d15-9a31-1d2f7c9f5a11",
		.partition_uuid = {
		    "12AB-CD34", "e219b5fc-8fac-4e5b-b2fc-853aea46236a"}};
	disk_layout(&spec, &plan, &layout);
}

static void mbr(void)
{
	gpt(64 * MIB);
	parts[0].flags |= PARTITION_BOOT;
	parts[2] = parts[1];
	parts[1] = (struct partition_spec){.name = "sw",
	    .size = 33 * MIB + 1000,
	    .filesystem = FS_SWAP,
	    .label = "sw"};
	spec.table = TABLE_MBR;
	spec.n_partitions = 3;
	plan = (struct disk_plan){.uuid = "0xdeadbeef",
	    .partition_uuid = {"12AB-CD34",
		"e219b5fc-8fac-4e5b-b2fc-853aea46236a",
		"0319b5fc-8fac-4e5b-b2fc-853aea46236a"}};
	disk_layout(&spec, &plan, &layout);
}

static char *answer(const char *name)
{
	const char *root = getenv("ROOT");
	_cleanup_free_ char *path =
	    xasprintf("%s/tests/disk/%s.txt", root ? root : ".", name);
	struct buf b = {0};
	CHECK_INT(file_read(AT_FDCWD, path, MIB, &b), 0);
	return buf_take(&b);
}

static void judge(const char *name, bool laid_out, bool proven)
{
	_cleanup_free_ char *text = answer(name);
	struct err err = ERR_INIT;
	CHECK_INT(disk_facts_parse(text, &facts, &err), 0);
	CHECK_STR(err.text, "");
	disk_judge(&layout, &facts, laid_out, proven, &v);
}

/* --- what is written ------------------------------------------------------ */

/* The layout of the report: ESP 1 MB to 512 MB, ext4 from there to the end. */
static void gpt_script(void)
{
	_cleanup_buf_ struct buf b = {0};
	gpt(511 * MIB);
	disk_layout_script(&layout, &b);
	CHECK_STR(buf_str(&b),
	    "label: gpt\n"
	    "label-id: 5b8d0a6c-2e46-4d15-9a31-1d2f7c9f5a11\n"
	    "unit: sectors\n"
	    "start=2048, size=1046528, "
	    "type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name=\"ESP\"\n"
	    "start=1048576, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, "
	    "name=\"root\"\n");
	CHECK_INT(layout.sectors_min, 1048576 + 2048 + 33);
}

static void mbr_script(void)
{
	_cleanup_buf_ struct buf b = {0};
	mbr();
	disk_layout_script(&layout, &b);
	CHECK_STR(buf_str(&b),
	    "label: dos\n"
	    "label-id: 0xdeadbeef\n"
	    "unit: sectors\n"
	    "start=2048, size=131072, type=ef, bootable\n"
	    "start=133120, size=67586, type=82\n"
	    "start=202752, type=83\n"); /* the next whole MiB */
}

static void check_mkfs(size_t i, const char *expect)
{
	_cleanup_strv_ char **argv =
	    disk_layout_mkfs(&layout.parts[i], "/dev/vda9");
	_cleanup_free_ char *line = strv_quote(argv);
	CHECK_STR(line, expect);
}

static void mkfs(void)
{
	mbr();
	check_mkfs(0, "mkfs.vfat -i 12ABCD34 -F 32 -n boot /dev/vda9");
	check_mkfs(1, "mkswap -f -U e219b5fc-8fac-4e5b-b2fc-853aea46236a -L sw "
		      "/dev/vda9");
	check_mkfs(2, "mkfs.ext4 -q -F -E lazy_itable_init=1,nodiscard -U "
		      "0319b5fc-8fac-4e5b-b2fc-853aea46236a -L root /dev/vda9");
	parts[0].size = 20 * MIB; /* too small for FAT32 */
	parts[0].label = "$(reboot)";
	disk_layout(&spec, &plan, &layout);
	check_mkfs(0, "mkfs.vfat -i 12ABCD34 -n '$(reboot)' /dev/vda9");
}

/* A spec may have changed its file systems after the uuids were chosen. */
static void uuids_fit(void)
{
	gpt(64 * MIB);
	snprintf(
	    plan.partition_uuid[0], 37, "e219b5fc-8fac-4e5b-b2fc-853aea46236a");
	snprintf(plan.partition_uuid[1], 37, "12AB-CD34");
	disk_layout(&spec, &plan, &layout);
	CHECK_STR(layout.parts[0].uuid, "E219-B5FC");
	CHECK_STR(layout.parts[1].uuid, "12abcd34-0000-4000-8000-12abcd340000");
}

static void targets(void)
{
	gpt(64 * MIB);
	_cleanup_free_ char *boot = disk_layout_target(&layout.parts[0]);
	_cleanup_free_ char *root = disk_layout_target(&layout.parts[1]);
	CHECK_STR(boot, "/mnt/boot");
	CHECK_STR(root, "/mnt");
}

/* --- what is read -----------------------------------------------------------
 */

static void blank(void)
{
	gpt(64 * MIB);
	judge("blank", false, false);
	CHECK_INT(v.content, DISK_BLANK);
	CHECK(v.write_table);
	CHECK_INT(facts.sectors, 2097152);
	CHECK_STR(facts.dev, "vda");
}

/* sfdisk has written the table, mkfs.vfat has run, mkfs.ext4 has not. */
static void partial(void)
{
	gpt(64 * MIB);
	judge("partial", false, false);
	CHECK_INT(v.content, DISK_OURS_PARTIAL);
	CHECK(!v.write_table);
	CHECK(v.unproven[0] && !v.mkfs[0]);
	CHECK(v.mkfs[1] && !v.unproven[1]);
	CHECK(!v.mounted);
	/* The layout was whole once: then this is damage, not our work. */
	judge("partial", true, false);
	CHECK_INT(v.content, DISK_OURS_OTHER);
	CHECK(!v.write_table && !v.mkfs[1]);
	CHECK(strstr(v.found, "partition 2 has lost its ext4"));
}

/* The disk was cut short between the copy of the table and the table. */
static void torn(void)
{
	gpt(64 * MIB);
	judge("torn", false, false);
	CHECK_INT(v.content, DISK_OURS_PARTIAL);
	CHECK(v.write_table);
	judge("torn", true, false);
	CHECK_INT(v.content, DISK_FOREIGN);
	CHECK(!v.write_table);
}

static void ours(void)
{
	gpt(64 * MIB);
	judge("ours", true, false);
	CHECK_INT(v.content, DISK_OURS);
	CHECK(v.mounted);
	CHECK_STR(v.found,
	    "a GPT partition table with 2 partitions (vfat \"boot\", ext4 "
	    "\"root\")");
	CHECK_INT(facts.fs_bytes[2], 1961984 * SECTOR);
	/* Mounted is proof enough without the mark. */
	judge("ours", false, false);
	CHECK_INT(v.content, DISK_OURS);
}

static void not_mounted(void)
{
	_cleanup_free_ char *text = answer("ours");
	char *at;
	gpt(64 * MIB);
	while ((at = strstr(text, "/dev/vda2 /mnt ")))
		at[strlen("/dev/vd")] = 'z';
	CHECK_INT(disk_facts_parse(text, &facts, NULL), 0);
	disk_judge(&layout, &facts, true, false, &v);
	CHECK_INT(v.content, DISK_OURS);
	CHECK(!v.mounted);
	CHECK(!v.mount[0] && v.mount[1]);
	/* Never seen in use and without the mark: to be looked into. */
	disk_judge(&layout, &facts, false, false, &v);
	CHECK_INT(v.content, DISK_OURS_PARTIAL);
	CHECK(v.unproven[1] && !v.unproven[0]);
	disk_judge(&layout, &facts, false, true, &v);
	CHECK_INT(v.content, DISK_OURS);
}

static void check_other(const char *why)
{
	disk_layout(&spec, &plan, &layout);
	disk_judge(&layout, &facts, true, false, &v);
	CHECK_INT(v.content, DISK_OURS_OTHER);
	CHECK(strstr(v.found, why));
	for (size_t i = 0; i < layout.n; i++)
		CHECK(!v.mkfs[i] && !v.mount[i] && !v.grow_fs[i]);
	CHECK(!v.write_table && !v.grow_table);
}

/* Each change of the spec alone. */
static void other_layouts(void)
{
	gpt(64 * MIB);
	judge("ours", true, false);
	parts[0].size = 65 * MIB;
	check_other("partition 1 lies at sector 2048 with 131072 sectors");
	gpt(64 * MIB);
	parts[0].flags = 0;
	check_other("partition 1 has another type");
	gpt(64 * MIB);
	parts[1].name = "data";
	check_other("partition 2 has another name");
	gpt(64 * MIB);
	parts[1].flags = PARTITION_BOOT;
	check_other("partition 2 has another boot flag");
	gpt(64 * MIB);
	parts[1].label = "data";
	check_other("the label of partition 2 is not \"data\"");
	gpt(64 * MIB);
	parts[1].filesystem = FS_VFAT;
	check_other("partition 2 ");
	gpt(64 * MIB);
	spec.n_partitions = 1;
	check_other("1 partitions are asked for");
	gpt(64 * MIB);
	parts[0].label = "BOOT"; /* vfat does not know cases */
	disk_layout(&spec, &plan, &layout);
	disk_judge(&layout, &facts, true, false, &v);
	CHECK_INT(v.content, DISK_OURS);
}

/* Somebody ran mkfs.ext4 -L mine on our second partition. */
static void other_filesystem(void)
{
	gpt(64 * MIB);
	judge("other", true, false);
	CHECK_INT(v.content, DISK_OURS_OTHER);
	judge("other", false, false);
	CHECK_INT(v.content, DISK_OURS_OTHER);
	CHECK(strstr(v.found, "does not hold the ext4 that was planned"));
	CHECK(!v.mkfs[1]);
}

static void foreign(void)
{
	static const struct {
		const char *name, *found;
	} cases[] = {{"whole-ext4", "ext4 \"whole\" on the whole disk"},
	    {"dos", "an MBR partition table with 2 partitions (nothing, "
		    "ext4 \"debian\")"},
	    {"bytes", "data in no format that is known"},
	    {"mbr", "an MBR partition table with 3 partitions (vfat \"boot\", "
		    "swap \"sw\", ext4 \"root\")"}};
	gpt(64 * MIB);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		for (int laid_out = 0; laid_out < 2; laid_out++) {
			judge(cases[i].name, laid_out, false);
			CHECK_INT(v.content, DISK_FOREIGN);
			CHECK_STR(v.found, cases[i].found);
			CHECK(!v.write_table && !v.grow_table && !v.mkfs[0]);
		}
}

/* Ours, but no plan is known: what was not planned is not ours. */
static void no_plan(void)
{
	gpt(64 * MIB);
	disk_layout(&spec, NULL, &layout);
	judge("ours", false, false);
	CHECK_INT(v.content, DISK_FOREIGN);
	judge("blank", false, false);
	CHECK_INT(v.content, DISK_BLANK);
}

static void grown_gpt(void)
{
	_cleanup_free_ char *text = answer("ours");
	gpt(64 * MIB);
	char *size = strstr(text, "@disk vda 2097152");
	CHECK(size != NULL);
	if (size)
		size[strlen("@disk vda ")] = '4';
	CHECK_INT(disk_facts_parse(text, &facts, NULL), 0);
	disk_judge(&layout, &facts, true, false, &v);
	CHECK_INT(v.content, DISK_OURS_GROWN);
	CHECK(v.grow_table && !v.grow_fs[1] && v.mounted);
	/* sfdisk was there, resize2fs was not. */
	facts.table[1].size += 2000000;
	disk_judge(&layout, &facts, true, false, &v);
	CHECK_INT(v.content, DISK_OURS_GROWN);
	CHECK(v.grow_fs[1]);
	/* A last partition of a fixed size has nothing to grow into. */
	gpt(64 * MIB);
	parts[1].size = 1961984 * SECTOR;
	facts.table[1].size -= 2000000;
	disk_layout(&spec, &plan, &layout);
	disk_judge(&layout, &facts, true, false, &v);
	CHECK_INT(v.content, DISK_OURS);
}

static void mbr_and_grown(void)
{
	mbr();
	judge("mbr", true, false);
	CHECK_INT(v.content, DISK_OURS);
	CHECK(v.mounted);
	judge("mbr-grown", true, false);
	CHECK_INT(v.content, DISK_OURS_GROWN);
	CHECK(v.grow_table);
}

static void bare_disk(void)
{
	gpt(64 * MIB);
	spec.n_partitions = 0;
	disk_layout(&spec, &plan, &layout);
	judge("bytes", false, false);
	CHECK_INT(v.content, DISK_OURS);
	CHECK(v.mounted && !v.write_table);
}

/* An answer cut anywhere is refused; no byte of it makes us write. */
static void garbage(void)
{
	_cleanup_free_ char *text = answer("ours");
	size_t n = strlen(text);
	struct err err = ERR_INIT;
	gpt(64 * MIB);
	for (size_t i = 0; i + 5 < n; i += 7) {
		_cleanup_free_ char *cut = xstrndup(text, i);
		CHECK_INT(disk_facts_parse(cut, &facts, NULL), -EPROTO);
	}
	for (size_t i = 0; i < n; i += 3) {
		_cleanup_free_ char *bad = xstrdup(text);
		bad[i] = (char)(bad[i] ^ 0x15);
		if (disk_facts_parse(bad, &facts, NULL) == 0)
			disk_judge(&layout, &facts, true, false, &v);
		CHECK(!v.write_table);
	}
	CHECK_INT(disk_facts_parse("@end\n", &facts, &err), -ENODEV);
	CHECK_INT(
	    disk_facts_parse(
		"@disk vda 5\n@table\n@table-end 127\n@end\n", &facts, &err),
	    -ENOENT);
	CHECK(strstr(err.text, "no sfdisk"));
	CHECK_INT(disk_facts_parse("@disk vda 5\n@table-end 1\n"
				   "@signature vda\n@status 1\n@end\n",
		      &facts, &err),
	    -ENOENT);
	CHECK(strstr(err.text, "blkid"));
}

static const struct test_case cases[] = {CASE(gpt_script), CASE(mbr_script),
    CASE(mkfs), CASE(uuids_fit), CASE(targets), CASE(blank), CASE(partial),
    CASE(torn), CASE(ours), CASE(not_mounted), CASE(other_layouts),
    CASE(other_filesystem), CASE(foreign), CASE(no_plan), CASE(grown_gpt),
    CASE(mbr_and_grown), CASE(bare_disk), CASE(garbage)};
TEST_MAIN(cases)
