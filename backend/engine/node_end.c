// SPDX-License-Identifier: Apache-2.0
/*
 * What the end of a run means: a guest that powers itself off is wanted down,
 * one that reboots is started again, and so is one that ended by itself, after
 * a delay that grows.
 */
#include "engine/engine.h"

#define CALM_AFTER (60 * USEC_PER_SEC) /* up so long: restarts count anew */

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
	n->tries = n->reach_tries = 0;
	node_doubt_drop(n);
	if (n->guest_look)
		n->guest_look->connected = false;
	if (n->disk_look)
		*n->disk_look = (struct disk_look){0};
	node_setup_forget(n);
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

void node_handle_end(struct node *n)
{
	const struct machine_look *l = &n->machine_look;
	bool leaving = n->leave == l->launch || n->asking == l->launch;
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
	if (n->meta.power == POWER_UP && !leaving) {
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
			/* What has failed is not started again by itself. */
			if (!n->tried.failed)
				count_restart(n, why);
			break;
		}
	}
	node_compare_specs(n);
	history_save(n);
}
