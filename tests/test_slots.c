// SPDX-License-Identifier: Apache-2.0
/*
 * Requests and open files that outlive a daemon.  A socket pair is /dev/fuse,
 * the test is the kernel; libfuse is the real one.  A daemon that dies is one
 * whose memory is mapped anew.  What only the kernel knows (which requests are
 * still pending) is tested through the mount: fs/keeper.sh.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include "fs/kept.h"
#include "fs/session.h"
#include "fs/slots.h"
#include "test.h"

/* --- memory --- */

static struct memory *map(int fd)
{
	struct memory *m = NULL;
	struct err err = ERR_INIT;

	if (memory_open(fd, &m, &err) < 0) {
		printf("# %s\n", err_text(&err));
		abort();
	}
	return m;
}

static int new_fd(void)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	if (fd < 0)
		abort();
	return fd;
}

static void records_are_found_again(void)
{
	int fd = new_fd();
	struct memory *m = map(fd);
	struct record *a = memory_alloc(m, 10), *b = memory_alloc(m, 5000);
	struct record *c = memory_alloc(m, 3 * MIB), *r = NULL;
	size_t n = 0;

	memset(c->data, 'c', 3 * MIB);
	memcpy(a->data, "first", 6);
	a->kind = RECORD_REQUEST;
	c->kind = RECORD_KEPT;
	/* b was not published when the daemon died. */
	memory_close(m);
	m = map(fd);
	while ((r = memory_next(m, r)))
		n++;
	CHECK_INT(n, 2);
	r = memory_next(m, NULL);
	CHECK_STR(r->data, "first");
	r = memory_next(m, r);
	CHECK(r->data[3 * MIB - 1] == 'c');
	/* Its room is given to another. */
	CHECK((char *)memory_alloc(m, 5000) - (char *)memory_next(m, NULL) > 0);
	memory_free(m, r);
	CHECK(memory_next(m, memory_next(m, NULL)) == NULL);
	r = memory_alloc(m, 3 * MIB); /* what it gave back is there again */
	memset(r->data, 'd', 3 * MIB);
	CHECK(b != NULL);
	memory_close(m);
	close(fd);
}

static void memory_ends(void)
{
	int fd = new_fd();
	struct memory *m = map(fd);
	size_t n = 0;

	while (n < 10000 && memory_alloc(m, 60 * MIB))
		n++;
	CHECK(n > 8 && n < 20);
	CHECK(memory_alloc(m, 100) != NULL); /* a small one still fits */
	CHECK(memory_alloc(m, 2 * GIB) == NULL);
	memory_close(m);
	close(fd);
}

static void another_layout_is_refused(void)
{
	int fd = new_fd();
	struct memory *m = map(fd);
	struct err err = ERR_INIT;

	memory_head(m)->layout++;
	memory_close(m);
	m = NULL;
	CHECK_INT(memory_open(fd, &m, &err), -ESTALE);
	CHECK(m == NULL && err.text[0]);
	close(fd);
}

static void generations_stay(void)
{
	int fd = new_fd();
	struct memory *m = map(fd);

	CHECK_INT(memory_generation(m, 77), 1);
	CHECK_INT(memory_generation_next(m, 77), 2);
	CHECK_INT(memory_generation_next(m, 78), 2);
	CHECK_INT(memory_generation_next(m, 77), 3);
	memory_close(m);
	m = map(fd);
	CHECK_INT(memory_generation(m, 77), 3);
	CHECK_INT(memory_generation(m, 79), 1);
	for (uint64_t i = 1000; i < 1000 + GENERATIONS_MAX; i++)
		memory_generation_next(m, i);
	CHECK_INT(memory_generation_next(m, 5), 1); /* no room */
	memory_close(m);
	close(fd);
}

/* --- kept files --- */

static void keep(struct kept *k, const char *text, const char *state)
{
	size_t len = strlen(text);

	CHECK_INT(kept_text(k, KEPT_TRANSACTION, 0, text, len), 0);
	kept_set(k, state, 4, len);
}

static void what_is_kept_comes_back(void)
{
	int fd = new_fd();
	struct memory *m = map(fd);
	struct kept_store *s = kept_store_new(m);
	struct kept *a = kept_new(s, 1), *b = kept_new(s, 2);
	_cleanup_free_ char *big = xcalloc(1, 100001);
	const char *text;
	char state[4];
	size_t len;

	keep(a, "hello", "one");
	memset(big, 'x', 100000);
	keep(b, "small", "two");
	keep(b, big, "thr"); /* moves */
	/* Bytes without a state: the daemon died before it was stored. */
	CHECK_INT(kept_text(a, KEPT_TRANSACTION, 5, "hello world", 11), 0);
	kept_free(a);
	kept_free(b);
	kept_store_free(s);
	memory_close(m);

	m = map(fd);
	s = kept_store_new(m);
	a = kept_next(s);
	CHECK_INT(kept_id(a), 1);
	CHECK(kept_state(a, state, 4));
	CHECK(!kept_state(a, state, 3));
	CHECK_STR(state, "one");
	text = kept_bytes(a, &len);
	CHECK_INT(len, 5);
	CHECK(memcmp(text, "hello", 5) == 0);
	b = kept_next(s);
	CHECK_INT(kept_id(b), 2);
	text = kept_bytes(b, &len);
	CHECK(len == 100000 && memcmp(text, big, len) == 0);
	CHECK(kept_next(s) == NULL);
	kept_forget(a);
	kept_forget(b);
	CHECK(memory_next(m, NULL) == NULL);
	kept_store_free(s);
	memory_close(m);
	close(fd);
}

static void the_younger_of_two_counts(void)
{
	int fd = new_fd();
	struct memory *m = map(fd);
	struct kept_store *s = kept_store_new(m);
	struct kept *old = kept_new(s, 9), *young = kept_new(s, 9), *k;
	char state[4];

	/* As a daemon leaves it that dies while a text moves. */
	keep(old, "old", "old");
	keep(young, "young", "new");
	kept_free(old);
	kept_free(young);
	kept_store_free(s);
	s = kept_store_new(m);
	k = kept_next(s);
	CHECK(kept_state(k, state, 4));
	CHECK_STR(state, "new");
	CHECK(kept_next(s) == NULL);
	kept_forget(k);
	CHECK(memory_next(m, NULL) == NULL);
	kept_store_free(s);
	memory_close(m);
	close(fd);
}

static void texts_have_a_limit(void)
{
	int fd = new_fd();
	struct memory *m = map(fd);
	struct kept_store *s = kept_store_new(m);
	_cleanup_free_ char *text = xcalloc(1, MIB);
	struct kept *k[66], *other = kept_new(s, 100);
	size_t n = 0;

	for (; n < ARRAY_SIZE(k) - 1; n++) {
		k[n] = kept_new(s, n + 1);
		if (kept_text(k[n], KEPT_TRANSACTION, 0, text, MIB) < 0)
			break;
		kept_set(k[n], "", 1, MIB);
	}
	CHECK_INT(n, 64);
	CHECK_INT(kept_text(k[n], KEPT_TRANSACTION, 0, "x", 1), -ENOSPC);
	/* The other use has a limit of its own. */
	CHECK_INT(kept_text(other, KEPT_SNAPSHOT, 0, text, MIB), 0);
	kept_set(other, "", 1, MIB);
	kept_forget(k[0]);
	CHECK_INT(kept_text(k[n], KEPT_TRANSACTION, 0, text, MIB), 0);
	for (size_t i = 1; i <= n; i++)
		kept_free(k[i]);
	kept_free(other);
	kept_store_free(s);
	memory_close(m);
	close(fd);
}

/* --- requests --- */

struct daemon {
	struct session session;
	struct memory *memory;
};

static fuse_req_t blocked[8];
static int n_blocked;
static char served[16]; /* in order */
static size_t n_served;

static void note(char what)
{
	if (n_served + 1 < sizeof(served))
		served[n_served++] = what;
	served[n_served] = '\0';
}

static void op_getattr(
    fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	note('g');
	fuse_reply_err(req, ENOENT);
}

/* Not answered now. */
static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
    struct fuse_file_info *fi)
{
	note((char)('0' + off));
	blocked[n_blocked++] = req;
}

static void op_release(
    fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	fuse_reply_err(req, 0);
}

static void op_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
    struct fuse_pollhandle *ph)
{
	if (ph)
		fuse_pollhandle_destroy(ph);
	fuse_reply_poll(req, 0);
}

static const struct fuse_lowlevel_ops test_ops = {.getattr = op_getattr,
    .read = op_read,
    .release = op_release,
    .poll = op_poll};

/* fd: its end of the socket pair, taken. */
static struct daemon *start(int fd, int memory)
{
	struct daemon *d = xcalloc(1, sizeof(*d));
	char *argv[] = {"test", NULL};
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);

	n_blocked = 0;
	n_served = 0;
	served[0] = '\0';
	d->memory = map(memory);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	d->session.slots = slots_new(fd, d->memory);
	d->session.fuse =
	    fuse_session_new(&args, &test_ops, sizeof(test_ops), &d->session);
	fuse_opt_free_args(&args);
	CHECK_INT(slots_attach(d->session.slots, d->session.fuse), 0);
	return d;
}

/* What was not answered stays in memory as it is; libfuse must be told the end
 * of it, by way of slots that know nothing, or it would leak. */
static void die(struct daemon *d)
{
	int scratch = new_fd(), null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct memory *nothing = map(scratch);

	slots_free(d->session.slots);
	d->session.slots = slots_new(null, nothing);
	dup2(null, fuse_session_fd(d->session.fuse));
	for (int i = 0; i < n_blocked; i++) {
		if (blocked[i])
			fuse_reply_err(blocked[i], EIO);
	}
	fuse_session_destroy(d->session.fuse);
	slots_free(d->session.slots);
	memory_close(nothing);
	memory_close(d->memory);
	close(null);
	close(scratch);
	free(d);
}

static void end(int i, int code)
{
	fuse_reply_err(blocked[i], code);
	blocked[i] = NULL;
}

struct packet {
	struct fuse_in_header head;
	union {
		struct fuse_init_in init;
		struct fuse_getattr_in getattr;
		struct fuse_read_in read;
		struct fuse_release_in release;
		struct fuse_poll_in poll;
	} body;
};

static void say(int kernel, uint32_t opcode, uint64_t unique, struct packet *p)
{
	p->head = (struct fuse_in_header){
	    .len = sizeof(*p), .opcode = opcode, .unique = unique, .nodeid = 1};
	CHECK_INT(write(kernel, p, sizeof(*p)), sizeof(*p));
}

static void say_init(int kernel)
{
	struct packet p = {.body.init = {.major = FUSE_KERNEL_VERSION,
			       .minor = 31,
			       .max_readahead = 4096}};

	say(kernel, FUSE_INIT, 2, &p);
}

static void say_read(int kernel, uint64_t unique, uint64_t off)
{
	struct packet p = {.body.read = {.offset = off, .size = 10}};

	say(kernel, FUSE_READ, unique, &p);
}

/* Takes a packet of the daemon: its unique, its error; false: there is none. */
static bool hear(int kernel, uint64_t *ret_unique, int *ret_error)
{
	char data[65536];
	struct fuse_out_header h;

	if (recv(kernel, data, sizeof(data), MSG_DONTWAIT) < (ssize_t)sizeof(h))
		return false;
	memcpy(&h, data, sizeof(h));
	*ret_unique = h.unique;
	*ret_error = h.error;
	return true;
}

static void is_said(int kernel, uint64_t unique, int error)
{
	uint64_t u = 0;
	int e = 0;

	CHECK(hear(kernel, &u, &e));
	CHECK_INT(u, unique);
	CHECK_INT(e, error);
}

static void nothing_is_said(int kernel)
{
	uint64_t u;
	int e;

	CHECK(!hear(kernel, &u, &e));
}

static size_t parked(struct memory *m)
{
	struct record *r = NULL;
	size_t n = 0;

	while ((r = memory_next(m, r)))
		n++;
	return n;
}

struct fixture {
	int kernel, daemon, memory;
	struct daemon *d;
};

static void mount_it(struct fixture *f)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		abort();
	f->kernel = fds[0];
	f->daemon = fds[1];
	f->memory = new_fd();
	f->d = start(dup(f->daemon), f->memory);
	CHECK(!slots_used(f->d->session.slots));
	say_init(f->kernel);
	CHECK_INT(slots_receive(f->d->session.slots), 1);
	is_said(f->kernel, 2, 0);
}

static void next_daemon(struct fixture *f, bool crashed)
{
	die(f->d);
	f->d = start(dup(f->daemon), f->memory);
	CHECK(slots_used(f->d->session.slots));
	slots_replay(f->d->session.slots, crashed);
}

static void unmount_it(struct fixture *f)
{
	die(f->d);
	close(f->kernel);
	close(f->daemon);
	close(f->memory);
}

static void what_is_answered_leaves(void)
{
	struct packet p = {0};
	struct fixture f;

	mount_it(&f);
	say(f.kernel, FUSE_GETATTR, 4, &p);
	CHECK_INT(slots_receive(f.d->session.slots), 1);
	is_said(f.kernel, 4, -ENOENT);
	CHECK_INT(parked(f.d->memory), 0);
	CHECK_INT(slots_receive(f.d->session.slots), 0);
	next_daemon(&f, false);
	CHECK_STR(served, "");
	nothing_is_said(f.kernel); /* nor the answer to INIT, again */
	unmount_it(&f);
}

static void what_waits_is_served_again_in_order(void)
{
	struct fixture f;

	mount_it(&f);
	for (uint64_t i = 1; i <= 3; i++) {
		say_read(f.kernel, 10 + 2 * i, i);
		CHECK_INT(slots_receive(f.d->session.slots), 1);
	}
	CHECK_INT(parked(f.d->memory), 3);
	nothing_is_said(f.kernel);
	/* The second is answered, the others wait on. */
	end(1, EIO);
	is_said(f.kernel, 14, -EIO);
	CHECK_INT(parked(f.d->memory), 2);
	next_daemon(&f, false);
	CHECK_STR(served, "13");
	is_said(f.kernel, 13, -EAGAIN); /* each was asked for first */
	is_said(f.kernel, 17, -EAGAIN);
	CHECK_INT(parked(f.d->memory), 2);
	end(0, EINTR);
	is_said(f.kernel, 12, -EINTR);
	end(1, EINTR);
	is_said(f.kernel, 16, -EINTR);
	CHECK_INT(parked(f.d->memory), 0);
	unmount_it(&f);
}

/* A daemon that dies between read(2) and the operation. */
static void what_has_landed_is_served(void)
{
	struct fixture f;
	struct packet p = {.head = {.len = sizeof(p),
			       .opcode = FUSE_READ,
			       .unique = 20,
			       .nodeid = 1},
	    .body.read = {.offset = 7, .size = 1}};

	mount_it(&f);
	memcpy(memory_head(f.d->memory)->land, &p, sizeof(p));
	next_daemon(&f, false);
	CHECK_STR(served, "7");
	CHECK_INT(parked(f.d->memory), 1);
	end(0, EIO);
	unmount_it(&f);
}

/* Kills don't count; the third crash does. */
static void what_kills_daemons_is_refused(void)
{
	struct fixture f;
	int i;

	mount_it(&f);
	say_read(f.kernel, 30, 5);
	CHECK_INT(slots_receive(f.d->session.slots), 1);
	for (i = 0; i < 10; i++) {
		memory_head(f.d->memory)->serving = 30;
		next_daemon(&f, false);
		CHECK_STR(served, "5");
		is_said(f.kernel, 31, -EAGAIN);
	}
	for (i = 0; i < 2; i++) {
		memory_head(f.d->memory)->serving = 30;
		next_daemon(&f, true);
		CHECK_STR(served, "5");
		is_said(f.kernel, 31, -EAGAIN);
	}
	memory_head(f.d->memory)->serving = 30;
	next_daemon(&f, true);
	CHECK_STR(served, "");
	is_said(f.kernel, 31, -EAGAIN);
	is_said(f.kernel, 30, -EIO);
	CHECK_INT(parked(f.d->memory), 0);
	unmount_it(&f);
}

static void say_poll(int kernel, uint64_t unique, uint64_t fh, uint64_t kh)
{
	struct packet p = {.body.poll = {
			       .fh = fh,
			       .kh = kh,
			       .flags = FUSE_POLL_SCHEDULE_NOTIFY,
			   }};

	say(kernel, FUSE_POLL, unique, &p);
}

static void pollers_are_woken_once(void)
{
	struct packet p = {.body.release.fh = 501};
	struct fixture f;

	mount_it(&f);
	say_poll(f.kernel, 40, 501, 1);
	say_poll(f.kernel, 42, 502, 2);
	say_poll(f.kernel, 44, 502, 2);
	say(f.kernel, FUSE_RELEASE, 46, &p); /* closed: forgotten */
	for (int i = 0; i < 4; i++) {
		CHECK_INT(slots_receive(f.d->session.slots), 1);
		is_said(f.kernel, 40 + 2 * (uint64_t)i, 0);
	}
	next_daemon(&f, false);
	is_said(f.kernel, 0, FUSE_NOTIFY_POLL);
	nothing_is_said(f.kernel);
	next_daemon(&f, false);
	nothing_is_said(f.kernel);
	unmount_it(&f);
}

static void a_first_request_is_not_lost(void)
{
	struct fixture f;

	mount_it(&f);
	/* As after a kill between read(2) and its copy. */
	memcpy(memory_head(f.d->memory)->land, memory_head(f.d->memory)->init,
	    sizeof(struct packet));
	memory_head(f.d->memory)->init_length = 0;
	next_daemon(&f, false);
	is_said(f.kernel, 3, -EAGAIN);
	is_said(f.kernel, 2, 0);
	CHECK(memory_head(f.d->memory)->init_length > 0);
	unmount_it(&f);
}

static const struct test_case cases[] = {
    CASE(records_are_found_again),
    CASE(memory_ends),
    CASE(another_layout_is_refused),
    CASE(generations_stay),
    CASE(what_is_kept_comes_back),
    CASE(the_younger_of_two_counts),
    CASE(texts_have_a_limit),
    CASE(what_is_answered_leaves),
    CASE(what_waits_is_served_again_in_order),
    CASE(what_has_landed_is_served),
    CASE(what_kills_daemons_is_refused),
    CASE(pollers_are_woken_once),
    CASE(a_first_request_is_not_lost),
};
TEST_MAIN(cases)
