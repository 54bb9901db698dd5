/* SPDX-License-Identifier: Apache-2.0
 *
 * Files of this host: read and digested by a thread that lives as long as
 * that takes.  A digest is kept with what stat(2) told, so that a periodic
 * look reads no file that has not changed.  While the thread works the loop
 * touches nothing of the setup but `stop`.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "drivers/setup_guest.h"

#define PIECE  MIB
#define TRIES  3                  /* to read a file that changes meanwhile */
#define SETTLE (2 * USEC_PER_SEC) /* a change within that may not show */

static void print_stat(const struct stat *st, char ret[160])
{
	snprintf(ret, 160, "%ju %ju %jd %jd.%09ld %jd.%09ld",
	    (uintmax_t)st->st_dev, (uintmax_t)st->st_ino, (intmax_t)st->st_size,
	    (intmax_t)st->st_mtim.tv_sec, st->st_mtim.tv_nsec,
	    (intmax_t)st->st_ctim.tv_sec, st->st_ctim.tv_nsec);
}

static int cannot_read(int code, const char *path, struct err *err)
{
	return err_errno(err, code, "the host's file %s can't be read", path);
}

static int copy_once(struct setup *s, int in, int out, const char *path,
    uint64_t *ret_size, char digest[SHA256_HEX], struct err *err)
{
	_cleanup_free_ char *piece = xmalloc(PIECE);
	_cleanup_(sha256_freep) struct sha256 *sum = sha256_new();
	uint64_t size = 0;
	int r = 0;

	while (r == 0) {
		ssize_t n = read(in, piece, PIECE);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			r = cannot_read(-errno, path, err);
		if (n <= 0)
			break;
		sha256_add(sum, piece, (size_t)n);
		size += (uint64_t)n;
		if (out >= 0)
			r = write_all(out, piece, (size_t)n);
		if (r < 0)
			err_errno(err, r, "what is to be sent can't be kept");
		if (r == 0 && atomic_load(&s->stop))
			r = err_set(err, -ECANCELED, "cancelled");
	}
	sha256_end(sum, digest);
	*ret_size = size;
	return r;
}

int setup_read_source(struct setup *s, const char *path, int fd,
    uint64_t *ret_size, char digest[SHA256_HEX], char print[160],
    struct err *err)
{
	_cleanup_close_ int in = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat before, after;
	char now[160];
	int r;

	if (in < 0 || fstat(in, &before) < 0)
		return cannot_read(-errno, path, err);
	if (!S_ISREG(before.st_mode))
		return err_set(err, -EINVAL,
		    "the host's file %s is no regular file", path);
	r = copy_once(s, in, fd, path, ret_size, digest, err);
	if (r < 0)
		return r;
	if (fstat(in, &after) < 0)
		return cannot_read(-errno, path, err);
	print_stat(&before, print);
	print_stat(&after, now);
	if (STREQ(print, now) && *ret_size == (uint64_t)after.st_size)
		return 0;
	return err_set(err, -EBUSY,
	    "the host's file %s changes while it is read: write it beside, "
	    "and rename it",
	    path);
}

static int digest_source(struct setup *s, struct wanted_file *w)
{
	char print[160], digest[SHA256_HEX];
	const struct known_digest *k = setup_known(&s->host_known, w->f.source);
	struct err err = ERR_INIT;
	struct stat st;
	uint64_t size;
	int r = -EBUSY;

	if (k && stat(w->f.source, &st) == 0) {
		print_stat(&st, print);
		if (STREQ(print, k->print)) {
			snprintf(w->digest, sizeof(w->digest), "%s", k->digest);
			return 0;
		}
	}
	for (int i = 0; i < TRIES && r == -EBUSY; i++)
		r = setup_read_source(
		    s, w->f.source, -1, &size, digest, print, &err);
	if (r < 0) {
		w->host_code = r;
		w->host_error = xstrdup(err_text(&err));
		return r;
	}
	snprintf(w->digest, sizeof(w->digest), "%s", digest);
	if (stat(w->f.source, &st) == 0 &&
	    (uint64_t)st.st_ctim.tv_sec * USEC_PER_SEC + SETTLE < now_real())
		setup_know(&s->host_known, w->f.source, print, digest, true);
	return 0;
}

static void digest_files(struct setup *s)
{
	for (size_t i = 0; i < s->n_files; i++) {
		struct wanted_file *w = &s->files[i];

		if (w->f.source)
			digest_source(s, w);
		else
			sha256_of(w->f.data, w->f.len, w->digest);
	}
}

/* Of its unit and what it uses. */
static void digest_service(struct setup *s, size_t service)
{
	_cleanup_(sha256_freep) struct sha256 *sum = sha256_new();

	for (size_t i = 0; i < s->n_files; i++) {
		const struct wanted_file *w = &s->files[i];

		if (!setup_service_uses(s, service, i))
			continue;
		sha256_add(sum, w->f.path, strlen(w->f.path) + 1);
		sha256_add(sum, w->digest, strlen(w->digest) + 1);
		if (w->f.link)
			sha256_add(sum, w->f.data, w->f.len);
	}
	sha256_end(sum, s->services[service].digest);
}

void setup_digest_services(struct setup *s)
{
	for (size_t i = 0; i < s->n_services; i++)
		digest_service(s, i);
}

static void prepare(struct setup *s)
{
	digest_files(s);
	setup_digest_services(s);
}

/* --- the thread -------------------------------------------------------- */

struct work {
	struct setup *s;
	void (*work)(struct setup *s);
};

static void run_work(void *job)
{
	struct work *w = job;

	w->work(w->s);
}

static void work_done(void *job)
{
	_cleanup_free_ struct work *w = job;
	struct setup *s = w->s;

	if (s->closing)
		return;
	worker_free(TAKE_PTR(s->worker));
	if (atomic_load(&s->stop)) {
		err_set(&s->call.err, -ECANCELED, "cancelled");
		setup_finish(s, -ECANCELED);
	} else {
		s->prepared(s);
	}
}

void setup_on_worker(struct setup *s, void (*work)(struct setup *s),
    void (*prepared)(struct setup *s))
{
	struct work *w = xcalloc(1, sizeof(*w));
	int r = worker_new(s->env->loop, &s->worker);

	if (r < 0) {
		free(w);
		err_errno(&s->call.err, r, "no thread to read files with");
		setup_finish(s, r);
		return;
	}
	atomic_store(&s->stop, false);
	s->prepared = prepared;
	*w = (struct work){s, work};
	worker_add(s->worker, run_work, work_done, w);
}

void setup_prepare(struct setup *s, void (*prepared)(struct setup *s))
{
	setup_on_worker(s, prepare, prepared);
}

void setup_worker_stop(struct setup *s)
{
	s->closing = true;
	if (!s->worker)
		return;
	atomic_store(&s->stop, true);
	worker_free(TAKE_PTR(s->worker));
}
