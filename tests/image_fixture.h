/* SPDX-License-Identifier: Apache-2.0
 *
 * For tests of image drivers: a folder, and a driver asked once.
 */
#ifndef RACKFS_IMAGE_FIXTURE_H
#define RACKFS_IMAGE_FIXTURE_H

#include "test.h"

#include <errno.h>
#include <fcntl.h>

#include "drivers/drivers.h"

struct asked {
	struct op op;
	bool over;
	int code;
	struct err err;
};

static struct loop *loop;
static char dir[] = "/tmp/rackfs-test-image.XXXXXX";
static struct buf logged;

static void on_done(struct op *op, int code, const struct err *err)
{
	struct asked *a = CONTAINER_OF(op, struct asked, op);

	a->over = true;
	a->code = code;
	err_copy(&a->err, err);
}

static void on_log(void *owner, const char *text, size_t len)
{
	buf_append(&logged, text, len);
}

/* Asks a driver and waits; its answer or refusal. */
static int ask(const struct image_driver *d, bool ensure, bool cancel,
    const struct image_slice *s, struct image_look *ret, struct err *err)
{
	struct asked a = {.op = {.what = "ask", .done = on_done}};
	const struct driver_env env = {.loop = loop,
	    .name = "mine",
	    .number = 1,
	    .state_dir = dir,
	    .runtime_dir = dir,
	    .log = on_log};
	void *self = NULL;
	int r = d->open(&env, &self, err);

	CHECK_INT(r, 0);
	a.op.pending = true;
	r = (ensure ? d->ensure : d->observe)(self, s, &a.op, err);
	if (r == 0) {
		CHECK(!a.over);
		if (cancel)
			op_cancel(&a.op);
		while (!a.over && loop_turn(loop, 20 * USEC_PER_SEC) > 0)
			;
		CHECK(a.over);
		r = a.code;
		err_copy(err, &a.err);
	}
	d->look(self, ret);
	d->close(self);
	return r;
}

static inline char *file(const char *name, const char *text)
{
	char *path = xasprintf("%s/%s", dir, name);

	if (text)
		CHECK_INT(
		    file_replace(AT_FDCWD, path, text, strlen(text), 0644), 0);
	return path;
}

#endif
