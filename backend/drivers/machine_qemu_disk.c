/* SPDX-License-Identifier: Apache-2.0
 *
 * Disk files of the host: made when missing, under another name until they
 * are whole, and grown when the spec asks for more; never shrunk.  qcow2 is
 * made and grown by qemu-img, whose words are in the error.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "machine_qemu.h"

#define IMG_TIMEOUT   (60 * USEC_PER_SEC)
#define IMG_WORDS_MAX 1024
#define QCOW2_MAGIC   0x514649fb /* "QFI\xfb" */
#define SECTOR        512ULL     /* QEMU refuses other multiples */

/* docs/interop/qcow2.rst of QEMU; big endian. */
struct qcow2_head {
	uint32_t magic, version;
	uint64_t backing_offset;
	uint32_t backing_size, cluster_bits;
	uint64_t size;
};

struct qemu_disk_job {
	struct loop *loop;
	char *path, *temporary; /* temporary: while it is being made */
	enum disk_format format;
	uint64_t size;
	struct child *child;
	struct loop_source *later;
	struct buf words;
	int code;
	struct err err;
	void (*done)(
	    int code, uint64_t size, const struct err *err, void *userdata);
	void (*log)(const char *text, void *userdata);
	void *userdata;
};

int qemu_disk_size(
    const char *path, enum disk_format format, uint64_t *ret, struct err *err)
{
	struct qcow2_head head = {0};
	struct stat st;
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(
		    err, -errno, "the disk file %s can't be opened", path);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(
		    err, -EINVAL, "the disk file %s is not a file", path);
	ssize_t n = pread(fd, &head, sizeof(head), 0);
	if (n < 0)
		return err_errno(
		    err, -errno, "the disk file %s can't be read", path);
	bool qcow2 =
	    n == (ssize_t)sizeof(head) && be32toh(head.magic) == QCOW2_MAGIC;
	if (qcow2 != (format == FORMAT_QCOW2))
		return err_set(err, -EINVAL,
		    "the disk file %s is %s, and disk.format says \"%s\": set "
		    "that back, or wipe the disk",
		    path, qcow2 ? "qcow2" : "not qcow2",
		    disk_format_name(format));
	if (qcow2) {
		*ret = be64toh(head.size);
		return 0;
	}
	off_t end = lseek(fd, 0, SEEK_END); /* block devices have no st_size */
	if (end < 0)
		return err_errno(err, -errno, "the disk file %s", path);
	*ret = (uint64_t)end;
	return 0;
}

static void on_later(void *userdata)
{
	struct qemu_disk_job *j = userdata;

	j->done(j->code, j->size, j->code < 0 ? &j->err : NULL, j->userdata);
}

static void job_end(struct qemu_disk_job *j, int code)
{
	j->code = code;
	loop_kick(j->later);
}

static void on_output(
    const char *data, size_t len, bool is_stderr, void *userdata)
{
	struct qemu_disk_job *j = userdata;

	if (is_stderr && j->words.len < IMG_WORDS_MAX)
		buf_append(
		    &j->words, data, MIN(len, IMG_WORDS_MAX - j->words.len));
}

/* qemu-img's last line, without its name. */
static void img_words(struct qemu_disk_job *j, struct buf *ret)
{
	size_t end = j->words.len, from;
	const char *s = buf_str(&j->words);

	while (end > 0 && s[end - 1] == '\n')
		end--;
	for (from = end; from > 0 && s[from - 1] != '\n';)
		from--;
	if (strncmp(s + from, "qemu-img: ", 10) == 0)
		from += 10;
	buf_escaped(ret, s + from, end - from);
}

static void on_img_done(int code, int status, void *userdata)
{
	struct qemu_disk_job *j = userdata;
	const char *verb = j->temporary ? "created" : "grown";
	_cleanup_buf_ struct buf words = {0};

	img_words(j, &words);
	if (code < 0) {
		err_errno(&j->err, code, "the disk file %s can't be %s",
		    j->path, verb);
		job_end(j, code);
	} else if (status != 0) {
		err_set(&j->err, -EIO, "the disk file %s can't be %s: %s",
		    j->path, verb,
		    words.len ? buf_str(&words) : "qemu-img failed");
		job_end(j, -EIO);
	} else if (j->temporary && rename(j->temporary, j->path) < 0) {
		code = -errno;
		err_errno(&j->err, code, "the disk file %s can't be created",
		    j->path);
		job_end(j, code);
	} else {
		free(TAKE_PTR(j->temporary));
		job_end(j, 0);
	}
}

/* Takes argv. */
static int run_img(struct qemu_disk_job *j, char **argv, struct err *err)
{
	_cleanup_strv_ char **owned = argv;
	_cleanup_free_ char *line = strv_quote(owned);
	struct child_options o = {
	    .argv = owned,
	    .stdin_fd = -1,
	    .timeout = IMG_TIMEOUT,
	    .output = on_output,
	    .done = on_img_done,
	    .userdata = j,
	};

	j->log(line, j->userdata);
	return child_start(j->loop, &o, &j->child, err);
}

static int create(struct qemu_disk_job *j, struct err *err)
{
	_cleanup_buf_ struct buf b = {0};
	char size[24];

	buf_printf(&b, "%s.new", j->path);
	j->temporary = buf_take(&b);
	/* Tells at once, and by its errno, what is wrong with the folder. */
	_cleanup_close_ int fd = open(j->temporary,
	    O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_errno(
		    err, -errno, "the disk file %s can't be created", j->path);
	snprintf(size, sizeof(size), "%llu", (unsigned long long)j->size);
	if (j->format == FORMAT_QCOW2)
		return run_img(j,
		    strv_new("qemu-img", "create", "-q", "-f", "qcow2", "--",
			j->temporary, size, NULL),
		    err);
	if (ftruncate(fd, (off_t)j->size) < 0 ||
	    rename(j->temporary, j->path) < 0)
		return err_errno(
		    err, -errno, "the disk file %s can't be created", j->path);
	free(TAKE_PTR(j->temporary));
	job_end(j, 0);
	return 0;
}

static int grow(struct qemu_disk_job *j, struct err *err)
{
	char size[24];

	snprintf(size, sizeof(size), "%llu", (unsigned long long)j->size);
	if (j->format == FORMAT_QCOW2)
		return run_img(j,
		    strv_new("qemu-img", "resize", "-q", "-f", "qcow2", "--",
			j->path, size, NULL),
		    err);
	if (truncate(j->path, (off_t)j->size) < 0)
		return err_errno(
		    err, -errno, "the disk file %s can't be grown", j->path);
	job_end(j, 0);
	return 0;
}

int qemu_disk_ensure(struct loop *l, const struct machine_disk *d,
    void (*done)(
	int code, uint64_t size, const struct err *err, void *userdata),
    void (*log)(const char *text, void *userdata), void *userdata,
    struct qemu_disk_job **ret, struct err *err)
{
	struct qemu_disk_job *j = xcalloc(1, sizeof(*j));
	uint64_t there = 0;

	j->loop = l;
	j->path = xstrdup(d->path);
	j->format = d->format;
	j->size = (d->size + SECTOR - 1) / SECTOR * SECTOR;
	j->done = done;
	j->log = log;
	j->userdata = userdata;
	int r = loop_add_deferred(l, on_later, j, &j->later);
	if (r < 0) {
		err_errno(err, r, "disk");
	} else if ((r = qemu_disk_size(d->path, d->format, &there, err)) ==
		   -ENOENT) {
		r = create(j, err);
	} else if (r >= 0 && there < j->size) {
		r = grow(j, err);
	} else if (r >= 0) {
		j->size = there;
		job_end(j, 0);
	}
	if (r < 0) {
		qemu_disk_job_free(j);
		return r;
	}
	*ret = j;
	return 0;
}

void qemu_disk_job_free(struct qemu_disk_job *j)
{
	if (!j)
		return;
	child_free(j->child);
	loop_source_free(j->later);
	if (j->temporary)
		unlink(j->temporary);
	free(j->temporary);
	free(j->path);
	buf_done(&j->words);
	free(j);
}
