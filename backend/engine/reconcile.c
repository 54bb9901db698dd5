// SPDX-License-Identifier: Apache-2.0
/*
 * The queue of objects about which something has changed.  Each pass over a
 * node: look, act on a run's end, plan, and begin at most one step.  Nothing
 * is remembered of how it came to be dirty.  Time limits of steps and
 * periodic looks are here as well.
 */
#include <errno.h>
#include <unistd.h>
#include "engine/engine.h"

#define BATCH 256 /* objects a round of the loop */

void mark_dirty(struct object *o)
{
	struct cluster *c = o->c;

	if (o->dirty || o->gone)
		return;
	o->dirty = true;
	object_ref(o);
	o->next_dirty = NULL;
	*c->dirty_last = o;
	c->dirty_last = &o->next_dirty;
	if (c->work)
		loop_kick(c->work);
}

bool node_active(const struct node *n)
{
	if (!n->driver || n->driver->virtual || n->o.gone)
		return false;
	if (n->machine_look.state == MACHINE_RUNNING || n->doing == STEP_START)
		return true;
	return n->meta.power == POWER_UP && !n->tried.failed;
}

/* Networks run while a node needs them; one that was seen for the first time
 * may have been the last that could. */
static void node_hold(struct node *n)
{
	struct network *had[NICS_MAX];
	size_t n_had = n->n_holds;

	memcpy(had, n->holds, sizeof(had));
	n->n_holds = 0;
	if (node_active(n)) {
		for (size_t i = 0; i < n->n_nics; i++) {
			n->holds[n->n_holds++] = n->nics[i].network;
			network_hold(n->nics[i].network, 1);
		}
	}
	for (size_t i = 0; i < n_had; i++)
		network_hold(had[i], -1);
}

static void on_timer(void *userdata)
{
	struct node *n = userdata;

	if (n->doing != STEP_NONE && n->op_deadline <= now_mono() &&
	    !n->timed_out && !n->preparing) {
		n->timed_out = true;
		op_cancel(&n->op);
	}
	mark_dirty(&n->o);
}

static void set_timer(struct node *n)
{
	uint64_t now = loop_now(n->o.c->loop), at = n->plan.wake_at;

	if (n->doing != STEP_NONE && !n->timed_out)
		at = MIN(at, n->op_deadline);
	if (n->hold_until > now)
		at = MIN(at, n->hold_until);
	if (n->doubt.step != STEP_NONE)
		at = MIN(at, n->doubt.until);
	if (at == USEC_NEVER && !n->timer)
		return;
	if (!n->timer)
		loop_add_timer(n->o.c->loop, at, on_timer, n, &n->timer);
	else
		loop_timer_set(n->timer, at);
}

static void cancel_step(struct node *n)
{
	if (n->cancelling)
		return;
	n->cancelling = true;
	if (!n->preparing && n->op.pending)
		op_cancel(&n->op);
}

/* A step that is under way goes on when it is still what is needed, or when
 * breaking it off would gain nothing. */
static bool step_goes_on(const struct node *n)
{
	if (n->doing == STEP_SETUP && (n->doing_part != n->plan.part ||
					  n->doing_offline != n->plan.offline))
		return false;
	if (n->doing == n->plan.step)
		return true;
	if (n->doing == STEP_START)
		return n->meta.power == POWER_UP;
	return n->doing == STEP_KILL || n->doing == STEP_WIPE ||
	       n->doing == STEP_APPLY || n->doing == STEP_OBSERVE ||
	       n->doing == STEP_POWEROFF;
}

static bool observe_cheaply(struct node *n)
{
	_cleanup_free_ char *run = NULL;

	/* A fake machine never ran when it has no folder. */
	if (!n->driver->virtual || n->env || n->plan.step != STEP_OBSERVE)
		return false;
	run = object_path(&n->o, n->o.c->runtime_dir);
	if (access(run, F_OK) == 0)
		return false;
	n->machine_look.state = MACHINE_NONE;
	return true;
}

/* Those of the next start that are not ready: all at once. */
static void node_want_images(struct node *n)
{
	struct image *boot = node_image(n), *system = node_system(n);
	bool needs =
	    !node_starts_disk(n) || node_install_way(n) != INSTALL_COLD;

	if (boot && needs && boot->state != IMAGE_READY)
		image_want(boot);
	if (system && !n->meta.installed && system->state != IMAGE_READY)
		image_want(system);
}

static void node_act(struct node *n)
{
	if (node_in_doubt(n) || (n->o.c->held && n->plan.step != STEP_OBSERVE))
		return;
	switch (n->plan.step) {
	case STEP_NONE:
	case STEPS:
		return;
	case STEP_FAIL:
		/* A guest that is going down may tell odd things of its disk.
		 */
		if (n->plan.fail == FAIL_FOREIGN)
			node_doubt(n, STEP_FAIL, n->plan.stage, NULL);
		else
			node_fail_by_plan(n);
		return;
	case STEP_IMAGE:
		node_want_images(n);
		return;
	case STEP_NETWORK:
		for (size_t i = 0; i < n->n_nics; i++)
			mark_dirty(&n->nics[i].network->o);
		return;
	default:
		break;
	}
	if (n->hold_until > loop_now(n->o.c->loop))
		return;
	if (observe_cheaply(n)) {
		mark_dirty(&n->o);
		return;
	}
	if (n->reach_op.pending) {
		node_reach_cancel(n); /* its end marks the node dirty */
		return;
	}
	n->op_deadline = loop_now(n->o.c->loop);
	n->op_deadline = step_time_limit(n->plan.step) == USEC_NEVER
			     ? USEC_NEVER
			     : n->op_deadline + step_time_limit(n->plan.step);
	step_run(n);
}

static void node_reconcile(struct node *n)
{
	node_look(n);
	node_handle_end(n);
	node_refresh(n);
	node_hold(n);
	if (n->doing != STEP_NONE) {
		if (!step_goes_on(n))
			cancel_step(n);
	} else {
		node_act(n);
	}
	set_timer(n);
	if (n->plan.settled && !n->driver->virtual) {
		for (size_t i = 0; i < n->n_nics; i++)
			network_reach_next(n->nics[i].network);
	}
}

static void work(void *userdata)
{
	struct cluster *c = userdata;

	for (int i = 0; i < BATCH && c->dirty_first; i++) {
		struct object *o = c->dirty_first;

		c->dirty_first = o->next_dirty;
		if (!c->dirty_first)
			c->dirty_last = &c->dirty_first;
		o->next_dirty = NULL;
		o->dirty = false;
		if (!o->gone && o->kind == OBJECT_NODE)
			node_reconcile(as_node(o));
		else if (!o->gone && o->kind == OBJECT_NETWORK)
			network_reconcile(as_network(o));
		else if (!o->gone && o->kind == OBJECT_IMAGE)
			image_reconcile(as_image(o));
		object_unref(o);
	}
	if (c->dirty_first)
		loop_kick(c->work);
	else
		touch(&c->o, ASPECT_SETTLED);
}

void nodes_mark_network(struct network *net)
{
	for (size_t i = 0; i < net->n_users; i++)
		mark_dirty(&net->users[i]->o);
}

/* --- periodic looks --- */

static void observe_all(void *userdata)
{
	struct cluster *c = userdata;

	EACH_OBJECT (o, c, OBJECT_NODE) {
		struct node *n = as_node(o);

		/* A look that is under way is not begun anew: it would never
		 * come to its end where it takes longer than this. */
		if (n->plan.state != STATE_UP || !n->plan.settled ||
		    n->periodic)
			continue;
		if (!n->driver->virtual) {
			/* It is looked at, and put right. */
			n->guest_right = NO;
			if (n->disk_look)
				n->disk_look->content = DISK_UNKNOWN;
		}
		node_look_soon(n);
	}
	loop_timer_set(
	    c->observe_timer, loop_now(c->loop) + c->spec->observe_every);
}

void reconcile_start(struct cluster *c)
{
	uint64_t every = c->spec->observe_every;
	uint64_t at = every ? loop_now(c->loop) + every : USEC_NEVER;

	if (c->observe_timer) {
		loop_timer_set(c->observe_timer, at);
		return;
	}
	loop_add_timer(c->loop, at, observe_all, c, &c->observe_timer);
	loop_add_deferred(c->loop, work, c, &c->work);
	tls_start(c);
	checks_start(c);
	for (int k = OBJECT_NETWORK; k < OBJECT_KINDS; k++) {
		EACH_OBJECT (o, c, k) {
			if (k == OBJECT_NODE)
				node_refresh(as_node(o));
			mark_dirty(o);
		}
	}
	loop_kick(c->work);
}

void cluster_go(struct cluster *c)
{
	if (!c->held)
		return;
	c->held = false;
	for (int k = OBJECT_NETWORK; k < OBJECT_KINDS; k++) {
		EACH_OBJECT (o, c, k) {
			if (k != OBJECT_NODE ||
			    as_node(o)->plan.step != STEP_NONE)
				mark_dirty(o);
		}
	}
}

void reconcile_stop(struct cluster *c)
{
	loop_source_free(TAKE_PTR(c->work));
	loop_source_free(TAKE_PTR(c->observe_timer));
	tls_stop(c);
	checks_stop(c);
	loop_source_free(TAKE_PTR(c->names_work));
	while (c->dirty_first) {
		struct object *o = c->dirty_first;

		c->dirty_first = o->next_dirty;
		o->dirty = false;
		object_unref(o);
	}
	c->dirty_last = &c->dirty_first;
}
