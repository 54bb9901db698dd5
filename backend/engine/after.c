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

/* --- who comes after a node: found again when that may have changed --- */

static void follow(struct node *n, struct node *follower)
{
	size_t count = n->n_followers;

	if (count && n->followers[count - 1] == follower)
		return; /* it is named twice */
	if ((count & (count - 1)) == 0)
		n->followers = xrealloc(n->followers,
		    MAX(2 * count, (size_t)1) * sizeof(struct node *));
	n->followers[n->n_followers++] = follower;
}

static void learn(struct cluster *c)
{
	if (c->followers_known)
		return;
	EACH_OBJECT (o, c, OBJECT_NODE)
		as_node(o)->n_followers = 0;
	EACH_OBJECT (o, c, OBJECT_NODE) {
		struct node *n = as_node(o);

		for (size_t i = 0;
		     n->spec && n->spec->after && n->spec->after[i]; i++) {
			struct node *other = find_node(n, n->spec->after[i]);

			if (other && other != n)
				follow(other, n);
		}
	}
	c->followers_known = true;
}

void after_forget(struct cluster *c)
{
	c->followers_known = false;
}

/* --- a spec --- */

/* What nodes come after, while documents are on their way: that of `n` is
 * `spec`, those of others are in `specs` by number, unless that is NULL. */
struct order {
	struct node *n;
	const struct node_spec *spec;
	struct node_spec *const *specs;
	bool *seen; /* by number */
};

static bool reaches(const struct order *o, char *const *after);

/* Does what `at` comes after lead to o->n? */
static bool leads_back(const struct order *o, struct node *at)
{
	if (at == o->n)
		return true;
	if (o->seen[at->o.number])
		return false;
	o->seen[at->o.number] = true;
	if (o->specs)
		return reaches(o, o->specs[at->o.number]->after);
	return (at->spec && reaches(o, at->spec->after)) ||
	       (at->coming && reaches(o, at->coming->after));
}

static bool reaches(const struct order *o, char *const *after)
{
	for (; after && *after; after++) {
		struct node *next = find_node(o->n, *after);

		if (next && leads_back(o, next))
			return true;
	}
	return false;
}

static int check(const struct order *o, struct err *err)
{
	const struct node *n = o->n;

	for (char *const *name = o->spec->after; *name; name++) {
		struct node *other = find_node(n, *name);

		if (!other)
			return err_set(err, -ENOENT,
			    "after: there is no node %s; mkdir nodes/%s makes "
			    "it",
			    *name, *name);
		if (other == n)
			return err_set(err, -EINVAL,
			    "after: %s can't come after itself", n->o.name);
		if (leads_back(o, other))
			return err_set(err, -EINVAL,
			    "after: %s comes after %s already; each would wait "
			    "for the other",
			    other->o.name, n->o.name);
	}
	return 0;
}

int after_check(struct node *n, const struct node_spec *spec,
    struct node_spec *const *specs, struct err *err)
{
	struct order o = {n, spec, specs, NULL};
	int r;

	/* At the start the others are not all there yet. */
	if (n->o.c->loading || !spec->after)
		return 0;
	o.seen = xcalloc(NODES_MAX + 1, sizeof(*o.seen));
	r = check(&o, err);
	free(o.seen);
	return r;
}

/* --- a node --- */

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
			ret->before_pending = other->o.name;
	}
	if (!c->n_after || n->meta.power == POWER_UP ||
	    n->machine_look.state != MACHINE_RUNNING)
		return;
	learn(c);
	for (size_t i = 0; i < n->n_followers; i++) {
		const struct node *other = n->followers[i];

		if (other->meta.power != POWER_UP && !other->tried.failed &&
		    other->machine_look.state == MACHINE_RUNNING)
			ret->after_running = other->o.name;
	}
}

void after_changed(struct node *n)
{
	struct cluster *c = n->o.c;

	if (!c->n_after || c->loading)
		return;
	learn(c);
	for (size_t i = 0; i < n->n_followers; i++) {
		struct node *other = n->followers[i];

		if (other->tried.failed && other->tried.failed_after &&
		    !n->tried.failed)
			history_clear_failure(other);
		mark_dirty(&other->o);
	}
	for (size_t i = 0; n->spec->after && n->spec->after[i]; i++) {
		struct node *other = find_node(n, n->spec->after[i]);

		if (other)
			mark_dirty(&other->o);
	}
}

bool after_named(const struct node *n, const char **ret_by)
{
	if (!n->o.c->n_after)
		return false;
	learn(n->o.c);
	if (!n->n_followers)
		return false;
	*ret_by = n->followers[0]->o.name;
	return true;
}
