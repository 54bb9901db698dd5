/* SPDX-License-Identifier: Apache-2.0
 *
 * Checks of a fake machine: they pass, but fail while its spec lists the word
 * "check" in fake.fail and its number of times is not used up.
 */
#include <errno.h>
#include <stdio.h>

#include "drivers/fake.h"

struct probe {
	const struct driver_env *env;
	struct fake_task task;
	bool fails;
	struct probe_look look;
};

static int fake_open(const struct driver_env *env, void **ret, struct err *err)
{
	struct probe *p = xcalloc(1, sizeof(*p));

	p->env = env;
	*ret = p;
	return 0;
}

static void fake_close(void *self)
{
	struct probe *p = self;

	if (!p)
		return;
	fake_drop(&p->task);
	free(p);
}

static int run_end(void *self, struct err *err)
{
	struct probe *p = self;

	p->look.pass = !p->fails;
	snprintf(p->look.detail, sizeof(p->look.detail), "%s",
	    p->fails ? "it fails because fake.fail of the spec says so"
		     : "as fake nodes do");
	return 0;
}

static int fake_run(
    void *self, const struct probe_slice *slice, struct op *op, struct err *err)
{
	struct probe *p = self;
	struct err why = ERR_INIT;

	p->fails = fake_fails(p->env, slice->fake, FAILS_CHECK, &why) < 0;
	return fake_begin(&p->task, p->env->loop, fake_delay(slice->fake),
	    run_end, p, op, err);
}

static void fake_look(void *self, struct probe_look *ret)
{
	const struct probe *p = self;

	*ret = p->look;
}

const struct probe_driver probe_fake = {
    .name = "fake",
    .help = "checks of a fake machine",
    .available = fake_available,
    .open = fake_open,
    .close = fake_close,
    .run = fake_run,
    .look = fake_look,
};
