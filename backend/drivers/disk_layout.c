/* SPDX-License-Identifier: Apache-2.0
 *
 * From a spec and its plan to sectors, sfdisk's script and mkfs's arguments.
 * Every partition begins at a whole MiB, the first one at 1 MiB: so one of
 * 511M ends at 512 MiB, as parted's "1MB 512MB" means it.
 */
#include <ctype.h>
#include <stdio.h>

#include "drivers/disk_layout.h"

#define FAT32_MIN (64 * MIB) /* below, mkfs.vfat chooses FAT12 or FAT16 */

/* Types of partitions: UEFI 2.10, table 5.7, and the Discoverable Partitions
 * Specification; for MBR those that fdisk lists. */
static const char *gpt_type(const struct partition_spec *p)
{
	if (p->flags & PARTITION_ESP)
		return "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";
	if (p->filesystem == FS_SWAP)
		return "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F";
	if (p->filesystem == FS_VFAT)
		return "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7";
	if (p->mount && STREQ(p->mount, "/"))
		return "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709";
	return "0FC63DAF-8483-4772-8E79-3D69D8477DE4";
}

static const char *mbr_type(const struct partition_spec *p)
{
	if (p->flags & PARTITION_ESP)
		return "ef";
	if (p->filesystem == FS_SWAP)
		return "82";
	if (p->filesystem == FS_VFAT)
		return "c";
	return "83";
}

/* The plan's uuid in the form of the file system: it may have been chosen
 * for another one, before the spec was changed. */
static void fit_uuid(enum filesystem fs, const char *planned, char ret[37])
{
	char hex[33] = "";
	size_t n = 0;
	for (const char *p = planned; *p && n < 32; p++)
		if (isxdigit((unsigned char)*p))
			hex[n++] = *p;
	hex[n] = 0;
	if (fs == FS_NONE || n < 8) {
		ret[0] = 0;
	} else if (fs == FS_VFAT) {
		snprintf(ret, 37, "%.4s-%.4s", hex, hex + 4);
		for (char *p = ret; *p; p++)
			*p = (char)toupper((unsigned char)*p);
	} else if (n == 32) {
		snprintf(ret, 37, "%s", planned);
		for (char *p = ret; *p; p++)
			*p = (char)tolower((unsigned char)*p);
	} else {
		snprintf(ret, 37, "%.8s-0000-4000-8000-%.8s0000", hex, hex);
		for (char *p = ret; *p; p++)
			*p = (char)tolower((unsigned char)*p);
	}
}

static uint64_t round_up(uint64_t sectors)
{
	return (sectors + GRAIN - 1) / GRAIN * GRAIN;
}

void disk_layout(const struct disk_spec *spec, const struct disk_plan *plan,
    struct disk_layout *ret)
{
	uint64_t at = GRAIN;
	*ret = (struct disk_layout){.table = spec->table,
	    .uuid = plan ? plan->uuid : "",
	    .root = DISK_MOUNT_BASE,
	    .disk = spec->present};
	if (!spec->present)
		return;
	for (size_t i = 0; i < spec->n_partitions && i < PARTITIONS_MAX; i++) {
		const struct partition_spec *s = &spec->partitions[i];
		struct layout_part *p = &ret->parts[ret->n++];
		p->spec = s;
		p->number = (unsigned)i + 1;
		p->start = at;
		p->size = (s->size + SECTOR - 1) / SECTOR;
		p->type = spec->table == TABLE_GPT ? gpt_type(s) : mbr_type(s);
		if (plan)
			fit_uuid(
			    s->filesystem, plan->partition_uuid[i], p->uuid);
		ret->sectors_min = at + (p->size ? p->size : GRAIN);
		at = round_up(ret->sectors_min);
	}
	if (spec->table == TABLE_GPT)
		ret->sectors_min += GPT_TAIL;
}

void disk_layout_volume(
    struct disk_layout *l, const struct volume_spec *spec, const char *uuid)
{
	if (l->n_volumes == VOLUMES_MAX)
		return;
	struct partition_spec *s = &l->volumes[l->n_volumes];
	struct layout_part *p = &l->parts[l->n + l->n_volumes++];
	*s = (struct partition_spec){.name = spec->name,
	    .size = spec->size,
	    .filesystem = spec->filesystem,
	    .label = spec->label,
	    .mount = spec->mount};
	*p = (struct layout_part){.spec = s};
	if (uuid)
		fit_uuid(s->filesystem, uuid, p->uuid);
}

void disk_layout_script(const struct disk_layout *l, struct buf *ret)
{
	bool gpt = l->table == TABLE_GPT;
	buf_printf(ret, "label: %s\nlabel-id: %s\nunit: sectors\n",
	    gpt ? "gpt" : "dos", l->uuid);
	for (size_t i = 0; i < l->n; i++) {
		const struct layout_part *p = &l->parts[i];
		buf_printf(ret, "start=%llu", (unsigned long long)p->start);
		if (p->size)
			buf_printf(
			    ret, ", size=%llu", (unsigned long long)p->size);
		buf_printf(ret, ", type=%s", p->type);
		if (gpt && p->spec->name)
			buf_printf(ret, ", name=\"%s\"", p->spec->name);
		if (p->spec->flags & PARTITION_BOOT)
			buf_puts(ret, gpt ? ", attrs=\"LegacyBIOSBootable\""
					  : ", bootable");
		buf_putc(ret, '\n');
	}
}

static void push_label(char ***argv, const char *flag, const char *label)
{
	if (!label || !*label)
		return;
	strv_push(argv, flag);
	strv_push(argv, label);
}

char **disk_layout_mkfs(const struct layout_part *p, const char *dev)
{
	const struct partition_spec *s = p->spec;
	char **argv = NULL;
	switch (s->filesystem) {
	case FS_EXT4:
		argv = strv_new("mkfs.ext4", "-q", "-F", "-E",
		    "lazy_itable_init=1,nodiscard", "-U", p->uuid, NULL);
		push_label(&argv, "-L", s->label);
		break;
	case FS_VFAT:
		argv = strv_new("mkfs.vfat", "-i", NULL);
		strv_pushf(&argv, "%.4s%.4s", p->uuid, p->uuid + 5);
		if (!p->number) { /* a whole disk, and no table on it */
			strv_push(&argv, "-I");
			strv_push(&argv, "--mbr=n");
		}
		if (!s->size || s->size >= FAT32_MIN) {
			strv_push(&argv, "-F");
			strv_push(&argv, "32");
		}
		push_label(&argv, "-n", s->label);
		break;
	case FS_SWAP:
		argv = strv_new("mkswap", "-f", "-U", p->uuid, NULL);
		push_label(&argv, "-L", s->label);
		break;
	case FS_NONE:
	case FILESYSTEMS:
		return NULL;
	}
	strv_push(&argv, dev);
	return argv;
}

char *disk_layout_target(
    const struct disk_layout *l, const struct layout_part *p)
{
	const char *mount = p->spec->mount;
	if (!mount)
		return NULL;
	if (l->root[0] && STREQ(mount, "/"))
		mount = "";
	return xasprintf("%s%s", l->root, mount);
}

/* Of characters that the guest's answer may hold: disk_facts.c. */
void disk_layout_claim(const struct layout_part *p, char ret[CLAIM_MAX])
{
	snprintf(ret, CLAIM_MAX, "rackfs volume %s", p->uuid);
}
