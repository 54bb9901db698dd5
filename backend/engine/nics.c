// SPDX-License-Identifier: Apache-2.0
/*
 * NICs and forwards of a machine that runs: a NIC that the spec got since its
 * start comes while it runs, one that was put on another network is plugged in
 * there, and forwards come and go.  One that left the spec is unplugged; its
 * device stays until the next start.  The run's document (node->started)
 * follows what was seen to have come.
 */
#include "engine/engine.h"

uint64_t network_plug(const struct network *net)
{
	/* Networks count their launches each for itself. */
	return net->look.incarnation * (NETWORKS_MAX + 1) + net->o.number;
}

/* Numbers of NICs, and with them places and MACs, are those of the document:
 * the next start would give these the same. */
static bool come_last(const struct node_spec *then, const struct node_spec *now)
{
	if (now->n_nics < then->n_nics)
		return false;
	for (size_t i = 0; i < then->n_nics; i++)
		if (!STREQ(then->nics[i].name, now->nics[i].name))
			return false;
	return true;
}

size_t nics_coming(const struct node *n)
{
	const struct machine_look *l = &n->machine_look;

	if (n->driver->virtual || l->state != MACHINE_RUNNING || !n->started ||
	    n->no_plug == l->launch || l->n_nics < n->started->n_nics ||
	    !come_last(n->started, n->spec))
		return 0;
	return n->spec->n_nics - n->started->n_nics;
}

/* Makes `then` the document that has the first `count` NICs of `now`. */
static bool with_nics(const struct node *n, const char *then, const char *now,
    size_t count, struct buf *ret)
{
	_cleanup_buf_ struct buf all = {0}, patch = {0};

	if (spec_section_get(now, "nics", &all, NULL) < 0)
		return false;
	buf_puts(&patch, "{\"nics\":{");
	for (size_t i = n->started->n_nics; i < count; i++) {
		const char *name = n->spec->nics[i].name;
		_cleanup_buf_ struct buf one = {0};

		if (spec_section_get(buf_str(&all), name, &one, NULL) < 0)
			return false;
		buf_printf(&patch, "%s\"%s\":%s",
		    i > n->started->n_nics ? "," : "", name, buf_str(&one));
	}
	buf_puts(&patch, "}}");
	return spec_merge(then, buf_str(&patch), ret, NULL) == 0;
}

void nics_then(struct node *n, const char *now, struct buf *then)
{
	struct buf with = {0};

	if (nics_coming(n) == 0 ||
	    !with_nics(n, buf_str(then), now, n->spec->n_nics, &with)) {
		buf_done(&with);
		return;
	}
	buf_done(then);
	*then = with;
}

void nics_came(struct node *n)
{
	_cleanup_buf_ struct buf now = {0}, then = {0};
	size_t count = 0;

	if (nics_coming(n))
		count = MIN(n->machine_look.n_nics, n->spec->n_nics);
	if (count == 0 || count == n->started->n_nics ||
	    spec_effective(
		SPEC_NODE, n->o.c->defaults, n->o.spec_text, &now, NULL) < 0 ||
	    !with_nics(n, n->started_spec, buf_str(&now), count, &then))
		return;
	free(n->started_spec);
	n->started_spec = buf_take(&then);
	node_spec_free(TAKE_PTR(n->started));
	(void)node_spec_parse(NULL, n->started_spec, &n->started, NULL);
	/* It has no address yet. */
	if (n->guest_right == YES)
		n->guest_right = NO;
	node_compare_specs(n);
	history_save(n);
}

/* --- forwards ------------------------------------------------------------ */

static bool leads(const struct machine_look *l, uint16_t host, uint16_t guest)
{
	for (size_t i = 0; i < l->n_forwards; i++)
		if (l->forwards[i].host == host &&
		    l->forwards[i].guest == guest)
			return true;
	return false;
}

bool forwards_fit(const struct node *n)
{
	const struct machine_look *l = &n->machine_look;
	const struct node_spec *s = n->spec;

	if (!l->forwards_known)
		return true;
	for (size_t i = 0; i < s->n_forwards; i++)
		if (!leads(l, s->forwards[i].host, s->forwards[i].guest))
			return false;
	return leads(l, n->ssh_port, SSH_GUEST_PORT) &&
	       l->n_forwards == s->n_forwards + 1;
}
