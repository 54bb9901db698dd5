/* SPDX-License-Identifier: Apache-2.0
 *
 * Layouts of disks: the script and the commands that are made of a spec, and
 * what is read out of a guest's answer.  tests/disk/ has answers of the
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
	_cleanup_free_ char *boot =
	    disk_layout_target(&layout, &layout.parts[0]);
	_cleanup_free_ char *root =
	    disk_layout_target(&layout, &layout.parts[1]);
	CHECK_STR(boot, "/mnt/boot");
	CHECK_STR(root, "/mnt");
}

/* --- what is read ------------------------------------------------------ */

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
	while ((at = strstr(text, "254:2 / /mnt ")))
		at[strlen("254:")] = '9';
	while ((at = strstr(text, "- ext4 /dev/vda2 ")))
		at[strlen("- ext4 /dev/vd")] = 'z';
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
static struct err why;

static int able(const char *text, bool laid_out)
{
	why = ERR_INIT;
	CHECK_INT(disk_facts_parse(text, &facts, NULL), 0);
	return disk_judge_able(&layout, &facts, laid_out, &why);
}

static void garbage(void)
{
	_cleanup_free_ char *text = answer("ours");
	size_t n = strlen(text);
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
	CHECK_INT(able("@end\n", false), -ENODEV);
	CHECK_INT(able("@disk vda 5\n@table\n@table-end 127\n@end\n", false),
	    -ENOENT);
	CHECK(strstr(why.text, "no sfdisk: its image must hold it"));
	CHECK_INT(able("@disk vda 5\n@table-end 1\n@signature vda\n"
		       "@status 1\n@end\n",
		      false),
	    -ENOENT);
	CHECK(strstr(why.text, "blkid"));
}

/* --- a system that runs from the disk ---------------------------------- */

/* Every place of `from` in text (of the same length) becomes `to`. */
static void change(char *text, const char *from, const char *to)
{
	char *at;
	CHECK(strstr(text, from) && strlen(from) == strlen(to));
	while ((at = strstr(text, from)))
		for (const char *c = to; *c; c++)
			*at++ = *c;
}

/* As `ours`, seen from the system that was installed there: its kernel calls
 * the device /dev/root. */
static char *installed(void)
{
	char *text = answer("ours");
	gpt(64 * MIB);
	layout.root = "";
	change(text, "254:2 / /mnt ", "254:2 / /    ");
	change(text, "- ext4 /dev/vda2 ", "- ext4 /dev/root ");
	change(text, "254:1 / /mnt/boot ", "254:1 / /boot     ");
	return text;
}

static void seen_from_within(void)
{
	_cleanup_free_ char *text = installed();
	_cleanup_free_ char *boot =
	    disk_layout_target(&layout, &layout.parts[0]);
	_cleanup_free_ char *root =
	    disk_layout_target(&layout, &layout.parts[1]);
	CHECK_STR(boot, "/boot");
	CHECK_STR(root, "/");
	CHECK_INT(able(text, true), 0);
	disk_judge(&layout, &facts, true, false, &v);
	CHECK_INT(v.content, DISK_OURS);
	CHECK(v.mounted);
	/* With room to grow. */
	change(text, "@disk vda 2", "@disk vda 4");
	CHECK_INT(able(text, true), 0);
	disk_judge(&layout, &facts, true, false, &v);
	CHECK_INT(v.content, DISK_OURS_GROWN);
	/* That it can't take. */
	snprintf(facts.lacks, sizeof(facts.lacks), " partx ");
	disk_judge(&layout, &facts, true, false, &v);
	CHECK_INT(v.content, DISK_OURS);
	CHECK(!v.grow_table);
	CHECK(strstr(v.found, "could grow, but the guest has no partx"));
	/* fstab did not mount the ESP. */
	change(text, "254:1 / /boot ", "254:9 / /boot ");
	change(text, "- vfat /dev/vda1 ", "- vfat /dev/vdz1 ");
	CHECK_INT(able(text, true), 0);
	disk_judge(&layout, &facts, true, false, &v);
	CHECK(!v.mounted && v.mount[0] && !v.mount[1]);
}

/* A system of a user's may lack any tool: that makes no disk foreign. */
static void seen_without_tools(void)
{
	static const struct {
		const char *from, *to, *found;
	} cases[] = {
	    {"@table-end 0\n", "@table-end 127\n@x ",
		"what wasn't looked at; the guest has no sfdisk"},
	    {"@lacks\n", "@denied\n",
		"what wasn't looked at; the user may not read the guest's "
		"disks"},
	    {"@signature vda\n", "@signature vda\n@status 127\n@signature x\n",
		"what wasn't looked at; the guest has no \"blkid -p\", that of "
		"util-linux"},
	};
	_cleanup_free_ char *text = installed();
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *at = strstr(text, cases[i].from);
		if (!at)
			abort(); /* tests/disk/ours.txt has it */
		_cleanup_free_ char *bad =
		    xasprintf("%.*s%s%s", (int)(at - text), text, cases[i].to,
			at + strlen(cases[i].from));
		CHECK_INT(able(bad, true), 0);
		disk_judge(&layout, &facts, true, false, &v);
		CHECK_INT(v.content, DISK_OURS);
		CHECK_STR(v.found, cases[i].found);
		CHECK(v.mounted && !v.write_table && !v.grow_table);
		/* Without the mark nothing is known of it. */
		CHECK_INT(able(bad, false), -ENOENT);
		layout.root = DISK_MOUNT_BASE;
		CHECK_INT(able(bad, true), -ENOENT);
		layout.root = "";
	}
}

/* --- volumes ----------------------------------------------------------- */

#define VOLUME_UUID "7d0e1c1e-7d19-4f4b-9d3c-0c9ad3c5a001"
#define CLAIM       "rackfs volume " VOLUME_UUID

static struct volume_spec volume_spec;

/* A part of the answer of tests/disk/ours.txt, for volume `data`. */
struct volume_answer {
	const char *status; /* of blkid */
	const char *signature;
	uint64_t sectors;
	const char *edges, *claim;
	const char *mount; /* "/mnt/data" or NULL */
};

/* ext4 of 1961984 sectors: the superblock of tests/disk/ours.txt. */
static char *superblock(void)
{
	_cleanup_free_ char *ours = answer("ours");
	char *at = strstr(strstr(ours, "@signature vda2"), "@super ");
	return xstrndup(at, strcspn(at, "\n"));
}

static void judge_volume(const struct volume_answer *a, bool with_disk)
{
	_cleanup_free_ char *super = superblock();
	_cleanup_free_ char *ours = answer("ours");
	_cleanup_buf_ struct buf b = {0};
	char *mounts = strstr(ours, "@mounts\n");
	gpt(64 * MIB);
	spec.present = with_disk;
	disk_layout(&spec, &plan, &layout);
	volume_spec = (struct volume_spec){.name = "data",
	    .size = GIB,
	    .filesystem = FS_EXT4,
	    .label = "data",
	    .mount = "/data"};
	disk_layout_volume(&layout, &volume_spec, VOLUME_UUID);
	if (with_disk)
		buf_append(&b, ours, (size_t)(mounts - ours));
	buf_printf(&b, "@volume 0 vdb %llu\n@dev vdb 254:16\n@signature vdb\n",
	    (unsigned long long)a->sectors);
	buf_printf(&b, "%s\n@status %s\n%s\n", a->signature, a->status,
	    *a->signature ? super : "@super ");
	if (a->edges)
		buf_printf(&b, "@edges %s\n", a->edges);
	buf_printf(&b, "@claim 237568 %s\n@mounts\n", a->claim);
	if (a->mount)
		buf_printf(
		    &b, "40 22 254:16 / %s rw - ext4 /dev/vdb rw\n", a->mount);
	buf_puts(&b, mounts + strlen("@mounts\n"));
	CHECK_INT(able(buf_str(&b), true), 0);
	CHECK_STR(why.text, "");
	disk_judge(&layout, &facts, true, false, &v);
}

#define EXT4(uuid, label)                                                      \
	"UUID=" uuid "\nLABEL=" label "\nTYPE=ext4\nUSAGE=filesystem\n"

static void volumes(void)
{
	static const char ours_[] = EXT4(VOLUME_UUID, "data");
	static const struct {
		struct volume_answer a;
		enum disk_content content;
		bool mkfs, grow, mounted;
		const char *found;
	} cases[] = {
	    {{"2", "", 2097152, "0 0", "", NULL}, DISK_BLANK, true, false,
		false, "volume data: nothing: it is blank"},
	    /* mkfs was cut short, before its superblock and after. */
	    {{"2", "", 2097152, "1 0", CLAIM, NULL}, DISK_OURS_PARTIAL, true,
		false, false, "volume data: half of a file system of ours"},
	    {{"0", ours_, 2097152, NULL, CLAIM, NULL}, DISK_OURS_PARTIAL, true,
		false, false, "volume data: half of a file system of ours"},
	    /* One in use is never made again. */
	    {{"0", ours_, 1961984, NULL, CLAIM, "/mnt/data"}, DISK_OURS, false,
		false, true, "volume data: ext4 \"data\""},
	    {{"0", ours_, 1961984, NULL, "", NULL}, DISK_OURS, false, false,
		false, "volume data: ext4 \"data\""},
	    {{"0", ours_, 2097152, NULL, "", "/mnt/data"}, DISK_OURS_GROWN,
		false, true, true,
		"volume data: ext4 \"data\", which can grow"},
	    /* Mounted elsewhere is not mounted. */
	    {{"0", ours_, 1961984, NULL, "", "/mnt/other"}, DISK_OURS, false,
		false, false, "volume data: ext4 \"data\""},
	    {{"0", EXT4(VOLUME_UUID, "mine"), 1961984, NULL, "", NULL},
		DISK_OURS, false, false, false,
		"volume data: ext4 \"mine\", labelled otherwise than "
		"\"data\""},
	    {{"2", "", 2097152, "1 0", "", NULL}, DISK_FOREIGN, false, false,
		false, "volume data: data in no format that is known"},
	    {{"2", "", 2097152, "1 0", "rackfs volume of another", NULL},
		DISK_FOREIGN, false, false, false,
		"volume data: data in no format that is known"},
	    {{"0", EXT4("3a22eba8-ebaf-9746-8c84-e1cd4e02004c", "data"),
		 1961984, NULL, "", NULL},
		DISK_FOREIGN, false, false, false,
		"volume data: ext4 \"data\""},
	    {{"0", "UUID=" VOLUME_UUID "\nTYPE=xfs\n", 1961984, NULL, "", NULL},
		DISK_FOREIGN, false, false, false, "volume data: xfs"},
	    {{"0", "PTTYPE=gpt\n", 1961984, NULL, "", NULL}, DISK_FOREIGN,
		false, false, false, "volume data: a gpt partition table"},
	    {{"8", "", 1961984, NULL, "", NULL}, DISK_FOREIGN, false, false,
		false, "volume data: several signatures"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		judge_volume(&cases[i].a, false);
		CHECK_INT(v.content, cases[i].content);
		CHECK_INT(v.mkfs[0], cases[i].mkfs);
		CHECK_INT(v.grow_fs[0], cases[i].grow);
		CHECK_INT(v.mounted, cases[i].mounted);
		CHECK_STR(v.found, cases[i].found);
		CHECK_STR(v.where, "volume data (/dev/vdb)");
	}
}

/* The worst of disk and volumes counts, and is named. */
static void disk_and_volumes(void)
{
	struct volume_answer a = {
	    "0", EXT4(VOLUME_UUID, "data"), 1961984, NULL, "", "/mnt/data"};
	static const char disk[] = "a GPT partition table with 2 partitions "
				   "(vfat \"boot\", ext4 \"root\")";
	judge_volume(&a, true);
	CHECK_INT(v.content, DISK_OURS);
	CHECK(v.mounted);
	CHECK_STR(v.found, disk);
	CHECK_STR(v.where, "/dev/vda");
	a.mount = NULL;
	judge_volume(&a, true);
	CHECK(!v.mounted && v.mount[2] && !v.mount[1]);
	a.sectors = 2097152;
	judge_volume(&a, true);
	CHECK_INT(v.content, DISK_OURS_GROWN);
	CHECK(v.grow_fs[2] && !v.grow_fs[1]);
	a.status = "2";
	a.signature = "";
	a.edges = "0 0";
	judge_volume(&a, true);
	/* What is left to do; the disk is not blank. */
	CHECK_INT(v.content, DISK_OURS_PARTIAL);
	CHECK(v.mkfs[2] && !v.mkfs[1] && !v.write_table);
	a.edges = "0 1";
	judge_volume(&a, true);
	CHECK_INT(v.content, DISK_FOREIGN);
	CHECK_STR(v.where, "volume data (/dev/vdb)");
	CHECK_STR(v.holds, "data in no format that is known");
	CHECK(strstr(v.found, "; volume data: data in no format"));
	/* Never planned, never ours. */
	snprintf(layout.parts[2].uuid, 37, "%s", "");
	disk_judge(&layout, &facts, true, false, &v);
	CHECK_INT(v.content, DISK_FOREIGN);
}

static void volumes_unseen(void)
{
	static const char text[] =
	    "@volume 0 vdb 2097152\n@dev vdb 254:16\n@signature vdb\n"
	    "@status 127\n@mounts\n%s\n@swaps\n@end\n";
	_cleanup_free_ char *idle = xasprintf(text, "");
	_cleanup_free_ char *used =
	    xasprintf(text, "40 22 254:16 / /data rw - ext4 /dev/vdb rw");
	judge_volume(
	    &(struct volume_answer){"2", "", 5, "0 0", "", NULL}, false);
	layout.root = "";
	CHECK_INT(able(used, true), 0);
	disk_judge(&layout, &facts, true, false, &v);
	CHECK_INT(v.content, DISK_OURS);
	CHECK(v.mounted && !v.mkfs[0]);
	CHECK_INT(able(idle, true), -ENOENT);
	CHECK(strstr(why.text, "the volume \"data\" can't be looked at"));
	CHECK_INT(able("@mounts\n@end\n", true), -ENODEV);
	CHECK(strstr(why.text, "no disk for the volume \"data\""));
}

/* A whole disk needs another word for vfat, and no table. */
static void volume_mkfs(void)
{
	judge_volume(
	    &(struct volume_answer){"2", "", 5, "0 0", "", NULL}, false);
	volume_spec.filesystem = FS_VFAT;
	disk_layout_volume(&layout, &volume_spec, VOLUME_UUID);
	check_mkfs(0,
	    "mkfs.ext4 -q -F -E lazy_itable_init=1,nodiscard -U " VOLUME_UUID
	    " -L data /dev/vda9");
	check_mkfs(1, "mkfs.vfat -i 7D0E1C1E -I --mbr=n -F 32 -n data "
		      "/dev/vda9");
}

static const struct test_case cases[] = {CASE(gpt_script), CASE(mbr_script),
    CASE(mkfs), CASE(uuids_fit), CASE(targets), CASE(blank), CASE(partial),
    CASE(torn), CASE(ours), CASE(not_mounted), CASE(other_layouts),
    CASE(other_filesystem), CASE(foreign), CASE(no_plan), CASE(grown_gpt),
    CASE(mbr_and_grown), CASE(bare_disk), CASE(garbage), CASE(seen_from_within),
    CASE(seen_without_tools), CASE(volumes), CASE(disk_and_volumes),
    CASE(volumes_unseen), CASE(volume_mkfs)};
TEST_MAIN(cases)
