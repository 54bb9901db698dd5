/* SPDX-License-Identifier: Apache-2.0
 *
 * The words that users see, each in one table: states, stages, verbs.
 */
#ifndef RACKFS_STATE_H
#define RACKFS_STATE_H

#include "util.h"

enum node_state {
	STATE_DOWN,
	STATE_STARTING,
	STATE_BOOTING,
	STATE_PARTITIONING,
	STATE_INSTALLING,
	STATE_CONFIGURING,
	STATE_UP,
	STATE_STOPPING,
	STATE_FAILED,
	NODE_STATES
};

enum network_state {
	NET_DOWN,
	NET_STARTING,
	NET_UP,
	NET_FAILED,
	NETWORK_STATES
};
enum image_state {
	IMAGE_MISSING,
	IMAGE_BUILDING,
	IMAGE_READY,
	IMAGE_FAILED,
	IMAGE_STATES
};
enum cluster_state {
	CLUSTER_UP,
	CLUSTER_CONVERGING,
	CLUSTER_FAILED,
	CLUSTER_DOWN,
	CLUSTER_STATES
};

/* The stages of a node on its way up, in order. */
enum stage {
	STAGE_IMAGE,
	STAGE_NETWORK,
	STAGE_MACHINE,
	STAGE_BOOT,
	STAGE_SSH,
	STAGE_PARTITION,
	STAGE_INSTALL,
	STAGE_CONFIGURE,
	STAGE_RUN,
	STAGE_SERVICES,
	STAGES
};
enum stage_state {
	STAGE_WAITING,
	STAGE_RUNNING,
	STAGE_DONE,
	STAGE_FAILED,
	STAGE_STATES
};

enum verb {
	VERB_UP,
	VERB_DOWN,
	VERB_OFF,
	VERB_REBOOT,
	VERB_RESET,
	VERB_WIPE,
	VERB_CHECK,
	VERBS
};

enum power { POWER_DOWN, POWER_OFF, POWER_UP, POWERS }; /* wanted */

const char *node_state_name(enum node_state s);
const char *network_state_name(enum network_state s);
const char *image_state_name(enum image_state s);
const char *cluster_state_name(enum cluster_state s);
const char *stage_name(enum stage s);
const char *stage_state_name(enum stage_state s);
const char *verb_name(enum verb v);
const char *power_name(enum power p);
int stage_parse(const char *name, enum stage *ret); /* or -EINVAL */
int verb_parse(const char *name, enum verb *ret);
int power_parse(const char *name, enum power *ret);
/* The word that `state` shows while a stage runs. */
enum node_state stage_shows(enum stage s);

#endif
