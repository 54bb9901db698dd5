/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the partitions of a spec lie, what is asked of a guest about its disk,
 * and what its answer means.  Pure: disk_guest.c runs the commands.  Sectors
 * are of 512 bytes, as virtio-blk shows them.
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

/* --- the plan ---------------------------------------------------------- */

struct layout_part {
	const struct partition_spec *spec; /* borrowed */
	unsigned number;                   /* from 1 */
	uint64_t start, size;              /* sectors; size 0: the rest */
	const char *type; /* GPT: a uuid; MBR: two hex digits */
	char uuid[37];    /* of the file system, as blkid shows it */
};

struct disk_layout {
	enum disk_table table;
	const char *uuid; /* borrowed from the plan; "" when there is none */
	struct layout_part parts[PARTITIONS_MAX];
	size_t n;
	uint64_t sectors_min; /* a disk that holds it has so many */
};

/* plan may be NULL (nothing is written then). */
void disk_layout(const struct disk_spec *spec, const struct disk_plan *plan,
    struct disk_layout *ret);
/* sfdisk's input for the whole table. */
void disk_layout_script(const struct disk_layout *l, struct buf *ret);
/* The command that makes the file system; owned.  dev: "/dev/vda2". */
char **disk_layout_mkfs(const struct layout_part *p, const char *dev);
/* Where it is mounted ("/mnt/boot"); owned; NULL: not at all. */
char *disk_layout_target(const struct layout_part *p);

/* --- what is there ----------------------------------------------------- */

struct disk_signature { /* as `blkid -p` sees it */
	bool seen;      /* the device was there */
	int status;     /* 0: something; 2: nothing; 8: several at once */
	char type[32], uuid[64], label[64], table[16];
};

struct disk_facts {
	bool whole;   /* the last line was there */
	char dev[16]; /* "vda"; "" when the disk is not there */
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
	size_t n_mounts;
	struct disk_mount {
		char dev[32], target[256];
	} mounts[MOUNTS_MAX]; /* swap: target "swap" */
};

/* For sh -c; its argument is the serial of the disk, for which it waits. */
extern const char disk_facts_script[];
/* -EPROTO: it isn't whole; -ENODEV: no such disk; -ENOENT: a tool is missing.
 */
int disk_facts_parse(const char *text, struct disk_facts *ret, struct err *err);

/* --- what it means ----------------------------------------------------- */

struct disk_verdict {
	enum disk_content content;
	bool mounted;
	bool write_table;              /* blank, or ours and cut short */
	bool grow_table;               /* the last partition has room */
	bool mkfs[PARTITIONS_MAX];     /* nothing is there yet */
	bool unproven[PARTITIONS_MAX]; /* made, never seen in use: mkfs may have
					* been cut short */
	bool grow_fs[PARTITIONS_MAX];
	bool mount[PARTITIONS_MAX]; /* or swapon */
	char found[256];
};
/* proven: ensure has just made or checked every file system. */
void disk_judge(const struct disk_layout *l, const struct disk_facts *f,
    bool laid_out, bool proven, struct disk_verdict *ret);

#endif
