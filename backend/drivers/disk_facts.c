/* SPDX-License-Identifier: Apache-2.0
 *
 * What a guest is asked about its disk, and how the answer is read.  The
 * answer is a guest's: whatever has not the expected shape does not count.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "drivers/disk_layout.h"

/* Ten seconds are given to disks and their nodes to appear.  A line that begins
 * with @ is ours; od's hex is a file system's superblock sector, and the last
 * sector of the disk.  That and the first and the last MiB are only asked for
 * where there is no table and no file system; what could not be read is not
 * called blank.  The place of a volume's claim is one where mkfs.ext4 has no
 * table of its own: in the middle of a block group, of 128 MiB or, below 512
 * MiB, of 8. */
const char disk_facts_script[] =
    "look() {\n" /* SERIAL: sets dev */
    "	dev=\n"
    "	for d in /sys/block/*; do\n"
    "		[ -r \"$d/serial\" ] || continue\n"
    "		s=; read -r s <\"$d/serial\"\n"
    "		[ \"$s\" != \"$1\" ] || dev=${d##*/}\n"
    "	done\n"
    "	[ -n \"$dev\" ] && [ -b \"/dev/$dev\" ]\n"
    "}\n"
    "all() { for k; do [ -z \"$k\" ] || look \"$k\" || return 1; done; }\n"
    "i=0\n"
    "until all \"$@\" || [ $i = 100 ]; do i=$((i+1)); sleep 0.1; done\n"
    "l=; for t in sfdisk blkid partx resize2fs; do\n"
    "	command -v $t >/dev/null 2>&1 || l=\"$l $t\"\n"
    "done\n"
    "echo \"@lacks$l\"\n"
    "super() { echo \"@super $(od -An -v -tx1 -j1024 -N512 \"/dev/$1\" |\n"
    "	tr -d ' \\n')\"; }\n"
    "size() { n=0; read -r n <\"/sys/block/$dev/size\"\n"
    "	[ -r \"/dev/$dev\" ] || echo @denied; }\n"
    "signature() { echo \"@signature $1\"; blkid -p -o export \"/dev/$1\"\n"
    "	r=$?; echo; echo \"@status $r\"; }\n"
    "number() { no=; read -r no <\"/sys/class/block/$1/dev\"\n"
    "	echo \"@dev $1 $no\"; }\n"
    "bytes() { { dd if=\"/dev/$dev\" bs=1M \"$@\" 2>/dev/null || echo x; } |\n"
    "	{ tr -d '\\000' || echo x; } | wc -c; }\n"
    "edges() {\n"
    "	last=$((n / 2048)); last=$((last > 0 ? last - 1 : 0))\n"
    "	echo \"@edges $(bytes count=1) $(bytes skip=$last)\"\n"
    "}\n"
    "if [ -n \"$1\" ] && look \"$1\"; then\n"
    "	size; echo \"@disk $dev $n\"; p=/dev/$dev\n"
    "	echo @table; sfdisk -J \"$p\"; t=$?; echo; echo \"@table-end $t\"\n"
    "	signature \"$dev\"\n"
    "	for q in /sys/block/$dev/$dev*; do\n"
    "		[ -r \"$q/partition\" ] || continue\n"
    "		q=${q##*/}; [ -b \"/dev/$q\" ] || continue\n"
    "		number \"$q\"; signature \"$q\"\n"
    "		super \"$q\"\n"
    "	done\n"
    "	if [ $t != 0 ]; then\n"
    "		edges; echo \"@tail $(dd if=\"$p\" bs=512 skip=$((n - 1)) \\\n"
    "			2>/dev/null | od -An -v -tx1 | tr -d ' \\n')\"\n"
    "	fi\n"
    "fi\n"
    "v=-1; shift\n"
    "for k; do\n"
    "	v=$((v + 1)); look \"$k\" || continue\n"
    "	size; echo \"@volume $v $dev $n\"; number \"$dev\"\n"
    "	signature \"$dev\"; super \"$dev\"\n"
    "	[ $r = 0 ] || edges\n"
    "	g=16384; [ $n -lt 1048576 ] || g=262144\n"
    "	at=$((n / 8 * 3))\n"
    "	[ $n -lt $((g * 2)) ] || at=$((at / g * g + g / 2))\n"
    "	echo \"@claim $at\" $(dd if=\"/dev/$dev\" bs=512 skip=$at count=1 \\\n"
    "		2>/dev/null | tr -dc 'A-Za-z0-9 -')\n"
    "done\n"
    "echo @mounts; cat /proc/self/mountinfo\n"
    "echo @swaps; cat /proc/swaps\n"
    "echo @end\n";

enum section { NOWHERE, IN_TABLE, IN_SIGNATURE, IN_MOUNTS, IN_SWAPS };

struct reader {
	struct disk_facts *f;
	enum section section;
	struct buf table;
	int number;               /* of the partition that was told of last */
	struct disk_signature *s; /* NULL: of something else */
	struct volume_facts *v;   /* that was told of last, or NULL */
};

static void take_text(char *to, size_t size, const char *text)
{
	size_t n = strnlen(text, size - 1);
	memcpy(to, text, n);
	to[n] = 0;
}

/* --- parts of an answer ------------------------------------------------ */

static bool device_name(const char *name)
{
	for (const char *p = name; *p; p++)
		if (!isalnum((unsigned char)*p))
			return false;
	return true;
}

static void take_disk(struct reader *r, const char *rest)
{
	char dev[16];
	uint64_t sectors;
	if (sscanf(rest, "%15s %20" SCNu64, dev, &sectors) != 2 ||
	    !device_name(dev))
		return;
	take_text(r->f->dev, sizeof(r->f->dev), dev);
	r->f->sectors = sectors;
}

static void take_volume(struct reader *r, const char *rest)
{
	char dev[16];
	uint64_t sectors;
	unsigned i;
	r->v = NULL;
	if (sscanf(rest, "%u %15s %20" SCNu64, &i, dev, &sectors) != 3 ||
	    i >= VOLUMES_MAX || !device_name(dev))
		return;
	r->v = &r->f->volumes[i];
	take_text(r->v->dev, sizeof(r->v->dev), dev);
	r->v->sectors = sectors;
}

static void take_claim(struct volume_facts *v, const char *rest)
{
	uint64_t at;
	int n = 0;
	if (sscanf(rest, "%20" SCNu64 " %n", &at, &n) != 1 || at >= v->sectors)
		return;
	v->claim_at = at;
	take_text(v->claim, sizeof(v->claim), rest + n);
}

static void take_number(struct disk_facts *f, const char *rest)
{
	char name[16], number[24];
	if (f->n_devs == PARTS_MAX ||
	    sscanf(rest, "%15s %23s", name, number) != 2 || !device_name(name))
		return;
	take_text(f->devs[f->n_devs].name, sizeof(name), name);
	take_text(f->devs[f->n_devs++].number, sizeof(number), number);
}

/* "vda2" -> 2, "vda" -> 0, others -1. */
static int part_number(const struct disk_facts *f, const char *name)
{
	size_t n = strlen(f->dev);
	if (n == 0 || strncmp(name, f->dev, n) != 0)
		return -1;
	if (!name[n])
		return 0;
	char *end;
	long number = strtol(name + n, &end, 10);
	return *end || number < 1 || number > PARTITIONS_MAX ? -1 : (int)number;
}

/* The last number of a node's name: sfdisk writes /dev/vda2. */
static unsigned node_number(const char *node)
{
	size_t n = strlen(node), i = n;
	while (i > 0 && isdigit((unsigned char)node[i - 1]))
		i--;
	unsigned long v = i < n ? strtoul(node + i, NULL, 10) : 0;
	return v >= 1 && v <= PARTITIONS_MAX ? (unsigned)v : 0;
}

static const char *member(json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	return s ? s : "";
}

static uint64_t number(json_t *o, const char *key)
{
	json_int_t v = json_integer_value(json_object_get(o, key));
	return v > 0 ? (uint64_t)v : 0;
}

static void take_table(struct reader *r)
{
	struct disk_facts *f = r->f;
	json_t *doc = json_loadb(buf_str(&r->table), r->table.len, 0, NULL);
	json_t *t = json_object_get(doc, "partitiontable"), *p;
	size_t i;
	take_text(f->label, sizeof(f->label), member(t, "label"));
	take_text(f->id, sizeof(f->id), member(t, "id"));
	json_array_foreach (json_object_get(t, "partitions"), i, p) {
		if (f->n_table == PARTITIONS_MAX)
			break;
		struct table_part *to = &f->table[f->n_table++];
		to->number = node_number(member(p, "node"));
		to->start = number(p, "start");
		to->size = number(p, "size");
		take_text(to->type, sizeof(to->type), member(p, "type"));
		take_text(to->name, sizeof(to->name), member(p, "name"));
		to->bootable = json_is_true(json_object_get(p, "bootable"));
		to->legacy_boot =
		    strstr(member(p, "attrs"), "LegacyBIOSBootable") != NULL;
	}
	json_decref(doc);
}

/* blkid escapes what a shell would take otherwise: "EFI\ System". */
static void unescape(char *s)
{
	char *to = s;
	for (; *s; s++) {
		if (*s == '\\' && s[1])
			s++;
		*to++ = *s;
	}
	*to = 0;
}

static void take_signature(struct disk_signature *s, char *line)
{
	char *value = strchr(line, '=');
	if (!s || !value)
		return;
	*value++ = 0;
	unescape(value);
	if (STREQ(line, "TYPE"))
		take_text(s->type, sizeof(s->type), value);
	else if (STREQ(line, "UUID"))
		take_text(s->uuid, sizeof(s->uuid), value);
	else if (STREQ(line, "LABEL"))
		take_text(s->label, sizeof(s->label), value);
	else if (STREQ(line, "PTTYPE"))
		take_text(s->table, sizeof(s->table), value);
}

static bool hex_bytes(const char *hex, size_t at, uint8_t *ret, size_t n)
{
	if (strlen(hex) < 2 * (at + n))
		return false;
	for (size_t i = 0; i < n; i++) {
		unsigned v;
		const char *p = hex + 2 * (at + i);
		if (!isxdigit((unsigned char)p[0]) ||
		    !isxdigit((unsigned char)p[1]) || sscanf(p, "%2x", &v) != 1)
			return false;
		ret[i] = (uint8_t)v;
	}
	return true;
}

static uint32_t le32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
	       (uint32_t)p[3] << 24;
}

/* ext4's superblock: s_blocks_count, s_log_block_size, s_magic, and for 64bit
 * file systems s_blocks_count_hi (Documentation/filesystems/ext4/super.rst). */
static uint64_t ext4_bytes(const char *hex)
{
	uint8_t b[344];
	if (!hex_bytes(hex, 0, b, sizeof(b)) || b[56] != 0x53 || b[57] != 0xef)
		return 0;
	uint64_t blocks = le32(b + 4);
	uint32_t shift = le32(b + 24);
	if (le32(b + 96) & 0x80) /* INCOMPAT_64BIT */
		blocks |= (uint64_t)le32(b + 336) << 32;
	return shift > 6 || blocks >> 44 ? 0 : blocks << (10 + shift);
}

/* The disk's uuid in a GPT header (UEFI 2.10, table 5.5), or "". */
static void take_tail(struct disk_facts *f, const char *hex)
{
	uint8_t b[92];
	if (!hex_bytes(hex, 0, b, sizeof(b)) || memcmp(b, "EFI PART", 8) != 0)
		return;
	const uint8_t *g = b + 56;
	snprintf(f->tail_uuid, sizeof(f->tail_uuid),
	    "%08x-%04x-%04x-%02x%02x-%02x%02x%02x%02x%02x%02x", le32(g),
	    (unsigned)(g[4] | g[5] << 8), (unsigned)(g[6] | g[7] << 8), g[8],
	    g[9], g[10], g[11], g[12], g[13], g[14], g[15]);
}

static void take_swap(struct disk_facts *f, const char *line)
{
	char dev[32];
	if (f->n_mounts == MOUNTS_MAX || sscanf(line, "%31s", dev) != 1)
		return;
	struct disk_mount *m = &f->mounts[f->n_mounts++];
	take_text(m->dev, sizeof(m->dev), dev);
	take_text(m->target, sizeof(m->target), "swap");
}

/* proc(5), /proc/pid/mountinfo: the device is known by its number, since its
 * name may be /dev/root.  Spaces and such are written as \040. */
static void take_mount(struct disk_facts *f, const char *line)
{
	char number[24], root[256], target[256], source[32];
	const char *rest = strstr(line, " - ");
	if (f->n_mounts == MOUNTS_MAX || !rest ||
	    sscanf(line, "%*u %*u %23s %255s %255s", number, root, target) !=
		3 ||
	    sscanf(rest, " - %*s %31s", source) != 1)
		return;
	struct disk_mount *m = &f->mounts[f->n_mounts++];
	take_text(m->target, sizeof(m->target), target);
	take_text(m->dev, sizeof(m->dev), source);
	if (!STREQ(root, "/"))
		take_text(m->dev, sizeof(m->dev), "a folder");
	for (size_t i = 0; STREQ(root, "/") && i < f->n_devs; i++)
		if (STREQ(f->devs[i].number, number))
			snprintf(
			    m->dev, sizeof(m->dev), "/dev/%s", f->devs[i].name);
}

/* --- line by line ------------------------------------------------------ */

static void take_mark(struct reader *r, char *line)
{
	char *rest = strchr(line, ' ');
	if (rest)
		*rest++ = 0;
	else
		rest = line + strlen(line);
	r->section = NOWHERE;
	if (STREQ(line, "@disk")) {
		take_disk(r, rest);
	} else if (STREQ(line, "@volume")) {
		take_volume(r, rest);
	} else if (STREQ(line, "@dev")) {
		take_number(r->f, rest);
	} else if (STREQ(line, "@denied")) {
		r->f->denied = true;
	} else if (STREQ(line, "@lacks")) {
		snprintf(r->f->lacks, sizeof(r->f->lacks), " %s ", rest);
	} else if (STREQ(line, "@claim") && r->v) {
		take_claim(r->v, rest);
	} else if (STREQ(line, "@table")) {
		r->section = IN_TABLE;
	} else if (STREQ(line, "@table-end")) {
		r->f->sfdisk_status = (int)strtol(rest, NULL, 10);
		take_table(r);
	} else if (STREQ(line, "@signature")) {
		r->number = part_number(r->f, rest);
		r->s = r->v && STREQ(r->v->dev, rest) ? &r->v->signature
		       : r->v || r->number < 0        ? NULL
		       : r->number == 0               ? &r->f->disk
						      : &r->f->parts[r->number];
		r->section = IN_SIGNATURE;
	} else if (STREQ(line, "@status") && r->s) {
		r->s->seen = true;
		r->s->status = (int)strtol(rest, NULL, 10);
	} else if (STREQ(line, "@super") && r->v) {
		r->v->fs_bytes = ext4_bytes(rest);
	} else if (STREQ(line, "@super") && r->number > 0) {
		r->f->fs_bytes[r->number] = ext4_bytes(rest);
	} else if (STREQ(line, "@edges")) {
		*(r->v ? &r->v->edges_zero : &r->f->edges_zero) =
		    STREQ(rest, "0 0");
	} else if (STREQ(line, "@tail")) {
		take_tail(r->f, rest);
	} else if (STREQ(line, "@mounts")) {
		r->section = IN_MOUNTS;
	} else if (STREQ(line, "@swaps")) {
		r->section = IN_SWAPS;
	} else if (STREQ(line, "@end")) {
		r->f->whole = true;
	}
}

static void take_line(struct reader *r, char *line)
{
	if (line[0] == '@') {
		take_mark(r, line);
	} else if (r->section == IN_TABLE) {
		buf_puts(&r->table, line);
		buf_putc(&r->table, '\n');
	} else if (r->section == IN_SIGNATURE) {
		take_signature(r->s, line);
	} else if (r->section == IN_MOUNTS) {
		take_mount(r->f, line);
	} else if (r->section == IN_SWAPS) {
		take_swap(r->f, line);
	}
}

int disk_facts_parse(const char *text, struct disk_facts *ret, struct err *err)
{
	struct reader r = {.f = ret};
	*ret = (struct disk_facts){0};
	_cleanup_free_ char *copy = xstrdup(text);
	for (char *p = copy, *line; (line = strsep(&p, "\n"));)
		take_line(&r, line);
	buf_done(&r.table);
	if (!ret->whole)
		return err_set(err, -EPROTO,
		    "the guest's answer about its disk is not whole");
	return 0;
}

/* --- what is asked of the answer ---------------------------------------- */

bool disk_facts_lack(const struct disk_facts *f, const char *tool)
{
	_cleanup_free_ char *word = xasprintf(" %s ", tool);
	return strstr(f->lacks, word) != NULL;
}

const char *disk_facts_blind(
    const struct disk_facts *f, const struct disk_signature *s)
{
	if (f->denied)
		return "the user may not read the guest's disks";
	if (s == &f->disk && f->sfdisk_status == 127)
		return "the guest has no sfdisk";
	if (!s->seen || (s->status != 0 && s->status != 2 && s->status != 8))
		return "the guest has no \"blkid -p\", that of util-linux";
	return NULL;
}

char *disk_facts_device(
    const struct disk_facts *f, const struct disk_layout *l, size_t part)
{
	if (part >= l->n)
		return xasprintf("/dev/%s", f->volumes[part - l->n].dev);
	return xasprintf("/dev/%s%u", f->dev, l->parts[part].number);
}

bool disk_facts_mounted(
    const struct disk_facts *f, const char *dev, const char *target)
{
	for (size_t i = 0; i < f->n_mounts; i++)
		if (STREQ(f->mounts[i].dev, dev) &&
		    STREQ(f->mounts[i].target, target))
			return true;
	return false;
}

bool disk_facts_in_use(const struct disk_facts *f, const char *dev)
{
	for (size_t i = 0; i < f->n_mounts; i++)
		if (STREQ(f->mounts[i].dev, dev))
			return true;
	return false;
}
