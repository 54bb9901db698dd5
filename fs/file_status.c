// SPDX-License-Identifier: Apache-2.0
/*
 * `status` of the cluster: a line for each node, for people, and one for all.
 * It is read while ten thousand nodes change, so each line takes little.
 */
#include "fs/files.h"
#include "fs/text.h"

#define NAMED_MAX 3 /* nodes that the last line names */

static void address(struct text_table *t, const struct node_view *v)
{
	const struct nic_view *nic = node_first_address(v);
	char ip[16] = "-";

	if (nic)
		format_ip(nic->address, ip);
	text_cell(t, ip);
}

/* When the word became what it is; a time of day, so that the text is the same
 * as long as nothing changes. */
static void since(
    struct text_table *t, const struct render *r, const struct node_view *v)
{
	char when[32];

	text_cell(t, text_day(text_real(r->clock, v->since), when));
}

static void why(struct text_table *t, const struct node_view *v)
{
	if (v->failed_stage) {
		_cleanup_free_ char *s =
		    xasprintf("%s: %s", v->failed_stage, v->failed_sentence);

		text_cell(t, s);
	} else if (v->waiting_for && *v->waiting_for &&
		   !STREQ(v->waiting_for, v->reason)) {
		_cleanup_free_ char *s =
		    xasprintf("waits for %s", v->waiting_for);

		text_cell(t, s);
	} else {
		text_cell(t, v->reason ? v->reason : "");
	}
}

/* --- the last line: all of them --- */

static void count(const struct check_view *v, void *counts)
{
	((size_t *)counts)[v->state]++;
}

static void unsettled(const struct render *r, struct buf *ret)
{
	struct object *o = NULL;
	size_t n = 0;

	while ((o = cluster_next(
		    r->cluster, OBJECT_NODE, o ? object_number(o) : 0))) {
		struct plan_view p;

		node_plan_view(o, &p);
		if (!p.step[0] && !p.waiting_for[0])
			continue;
		if (n < NAMED_MAX)
			buf_printf(ret, "%s%s",
			    n ? ", " : "; in work: ", object_name(o));
		n++;
	}
	if (n > NAMED_MAX)
		buf_printf(ret, " and %zu more", n - NAMED_MAX);
}

/* "cluster:" is the name of no node. */
static void summary(const struct render *r, struct buf *ret)
{
	size_t checks[CHECK_FAIL + 1] = {0};
	const char *between = " ";
	struct cluster_view v;

	cluster_view(r->cluster, &v);
	cluster_checks(r->cluster, count, checks);
	buf_printf(ret, "cluster: %s; nodes:", cluster_state_name(v.state));
	for (int s = 0; s < NODE_STATES; s++) {
		if (!v.counts[s])
			continue;
		buf_printf(ret, "%s%zu %s", between, v.counts[s],
		    node_state_name((enum node_state)s));
		between = ", ";
	}
	if (between[0] == ' ')
		buf_puts(ret, " none");
	between = "; checks: ";
	for (int s = CHECK_WAITING; s <= CHECK_FAIL; s++) {
		if (!checks[s])
			continue;
		buf_printf(ret, "%s%zu %s", between, checks[s],
		    check_state_name((enum check_state)s));
		between = ", ";
	}
	unsettled(r, ret);
	buf_putc(ret, '\n');
}

void render_status(const struct render *r, struct buf *ret)
{
	struct text_table t = {.columns = 6};
	struct object *o = NULL;
	struct node_view v;

	while ((o = cluster_next(
		    r->cluster, OBJECT_NODE, o ? object_number(o) : 0))) {
		node_view(o, &v);
		text_cell(&t, v.name);
		text_cell(&t, node_state_name(v.state));
		address(&t, &v);
		text_cellf(&t, "127.0.0.1:%u", v.ssh_port);
		since(&t, r, &v);
		why(&t, &v);
	}
	text_print(&t, ret);
	summary(r, ret);
}
