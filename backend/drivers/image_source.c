/* SPDX-License-Identifier: Apache-2.0
 *
 * Images that are made from a file of the user's.  In order: `before` looks,
 * a program of its own may run, `make` works on a thread, the result is put
 * into the cache.  Every step can be cancelled; what is half made goes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "drivers/image_source.h"
#include "host/child.h"
#include "host/worker.h"

#define PROGRAM_TIMEOUT (3600 * USEC_PER_SEC)
#define PROGRESS_EVERY  (250 * USEC_PER_MSEC)
#define WORDS_MAX       400

struct image {
	struct driver_env env;
	const struct image_source *kind;
	struct image_look look;
	struct worker *worker; /* while something is made */
	struct child *child;
	struct loop_source *answer, *timer;
	struct op *op;
	struct source_job *job;
	struct source_place place;
	char words[WORDS_MAX]; /* last line of a program's stderr */
	size_t words_len;
	bool new_line;
	int code;
	struct err err;
};

/* --- the end -------------------------------------------------------------- */

static void forget(struct image *i)
{
	struct source_job *j = TAKE_PTR(i->job);

	child_free(TAKE_PTR(i->child));
	loop_timer_set(i->timer, USEC_NEVER);
	if (j) {
		if (j->dir)
			(void)remove_tree(AT_FDCWD, j->dir);
		free(j->source);
		free(j->sha256);
		free(j->init);
		free(j->dir);
		free(j->input);
		free(j);
	}
	source_place_done(&i->place);
}

static void on_answer(void *userdata)
{
	struct image *i = userdata;
	struct op *op = TAKE_PTR(i->op);

	/* A kick may still be on its way when its op has ended. */
	if (!op)
		return;
	forget(i);
	op_done(op, i->code, &i->err);
}

static void answer(struct image *i, int code)
{
	i->code = code;
	loop_kick(i->answer);
}

/* --- the thread ----------------------------------------------------------- */

static bool go_on(uint64_t done, uint64_t total, void *userdata)
{
	struct source_job *j = userdata;

	atomic_store(&j->done, done);
	atomic_store(&j->total, total);
	return !atomic_load(&j->cancelled);
}

static void on_thread(void *userdata)
{
	struct image *i = userdata;
	int r;

	source_sweep(&i->place);
	i->code = i->kind->make(i->job, &i->err);
	if (atomic_load(&i->job->cancelled))
		i->code = err_set(&i->err, -ECANCELED, "cancelled");
	/* That it was another at the end says more than what was odd in it. */
	if (i->code != -ECANCELED) {
		r = source_unchanged(&i->place, i->job->source, &i->err);
		i->code = r < 0 ? r : i->code;
	}
	if (i->code == 0)
		i->code = source_store(&i->place, i->job, &i->err);
}

static void on_thread_done(void *userdata)
{
	struct image *i = userdata;

	if (!i->op)
		return; /* close() waits for us */
	if (i->code == 0 &&
	    !source_cached(&i->place, i->kind, i->job->source, &i->look))
		i->code = err_set(&i->err, -EIO,
		    "what was made of %s can't be read in %s", i->job->source,
		    i->place.cache_dir);
	if (i->code == -ENOSPC)
		err_prefix(
		    &i->err, "no space left in %s: ", i->place.cache_dir);
	answer(i, i->code);
}

static void on_timer(void *userdata)
{
	struct image *i = userdata;
	struct source_job *j = i->job;
	uint64_t done, total;
	int pass, passes;

	if (!i->op || !j)
		return;
	done = atomic_load(&j->done);
	total = atomic_load(&j->total);
	pass = atomic_load(&j->pass);
	passes = MAX(atomic_load(&j->passes), 1);
	if (total)
		op_progress(i->op,
		    (int)((100 * (uint64_t)pass +
			      MIN(done, total) * 100 / total) /
			  (uint64_t)passes),
		    "%s: %llu of %llu MB", pass ? "writing" : "reading",
		    (unsigned long long)(done / 1000000),
		    (unsigned long long)(total / 1000000));
	loop_timer_set(i->timer, loop_now(i->env.loop) + PROGRESS_EVERY);
}

static void start_thread(struct image *i)
{
	int r = i->worker ? 0 : worker_new(i->env.loop, &i->worker);

	if (r < 0) {
		answer(i, err_errno(&i->err, r, "can't start a thread"));
		return;
	}
	loop_timer_set(i->timer, loop_now(i->env.loop) + PROGRESS_EVERY);
	worker_add(i->worker, on_thread, on_thread_done, i);
}

/* --- the program ---------------------------------------------------------- */

/* Keeps the last line that has something in it. */
static void on_output(
    const char *data, size_t len, bool is_stderr, void *userdata)
{
	struct image *i = userdata;

	if (i->env.log)
		i->env.log(i->env.owner, data, len);
	for (size_t k = 0; is_stderr && k < len; k++) {
		if (data[k] == '\n') {
			i->new_line = true;
			continue;
		}
		if (i->new_line)
			i->words_len = 0;
		i->new_line = false;
		if (i->words_len + 1 < sizeof(i->words) && data[k]) {
			i->words[i->words_len++] = data[k];
			i->words[i->words_len] = '\0';
		}
	}
}

static void on_program(int code, int status, void *userdata)
{
	struct image *i = userdata;
	bool good = i->kind->status_is_good ? i->kind->status_is_good(status)
					    : status == 0;

	child_free(TAKE_PTR(i->child));
	if (code == 0 && good)
		start_thread(i);
	else if (code == 0)
		answer(i, err_set(&i->err, -EINVAL, "%s: %s", i->job->source,
			      i->words[0] ? i->words : "it is of no use"));
	else
		answer(i,
		    err_set(&i->err, code,
			code == -ETIMEDOUT ? "looking at %s did not end in time"
					   : "looking at %s was cancelled",
			i->job->source));
}

static int start_program(struct image *i, char *const *argv, struct err *err)
{
	struct child_options o = {.argv = argv,
	    .stdin_fd = -1,
	    .timeout = PROGRAM_TIMEOUT,
	    .output = on_output,
	    .done = on_program,
	    .userdata = i};

	i->words[0] = '\0';
	i->words_len = 0;
	return child_start(i->env.loop, &o, &i->child, err);
}

/* --- the driver ----------------------------------------------------------- */

static void cancel(struct op *op)
{
	struct image *i = op->driver_data;

	if (i->job)
		atomic_store(&i->job->cancelled, true);
	if (i->child)
		child_kill(i->child);
	else if (!i->job)
		answer(i, err_set(&i->err, -ECANCELED, "cancelled"));
}

static void accept_op(struct image *i, struct op *op)
{
	i->op = op;
	op->driver_data = i;
	op->cancel = cancel;
}

int image_source_available(struct err *err)
{
	return 0;
}

int image_source_open(const struct image_source *kind,
    const struct driver_env *env, void **ret, struct err *err)
{
	struct image *i = xcalloc(1, sizeof(*i));
	int r;

	i->env = *env;
	i->kind = kind;
	i->place.lock = -1;
	r = loop_add_deferred(env->loop, on_answer, i, &i->answer);
	if (r == 0)
		r = loop_add_timer(
		    env->loop, USEC_NEVER, on_timer, i, &i->timer);
	if (r < 0) {
		image_source_close(i);
		return err_errno(err, r, "can't wait for files");
	}
	*ret = i;
	return 0;
}

void image_source_close(void *self)
{
	struct image *i = self;

	if (!i)
		return;
	i->op = NULL;
	if (i->job)
		atomic_store(&i->job->cancelled, true);
	child_free(TAKE_PTR(i->child));
	worker_free(i->worker);
	if (i->timer)
		forget(i);
	loop_source_free(i->answer);
	loop_source_free(i->timer);
	free(i);
}

/* A missing source is no fault of the look: it saw that it is not there. */
int image_source_observe(
    void *self, const struct image_slice *slice, struct op *op, struct err *err)
{
	struct image *i = self;

	i->err = ERR_INIT;
	i->look = (struct image_look){0};
	if (source_place_init(&i->place, i->kind, slice, NULL) == 0)
		(void)source_cached(
		    &i->place, i->kind, slice->source, &i->look);
	accept_op(i, op);
	answer(i, 0);
	return 0;
}

void image_source_look(void *self, struct image_look *ret)
{
	struct image *i = self;

	*ret = i->look;
}

static struct source_job *new_job(const struct image_slice *slice)
{
	struct source_job *j = xcalloc(1, sizeof(*j));

	j->source = xstrdup(slice->source);
	j->sha256 = xstrdup(slice->sha256);
	j->init = xstrdup(slice->init);
	j->input = xstrdup(slice->source);
	j->watch = (struct tar_watch){.go_on = go_on, .userdata = j};
	atomic_init(&j->passes, 1);
	return j;
}

static int begin(
    struct image *i, const struct image_slice *slice, struct err *err)
{
	_cleanup_strv_ char **argv = NULL;
	int r = source_place_init(&i->place, i->kind, slice, err);

	if (r < 0)
		return r;
	if (source_cached(&i->place, i->kind, slice->source, &i->look)) {
		answer(i, 0);
		return 0;
	}
	i->job = new_job(slice);
	r = source_scratch(&i->place, &i->job->dir, err);
	if (r == 0 && i->kind->before)
		r = i->kind->before(i->job, slice->data_dir, &argv, err);
	if (r == 0 && argv)
		r = start_program(i, argv, err);
	else if (r == 0)
		start_thread(i);
	return r;
}

int image_source_ensure(
    void *self, const struct image_slice *slice, struct op *op, struct err *err)
{
	struct image *i = self;
	int r;

	i->err = ERR_INIT;
	i->look = (struct image_look){0};
	r = begin(i, slice, err);
	if (r < 0) {
		forget(i);
		return r;
	}
	accept_op(i, op);
	return 0;
}

int image_source_create(
    const struct source_job *j, const char *name, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", j->dir, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	return fd < 0 ? err_errno(err, -errno, "can't make %s", path) : fd;
}
