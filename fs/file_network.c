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

static void loss(struct text_table *t, const struct reach_view *v)
{
	unsigned lost = v->sent - MIN(v->sent, v->received);

	if (v->sent == 0)
		text_cell(t, "-");
	else
		text_cellf(t, "%u%%", lost * 100 / v->sent);
	if (v->received == 0 || v->rtt_ms < 0)
		text_cell(t, "-");
	else
		text_cellf(t, "%.3fms", v->rtt_ms);
}

void render_reach(const struct render *r, struct buf *ret)
{
	struct text_table t = {.columns = 5, .right = 1 << 2 | 1 << 3};
	static const char *const head[] = {
	    "FROM", "TO", "LOSS", "ROUND-TRIP", "MEASURED"};
	struct reach_view v;
	char when[32];

	for (size_t i = 0; i < ARRAY_SIZE(head); i++)
		text_cell(&t, head[i]);
	for (size_t i = 0; network_reach(r->object, i, &v); i++) {
		text_cell(&t, v.from);
		text_cell(&t, v.to);
		loss(&t, &v);
		if (v.measured)
			format_time(v.measured, when);
		text_cell(&t, v.measured ? when : "-");
	}
	text_print(&t, ret);
}
