// SPDX-License-Identifier: Apache-2.0
/*
 * `progress` of a node: a line for each stage that its spec asks for.
 */
#include "fs/files.h"
#include "fs/text.h"

void render_progress(const struct render *r, struct buf *ret)
{
	/* Wide enough for every stage, so that lines stay in place. */
	struct text_table t = {.columns = 5,
	    .right = 1 << 2 | 1 << 3,
	    .width = {sizeof("partition") - 1, sizeof("running") - 1,
		sizeof("10.00s") - 1, sizeof("100%") - 1}};
	uint64_t now = now_mono();
	struct node_view v;

	node_view(r->object, &v);
	for (size_t i = 0; i < v.n_stages; i++) {
		const struct stage_view *s = &v.stages[i];
		uint64_t end = s->ended ? s->ended : now;

		text_cell(&t, stage_name(s->stage));
		text_cell(&t, stage_state_name(s->state));
		if (s->state == STAGE_WAITING || !s->started)
			text_cell(&t, "");
		else
			text_cellf(&t, "%.2fs",
			    (double)(end - MIN(end, s->started)) /
				USEC_PER_SEC);
		if (s->state == STAGE_RUNNING && s->percent >= 0)
			text_cellf(&t, "%d%%", s->percent);
		else
			text_cell(&t, "");
		text_cell(&t, s->detail ? s->detail : "");
	}
	text_print(&t, ret);
}
