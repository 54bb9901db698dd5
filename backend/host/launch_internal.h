/* SPDX-License-Identifier: Apache-2.0
 *
 * What launch.c, launch_start.c and launch_record.c share; for nobody else.
 */
#ifndef RACKFS_LAUNCH_INTERNAL_H
#define RACKFS_LAUNCH_INTERNAL_H

#include "host/launch.h"

#define LAUNCH_PREFIX     "launch-"
#define LAUNCH_RECORD_MAX ((size_t)4096)

struct launch_record {
	uint64_t number;
	pid_t pid;
	uint64_t start; /* of /proc/PID/stat: clock ticks since boot */
	uint64_t mono;  /* CLOCK_MONOTONIC usec when it was started */
	uint64_t argv;  /* digest */
	char boot[37];
};

struct launch {
	struct loop *loop;
	struct launch_record record;
	int pidfd, folder;
	char *path;
	bool is_child; /* of this process, and not reaped yet */
	struct loop_source *source;
	void (*fn)(int code, int status, void *userdata);
	void *userdata;
};

/* --- launch.c --- */
struct launch *launch_new(struct loop *l);
void launch_freep(struct launch **x);
/* A descriptor, and the absolute path (owned). */
int launch_open_dir(const char *dir, char **ret_path, struct err *err);
int launch_open_folder(int dirfd, const char *path, uint64_t number,
    char **ret_path, struct err *err);
/* Looks at all folders, newest first; *ret is untouched when none lives. */
int launch_find(struct loop *l, const char *dir, struct launch **ret,
    uint64_t *ret_last, struct err *err);

/* --- launch_record.c: the folder of one launch --- */
/* Numbers of the folders below `dir`, newest first; owned.  A missing dir has
 * none. */
int launch_list(int dirfd, uint64_t **ret, size_t *ret_n);
/* "launch-17" */
void launch_name(uint64_t number, char out[32]);

/* This boot, as /proc/sys/kernel/random/boot_id says. */
int launch_boot_id(char out[37]);
/* -ESRCH: there is no such process, or it is a zombie. */
int launch_start_time(pid_t pid, uint64_t *ret);
uint64_t launch_digest(char *const *argv);

int launch_record_write(int folder, const struct launch_record *r);
int launch_record_read(int folder, struct launch_record *ret);

/* Makes the file and locks it; a descriptor >= 3. */
int launch_lock_take(int folder, const char *name);
/* 1: somebody holds it; 0: nobody, or there is no such file. */
int launch_lock_held(int folder, const char *name);

/* Does the launch of this folder live?  1: *ret and *ret_pidfd are of it; 0:
 * no.  -EBUSY: something lives, and it isn't known what: err says what to do.
 * Waits, a second at most, for one that is just beginning or ending. */
int launch_lives(int folder, const char *path, struct launch_record *ret,
    int *ret_pidfd, struct err *err);

#endif
