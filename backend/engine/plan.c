// SPDX-License-Identifier: Apache-2.0
/*
 * The planner: desired, observed, history, now -> at most one step.  Called by
 * reconcile.c whenever something about a node has changed.  Pure: no I/O, no
 * clock, no memory.  Each function below decides one part of the way and
 * returns true when it has found what is to be done; the order of the calls in
 * plan_up() is the order of the stages.
 */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include "plan.h"

static const char *const step_names[] = {
    [STEP_NONE] = "none",
    [STEP_OBSERVE] = "observe",
    [STEP_IMAGE] = "image",
    [STEP_NETWORK] = "network",
    [STEP_START] = "start",
    [STEP_APPLY] = "apply",
    [STEP_CONNECT] = "connect",
    [STEP_CONFIGURE] = "configure",
    [STEP_DISK_LOOK] = "disk-look",
    [STEP_PARTITION] = "partition",
    [STEP_INSTALL] = "install",
    [STEP_SEAL] = "seal",
    [STEP_SETUP_LOOK] = "setup-look",
    [STEP_SETUP] = "setup",
    [STEP_POWEROFF] = "poweroff",
    [STEP_KILL] = "kill",
    [STEP_WIPE] = "wipe",
    [STEP_FAIL] = "fail",
};
static_assert(ARRAY_SIZE(step_names) == STEPS, "one name a step");

const char *step_name(enum step s)
{
	return s < STEPS ? step_names[s] : "?";
}

/* Then SSH is tried although an installed system has not said that its own
 * listens: each try costs a booting guest something. */
#define DISK_MARK_WAIT (90 * USEC_PER_SEC)

struct input {
	const struct plan_desired *d;
	const struct plan_observed *o;
	const struct plan_history *h;
	uint64_t now;
};

uint64_t plan_restart_delay(unsigned restarts)
{
	if (restarts == 0)
		return 0;
	return USEC_PER_SEC << MIN(restarts - 1, 5u);
}

static uint64_t later(uint64_t from, uint64_t by)
{
	return from > USEC_NEVER - by ? USEC_NEVER : from + by;
}

static void PRINTF(2, 3) wait_for(struct plan *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(p->waiting_for, sizeof(p->waiting_for), fmt, ap);
	va_end(ap);
}

/* The step does something now; the word is that of its stage. */
static bool act(
    struct plan *p, enum step step, enum stage stage, const char *why)
{
	p->step = step;
	p->stage = stage;
	p->why = why;
	p->waiting_for[0] = '\0';
	if (stage < STAGES)
		p->state = stage_shows(stage);
	return true;
}

/* Nothing to do but wait for something outside, until wake_at. */
static bool await(
    struct plan *p, enum stage stage, const char *what, uint64_t wake_at)
{
	act(p, STEP_NONE, stage, "");
	wait_for(p, "%s", what);
	p->wake_at = wake_at;
	return true;
}

static bool fail(struct plan *p, enum stage stage, enum fail fail)
{
	act(p, STEP_FAIL, stage, "");
	p->fail = fail;
	return true;
}

/* On the way down, or out of a run that is to be left. */
static void plan_stop(struct plan *p, const struct input *in, bool hard)
{
	uint64_t deadline = later(in->h->asked_at, in->d->stop_timeout);

	p->state = STATE_STOPPING;
	p->stage = STAGES;
	if (hard) {
		p->step = STEP_KILL;
		p->why = "the plug is pulled";
	} else if (in->h->asked != in->o->launch) {
		p->step = STEP_POWEROFF;
		p->why = "the guest is asked to power off";
	} else if (in->now >= deadline) {
		p->step = STEP_KILL;
		p->why = "stop_timeout is over: the plug is pulled";
	} else {
		wait_for(p, "the guest to power off");
		p->wake_at = deadline;
	}
}

static void plan_down(struct plan *p, const struct input *in)
{
	if (in->o->machine == MACHINE_RUNNING && !in->h->failed) {
		plan_stop(p, in, in->d->power == POWER_OFF);
		/* Who comes after it goes down before it. */
		if (p->step == STEP_POWEROFF && in->o->after_running) {
			p->step = STEP_NONE;
			p->why = "";
			wait_for(p, "%s to be down", in->o->after_running);
		}
		return;
	}
	p->stage = STAGES;
	p->state = STATE_DOWN;
	if (in->h->failed) {
		p->state = STATE_FAILED;
		p->stage = in->h->failed_stage;
		p->settled = true;
	} else if (in->d->wipe) {
		p->step = STEP_WIPE;
		p->why = "the content of the disk is thrown away";
	} else {
		p->settled = true;
	}
}

/* Does the next start boot from the disk? */
static bool boots_disk(const struct input *in)
{
	if (in->d->from == BOOT_IMAGE)
		return false;
	if (in->d->from == BOOT_DISK)
		return true;
	return in->d->install != INSTALL_NONE &&
	       (in->o->installed == YES || in->d->install == INSTALL_COLD);
}

static bool to_install(const struct input *in)
{
	return in->d->install != INSTALL_NONE && in->o->installed != YES &&
	       in->d->from != BOOT_DISK;
}

static bool image_step(
    struct plan *p, const char *name, bool ready, bool failed)
{
	if (ready)
		return false;
	if (failed)
		return fail(p, STAGE_IMAGE, FAIL_IMAGE);
	act(p, STEP_IMAGE, STAGE_IMAGE, "the image is made ready");
	wait_for(p, "the image %s", name);
	return true;
}

static bool plan_image(struct plan *p, const struct input *in)
{
	bool boot = boots_disk(in) ? in->d->image_disk : in->d->image;

	if (boot && image_step(p, in->o->image, in->o->image_ready,
			in->o->image_failed))
		return true;
	return to_install(in) && in->d->image &&
	       image_step(
		   p, in->o->system, in->o->system_ready, in->o->system_failed);
}

static bool plan_network(struct plan *p, const struct input *in)
{
	if (!in->d->network || in->o->networks_up)
		return false;
	if (in->o->networks_failed)
		return fail(p, STAGE_NETWORK, FAIL_NETWORK);
	act(p, STEP_NETWORK, STAGE_NETWORK, "the network is started");
	wait_for(p, "the network %s", in->o->network);
	return true;
}

static bool plan_start(struct plan *p, const struct input *in)
{
	if (in->o->machine == MACHINE_RUNNING)
		return false;
	if (in->d->wipe)
		return act(p, STEP_WIPE, STAGE_MACHINE,
		    "the content of the disk is thrown away");
	if (in->o->before_failed)
		return fail(p, STAGE_MACHINE, FAIL_AFTER);
	if (in->o->before_pending) {
		await(p, STAGE_MACHINE, "", USEC_NEVER);
		wait_for(p, "%s to be up", in->o->before_pending);
		return true;
	}
	if (plan_image(p, in) || plan_network(p, in))
		return true;
	if (in->d->from == BOOT_DISK && in->o->installed != YES &&
	    in->d->install != INSTALL_NONE)
		return fail(p, STAGE_MACHINE, FAIL_NO_DISK);
	if (in->d->install == INSTALL_COLD && to_install(in))
		return act(p, STEP_INSTALL, STAGE_INSTALL,
		    "the image is written to the disk");
	if (in->h->restarts > RESTARTS_MAX)
		return fail(p, STAGE_MACHINE, FAIL_RESTARTS);
	if (in->now < in->h->retry_at)
		return await(p, STAGE_MACHINE,
		    "the delay before it is started again", in->h->retry_at);
	return act(p, STEP_START, STAGE_MACHINE, "the machine is started");
}

static bool plan_boot(struct plan *p, const struct input *in)
{
	const struct plan_observed *o = in->o;
	uint64_t deadline = later(o->started, in->d->boot_timeout);
	uint64_t silent = USEC_NEVER;

	if (o->marked || o->connected)
		return false;
	if (o->from_disk) {
		/* A system of the user's may never say so. */
		uint64_t patience = later(o->started, DISK_MARK_WAIT);

		return in->d->disk_marks && in->now < patience &&
		       await(p, STAGE_BOOT, "the system to boot", patience);
	}
	if (!in->d->identity)
		return false;
	if (in->d->boot_silence)
		silent =
		    later(MAX(o->last_output, o->started), in->d->boot_silence);
	if (in->now >= deadline)
		return fail(p, STAGE_BOOT, FAIL_BOOT);
	if (in->now >= silent)
		return fail(p, STAGE_BOOT, FAIL_SILENCE);
	return await(p, STAGE_BOOT, "the guest to boot", MIN(deadline, silent));
}

static bool plan_ssh(struct plan *p, const struct input *in)
{
	const struct plan_observed *o = in->o;
	uint64_t from = MAX(o->started, o->disconnected);
	uint64_t deadline = later(from, in->d->boot_timeout);

	if (!o->connected) {
		if (in->now >= deadline)
			return fail(p, STAGE_SSH, FAIL_SSH);
		act(p, STEP_CONNECT, STAGE_SSH, "SSH is tried");
		wait_for(p, "SSH to answer");
		p->wake_at = deadline;
		return true;
	}
	if (o->guest_right != YES)
		return act(p, STEP_CONFIGURE, STAGE_SSH,
		    "names and addresses are put right");
	return false;
}

static bool plan_disk(struct plan *p, const struct input *in)
{
	if (!in->d->disk)
		return false;
	switch (in->o->disk) {
	case DISK_UNKNOWN:
		return act(p, STEP_DISK_LOOK, STAGE_PARTITION,
		    "the disk is looked at");
	case DISK_FOREIGN:
		return fail(p, STAGE_PARTITION, FAIL_FOREIGN);
	case DISK_OURS:
		if (in->o->mounted)
			return false;
		return act(p, STEP_PARTITION, STAGE_PARTITION,
		    "the file systems are mounted");
	case DISK_OURS_GROWN:
		return act(p, STEP_PARTITION, STAGE_PARTITION,
		    "the last partition is grown");
	case DISK_BLANK:
	case DISK_OURS_PARTIAL:
	case DISK_OURS_OTHER:
	case DISK_CONTENTS:
		break;
	}
	return act(p, STEP_PARTITION, STAGE_PARTITION, "the disk is laid out");
}

static bool setup_step(struct plan *p, enum setup_part part, bool offline)
{
	static const enum stage stages[SETUP_PARTS] = {
	    [SETUP_FILES] = STAGE_CONFIGURE,
	    [SETUP_RUN] = STAGE_RUN,
	    [SETUP_SERVICES] = STAGE_SERVICES,
	};
	static const char *const whys[SETUP_PARTS] = {
	    [SETUP_FILES] = "files are put in place",
	    [SETUP_RUN] = "commands are run",
	    [SETUP_SERVICES] = "services are put right",
	};

	p->part = part;
	p->offline = offline;
	return act(p, STEP_SETUP, offline ? STAGE_INSTALL : stages[part],
	    offline ? "the system is configured before its first boot"
		    : whys[part]);
}

/* In the netboot system: the disk is mounted, and gets a system.  Once that is
 * whole the run is left for one from the disk. */
static bool plan_install(struct plan *p, const struct input *in)
{
	if (in->d->install != INSTALL_GUEST || in->o->from_disk)
		return false;
	if (in->o->installed != YES) {
		if (in->o->copied != YES)
			return act(p, STEP_INSTALL, STAGE_INSTALL,
			    "the system is copied to the disk");
		for (int i = 0; i < SETUP_PARTS; i++)
			if (in->d->offline[i] && in->o->offline[i] != YES)
				return setup_step(p, i, true);
		return act(p, STEP_SEAL, STAGE_INSTALL,
		    "the installation is marked as whole");
	}
	if (in->d->from == BOOT_IMAGE)
		return false;
	plan_stop(p, in, false);
	p->state = stage_shows(STAGE_INSTALL);
	p->stage = STAGE_INSTALL;
	if (p->step == STEP_POWEROFF)
		p->why = "the netboot system is left for the installed one";
	return true;
}

static bool plan_setup(struct plan *p, const struct input *in)
{
	for (int i = 0; i < SETUP_PARTS; i++) {
		if (!in->d->setup[i])
			continue;
		if (in->o->setup[i] == UNKNOWN ||
		    (in->o->setup[i] == NO && in->d->repair))
			return setup_step(p, i, false);
	}
	if (!in->o->setup_look)
		return false;
	return act(p, STEP_SETUP_LOOK, STAGE_CONFIGURE,
	    "files and services are looked at");
}

/* Last, and beside what is up: other nodes may come and go without pause, and
 * none of that keeps this one from its own way. */
static bool plan_hosts(struct plan *p, const struct input *in)
{
	static const char why[] = "host lines are renewed";

	if (!in->o->hosts_stale)
		return false;
	if (!in->o->from_disk)
		return act(p, STEP_CONFIGURE, STAGE_SSH, why);
	if (!in->d->setup[SETUP_FILES])
		return false;
	setup_step(p, SETUP_FILES, false);
	p->why = why;
	return true;
}

/* A machine that is up but for something that is mended beside it stays up
 * in users' eyes. */
static bool stays_up(const struct plan *p, const struct input *in)
{
	const struct plan_observed *o = in->o;

	if (o->machine != MACHINE_RUNNING || !o->connected ||
	    o->guest_right == UNKNOWN)
		return false;
	if (o->was_up)
		return true;
	if (p->stage > STAGE_PARTITION && p->stage < STAGES)
		return false;
	for (int i = 0; i < SETUP_PARTS; i++)
		if (in->d->setup[i] && o->setup[i] == UNKNOWN)
			return false;
	if (in->d->install == INSTALL_GUEST && !o->from_disk &&
	    in->d->from != BOOT_IMAGE)
		return false;
	return !in->d->disk || o->mounted;
}

static void plan_up(struct plan *p, const struct input *in)
{
	const struct plan_observed *o = in->o;

	if (in->h->failed) {
		p->state = STATE_FAILED;
		p->stage = in->h->failed_stage;
		p->settled = true;
		/* Its check goes on, and may find it well again. */
		if (in->h->failed_check && o->machine == MACHINE_RUNNING &&
		    !o->connected) {
			p->settled = false;
			p->step = STEP_CONNECT;
			p->why = "SSH is tried, for the check that failed";
		}
		return;
	}
	if (o->machine == MACHINE_RUNNING && in->d->leave == o->launch &&
	    o->launch != 0) {
		plan_stop(p, in, in->d->leave_hard);
		return;
	}
	bool found = plan_start(p, in) || plan_network(p, in);
	if (!found && !o->fits)
		found = act(p, STEP_APPLY, STAGE_MACHINE,
		    "plugs, links and disks are put right");
	found = found || plan_boot(p, in) || plan_ssh(p, in) ||
		plan_disk(p, in) || plan_install(p, in) || plan_setup(p, in);
	if (found) {
		if (p->step != STEP_FAIL && stays_up(p, in))
			p->state = STATE_UP;
		return;
	}
	p->settled = !plan_hosts(p, in);
	p->state = STATE_UP;
}

struct plan plan_next(const struct plan_desired *d,
    const struct plan_observed *o, const struct plan_history *h, uint64_t now)
{
	const struct input in = {d, o, h, now};
	struct plan p = {
	    .step = STEP_NONE,
	    .stage = STAGES,
	    .state = STATE_DOWN,
	    .why = "",
	    .wake_at = USEC_NEVER,
	};

	if (o->machine == MACHINE_UNKNOWN) {
		act(&p, STEP_OBSERVE, STAGE_MACHINE,
		    "looking whether a machine runs");
		p.state = d->power == POWER_UP ? STATE_STARTING : STATE_DOWN;
		if (h->failed)
			p.state = STATE_FAILED;
		return p;
	}
	if (d->power == POWER_UP)
		plan_up(&p, &in);
	else
		plan_down(&p, &in);
	return p;
}
