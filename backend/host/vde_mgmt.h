/* SPDX-License-Identifier: Apache-2.0
 *
 * vde_switch's management protocol: a unix stream socket with a banner and
 * the prompt "vde$ ".  A command is answered by "<code> <text>", for a table
 * after "0000 DATA END WITH '.'", the lines and a "."; 1000 is success.
 * The format is that of vde2 2.3.2 (vde_switch(1) shows only the commands).
 */
#ifndef RACKFS_VDE_MGMT_H
#define RACKFS_VDE_MGMT_H

#include "err.h"
#include "loop.h"

#define VDE_ANSWER_MAX   ((size_t)8 << 20) /* bytes of one answer */
#define VDE_SILENCE      (2 * USEC_PER_SEC)
#define VDE_COMMANDS_MAX 4
#define VDE_PORTS_MAX    65536

struct vde_mgmt;

/* Takes fd (connected, non-blocking), waits for the prompt, gives the commands
 * one after the other, and closes.  done fires once, never from within: 0
 * with one text a command (the lines of its table, borrowed); -ETIMEDOUT
 * after VDE_SILENCE without a byte; -EPROTO; -ECONNRESET. */
int vde_mgmt_ask(struct loop *l, int fd, const char *const *commands,
    size_t n_commands,
    void (*done)(int code, const struct buf *answers, const struct err *err,
	void *userdata),
    void *userdata, struct vde_mgmt **ret, struct err *err);
void vde_mgmt_free(struct vde_mgmt *m); /* done does not fire any more */

/* Is `text` a whole answer, prompt included?  1: *ret_body (borrowed, its
 * length in *ret_len) is the table, "" when it has none; 0: more must come;
 * -EPROTO: it can't become one, or the switch refused the command. */
int vde_answer(const char *text, size_t len, const char **ret_body,
    size_t *ret_len, struct err *err);

struct vde_port {
	unsigned number;
	bool plugged;
	int pid; /* of the program plugged there; 0: it did not say */
	uint64_t packets_in, bytes_in, packets_out, bytes_out;
};
/* The body of port/print.  *ret is owned by the caller; what is not understood
 * is skipped. */
size_t vde_ports_parse(const char *body, struct vde_port **ret);

struct vde_mac {
	uint8_t mac[6];
	unsigned vlan, port;
	unsigned long age; /* seconds */
};
/* The body of hash/print, as above. */
size_t vde_macs_parse(const char *body, struct vde_mac **ret);

/* The body of port/showinfo; false when it is something else. */
bool vde_info_parse(const char *body, unsigned *ret_ports, bool *ret_hub);

#endif
