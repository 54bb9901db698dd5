/* SPDX-License-Identifier: Apache-2.0
 *
 * Installs nothing on a fake machine's disk: two digests in a file of the state
 * directory, which go when the disk is wiped.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "drivers/fake.h"

#define CONTENT_MAX 512
/* A fake node asks for no image, so it may have no digest. */
#define NO_IMAGE "fake"

struct install {
	const struct driver_env *env;
	struct fake_task task;
	char digest[65];
	struct install_look look;
};

static int fake_open(const struct driver_env *env, void **ret, struct err *err)
{
	struct install *in = xcalloc(1, sizeof(*in));

	in->env = env;
	*ret = in;
	return 0;
}

static void fake_close(void *self)
{
	struct install *in = self;

	if (!in)
		return;
	fake_drop(&in->task);
	free(in);
}

/* --- the file ------------------------------------------------------------ */

static int see(struct install *in, struct err *err)
{
	_cleanup_free_ char *path =
	    fake_path(in->env->state_dir, FAKE_INSTALLED);
	_cleanup_buf_ struct buf text = {0};
	struct install_look look = {0};
	char *line, *state = NULL;
	int r = file_read(AT_FDCWD, path, CONTENT_MAX, &text);

	if (r < 0 && r != -ENOENT)
		return err_errno(err, r, "%s can't be read", path);
	for (line = text.data ? strtok_r(text.data, "\n", &state) : NULL; line;
	     line = strtok_r(NULL, "\n", &state)) {
		(void)sscanf(line, "copied %64s", look.copied);
		(void)sscanf(line, "installed %64s", look.installed);
	}
	in->look = look;
	return 0;
}

static int store(struct install *in, struct err *err)
{
	_cleanup_free_ char *path =
	    fake_path(in->env->state_dir, FAKE_INSTALLED);
	_cleanup_buf_ struct buf text = {0};
	int r;

	if (in->look.copied[0])
		buf_printf(&text, "copied %s\n", in->look.copied);
	if (in->look.installed[0])
		buf_printf(&text, "installed %s\n", in->look.installed);
	r = file_replace(AT_FDCWD, path, buf_str(&text), text.len, 0600);
	return r < 0 ? err_errno(err, r, "%s can't be written", path) : 0;
}

/* --- the calls --------------------------------------------------------- */

static void take_slice(struct install *in, const struct install_slice *slice)
{
	bool has = slice->image && slice->image->digest[0];

	snprintf(in->digest, sizeof(in->digest), "%s",
	    has ? slice->image->digest : NO_IMAGE);
}

static int observe_end(void *self, struct err *err)
{
	return see(self, err);
}

static int fake_observe(void *self, const struct install_slice *slice,
    struct op *op, struct err *err)
{
	struct install *in = self;

	return fake_begin(
	    &in->task, in->env->loop, 0, observe_end, in, op, err);
}

static void fake_look(void *self, struct install_look *ret)
{
	const struct install *in = self;

	*ret = in->look;
}

static int ensure_end(void *self, struct err *err)
{
	struct install *in = self;
	int r = see(in, err);

	if (r < 0)
		return r;
	if (in->look.installed[0] && !STREQ(in->look.installed, in->digest))
		return err_set(err, -EEXIST,
		    "another image (%.12s) is installed there",
		    in->look.installed);
	r = fake_told(&in->task, err);
	if (r < 0)
		return r;
	snprintf(in->look.copied, sizeof(in->look.copied), "%s", in->digest);
	return store(in, err);
}

static int fake_ensure(void *self, const struct install_slice *slice,
    struct op *op, struct err *err)
{
	struct install *in = self;

	take_slice(in, slice);
	fake_decide(&in->task, in->env, slice->fake, STAGE_INSTALL);
	return fake_begin(&in->task, in->env->loop, fake_delay(slice->fake),
	    ensure_end, in, op, err);
}

static int seal_end(void *self, struct err *err)
{
	struct install *in = self;
	int r = see(in, err);

	if (r < 0)
		return r;
	if (!STREQ(in->look.copied, in->digest))
		return err_set(
		    err, -EIO, "the files of this image are not whole there");
	snprintf(
	    in->look.installed, sizeof(in->look.installed), "%s", in->digest);
	return store(in, err);
}

static int fake_seal(void *self, const struct install_slice *slice,
    struct op *op, struct err *err)
{
	struct install *in = self;

	take_slice(in, slice);
	return fake_begin(&in->task, in->env->loop, 0, seal_end, in, op, err);
}

const struct install_driver install_fake = {
    .name = "fake",
    .help = "an image on the disk of a fake machine",
    .available = fake_available,
    .open = fake_open,
    .close = fake_close,
    .observe = fake_observe,
    .look = fake_look,
    .ensure = fake_ensure,
    .seal = fake_seal,
};
