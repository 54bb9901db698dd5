/* SPDX-License-Identifier: Apache-2.0
 *
 * Does something answer?  One try of a TCP connection, an HTTP request or a
 * command, from this host or from a guest.  Drivers call it; how often, and
 * what follows, is theirs.
 */
#ifndef RACKFS_KNOCK_H
#define RACKFS_KNOCK_H

#include "err.h"
#include "loop.h"

struct ssh;
struct knock;

struct knock_options {        /* copied */
	struct ssh *guest;    /* from there; NULL: from this host */
	char *const *command; /* or */
	const char *unit;     /* of systemd: is it active?  or */
	const char *address;  /* dotted quad, and: */
	uint16_t port;        /* a connection is enough, or */
	const char *target;   /* HTTP: "/health": 200 to 399 will do */
	const char *host;     /* its Host header; NULL: the address */
	const char *folder;   /* of a command on this host; NULL: ours */
	uint64_t timeout;     /* usec from now */
	/* Once, on the loop's thread.  code 0: it was tried, and `detail`, one
	 * line, tells what came of it; -EAGAIN: the session to the guest broke,
	 * and detail says so. */
	void (*done)(int code, bool pass, const char *detail, void *userdata);
	void *userdata;
};
/* done never fires from within. */
int knock_start(struct loop *l, const struct knock_options *o,
    struct knock **ret, struct err *err);
/* Gives it up, done does not fire.  NULL is legal, and after done too. */
void knock_free(struct knock *k);

#endif
