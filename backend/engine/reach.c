// SPDX-License-Identifier: Apache-2.0
/*
 * Who reaches whom: each node that is up pings the others of its network, one
 * command a node, once all nodes of the network are settled and something has
 * changed since the last time.  Up to REACH_FULL_MAX nodes every pair is
 * measured; of more, each measures the next few.
 */
#include <errno.h>
#include <stdio.h>
#include "engine/engine.h"

#define REACH_NEXT 4

void network_reach_stale(struct network *net)
{
	net->reach_generation++;
	net->reach_stale = true;
	if (!net->o.c->loading)
		mark_dirty(&net->o);
}

void node_reach_stale(struct node *n)
{
	if (n->driver && n->driver->virtual)
		return;
	for (size_t i = 0; i < n->n_nics; i++)
		network_reach_stale(n->nics[i].network);
}

/* A guest of ours that is up and has an address there; *ret: its NIC. */
static bool takes_part(
    const struct node *n, const struct network *net, size_t *ret)
{
	if (n->driver->virtual || n->plan.state != STATE_UP)
		return false;
	if (node_foreign_image(n))
		return false;
	for (size_t i = 0; i < n->n_nics; i++) {
		if (n->nics[i].network == net && n->nics[i].has_address) {
			*ret = i;
			return true;
		}
	}
	return false;
}

/* Takes the results of one node over those it had for this network. */
static void keep_results(struct node *n, struct network *net)
{
	const struct guest_reach *got = NULL;
	size_t n_got = n->driver->guest->reached(n->guest, &got), kept = 0;
	struct reach_entry *list =
	    xcalloc(n->n_reach + n_got + 1, sizeof(*list));

	for (size_t i = 0; i < n->n_reach; i++) {
		if (n->reach[i].network != net->o.number)
			list[kept++] = n->reach[i];
	}
	for (size_t i = 0; i < n_got; i++) {
		struct object *to =
		    cluster_find(n->o.c, OBJECT_NODE, got[i].name);

		if (!to)
			continue;
		list[kept++] = (struct reach_entry){
		    .network = net->o.number,
		    .to = to->number,
		    .sent = got[i].sent,
		    .received = got[i].received,
		    .rtt_ms = got[i].rtt_ms,
		    .measured = now_real(),
		};
	}
	free(n->reach);
	n->reach = list;
	n->n_reach = kept;
}

static void measured(struct op *op, int code, const struct err *err)
{
	struct node *n = op->owner;
	struct network *net = n->reach_network;

	(void)err;
	n->reach_network = NULL;
	net->measuring--;
	if (code == 0) {
		keep_results(n, net);
		touch(&net->o, ASPECT_REACH);
		n->reach_tries = 0;
	} else if (code == -ECANCELED ||
		   (code == -EAGAIN && ++n->reach_tries <= TRIES_MAX)) {
		/* Something came between; it is measured again. */
		for (size_t i = 0; i < n->n_nics; i++) {
			if (n->nics[i].network == net)
				n->reach_done[i] = 0;
		}
		net->reach_stale = true;
	}
	mark_dirty(&n->o);
	mark_dirty(&net->o);
	touch(&net->o.c->o, ASPECT_SETTLED);
	object_unref(&net->o);
}

static void measure(struct node *n, size_t nic, struct network *net,
    struct node **all, size_t count, size_t self)
{
	size_t most = count > REACH_FULL_MAX ? REACH_NEXT : count - 1;
	struct guest_peer *peers = xcalloc(most + 1, sizeof(*peers));
	struct err err = ERR_INIT;
	size_t n_peers = 0;

	for (size_t i = 1; i <= most; i++) {
		struct node *to = all[(self + i) % count];
		size_t k = 0;

		(void)takes_part(to, net, &k);
		peers[n_peers++] =
		    (struct guest_peer){to->o.name, to->nics[k].address};
	}
	n->reach_done[nic] = net->reach_generation;
	n->reach_op =
	    (struct op){.what = "reach", .done = measured, .owner = n};
	n->reach_network = net;
	object_ref(&net->o);
	net->measuring++;
	if (guest_reach(n->driver->guest, n->guest, peers, n_peers,
		&n->reach_op, &err) < 0) {
		net->measuring--;
		n->reach_network = NULL;
		object_unref(&net->o);
	}
	free(peers);
}

static int by_number(const void *a, const void *b)
{
	const struct node *x = *(struct node *const *)a;
	const struct node *y = *(struct node *const *)b;

	return (x->o.number > y->o.number) - (x->o.number < y->o.number);
}

void network_reach_next(struct network *net)
{
	struct node **all;
	size_t count = 0, pending = 0;

	if (!net->reach_stale)
		return;
	for (size_t i = 0; i < net->n_users; i++) {
		struct node *n = net->users[i];

		if (!n->driver->virtual && (!n->planned || !n->plan.settled))
			return; /* it will mark the network when it has */
	}
	all = xcalloc(net->n_users + 1, sizeof(struct node *));
	for (size_t i = 0; i < net->n_users; i++) {
		size_t k;

		if (takes_part(net->users[i], net, &k))
			all[count++] = net->users[i];
	}
	qsort(all, count, sizeof(*all), by_number);
	for (size_t i = 0; i < count; i++) {
		struct node *n = all[i];
		size_t k = 0;

		(void)takes_part(n, net, &k);
		if (n->reach_done[k] == net->reach_generation)
			continue;
		pending++;
		if (count > 1 && n->doing == STEP_NONE && !n->reach_op.pending)
			measure(n, k, net, all, count, i);
	}
	if ((pending == 0 || count < 2) && net->measuring == 0) {
		net->reach_stale = false;
		network_plugs_changed(net); /* they have counted the pings */
		touch(&net->o, ASPECT_REACH | ASPECT_SETTLED);
		touch(&net->o.c->o, ASPECT_SETTLED);
	}
	free(all);
}

void node_reach_cancel(struct node *n)
{
	if (n->reach_op.pending)
		op_cancel(&n->reach_op);
}

void network_each_reach(struct object *o,
    void (*fn)(const struct reach_view *v, void *userdata), void *userdata)
{
	struct network *net = as_network(o);

	if (net->n_users == 0)
		return;
	EACH_OBJECT (from, o->c, OBJECT_NODE) {
		struct node *n = as_node(from);
		size_t k;

		if (!n->n_reach || !takes_part(n, net, &k))
			continue;
		for (size_t j = 0; j < n->n_reach; j++) {
			const struct reach_entry *e = &n->reach[j];
			struct object *to =
			    cluster_by_number(o->c, OBJECT_NODE, e->to);
			struct reach_view v = {.from = from->name,
			    .sent = e->sent,
			    .received = e->received,
			    .rtt_ms = e->rtt_ms,
			    .measured = e->measured};

			if (e->network != o->number || !to ||
			    !takes_part(as_node(to), net, &k))
				continue;
			v.to = to->name;
			fn(&v, userdata);
		}
	}
}
