/* SPDX-License-Identifier: Apache-2.0
 *
 * The memfd that outlives a daemon: its layout, and records of any size in an
 * arena that grows.  A process that is killed keeps every store that it has
 * executed, so only the order of stores counts: MEMORY_ORDER() keeps it.
 */
#ifndef RACKFS_FS_MEMORY_H
#define RACKFS_FS_MEMORY_H

#include "err.h"
#include "util.h"

/* The longest request: a write of libfuse's most pages and its header; read(2)
 * refuses a smaller buffer. */
#define LANDING_SIZE    (MIB + 4096)
#define POLLS_MAX       65536 /* as HANDLES_MAX */
#define GENERATIONS_MAX 1024
#define MEMORY_MAX      GIB /* of all */
#define INIT_MAX        256

#define MEMORY_ORDER() __atomic_signal_fence(__ATOMIC_SEQ_CST)

enum record_kind {
	RECORD_FREE,
	RECORD_REQUEST, /* not answered yet: slots.c */
	RECORD_KEPT,    /* of an open file: kept.c */
};

struct record {
	uint32_t size; /* with this head: a power of two; 0: the end */
	uint32_t kind; /* stored last: what it holds is whole then */
	uint64_t sequence;
	uint32_t length; /* of data */
	uint32_t tries;  /* daemons that crashed while serving it */
	char data[];
};

struct memory_head {
	uint64_t layout;   /* MEMORY_LAYOUT; stored last */
	uint64_t sequence; /* given last */
	/* The landing area: a request is there when its len is not 0. */
	uint64_t landed; /* its sequence */
	uint32_t land_tries;
	uint64_t serving; /* unique of the request that is served now */
	uint64_t init_length;
	char init[INIT_MAX]; /* the kernel's first request */
	struct kept_poll {
		uint64_t handle; /* 0: free; stored last */
		uint64_t poll;   /* the kernel's number */
	} polls[POLLS_MAX];
	/* Of inodes whose generation is not 1. */
	struct kept_generation {
		uint64_t inode; /* 0: free; stored last */
		uint64_t generation;
	} generations[GENERATIONS_MAX];
	char land[LANDING_SIZE] __attribute__((aligned(4096)));
};

struct memory;

/* Maps it; makes it when it is empty.  fd is borrowed.  -ESTALE: another
 * version of rackfs made it. */
int memory_open(int fd, struct memory **ret, struct err *err);
void memory_close(struct memory *m); /* NULL is legal */
struct memory_head *memory_head(struct memory *m);
uint64_t memory_sequence(struct memory *m); /* a new one */

/* A record of kind RECORD_FREE that nobody else gets; NULL: there is no
 * memory.  It is lost at the daemon's death until its kind is stored. */
struct record *memory_alloc(struct memory *m, size_t length);
void memory_free(struct memory *m, struct record *r);
/* Each that is in use, in no order: the next one, NULL first and last. */
struct record *memory_next(struct memory *m, struct record *previous);

/* Generations: 1 when none is noted. */
uint64_t memory_generation(struct memory *m, uint64_t inode);
/* The next one; stays when there is no room. */
uint64_t memory_generation_next(struct memory *m, uint64_t inode);

#endif
