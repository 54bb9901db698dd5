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
	enum setup_part part; /* of STEP_SETUP */
	bool offline;
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
/* A root file system that is copied from a netboot guest. */
#define ROOTFS                                                                 \
	UP, .disk = true, .install = INSTALL_GUEST, .image_disk = true,        \
	    .repair = true, .services = true, .setup = {true, true, true},     \
	    .offline = {true, false, true}
#define MOUNTED SSH, .disk = DISK_OURS, .mounted = true
#define SYSTEM  .system_ready = true
#define ON_DISK MOUNTED, .installed = YES, .from_disk = true
#define ALL(x)                                                                 \
	{                                                                      \
		x, x, x                                                        \
	}
#define WHOLE_DISK      UP, .install = INSTALL_COLD
#define SET_UP(f, r, s) .setup = {f, r, s}

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
    {"others came: their lines are pushed beside", {UP},
	{SSH, .hosts_stale = true}, {0}, 30 * S, STEP_CONFIGURE, STATE_UP,
	false},
    {"others come and go: its own disk comes first", {UP, .disk = true},
	{SSH, .hosts_stale = true}, {0}, 30 * S, STEP_DISK_LOOK,
	STATE_PARTITIONING, false},
    {"others come and go: it is installed", {ROOTFS},
	{MOUNTED, .hosts_stale = true, SYSTEM}, {0}, 30 * S, STEP_INSTALL,
	STATE_INSTALLING, false},
    {"others come and go: its own services come first", {ROOTFS},
	{ON_DISK, SET_UP(YES, YES, UNKNOWN), .hosts_stale = true}, {0}, 30 * S,
	STEP_SETUP, STATE_CONFIGURING, false, 0, FAIL_NONE, SETUP_SERVICES},
    {"others came: an installed system gets their lines beside", {ROOTFS},
	{ON_DISK, .setup = ALL(YES), .hosts_stale = true}, {0}, 30 * S,
	STEP_SETUP, STATE_UP, false, 0, FAIL_NONE, SETUP_FILES},
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
    {"a check that failed goes on", {UP}, {RUNS, .marked = true},
	{.failed = true, .failed_stage = STAGE_SERVICES, .failed_check = true},
	30 * S, STEP_CONNECT, STATE_FAILED, false},
    {"... and needs no more than SSH", {UP}, {SSH},
	{.failed = true, .failed_stage = STAGE_SERVICES, .failed_check = true},
	30 * S, STEP_NONE, STATE_FAILED, true},
    {"... of a machine that runs", {UP}, {.machine = MACHINE_NONE},
	{.failed = true, .failed_stage = STAGE_SERVICES, .failed_check = true},
	30 * S, STEP_NONE, STATE_FAILED, true},
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

    /* --- the system on the disk --- */
    {"both images before the first start", {ROOTFS},
	{.machine = MACHINE_NONE, READY}, {0}, 0, STEP_IMAGE, STATE_STARTING,
	false},
    {"the system's image failed", {ROOTFS},
	{.machine = MACHINE_NONE, READY, .system_failed = true}, {0}, 0,
	STEP_FAIL, STATE_STARTING, false, 0, FAIL_IMAGE},
    {"a boot image that failed is not waited for by one who has a disk",
	{ROOTFS, .image_disk = false},
	{.machine = MACHINE_NONE,
	    .networks_up = true,
	    .fits = true,
	    .installed = YES,
	    .image_failed = true},
	{0}, 0, STEP_START, STATE_STARTING, false},
    {"... but by one whose kernel comes from it", {ROOTFS},
	{.machine = MACHINE_NONE,
	    .networks_up = true,
	    .fits = true,
	    .installed = YES,
	    .image_failed = true},
	{0}, 0, STEP_FAIL, STATE_STARTING, false, 0, FAIL_IMAGE},
    {"both are there", {ROOTFS}, {.machine = MACHINE_NONE, READY, SYSTEM}, {0},
	0, STEP_START, STATE_STARTING, false},
    {"a layout before the system", {ROOTFS}, {SSH, SYSTEM, .disk = DISK_BLANK},
	{0}, 30 * S, STEP_PARTITION, STATE_PARTITIONING, false},
    {"never on a foreign disk", {ROOTFS}, {SSH, SYSTEM, .disk = DISK_FOREIGN},
	{0}, 30 * S, STEP_FAIL, STATE_PARTITIONING, false, 0, FAIL_FOREIGN},
    {"the system is copied", {ROOTFS}, {MOUNTED, SYSTEM, .installed = NO}, {0},
	30 * S, STEP_INSTALL, STATE_INSTALLING, false},
    {"not known to be copied: looked at by copying", {ROOTFS},
	{MOUNTED, SYSTEM, .copied = UNKNOWN}, {0}, 30 * S, STEP_INSTALL,
	STATE_INSTALLING, false},
    {"configured below the root", {ROOTFS}, {MOUNTED, SYSTEM, .copied = YES},
	{0}, 30 * S, STEP_SETUP, STATE_INSTALLING, false, 0, FAIL_NONE,
	SETUP_FILES, true},
    {"services as well, commands not", {ROOTFS},
	{MOUNTED, SYSTEM, .copied = YES, .offline = {YES, UNKNOWN, UNKNOWN}},
	{0}, 30 * S, STEP_SETUP, STATE_INSTALLING, false, 0, FAIL_NONE,
	SETUP_SERVICES, true},
    {"then it is sealed", {ROOTFS},
	{MOUNTED, SYSTEM, .copied = YES, .offline = {YES, UNKNOWN, YES}}, {0},
	30 * S, STEP_SEAL, STATE_INSTALLING, false},
    {"nothing to configure: sealed at once",
	{UP, .disk = true, .install = INSTALL_GUEST},
	{MOUNTED, SYSTEM, .copied = YES}, {0}, 30 * S, STEP_SEAL,
	STATE_INSTALLING, false},
    {"the netboot system is left", {ROOTFS},
	{MOUNTED, SYSTEM, .installed = YES}, {0}, 30 * S, STEP_POWEROFF,
	STATE_INSTALLING, false},
    {"its end is awaited", {ROOTFS}, {MOUNTED, SYSTEM, .installed = YES},
	{.asked = 7, .asked_at = 30 * S}, 31 * S, STEP_NONE, STATE_INSTALLING,
	false, 60 * S},
    {"not for ever", {ROOTFS}, {MOUNTED, SYSTEM, .installed = YES},
	{.asked = 7, .asked_at = 30 * S}, 60 * S, STEP_KILL, STATE_INSTALLING,
	false},
    {"boot.from image stays there", {ROOTFS, .from = BOOT_IMAGE},
	{MOUNTED, SYSTEM, .installed = YES, .setup = ALL(YES)}, {0}, 30 * S,
	STEP_NONE, STATE_UP, true},
    {"... and installs first", {ROOTFS, .from = BOOT_IMAGE},
	{MOUNTED, SYSTEM, .setup = ALL(YES)}, {0}, 30 * S, STEP_INSTALL,
	STATE_INSTALLING, false},
    {"boot.from disk needs a system", {ROOTFS, .from = BOOT_DISK},
	{.machine = MACHINE_NONE, READY, SYSTEM}, {0}, 0, STEP_FAIL,
	STATE_STARTING, false, 0, FAIL_NO_DISK},
    {"boot.from disk with one", {ROOTFS, .from = BOOT_DISK},
	{.machine = MACHINE_NONE, READY, .installed = YES}, {0}, 0, STEP_START,
	STATE_STARTING, false},
    {"it starts from its disk, the system's image may go", {ROOTFS},
	{.machine = MACHINE_NONE,
	    READY,
	    .installed = YES,
	    .system_failed = true},
	{0}, 30 * S, STEP_START, STATE_STARTING, false},
    {"an installed system need not mark its boot", {ROOTFS},
	{RUNS, .installed = YES, .from_disk = true}, {0}, 30 * S, STEP_CONNECT,
	STATE_BOOTING, false, 610 * S},
    {"one that tells of its sshd is waited for a while",
	{ROOTFS, .disk_marks = true},
	{RUNS, .installed = YES, .from_disk = true}, {0}, 30 * S, STEP_NONE,
	STATE_BOOTING, false},
    {"until it did", {ROOTFS, .disk_marks = true},
	{RUNS, .installed = YES, .from_disk = true, .marked = true}, {0},
	30 * S, STEP_CONNECT, STATE_BOOTING, false},
    {"no longer than a while", {ROOTFS, .disk_marks = true},
	{RUNS, .installed = YES, .from_disk = true}, {0}, 310 * S, STEP_CONNECT,
	STATE_BOOTING, false},
    {"SSH never answers there", {ROOTFS},
	{RUNS, .installed = YES, .from_disk = true}, {0}, 610 * S, STEP_FAIL,
	STATE_BOOTING, false, 0, FAIL_SSH},
    {"a run from the disk installs nothing", {ROOTFS},
	{MOUNTED, .from_disk = true, .installed = NO, .setup = ALL(YES)}, {0},
	30 * S, STEP_NONE, STATE_UP, true},
    {"a whole disk is written while it is off", {WHOLE_DISK},
	{.machine = MACHINE_NONE, READY, SYSTEM}, {0}, 0, STEP_INSTALL,
	STATE_INSTALLING, false},
    {"its image first", {WHOLE_DISK}, {.machine = MACHINE_NONE, READY}, {0}, 0,
	STEP_IMAGE, STATE_STARTING, false},
    {"no boot image for it", {WHOLE_DISK},
	{.machine = MACHINE_NONE,
	    .networks_up = true,
	    .fits = true,
	    SYSTEM,
	    .image_failed = true},
	{0}, 0, STEP_INSTALL, STATE_INSTALLING, false},
    {"then it starts", {WHOLE_DISK},
	{.machine = MACHINE_NONE, READY, .installed = YES}, {0}, 0, STEP_START,
	STATE_STARTING, false},
    {"wiped: the system comes again", {WHOLE_DISK, .wipe = true},
	{.machine = MACHINE_NONE, READY, .installed = YES}, {0}, 0, STEP_WIPE,
	STATE_STARTING, false},

    /* --- files, commands, services --- */
    {"files first", {ROOTFS}, {ON_DISK}, {0}, 30 * S, STEP_SETUP,
	STATE_CONFIGURING, false, 0, FAIL_NONE, SETUP_FILES},
    {"then commands", {ROOTFS}, {ON_DISK, SET_UP(YES, UNKNOWN, UNKNOWN)}, {0},
	30 * S, STEP_SETUP, STATE_CONFIGURING, false, 0, FAIL_NONE, SETUP_RUN},
    {"then services", {ROOTFS}, {ON_DISK, SET_UP(YES, YES, UNKNOWN)}, {0},
	30 * S, STEP_SETUP, STATE_CONFIGURING, false, 0, FAIL_NONE,
	SETUP_SERVICES},
    {"then it is up", {ROOTFS}, {ON_DISK, .setup = ALL(YES)}, {0}, 30 * S,
	STEP_NONE, STATE_UP, true},
    {"parts that the spec has not are left out",
	{UP, .setup = {false, true, false}}, {SSH}, {0}, 30 * S, STEP_SETUP,
	STATE_CONFIGURING, false, 0, FAIL_NONE, SETUP_RUN},
    {"host lines changed beside", {ROOTFS},
	{ON_DISK, .was_up = true, SET_UP(UNKNOWN, YES, YES)}, {0}, 30 * S,
	STEP_SETUP, STATE_UP, false, 0, FAIL_NONE, SETUP_FILES},
    {"a look when it is time", {ROOTFS},
	{ON_DISK, .was_up = true, .setup = ALL(YES), .setup_look = true}, {0},
	30 * S, STEP_SETUP_LOOK, STATE_UP, false},
    {"drift is repaired", {ROOTFS},
	{ON_DISK, .was_up = true, SET_UP(YES, YES, NO)}, {0}, 30 * S,
	STEP_SETUP, STATE_UP, false, 0, FAIL_NONE, SETUP_SERVICES},
    {"or reported", {ROOTFS, .repair = false},
	{ON_DISK, .was_up = true, SET_UP(NO, YES, NO)}, {0}, 30 * S, STEP_NONE,
	STATE_UP, true},
    {"a change of the spec is no drift", {ROOTFS, .repair = false},
	{ON_DISK, .was_up = true, SET_UP(NO, UNKNOWN, NO)}, {0}, 30 * S,
	STEP_SETUP, STATE_UP, false, 0, FAIL_NONE, SETUP_RUN},

    /* --- order between nodes --- */
    {"who comes before is waited for", {UP},
	{.machine = MACHINE_NONE, READY, .before_pending = "node09"}, {0},
	30 * S, STEP_NONE, STATE_STARTING, false},
    {"before images and networks are seen to", {UP},
	{.machine = MACHINE_NONE, .before_pending = "node09"}, {0}, 30 * S,
	STEP_NONE, STATE_STARTING, false},
    {"one of them failed", {UP},
	{.machine = MACHINE_NONE,
	    READY,
	    .before_pending = "node09",
	    .before_failed = true},
	{0}, 30 * S, STEP_FAIL, STATE_STARTING, false, 0, FAIL_AFTER},
    {"one that runs is not touched", {UP},
	{SSH, .before_pending = "node09", .before_failed = true}, {0}, 30 * S,
	STEP_NONE, STATE_UP, true},
    {"down: who comes after goes first",
	{.power = POWER_DOWN, .stop_timeout = 30 * S},
	{SSH, .after_running = "node09"}, {0}, 30 * S, STEP_NONE,
	STATE_STOPPING, false},
    {"off waits for nobody", {.power = POWER_OFF},
	{SSH, .after_running = "node09"}, {0}, 30 * S, STEP_KILL,
	STATE_STOPPING, false},
};

static void check_row(const struct row *r)
{
	struct plan p = plan_next(&r->d, &r->o, &r->h, r->now);
	int before = test_failed;

	CHECK_STR(step_name(p.step), step_name(r->step));
	CHECK_STR(node_state_name(p.state), node_state_name(r->state));
	CHECK_INT(p.settled, r->settled);
	CHECK_INT(p.fail, r->fail);
	if (r->step == STEP_SETUP) {
		CHECK_INT(p.part, r->part);
		CHECK_INT(p.offline, r->offline);
	}
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
		d.install = (unsigned)PICK(3);
		d.from = (unsigned)PICK(3);
		d.image_disk = BIT;
		d.disk_marks = BIT;
		d.repair = BIT;
		o.system_ready = BIT;
		o.system_failed = BIT;
		o.before_pending = BIT && BIT ? "node09" : NULL;
		o.before_failed = BIT && BIT;
		o.after_running = BIT && BIT ? "node09" : NULL;
		o.from_disk = BIT;
		o.was_up = BIT;
		o.installed = BIT ? YES : NO;
		o.copied = (unsigned)PICK(3);
		o.setup_look = BIT;
		for (int k = 0; k < SETUP_PARTS; k++) {
			d.setup[k] = BIT;
			d.offline[k] = BIT;
			o.setup[k] = (unsigned)PICK(3);
			o.offline[k] = (unsigned)PICK(3);
		}
		h.failed = BIT && BIT;
		h.failed_check = BIT;
		h.restarts = (unsigned)PICK(8);
		h.retry_at = PICK(5) * 100 * S;
		h.asked = BIT ? 7 : 0;
		p = plan_next(&d, &o, &h, PICK(10) * 100 * S);
		if (p.settled)
			CHECK(p.step == STEP_NONE && p.wake_at == USEC_NEVER &&
			      !p.waiting_for[0]);
		else
			/* Other nodes wake it when it is their turn. */
			CHECK(p.step != STEP_NONE || p.wake_at != USEC_NEVER ||
			      ((o.before_pending || o.after_running) &&
				  p.waiting_for[0]));
		CHECK((p.step == STEP_FAIL) == (p.fail != FAIL_NONE));
		if (o.disk == DISK_FOREIGN)
			CHECK(p.step != STEP_PARTITION);
		/* A disk is written to from what is no part of it. */
		if (p.step == STEP_INSTALL || p.step == STEP_SEAL) {
			CHECK(o.installed != YES);
			CHECK(o.machine == MACHINE_RUNNING
				  ? !o.from_disk && d.install == INSTALL_GUEST
				  : d.install == INSTALL_COLD);
		}
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
