// SPDX-License-Identifier: Apache-2.0
/*
 * The queue of objects about which something has changed.  Each pass over a
 * node: look, act on a run's end, plan, and begin at most one step.  Nothing
 * is remembered of how it came to be dirty.  Policy that is not the planner's
 * is here: what the end of a run means, what failed, when to look again.
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>
#include "engine/engine.h"
#include "log.h"

#define BATCH      256                 /* objects a round of the loop */
#define CALM_AFTER (60 * USEC_PER_SEC) /* up so long: restarts count anew */

void mark_dirty(struct object *o)
{
	struct cluster *c = o->c;

	if (o->dirty || o->gone)
		return;
	o->dirty = true;
	object_ref(o);
	o->next_dirty = NULL;
	*c->dirty_last = o;
	c->dirty_last = &o->next_dirty;
	if (c->work)
		loop_kick(c->work);
}

/* --- handles --- */

static void driver_changed(void *owner)
{
	mark_dirty(owner);
}

static void driver_log(void *owner, const char *text, size_t len)
{
	object_log(owner, text, len);
}

static int driver_identity(void *owner, struct buf *ret, struct err *err)
{
	return names_identity(owner, ret, err);
}

static void console_grew(void *owner)
{
	struct node *n = owner;

	touch(&n->o, ASPECT_CONSOLE);
	/* The end of the boot shows there, and that the guest is not silent. */
	if (n->plan.stage == STAGE_BOOT)
		mark_dirty(&n->o);
}

void node_open(struct node *n)
{
	struct cluster *c = n->o.c;
	struct node_env *e;
	struct err err = ERR_INIT;
	int r;

	if (n->env || n->o.gone)
		return;
	e = xcalloc(1, sizeof(*e));
	e->state_dir = object_path(&n->o, c->state_dir);
	e->runtime_dir = object_path(&n->o, c->runtime_dir);
	e->env = (struct driver_env){
	    .loop = c->loop,
	    .name = n->o.name,
	    .number = n->o.number,
	    .state_dir = e->state_dir,
	    .runtime_dir = e->runtime_dir,
	    .changed = driver_changed,
	    .log = driver_log,
	    .owner = n,
	};
	n->env = e;
	r = mkdir_p(e->runtime_dir, 0700);
	if (r < 0)
		err_errno(&err, r, "can't make %s", e->runtime_dir);
	if (r == 0)
		r = n->driver->machine->open(
		    &e->env, driver_identity, console_grew, &n->machine, &err);
	if (r == 0)
		r = n->driver->guest->open(&e->env, &n->guest, &err);
	if (r == 0)
		r = n->driver->disk->open(&e->env, &n->disk, &err);
	if (r < 0) {
		log_error("%s: %s", n->o.name, err_text(&err));
		node_close(n);
	}
}

void node_close(struct node *n)
{
	if (!n->env)
		return;
	if (n->disk)
		n->driver->disk->close(TAKE_PTR(n->disk));
	if (n->guest)
		n->driver->guest->close(TAKE_PTR(n->guest));
	if (n->machine)
		n->driver->machine->close(TAKE_PTR(n->machine));
	free(n->env->state_dir);
	free(n->env->runtime_dir);
	free(TAKE_PTR(n->env));
	if (!n->preparing)
		n->doing = STEP_NONE;
	n->machine_look = (struct machine_look){0};
	n->guest_right = UNKNOWN;
	free(TAKE_PTR(n->guest_look));
	free(TAKE_PTR(n->disk_look));
}

/* --- what a node needs --- */

static struct plan_desired desired_of(const struct node *n)
{
	const struct node_spec *s = n->spec;
	const struct image *img = node_image(n);
	bool ours = n->driver->virtual ||
		    (img && img->spec->identity == IDENTITY_RACKFS);
	/* A disk that came to the spec later is there at the next start. */
	bool disk = s->disk.present && node_running_spec(n)->disk.present;

	return (struct plan_desired){
	    .power = n->meta.power,
	    .leave = n->leave,
	    .leave_hard = n->leave_hard,
	    .wipe = n->meta.wipe,
	    .image = !n->driver->virtual,
	    .network = !n->driver->virtual && n->n_nics > 0,
	    .identity = ours,
	    .disk = disk && s->disk.n_partitions > 0,
	    .boot_timeout = s->boot_timeout,
	    .boot_silence = ours || s->has_boot_silence ? s->boot_silence : 0,
	    .stop_timeout = s->stop_timeout,
	};
}

static bool node_fits(struct node *n)
{
	const struct machine_look *l = &n->machine_look;
	struct machine_nic nics[NICS_MAX];
	size_t count;

	if (n->driver->virtual || l->state != MACHINE_RUNNING)
		return true;
	count = MIN(slice_nics(n, nics), l->n_nics);
	for (size_t i = 0; i < count; i++) {
		if (l->nics[i].link != nics[i].link)
			return false;
		if (nics[i].endpoint &&
		    l->nics[i].incarnation != nics[i].incarnation)
			return false;
	}
	return !l->disk_size || !n->spec->disk.present ||
	       l->disk_size >= n->spec->disk.size;
}

static struct plan_observed observed_of(struct node *n)
{
	const struct machine_look *l = &n->machine_look;
	const struct image *img = node_image(n);
	struct plan_observed o = {
	    .machine = l->state,
	    .launch = l->launch,
	    .started = l->started,
	    .last_output = l->last_output,
	    .marked = l->marked,
	    .image_ready = img && img->state == IMAGE_READY,
	    .image_failed = img && img->state == IMAGE_FAILED,
	    .networks_up = true,
	    .fits = node_fits(n),
	    .connected = n->guest_look && n->guest_look->connected,
	    .disconnected = n->disconnected,
	    .guest_right = n->guest_right,
	    .disk = n->disk_look ? n->disk_look->content : DISK_UNKNOWN,
	    .mounted = n->disk_look && n->disk_look->mounted,
	};

	for (size_t i = 0; i < n->n_nics; i++) {
		enum network_state s = network_word(n->nics[i].network);

		if (s != NET_UP)
			o.networks_up = false;
		if (s == NET_FAILED)
			o.networks_failed = true;
	}
	if (n->driver->virtual || n->hosts_version == n->o.c->names_version)
		return o;
	/* Host lines came or went; the rest is as it was. */
	if (o.guest_right == YES)
		o.guest_right = NO;
	return o;
}

/* --- stages --- */

static bool stage_wanted(const struct plan_desired *d, enum stage s)
{
	switch (s) {
	case STAGE_IMAGE:
		return d->image;
	case STAGE_NETWORK:
		return d->network;
	case STAGE_BOOT:
		return d->identity;
	case STAGE_MACHINE:
	case STAGE_SSH:
		return true;
	case STAGE_PARTITION:
		return d->disk;
	case STAGE_INSTALL:
	case STAGE_CONFIGURE:
	case STAGE_RUN:
	case STAGE_SERVICES:
	case STAGES:
		break;
	}
	return false;
}

unsigned node_stages(const struct node *n)
{
	struct plan_desired d = desired_of(n);
	unsigned bits = 0;

	for (unsigned s = 0; s < STAGES; s++) {
		if (stage_wanted(&d, s))
			bits |= 1u << s;
	}
	return bits;
}

static void stage_set(struct node *n, enum stage s, enum stage_state state)
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

static void stages_follow(struct node *n)
{
	const struct plan *p = &n->plan;
	unsigned wanted = node_stages(n);

	if (n->meta.power != POWER_UP && p->state == STATE_DOWN) {
		for (unsigned s = 0; n->stages && s < STAGES; s++)
			stage_set(n, s, STAGE_WAITING);
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
		stage_set(n, s, to);
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

/* --- planning --- */

static void cluster_word(struct cluster *c, enum cluster_state before)
{
	struct cluster_view v;

	cluster_view(c, &v);
	touch(&c->o, ASPECT_STATUS | ASPECT_SETTLED);
	if (v.state == before)
		return;
	touch(&c->o, ASPECT_STATE);
	event(&c->o, "state", cluster_state_name(before),
	    cluster_state_name(v.state), NULL, NULL);
}

static void plan_changed(struct node *n, const struct plan *old)
{
	const struct plan *p = &n->plan;
	bool settled_was = n->planned && old->settled;

	n->o.c->in_state[old->state]--;
	n->o.c->in_state[p->state]++;
	if (n->planned && !old->settled)
		n->o.c->unsettled--;
	if (!p->settled)
		n->o.c->unsettled++;
	n->planned = true;
	if (old->state != p->state) {
		n->since = loop_now(n->o.c->loop);
		event(&n->o, "state", node_state_name(old->state),
		    node_state_name(p->state), NULL, "%s",
		    p->state == STATE_FAILED && n->failed_sentence
			? n->failed_sentence
		    : p->waiting_for[0] ? p->waiting_for
					: p->why);
		touch(&n->o, ASPECT_STATE | ASPECT_OBSERVED | ASPECT_SETTLED);
	}
	if (settled_was != p->settled)
		touch(&n->o, ASPECT_SETTLED | ASPECT_OBSERVED);
	if (old->why != p->why || old->waiting_for != p->waiting_for ||
	    old->wake_at != p->wake_at)
		touch(&n->o, ASPECT_OBSERVED);
}

void node_refresh(struct node *n)
{
	struct cluster *c = n->o.c;
	struct plan old = n->plan;
	struct plan_desired d;
	struct plan_observed o;
	struct cluster_view v;
	bool counted;

	if (!n->spec || n->o.gone || c->loading)
		return;
	cluster_view(c, &v);
	d = desired_of(n);
	o = observed_of(n);
	n->plan = plan_next(&d, &o, &n->tried, loop_now(c->loop));
	/* A periodic look unsettles nothing by itself. */
	if (n->plan.settled || n->plan.state != STATE_UP)
		n->periodic = false;
	else if (n->periodic)
		n->plan.settled = true;
	counted = !n->planned || old.state != n->plan.state ||
		  old.settled != n->plan.settled;
	plan_changed(n, &old);
	stages_follow(n);
	if (counted)
		cluster_word(c, v.state);
	if (n->plan.state == STATE_UP && !n->up_since)
		n->up_since = loop_now(c->loop);
	else if (n->plan.state != STATE_UP)
		n->up_since = 0;
}

void node_fail(struct node *n, enum stage stage, const char *sentence)
{
	n->tried.failed = true;
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
	history_save(n);
	if (n->stages && n->stages[stage].state == STAGE_RUNNING)
		stage_set(n, stage, STAGE_FAILED);
}

/* The sentence of a failure that the planner found. */
static void fail_by_plan(struct node *n)
{
	const struct image *img = node_image(n);
	const struct machine_look *l = &n->machine_look;
	_cleanup_free_ char *s = NULL;
	char t[24];

	format_usec(n->spec->boot_timeout, t);
	switch (n->plan.fail) {
	case FAIL_IMAGE:
		s = xasprintf("image %s: %s", n->spec->boot_image,
		    img && img->failed_sentence ? img->failed_sentence : "?");
		break;
	case FAIL_NETWORK:
		for (size_t i = 0; i < n->n_nics && !s; i++) {
			struct network *net = n->nics[i].network;

			if (net->failed_sentence)
				s = xasprintf("network %s: %s", net->o.name,
				    net->failed_sentence);
		}
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
	case FAIL_NONE:
	case FAILS:
		break;
	}
	node_fail(n, n->plan.stage, s ? s : "it failed");
	mark_dirty(&n->o);
}

/* --- the end of a run --- */

static const char *const end_words[] = {
    [END_NONE] = "it ended while nobody looked",
    [END_POWEROFF] = "the guest powered itself off",
    [END_REBOOT] = "the guest asked for a reboot",
    [END_PANIC] = "the guest's kernel panicked",
    [END_STOPPED] = "it was stopped",
    [END_CRASHED] = "QEMU ended",
};

static void forget_guest(struct node *n)
{
	if (n->guest)
		n->driver->guest->disconnect(n->guest);
	n->guest_right = UNKNOWN;
	if (n->guest_look)
		n->guest_look->connected = false;
	if (n->disk_look)
		*n->disk_look = (struct disk_look){0};
	node_reach_stale(n);
}

static void count_restart(struct node *n, const char *why)
{
	uint64_t now = loop_now(n->o.c->loop);

	if (n->up_since && now - n->up_since > CALM_AFTER)
		n->tried.restarts = 0;
	n->tried.restarts++;
	n->tried.retry_at = now + plan_restart_delay(n->tried.restarts);
	event(&n->o, "restart", NULL, NULL, NULL, "%s", why);
}

static void handle_end(struct node *n)
{
	const struct machine_look *l = &n->machine_look;
	bool leaving = n->leave == l->launch || n->tried.asked == l->launch;
	const char *why;

	if (l->state != MACHINE_NONE || l->launch == 0 ||
	    n->handled >= l->launch)
		return;
	n->handled = l->launch;
	why = l->end_text[0] && l->end != END_POWEROFF && l->end != END_REBOOT
		  ? l->end_text
		  : end_words[l->end];
	event(&n->o, "ended", NULL, NULL, NULL, "run %llu: %s",
	    (unsigned long long)l->launch, why);
	object_logf(
	    &n->o, "run %llu ended: %s", (unsigned long long)l->launch, why);
	forget_guest(n);
	n->disconnected = 0;
	if (n->meta.power == POWER_UP && !leaving && !n->tried.failed) {
		switch (l->end) {
		case END_POWEROFF:
			n->meta.power = n->pending_power = POWER_DOWN;
			node_meta_put(n, NULL, NULL);
			event(&n->o, "power", "up", "down", NULL, "%s", why);
			break;
		case END_REBOOT:
		case END_STOPPED:
			break;
		case END_NONE:
		case END_PANIC:
		case END_CRASHED:
		case MACHINE_ENDS:
			count_restart(n, why);
			break;
		}
	}
	node_compare_specs(n);
	history_save(n);
}

/* --- one pass --- */

bool node_active(const struct node *n)
{
	if (!n->driver || n->driver->virtual || n->o.gone)
		return false;
	if (n->machine_look.state == MACHINE_RUNNING)
		return true;
	return n->meta.power == POWER_UP && !n->tried.failed;
}

/* Networks run while a node needs them; one that was seen for the first time
 * may have been the last that could. */
static void node_hold(struct node *n)
{
	struct network *had[NICS_MAX];
	size_t n_had = n->n_holds;

	memcpy(had, n->holds, sizeof(had));
	n->n_holds = 0;
	if (node_active(n)) {
		for (size_t i = 0; i < n->n_nics; i++) {
			n->holds[n->n_holds++] = n->nics[i].network;
			network_hold(n->nics[i].network, 1);
		}
	}
	for (size_t i = 0; i < n_had; i++)
		network_hold(had[i], -1);
}

static void on_timer(void *userdata)
{
	struct node *n = userdata;

	if (n->doing != STEP_NONE && n->op_deadline <= now_mono() &&
	    !n->timed_out && !n->preparing) {
		n->timed_out = true;
		op_cancel(&n->op);
	}
	mark_dirty(&n->o);
}

static void set_timer(struct node *n)
{
	uint64_t now = loop_now(n->o.c->loop), at = n->plan.wake_at;

	if (n->doing != STEP_NONE && !n->timed_out)
		at = MIN(at, n->op_deadline);
	if (n->hold_until > now)
		at = MIN(at, n->hold_until);
	if (at == USEC_NEVER && !n->timer)
		return;
	if (!n->timer)
		loop_add_timer(n->o.c->loop, at, on_timer, n, &n->timer);
	else
		loop_timer_set(n->timer, at);
}

static void cancel_step(struct node *n)
{
	if (n->cancelling)
		return;
	n->cancelling = true;
	if (!n->preparing && n->op.pending)
		op_cancel(&n->op);
}

/* A step that is under way goes on when it is still what is needed, or when
 * breaking it off would gain nothing. */
static bool step_goes_on(const struct node *n)
{
	if (n->doing == n->plan.step)
		return true;
	return n->doing == STEP_START || n->doing == STEP_KILL ||
	       n->doing == STEP_WIPE || n->doing == STEP_APPLY ||
	       n->doing == STEP_OBSERVE || n->doing == STEP_POWEROFF;
}

static bool observe_cheaply(struct node *n)
{
	_cleanup_free_ char *run = NULL;

	/* A fake machine never ran when it has no folder. */
	if (!n->driver->virtual || n->env || n->plan.step != STEP_OBSERVE)
		return false;
	run = object_path(&n->o, n->o.c->runtime_dir);
	if (access(run, F_OK) == 0)
		return false;
	n->machine_look.state = MACHINE_NONE;
	return true;
}

static void node_act(struct node *n)
{
	switch (n->plan.step) {
	case STEP_NONE:
	case STEPS:
		return;
	case STEP_FAIL:
		fail_by_plan(n);
		return;
	case STEP_IMAGE:
		if (node_image(n))
			image_want(node_image(n));
		return;
	case STEP_NETWORK:
		for (size_t i = 0; i < n->n_nics; i++)
			mark_dirty(&n->nics[i].network->o);
		return;
	default:
		break;
	}
	if (n->hold_until > loop_now(n->o.c->loop))
		return;
	if (observe_cheaply(n)) {
		mark_dirty(&n->o);
		return;
	}
	if (n->reach_op.pending) {
		node_reach_cancel(n); /* its end marks the node dirty */
		return;
	}
	n->op_deadline = loop_now(n->o.c->loop);
	n->op_deadline = step_time_limit(n->plan.step) == USEC_NEVER
			     ? USEC_NEVER
			     : n->op_deadline + step_time_limit(n->plan.step);
	step_run(n);
}

static void node_reconcile(struct node *n)
{
	node_look(n);
	handle_end(n);
	node_refresh(n);
	node_hold(n);
	if (n->doing != STEP_NONE) {
		if (!step_goes_on(n))
			cancel_step(n);
	} else {
		node_act(n);
	}
	set_timer(n);
	if (n->plan.settled && !n->driver->virtual) {
		for (size_t i = 0; i < n->n_nics; i++)
			network_reach_next(n->nics[i].network);
	}
}

static void work(void *userdata)
{
	struct cluster *c = userdata;

	for (int i = 0; i < BATCH && c->dirty_first; i++) {
		struct object *o = c->dirty_first;

		c->dirty_first = o->next_dirty;
		if (!c->dirty_first)
			c->dirty_last = &c->dirty_first;
		o->next_dirty = NULL;
		o->dirty = false;
		if (!o->gone && o->kind == OBJECT_NODE)
			node_reconcile(as_node(o));
		else if (!o->gone && o->kind == OBJECT_NETWORK)
			network_reconcile(as_network(o));
		else if (!o->gone && o->kind == OBJECT_IMAGE)
			image_reconcile(as_image(o));
		object_unref(o);
	}
	if (c->dirty_first)
		loop_kick(c->work);
	else
		touch(&c->o, ASPECT_SETTLED);
}

void nodes_mark_network(struct network *net)
{
	for (size_t i = 0; i < net->n_users; i++)
		mark_dirty(&net->users[i]->o);
}

/* --- periodic looks --- */

static void observe_all(void *userdata)
{
	struct cluster *c = userdata;

	EACH_OBJECT (o, c, OBJECT_NODE) {
		struct node *n = as_node(o);

		if (n->plan.state != STATE_UP || !n->plan.settled ||
		    n->driver->virtual)
			continue;
		n->periodic = true;
		n->guest_right = NO; /* it is looked at, and put right */
		if (n->disk_look)
			n->disk_look->content = DISK_UNKNOWN;
		mark_dirty(o);
	}
	loop_timer_set(
	    c->observe_timer, loop_now(c->loop) + c->spec->observe_every);
}

void reconcile_start(struct cluster *c)
{
	uint64_t every = c->spec->observe_every;
	uint64_t at = every ? loop_now(c->loop) + every : USEC_NEVER;

	if (c->observe_timer) {
		loop_timer_set(c->observe_timer, at);
		return;
	}
	loop_add_timer(c->loop, at, observe_all, c, &c->observe_timer);
	loop_add_deferred(c->loop, work, c, &c->work);
	for (int k = OBJECT_NETWORK; k < OBJECT_KINDS; k++) {
		EACH_OBJECT (o, c, k) {
			if (k == OBJECT_NODE)
				node_refresh(as_node(o));
			mark_dirty(o);
		}
	}
	loop_kick(c->work);
}

void reconcile_stop(struct cluster *c)
{
	loop_source_free(TAKE_PTR(c->work));
	loop_source_free(TAKE_PTR(c->observe_timer));
	loop_source_free(TAKE_PTR(c->names_work));
	while (c->dirty_first) {
		struct object *o = c->dirty_first;

		c->dirty_first = o->next_dirty;
		o->dirty = false;
		object_unref(o);
	}
	c->dirty_last = &c->dirty_first;
}
