// SPDX-License-Identifier: Apache-2.0
/*
 * A node's drivers: their handles, opened when first needed, and what they call
 * back.  Each call back only marks the node dirty; reconcile.c does the rest.
 */
#include "engine/engine.h"
#include "log.h"

static void driver_changed(void *owner)
{
	mark_dirty(owner);
}

static void driver_log(void *owner, const char *text, size_t len)
{
	object_log(owner, text, len);
}

static int driver_identity(void *owner, struct buf *ret, struct err *err)
{
	return names_identity(owner, ret, err);
}

static void console_grew(void *owner)
{
	struct node *n = owner;

	touch(&n->o, ASPECT_CONSOLE);
	/* The end of the boot shows there, and that the guest is not silent. */
	if (n->plan.stage == STAGE_BOOT)
		mark_dirty(&n->o);
}

void node_open(struct node *n)
{
	struct cluster *c = n->o.c;
	struct node_env *e;
	struct err err = ERR_INIT;
	int r;

	if (n->env || n->o.gone)
		return;
	e = xcalloc(1, sizeof(*e));
	e->state_dir = object_path(&n->o, c->state_dir);
	e->runtime_dir = object_path(&n->o, c->runtime_dir);
	e->env = (struct driver_env){
	    .loop = c->loop,
	    .name = n->o.name,
	    .number = n->o.number,
	    .state_dir = e->state_dir,
	    .runtime_dir = e->runtime_dir,
	    .changed = driver_changed,
	    .log = driver_log,
	    .owner = n,
	};
	n->env = e;
	r = mkdir_p(e->runtime_dir, 0700);
	if (r < 0)
		err_errno(&err, r, "can't make %s", e->runtime_dir);
	if (r == 0)
		r = n->driver->machine->open(
		    &e->env, driver_identity, console_grew, &n->machine, &err);
	if (r == 0)
		r = n->driver->guest->open(&e->env, &n->guest, &err);
	if (r == 0)
		r = n->driver->disk->open(&e->env, &n->disk, &err);
	if (r < 0) {
		log_error("%s: %s", n->o.name, err_text(&err));
		node_close(n);
	}
}

void node_close(struct node *n)
{
	if (!n->env)
		return;
	if (n->setup)
		n->driver->setup->close(TAKE_PTR(n->setup));
	if (n->install)
		n->install_driver->close(TAKE_PTR(n->install));
	if (n->disk)
		n->driver->disk->close(TAKE_PTR(n->disk));
	if (n->guest)
		n->driver->guest->close(TAKE_PTR(n->guest));
	if (n->machine)
		n->driver->machine->close(TAKE_PTR(n->machine));
	free(n->env->state_dir);
	free(n->env->runtime_dir);
	free(TAKE_PTR(n->env));
	if (!n->preparing)
		n->doing = STEP_NONE;
	n->machine_look = (struct machine_look){0};
	n->guest_right = UNKNOWN;
	node_setup_forget(n);
	free(TAKE_PTR(n->guest_look));
	free(TAKE_PTR(n->disk_look));
}
