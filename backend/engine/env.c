// SPDX-License-Identifier: Apache-2.0
/*
 * What drivers of an object are opened with: its folders, and the calls back
 * into the engine.  Each of those only marks the object; reconcile.c does the
 * rest.
 */
#include "engine/engine.h"

static void on_changed(void *owner)
{
	mark_dirty(owner);
}

static void on_log(void *owner, const char *text, size_t len)
{
	object_log(owner, text, len);
}

int object_env_open(struct object *o, struct driver_env **ret, struct err *err)
{
	struct driver_env *e = xcalloc(1, sizeof(*e));
	int r;

	*e = (struct driver_env){
	    .loop = o->c->loop,
	    .name = o->name,
	    .number = o->number,
	    .state_dir = object_path(o, o->c->state_dir),
	    .runtime_dir = object_path(o, o->c->runtime_dir),
	    .changed = on_changed,
	    .log = on_log,
	    .owner = o,
	};
	r = mkdir_p(e->runtime_dir, 0700);
	if (r < 0) {
		err_errno(err, r, "can't make %s", e->runtime_dir);
		object_env_close(e);
		return r;
	}
	*ret = e;
	return 0;
}

void object_env_close(struct driver_env *e)
{
	if (!e)
		return;
	free((char *)e->state_dir);
	free((char *)e->runtime_dir);
	free(e);
}
