// SPDX-License-Identifier: Apache-2.0
/*
 * A step failed that needs a machine which runs.  Perhaps its guest is on its
 * way out: processes are killed and disks let go before the machine's end is
 * seen.  So it is the node's failure only when the same step is still what is
 * asked for DOUBT later.  Called by reconcile.c and step_end.c.
 */
#include "engine/engine.h"

#define DOUBT (2 * USEC_PER_SEC)

void node_doubt(
    struct node *n, enum step step, enum stage stage, const char *sentence)
{
	node_doubt_drop(n);
	n->doubt.step = step;
	n->doubt.stage = stage;
	n->doubt.sentence = sentence ? xstrdup(sentence) : NULL;
	n->doubt.until = loop_now(n->o.c->loop) + DOUBT;
	object_logf(&n->o, "%s: failed, unless the guest is going down: %s",
	    step_name(step), sentence ? sentence : n->plan.why);
	touch(&n->o, ASPECT_OBSERVED);
}

void node_doubt_drop(struct node *n)
{
	free(n->doubt.sentence);
	n->doubt = (struct doubt){0};
}

bool node_in_doubt(struct node *n)
{
	_cleanup_free_ char *sentence = NULL;

	if (n->doubt.step == STEP_NONE)
		return false;
	if (n->plan.step != n->doubt.step) {
		node_doubt_drop(n);
		return false;
	}
	if (loop_now(n->o.c->loop) < n->doubt.until)
		return true;
	sentence = TAKE_PTR(n->doubt.sentence);
	if (sentence)
		node_fail(n, n->doubt.stage, sentence);
	else
		node_fail_by_plan(n);
	node_doubt_drop(n);
	mark_dirty(&n->o);
	return true;
}
