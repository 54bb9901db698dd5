// SPDX-License-Identifier: Apache-2.0
/*
 * The answer of wait/: the word of `state`, once the object has settled.
 */
#include <errno.h>
#include "fs/files.h"

static bool failed(const struct render *r)
{
	struct cluster_view c;

	if (object_kind(r->object) == OBJECT_NODE)
		return node_state(r->object) == STATE_FAILED;
	cluster_view(r->cluster, &c);
	return c.state == CLUSTER_FAILED;
}

int wait_answer(const struct render *r, struct buf *ret)
{
	if (!object_settled(r->object))
		return -EAGAIN;
	if (failed(r))
		return -EIO;
	render_state(r, ret);
	return 0;
}
