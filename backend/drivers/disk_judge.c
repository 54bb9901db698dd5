/* SPDX-License-Identifier: Apache-2.0
 *
 * Is a disk blank, ours or somebody else's, and what is missing on it?  Ours
 * is one whose table has the planned uuid; what is neither ours nor blank is
 * never written to.
 */
#include <errno.h>
#include <stdio.h>
#include <strings.h>

#include "drivers/disk_layout.h"

#define NAMED_MAX   4 /* partitions named in a sentence */
#define MBR_SECTORS 0xffffffffULL
/* Room below this is not worth a write; sfdisk aligns ends to 1 MiB. */
#define TABLE_SLACK (2 * GRAIN)

struct judge {
	const struct disk_layout *l;
	const struct disk_facts *f;
	bool laid_out, proven;
	struct disk_verdict *v;
	struct buf why; /* how it differs from the layout */
};

/* --- sentences --------------------------------------------------------- */

void disk_judge_put(struct buf *b, const struct disk_signature *s)
{
	if (!s->type[0]) {
		buf_puts(b, s->status == 8 ? "several signatures" : "nothing");
		return;
	}
	buf_escaped(b, s->type, strlen(s->type));
	if (s->label[0]) {
		buf_puts(b, " \"");
		buf_escaped(b, s->label, strlen(s->label));
		buf_puts(b, "\"");
	}
}

static void put_table(struct buf *b, const struct disk_facts *f)
{
	const char *kind = STREQ(f->label, "gpt")   ? "GPT"
			   : STREQ(f->label, "dos") ? "MBR"
						    : f->label;
	buf_printf(b, "%s %s partition table with %zu partition%s",
	    STREQ(kind, "MBR") ? "an" : "a", kind, f->n_table,
	    f->n_table == 1 ? "" : "s");
	for (size_t i = 0; i < f->n_table && i < NAMED_MAX; i++) {
		buf_puts(b, i ? ", " : " (");
		disk_judge_put(b, &f->parts[f->table[i].number]);
	}
	if (f->n_table)
		buf_puts(b, f->n_table > NAMED_MAX ? ", ...)" : ")");
}

static void describe(struct judge *j)
{
	struct buf b = {0};
	const struct disk_facts *f = j->f;
	if (disk_facts_blind(f, &f->disk)) {
		buf_puts(&b, "what wasn't looked at");
	} else if (j->v->content == DISK_BLANK) {
		buf_puts(&b, "nothing: it is blank");
	} else if (f->label[0]) {
		put_table(&b, f);
	} else if (f->disk.type[0] || f->disk.status == 8) {
		disk_judge_put(&b, &f->disk);
		buf_puts(&b, " on the whole disk");
	} else if (f->disk.table[0]) {
		buf_printf(&b, "a damaged %s partition table", f->disk.table);
	} else if (j->v->content == DISK_OURS_PARTIAL) {
		buf_puts(&b, "half of a partition table of ours");
	} else {
		buf_puts(&b, "data in no format that is known");
	}
	if (j->why.len)
		buf_printf(&b, "; %s", j->why.data);
	snprintf(j->v->found, sizeof(j->v->found), "%s", buf_str(&b));
	buf_done(&b);
}

static void PRINTF(2, 3) because(struct judge *j, const char *fmt, ...)
{
	if (j->why.len)
		return; /* the first reason is enough */
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&j->why, fmt, ap);
	va_end(ap);
}

/* --- the table --------------------------------------------------------- */

static bool is_ours(const struct disk_layout *l, const struct disk_facts *f)
{
	return l->uuid[0] && !f->disk.type[0] &&
	       STREQ(f->label, l->table == TABLE_GPT ? "gpt" : "dos") &&
	       strcasecmp(f->id, l->uuid) == 0;
}

static bool same_type(const struct layout_part *p, const struct table_part *t)
{
	const char *type = t->type;
	while (type[0] == '0' && type[1])
		type++; /* sfdisk may write 0c or c */
	const char *want = p->type;
	while (want[0] == '0' && want[1])
		want++;
	return strcasecmp(type, want) == 0;
}

static bool same_part(struct judge *j, size_t i)
{
	const struct layout_part *p = &j->l->parts[i];
	const struct table_part *t = &j->f->table[i];
	bool gpt = j->l->table == TABLE_GPT;
	if (t->number != p->number || t->start != p->start ||
	    (p->size && t->size != p->size))
		because(j,
		    "partition %u lies at sector %llu with %llu sectors, not "
		    "at %llu with %llu",
		    t->number, (unsigned long long)t->start,
		    (unsigned long long)t->size, (unsigned long long)p->start,
		    (unsigned long long)p->size);
	else if (!same_type(p, t))
		because(j, "partition %u has another type", p->number);
	else if (gpt && !STREQ(t->name, p->spec->name ? p->spec->name : ""))
		because(j, "partition %u has another name", p->number);
	else if ((gpt ? t->legacy_boot : t->bootable) !=
		 ((p->spec->flags & PARTITION_BOOT) != 0))
		because(j, "partition %u has another boot flag", p->number);
	else
		return true;
	return false;
}

static bool same_table(struct judge *j)
{
	if (j->f->n_table != j->l->n) {
		because(j, "%zu partitions are asked for", j->l->n);
		return false;
	}
	for (size_t i = 0; i < j->l->n; i++)
		if (!same_part(j, i))
			return false;
	return true;
}

/* For a partition that the kernel knows blkid succeeds with its place alone. */
static bool is_empty(const struct disk_signature *s)
{
	return s->status == 2 ||
	       (s->status == 0 && !s->type[0] && !s->table[0]);
}

/* Has any partition of the disk a signature? */
static bool holds_anything(const struct disk_facts *f)
{
	for (size_t i = 1; i <= PARTITIONS_MAX; i++)
		if (f->parts[i].seen && !is_empty(&f->parts[i]))
			return true;
	return false;
}

/* --- the file systems -------------------------------------------------- */

void disk_judge_mount(const struct disk_layout *l, const struct disk_facts *f,
    size_t part, struct disk_verdict *v)
{
	const struct layout_part *p = &l->parts[part];
	_cleanup_free_ char *dev = disk_facts_device(f, l, part);
	_cleanup_free_ char *target = disk_layout_target(l, p);
	bool swap = p->spec->filesystem == FS_SWAP;
	if (p->spec->filesystem == FS_NONE || (!target && !swap))
		return;
	v->mount[part] = !disk_facts_mounted(f, dev, swap ? "swap" : target);
	if (v->mount[part])
		v->mounted = false;
}

static bool in_use(const struct judge *j, size_t i)
{
	_cleanup_free_ char *dev = disk_facts_device(j->f, j->l, i);
	return disk_facts_in_use(j->f, dev);
}

static bool same_label(
    const struct layout_part *p, const struct disk_signature *s)
{
	const char *want = p->spec->label ? p->spec->label : "";
	return p->spec->filesystem == FS_VFAT ? strcasecmp(want, s->label) == 0
					      : STREQ(want, s->label);
}

/* False: it holds what we did not make. */
static bool judge_fs(struct judge *j, size_t i)
{
	const struct layout_part *p = &j->l->parts[i];
	const struct disk_signature *s = &j->f->parts[p->number];
	const char *type = filesystem_name(p->spec->filesystem);
	if (p->spec->filesystem == FS_NONE)
		return true;
	if (is_empty(s)) {
		j->v->mkfs[i] = !j->laid_out;
		if (j->laid_out)
			because(
			    j, "partition %u has lost its %s", p->number, type);
		return !j->laid_out;
	}
	if (!STREQ(s->type, type) ||
	    (!j->laid_out && strcasecmp(s->uuid, p->uuid) != 0)) {
		because(j, "partition %u does not hold the %s that was planned",
		    p->number, type);
		return false;
	}
	if (!same_label(p, s) && (j->laid_out || j->proven)) {
		because(j, "the label of partition %u is not \"%s\"", p->number,
		    p->spec->label ? p->spec->label : "");
		return false;
	}
	j->v->unproven[i] = !j->laid_out && !j->proven && !in_use(j, i);
	return true;
}

/* What can't be done is no difference: it is only told. */
static bool lacks(struct judge *j, const char *tool, unsigned number)
{
	if (!disk_facts_lack(j->f, tool))
		return false;
	because(j, "partition %u could grow, but the guest has no %s", number,
	    tool);
	return true;
}

static void judge_growth(struct judge *j)
{
	const struct disk_facts *f = j->f;
	const struct layout_part *p = &j->l->parts[j->l->n - 1];
	const struct table_part *t = &f->table[j->l->n - 1];
	uint64_t end = t->start + t->size;
	uint64_t usable = j->l->table == TABLE_GPT
			      ? f->sectors - MIN(f->sectors, GPT_TAIL)
			      : MIN(f->sectors, MBR_SECTORS);
	if (!p->size && usable >= end + TABLE_SLACK) {
		j->v->grow_table = !lacks(j, "sfdisk", p->number) &&
				   !lacks(j, "partx", p->number);
		because(j, "partition %u can grow", p->number);
	}
	for (size_t i = 0; i < j->l->n; i++) {
		uint64_t fs = f->fs_bytes[f->table[i].number];
		if (j->l->parts[i].spec->filesystem != FS_EXT4 || !fs)
			continue;
		j->v->grow_fs[i] =
		    f->table[i].size * SECTOR >= fs + EXT4_SLACK &&
		    !lacks(j, "resize2fs", f->table[i].number);
		if (j->v->grow_fs[i])
			because(j, "the ext4 of partition %u can grow",
			    f->table[i].number);
	}
}

static enum disk_content judge_parts(struct judge *j)
{
	bool ok = true, partial = false, grown;
	for (size_t i = 0; i < j->l->n; i++)
		if (!j->f->parts[j->l->parts[i].number].seen) {
			because(j, "partition %u has no device",
			    j->l->parts[i].number);
			j->v->write_table =
			    !j->laid_out && !holds_anything(j->f);
			return j->v->write_table ? DISK_OURS_PARTIAL
						 : DISK_OURS_OTHER;
		}
	for (size_t i = 0; i < j->l->n && ok; i++)
		ok = judge_fs(j, i);
	if (!ok)
		return DISK_OURS_OTHER;
	judge_growth(j);
	grown = j->v->grow_table;
	j->v->mounted = true;
	for (size_t i = 0; i < j->l->n; i++) {
		disk_judge_mount(j->l, j->f, i, j->v);
		if (j->v->mkfs[i])
			because(j, "partition %u is not formatted yet",
			    j->l->parts[i].number);
		if (j->v->unproven[i])
			because(j, "partition %u may have been cut short",
			    j->l->parts[i].number);
		partial = partial || j->v->mkfs[i] || j->v->unproven[i];
		grown = grown || j->v->grow_fs[i];
	}
	return partial ? DISK_OURS_PARTIAL
	       : grown ? DISK_OURS_GROWN
		       : DISK_OURS;
}

static enum disk_content judge_disk(struct judge *j)
{
	const struct disk_facts *f = j->f;
	const struct disk_layout *l = j->l;
	if (!f->label[0]) {
		if (f->disk.status == 2 && f->edges_zero) {
			j->v->write_table = true;
			return DISK_BLANK;
		}
		/* The copy at the end is written first. */
		if (f->disk.status == 2 && !j->laid_out && l->uuid[0] &&
		    strcasecmp(f->tail_uuid, l->uuid) == 0) {
			j->v->write_table = true;
			return DISK_OURS_PARTIAL;
		}
		return DISK_FOREIGN;
	}
	if (!is_ours(l, f))
		return DISK_FOREIGN;
	if (!same_table(j)) {
		j->v->write_table = !j->laid_out && !holds_anything(f);
		return j->v->write_table ? DISK_OURS_PARTIAL : DISK_OURS_OTHER;
	}
	return judge_parts(j);
}

/* A system that runs from a disk that was laid out, and has no tools to look
 * at it: what it has mounted is known. */
static enum disk_content judge_unseen(struct judge *j, const char *blind)
{
	because(j, "%s", blind);
	j->v->mounted = true;
	for (size_t i = 0; i < j->l->n; i++)
		disk_judge_mount(j->l, j->f, i, j->v);
	return DISK_OURS;
}

static int unable(const struct disk_layout *l, const char *blind,
    const char *what, struct err *err)
{
	return err_set(err, -ENOENT, "%s can't be looked at: %s%s", what, blind,
	    l->root[0] ? ": its image must hold it" : "");
}

int disk_judge_able(const struct disk_layout *l, const struct disk_facts *f,
    bool laid_out, struct err *err)
{
	bool running = !l->root[0];
	const char *blind = disk_facts_blind(f, &f->disk);

	if (l->disk && !f->dev[0] && !(running && l->n == 0))
		return err_set(err, -ENODEV,
		    "the guest has no disk with the serial number asked for");
	if (l->n && blind && !(running && laid_out))
		return unable(l, blind, "the disk", err);
	for (size_t i = 0; i < l->n_volumes; i++) {
		const struct volume_facts *v = &f->volumes[i];
		const char *name = l->volumes[i].name;
		if (!v->dev[0])
			return err_set(err, -ENODEV,
			    "the guest has no disk for the volume \"%s\"",
			    name);
		blind = disk_facts_blind(f, &v->signature);
		_cleanup_free_ char *dev = disk_facts_device(f, l, l->n + i);
		_cleanup_free_ char *what =
		    xasprintf("the volume \"%s\"", name);
		if (blind && l->volumes[i].filesystem != FS_NONE &&
		    !disk_facts_in_use(f, dev))
			return unable(l, blind, what, err);
	}
	return 0;
}

void disk_judge(const struct disk_layout *l, const struct disk_facts *f,
    bool laid_out, bool proven, struct disk_verdict *ret)
{
	struct judge j = {
	    .l = l, .f = f, .laid_out = laid_out, .proven = proven, .v = ret};
	const char *blind = disk_facts_blind(f, &f->disk);
	*ret = (struct disk_verdict){0};
	if (l->n == 0) { /* none or bare: nothing is asked of its content */
		ret->content = DISK_OURS;
		ret->mounted = true;
	} else if (blind) {
		ret->content = judge_unseen(&j, blind);
	} else {
		ret->content = judge_disk(&j);
	}
	if (l->disk) {
		describe(&j);
		snprintf(ret->where, sizeof(ret->where), "/dev/%s", f->dev);
		snprintf(ret->holds, sizeof(ret->holds), "%s", ret->found);
	}
	buf_done(&j.why);
	disk_judge_volumes(l, f, ret);
}
