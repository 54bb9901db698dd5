// SPDX-License-Identifier: Apache-2.0
/*
 * `error` of every kind of object: at most two lines, what failed and what was
 * refused.
 */
#include "fs/files.h"
#include "fs/text.h"

static void one(
    struct buf *ret, const char *what, const char *stage, const char *sentence)
{
	if (!sentence)
		return;
	buf_printf(ret, "%s: ", what);
	if (stage)
		buf_printf(ret, "%s: ", stage);
	text_line(ret, sentence);
	buf_putc(ret, '\n');
}

void render_error(const struct render *r, struct buf *ret)
{
	const char *stage = NULL, *failed = NULL, *refused = NULL;
	struct cluster_view c;
	struct network_view net;
	struct image_view image;
	struct node_view node;

	switch (object_kind(r->object)) {
	case OBJECT_CLUSTER:
		cluster_view(r->cluster, &c);
		failed = c.failed_sentence;
		refused = c.refused;
		break;
	case OBJECT_NETWORK:
		network_view(r->object, &net);
		failed = net.failed_sentence;
		refused = net.refused;
		break;
	case OBJECT_IMAGE:
		image_view(r->object, &image);
		failed = image.failed_sentence;
		refused = image.refused;
		break;
	case OBJECT_NODE:
		node_view(r->object, &node);
		stage = node.failed_stage;
		failed = node.failed_sentence;
		refused = node.refused;
		break;
	case OBJECT_KINDS:
		break;
	}
	one(ret, "failed", stage, failed);
	one(ret, "refused", NULL, refused);
}
