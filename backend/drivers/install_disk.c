/* SPDX-License-Identifier: Apache-2.0
 *
 * Installs a whole disk image of any operating system: while the machine is
 * off, the image becomes the host's file of its disk, under another name until
 * it is whole.  A mark in the state directory names the image and the very
 * file (inode and time of birth), so that a file that was wiped or made anew
 * counts as empty.  A file with other data in it is never replaced.
 *
 * looking into the file that is there -> copying -> growing -> syncing ->
 * renamed, and synced again -> the NoCloud disk.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "drivers/drivers.h"
#include "host/seed.h"
#include "host/child.h"
#include "host/spawn.h"

#define MARK         "disk-installed"
#define MARK_MAX     512
#define WORDS_MAX    1024
#define SECTOR       512ULL
#define LOOK_TIMEOUT (60 * USEC_PER_SEC)

struct install {
	const struct driver_env *env;
	struct op *op;
	struct loop_source *end;
	struct child *child;
	bool ending;
	int code;
	struct err err;
	struct install_look look;
	void (*after)(struct install *in); /* the child ended well */
	const char *doing;                 /* for sentences */
	struct buf words;                  /* of its stderr */
	struct buf line;                   /* of its stdout */
	struct stat began;                 /* the image's file */
	bool has_data; /* the file that is there is not empty */

	/* Copies of what the call was given. */
	struct image_look *image;
	char *path, *temporary, *folder;
	enum disk_format format;
	uint64_t size;
	char *seed, *user_data, *meta_data, *network_config;
};

/* --- the end of an operation ------------------------------------------- */

static void finish(struct install *in, int code)
{
	if (in->ending)
		return;
	in->ending = true;
	child_free(TAKE_PTR(in->child));
	if (code < 0 && in->temporary)
		unlink(in->temporary);
	in->code = code;
	loop_kick(in->end);
}

static void on_end(void *userdata)
{
	struct install *in = userdata;
	struct op *op = TAKE_PTR(in->op);

	in->ending = false;
	if (op)
		op_done(op, in->code, &in->err);
}

static void on_cancel(struct op *op)
{
	struct install *in = op->driver_data;

	if (in->ending)
		return;
	err_set(&in->err, -ECANCELED, "cancelled");
	finish(in, -ECANCELED);
}

static void begin(struct install *in, struct op *op)
{
	in->op = op;
	in->err = ERR_INIT;
	op->driver_data = in;
	op->cancel = on_cancel;
}

/* --- the mark --------------------------------------------------------------
 */

/* "<digest> <inode> <birth>": of this very file. */
static int mark_text(
    const char *digest, const char *path, struct buf *ret, struct err *err)
{
	struct statx x;

	if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_INO | STATX_BTIME,
		&x) < 0)
		return err_errno(err, -errno, "%s", path);
	buf_printf(ret, "%s %" PRIu64, digest, (uint64_t)x.stx_ino);
	if (x.stx_mask & STATX_BTIME)
		buf_printf(ret, " %lld.%09u", (long long)x.stx_btime.tv_sec,
		    x.stx_btime.tv_nsec);
	buf_putc(ret, '\n');
	return 0;
}

static char *mark_path(const struct install *in)
{
	return xasprintf("%s/" MARK, in->env->state_dir);
}

static int read_mark(struct install *in, const char *path, struct err *err)
{
	_cleanup_free_ char *mark = mark_path(in);
	_cleanup_buf_ struct buf is = {0}, should = {0};
	struct install_look look = {0};
	int r = file_read(AT_FDCWD, mark, MARK_MAX, &is);

	in->look = look;
	if (r == -ENOENT || access(path, F_OK) < 0)
		return 0;
	if (r < 0)
		return err_errno(err, r, "%s can't be read", mark);
	if (sscanf(buf_str(&is), "%64[0-9a-f]", look.installed) != 1)
		return 0;
	r = mark_text(look.installed, path, &should, err);
	if (r < 0)
		return r;
	if (!STREQ(buf_str(&is), buf_str(&should)))
		return 0;
	memcpy(look.copied, look.installed, sizeof(look.copied));
	in->look = look;
	return 0;
}

/* --- programs ------------------------------------------------------------- */

static void on_words(struct install *in, const char *data, size_t len)
{
	if (in->words.len < WORDS_MAX)
		buf_append(
		    &in->words, data, MIN(len, WORDS_MAX - in->words.len));
}

/* "    (12.34/100%)\r" */
static void on_progress(struct install *in)
{
	const char *at = strrchr(buf_str(&in->line), '(');
	double percent;
	uint64_t done;

	if (!at || sscanf(at, "(%lf/100%%)", &percent) != 1 || percent < 0 ||
	    percent > 100)
		return;
	done = (uint64_t)(percent / 100 * (double)in->image->size);
	op_progress(in->op, (int)MIN(percent, 99.0),
	    "copying: %" PRIu64 " of %" PRIu64 " MB", done / 1000000,
	    (in->image->size + 999999) / 1000000);
}

static void on_output(
    const char *data, size_t len, bool is_stderr, void *userdata)
{
	struct install *in = userdata;

	if (is_stderr) {
		on_words(in, data, len);
		return;
	}
	for (size_t i = 0; i < len; i++) {
		if (data[i] != '\r' && data[i] != '\n') {
			if (in->line.len < 512)
				buf_putc(&in->line, data[i]);
			continue;
		}
		/* Of `qemu-img map`. */
		if (strstr(buf_str(&in->line), "\"data\": true"))
			in->has_data = true;
		on_progress(in);
		buf_clear(&in->line);
	}
}

static void tell_failure(struct install *in, int code)
{
	_cleanup_buf_ struct buf shown = {0};
	size_t len = in->words.len;

	while (len && in->words.data[len - 1] == '\n')
		len--;
	buf_escaped(&shown, buf_str(&in->words), len);
	for (size_t i = 0; i < shown.len; i++)
		if (shown.data[i] == '\n')
			shown.data[i] = ' ';
	if (strstr(buf_str(&in->words), "No space left on device"))
		code = err_set(&in->err, -ENOSPC,
		    "this host has no room left for %s: %s", in->path,
		    buf_str(&shown));
	else
		err_set(&in->err, code, "%s for %s failed: %s", in->doing,
		    in->path, shown.len ? buf_str(&shown) : strerror(-code));
	finish(in, code);
}

static void on_done(int code, int status, void *userdata)
{
	struct install *in = userdata;

	child_free(TAKE_PTR(in->child));
	if (!in->op || in->ending)
		return;
	if (code || status)
		tell_failure(in, code ? code : -EIO);
	else
		in->after(in);
}

/* Takes argv. */
static void run(struct install *in, const char *doing, char **argv,
    uint64_t timeout, void (*after)(struct install *in))
{
	_cleanup_strv_ char **owned = argv;
	_cleanup_free_ char *line = strv_quote(owned);
	_cleanup_free_ char *text = xasprintf("$ %s\n", line);
	int r;

	if (in->ending)
		return;
	if (in->env->log)
		in->env->log(in->env->owner, text, strlen(text));
	in->doing = doing;
	in->after = after;
	buf_clear(&in->words);
	buf_clear(&in->line);
	r = child_start(in->env->loop,
	    &(struct child_options){
		.argv = owned,
		.stdin_fd = -1,
		.timeout = timeout,
		.output = on_output,
		.done = on_done,
		.userdata = in,
	    },
	    &in->child, &in->err);
	if (r < 0)
		finish(in, r);
}

/* --- steps ------------------------------------------------------------------
 */

static void write_seed(struct install *in)
{
	int r = 0;

	if (in->seed)
		r = seed_write(in->seed, in->user_data, in->meta_data,
		    in->network_config, &in->err);
	finish(in, r);
}

static void after_rename(struct install *in)
{
	if (read_mark(in, in->path, &in->err) < 0)
		finish(in, in->err.code);
	else
		write_seed(in);
}

/* The mark first: it names the file under whatever name, and without the file
 * it says nothing. */
static void put_in_place(struct install *in)
{
	_cleanup_free_ char *mark = mark_path(in);
	_cleanup_buf_ struct buf text = {0};
	int r = mark_text(in->image->digest, in->temporary, &text, &in->err);

	if (r < 0) {
		finish(in, r);
		return;
	}
	r = file_replace(AT_FDCWD, mark, text.data, text.len, 0600);
	if (r == 0 && rename(in->temporary, in->path) < 0)
		r = -errno;
	if (r < 0) {
		err_errno(&in->err, r, "%s can't be put in place", in->path);
		finish(in, r);
		return;
	}
	run(in, "syncing",
	    strv_new("sync", "--", mark, in->folder, in->env->state_dir, NULL),
	    0, after_rename);
}

static void sync_file(struct install *in)
{
	op_progress(in->op, 99, "copying: writing it out");
	run(in, "syncing", strv_new("sync", "--", in->temporary, NULL), 0,
	    put_in_place);
}

static void grow(struct install *in)
{
	char size[24];

	snprintf(size, sizeof(size), "%llu",
	    (in->size + SECTOR - 1) / SECTOR * SECTOR);
	if (in->image->size >= in->size) {
		sync_file(in);
		return;
	}
	run(in, "growing",
	    strv_new("qemu-img", "resize", "-q", "-f",
		disk_format_name(in->format), "--", in->temporary, size, NULL),
	    0, sync_file);
}

/* Blocks that both share: on btrfs and XFS, at once. */
static bool clone(struct install *in)
{
	_cleanup_close_ int from = -1, to = -1;

	if (in->image->format != FORMAT_RAW || in->format != FORMAT_RAW)
		return false;
	from = open(in->image->source, O_RDONLY | O_CLOEXEC);
	to = open(in->temporary,
	    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	return from >= 0 && to >= 0 && ioctl(to, FICLONE, from) == 0;
}

/* What was copied must be what was there when it began. */
static void check_source(struct install *in)
{
	const struct stat *a = &in->began;
	struct stat b;

	if (stat(in->image->source, &b) == 0 && a->st_ino == b.st_ino &&
	    a->st_size == b.st_size && a->st_mtim.tv_sec == b.st_mtim.tv_sec &&
	    a->st_mtim.tv_nsec == b.st_mtim.tv_nsec) {
		grow(in);
		return;
	}
	err_set(&in->err, -EAGAIN, "%s changed or vanished while it was copied",
	    in->image->source);
	finish(in, -EAGAIN);
}

/* Never what the image says is behind it: that could be any file here. */
static char *source_name(const struct install *in)
{
	_cleanup_buf_ struct buf b = {0};

	buf_printf(&b, "json:{\"driver\":\"%s\",",
	    disk_format_name(in->image->format));
	if (in->image->format == FORMAT_QCOW2)
		buf_puts(&b, "\"backing\":null,");
	buf_puts(&b, "\"file\":{\"driver\":\"file\",\"filename\":");
	buf_json_string(&b, in->image->source);
	buf_puts(&b, "}}");
	return buf_take(&b);
}

static void copy(struct install *in)
{
	_cleanup_free_ char *source = source_name(in);
	_cleanup_close_ int fd = -1;

	if (in->has_data) {
		err_set(&in->err, -EEXIST,
		    "the disk %s holds data that no install put there; "
		    "nothing was written; to throw it away, stop the node and "
		    "write \"wipe\" to its state",
		    in->path);
		finish(in, -EEXIST);
		return;
	}
	unlink(in->temporary);
	if (clone(in)) {
		grow(in);
		return;
	}
	fd = open(in->temporary,
	    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		int r = err_errno(
		    &in->err, -errno, "%s can't be made", in->temporary);
		finish(in, r);
		return;
	}
	op_progress(in->op, 0, "copying");
	run(in, "copying the image",
	    strv_new("qemu-img", "convert", "-p", "-O",
		disk_format_name(in->format), source, in->temporary, NULL),
	    0, check_source);
}

/* A file that is there may be blank: the machine made it, or may hold data. */
static void look_into(struct install *in)
{
	struct stat st;

	in->has_data = false;
	if (stat(in->path, &st) < 0) {
		copy(in);
		return;
	}
	op_progress(in->op, -1, "looking into the disk");
	run(in, "looking into the disk",
	    strv_new("qemu-img", "map", "--output=json", "-f",
		disk_format_name(in->format), "--", in->path, NULL),
	    LOOK_TIMEOUT, copy);
}

/* --- the driver's calls ------------------------------------------------------
 */

static void drop_slice(struct install *in)
{
	free(TAKE_PTR(in->image));
	free(TAKE_PTR(in->path));
	free(TAKE_PTR(in->temporary));
	free(TAKE_PTR(in->folder));
	free(TAKE_PTR(in->seed));
	free(TAKE_PTR(in->user_data));
	free(TAKE_PTR(in->meta_data));
	free(TAKE_PTR(in->network_config));
}

static void take_slice(struct install *in, const struct install_slice *s)
{
	const char *slash = strrchr(s->disk_path, '/');

	drop_slice(in);
	in->path = xstrdup(s->disk_path);
	in->temporary = xasprintf("%s.installing", s->disk_path);
	in->folder =
	    slash ? xstrndup(s->disk_path, (size_t)(slash - s->disk_path + 1))
		  : xstrdup(".");
	in->format = s->disk_format;
	in->size = s->disk_size;
	in->seed = xstrdup(s->seed_path);
	in->user_data = xstrdup(s->user_data);
	in->meta_data = xstrdup(s->meta_data);
	in->network_config = xstrdup(s->network_config);
	if (s->image) {
		in->image = xmalloc(sizeof(*in->image));
		*in->image = *s->image;
	}
}

static int whole_available(struct err *err)
{
	_cleanup_free_ char *path = NULL;

	if (spawn_find("qemu-img", &path, NULL) == 0)
		return 0;
	return err_set(err, -ENOENT,
	    "qemu-img is not installed; run: sudo apt-get install qemu-utils");
}

static void whole_close(void *self)
{
	struct install *in = self;

	if (!in)
		return;
	child_free(in->child);
	/* Of a copy that was under way. */
	if (in->op && in->temporary)
		unlink(in->temporary);
	loop_source_free(in->end);
	drop_slice(in);
	buf_done(&in->words);
	buf_done(&in->line);
	free(in);
}

static int whole_open(const struct driver_env *env, void **ret, struct err *err)
{
	struct install *in = xcalloc(1, sizeof(*in));
	int r;

	in->env = env;
	r = loop_add_deferred(env->loop, on_end, in, &in->end);
	if (r < 0) {
		whole_close(in);
		return err_errno(err, r, "%s", env->name);
	}
	*ret = in;
	return 0;
}

static void whole_look(void *self, struct install_look *ret)
{
	const struct install *in = self;

	*ret = in->look;
}

static int whole_observe(void *self, const struct install_slice *slice,
    struct op *op, struct err *err)
{
	struct install *in = self;
	int r;

	if (!slice->disk_path)
		return err_set(err, -EINVAL, "there is no disk to look at");
	r = read_mark(in, slice->disk_path, err);
	if (r < 0)
		return r;
	begin(in, op);
	finish(in, 0);
	return 0;
}

static int check_slice(const struct install_slice *s, struct err *err)
{
	char is[24], has[24];

	if (!s->disk_path)
		return err_set(err, -EINVAL, "there is no disk to install on");
	if (!s->image || !s->image->source[0] || !s->image->digest[0])
		return err_set(
		    err, -EINVAL, "the image to install isn't ready");
	if (s->image->size <= s->disk_size)
		return 0;
	format_size(s->image->size, is);
	format_size(s->disk_size, has);
	return err_set(err, -ENOSPC,
	    "the image is a disk of %s, and disk.size is %s: make it %s at "
	    "least",
	    is, has, is);
}

static int whole_ensure(void *self, const struct install_slice *slice,
    struct op *op, struct err *err)
{
	struct install *in = self;
	int r = check_slice(slice, err);

	if (r == 0)
		r = read_mark(in, slice->disk_path, err);
	if (r < 0)
		return r;
	assert(slice->image);
	if (in->look.installed[0] &&
	    !STREQ(in->look.installed, slice->image->digest))
		return err_set(err, -EEXIST,
		    "another image (%.12s) is installed there; nothing was "
		    "written; to throw it away, stop the node and write "
		    "\"wipe\" to its state",
		    in->look.installed);
	if (stat(slice->image->source, &in->began) < 0)
		return err_errno(err, -errno, "%s", slice->image->source);
	take_slice(in, slice);
	begin(in, op);
	if (in->look.installed[0])
		write_seed(in);
	else
		look_into(in);
	return 0;
}

/* The rename was it. */
static int whole_seal(void *self, const struct install_slice *slice,
    struct op *op, struct err *err)
{
	struct install *in = self;
	int r = check_slice(slice, err);

	if (r == 0)
		r = read_mark(in, slice->disk_path, err);
	if (r < 0)
		return r;
	assert(slice->image);
	if (!STREQ(in->look.installed, slice->image->digest))
		return err_set(err, -EIO, "this image is not on the disk %s",
		    slice->disk_path);
	begin(in, op);
	finish(in, 0);
	return 0;
}

const struct install_driver install_disk = {
    .name = "disk",
    .help = "a raw or qcow2 image, copied while the machine is off",
    .available = whole_available,
    .open = whole_open,
    .close = whole_close,
    .observe = whole_observe,
    .look = whole_look,
    .ensure = whole_ensure,
    .seal = whole_seal,
};
