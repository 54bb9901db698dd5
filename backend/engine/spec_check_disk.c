/* SPDX-License-Identifier: Apache-2.0
 *
 * Checks of a node's disk and volumes that concern more than one key: values
 * used twice, labels that a file system can't hold, partitions that must fit.
 * Called by spec_check.c.  Pure.
 */
#include "engine/spec_table.h"

#include <errno.h>
#include <stdio.h>
#include <strings.h>

/* What a GPT keeps at the end of a disk: 33 sectors of 512 bytes (UEFI 2.10,
 * 5.3.1), and with them the last whole MiB is not for partitions. */
#define GPT_TAIL  (33 * 512ULL)
#define MBR_PARTS 4
#define MBR_REACH (1ULL << 41) /* 2^32 sectors */

/* --- the disk ------------------------------------------------------------ */

static int check_filesystem(const char *at, enum filesystem fs,
    const char *label, const char *mount, struct err *err)
{
	static const size_t label_max[FILESYSTEMS] = {
	    [FS_VFAT] = 11, [FS_EXT4] = 16, [FS_SWAP] = 15};

	if (fs == FS_NONE && (label || mount))
		return err_set(err, -EINVAL,
		    "%s.%s: there is no filesystem; add one, for example "
		    "\"filesystem\":\"ext4\"",
		    at, label ? "label" : "mount");
	if (fs == FS_SWAP && mount)
		return err_set(err, -EINVAL,
		    "%s.mount: swap is not mounted; leave it out", at);
	if (label && strlen(label) > label_max[fs])
		return err_set(err, -EINVAL,
		    "%s.label: \"%s\" has %zu characters, the maximum for %s "
		    "is %zu",
		    at, label, strlen(label), filesystem_name(fs),
		    label_max[fs]);
	if (label && fs == FS_VFAT && strpbrk(label, "\"*+,./:;<=>?[\\]|"))
		return err_set(err, -EINVAL,
		    "%s.label: \"%s\" has a character that vfat does not take",
		    at, label);
	return 0;
}

static int check_partition(const struct disk_spec *d, size_t i, struct err *err)
{
	const struct partition_spec *p = &d->partitions[i];
	char at[48];
	int r;

	snprintf(at, sizeof(at), "disk.partitions[%zu]", i);
	if (p->size == 0 && i + 1 < d->n_partitions)
		return err_set(err, -EINVAL,
		    "%s.size: only the last partition can be \"100%%\"", at);
	r = check_filesystem(at, p->filesystem, p->label, p->mount, err);
	if (r < 0)
		return r;
	if (p->flags & PARTITION_ESP && p->filesystem != FS_VFAT)
		return err_set(err, -EINVAL,
		    "%s.flags: esp asks for \"filesystem\":\"vfat\"", at);
	return 0;
}

static bool same_label(
    const struct partition_spec *a, const struct partition_spec *b)
{
	if (!a->label || !b->label)
		return false;
	bool vfat = a->filesystem == FS_VFAT || b->filesystem == FS_VFAT;
	return vfat ? strcasecmp(a->label, b->label) == 0
		    : STREQ(a->label, b->label);
}

/* Partition i against the ones before it. */
static int check_used_twice(
    const struct disk_spec *d, size_t i, struct err *err)
{
	const struct partition_spec *p = &d->partitions[i];
	for (size_t j = 0; j < i; j++) {
		const struct partition_spec *q = &d->partitions[j];
		const char *what = NULL, *value = NULL;
		if (p->name && q->name && STREQ(p->name, q->name)) {
			what = "name";
			value = p->name;
		} else if (same_label(p, q)) {
			what = "label";
			value = p->label;
		} else if (p->mount && q->mount && STREQ(p->mount, q->mount)) {
			what = "mount";
			value = p->mount;
		} else if (p->flags & q->flags & PARTITION_ESP) {
			what = "flags";
			value = "esp";
		}
		if (what)
			return err_set(err, -EINVAL,
			    "disk.partitions[%zu].%s: \"%s\" is that of "
			    "disk.partitions[%zu] as well",
			    i, what, value, j);
	}
	return 0;
}

static uint64_t whole_mib(uint64_t bytes)
{
	return (bytes + MIB - 1) / MIB * MIB;
}

/* Where sfdisk puts them: the first at 1 MiB, each at a whole MiB. */
static int check_fit(const struct disk_spec *d, struct err *err)
{
	uint64_t end = MIB;
	uint64_t limit = d->size;
	if (d->table == TABLE_GPT)
		limit -= GPT_TAIL;
	else
		limit = MIN(limit, MBR_REACH);
	for (size_t i = 0; i < d->n_partitions; i++) {
		uint64_t start = whole_mib(end);
		uint64_t size = d->partitions[i].size;
		char want[24], disk[24], room[24];
		format_size(size, want);
		format_size(d->size, disk);
		end = start + (size ? size : MIB);
		if (end <= limit)
			continue;
		format_size(
		    start < limit ? (limit - start) / MIB * MIB : 0, room);
		return err_set(err, -EINVAL,
		    "disk.partitions[%zu].size: %s does not fit: the disk has "
		    "%s, %s are left for this partition%s",
		    i, size ? want : "\"100%\"", disk, room,
		    d->table == TABLE_MBR && limit < d->size
			? " (an mbr table reaches 2T)"
			: "");
	}
	return 0;
}

static int check_disk(const struct disk_spec *d, bool partial, struct err *err)
{
	if (d->table == TABLE_MBR && d->n_partitions > MBR_PARTS)
		return err_set(err, -EINVAL,
		    "disk.partitions: %zu partitions, an mbr table holds %d; "
		    "take \"table\":\"gpt\"",
		    d->n_partitions, MBR_PARTS);
	for (size_t i = 0; i < d->n_partitions; i++) {
		/* Without its size there is no more to say about it. */
		int r = partial && d->partitions[i].size == 0
			    ? 0
			    : check_partition(d, i, err);
		if (r == 0)
			r = check_used_twice(d, i, err);
		if (r < 0)
			return r;
	}
	return d->size ? check_fit(d, err) : 0;
}

/* --- volumes ------------------------------------------------------------- */

static int check_volume(
    const struct node_spec *s, size_t i, bool partial, struct err *err)
{
	const struct volume_spec *v = &s->volumes[i];
	char at[96];
	int r;

	snprintf(at, sizeof(at), "volumes.%.63s", v->name);
	if (!partial && v->filesystem == FS_NONE)
		return err_set(err, -EINVAL, "%s.filesystem: is empty", at);
	r = check_filesystem(at, v->filesystem, v->label, v->mount, err);
	if (r < 0 || !v->mount)
		return r;
	for (size_t j = 0; j < i; j++)
		if (s->volumes[j].mount && STREQ(s->volumes[j].mount, v->mount))
			return err_set(err, -EINVAL,
			    "%s.mount: \"%s\" is that of volumes.%s as well",
			    at, v->mount, s->volumes[j].name);
	for (size_t j = 0; j < s->disk.n_partitions; j++)
		if (s->disk.partitions[j].mount &&
		    STREQ(s->disk.partitions[j].mount, v->mount))
			return err_set(err, -EINVAL,
			    "%s.mount: \"%s\" is that of disk.partitions[%zu] "
			    "as well",
			    at, v->mount, j);
	if (STREQ(v->mount, "/"))
		return err_set(
		    err, -EINVAL, "%s.mount: / is a partition of the disk", at);
	return 0;
}

int spec_check_disks(const struct node_spec *s, bool partial, struct err *err)
{
	int r = s->disk.present ? check_disk(&s->disk, partial, err) : 0;

	for (size_t i = 0; r == 0 && i < s->n_volumes; i++)
		r = check_volume(s, i, partial, err);
	return r;
}
