// SPDX-License-Identifier: Apache-2.0
/*
 * The state directory: what must survive a crash.  Every write goes through
 * the worker thread, in order: a file beside the old one, fsync, rename, fsync
 * of the folder.  Nothing is in force before its `done` has come.  A folder is
 * made under a dot name and renamed, and removed the other way round, so that
 * a name without a dot is always whole.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/engine.h"

struct job {
	struct cluster *c;
	int (*run)(struct job *job, struct err *err);
	char *path, *tmp; /* absolute */
	struct buf data;
	uint64_t mtime; /* 0: that of the write */
	struct job_file {
		char *name, *text;
	} * files;
	size_t n_files;
	int (*fn)(void *userdata, struct err *err);
	store_done_fn done;
	void *userdata;
	int code;
	struct err err;
};

static void job_run(void *p)
{
	struct job *job = p;

	job->code = job->run(job, &job->err);
}

static void job_done(void *p)
{
	struct job *job = p;

	if (job->done)
		job->done(job->code, &job->err, job->userdata);
	for (size_t i = 0; i < job->n_files; i++) {
		free(job->files[i].name);
		free(job->files[i].text);
	}
	free(job->files);
	free(job->path);
	free(job->tmp);
	buf_done(&job->data);
	free(job);
}

static struct job *job_new(struct cluster *c, const char *path,
    int (*run)(struct job *job, struct err *err), store_done_fn done,
    void *userdata)
{
	struct job *job = xcalloc(1, sizeof(*job));

	job->c = c;
	job->run = run;
	job->path = path ? xasprintf("%s/%s", c->state_dir, path) : NULL;
	job->done = done;
	job->userdata = userdata;
	return job;
}

static void job_add(struct job *job)
{
	worker_add(job->c->worker, job_run, job_done, job);
}

static int sync_folder(const char *path, struct err *err)
{
	int r = sync_folder_of(path);

	return r < 0 ? err_errno(err, r, "can't sync the folder of %s", path)
		     : 0;
}

static int write_synced(
    const char *path, const void *data, size_t len, struct err *err)
{
	_cleanup_close_ int fd = -1;
	int r;

	fd = open(
	    path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_errno(err, -errno, "can't write %s", path);
	r = write_all(fd, data, len);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (r < 0) {
		unlink(path);
		return err_errno(err, r, "can't write %s", path);
	}
	return 0;
}

static int run_stage(struct job *job, struct err *err)
{
	return write_synced(job->tmp, buf_str(&job->data), job->data.len, err);
}

static void set_mtime(const char *path, uint64_t mtime)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
	    {.tv_sec = (time_t)(mtime / USEC_PER_SEC),
		.tv_nsec = (long)(mtime % USEC_PER_SEC) * 1000}};

	if (mtime)
		(void)utimensat(AT_FDCWD, path, times, 0);
}

static int run_publish(struct job *job, struct err *err)
{
	set_mtime(job->tmp, job->mtime);
	if (rename(job->tmp, job->path) < 0)
		return err_errno(err, -errno, "can't replace %s", job->path);
	return sync_folder(job->path, err);
}

static int run_put(struct job *job, struct err *err)
{
	int r = run_stage(job, err);

	return r < 0 ? r : run_publish(job, err);
}

void store_stage(struct cluster *c, const char *tmp, const void *data,
    size_t len, store_done_fn done, void *userdata)
{
	struct job *job = job_new(c, NULL, run_stage, done, userdata);

	job->tmp = xasprintf("%s/%s", c->state_dir, tmp);
	buf_append(&job->data, data, len);
	job_add(job);
}

void store_publish(struct cluster *c, const char *tmp, const char *path,
    uint64_t mtime, store_done_fn done, void *userdata)
{
	struct job *job = job_new(c, path, run_publish, done, userdata);

	job->mtime = mtime;
	job->tmp = xasprintf("%s/%s", c->state_dir, tmp);
	job_add(job);
}

static int run_unstage(struct job *job, struct err *err)
{
	(void)err;
	unlink(job->tmp);
	return 0;
}

void store_unstage(struct cluster *c, const char *tmp)
{
	struct job *job = job_new(c, NULL, run_unstage, NULL, NULL);

	job->tmp = xasprintf("%s/%s", c->state_dir, tmp);
	job_add(job);
}

void store_put(struct cluster *c, const char *path, const void *data,
    size_t len, store_done_fn done, void *userdata)
{
	struct job *job = job_new(c, path, run_put, done, userdata);

	job->tmp = xasprintf("%s.new", job->path);
	buf_append(&job->data, data, len);
	job_add(job);
}

static void job_files(struct job *job, const struct store_file *files, size_t n)
{
	job->files = xcalloc(n, sizeof(*job->files));
	job->n_files = n;
	for (size_t i = 0; i < n; i++) {
		job->files[i].name = xstrdup(files[i].name);
		job->files[i].text = xstrdup(files[i].data);
	}
}

/* The whole file system of the state directory. */
static int sync_all(struct job *job, struct err *err)
{
	_cleanup_close_ int fd =
	    open(job->c->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || syncfs(fd) < 0)
		return err_errno(
		    err, -errno, "can't sync %s", job->c->state_dir);
	return 0;
}

static int run_put_many(struct job *job, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < job->n_files && r == 0; i++) {
		const struct job_file *f = &job->files[i];
		_cleanup_free_ char *new =
		    xasprintf("%s/%s.new", job->c->state_dir, f->name);
		_cleanup_close_ int fd = open(new,
		    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
		    0600);

		r = fd < 0 ? -errno : write_all(fd, f->text, strlen(f->text));
		if (r < 0)
			return err_errno(err, r, "can't write %s", new);
	}
	r = sync_all(job, err);
	for (size_t i = 0; i < job->n_files && r == 0; i++) {
		_cleanup_free_ char *path =
		    xasprintf("%s/%s", job->c->state_dir, job->files[i].name);
		_cleanup_free_ char *new = xasprintf("%s.new", path);

		if (rename(new, path) < 0)
			return err_errno(err, -errno, "can't replace %s", path);
	}
	return r < 0 ? r : sync_all(job, err);
}

void store_put_many(struct cluster *c, const struct store_file *files, size_t n,
    store_done_fn done, void *userdata)
{
	struct job *job = job_new(c, NULL, run_put_many, done, userdata);

	job_files(job, files, n);
	job_add(job);
}

/* nodes/node01 -> nodes/.node01.new, owned text. */
static char *dot_name(const char *path, const char *ending)
{
	const char *name;

	assert(path && strchr(path, '/'));
	name = strrchr(path, '/') + 1;
	return xasprintf("%.*s.%s.%s", (int)(name - path), path, name, ending);
}

static int run_make(struct job *job, struct err *err)
{
	_cleanup_free_ char *tmp = dot_name(job->path, "new");
	_cleanup_free_ char *inside = xasprintf("%s/.", tmp);
	int r = 0;

	remove_tree(AT_FDCWD, tmp);
	if (mkdir(tmp, 0700) < 0)
		return err_errno(err, -errno, "can't make the folder %s", tmp);
	for (size_t i = 0; i < job->n_files && r == 0; i++) {
		const struct job_file *f = &job->files[i];
		_cleanup_free_ char *path = xasprintf("%s/%s", tmp, f->name);

		r = write_synced(path, f->text, strlen(f->text), err);
		set_mtime(path, job->mtime);
	}
	if (r == 0)
		r = sync_folder(inside, err);
	if (r == 0 && rename(tmp, job->path) < 0)
		r = err_errno(
		    err, -errno, "can't make the folder %s", job->path);
	if (r == 0)
		r = sync_folder(job->path, err);
	if (r < 0)
		remove_tree(AT_FDCWD, tmp);
	return r;
}

void store_make(struct cluster *c, const char *path,
    const struct store_file *files, size_t n, uint64_t mtime,
    store_done_fn done, void *userdata)
{
	struct job *job = job_new(c, path, run_make, done, userdata);

	job->mtime = mtime;
	job_files(job, files, n);
	job_add(job);
}

int store_make_now(struct cluster *c, const char *path,
    const struct store_file *files, size_t n, struct err *err)
{
	struct job *job = job_new(c, path, run_make, NULL, NULL);
	int r;

	job_files(job, files, n);
	r = run_make(job, err);
	job_done(job);
	return r;
}

static int run_remove(struct job *job, struct err *err)
{
	_cleanup_free_ char *tmp = dot_name(job->path, "gone");
	int r;

	remove_tree(AT_FDCWD, tmp);
	if (rename(job->path, tmp) < 0)
		return err_errno(err, -errno, "can't remove %s", job->path);
	r = sync_folder(job->path, err);
	if (r == 0)
		remove_tree(AT_FDCWD, tmp);
	return r;
}

void store_remove(
    struct cluster *c, const char *path, store_done_fn done, void *userdata)
{
	job_add(job_new(c, path, run_remove, done, userdata));
}

static int run_fn(struct job *job, struct err *err)
{
	return job->fn(job->userdata, err);
}

void store_run(struct cluster *c, int (*fn)(void *userdata, struct err *err),
    store_done_fn done, void *userdata)
{
	struct job *job = job_new(c, NULL, run_fn, done, userdata);

	job->fn = fn;
	job_add(job);
}
