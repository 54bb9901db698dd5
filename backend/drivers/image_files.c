/* SPDX-License-Identifier: Apache-2.0
 *
 * Somebody's own kernel and initrd: files of the host.  They are used as they
 * are; this driver looks that they are there and can be read.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "drivers/drivers.h"

struct image {
	struct driver_env env;
	struct image_look look;
	struct op_slot call;
};

static int check_file(
    const char *key, const char *path, struct stat *ret_st, struct err *err)
{
	_cleanup_close_ int fd = -1;

	if (!path)
		return err_set(err, -EINVAL,
		    "%s: not given; an image of one's own needs kernel and "
		    "initrd",
		    key);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT)
		return err_set(err, -ENOENT,
		    "%s: there is no file %s; put it there, or change %s in "
		    "the image's spec",
		    key, path, key);
	if (fd < 0 || fstat(fd, ret_st) < 0)
		return err_errno(
		    err, -errno, "%s: %s can't be read", key, path);
	if (!S_ISREG(ret_st->st_mode))
		return err_set(
		    err, -EINVAL, "%s: %s is not a plain file", key, path);
	if (ret_st->st_size == 0)
		return err_set(err, -EINVAL, "%s: %s is empty", key, path);
	return 0;
}

static int check_files(
    const struct image_slice *slice, struct image_look *ret, struct err *err)
{
	struct stat k, i;
	int r = check_file("kernel", slice->kernel, &k, err);

	if (r == 0)
		r = check_file("initrd", slice->initrd, &i, err);
	if (r < 0)
		return r;
	if (strlen(slice->kernel) >= sizeof(ret->kernel) ||
	    strlen(slice->initrd) >= sizeof(ret->initrd))
		return err_set(err, -ENAMETOOLONG,
		    "kernel, initrd: a path is longer than %zu bytes",
		    sizeof(ret->kernel) - 1);
	/* Tells versions apart without reading the files. */
	struct {
		uint64_t kernel[3], initrd[3];
	} id = {{k.st_ino, (uint64_t)k.st_size, (uint64_t)k.st_mtim.tv_sec},
	    {i.st_ino, (uint64_t)i.st_size, (uint64_t)i.st_mtim.tv_sec}};
	*ret = (struct image_look){.ready = true};
	snprintf(ret->kernel, sizeof(ret->kernel), "%s", slice->kernel);
	snprintf(ret->initrd, sizeof(ret->initrd), "%s", slice->initrd);
	snprintf(ret->version, sizeof(ret->version), "files-%016" PRIx64,
	    hash_bytes(&id, sizeof(id)));
	return 0;
}

static int files_available(struct err *err)
{
	return 0;
}

static int files_open(const struct driver_env *env, void **ret, struct err *err)
{
	struct image *i = xcalloc(1, sizeof(*i));
	int r;

	i->env = *env;
	r = op_slot_open(&i->call, env->loop);
	if (r < 0) {
		free(i);
		return err_errno(err, r, "can't wait for files");
	}
	*ret = i;
	return 0;
}

static void files_close(void *self)
{
	struct image *i = self;

	if (!i)
		return;
	op_slot_close(&i->call);
	free(i);
}

/* Missing files are no fault of the look: it saw that they are not there. */
static int files_observe(
    void *self, const struct image_slice *slice, struct op *op, struct err *err)
{
	struct image *i = self;
	struct image_look look = {0};

	check_files(slice, &look, NULL);
	i->look = look;
	op_begin(&i->call, op, NULL, i);
	op_end(&i->call, 0);
	return 0;
}

static void files_look(void *self, struct image_look *ret)
{
	struct image *i = self;

	*ret = i->look;
}

static int files_ensure(
    void *self, const struct image_slice *slice, struct op *op, struct err *err)
{
	struct image *i = self;
	struct image_look look = {0};

	op_begin(&i->call, op, NULL, i);
	op_end(&i->call, check_files(slice, &look, &i->call.err));
	i->look = look;
	return 0;
}

const struct image_driver image_files = {
    .name = "files",
    .help = "a kernel and an initrd of your own",
    .available = files_available,
    .open = files_open,
    .close = files_close,
    .observe = files_observe,
    .look = files_look,
    .ensure = files_ensure,
};
