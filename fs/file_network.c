// SPDX-License-Identifier: Apache-2.0
/*
 * `ports` and `reach` of a network: what the switch and the nodes measured.
 */
#include <inttypes.h>
#include "fs/files.h"
#include "fs/text.h"

void render_ports(const struct render *r, struct buf *ret)
{
	struct text_table t = {.columns = 7, .right = 1 | 0x78};
	static const char *const head[] = {"PORT", "NODE", "MAC", "FRAMES-IN",
	    "BYTES-IN", "FRAMES-OUT", "BYTES-OUT"};
	struct network_view v;

	network_view(r->object, &v);
	for (size_t i = 0; i < ARRAY_SIZE(head); i++)
		text_cell(&t, head[i]);
	for (size_t i = 0; i < v.n_ports; i++) {
		const struct network_port *p = &v.ports[i];

		text_cellf(&t, "%u", p->port);
		text_cell(&t, p->node[0] ? p->node : "-");
		text_cell(&t, p->mac[0] ? p->mac : "-");
		text_cellf(&t, "%" PRIu64, p->frames_in);
		text_cellf(&t, "%" PRIu64, p->bytes_in);
		text_cellf(&t, "%" PRIu64, p->frames_out);
		text_cellf(&t, "%" PRIu64, p->bytes_out);
	}
	text_print(&t, ret);
}

static void pair(const struct reach_view *v, void *table)
{
	unsigned lost = v->sent - MIN(v->sent, v->received);
	struct text_table *t = table;
	char when[32];

	text_cell(t, v->from);
	text_cell(t, v->to);
	if (v->sent == 0)
		text_cell(t, "-");
	else
		text_cellf(t, "%u%%", lost * 100 / v->sent);
	if (v->received == 0 || v->rtt_ms < 0)
		text_cell(t, "-");
	else
		text_cellf(t, "%.3fms", v->rtt_ms);
	if (v->measured)
		format_time(v->measured, when);
	text_cell(t, v->measured ? when : "-");
}

void render_reach(const struct render *r, struct buf *ret)
{
	struct text_table t = {.columns = 5, .right = 1 << 2 | 1 << 3};
	static const char *const head[] = {
	    "FROM", "TO", "LOSS", "ROUND-TRIP", "MEASURED"};

	for (size_t i = 0; i < ARRAY_SIZE(head); i++)
		text_cell(&t, head[i]);
	network_each_reach(r->object, pair, &t);
	text_print(&t, ret);
}
