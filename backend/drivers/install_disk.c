/* SPDX-License-Identifier: Apache-2.0
 *
 * Installs a whole disk image of any operating system: while the machine is
 * off, the image becomes the host's file of its disk, under another name until
 * it is whole.  A mark in the state directory names the image and the very
 * file (inode and time of birth), so that a file that was wiped or made anew
 * counts as empty.  A file with other data in it is never replaced.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "drivers/install_disk.h"
#include "host/spawn.h"

#define MARK     "disk-installed"
#define MARK_MAX 512

/* --- the end of an operation ------------------------------------------- */

void whole_finish(struct install *in, int code)
{
	if (!op_end(&in->call, code))
		return;
	child_free(TAKE_PTR(in->child));
	if (code < 0 && in->temporary)
		unlink(in->temporary);
}

static void on_cancel(struct op *op)
{
	struct install *in = op->driver_data;

	if (op_say_cancelled(&in->call))
		whole_finish(in, -ECANCELED);
}

/* --- the mark ---------------------------------------------------------- */

int whole_mark_text(
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

char *whole_mark_path(const struct install *in)
{
	return xasprintf("%s/" MARK, in->env->state_dir);
}

int whole_read_mark(struct install *in, const char *path, struct err *err)
{
	_cleanup_free_ char *mark = whole_mark_path(in);
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
	r = whole_mark_text(look.installed, path, &should, err);
	if (r < 0)
		return r;
	if (!STREQ(buf_str(&is), buf_str(&should)))
		return 0;
	memcpy(look.copied, look.installed, sizeof(look.copied));
	in->look = look;
	return 0;
}

/* --- the driver's calls ------------------------------------------------ */

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
	if (in->call.op && in->temporary)
		unlink(in->temporary);
	op_slot_close(&in->call);
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
	r = op_slot_open(&in->call, env->loop);
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
	r = whole_read_mark(in, slice->disk_path, err);
	if (r < 0)
		return r;
	op_begin(&in->call, op, on_cancel, in);
	whole_finish(in, 0);
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
		r = whole_read_mark(in, slice->disk_path, err);
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
	op_begin(&in->call, op, on_cancel, in);
	if (in->look.installed[0])
		whole_write_seed(in);
	else
		whole_copy(in);
	return 0;
}

/* The rename was it. */
static int whole_seal(void *self, const struct install_slice *slice,
    struct op *op, struct err *err)
{
	struct install *in = self;
	int r = check_slice(slice, err);

	if (r == 0)
		r = whole_read_mark(in, slice->disk_path, err);
	if (r < 0)
		return r;
	assert(slice->image);
	if (!STREQ(in->look.installed, slice->image->digest))
		return err_set(err, -EIO, "this image is not on the disk %s",
		    slice->disk_path);
	op_begin(&in->call, op, on_cancel, in);
	whole_finish(in, 0);
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
