// SPDX-License-Identifier: Apache-2.0
/*
 * The stages of a node as users see them in `progress`: they follow the plan,
 * and are remembered with their times while the node is wanted up.
 */
#include "engine/engine.h"

static bool stage_wanted(const struct plan_desired *d, enum stage s)
{
	switch (s) {
	case STAGE_IMAGE:
		return d->image;
	case STAGE_NETWORK:
		return d->network;
	case STAGE_BOOT:
		return d->identity || d->disk_marks;
	case STAGE_MACHINE:
	case STAGE_SSH:
		return true;
	case STAGE_PARTITION:
		return d->disk;
	case STAGE_INSTALL:
		return d->install != INSTALL_NONE;
	case STAGE_CONFIGURE:
		return d->setup[SETUP_FILES] || d->offline[SETUP_FILES];
	case STAGE_RUN:
		return d->setup[SETUP_RUN];
	case STAGE_SERVICES:
		return d->services;
	case STAGES:
		break;
	}
	return false;
}

unsigned node_stages(const struct node *n)
{
	struct plan_desired d = node_desired(n);
	unsigned bits = 0;

	for (unsigned s = 0; s < STAGES; s++) {
		if (stage_wanted(&d, s))
			bits |= 1u << s;
	}
	return bits;
}

void node_stage_set(struct node *n, enum stage s, enum stage_state state)
{
	struct stage_record *r = &n->stages[s];
	uint64_t now = loop_now(n->o.c->loop);

	if (r->state == state)
		return;
	if (state == STAGE_WAITING) {
		free(r->detail);
		*r = (struct stage_record){.percent = -1};
	} else if (state == STAGE_RUNNING) {
		r->started = now;
		r->started_real = now_real();
		r->ended = 0;
		r->percent = -1;
		r->attempts++;
		free(TAKE_PTR(r->detail));
	} else {
		if (!r->started)
			r->started = now;
		r->ended = now;
		if (state == STAGE_DONE)
			free(TAKE_PTR(r->detail));
		r->percent = -1;
	}
	r->state = state;
	touch(&n->o, ASPECT_PROGRESS | ASPECT_OBSERVED);
}

void node_stages_follow(struct node *n)
{
	const struct plan *p = &n->plan;
	unsigned wanted = node_stages(n);

	if (n->meta.power != POWER_UP && p->state == STATE_DOWN) {
		for (unsigned s = 0; n->stages && s < STAGES; s++)
			node_stage_set(n, s, STAGE_WAITING);
		return;
	}
	if (p->state == STATE_STOPPING || n->meta.power != POWER_UP)
		return;
	/* What is mended beside a machine that is up is no stage of its way. */
	if (p->state == STATE_UP && p->stage != STAGES && n->stages)
		return;
	if (!n->stages) {
		n->stages = xcalloc(STAGES, sizeof(*n->stages));
		for (unsigned s = 0; s < STAGES; s++)
			n->stages[s].percent = -1;
	}
	for (unsigned s = 0; s < STAGES; s++) {
		enum stage_state to = STAGE_WAITING;

		if (!(wanted & 1u << s) || p->stage == STAGES || s < p->stage)
			to = STAGE_DONE;
		else if (s == p->stage)
			to = n->tried.failed ? STAGE_FAILED : STAGE_RUNNING;
		if (p->stage == STAGES && p->state != STATE_UP)
			continue;
		/* Done in the netboot run: the run from the disk does not do
		 * it again. */
		if (s == STAGE_INSTALL && n->meta.installed &&
		    n->stages[s].state == STAGE_DONE)
			continue;
		node_stage_set(n, s, to);
	}
}

void node_stage_detail(
    struct node *n, enum stage stage, int percent, const char *text)
{
	struct stage_record *r;

	if (!n->stages || n->stages[stage].state != STAGE_RUNNING)
		return;
	r = &n->stages[stage];
	if (r->percent == percent && r->detail && STREQ(r->detail, text))
		return;
	r->percent = percent;
	free(r->detail);
	r->detail = xstrdup(text);
	touch(&n->o, ASPECT_PROGRESS | ASPECT_OBSERVED);
}
