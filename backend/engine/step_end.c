// SPDX-License-Identifier: Apache-2.0
/*
 * What came of a step: what its drivers saw, what that makes of the node, and
 * whether a fault is tried again, doubted or the node's failure.  Called when
 * an operation that step.c began has ended.
 */
#include <errno.h>
#include <stdio.h>
#include "engine/engine.h"

/* --- looking ------------------------------------------------------------- */

static bool plugs_differ(
    const struct machine_look *a, const struct machine_look *b)
{
	if (a->state != b->state || a->n_nics != b->n_nics)
		return true;
	for (size_t i = 0; i < a->n_nics; i++) {
		if (a->nics[i].incarnation != b->nics[i].incarnation ||
		    a->nics[i].link != b->nics[i].link)
			return true;
	}
	return false;
}

static void tell_networks(struct node *n)
{
	if (n->driver->virtual)
		return;
	for (size_t i = 0; i < n->n_nics; i++)
		network_plugs_changed(n->nics[i].network);
}

void node_look(struct node *n)
{
	if (n->machine) {
		struct machine_look before = n->machine_look;

		n->driver->machine->look(n->machine, &n->machine_look);
		if (plugs_differ(&before, &n->machine_look)) {
			touch(&n->o, ASPECT_LINKS);
			tell_networks(n);
		}
	}
	if (n->guest) {
		bool had = n->guest_look && n->guest_look->connected;

		if (!n->guest_look)
			n->guest_look = xcalloc(1, sizeof(*n->guest_look));
		n->driver->guest->look(n->guest, n->guest_look);
		if (had && !n->guest_look->connected) {
			n->disconnected = loop_now(n->o.c->loop);
			n->guest_right = UNKNOWN;
		}
	}
}

/* Only after a step that looked: what the driver saw in an earlier run of the
 * machine is no observation of this one. */
static void disk_looked(struct node *n, enum step step, int code)
{
	if (!n->disk ||
	    (step != STEP_PARTITION && (step != STEP_DISK_LOOK || code < 0)))
		return;
	if (!n->disk_look)
		n->disk_look = xcalloc(1, sizeof(*n->disk_look));
	n->driver->disk->look(n->disk, n->disk_look);
}

/* --- what came of it ----------------------------------------------------- */

static void started(struct node *n)
{
	struct cluster *c = n->o.c;
	_cleanup_buf_ struct buf b = {0};

	n->started_launch = n->machine_look.launch;
	n->handled = n->machine_look.launch - 1;
	n->leave = 0;
	n->disconnected = 0;
	if (spec_effective(SPEC_NODE, c->defaults, n->o.spec_text, &b, NULL) ==
	    0) {
		free(n->started_spec);
		n->started_spec = buf_take(&b);
		node_spec_free(TAKE_PTR(n->started));
		(void)node_spec_parse(NULL, n->started_spec, &n->started, NULL);
	}
	node_compare_specs(n);
	history_save(n);
	touch(&n->o, ASPECT_CONSOLE);
}

/* What the disk was made for: its sections of the spec as they are now, and
 * the firmware that it has a loader for. */
void node_keep_layout(struct node *n)
{
	static const char *const sections[] = {"disk", "install"};
	_cleanup_buf_ struct buf effective = {0}, doc = {0};

	if (spec_effective(SPEC_NODE, n->o.c->defaults, n->o.spec_text,
		&effective, NULL) < 0)
		return;
	buf_printf(&doc, "{\"boot\": {\"firmware\": \"%s\"}",
	    boot_firmware_name(n->spec->boot_firmware));
	for (size_t i = 0; i < ARRAY_SIZE(sections); i++) {
		_cleanup_buf_ struct buf section = {0};

		if (spec_section_get(
			buf_str(&effective), sections[i], &section, NULL) == 0)
			buf_printf(&doc, ", \"%s\": %s", sections[i],
			    buf_str(&section));
	}
	buf_puts(&doc, "}");
	free(n->meta.laid_out_spec);
	n->meta.laid_out_spec = buf_take(&doc);
	node_meta_put(n, NULL, NULL);
	node_compare_specs(n);
}

static void laid_out(struct node *n)
{
	if (n->meta.laid_out)
		return;
	n->meta.laid_out = true;
	node_keep_layout(n);
	event(&n->o, "disk", NULL, "laid-out", NULL, NULL);
}

static void partitioned(struct node *n)
{
	char text[400];

	if (n->disk_look->content == DISK_OURS && n->disk_look->mounted) {
		laid_out(n);
		return;
	}
	if (n->disk_look->content == DISK_OURS_GROWN)
		return; /* once more */
	snprintf(text, sizeof(text),
	    "after the layout was made the disk is %s: %s",
	    disk_content_name(n->disk_look->content), n->disk_look->found);
	node_doubt(n, STEP_PARTITION, STAGE_PARTITION, text);
}

static void wiped(struct node *n)
{
	node_meta_done(&(struct node_meta){
	    .laid_out_spec = TAKE_PTR(n->meta.laid_out_spec),
	    .disk = TAKE_PTR(n->meta.disk),
	    .installed = TAKE_PTR(n->meta.installed),
	    .volumes = TAKE_PTR(n->meta.volumes),
	});
	n->meta.n_volumes = 0;
	node_drop_kernel(n);
	n->meta.wipe = n->pending_wipe = false;
	n->meta.laid_out = n->meta.disk_used = false;
	if (n->disk_look)
		*n->disk_look = (struct disk_look){0};
	node_meta_put(n, NULL, NULL);
	node_compare_specs(n);
	event(&n->o, "disk", NULL, "wiped", NULL, NULL);
}

static void took_effect(struct node *n, enum step step)
{
	switch (step) {
	case STEP_OBSERVE:
		/* SSH is waited for from now on, not from its start. */
		n->disconnected = loop_now(n->o.c->loop);
		if (n->machine_look.state == MACHINE_RUNNING)
			event(&n->o, "adopted", NULL, NULL, NULL,
			    "run %llu goes on",
			    (unsigned long long)n->machine_look.launch);
		volumes_plugged(n, false);
		nics_came(n);
		adopted(n);
		node_compare_specs(n);
		for (size_t i = 0; i < n->n_nics; i++)
			mark_dirty(&n->nics[i].network->o);
		break;
	case STEP_START:
		started(n);
		break;
	case STEP_APPLY:
		volumes_plugged(n, n->applied == n->spec_digest);
		nics_came(n);
		break;
	case STEP_CONFIGURE:
		n->guest_right = n->guest_look->right ? YES : NO;
		if (n->guest_look->right)
			node_has_hosts(n);
		else
			node_doubt(n, step, STAGE_SSH, n->guest_look->wrong);
		break;
	case STEP_PARTITION:
		partitioned(n);
		break;
	case STEP_INSTALL:
		installed(n);
		break;
	case STEP_SEAL:
		sealed(n);
		break;
	case STEP_SETUP:
	case STEP_SETUP_LOOK:
		set_up(n, step == STEP_SETUP_LOOK);
		break;
	case STEP_POWEROFF:
		n->tried.asked = n->machine_look.launch;
		n->tried.asked_at = now_mono();
		history_save(n);
		break;
	case STEP_WIPE:
		wiped(n);
		break;
	default:
		break;
	}
}

static enum stage stage_of(const struct node *n, enum step step)
{
	static const enum stage parts[SETUP_PARTS] = {
	    [SETUP_FILES] = STAGE_CONFIGURE,
	    [SETUP_RUN] = STAGE_RUN,
	    [SETUP_SERVICES] = STAGE_SERVICES,
	};

	switch (step) {
	case STEP_CONNECT:
	case STEP_CONFIGURE:
		return STAGE_SSH;
	case STEP_DISK_LOOK:
	case STEP_PARTITION:
	case STEP_WIPE:
		return STAGE_PARTITION;
	case STEP_INSTALL:
	case STEP_SEAL:
		return STAGE_INSTALL;
	case STEP_SETUP_LOOK:
		return STAGE_CONFIGURE;
	case STEP_SETUP:
		return n->doing_offline ? STAGE_INSTALL : parts[n->doing_part];
	default:
		return STAGE_MACHINE;
	}
}

static bool needs_machine(const struct node *n, enum step step)
{
	if (step == STEP_INSTALL)
		return node_install_way(n) == INSTALL_GUEST;
	return step == STEP_APPLY || step == STEP_CONNECT ||
	       step == STEP_CONFIGURE || step == STEP_DISK_LOOK ||
	       step == STEP_PARTITION || step == STEP_KILL ||
	       step == STEP_SEAL || step == STEP_SETUP ||
	       step == STEP_SETUP_LOOK;
}

/* A passing fault is tried again a few times, with a growing delay. */
static bool try_again(struct node *n, int code, const struct err *err)
{
	if (code != -EAGAIN || ++n->tries > TRIES_MAX)
		return false;
	n->hold_until = loop_now(n->o.c->loop) + 250 * USEC_PER_MSEC * n->tries;
	object_logf(&n->o, "%s: tried again soon: %s", step_name(n->doing),
	    err_text(err));
	return true;
}

static void failed(struct node *n, enum step step, const struct err *err)
{
	bool late = n->doing_due != n->due;

	/* The run that a failed start left is dealt with. */
	if (step == STEP_START && n->machine_look.state == MACHINE_NONE)
		n->handled = n->machine_look.launch;
	/* It knew nothing of what came meanwhile; what comes again and again
	 * is no excuse. */
	if (late && ++n->tries <= TRIES_MAX) {
		object_logf(&n->o, "%s: failed, and something has changed: %s",
		    step_name(step), err_text(err));
	} else if (!late && needs_machine(n, step)) {
		node_doubt(n, step, stage_of(n, step), err_text(err));
	} else {
		node_fail(n, stage_of(n, step), err_text(err));
	}
}

void step_ended(struct node *n, enum step step, int code, const struct err *err)
{
	struct err none = ERR_INIT;

	if (!err)
		none.code = code, err = &none;
	if (code == -ECANCELED || try_again(n, code, err)) {
		n->doing = STEP_NONE;
	} else {
		n->doing = STEP_NONE;
		n->hold_until = 0;
		node_look(n);
		disk_looked(n, step, code);
		if (code == 0) {
			n->tries = 0;
			took_effect(n, step);
		} else if (step == STEP_APPLY && code == -ENOTSUP) {
			volumes_refused(n, err_text(err));
		} else if (step == STEP_POWEROFF) {
			/* It is asked no more: the plug is next. */
			object_logf(&n->o, "power-off: %s", err_text(err));
			took_effect(n, step);
		} else {
			failed(n, step, err);
		}
		if (code == 0 && n->doing_again != n->again)
			node_look_again(n);
	}
	n->cancelling = n->timed_out = false;
	n->op_deadline = USEC_NEVER;
	/* The plan may have settled while this was still under way. */
	touch(&n->o, ASPECT_SETTLED);
	mark_dirty(&n->o);
}
