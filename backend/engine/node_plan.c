// SPDX-License-Identifier: Apache-2.0
/*
 * From a node to the planner and back: what is desired and observed of it, the
 * word that users read, and the sentence of what failed.  Acts on nothing.
 */
#include <stdio.h>
#include "engine/engine.h"
#include "log.h"

/* --- what a node needs --- */

struct plan_desired node_desired(const struct node *n)
{
	const struct node_spec *s = n->spec;
	bool ours = !node_foreign_image(n);
	/* A disk that came to the spec later is there at the next start. */
	bool disk = s->disk.present && node_running_spec(n)->disk.present;
	/* And nothing is installed before that. */
	enum install_way way = node_install_way(n) == INSTALL_GUEST && !disk
				   ? INSTALL_NONE
				   : node_install_way(n);
	struct plan_desired d = {
	    .power = n->meta.power,
	    .leave = n->leave,
	    .leave_hard = n->leave_hard,
	    .wipe = n->meta.wipe,
	    .image = !n->driver->virtual,
	    .image_disk = !n->driver->virtual && !n->meta.own_kernel &&
			  way == INSTALL_GUEST &&
			  node_firmware(n) == FIRMWARE_DIRECT,
	    .install = way,
	    .disk_marks = node_marks_disk(n),
	    .from = s->boot_from,
	    .services = s->n_services > 0,
	    .repair = n->o.c->spec->on_drift == DRIFT_REPAIR,
	    .network = !n->driver->virtual && n->n_nics > 0,
	    .identity = ours,
	    .disk = (disk && s->disk.n_partitions > 0) ||
		    node_running_spec(n)->n_volumes > 0,
	    .boot_timeout = s->boot_timeout,
	    .boot_silence = ours || s->has_boot_silence ? s->boot_silence : 0,
	    .stop_timeout = s->stop_timeout,
	};

	for (int i = 0; i < SETUP_PARTS; i++) {
		d.setup[i] = node_has_setup(n, i, false);
		d.offline[i] =
		    way == INSTALL_GUEST && node_has_setup(n, i, true);
	}
	return d;
}

/* What is under way in the installer goes through its management NIC: the
 * networks, which are mended by themselves, do not break it off. */
static bool without_networks(const struct node *n)
{
	return n->doing == STEP_INSTALL || n->doing == STEP_SEAL ||
	       (n->doing == STEP_SETUP && n->doing_offline);
}

static bool node_fits(struct node *n)
{
	const struct machine_look *l = &n->machine_look;
	struct machine_nic nics[NICS_MAX];
	size_t count;

	if (!volumes_fit(n))
		return false;
	if (n->driver->virtual || l->state != MACHINE_RUNNING)
		return true;
	if (nics_coming(n) || !forwards_fit(n))
		return false;
	count = MIN(slice_nics(n, nics), l->n_nics);
	for (size_t i = 0; i < count && !without_networks(n); i++) {
		if (l->nics[i].link != nics[i].link)
			return false;
		if (nics[i].endpoint &&
		    l->nics[i].incarnation != nics[i].incarnation)
			return false;
	}
	return !l->disk_size || !n->spec->disk.present ||
	       l->disk_size >= n->spec->disk.size;
}

static struct plan_observed observed(struct node *n)
{
	const struct machine_look *l = &n->machine_look;
	const struct image *img = node_image(n), *system = node_system(n);
	struct plan_observed o = {
	    .machine = l->state,
	    .launch = l->launch,
	    .started = l->started,
	    .last_output = l->last_output,
	    /* A console that printed much has given the mark back: one that
	     * was up has booted. */
	    .marked = l->marked || (l->launch && l->launch == n->up_launch),
	    .image = n->spec->boot_image,
	    .system = n->spec->install.image,
	    .image_ready = img && img->state == IMAGE_READY,
	    .image_failed = img && img->state == IMAGE_FAILED,
	    .networks_up = true,
	    .fits = node_fits(n),
	    .connected = n->guest_look && n->guest_look->connected,
	    .disconnected = n->disconnected,
	    .guest_right = n->guest_right,
	    .disk = n->disk_look ? n->disk_look->content : DISK_UNKNOWN,
	    .mounted = n->disk_look && n->disk_look->mounted,
	    .system_ready = system && system->state == IMAGE_READY,
	    .system_failed = system && system->state == IMAGE_FAILED,
	    .from_disk = node_runs_disk(n),
	    .was_up = n->up_launch != 0 && n->up_launch == l->launch,
	    .installed = n->meta.installed ? YES : NO,
	    .copied = n->copied,
	    .setup_look = n->setup_look,
	};

	memcpy(o.offline, n->offline, sizeof(o.offline));
	memcpy(o.setup, n->parts, sizeof(o.setup));
	after_observe(n, &o);

	/* Its process is there before it executes: the start goes on, or is on
	 * its way to be broken off. */
	if (n->doing == STEP_START)
		o.machine =
		    n->meta.power == POWER_UP ? MACHINE_NONE : MACHINE_RUNNING;
	for (size_t i = 0; i < n->n_nics; i++) {
		enum network_state s = network_word(n->nics[i].network);

		if (s != NET_UP && !without_networks(n)) {
			o.networks_up = false;
			o.network = n->nics[i].network->o.name;
		}
		if (s == NET_FAILED)
			o.networks_failed = true;
	}
	o.hosts_stale = !n->driver->virtual &&
			n->hosts_version < n->o.c->names_told;
	return o;
}

/* --- planning --- */

static void cluster_word(
    struct cluster *c, enum cluster_state before, bool tell)
{
	struct cluster_view v;

	cluster_view(c, &v);
	touch(&c->o, ASPECT_STATUS | ASPECT_SETTLED);
	if (v.state == before)
		return;
	touch(&c->o, ASPECT_STATE);
	if (!tell)
		return;
	event(&c->o, "state", cluster_state_name(before),
	    cluster_state_name(v.state), NULL, NULL);
}

static void plan_changed(struct node *n, const struct plan *old)
{
	const struct plan *p = &n->plan;
	bool settled_was = n->planned && old->settled;
	bool first = !n->planned; /* what was before is not known */

	n->o.c->in_state[old->state]--;
	n->o.c->in_state[p->state]++;
	if (n->planned && !old->settled)
		n->o.c->unsettled--;
	if (!p->settled)
		n->o.c->unsettled++;
	n->planned = true;
	if (old->state != p->state) {
		n->since = loop_now(n->o.c->loop);
		touch(&n->o, ASPECT_STATE | ASPECT_OBSERVED | ASPECT_SETTLED);
	}
	if (old->state != p->state && !first)
		event(&n->o, "state", node_state_name(old->state),
		    node_state_name(p->state), NULL, "%s",
		    p->state == STATE_FAILED && n->failed_sentence
			? n->failed_sentence
		    : p->waiting_for[0] ? p->waiting_for
					: p->why);
	if (old->state != p->state) {
		after_changed(n);
		checks_node_changed(n);
	}
	if (settled_was != p->settled)
		touch(&n->o, ASPECT_SETTLED | ASPECT_OBSERVED);
	if (old->why != p->why || !STREQ(old->waiting_for, p->waiting_for) ||
	    old->wake_at != p->wake_at)
		touch(&n->o, ASPECT_OBSERVED);
	if (old->step != p->step || old->why != p->why ||
	    !STREQ(old->waiting_for, p->waiting_for) ||
	    settled_was != p->settled)
		touch(&n->o.c->o, ASPECT_PLAN);
}

/* After a restart of the daemon a node that was up stays so in users' eyes
 * while it is looked at again: its run is the same. */
static void keep_remembered(struct node *n)
{
	const struct machine_look *l = &n->machine_look;
	struct plan *p = &n->plan;
	bool same = l->state == MACHINE_UNKNOWN ||
		    (l->state == MACHINE_RUNNING && l->launch == n->up_launch);

	if (!n->remembered)
		return;
	if (p->state == STATE_UP || !same || p->step == STEP_FAIL ||
	    n->meta.power != POWER_UP || n->tried.failed ||
	    n->leave == n->up_launch) {
		n->remembered = false;
		return;
	}
	p->state = STATE_UP;
}

void node_refresh(struct node *n)
{
	struct cluster *c = n->o.c;
	struct plan old = n->plan;
	struct plan_desired d;
	struct plan_observed o;
	struct cluster_view v;
	bool counted, first;

	if (!n->spec || n->o.gone || c->loading)
		return;
	cluster_view(c, &v);
	d = node_desired(n);
	o = observed(n);
	n->plan = plan_next(&d, &o, &n->tried, loop_now(c->loop));
	keep_remembered(n);
	/* A periodic look unsettles nothing by itself. */
	if (n->plan.settled || n->plan.state != STATE_UP)
		n->periodic = false;
	else if (n->periodic)
		n->plan.settled = true;
	/* Nor does what is done for the check of one that has failed. */
	if (n->plan.state == STATE_FAILED && n->tried.failed_check)
		n->plan.settled = true;
	first = !n->planned;
	counted = first || old.state != n->plan.state ||
		  old.settled != n->plan.settled;
	plan_changed(n, &old);
	node_stages_follow(n);
	if (counted)
		cluster_word(c, v.state, !first);
	if (n->plan.state == STATE_UP && n->plan.settled &&
	    (n->up_launch != n->machine_look.launch ||
		n->set_up_digest != (n->spec_digest & INT64_MAX))) {
		n->up_launch = n->machine_look.launch;
		n->set_up_digest = n->spec_digest & INT64_MAX;
		history_save(n);
	}
	if (n->plan.state == STATE_UP && !n->up_since)
		n->up_since = loop_now(c->loop);
	else if (n->plan.state != STATE_UP)
		n->up_since = 0;
}

void node_fail(struct node *n, enum stage stage, const char *sentence)
{
	n->tried.failed = true;
	n->tried.failed_check = false;
	n->tried.failed_stage = stage;
	free(n->failed_sentence);
	_cleanup_buf_ struct buf b = {0};
	buf_escaped(&b, sentence, strcspn(sentence, "\n"));
	n->failed_sentence = buf_take(&b);
	log_warn("%s: failed: %s: %s", n->o.name, stage_name(stage),
	    n->failed_sentence);
	object_logf(
	    &n->o, "failed: %s: %s", stage_name(stage), n->failed_sentence);
	touch(&n->o, ASPECT_ERROR | ASPECT_OBSERVED);
	touch(&n->o.c->o, ASPECT_PLAN);
	history_save(n);
	if (n->stages && n->stages[stage].state == STAGE_RUNNING)
		node_stage_set(n, stage, STAGE_FAILED);
}

/* The sentence of a failure that the planner found. */
static char *image_failure(const struct node *n)
{
	const struct image *img = node_image(n);

	if (!img || !img->failed_sentence)
		img = node_system(n);
	return xasprintf("image %s: %s", img ? img->o.name : "?",
	    img && img->failed_sentence ? img->failed_sentence : "?");
}

static char *network_failure(const struct node *n)
{
	for (size_t i = 0; i < n->n_nics; i++) {
		const struct network *net = n->nics[i].network;

		if (net->failed_sentence)
			return xasprintf("network %s: %s", net->o.name,
			    net->failed_sentence);
	}
	return NULL;
}

void node_fail_by_plan(struct node *n)
{
	const struct machine_look *l = &n->machine_look;
	_cleanup_free_ char *s = NULL;
	char t[24];

	format_usec(n->spec->boot_timeout, t);
	switch (n->plan.fail) {
	case FAIL_IMAGE:
		s = image_failure(n);
		break;
	case FAIL_NETWORK:
		s = network_failure(n);
		break;
	case FAIL_BOOT:
		s = xasprintf("the guest did not finish its boot within %s "
			      "(boot_timeout); the console ends: %s",
		    t, l->last_line);
		break;
	case FAIL_SILENCE:
		format_usec(n->spec->boot_silence, t);
		s = xasprintf("the console was silent for %s (boot_silence) "
			      "while the guest booted; it ends: %s",
		    t, l->last_line);
		break;
	case FAIL_SSH:
		s = xasprintf("SSH on 127.0.0.1:%u did not answer within %s "
			      "(boot_timeout); last: %s; the console ends: %s",
		    n->ssh_port, t,
		    n->stages && n->stages[STAGE_SSH].detail
			? n->stages[STAGE_SSH].detail
			: "no try ended",
		    l->last_line);
		break;
	case FAIL_RESTARTS:
		s = xasprintf("the machine ended %u times in a row, the last "
			      "time: %s; see console and log",
		    n->tried.restarts, l->end_text);
		break;
	case FAIL_FOREIGN:
		s = xasprintf("the disk holds something else: %s; nothing was "
			      "written. `echo down` and then `echo wipe` to "
			      "state throw it away",
		    n->disk_look->found);
		break;
	case FAIL_AFTER:
		s = xasprintf("it comes after %s, which has failed; mend that "
			      "first",
		    after_failed(n) ? after_failed(n)->o.name : "a node");
		break;
	case FAIL_NO_DISK:
		s = xasprintf("boot.from is \"disk\", and no system is "
			      "installed there; take \"auto\"");
		break;
	case FAIL_NONE:
	case FAILS:
		break;
	}
	n->tried.failed_after = n->plan.fail == FAIL_AFTER;
	node_fail(n, n->plan.stage, s ? s : "it failed");
	mark_dirty(&n->o);
}
