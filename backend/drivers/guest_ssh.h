/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the ssh guest driver share: guest_ssh.c has the session,
 * guest_ask.c what is asked of the guest through it.  Nobody else includes
 * this.
 */
#ifndef RACKFS_GUEST_SSH_H
#define RACKFS_GUEST_SSH_H

#include "driver.h"
#include "host/sha256.h"
#include "host/ssh.h"

enum link { OFF, PROBING, LOGGING, ON };

struct guest {
	const struct driver_env *env;
	enum link link;
	struct ssh_probe *probe;
	struct ssh *ssh;
	struct ssh **retired; /* given up, and not broken yet */
	size_t n_retired;
	struct ssh_job *job;
	struct op_slot call;
	bool given_up; /* disconnect has ended the job */
	struct loop_source *timer;
	bool right;
	char wrong[256], boot_id[40];
	char refusal[200]; /* how the last log-in failed */
	unsigned logins;

	/* Copies of the slice that connect or configure was given. */
	char *host, *user, *key_file, *host_key, *hostname, *hosts, *keys;
	uint16_t port;
	bool netboot;
	struct guest_nic nics[NICS_MAX];
	size_t n_nics;
	char hosts_digest[SHA256_HEX], keys_digest[SHA256_HEX]; /* "": none */
	unsigned round;
	bool hosts_due, keys_due;

	char **peer_names;
	struct guest_peer *peers;
	struct guest_reach *reached;
	size_t n_peers;
};

void guest_log(struct guest *g, const char *text);
void guest_begin(struct guest *g, struct op *op, void (*cancel)(struct op *op));
/* The operation ends with code and call.err; the first call counts. */
void guest_finish(struct guest *g, int code);
void guest_cancel_job(struct op *op);
int guest_need_session(struct guest *g, struct err *err);
void guest_take_slice(struct guest *g, const struct guest_slice *s);

int guest_ssh_configure(void *self, const struct guest_slice *slice,
    struct op *op, struct err *err);
int guest_ssh_poweroff(void *self, struct op *op, struct err *err);
int guest_ssh_reach(void *self, const struct guest_peer *peers, size_t n,
    struct op *op, struct err *err);
size_t guest_ssh_reached(void *self, const struct guest_reach **ret);
void guest_free_peers(struct guest *g);

#endif
