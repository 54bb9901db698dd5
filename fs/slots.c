// SPDX-License-Identifier: Apache-2.0
/*
 * Request slots.  A request is read straight into the landing area of the
 * memfd and served from there.  Most are answered at once; the others are
 * parked in a record until their answer goes out.
 *
 * A request that was served may be served again by the next daemon, so every
 * operation must bear that; but one that was answered is not, since the kernel
 * is asked first (probe()).  session.c calls it; libfuse calls reply().
 */
#include <errno.h>
#include <linux/fuse.h>
#include <sys/uio.h>
#include <unistd.h>
#include "fs/session.h"
#include "fs/slots.h"
#include "fs/table.h"

#define TRIES_MAX 3 /* daemons that one request may bring down */

/* Of flags2: shared maps of files that are read past the page cache (kernel
 * 6.6).  FUSE_DIRECT_IO_ALLOW_MMAP, which older headers don't have. */
#define ALLOW_MMAP (1U << 4)

struct slots {
	int fd;
	struct memory *memory;
	struct memory_head *head;
	struct fuse_session *fuse;
	struct table *parked; /* unique -> struct record */
	/* By the handle and by the kernel's number -> struct kept_poll. */
	struct table *poll_by_handle, *poll_by_number;
	size_t polls_free; /* where to look for a free one */
	uint64_t unique;   /* of the request that is being served, or 0 */
	bool answered;     /* it was */
	bool again;        /* an earlier daemon may have served it */
	bool swallow;      /* the answer to the kernel's first request */
};

static struct fuse_in_header *in(void *request)
{
	return request;
}

static bool has_reply(const struct fuse_in_header *h)
{
	switch (h->opcode) {
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
	case FUSE_NOTIFY_REPLY:
		return false;
	default:
		return true;
	}
}

/* --- poll handles in use --- */

static void poll_drop(struct slots *s, struct kept_poll *p)
{
	table_take(s->poll_by_handle, p->handle);
	table_take(s->poll_by_number, p->poll);
	p->handle = 0;
	s->polls_free = (size_t)(p - s->head->polls);
}

static void poll_note(struct slots *s, struct kept_poll *p)
{
	table_put(s->poll_by_handle, p->handle, p);
	table_put(s->poll_by_number, p->poll, p);
}

static void poll_add(struct slots *s, uint64_t handle, uint64_t number)
{
	struct kept_poll *p = table_get(s->poll_by_handle, handle);

	if (p)
		poll_drop(s, p);
	for (size_t i = 0; i < POLLS_MAX; i++) {
		p = &s->head->polls[(s->polls_free + i) % POLLS_MAX];
		if (p->handle)
			continue;
		p->poll = number;
		MEMORY_ORDER();
		p->handle = handle;
		poll_note(s, p);
		s->polls_free = (s->polls_free + i + 1) % POLLS_MAX;
		return;
	}
}

static void follow_polls(struct slots *s, const void *request)
{
	const struct fuse_in_header *h = request;
	const void *body = h + 1;
	const struct fuse_poll_in *poll = body;
	const struct fuse_release_in *release = body;
	struct kept_poll *p;

	if (h->opcode == FUSE_POLL && (poll->flags & FUSE_POLL_SCHEDULE_NOTIFY))
		poll_add(s, poll->fh, poll->kh);
	if (h->opcode == FUSE_RELEASE &&
	    (p = table_get(s->poll_by_handle, release->fh)))
		poll_drop(s, p);
}

static void polls_wake(struct slots *s)
{
	struct {
		struct fuse_out_header head;
		struct fuse_notify_poll_wakeup_out body;
	} out = {.head = {.len = sizeof(out), .error = FUSE_NOTIFY_POLL}};

	for (size_t i = 0; i < POLLS_MAX; i++) {
		struct kept_poll *p = &s->head->polls[i];

		if (!p->handle)
			continue;
		out.body.kh = p->poll;
		if (write(s->fd, &out, sizeof(out)) < 0) {
			/* It has been closed since. */
		}
		p->handle = 0;
	}
}

/* --- answers --- */

static void answer(struct slots *s, uint64_t unique, int code)
{
	struct fuse_out_header h = {
	    .len = sizeof(h), .error = code, .unique = unique};

	if (write(s->fd, &h, sizeof(h)) < 0) {
		/* Nobody waits for it any more. */
	}
}

static void told(struct slots *s, const struct fuse_out_header *h,
    const struct iovec *iov, int count)
{
	struct record *r;

	if (h->unique == s->unique && s->unique) {
		s->answered = true;
	} else if (h->unique) {
		r = table_take(s->parked, h->unique);
		if (r)
			memory_free(s->memory, r);
	} else if (h->error == FUSE_NOTIFY_POLL && count > 1) {
		const struct fuse_notify_poll_wakeup_out *out = iov[1].iov_base;
		struct kept_poll *p = table_get(s->poll_by_number, out->kh);

		if (p)
			poll_drop(s, p);
	}
}

static bool may_map(const void *init)
{
	const struct fuse_in_header *head = init;
	const struct fuse_init_in *body = (const void *)(head + 1);

	return (body->flags & FUSE_INIT_EXT) && (body->flags2 & ALLOW_MMAP);
}

/* libfuse 3.14 does not know it: it is asked for in its answer to the kernel's
 * first request. */
static void ask_to_map(const struct slots *s, const struct fuse_out_header *h,
    const struct iovec *iov, int count)
{
	struct fuse_init_out *out;

	if (h->error || count != 2 || iov[1].iov_len < sizeof(*out) ||
	    !may_map(s->head->init))
		return;
	out = iov[1].iov_base;
	out->flags |= FUSE_INIT_EXT;
	out->flags2 |= ALLOW_MMAP;
}

static ssize_t reply(int fd, struct iovec *iov, int count, void *userdata)
{
	struct slots *s = ((struct session *)userdata)->slots;
	const struct fuse_out_header *h = iov[0].iov_base;
	ssize_t n;
	int code;

	if (h->unique && h->unique == in(s->head->init)->unique) {
		if (s->swallow) {
			s->swallow = false;
			return h->len;
		}
		ask_to_map(s, h, iov, count);
	}
	n = writev(fd, iov, count);
	code = errno;
	told(s, h, iov, count);
	errno = code;
	return n;
}

/* libfuse asks for it, and never calls it here. */
static ssize_t receive(int fd, void *buf, size_t size, void *userdata)
{
	return read(fd, buf, size);
}

int slots_attach(struct slots *s, struct fuse_session *fuse)
{
	static const struct fuse_custom_io io = {
	    .writev = reply, .read = receive};

	s->fuse = fuse;
	return fuse_session_custom_io(fuse, &io, s->fd);
}

/* --- requests --- */

static void process(struct slots *s, void *request)
{
	struct fuse_buf b = {.mem = request, .size = in(request)->len};

	fuse_session_process_buf(s->fuse, &b);
}

/* Runs the operation; true: it was answered. */
static bool run(struct slots *s, void *request)
{
	follow_polls(s, request);
	s->answered = !has_reply(request);
	s->head->serving = s->unique = in(request)->unique;
	MEMORY_ORDER();
	process(s, request);
	MEMORY_ORDER();
	s->head->serving = s->unique = 0;
	return s->answered;
}

static void land_clear(struct slots *s)
{
	MEMORY_ORDER();
	in(s->head->land)->len = 0;
	MEMORY_ORDER();
}

static void park(struct slots *s, struct record *r)
{
	memcpy(r->data, s->head->land, r->length);
	r->sequence = s->head->landed;
	r->tries = s->head->land_tries;
	MEMORY_ORDER();
	r->kind = RECORD_REQUEST;
	table_put(s->parked, in(r->data)->unique, r);
}

static void serve_landed(struct slots *s)
{
	struct fuse_in_header *h = in(s->head->land);
	struct record *room = NULL;

	/* Before it is served: what can't be parked must not be begun. */
	if (has_reply(h) && !(room = memory_alloc(s->memory, h->len)))
		answer(s, h->unique, -ENOMEM);
	else if (run(s, s->head->land)) {
		if (room)
			memory_free(s->memory, room);
	} else {
		park(s, room);
	}
	land_clear(s);
}

static void serve_parked(struct slots *s, struct record *r)
{
	if (run(s, r->data))
		memory_free(s->memory, r);
	else
		table_put(s->parked, in(r->data)->unique, r);
}

static void keep_init(struct slots *s)
{
	uint32_t length = MIN(in(s->head->land)->len, (uint32_t)INIT_MAX);

	memcpy(s->head->init, s->head->land, length);
	in(s->head->init)->len = length;
	MEMORY_ORDER();
	s->head->init_length = length;
}

int slots_receive(struct slots *s)
{
	struct memory_head *head = s->head;
	ssize_t n;

	land_clear(s);
	head->land_tries = 0;
	head->landed = memory_sequence(s->memory);
	MEMORY_ORDER();
	n = read(s->fd, head->land, LANDING_SIZE);
	if (n < 0 && errno == ENOENT)
		return 1; /* its caller went away */
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < (ssize_t)sizeof(struct fuse_in_header))
		return -ENODEV;
	if (in(head->land)->opcode == FUSE_INIT)
		keep_init(s);
	serve_landed(s);
	return 1;
}

/* --- after the death of a daemon --- */

/* Is it still to be answered?  The answer to an INTERRUPT of a request finds
 * nothing when the request is gone; and when it is not, the kernel gives the
 * INTERRUPT again, if there was one that the dead daemon had read. */
static bool probe(struct slots *s, uint64_t unique)
{
	struct fuse_out_header h = {
	    .len = sizeof(h), .error = -EAGAIN, .unique = unique | 1};

	return write(s->fd, &h, sizeof(h)) >= 0 || errno != ENOENT;
}

/* Counts crashes, not kills: those say nothing about the request. */
static bool poisonous(
    const struct slots *s, uint64_t unique, uint32_t *tries, bool crashed)
{
	if (crashed && s->head->serving == unique)
		++*tries;
	return *tries >= TRIES_MAX;
}

static void again(struct slots *s, struct record *r, bool crashed)
{
	void *request = r ? r->data : s->head->land;
	uint64_t unique = in(request)->unique;
	uint32_t *tries = r ? &r->tries : &s->head->land_tries;
	bool serve = has_reply(request) && probe(s, unique);

	if (serve && poisonous(s, unique, tries, crashed)) {
		answer(s, unique, -EIO);
		serve = false;
	}
	if (serve && r)
		serve_parked(s, r);
	else if (serve)
		serve_landed(s);
	else if (r)
		memory_free(s->memory, r);
	else
		land_clear(s);
}

static int by_sequence(const void *a, const void *b)
{
	const struct record *const *x = a, *const *y = b;

	return (*x)->sequence < (*y)->sequence
		   ? -1
		   : (*x)->sequence > (*y)->sequence;
}

static size_t list_parked(struct slots *s, struct record ***ret)
{
	struct record **list = NULL, *r = NULL;
	size_t n = 0, room = 0;

	while ((r = memory_next(s->memory, r))) {
		if (r->kind != RECORD_REQUEST)
			continue;
		if (n == room) {
			room = room ? room * 2 : 64;
			list = xrealloc(list, room * sizeof(*list));
		}
		list[n++] = r;
	}
	if (n)
		qsort(list, n, sizeof(*list), by_sequence);
	*ret = list;
	return n;
}

/* libfuse gets the kernel's first request; the kernel gets its answer only
 * when it has none yet. */
static void greet(struct slots *s)
{
	struct fuse_in_header *landed = in(s->head->land);
	bool first = landed->len && landed->opcode == FUSE_INIT;

	if (first && !s->head->init_length)
		keep_init(s);
	s->swallow = !first || !probe(s, landed->unique);
	process(s, s->head->init);
	if (first)
		land_clear(s);
}

void slots_replay(struct slots *s, bool crashed)
{
	struct memory_head *head = s->head;
	_cleanup_free_ struct record **list = NULL;
	uint64_t serving = head->serving;
	size_t n = list_parked(s, &list);

	polls_wake(s);
	greet(s);
	s->again = true;
	/* It was parked, and not taken off the landing area yet. */
	if (n && list[n - 1]->sequence == head->landed)
		land_clear(s);
	for (size_t i = 0; i < n; i++) {
		head->serving = serving;
		again(s, list[i], crashed);
	}
	head->serving = serving;
	if (in(head->land)->len)
		again(s, NULL, crashed);
	head->serving = 0;
	s->again = false;
}

/* --- life --- */

struct slots *slots_new(int fuse_fd, struct memory *memory)
{
	struct slots *s = xcalloc(1, sizeof(*s));

	s->fd = fuse_fd;
	s->memory = memory;
	s->head = memory_head(memory);
	s->parked = table_new();
	s->poll_by_handle = table_new();
	s->poll_by_number = table_new();
	return s;
}

void slots_free(struct slots *s)
{
	if (!s)
		return;
	table_free(s->parked);
	table_free(s->poll_by_handle);
	table_free(s->poll_by_number);
	free(s);
}

bool slots_used(const struct slots *s)
{
	return s->head->init_length > 0 || in(s->head->land)->len > 0;
}

uint64_t slots_unique(const struct slots *s)
{
	return s->unique;
}

uint64_t slots_landed(const struct slots *s)
{
	const struct fuse_in_header *h = in(s->head->land);

	return h->len ? h->unique : 0;
}

bool slots_again(const struct slots *s)
{
	return s->again;
}
