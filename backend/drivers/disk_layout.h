/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the partitions of a spec lie, what is asked of a guest about its disk
 * and its volumes, and what its answer means.  Pure: disk_guest.c runs the
 * commands.  Sectors are of 512 bytes, as virtio-blk shows them.
 *
 * A "part" is what has one file system: a partition of the disk, or a volume,
 * which is a disk of its own and has it on the whole of it.
 */
#ifndef RACKFS_DISK_LAYOUT_H
#define RACKFS_DISK_LAYOUT_H

#include "driver.h"

#define SECTOR          512ULL
#define GRAIN           2048ULL /* sectors: every partition begins at a MiB */
#define GPT_TAIL        33ULL   /* sectors of the backup (UEFI 2.10, 5.3.1) */
#define DISK_MOUNT_BASE "/mnt"
#define MOUNTS_MAX      512
#define DISK_FACTS_MAX  (1 * MIB) /* bytes of an answer */
#define PARTS_MAX       (PARTITIONS_MAX + VOLUMES_MAX)
#define CLAIM_MAX       64

/* --- the plan ---------------------------------------------------------- */

struct layout_part {
	const struct partition_spec *spec; /* borrowed */
	unsigned number;                   /* from 1; 0: a volume */
	uint64_t start, size;              /* sectors; size 0: the rest */
	const char *type; /* GPT: a uuid; MBR: two hex digits */
	char uuid[37];    /* of the file system, as blkid shows it; "" none */
};

struct disk_layout {
	enum disk_table table;
	const char *uuid; /* borrowed from the plan; "" when there is none */
	const char *root; /* borrowed; "": the system that runs from the disk */
	bool disk;        /* there is one beside the volumes */
	struct layout_part parts[PARTS_MAX]; /* partitions, then volumes */
	size_t n;                            /* partitions */
	size_t n_volumes;
	struct partition_spec volumes[VOLUMES_MAX]; /* what parts point to */
	uint64_t sectors_min; /* a disk that holds it has so many */
};

/* plan may be NULL (nothing is written then).  root is "/mnt". */
void disk_layout(const struct disk_spec *spec, const struct disk_plan *plan,
    struct disk_layout *ret);
/* One more volume; spec is borrowed, uuid may be NULL. */
void disk_layout_volume(
    struct disk_layout *l, const struct volume_spec *spec, const char *uuid);
static inline size_t disk_layout_parts(const struct disk_layout *l)
{
	return l->n + l->n_volumes;
}
/* sfdisk's input for the whole table. */
void disk_layout_script(const struct disk_layout *l, struct buf *ret);
/* The command that makes the file system; owned.  dev: "/dev/vda2". */
char **disk_layout_mkfs(const struct layout_part *p, const char *dev);
/* Where it is mounted ("/mnt/boot"); owned; NULL: not at all. */
char *disk_layout_target(
    const struct disk_layout *l, const struct layout_part *p);
/* A volume's file system is whole only once this is gone from it: a line that
 * is written before mkfs, where mkfs does not write, and removed after it. */
void disk_layout_claim(const struct layout_part *p, char ret[CLAIM_MAX]);

/* --- what is there ----------------------------------------------------- */

struct disk_signature { /* as `blkid -p` sees it */
	bool seen;      /* the device was there */
	int status;     /* 0: something; 2: nothing; 8: several at once */
	char type[32], uuid[64], label[64], table[16];
};

struct volume_facts {
	char dev[16]; /* "vdb"; "" when it is not there */
	uint64_t sectors, fs_bytes;
	struct disk_signature signature;
	bool edges_zero;
	uint64_t claim_at; /* sector */
	char claim[CLAIM_MAX];
};

struct disk_facts {
	bool whole;      /* the last line was there */
	bool denied;     /* the disks may not be read */
	char lacks[128]; /* tools that the guest has not: " partx resize2fs" */
	char dev[16];    /* "vda"; "" when the disk is not there */
	uint64_t sectors;
	int sfdisk_status; /* 127: the guest has none */
	char label[8];     /* "gpt", "dos"; "" when there is no table */
	char id[64];
	size_t n_table;
	struct table_part {
		unsigned number;
		uint64_t start, size;
		char type[40], name[112];
		bool bootable, legacy_boot;
	} table[PARTITIONS_MAX];
	struct disk_signature disk, parts[PARTITIONS_MAX + 1]; /* by number */
	uint64_t fs_bytes[PARTITIONS_MAX + 1]; /* ext4 by its superblock */
	bool edges_zero;                       /* the first and the last MiB */
	char tail_uuid[37]; /* of a GPT header in the last sector, or "" */
	struct volume_facts volumes[VOLUMES_MAX];
	size_t n_devs;
	struct {
		char name[16], number[24]; /* "vda2", "254:2" */
	} devs[PARTS_MAX];
	size_t n_mounts;
	struct disk_mount {
		char dev[32], target[256];
	} mounts[MOUNTS_MAX]; /* swap: target "swap" */
};

/* For sh -c; its arguments are the serials of the disk ("": none) and of the
 * volumes, for which it waits. */
extern const char disk_facts_script[];
/* -EPROTO: it isn't whole. */
int disk_facts_parse(const char *text, struct disk_facts *ret, struct err *err);
bool disk_facts_lack(const struct disk_facts *f, const char *tool);
/* Why disks can't be looked into: "the guest has no sfdisk"; NULL: they can. */
const char *disk_facts_blind(
    const struct disk_facts *f, const struct disk_signature *s);
/* The disk's device or a volume's ("/dev/vda2", "/dev/vdb"); owned. */
char *disk_facts_device(
    const struct disk_facts *f, const struct disk_layout *l, size_t part);
bool disk_facts_mounted(
    const struct disk_facts *f, const char *dev, const char *target);
bool disk_facts_in_use(const struct disk_facts *f, const char *dev);

/* --- what it means ----------------------------------------------------- */

struct disk_verdict {
	enum disk_content content;
	bool mounted;
	bool write_table;         /* blank, or ours and cut short */
	bool grow_table;          /* the last partition has room */
	bool mkfs[PARTS_MAX];     /* nothing is there yet */
	bool unproven[PARTS_MAX]; /* made, never seen in use: mkfs may have
				   * been cut short */
	bool grow_fs[PARTS_MAX];
	bool mount[PARTS_MAX]; /* or swapon */
	char found[256];
	/* Of the worst one alone: which it is, and what it holds. */
	char where[96], holds[256];
};
/* Can it be judged?  -ENODEV: a disk is not there; -ENOENT: a tool is missing
 * without which nothing is known. */
int disk_judge_able(const struct disk_layout *l, const struct disk_facts *f,
    bool laid_out, struct err *err);
/* proven: ensure has just made or checked every file system. */
void disk_judge(const struct disk_layout *l, const struct disk_facts *f,
    bool laid_out, bool proven, struct disk_verdict *ret);
/* For disk_judge: disk_judge_volumes.c.  Adds the volumes to what was judged of
 * the disk. */
void disk_judge_volumes(const struct disk_layout *l, const struct disk_facts *f,
    struct disk_verdict *v);
/* What several disks are together: the worst, and what is blank beside others
 * that are not is not complete. */
enum disk_content disk_content_join(enum disk_content a, enum disk_content b);
/* Is the part mounted where it belongs?  Sets v->mount and v->mounted. */
void disk_judge_mount(const struct disk_layout *l, const struct disk_facts *f,
    size_t part, struct disk_verdict *v);
/* "ext4 \"root\"", escaped. */
void disk_judge_put(struct buf *b, const struct disk_signature *s);
/* Room below this is not worth growing an ext4: mkfs leaves out a last block
 * group that is too small for its tables. */
#define EXT4_SLACK (16 * MIB)

#endif
