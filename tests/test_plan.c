// SPDX-License-Identifier: Apache-2.0
/*
 * The planner as tables: desired, observed, history -> step, word, settled.
 */
#include "plan.h"
#include "test.h"

#define S USEC_PER_SEC

/* A row says how it differs from what the macros say. */
#pragma GCC diagnostic ignored "-Woverride-init"

struct row {
	const char *name;
	struct plan_desired d;
	struct plan_observed o;
	struct plan_history h;
	uint64_t now;
	enum step step;
	enum node_state state;
	bool settled;
	uint64_t wake_at; /* 0: not looked at */
	enum fail fail;
};

#define UP                                                                     \
	.power = POWER_UP, .image = true, .network = true, .identity = true,   \
	.boot_timeout = 600 * S, .boot_silence = 60 * S,                       \
	.stop_timeout = 30 * S
#define READY .image_ready = true, .networks_up = true, .fits = true
#define RUNS                                                                   \
	READY, .machine = MACHINE_RUNNING, .launch = 7, .started = 10 * S,     \
	       .last_output = 20 * S
#define SSH RUNS, .marked = true, .connected = true, .guest_right = YES

static const struct row rows[] = {
    {"down and nothing runs", {.power = POWER_DOWN}, {.machine = MACHINE_NONE},
	{0}, 0, STEP_NONE, STATE_DOWN, true},
    {"not looked yet", {UP}, {.machine = MACHINE_UNKNOWN}, {0}, 0, STEP_OBSERVE,
	STATE_STARTING, false},
    {"not looked yet, wanted down", {.power = POWER_DOWN},
	{.machine = MACHINE_UNKNOWN}, {0}, 0, STEP_OBSERVE, STATE_DOWN, false},
    {"the image first", {UP}, {.machine = MACHINE_NONE}, {0}, 0, STEP_IMAGE,
	STATE_STARTING, false},
    {"the image failed", {UP}, {.machine = MACHINE_NONE, .image_failed = true},
	{0}, 0, STEP_FAIL, STATE_STARTING, false, 0, FAIL_IMAGE},
    {"then the network", {UP}, {.machine = MACHINE_NONE, .image_ready = true},
	{0}, 0, STEP_NETWORK, STATE_STARTING, false},
    {"the network failed", {UP},
	{.machine = MACHINE_NONE, .image_ready = true, .networks_failed = true},
	{0}, 0, STEP_FAIL, STATE_STARTING, false, 0, FAIL_NETWORK},
    {"then the machine", {UP}, {.machine = MACHINE_NONE, READY}, {0}, 0,
	STEP_START, STATE_STARTING, false},
    {"a fake one asks for neither", {.power = POWER_UP},
	{.machine = MACHINE_NONE}, {0}, 0, STEP_START, STATE_STARTING, false},
    {"not before the delay is over", {UP}, {.machine = MACHINE_NONE, READY},
	{.restarts = 1, .retry_at = 5 * S}, 4 * S, STEP_NONE, STATE_STARTING,
	false, 5 * S},
    {"after the delay", {UP}, {.machine = MACHINE_NONE, READY},
	{.restarts = 1, .retry_at = 5 * S}, 5 * S, STEP_START, STATE_STARTING,
	false},
    {"it ended too often", {UP}, {.machine = MACHINE_NONE, READY},
	{.restarts = RESTARTS_MAX + 1}, 5 * S, STEP_FAIL, STATE_STARTING, false,
	0, FAIL_RESTARTS},
    {"it boots", {UP}, {RUNS}, {0}, 21 * S, STEP_NONE, STATE_BOOTING, false,
	80 * S},
    {"silence counts from the last byte", {UP}, {RUNS}, {0}, 80 * S, STEP_FAIL,
	STATE_BOOTING, false, 0, FAIL_SILENCE},
    {"silence may be off",
	{.power = POWER_UP, .identity = true, .boot_timeout = 600 * S}, {RUNS},
	{0}, 80 * S, STEP_NONE, STATE_BOOTING, false, 610 * S},
    {"boot_timeout",
	{.power = POWER_UP, .identity = true, .boot_timeout = 600 * S}, {RUNS},
	{0}, 610 * S, STEP_FAIL, STATE_BOOTING, false, 0, FAIL_BOOT},
    {"marked: SSH", {UP}, {RUNS, .marked = true}, {0}, 30 * S, STEP_CONNECT,
	STATE_BOOTING, false, 610 * S},
    {"no marks from a stranger: SSH",
	{.power = POWER_UP, .boot_timeout = 60 * S}, {RUNS}, {0}, 30 * S,
	STEP_CONNECT, STATE_BOOTING, false, 70 * S},
    {"SSH never answers", {UP}, {RUNS, .marked = true}, {0}, 610 * S, STEP_FAIL,
	STATE_BOOTING, false, 0, FAIL_SSH},
    {"the deadline counts from a lost session", {UP},
	{RUNS, .marked = true, .disconnected = 600 * S}, {0}, 610 * S,
	STEP_CONNECT, STATE_BOOTING, false, 1200 * S},
    {"names are looked at", {UP}, {RUNS, .marked = true, .connected = true},
	{0}, 30 * S, STEP_CONFIGURE, STATE_BOOTING, false},
    {"up", {UP}, {SSH}, {0}, 30 * S, STEP_NONE, STATE_UP, true},
    {"host lines are pushed beside", {UP},
	{RUNS, .marked = true, .connected = true, .guest_right = NO}, {0},
	30 * S, STEP_CONFIGURE, STATE_UP, false},
    {"a killed switch is mended beside", {UP}, {SSH, .networks_up = false}, {0},
	30 * S, STEP_NETWORK, STATE_UP, false},
    {"a NIC is plugged again beside", {UP}, {SSH, .fits = false}, {0}, 30 * S,
	STEP_APPLY, STATE_UP, false},
    {"the disk is looked at", {UP, .disk = true}, {SSH}, {0}, 30 * S,
	STEP_DISK_LOOK, STATE_PARTITIONING, false},
    {"a blank disk", {UP, .disk = true}, {SSH, .disk = DISK_BLANK}, {0}, 30 * S,
	STEP_PARTITION, STATE_PARTITIONING, false},
    {"ours, half done", {UP, .disk = true}, {SSH, .disk = DISK_OURS_PARTIAL},
	{0}, 30 * S, STEP_PARTITION, STATE_PARTITIONING, false},
    {"ours, not mounted", {UP, .disk = true}, {SSH, .disk = DISK_OURS}, {0},
	30 * S, STEP_PARTITION, STATE_PARTITIONING, false},
    {"ours, mounted", {UP, .disk = true},
	{SSH, .disk = DISK_OURS, .mounted = true}, {0}, 30 * S, STEP_NONE,
	STATE_UP, true},
    {"ours, grown", {UP, .disk = true},
	{SSH, .disk = DISK_OURS_GROWN, .mounted = true}, {0}, 30 * S,
	STEP_PARTITION, STATE_UP, false},
    {"a foreign disk is never touched", {UP, .disk = true},
	{SSH, .disk = DISK_FOREIGN}, {0}, 30 * S, STEP_FAIL, STATE_PARTITIONING,
	false, 0, FAIL_FOREIGN},
    {"failed stays failed", {UP}, {SSH},
	{.failed = true, .failed_stage = STAGE_PARTITION}, 30 * S, STEP_NONE,
	STATE_FAILED, true},
    {"down: the guest is asked", {.power = POWER_DOWN}, {SSH}, {0}, 30 * S,
	STEP_POWEROFF, STATE_STOPPING, false},
    {"down: it is waited for", {.power = POWER_DOWN, .stop_timeout = 30 * S},
	{SSH}, {.asked = 7, .asked_at = 30 * S}, 31 * S, STEP_NONE,
	STATE_STOPPING, false, 60 * S},
    {"down: the plug at stop_timeout",
	{.power = POWER_DOWN, .stop_timeout = 30 * S}, {SSH},
	{.asked = 7, .asked_at = 30 * S}, 60 * S, STEP_KILL, STATE_STOPPING,
	false},
    {"down: another run was asked",
	{.power = POWER_DOWN, .stop_timeout = 30 * S}, {SSH},
	{.asked = 6, .asked_at = 30 * S}, 60 * S, STEP_POWEROFF, STATE_STOPPING,
	false},
    {"off: the plug", {.power = POWER_OFF}, {SSH}, {0}, 30 * S, STEP_KILL,
	STATE_STOPPING, false},
    {"wipe when down", {.power = POWER_DOWN, .wipe = true},
	{.machine = MACHINE_NONE}, {0}, 0, STEP_WIPE, STATE_DOWN, false},
    {"wipe not while it runs", {.power = POWER_DOWN, .wipe = true}, {SSH}, {0},
	0, STEP_POWEROFF, STATE_STOPPING, false},
    {"wipe before the start", {UP, .wipe = true},
	{.machine = MACHINE_NONE, READY}, {0}, 0, STEP_WIPE, STATE_STARTING,
	false},
    {"a wipe that failed", {.power = POWER_DOWN, .wipe = true},
	{.machine = MACHINE_NONE},
	{.failed = true, .failed_stage = STAGE_PARTITION}, 0, STEP_NONE,
	STATE_FAILED, true},
    {"reboot: this run is left", {UP, .leave = 7}, {SSH}, {0}, 30 * S,
	STEP_POWEROFF, STATE_STOPPING, false},
    {"reset: at once", {UP, .leave = 7, .leave_hard = true}, {SSH}, {0}, 30 * S,
	STEP_KILL, STATE_STOPPING, false},
    {"reboot: the new run is not left", {UP, .leave = 6}, {SSH}, {0}, 30 * S,
	STEP_NONE, STATE_UP, true},
    {"reboot: it has gone", {UP, .leave = 7},
	{.machine = MACHINE_NONE, READY, .launch = 7}, {0}, 30 * S, STEP_START,
	STATE_STARTING, false},
};

static void check_row(const struct row *r)
{
	struct plan p = plan_next(&r->d, &r->o, &r->h, r->now);
	int before = test_failed;

	CHECK_STR(step_name(p.step), step_name(r->step));
	CHECK_STR(node_state_name(p.state), node_state_name(r->state));
	CHECK_INT(p.settled, r->settled);
	CHECK_INT(p.fail, r->fail);
	if (r->wake_at)
		CHECK_INT((long long)p.wake_at, (long long)r->wake_at);
	if (test_failed != before)
		printf("# in the row \"%s\"\n", r->name);
}

static void table(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		check_row(&rows[i]);
}

/* Whatever the input: a settled plan has no step and nothing to wait for, and
 * an unsettled one has a step, or a time to look again. */
static void settled_means_nothing_to_do(void)
{
	uint32_t x = 1;

	for (int i = 0; i < 200000; i++) {
		struct plan_desired d = {UP};
		struct plan_observed o = {.launch = 7};
		struct plan_history h = {0};
		struct plan p;

#define BIT     (x = x * 1664525u + 1013904223u, x >> 31)
#define PICK(n) (x = x * 1664525u + 1013904223u, (uint64_t)((x >> 16) % (n)))
		d.power = (unsigned)PICK(POWERS);
		d.leave = BIT ? 7 : 0;
		d.leave_hard = BIT;
		d.wipe = BIT;
		d.image = BIT;
		d.network = BIT;
		d.identity = BIT;
		d.disk = BIT;
		o.machine = (unsigned)PICK(3);
		o.started = PICK(5) * 100 * S;
		o.last_output = PICK(5) * 100 * S;
		o.marked = BIT;
		o.image_ready = BIT;
		o.image_failed = BIT;
		o.networks_up = BIT;
		o.networks_failed = BIT;
		o.fits = BIT;
		o.connected = BIT;
		o.guest_right = (unsigned)PICK(3);
		o.disk = (unsigned)PICK(DISK_CONTENTS);
		o.mounted = BIT;
		h.failed = BIT && BIT;
		h.restarts = (unsigned)PICK(8);
		h.retry_at = PICK(5) * 100 * S;
		h.asked = BIT ? 7 : 0;
		p = plan_next(&d, &o, &h, PICK(10) * 100 * S);
		if (p.settled)
			CHECK(p.step == STEP_NONE && p.wake_at == USEC_NEVER &&
			      !p.waiting_for[0]);
		else
			CHECK(p.step != STEP_NONE || p.wake_at != USEC_NEVER);
		CHECK((p.step == STEP_FAIL) == (p.fail != FAIL_NONE));
		if (o.disk == DISK_FOREIGN)
			CHECK(p.step != STEP_PARTITION);
		if (test_failed)
			break;
	}
}

static void delays_grow(void)
{
	CHECK_INT(plan_restart_delay(0), 0);
	CHECK_INT(plan_restart_delay(1), 1 * S);
	CHECK_INT(plan_restart_delay(2), 2 * S);
	CHECK_INT(plan_restart_delay(6), 32 * S);
	CHECK_INT(plan_restart_delay(100), 32 * S);
}

static const struct test_case cases[] = {
    CASE(table),
    CASE(settled_means_nothing_to_do),
    CASE(delays_grow),
};
TEST_MAIN(cases)
