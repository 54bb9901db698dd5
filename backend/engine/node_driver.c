// SPDX-License-Identifier: Apache-2.0
/*
 * A node's drivers: their handles, opened when first needed, and what the
 * machine's calls back beside what all drivers do (env.c).
 */
#include "engine/engine.h"
#include "log.h"

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
	struct err err = ERR_INIT;
	int r;

	if (n->env || n->o.gone)
		return;
	r = object_env_open(&n->o, &n->env, &err);
	if (r == 0)
		r = n->driver->machine->open(
		    n->env, driver_identity, console_grew, &n->machine, &err);
	if (r == 0)
		r = n->driver->guest->open(n->env, &n->guest, &err);
	if (r == 0)
		r = n->driver->disk->open(n->env, &n->disk, &err);
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
	object_env_close(TAKE_PTR(n->env));
	if (!n->preparing)
		n->doing = STEP_NONE;
	n->machine_look = (struct machine_look){0};
	n->guest_right = UNKNOWN;
	node_setup_forget(n);
	free(TAKE_PTR(n->guest_look));
	free(TAKE_PTR(n->disk_look));
}
