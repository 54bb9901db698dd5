/* SPDX-License-Identifier: Apache-2.0
 *
 * What the keeper's files share: keeper.c waits and decides, keeper_start.c
 * starts the processes.  Nobody else includes it.
 */
#ifndef RACKFS_FS_KEEPER_INTERNAL_H
#define RACKFS_FS_KEEPER_INTERNAL_H

#include "fs/keeper.h"
#include "fs/place.h"

/* Before what failed is tried again, at most. */
#define PAUSE_MAX (2 * USEC_PER_SEC)

struct keeper {
	const struct options *options;
	struct folders folders;
	struct mount *mount;
	int signals;
	int mounts; /* tells of changes among the host's mounts */
	int memory;
	int herald_fds[2]; /* the daemon's end, the herald's */
	int control;       /* of the daemon that lives */
	int ready_fd;
	pid_t daemon, herald; /* 0: none */
	char *program;        /* as it was started */
	bool own_program;     /* the one on disk did not come up */
	bool served;          /* some daemon has */
	bool ready;           /* this one has */
	bool reloading, stopping, crashed, over;
	bool unmounted; /* from where we are */
	int result;
	unsigned faults, kills;
	uint64_t started;              /* the daemon; now_mono() */
	uint64_t daemon_at, herald_at; /* when to start it; or never */
	uint64_t stop_at;              /* when patience ends; or never */
};

/* A word to the daemon at `control` (-1: none lives); it may not listen. */
void keeper_tell(int control, enum keeper_word word, int value);
/* Each is tried again after PAUSE_MAX when there is no process to be had. */
void keeper_start_daemon(struct keeper *k);
void keeper_start_herald(struct keeper *k);

#endif
