// SPDX-License-Identifier: Apache-2.0
/*
 * The memfd that outlives a daemon.  slots.c and kept.c keep requests and open
 * files in it; it knows neither.
 *
 * The arena is a chain of records, each a power of two long, that ends with a
 * size of 0.  Free ones are found again by walking it; a record is never split
 * or joined.  Memory is taken from the system when the arena grows, so that no
 * later store into it can fail.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "fs/memory.h"

/* Another one for each change of what is kept, or of how. */
#define LAYOUT     (0x7261636b66730000ULL + 2)
#define SIZE_MIN   256
#define GROW_LEAST (256 * KIB)
#define BIG        MIB /* what a free record gives back */
#define CLASSES    32
#define PAGE       4096

struct memory {
	int fd;
	struct memory_head *head;
	size_t size; /* of the file */
	size_t end;  /* of the chain */
	struct record *free[CLASSES];
};

static char *at(const struct memory *m, size_t offset)
{
	return (char *)m->head + offset;
}

static size_t arena(void)
{
	return sizeof(struct memory_head);
}

static struct record **link_of(struct record *r)
{
	return (struct record **)r->data;
}

static unsigned class_of(size_t size)
{
	return (unsigned)__builtin_ctzll(size);
}

static void push(struct memory *m, struct record *r)
{
	unsigned class = class_of(r->size);

	*link_of(r) = m->free[class];
	m->free[class] = r;
}

/* From the system, now: a store into memory that is not there would kill. */
static int grow(struct memory *m, size_t size)
{
	if (size > MEMORY_MAX)
		return -ENOMEM;
	if (fallocate(m->fd, 0, (off_t)m->size, (off_t)(size - m->size)) < 0)
		return -errno;
	m->size = size;
	return 0;
}

static int make(struct memory *m, struct err *err)
{
	int r = grow(m, arena() + GROW_LEAST);

	if (r < 0)
		return err_errno(err, r, "no memory for requests");
	return 0;
}

static int walk(struct memory *m, struct err *err)
{
	assert(m->head);
	if (m->head->layout == 0) /* new, or its first daemon died here */
		m->head->layout = LAYOUT;
	if (m->head->layout != LAYOUT)
		return err_set(err, -ESTALE,
		    "another version of rackfs serves this mount; unmount, "
		    "then start this one");
	m->end = arena();
	while (m->end + sizeof(struct record) <= m->size) {
		struct record *r = (struct record *)at(m, m->end);

		if (r->size == 0)
			break;
		m->end += r->size;
		if (r->kind == RECORD_FREE)
			push(m, r);
	}
	return 0;
}

/* A request whose pages must be mapped while it is read ends with EIO when
 * the daemon is killed then: so they are there before. */
static void prefault(struct memory *m)
{
	/* Stores nothing, and maps the page for writing. */
	for (size_t i = 0; i < LANDING_SIZE; i += PAGE)
		__atomic_fetch_or(m->head->land + i, 0, __ATOMIC_RELAXED);
	/* May be refused to an ordinary user; then it can be swapped out. */
	(void)mlock(m->head->land, LANDING_SIZE);
}

static int attach(struct memory *m, struct err *err)
{
	struct stat st;
	void *head;
	int r = 0;

	if (fstat(m->fd, &st) < 0)
		return err_errno(err, -errno, "the memory of requests");
	head = mmap(NULL, MEMORY_MAX, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_NORESERVE, m->fd, 0);
	if (head == MAP_FAILED)
		return err_errno(err, -errno, "the memory of requests");
	m->head = head;
	m->size = (size_t)st.st_size;
	if (m->size < arena() + GROW_LEAST)
		r = make(m, err);
	return r < 0 ? r : walk(m, err);
}

int memory_open(int fd, struct memory **ret, struct err *err)
{
	struct memory *m = xcalloc(1, sizeof(*m));
	int r;

	m->fd = fd;
	r = attach(m, err);
	if (r < 0) {
		memory_close(m);
		return r;
	}
	(void)madvise(m->head, MEMORY_MAX, MADV_DONTFORK);
	prefault(m);
	*ret = m;
	return 0;
}

void memory_close(struct memory *m)
{
	if (!m)
		return;
	if (m->head)
		munmap(m->head, MEMORY_MAX);
	free(m);
}

struct memory_head *memory_head(struct memory *m)
{
	return m->head;
}

uint64_t memory_sequence(struct memory *m)
{
	return ++m->head->sequence;
}

/* --- records --- */

static struct record *extend(struct memory *m, size_t size)
{
	struct record *r;

	if (m->end + size > m->size &&
	    grow(m, m->size + MAX(size, (size_t)GROW_LEAST)) < 0)
		return NULL;
	r = (struct record *)at(m, m->end);
	r->kind = RECORD_FREE;
	MEMORY_ORDER();
	r->size = (uint32_t)size;
	m->end += size;
	return r;
}

/* What a big one has given back is there again. */
static bool refill(struct memory *m, const struct record *r)
{
	size_t offset = (size_t)((const char *)r - at(m, 0));

	return r->size < BIG ||
	       fallocate(m->fd, 0, (off_t)offset, r->size) == 0;
}

struct record *memory_alloc(struct memory *m, size_t length)
{
	size_t size = SIZE_MIN;
	struct record *r;

	while (size < length + sizeof(*r))
		size *= 2;
	if (size > MEMORY_MAX)
		return NULL;
	r = m->free[class_of(size)];
	if (!r) {
		r = extend(m, size);
	} else if (refill(m, r)) {
		m->free[class_of(size)] = *link_of(r);
	} else {
		r = NULL;
	}
	if (!r)
		return NULL;
	r->sequence = 0;
	r->length = (uint32_t)length;
	r->tries = 0;
	return r;
}

void memory_free(struct memory *m, struct record *r)
{
	size_t offset = (size_t)((char *)r - at(m, 0));
	bool used = r->kind != RECORD_FREE;

	r->kind = RECORD_FREE;
	MEMORY_ORDER();
	push(m, r);
	/* Its first page has its head. */
	if (used && r->size >= BIG)
		(void)fallocate(m->fd,
		    FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		    (off_t)offset + PAGE, r->size - PAGE);
}

struct record *memory_next(struct memory *m, struct record *previous)
{
	char *p = previous ? (char *)previous + previous->size : at(m, arena());

	for (; p < at(m, m->end); p += ((struct record *)p)->size) {
		if (((struct record *)p)->kind != RECORD_FREE)
			return (struct record *)p;
	}
	return NULL;
}

/* --- generations --- */

static struct kept_generation *generation(struct memory *m, uint64_t inode)
{
	for (size_t i = 0; i < GENERATIONS_MAX; i++) {
		struct kept_generation *g = &m->head->generations[i];

		if (g->inode == inode)
			return g;
		if (g->inode == 0)
			break; /* none is ever taken away */
	}
	return NULL;
}

uint64_t memory_generation(struct memory *m, uint64_t inode)
{
	const struct kept_generation *g = generation(m, inode);

	return g ? g->generation : 1;
}

uint64_t memory_generation_next(struct memory *m, uint64_t inode)
{
	struct kept_generation *g = generation(m, inode);

	if (g)
		return ++g->generation;
	for (size_t i = 0; i < GENERATIONS_MAX; i++) {
		g = &m->head->generations[i];
		if (g->inode)
			continue;
		g->generation = 2;
		MEMORY_ORDER();
		g->inode = inode;
		return 2;
	}
	return 1;
}
