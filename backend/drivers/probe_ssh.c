/* SPDX-License-Identifier: Apache-2.0
 *
 * Checks of what a node serves: one try at a time, through the node's SSH
 * session or from this host (host/knock.h does it).  When, how often and what
 * a failure means is the engine's.
 */
#include <errno.h>
#include <stdio.h>

#include "drivers/drivers.h"
#include "host/knock.h"

#define GUEST_ITSELF "127.0.0.1"

struct probe {
	const struct driver_env *env;
	struct knock *knock; /* under way, or NULL */
	struct op *op;
	struct loop_source *end; /* of a cancelled one */
	struct probe_look look;
};

static int probe_available(struct err *err)
{
	return 0;
}

static void probe_close(void *self)
{
	struct probe *p = self;

	if (!p)
		return;
	knock_free(p->knock);
	loop_source_free(p->end);
	free(p);
}

static void on_cancelled(void *userdata)
{
	struct probe *p = userdata;
	struct op *op = TAKE_PTR(p->op);
	struct err err = ERR_INIT;

	if (op)
		op_done(op, err_set(&err, -ECANCELED, "cancelled"), &err);
}

static int probe_open(const struct driver_env *env, void **ret, struct err *err)
{
	struct probe *p = xcalloc(1, sizeof(*p));
	int r = loop_add_deferred(env->loop, on_cancelled, p, &p->end);

	if (r < 0) {
		probe_close(p);
		return err_errno(err, r, "%s", env->name);
	}
	p->env = env;
	*ret = p;
	return 0;
}

static void cancel(struct op *op)
{
	struct probe *p = op->driver_data;

	if (!p->knock)
		return;
	knock_free(TAKE_PTR(p->knock));
	loop_kick(p->end);
}

static void on_done(int code, bool pass, const char *detail, void *userdata)
{
	struct probe *p = userdata;
	struct op *op = TAKE_PTR(p->op);
	struct err err = ERR_INIT;

	if (code == 0) {
		p->look.pass = pass;
		snprintf(p->look.detail, sizeof(p->look.detail), "%s", detail);
	} else {
		err_set(&err, code, "%s", detail);
	}
	knock_free(TAKE_PTR(p->knock));
	op_done(op, code, &err);
}

static int probe_run_(
    void *self, const struct probe_slice *s, struct op *op, struct err *err)
{
	struct probe *p = self;
	const bool http = s->kind == CHECK_HTTP;
	const bool command = s->kind == CHECK_COMMAND;
	const bool unit = s->kind == CHECK_SYSTEMD;
	const struct knock_options o = {
	    .guest = s->guest,
	    .command = command ? s->command : NULL,
	    .unit = unit ? s->unit : NULL,
	    .address = s->address && *s->address ? s->address : GUEST_ITSELF,
	    .port = s->port,
	    .target = http ? s->target : NULL,
	    .host = s->host_header,
	    .folder = s->folder,
	    .timeout = s->timeout,
	    .done = on_done,
	    .userdata = p,
	};
	int r;

	if ((command && (!s->command || !s->command[0])) ||
	    (unit && !s->unit) || (http && !s->target))
		return err_set(err, -EINVAL, "a check without what to check");
	r = knock_start(p->env->loop, &o, &p->knock, err);
	if (r < 0)
		return r;
	p->op = op;
	op->driver_data = p;
	op->cancel = cancel;
	return 0;
}

static void probe_look_(void *self, struct probe_look *ret)
{
	const struct probe *p = self;

	*ret = p->look;
}

const struct probe_driver probe_ssh = {
    .name = "ssh",
    .help = "checks by TCP, HTTP, command or systemd, from here or a guest",
    .available = probe_available,
    .open = probe_open,
    .close = probe_close,
    .run = probe_run_,
    .look = probe_look_,
};
