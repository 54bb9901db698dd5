/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the guest disk driver share: disk_guest.c looks and
 * decides, disk_steps.c has the commands of each step.  Nobody else includes
 * this.
 */
#ifndef RACKFS_DISK_GUEST_H
#define RACKFS_DISK_GUEST_H

#include "drivers/disk_layout.h"
#include "host/ssh.h"

struct disk {
	const struct driver_env *env;
	struct ssh *ssh;
	struct ssh_job *job;
	struct op_slot call;

	/* Copies of what the call was given. */
	struct disk_spec spec;
	struct disk_volume volumes[VOLUMES_MAX];
	size_t n_volumes;
	char *root;
	struct disk_plan plan;
	bool planned, laid_out;
	char *serial;

	bool ensure;     /* else: only look */
	bool proven;     /* every file system was made or checked */
	unsigned tables; /* written in this ensure */
	bool grown;      /* the table was, in this ensure */
	unsigned steps;  /* done, for the percentage */
	size_t at;       /* the partition that is worked on */
	char *what;      /* the command that runs, for people */
	struct disk_layout layout;
	struct disk_facts *facts;
	struct disk_verdict todo;
	struct disk_look look;
};

typedef void (*disk_done_fn)(int code, int status, const char *out,
    size_t out_len, const char *errout, const struct err *err, void *userdata);

void disk_log(struct disk *d, const char *text);
/* The operation ends with code and call.err; the first call counts. */
void disk_finish(struct disk *d, int code);
void disk_look_again(struct disk *d);
/* Takes one step that the last look asks for. */
void disk_next(struct disk *d);

/* Runs sh -c script with $0, $1, ...; every one under the guest's lock. */
void disk_run(struct disk *d, const char *script, char *const *args,
    const char *input, uint64_t timeout, disk_done_fn done);

/* Steps.  Each ends in disk_next(), disk_look_again() or disk_finish(). */
void disk_write_table(struct disk *d);
void disk_grow_table(struct disk *d);
void disk_probe(struct disk *d, size_t part);
void disk_make_fs(struct disk *d, size_t part);
void disk_grow_fs(struct disk *d, size_t part);
void disk_mount_all(struct disk *d);

#endif
