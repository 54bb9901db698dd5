/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of every path of the tree (files.c) and what each row says.
 * Lookup, listing, modes, sizes, notification, README, docs/FILES.md and the
 * man page come from it.
 *
 * To add a file: write a render function in fs/file_<name>.c, declare it
 * below, add one row to the table.
 */
#ifndef RACKFS_FS_FILES_H
#define RACKFS_FS_FILES_H

#include "cluster.h"

/* Directories. */
enum place {
	PLACE_ROOT,
	PLACE_WAIT,
	PLACE_CLIENT,
	PLACE_NETWORKS,
	PLACE_IMAGES,
	PLACE_NODES,
	PLACE_NETWORK, /* one of networks/ */
	PLACE_IMAGE,
	PLACE_NODE,
	PLACES
};

enum file_kind {
	FILE_DIRECTORY,
	FILE_TEXT,     /* a text made at open, and a write is one command */
	FILE_DOCUMENT, /* JSON, written as a transaction */
	FILE_STREAM,   /* a text that grows */
	FILE_CONSOLE,  /* a text that grows, a keyboard, a terminal */
	FILE_WAIT,     /* a read blocks until the object has settled */
	FILE_SCRATCH,  /* a temporary file of a tool: scratch.c; in no row */
	FILE_KINDS
};

/* What a render function is given. */
struct render {
	struct cluster *cluster;
	struct object *object; /* that the file belongs to */
	uint64_t started;      /* CLOCK_REALTIME usec: of the daemon */
	/* CLOCK_REALTIME less CLOCK_MONOTONIC, usec; the same in all reads as
	 * long as nobody sets the clock. */
	int64_t clock;
};

struct file {
	/* Number of the file below its object: part of the inode number.
	 * Never changed, never used again for another one. */
	uint8_t slot;
	enum place place; /* where it is */
	const char *name; /* NULL: one for each object of kind `each` */
	enum object_kind each;
	mode_t mode; /* permission bits */
	enum file_kind kind;
	unsigned aspects; /* whose change changes it */
	enum place leads; /* FILE_DIRECTORY: the place it is */
	void (*render)(const struct render *r, struct buf *ret);
	/* One write: refused or accepted by reply.  NULL: read-only. */
	void (*write)(const struct render *r, const char *text, size_t len,
	    cluster_reply_fn reply, void *userdata);
	enum document document; /* FILE_DOCUMENT */
	enum stream stream;     /* FILE_STREAM, FILE_CONSOLE */
	bool timed;             /* its text also changes as time goes by */
	/* Called at open, before the text is made. */
	void (*touch)(struct object *o);
	const char *help;   /* one line */
	const char *writes; /* what a write does; NULL: read-only */
	const char *errors; /* of a write or a blocking read, or NULL */
};

extern const struct file files[];
extern const size_t n_files;

/* What object kind a row belongs to: that of its place, or `each`. */
enum object_kind file_owner(const struct file *f);
/* The row of an object's slot, or NULL. */
const struct file *file_by_slot(enum object_kind owner, unsigned slot);
/* The fixed name in a place, or NULL. */
const struct file *file_by_name(enum place place, const char *name);
/* The row of a place that stands for each object, or NULL. */
const struct file *file_each(enum place place);
/* Have tools a file to rewrite there, and so may they make temporary ones? */
bool place_takes_scratch(enum place place);
/* Its name may go for a moment (unlink, rename): tombstone.c. */
bool file_may_go(const struct file *f);
/* The directory row that leads to a place; PLACE_ROOT: the root. */
const struct file *file_of_place(enum place place);
/* "nodes/<node>/spec"; appended. */
void file_path(const struct file *f, struct buf *ret);
bool file_writable(const struct file *f);
/* IN_* that watchers see of a change that the daemon makes; 0: none (it never
 * changes, or it is no file to watch). */
uint32_t file_inotify(const struct file *f);
/* POLL* that poll(2) gives of it, sooner or later. */
unsigned file_poll(const struct file *f);
/* -1 when the table is right, else the index of a row that is not: for the
 * unit test and a check at the start. */
ssize_t files_check(void);

/* --- render functions, by file --- */

/* file_readme.c */
void render_readme(const struct render *r, struct buf *ret);
/* file_state.c */
void render_state(const struct render *r, struct buf *ret);
void write_state(const struct render *r, const char *text, size_t len,
    cluster_reply_fn reply, void *userdata);
/* file_error.c */
void render_error(const struct render *r, struct buf *ret);
/* file_status.c */
void render_status(const struct render *r, struct buf *ret);
/* file_status_json.c */
void render_cluster_status_json(const struct render *r, struct buf *ret);
void render_node_status_json(const struct render *r, struct buf *ret);
/* file_progress.c */
void render_progress(const struct render *r, struct buf *ret);
/* file_names.c */
void render_ssh_config(const struct render *r, struct buf *ret);
void render_known_hosts(const struct render *r, struct buf *ret);
void render_hosts(const struct render *r, struct buf *ret);
/* file_inventory.c */
void render_inventory(const struct render *r, struct buf *ret);
/* file_metrics.c */
void render_metrics(const struct render *r, struct buf *ret);
/* file_topology.c */
void render_topology(const struct render *r, struct buf *ret);
/* file_timeline.c */
void render_timeline(const struct render *r, struct buf *ret);
/* file_checks.c */
void render_checks(const struct render *r, struct buf *ret);
/* file_plan.c */
void render_plan(const struct render *r, struct buf *ret);
void render_drift(const struct render *r, struct buf *ret);
/* file_tls.c */
void render_ca(const struct render *r, struct buf *ret);
void render_client_certificate(const struct render *r, struct buf *ret);
void render_client_key(const struct render *r, struct buf *ret);
/* file_network.c */
void render_ports(const struct render *r, struct buf *ret);
void render_reach(const struct render *r, struct buf *ret);

/* file_wait.c: the word once the object has settled.  -EAGAIN: not yet;
 * -EIO: it failed. */
int wait_answer(const struct render *r, struct buf *ret);

#endif
