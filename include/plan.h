/* SPDX-License-Identifier: Apache-2.0
 *
 * What a node needs next: a pure function of what is desired, what is
 * observed, what was tried, and the time.  It does no I/O, reads no clock and
 * keeps nothing, so no stored plan can go stale.
 */
#ifndef RACKFS_PLAN_H
#define RACKFS_PLAN_H

#include "driver.h"
#include "state.h"

enum step {
	STEP_NONE,
	STEP_OBSERVE, /* find out whether a machine runs */
	STEP_IMAGE,   /* see to the images */
	STEP_NETWORK, /* see to the networks */
	STEP_START,
	STEP_APPLY,     /* plugs, links, disk size of the running machine */
	STEP_CONNECT,   /* SSH */
	STEP_CONFIGURE, /* names, addresses, host lines */
	STEP_DISK_LOOK,
	STEP_PARTITION,
	STEP_INSTALL, /* copy the system, make its boot entry */
	STEP_SEAL,    /* the installation is whole: its marker */
	STEP_SETUP_LOOK,
	STEP_SETUP,    /* files, commands, services: `part` */
	STEP_POWEROFF, /* ask the guest */
	STEP_KILL,     /* pull the plug */
	STEP_WIPE,
	STEP_FAIL, /* `fail` says why */
	STEPS
};
const char *step_name(enum step s);

enum fail {
	FAIL_NONE,
	FAIL_IMAGE,    /* the image failed */
	FAIL_NETWORK,  /* a network failed */
	FAIL_BOOT,     /* boot_timeout: no mark on the console */
	FAIL_SILENCE,  /* boot_silence */
	FAIL_SSH,      /* boot_timeout: SSH did not answer */
	FAIL_RESTARTS, /* it ended too often */
	FAIL_FOREIGN,  /* the disk holds something else */
	FAIL_AFTER,    /* a node that comes before it failed */
	FAIL_NO_DISK,  /* boot.from is disk, and nothing is installed */
	FAILS
};

enum tri { UNKNOWN, NO, YES };

/* How the system of the spec gets on the disk. */
enum install_way {
	INSTALL_NONE,
	INSTALL_GUEST, /* from a netboot guest: rootfs, closure */
	INSTALL_COLD,  /* while the machine is off: a disk image */
};

struct plan_desired {
	enum power power;
	uint64_t leave; /* a run to be left for a new one; 0: none */
	bool leave_hard;
	bool wipe;
	bool image, network; /* the node needs them to run */
	bool identity;       /* a guest of ours: it marks its boot */
	bool disk;           /* a layout is asked for */
	enum install_way install;
	enum boot_from from;
	bool disk_marks; /* a system on the disk marks its boot as well */
	bool image_disk; /* the boot image is needed to start from the disk */
	bool setup[SETUP_PARTS];   /* there is something of this part */
	bool offline[SETUP_PARTS]; /* ... to be written before the first boot
				    */
	bool services;             /* the spec has some */
	bool repair;               /* what has drifted is put right */
	uint64_t boot_timeout, boot_silence, stop_timeout; /* usec; silence 0:
							    * off */
};

struct plan_observed {
	enum machine_state machine;
	uint64_t launch, started, last_output; /* as machine_look */
	bool marked;
	const char *image, *system, *network; /* what a wait for them says */
	bool image_ready, image_failed;
	bool system_ready, system_failed; /* the image to install */
	/* A node that comes before it is wanted up and not there yet; one that
	 * comes after it still runs.  NULL: none. */
	const char *before_pending, *after_running;
	bool before_failed;
	bool from_disk; /* this run was started from the disk */
	bool was_up;    /* this run was up once */
	bool networks_up, networks_failed;
	bool fits; /* plugs, links and disk size are those of the spec */
	bool connected;
	uint64_t
	    disconnected;     /* when SSH was last lost in this run; 0: never */
	enum tri guest_right; /* names, addresses, host lines */
	bool hosts_stale;     /* other nodes came or went since */
	enum disk_content disk;
	bool mounted;
	enum tri installed; /* sealed */
	enum tri copied;
	enum tri offline[SETUP_PARTS]; /* below the disk's root */
	/* NO: it was looked at and differs; UNKNOWN: to be put right. */
	enum tri setup[SETUP_PARTS];
	bool setup_look; /* it is time to look again */
};

struct plan_history {
	bool failed;
	enum stage failed_stage;
	bool failed_after; /* ... since a node that comes before it did */
	bool failed_check; /* ... since a required check did, which goes on */
	uint64_t retry_at; /* not before; 0: at once */
	unsigned restarts; /* in a row without being up */
	uint64_t asked;    /* run that was asked to power off; 0: none */
	uint64_t asked_at;
};

#define RESTARTS_MAX 5

#define PLAN_WAITING_MAX 96 /* the name of an object, and what of it */

struct plan {
	enum step step;
	enum stage stage;      /* that it is about; STAGES: none */
	enum setup_part part;  /* of STEP_SETUP */
	bool offline;          /* ... below the root of the disk */
	enum node_state state; /* the word that users read */
	bool settled;          /* nothing to do and nothing awaited */
	const char *why;       /* static, for people; "" when nothing */
	char waiting_for[PLAN_WAITING_MAX]; /* "" when for nothing */
	uint64_t wake_at; /* look again then; USEC_NEVER: no need */
	enum fail fail;
};

struct plan plan_next(const struct plan_desired *d,
    const struct plan_observed *o, const struct plan_history *h, uint64_t now);

/* The delay before start number `restarts` + 1 in a row. */
uint64_t plan_restart_delay(unsigned restarts);

#endif
