// SPDX-License-Identifier: Apache-2.0
/*
 * `plan`: what would be done next for each node and why, what waits for a
 * word of the user, and nothing when there is nothing to do.  `drift`: what was
 * last seen to differ from the specs, and when.  Both name keys, never values.
 */
#include "fs/files.h"
#include "fs/text.h"

static void line(
    struct text_table *t, const char *node, const char *what, const char *why)
{
	text_cell(t, node);
	text_cell(t, what);
	text_cell(t, why);
}

/* "memory, cpus: why" */
static void keys(struct text_table *t, const char *node, const char *what,
    char *const *list, const char *why)
{
	_cleanup_buf_ struct buf b = {0};

	if (!list || !list[0])
		return;
	for (size_t i = 0; list[i]; i++)
		buf_printf(&b, "%s%s", i ? ", " : "", list[i]);
	buf_printf(&b, ": %s", why);
	line(t, node, what, buf_str(&b));
}

static void next_step(struct text_table *t, struct object *o)
{
	_cleanup_buf_ struct buf b = {0};
	struct plan_view p;

	node_plan_view(o, &p);
	if (!p.step[0] && !p.waiting_for[0])
		return;
	buf_puts(&b, p.why);
	if (p.waiting_for[0])
		buf_printf(
		    &b, "%swaits for %s", p.why[0] ? "; " : "", p.waiting_for);
	line(t, object_name(o), p.stage[0] ? p.stage : p.step, buf_str(&b));
}

/* What stands still until somebody says a word. */
static void left(struct text_table *t, struct object *o, bool repair)
{
	_cleanup_buf_ struct buf b = {0};
	struct drift_view d;
	struct node_view v;
	uint64_t seen;

	node_view(o, &v);
	if (v.failed_stage) {
		buf_printf(&b, "%s: %s; `up` tries again", v.failed_stage,
		    v.failed_sentence);
		line(t, v.name, "failed", buf_str(&b));
	}
	keys(t, v.name, "restart required", v.restart_required,
	    "taken at the next start; `reboot`");
	keys(t, v.name, "wipe required", v.wipe_required,
	    "the disk stays as it is; `down`, then `wipe`");
	for (size_t i = 0;
	     !repair && v.state == STATE_UP && node_drift(o, i, &d, &seen);
	     i++) {
		buf_clear(&b);
		buf_printf(&b, "%s: %s; on_drift is report, `up` puts it right",
		    d.key, d.detail);
		line(t, v.name, "drift", buf_str(&b));
	}
}

void render_plan(const struct render *r, struct buf *ret)
{
	struct text_table t = {.columns = 3};
	struct object *o = NULL;
	struct cluster_view c;

	cluster_view(r->cluster, &c);
	while ((o = cluster_next(
		    r->cluster, OBJECT_NODE, o ? object_number(o) : 0))) {
		next_step(&t, o);
		left(&t, o, c.repair);
	}
	text_print(&t, ret);
}

void render_drift(const struct render *r, struct buf *ret)
{
	struct text_table t = {.columns = 4};
	struct object *o = NULL;

	while ((o = cluster_next(
		    r->cluster, OBJECT_NODE, o ? object_number(o) : 0))) {
		struct drift_view d;
		uint64_t seen;
		char when[32];

		for (size_t i = 0; node_drift(o, i, &d, &seen); i++) {
			text_cell(&t, object_name(o));
			text_cell(&t, d.key);
			text_cell(&t, text_day(seen, when));
			text_cell(&t, d.detail);
		}
	}
	text_print(&t, ret);
}
