// SPDX-License-Identifier: Apache-2.0
/*
 * Order between nodes: a node starts once those that its `after` names and
 * that are wanted up are up, and goes down once those that name it are down.
 * An order, no requirement: a node that nobody wants up is not waited for.
 */
#include <errno.h>
#include "engine/engine.h"

static struct node *find_node(const struct node *n, const char *name)
{
	struct object *o = cluster_find(n->o.c, OBJECT_NODE, name);

	return o ? as_node(o) : NULL;
}

static bool names(const struct node *n, const struct node *other)
{
	for (size_t i = 0; n->spec && n->spec->after && n->spec->after[i]; i++)
		if (STREQ(n->spec->after[i], other->o.name))
			return true;
	return false;
}

/* Walks what comes before `at` until `n` is met; seen is by number. */
static bool reaches(struct node *at, const struct node *n, bool *seen)
{
	if (at == n)
		return true;
	if (seen[at->o.number])
		return false;
	seen[at->o.number] = true;
	for (size_t i = 0; at->spec && at->spec->after && at->spec->after[i];
	     i++) {
		struct node *next = find_node(at, at->spec->after[i]);

		if (next && reaches(next, n, seen))
			return true;
	}
	return false;
}

int after_check(struct node *n, const struct node_spec *spec, struct err *err)
{
	_cleanup_free_ bool *seen = NULL;

	/* At the start the others are not all there yet. */
	if (n->o.c->loading || !spec->after)
		return 0;
	seen = xcalloc(NODES_MAX + 1, sizeof(*seen));
	for (size_t i = 0; spec->after[i]; i++) {
		struct node *other = find_node(n, spec->after[i]);

		if (!other)
			return err_set(err, -ENOENT,
			    "after: there is no node %s; mkdir nodes/%s makes "
			    "it",
			    spec->after[i], spec->after[i]);
		if (other == n)
			return err_set(err, -EINVAL,
			    "after: %s can't come after itself", n->o.name);
		if (reaches(other, n, seen))
			return err_set(err, -EINVAL,
			    "after: %s comes after %s already; each would wait "
			    "for the other",
			    other->o.name, n->o.name);
	}
	return 0;
}

static bool is_up(const struct node *n)
{
	return n->plan.state == STATE_UP;
}

struct node *after_failed(struct node *n)
{
	for (size_t i = 0; n->spec->after && n->spec->after[i]; i++) {
		struct node *other = find_node(n, n->spec->after[i]);

		if (other && other->meta.power == POWER_UP &&
		    other->tried.failed)
			return other;
	}
	return NULL;
}

void after_observe(struct node *n, struct plan_observed *ret)
{
	struct cluster *c = n->o.c;

	ret->before_failed = after_failed(n) != NULL;
	for (size_t i = 0; n->spec->after && n->spec->after[i]; i++) {
		struct node *other = find_node(n, n->spec->after[i]);

		if (other && other->meta.power == POWER_UP && !is_up(other))
			ret->before_pending = true;
	}
	if (!c->n_after || n->meta.power == POWER_UP ||
	    n->machine_look.state != MACHINE_RUNNING)
		return;
	EACH_OBJECT (o, c, OBJECT_NODE) {
		const struct node *other = as_node(o);

		if (other != n && names(other, n) &&
		    other->meta.power != POWER_UP && !other->tried.failed &&
		    other->machine_look.state == MACHINE_RUNNING)
			ret->after_running = true;
	}
}

void after_changed(struct node *n)
{
	struct cluster *c = n->o.c;

	if (!c->n_after || c->loading)
		return;
	EACH_OBJECT (o, c, OBJECT_NODE) {
		struct node *other = as_node(o);

		if (other == n || !other->spec)
			continue;
		if (names(other, n) && other->tried.failed &&
		    other->tried.failed_after && !n->tried.failed)
			history_clear_failure(other);
		if (names(other, n) || names(n, other))
			mark_dirty(o);
	}
}

bool after_named(const struct node *n, const char **ret_by)
{
	if (!n->o.c->n_after)
		return false;
	EACH_OBJECT (o, n->o.c, OBJECT_NODE) {
		if (as_node(o) == n || !names(as_node(o), n))
			continue;
		*ret_by = o->name;
		return true;
	}
	return false;
}
