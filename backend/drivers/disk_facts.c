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

/* Ten seconds are given to the disk and its node to appear.  A line that
 * begins with @ is ours; od's hex is a partition's superblock sector, and the
 * last sector of the disk.  That and the first and the last MiB are only asked
 * for where there is no table; what could not be read is not called blank. */
const char disk_facts_script[] =
    "i=0; dev=\n"
    "while :; do\n"
    "	for d in /sys/block/*; do\n"
    "		[ -r \"$d/serial\" ] || continue\n"
    "		[ \"$(cat \"$d/serial\")\" != \"$1\" ] || dev=${d##*/}\n"
    "	done\n"
    "	[ -z \"$dev\" ] || [ ! -b \"/dev/$dev\" ] || break\n"
    "	i=$((i+1)); [ $i -le 100 ] || { echo @end; exit 0; }\n"
    "	sleep 0.1\n"
    "done\n"
    "p=/dev/$dev\n"
    "hex() { dd if=\"$1\" bs=512 skip=\"$2\" count=1 2>/dev/null |\n"
    "	od -An -v -tx1 | tr -d ' \\n'; }\n"
    "n=$(cat \"/sys/block/$dev/size\")\n"
    "echo \"@disk $dev $n\"\n"
    "echo @table; sfdisk -J \"$p\"; t=$?; echo; echo \"@table-end $t\"\n"
    "signature() { echo \"@signature $1\"; blkid -p -o export \"/dev/$1\"\n"
    "	r=$?; echo; echo \"@status $r\"; }\n"
    "signature \"$dev\"\n"
    "for q in /sys/block/$dev/$dev*; do\n"
    "	[ -r \"$q/partition\" ] || continue\n"
    "	q=${q##*/}; [ -b \"/dev/$q\" ] || continue\n"
    "	signature \"$q\"; echo \"@super $(hex \"/dev/$q\" 2)\"\n"
    "done\n"
    "if [ $t != 0 ]; then\n"
    "	last=$((n / 2048)); last=$((last > 0 ? last - 1 : 0))\n"
    "	bytes() { { dd if=\"$p\" bs=1M \"$@\" 2>/dev/null || echo x; } |\n"
    "		{ tr -d '\\000' || echo x; } | wc -c; }\n"
    "	echo \"@edges $(bytes count=1) $(bytes skip=$last)\"\n"
    "	echo \"@tail $(hex \"$p\" $((n - 1)))\"\n"
    "fi\n"
    "echo @mounts; cat /proc/mounts\n"
    "echo @swaps; cat /proc/swaps\n"
    "echo @end\n";

enum section { NOWHERE, IN_TABLE, IN_SIGNATURE, IN_MOUNTS, IN_SWAPS };

struct reader {
	struct disk_facts *f;
	enum section section;
	struct buf table;
	int number;               /* of the partition that was told of last */
	struct disk_signature *s; /* NULL: of something else */
};

static void take_text(char *to, size_t size, const char *text)
{
	size_t n = strnlen(text, size - 1);
	memcpy(to, text, n);
	to[n] = 0;
}

/* --- parts of an answer ------------------------------------------------ */

static void take_disk(struct reader *r, const char *rest)
{
	char dev[16];
	uint64_t sectors;
	if (sscanf(rest, "%15s %20" SCNu64, dev, &sectors) != 2)
		return;
	for (const char *p = dev; *p; p++)
		if (!isalnum((unsigned char)*p))
			return;
	take_text(r->f->dev, sizeof(r->f->dev), dev);
	r->f->sectors = sectors;
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

/* /proc/mounts writes spaces and such as \040. */
static void take_mount(struct disk_facts *f, const char *line, bool swap)
{
	char dev[32], target[256];
	if (f->n_mounts == MOUNTS_MAX ||
	    sscanf(line, "%31s %255s", dev, target) != 2)
		return;
	struct disk_mount *m = &f->mounts[f->n_mounts++];
	take_text(m->dev, sizeof(m->dev), dev);
	take_text(m->target, sizeof(m->target), swap ? "swap" : target);
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
	} else if (STREQ(line, "@table")) {
		r->section = IN_TABLE;
	} else if (STREQ(line, "@table-end")) {
		r->f->sfdisk_status = (int)strtol(rest, NULL, 10);
		take_table(r);
	} else if (STREQ(line, "@signature")) {
		r->number = part_number(r->f, rest);
		r->s = r->number < 0    ? NULL
		       : r->number == 0 ? &r->f->disk
					: &r->f->parts[r->number];
		r->section = IN_SIGNATURE;
	} else if (STREQ(line, "@status") && r->s) {
		r->s->seen = true;
		r->s->status = (int)strtol(rest, NULL, 10);
	} else if (STREQ(line, "@super") && r->number > 0) {
		r->f->fs_bytes[r->number] = ext4_bytes(rest);
	} else if (STREQ(line, "@edges")) {
		r->f->edges_zero = STREQ(rest, "0 0");
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
	} else if (r->section == IN_MOUNTS || r->section == IN_SWAPS) {
		take_mount(r->f, line, r->section == IN_SWAPS);
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
	if (!ret->dev[0])
		return err_set(err, -ENODEV,
		    "the guest has no disk with the serial number asked for");
	if (ret->sfdisk_status == 127)
		return err_set(err, -ENOENT,
		    "the guest has no sfdisk: its image must hold it");
	if (!ret->disk.seen ||
	    (ret->disk.status != 0 && ret->disk.status != 2 &&
		ret->disk.status != 8))
		return err_set(err, -ENOENT,
		    "\"blkid -p\" does not work in the guest (exit status %d): "
		    "its image must hold the one of util-linux",
		    ret->disk.status);
	return 0;
}
