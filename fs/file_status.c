// SPDX-License-Identifier: Apache-2.0
/*
 * `status` of the cluster: a line for each node, for people.  It is read while
 * ten thousand nodes change, so each line takes little.
 */
#include "fs/files.h"
#include "fs/text.h"

static void address(struct text_table *t, const struct node_view *v)
{
	char ip[16];

	for (size_t i = 0; i < v->n_nics; i++) {
		if (!v->nics[i].has_address)
			continue;
		format_ip(v->nics[i].address, ip);
		text_cell(t, ip);
		return;
	}
	text_cell(t, "-");
}

/* When the word became what it is; a time of day, so that the text is the same
 * as long as nothing changes. */
static void since(struct text_table *t, const struct node_view *v)
{
	uint64_t real = text_real(v->since);
	char when[32];

	if (real) {
		format_time(real, when);
		when[19] = 'Z'; /* whole seconds */
		when[20] = '\0';
	}
	text_cell(t, real ? when : "-");
}

static void why(struct text_table *t, const struct node_view *v)
{
	if (v->failed_stage) {
		_cleanup_free_ char *s =
		    xasprintf("%s: %s", v->failed_stage, v->failed_sentence);

		text_cell(t, s);
	} else if (v->waiting_for && *v->waiting_for) {
		_cleanup_free_ char *s =
		    xasprintf("waits for %s", v->waiting_for);

		text_cell(t, s);
	} else {
		text_cell(t, v->reason ? v->reason : "");
	}
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
		since(&t, &v);
		why(&t, &v);
	}
	text_print(&t, ret);
}
