// SPDX-License-Identifier: Apache-2.0
/*
 * Verbs: what users write to `state`.  None is an edge: each sets something
 * that is desired (a power state, a run to be left, a disk to go), on disk
 * before it is answered, so that one served twice finds nothing more to do.
 */
#include <errno.h>
#include "engine/engine.h"

unsigned cluster_verbs(enum object_kind kind)
{
	switch (kind) {
	case OBJECT_CLUSTER:
		return 1u << VERB_UP | 1u << VERB_DOWN | 1u << VERB_OFF |
		       1u << VERB_REBOOT;
	case OBJECT_NETWORK:
		return 1u << VERB_CHECK;
	case OBJECT_NODE:
		return 1u << VERB_UP | 1u << VERB_DOWN | 1u << VERB_OFF |
		       1u << VERB_REBOOT | 1u << VERB_RESET | 1u << VERB_WIPE;
	case OBJECT_IMAGE:
	case OBJECT_KINDS:
		break;
	}
	return 0;
}

struct request {
	struct cluster *c;
	struct target {
		struct node *node;
		uint64_t launch; /* the run that was on, or 0 */
	} * targets;
	size_t n;
	enum verb verb;
	cluster_reply_fn reply;
	void *userdata;
};

static enum power power_of(enum verb verb, enum power now)
{
	switch (verb) {
	case VERB_UP:
		return POWER_UP;
	case VERB_DOWN:
		return POWER_DOWN;
	case VERB_OFF:
		return POWER_OFF;
	case VERB_REBOOT:
	case VERB_RESET:
	case VERB_WIPE:
	case VERB_CHECK:
	case VERBS:
		break;
	}
	return now;
}

static bool running(const struct node *n)
{
	return n->machine_look.state == MACHINE_RUNNING;
}

static int check_wipe(struct node *n, struct err *err)
{
	if (running(n) || n->meta.power == POWER_UP || n->doing != STEP_NONE)
		return err_set(err, -EBUSY,
		    "wipe: %s is not down; echo down > nodes/%s/state first",
		    n->o.name, n->o.name);
	return 0;
}

static int check(struct node *n, enum verb verb, struct err *err)
{
	if (verb == VERB_WIPE)
		return check_wipe(n, err);
	if ((verb == VERB_REBOOT || verb == VERB_RESET) &&
	    n->meta.power != POWER_UP)
		return err_set(err, -EBUSY,
		    "%s: %s is not wanted up; echo up > nodes/%s/state starts "
		    "it",
		    verb_name(verb), n->o.name, n->o.name);
	return 0;
}

/* What may have failed for this node is tried again as well. */
static void forget_failures(struct node *n)
{
	struct image *img = node_image(n), *system = node_system(n);

	history_clear_failure(n);
	/* A disk that was in the way may have been mended. */
	node_look_again(n);
	if (img)
		image_forget_failure(img);
	if (system)
		image_forget_failure(system);
	for (size_t i = 0; i < n->n_nics; i++)
		network_forget_failure(n->nics[i].network);
}

/* The run that is on may end whatever is wanted now. */
static bool goes_down(const struct node *n)
{
	return running(n) &&
	       (n->asking == n->machine_look.launch || n->doing == STEP_KILL);
}

static void in_force(struct node *n, enum verb verb, uint64_t launch)
{
	enum power before = n->meta.power;

	n->meta.power = power_of(verb, before);
	switch (verb) {
	case VERB_REBOOT:
	case VERB_RESET:
		/* The run of when it was written: while that was stored,
		 * another may have begun. */
		if (!launch || launch < n->leave)
			break;
		n->leave = launch;
		n->leave_hard = verb == VERB_RESET;
		n->tried.asked = 0;
		history_save(n);
		break;
	case VERB_WIPE:
		n->meta.wipe = true;
		forget_failures(n);
		break;
	default:
		/* An end that lies before this verb is not acted on; nor again,
		 * when nobody has looked yet. */
		if (n->machine_look.state == MACHINE_NONE)
			n->handled = n->machine_look.launch;
		/* Wanted up again: a new run follows. */
		if (n->meta.power == POWER_UP && before != POWER_UP &&
		    goes_down(n)) {
			n->leave = n->machine_look.launch;
			n->leave_hard = n->doing == STEP_KILL;
		} else if (before != n->meta.power) {
			n->tried.asked = 0;
		}
		forget_failures(n);
		break;
	}
	event(&n->o, "verb", NULL, verb_name(verb), "state", NULL);
	touch(&n->o, ASPECT_OBSERVED | ASPECT_SETTLED);
	node_refresh(n);
	mark_dirty(&n->o);
}

static void stored(int code, const struct err *err, void *userdata)
{
	struct request *q = userdata;

	for (size_t i = 0; i < q->n; i++) {
		struct node *n = q->targets[i].node;

		n->pending--;
		if (code == 0 && !n->o.gone)
			in_force(n, q->verb, q->targets[i].launch);
		object_unref(&n->o);
	}
	q->reply(code, err, q->userdata);
	free(q->targets);
	free(q);
}

static void add_node(struct request *q, struct node *n)
{
	if (n->pending++ == 0) {
		n->pending_power = n->meta.power;
		n->pending_wipe = n->meta.wipe;
	}
	n->pending_power = power_of(q->verb, n->pending_power);
	if (q->verb == VERB_WIPE)
		n->pending_wipe = true;
	object_ref(&n->o);
	q->targets[q->n++] = (struct target){
	    .node = n, .launch = running(n) ? n->machine_look.launch : 0};
}

static void all_nodes(struct cluster *c, struct request *q)
{
	size_t count = cluster_count(c, OBJECT_NODE), n = 0;
	struct store_file *files = xcalloc(count + 1, sizeof(*files));

	q->targets = xcalloc(count + 1, sizeof(*q->targets));
	EACH_OBJECT (o, c, OBJECT_NODE) {
		struct buf text = {0};

		if (check(as_node(o), q->verb, NULL) < 0)
			continue;
		add_node(q, as_node(o));
		node_meta_text(as_node(o), &text);
		files[n].name = xasprintf("nodes/%s/node.json", o->name);
		files[n++].data = buf_take(&text);
	}
	store_put_many(c, files, n, stored, q);
	for (size_t i = 0; i < n; i++) {
		free((char *)files[i].name);
		free((char *)files[i].data);
	}
	free(files);
}

static void check_network(struct network *net)
{
	network_forget_failure(net);
	network_plugs_changed(net);
	network_reach_stale(net);
	event(&net->o, "verb", NULL, verb_name(VERB_CHECK), "state", NULL);
	mark_dirty(&net->o);
	nodes_mark_network(net);
}

void cluster_verb(
    struct object *o, enum verb verb, cluster_reply_fn reply, void *userdata)
{
	struct err err = ERR_INIT;
	struct request *q;
	int r = 0;

	if (!(cluster_verbs(o->kind) & 1u << verb))
		r = err_set(&err, -EINVAL, "%s is no verb of a %s",
		    verb_name(verb), object_kind_name(o->kind));
	else if (o->kind == OBJECT_NODE)
		r = check(as_node(o), verb, &err);
	if (r < 0 || o->kind == OBJECT_NETWORK) {
		if (r == 0)
			check_network(as_network(o));
		reply(r, &err, userdata);
		return;
	}
	q = xcalloc(1, sizeof(*q));
	q->c = o->c;
	q->verb = verb;
	q->reply = reply;
	q->userdata = userdata;
	if (o->kind == OBJECT_CLUSTER) {
		all_nodes(o->c, q);
		return;
	}
	q->targets = xcalloc(1, sizeof(*q->targets));
	add_node(q, as_node(o));
	node_meta_put(as_node(o), stored, q);
}
