/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the VDE driver share: network_vde.c has the calls and the
 * questions, network_vde_switch.c the switch's process.  Nobody else includes
 * this.
 */
#ifndef RACKFS_NETWORK_VDE_H
#define RACKFS_NETWORK_VDE_H

#include "drivers/drivers.h"
#include "host/vde_mgmt.h"

/* In the folder of a launch. */
#define SOCKET_DIR  "ctl"
#define MGMT_SOCKET "mgmt"

enum vde_step { IDLE, CONNECTING, ASKING, STOPPING };
/* What the operation is, and what follows a stop. */
enum vde_goal { GOAL_OBSERVE, GOAL_ENSURE, GOAL_REMOVE, GOAL_PORTS };

struct vde {
	const struct driver_env *env;
	struct launch *launch; /* NULL: none lives */
	char *endpoint;        /* absolute path of the socket directory */
	bool answers;          /* seen by the last look */
	bool hub;
	unsigned ports;
	bool observed;
	char end_text[256];

	struct op_slot call;
	enum vde_goal goal;
	enum vde_step step;
	struct network_slice want;
	uint64_t deadline;
	bool killed;  /* SIGKILL was sent */
	int restarts; /* in this operation */
	struct vde_mgmt *ask;
	struct loop_source *timer;

	struct network_port *table;
	size_t n_table;
};

/* The operation ends with code and call.err; the first call counts. */
void vde_finish(struct vde *v, int code);
/* The switch is asked as soon as its socket takes us; CONNECTING. */
void vde_connect_soon(struct vde *v);

/* network_vde_switch.c */
/* Starts one as v->want says, and goes on to CONNECTING. */
int vde_start(struct vde *v);
/* Takes over what lives from before.  1: something does. */
int vde_adopt(struct vde *v, struct err *err);
void vde_stop(struct vde *v, const char *why); /* STOPPING */
void vde_stop_harder(struct vde *v);           /* its patience is over */
void vde_forget(struct vde *v);                /* the switch lives on */

#endif
