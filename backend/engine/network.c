// SPDX-License-Identifier: Apache-2.0
/*
 * Networks: one runs while a node on it does, comes back when it was killed
 * (the nodes on it are plugged in again), and says what is plugged where and
 * who reaches whom.  The latter is measured from inside the nodes once all of
 * them are settled, after each change.
 */
#include <errno.h>
#include <stdio.h>
#include "engine/engine.h"
#include "log.h"

#define STARTS_MAX  8 /* in a row without staying up */
#define STAYED_UP   (30 * USEC_PER_SEC)
#define PORTS_FRESH USEC_PER_SEC
#define PORTS_SPARE 8

void network_open(struct network *net)
{
	struct err err = ERR_INIT;
	int r;

	if (net->handle || !net->driver)
		return;
	r = object_env_open(&net->o, &net->env, &err);
	if (r == 0)
		r = net->driver->open(net->env, &net->handle, &err);
	if (r < 0) {
		free(net->failed_sentence);
		net->failed_sentence = xstrdup(err_text(&err));
		network_close(net);
	}
}

void network_close(struct network *net)
{
	if (net->handle)
		net->driver->close(TAKE_PTR(net->handle));
	object_env_close(TAKE_PTR(net->env));
	net->doing = NET_IDLE;
	net->look = (struct network_look){0};
	net->endpoint[0] = '\0';
}

enum network_state network_word(const struct network *net)
{
	if (net->failed_sentence)
		return NET_FAILED;
	if (net->look.state == NETWORK_RUNNING && net->doing != NET_REMOVING &&
	    net->doing != NET_ENSURING)
		return NET_UP;
	return net->held || net->doing == NET_ENSURING ? NET_STARTING
						       : NET_DOWN;
}

void network_hold(struct network *net, int by)
{
	net->held = (unsigned)((int)net->held + by);
	if ((by > 0 && net->held == 1) || net->held == 0)
		mark_dirty(&net->o);
}

void network_forget_failure(struct network *net)
{
	net->starts = 0;
	net->retry_at = 0;
	if (!net->failed_sentence)
		return;
	free(TAKE_PTR(net->failed_sentence));
	touch(&net->o, ASPECT_STATE | ASPECT_ERROR | ASPECT_OBSERVED);
	mark_dirty(&net->o);
}

static void fail(struct network *net, const char *sentence)
{
	free(net->failed_sentence);
	net->failed_sentence = xstrdup(sentence);
	log_warn("network %s: failed: %s", net->o.name, sentence);
	object_logf(&net->o, "failed: %s", sentence);
	touch(&net->o, ASPECT_ERROR | ASPECT_STATE | ASPECT_OBSERVED);
	nodes_mark_network(net);
}

/* --- steps --- */

static unsigned ports_needed(const struct network *net)
{
	unsigned ports = 32;

	while (ports < net->held + PORTS_SPARE)
		ports *= 2;
	return ports;
}

/* Which node sits at a port: its machine's process is known. */
static void name_ports(struct network *net)
{
	for (size_t i = 0; i < net->n_ports; i++) {
		struct network_port *p = &net->ports[i];

		for (size_t j = 0; j < net->n_users && p->pid; j++) {
			struct node *n = net->users[j];

			if (n->machine_look.state != MACHINE_RUNNING ||
			    n->machine_look.pid != p->pid)
				continue;
			snprintf(p->node, sizeof(p->node), "%s", n->o.name);
			p->node_number = n->o.number;
			for (size_t k = 0; k < n->n_nics && !p->mac[0]; k++) {
				if (n->nics[k].network == net)
					format_mac(n->nics[k].mac, p->mac);
			}
			break;
		}
	}
}

static bool same_port(
    const struct network_port *a, const struct network_port *b)
{
	return a->port == b->port && a->node_number == b->node_number &&
	       STREQ(a->mac, b->mac) && a->frames_in == b->frames_in &&
	       a->bytes_in == b->bytes_in && a->frames_out == b->frames_out &&
	       a->bytes_out == b->bytes_out;
}

/* Without news nobody is woken: who reads at each change would never rest. */
static void take_ports(struct network *net)
{
	const struct network_port *ports = NULL;
	size_t n = net->driver->ports(net->handle, &ports), same = 0;
	_cleanup_free_ struct network_port *old = TAKE_PTR(net->ports);
	size_t n_old = net->n_ports;

	net->ports = xcalloc(n + 1, sizeof(*net->ports));
	if (n)
		memcpy(net->ports, ports, n * sizeof(*ports));
	net->n_ports = n;
	net->ports_seen = now_real();
	name_ports(net);
	while (same < MIN(n, n_old) && same_port(&old[same], &net->ports[same]))
		same++;
	if (same < MAX(n, n_old))
		touch(&net->o, ASPECT_PORTS);
}

static void plugs_seen(struct network *net)
{
	net->plugs_seen = net->plugs_asked;
	touch(&net->o, ASPECT_SETTLED);
	touch(&net->o.c->o, ASPECT_SETTLED);
}

static void op_ended(struct op *op, int code, const struct err *err)
{
	struct network *net = op->owner;
	int what = net->doing;

	net->doing = NET_IDLE;
	if (what == NET_PORTS && code == 0)
		take_ports(net);
	else if (what != NET_PORTS && code < 0 && code != -ECANCELED &&
		 code != -EAGAIN)
		fail(net, err_text(err));
	mark_dirty(&net->o);
	if (what == NET_PORTS) {
		plugs_seen(net);
		return;
	}
	nodes_mark_network(net);
	touch(&net->o, ASPECT_STATE | ASPECT_OBSERVED | ASPECT_SETTLED);
	touch(&net->o.c->o, ASPECT_SETTLED);
}

static void begin(struct network *net, int what)
{
	const struct network_driver *d = net->driver;
	struct network_slice slice = {
	    .ports = ports_needed(net),
	    .hub = net->spec->hub,
	    .mtu = net->spec->mtu,
	};
	struct err err = ERR_INIT;
	int r = 0;

	net->doing = what;
	net->op =
	    (struct op){.what = "network", .done = op_ended, .owner = net};
	switch (what) {
	case NET_OBSERVING:
		r = network_observe(d, net->handle, &net->op, &err);
		break;
	case NET_ENSURING:
		r = network_ensure(d, net->handle, &slice, &net->op, &err);
		break;
	case NET_REMOVING:
		r = network_remove(d, net->handle, &net->op, &err);
		break;
	case NET_PORTS:
		net->ports_wanted = false;
		net->plugs_asked = net->plugs;
		r = network_query_ports(d, net->handle, &net->op, &err);
		break;
	default:
		break;
	}
	if (r < 0) {
		net->doing = NET_IDLE;
		if (what == NET_PORTS)
			plugs_seen(net);
		else
			fail(net, err_text(&err));
	}
	if (what != NET_PORTS)
		touch(&net->o, ASPECT_STATE | ASPECT_OBSERVED);
}

static void on_timer(void *userdata)
{
	struct network *net = userdata;

	mark_dirty(&net->o);
}

static void wake_at(struct network *net, uint64_t at)
{
	if (!net->timer)
		loop_add_timer(net->o.c->loop, at, on_timer, net, &net->timer);
	else
		loop_timer_set(net->timer, at);
}

/* It is needed and not there: at once, later, or never again. */
static void start(struct network *net)
{
	uint64_t now = loop_now(net->o.c->loop);
	_cleanup_free_ char *text = NULL;

	if (now < net->retry_at) {
		wake_at(net, net->retry_at);
		return;
	}
	if (++net->starts > STARTS_MAX) {
		text = xasprintf("it ended %u times in a row: %s",
		    net->starts - 1, net->look.end_text);
		fail(net, text);
		return;
	}
	if (net->starts > 1)
		net->retry_at = now + (100 * USEC_PER_MSEC << net->starts);
	begin(net, NET_ENSURING);
}

static void take_look(struct network *net)
{
	enum network_presence was = net->look.state;
	uint64_t incarnation = net->look.incarnation;

	net->driver->look(net->handle, &net->look);
	snprintf(net->endpoint, sizeof(net->endpoint), "%s",
	    net->look.endpoint ? net->look.endpoint : "");
	net->look.endpoint = net->endpoint;
	if (was == net->look.state && incarnation == net->look.incarnation)
		return;
	if (net->look.state == NETWORK_RUNNING) {
		net->up_since = loop_now(net->o.c->loop);
		event(&net->o, "state", NULL, "up", NULL, NULL);
	} else if (was == NETWORK_RUNNING) {
		event(&net->o, "state", "up", "down", NULL, "%s",
		    net->look.end_text);
		free(TAKE_PTR(net->ports));
		net->n_ports = 0;
	}
	nodes_mark_network(net);
	network_reach_stale(net);
	touch(&net->o, ASPECT_STATE | ASPECT_PORTS | ASPECT_OBSERVED);
}

/* A machine that was not looked for yet may be plugged there. */
static bool may_be_used(const struct network *net)
{
	for (size_t i = 0; i < net->n_users; i++) {
		if (net->users[i]->machine_look.state == MACHINE_UNKNOWN &&
		    !net->users[i]->driver->virtual)
			return true;
	}
	return false;
}

void network_reconcile(struct network *net)
{
	uint64_t now = loop_now(net->o.c->loop);

	network_open(net);
	if (!net->handle)
		return;
	take_look(net);
	if (net->doing != NET_IDLE)
		return;
	if (net->up_since && now - net->up_since > STAYED_UP)
		net->starts = 0;
	if (net->look.state == NETWORK_UNKNOWN) {
		begin(net, NET_OBSERVING);
	} else if (net->o.c->held) {
		return;
	} else if (net->held && !net->failed_sentence &&
		   (net->look.state == NETWORK_NONE ||
		       net->look.ports < net->held)) {
		start(net);
	} else if (!net->held && net->look.state == NETWORK_RUNNING &&
		   !may_be_used(net)) {
		begin(net, NET_REMOVING);
	} else if (net->look.state == NETWORK_RUNNING &&
		   (net->ports_wanted || !network_plugs_known(net))) {
		begin(net, NET_PORTS);
	}
	network_reach_next(net);
}

void network_plugs_changed(struct network *net)
{
	net->plugs++;
	if (net->look.state == NETWORK_RUNNING)
		mark_dirty(&net->o);
}

bool network_plugs_known(const struct network *net)
{
	return net->plugs_seen == net->plugs;
}

void network_touch_ports(struct object *o)
{
	struct network *net = as_network(o);

	if (o->kind == OBJECT_CLUSTER) {
		EACH_OBJECT (each, o->c, OBJECT_NETWORK)
			network_touch_ports(each);
		return;
	}
	if (net->look.state != NETWORK_RUNNING ||
	    now_real() - net->ports_seen < PORTS_FRESH)
		return;
	net->ports_wanted = true;
	mark_dirty(o);
}
