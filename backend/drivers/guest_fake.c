/* SPDX-License-Identifier: Apache-2.0
 *
 * The guest of a fake machine: logs in, is configured and powers off after
 * fake.delay, and reaches every peer.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include "drivers/fake.h"

struct guest {
	const struct driver_env *env;
	struct fake_task task;
	bool connected, right;
	uint64_t delay;
	struct guest_reach *reached;
	size_t n_reached;
};

static int fake_open(const struct driver_env *env, void **ret, struct err *err)
{
	struct guest *g = xcalloc(1, sizeof(*g));

	g->env = env;
	*ret = g;
	return 0;
}

static void fake_close(void *self)
{
	struct guest *g = self;

	if (!g)
		return;
	fake_drop(&g->task);
	free(g->reached);
	free(g);
}

static int connect_end(void *self, struct err *err)
{
	struct guest *g = self;
	int r = fake_told(&g->task, err);

	if (r == 0)
		g->connected = true;
	return r;
}

static int fake_connect(
    void *self, const struct guest_slice *slice, struct op *op, struct err *err)
{
	struct guest *g = self;

	if (g->connected)
		return err_set(err, -EBUSY, "the session is there already");
	g->delay = fake_delay(slice->fake);
	fake_decide(&g->task, g->env, slice->fake, STAGE_SSH);
	return fake_begin(
	    &g->task, g->env->loop, g->delay, connect_end, g, op, err);
}

static void fake_disconnect(void *self)
{
	struct guest *g = self;

	g->connected = g->right = false;
}

static void fake_look(void *self, struct guest_look *ret)
{
	struct guest *g = self;

	*ret = (struct guest_look){
	    .connected = g->connected,
	    .right = g->right,
	};
	if (g->connected)
		snprintf(ret->boot_id, sizeof(ret->boot_id), "fake");
}

static int need_session(const struct guest *g, struct err *err)
{
	return g->connected ? 0
			    : err_set(err, -EAGAIN, "no session to this guest");
}

static int configure_end(void *self, struct err *err)
{
	struct guest *g = self;
	int r = fake_told(&g->task, err);

	if (r == 0)
		r = need_session(g, err);
	g->right = r == 0;
	return r;
}

static int fake_configure(
    void *self, const struct guest_slice *slice, struct op *op, struct err *err)
{
	struct guest *g = self;
	int r = need_session(g, err);

	if (r < 0)
		return r;
	g->delay = fake_delay(slice->fake);
	fake_decide(&g->task, g->env, slice->fake,
	    STAGE_SSH); /* names are part of it */
	return fake_begin(&g->task, g->env->loop, 0, configure_end, g, op, err);
}

static int poweroff_end(void *self, struct err *err)
{
	struct guest *g = self;
	_cleanup_free_ char *path =
	    fake_path(g->env->runtime_dir, FAKE_POWEROFF);
	int r = need_session(g, err);

	if (r < 0)
		return r;
	r = file_replace(AT_FDCWD, path, "", 0, 0600);
	if (r < 0)
		return err_errno(err, r, "%s can't be written", path);
	g->connected = g->right = false;
	g->env->changed(g->env->owner);
	return 0;
}

static int fake_poweroff(void *self, struct op *op, struct err *err)
{
	struct guest *g = self;
	int r = need_session(g, err);

	return r < 0 ? r
		     : fake_begin(&g->task, g->env->loop, g->delay,
			   poweroff_end, g, op, err);
}

static int reach_end(void *self, struct err *err)
{
	return need_session(self, err);
}

static int fake_reach(void *self, const struct guest_peer *peers, size_t n,
    struct op *op, struct err *err)
{
	struct guest *g = self;
	int r = need_session(g, err);

	if (r < 0)
		return r;
	free(g->reached);
	g->reached = n ? xcalloc(n, sizeof(*g->reached)) : NULL;
	g->n_reached = n;
	for (size_t i = 0; i < n; i++) {
		struct guest_reach *to = &g->reached[i];
		snprintf(to->name, sizeof(to->name), "%s", peers[i].name);
		to->sent = to->received = 3;
		to->rtt_ms = 0.1;
	}
	return fake_begin(&g->task, g->env->loop, 0, reach_end, g, op, err);
}

static size_t fake_reached(void *self, const struct guest_reach **ret)
{
	struct guest *g = self;

	*ret = g->reached;
	return g->n_reached;
}

static struct ssh *fake_session(void *self)
{
	return NULL;
}

const struct guest_driver guest_fake = {
    .name = "fake",
    .help = "the guest of a fake machine",
    .available = fake_available,
    .open = fake_open,
    .close = fake_close,
    .connect = fake_connect,
    .disconnect = fake_disconnect,
    .look = fake_look,
    .configure = fake_configure,
    .poweroff = fake_poweroff,
    .reach = fake_reach,
    .reached = fake_reached,
    .session = fake_session,
};
