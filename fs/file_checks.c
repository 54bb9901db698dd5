// SPDX-License-Identifier: Apache-2.0
/*
 * `checks`: a line for each check of the cluster's spec and for each service
 * of a node, with the time since which it gives the same.
 */
#include "fs/files.h"
#include "fs/text.h"

static void check(const struct check_view *v, void *table)
{
	struct text_table *t = table;
	char when[32];

	text_cell(t, v->name);
	text_cell(t, check_state_name(v->state));
	text_cell(t, text_day(v->since, when));
	text_cell(t, v->detail);
}

void render_checks(const struct render *r, struct buf *ret)
{
	struct text_table t = {.columns = 4};

	cluster_checks(r->cluster, check, &t);
	text_print(&t, ret);
}
