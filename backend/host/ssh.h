/* SPDX-License-Identifier: Apache-2.0
 *
 * SSH sessions by libssh (its only user): one small thread for each open
 * session, jobs run one after the other, the session is kept and used again.
 * Every callback comes on the loop's thread, none from within the call that
 * takes it.
 */
#ifndef RACKFS_SSH_H
#define RACKFS_SSH_H

#include "err.h"
#include "loop.h"

struct ssh;
struct ssh_job;

struct ssh_target { /* copied */
	const char *host;
	uint16_t port;
	const char *user;
	const char *key_file; /* private key, no passphrase */
	const char *host_key; /* "ssh-ed25519 AAAA...": pinned; nothing else is
			       * ever accepted */
	uint64_t timeout;     /* usec for key exchange and log-in */
};

/* Waits for the SSH banner on the loop without a thread: connects, gives the
 * server 0.5 s to say "SSH-", tries again 0.1 s later, for ever.  done once it
 * was seen.  Free it to give up.  host is an address or "localhost". */
struct ssh_probe;
int ssh_probe_new(struct loop *l, const char *host, uint16_t port,
    void (*done)(void *userdata), void *userdata, struct ssh_probe **ret,
    struct err *err);
/* Tries so far, and how the last one ended ("connection refused"). */
unsigned ssh_probe_tries(const struct ssh_probe *p, const char **ret_last);
void ssh_probe_free(struct ssh_probe *p);

/* Connects and logs in.  `connected` fires once: 0; -EACCES (host key differs,
 * user key refused: err says which); -ETIMEDOUT, -ECONNREFUSED, -ECONNRESET.
 * `closed` fires once when a session that was connected breaks. */
int ssh_open(struct loop *l, const struct ssh_target *t,
    void (*connected)(
	struct ssh *s, int code, const struct err *err, void *userdata),
    void (*closed)(struct ssh *s, const struct err *err, void *userdata),
    void *userdata, struct ssh **ret, struct err *err);
/* Ends the session without waiting for it; no callback fires any more, also
 * none of jobs, and their pointers are void.  NULL is legal. */
void ssh_close(struct ssh *s);
/* libssh exports functions of these names, and calls them itself. */
#ifndef SSH_KEEP_LIBSSH_NAMES
#define ssh_new  ssh_open
#define ssh_free ssh_close
#endif

struct ssh_run {
	char *const *argv; /* each word is quoted for the guest's shell */
	const void *input; /* stdin (copied), or NULL */
	size_t input_len;
	/* Or: all that a file or pipe of this host gives, from its offset on.
	 * The descriptor is duplicated, so the offset of a file is shared: it
	 * tells how much was sent.  -EIO when it can't be read. */
	bool has_input_fd;
	int input_fd;
	size_t max_output; /* bytes kept of stdout and stderr each;
			    * 0: 64 KiB; more is dropped, and done's err
			    * tells it beside code 0 */
	uint64_t timeout;  /* usec from its start; 0: 60 s */
	bool lock;         /* under GUEST_LOCK (flock): it changes the guest */
	/* Pieces as they come; may be NULL. */
	void (*output)(
	    const char *data, size_t len, bool is_stderr, void *userdata);
	/* Once.  code 0: it ran and ended with exit status `status` (128 + N
	 * when killed by signal N); else -ETIMEDOUT, -ECONNRESET,
	 * -ECANCELED.  err is never NULL.  out and errout are NUL-terminated
	 * and borrowed. */
	void (*done)(int code, int status, const char *out, size_t out_len,
	    const char *errout, const struct err *err, void *userdata);
	void *userdata;
};
/* Jobs may be given before the session is connected.  ret may be NULL; the
 * job is void once done has fired.  -ENOTCONN when the session is broken,
 * -EAGAIN when SSH_JOBS_MAX wait, -E2BIG for an argv that is longer, quoted,
 * than SSH_ARGV_MAX, or than SSH_COMMAND_MAX when there is input. */
#define SSH_JOBS_MAX    1024
#define SSH_COMMAND_MAX 8192  /* bytes; dropbear takes 9000 */
#define SSH_ARGV_MAX    98304 /* Linux takes 128 KiB in one word */
int ssh_run(struct ssh *s, const struct ssh_run *r, struct ssh_job **ret,
    struct err *err);
/* A TCP connection from the guest: made, `input` sent, and read until there is
 * a line or the other side closes.  Without input it ends once it is made. */
struct ssh_dial {
	const char *address; /* dotted quad, as the guest sees it */
	uint16_t port;
	const void *input; /* copied */
	size_t input_len;
	uint64_t timeout; /* usec from its start; 0: 60 s */
	/* As of ssh_run(), status 0; -ECONNREFUSED when it is not made, -EPERM
	 * when the SSH server forbids it. */
	void (*done)(int code, int status, const char *out, size_t out_len,
	    const char *errout, const struct err *err, void *userdata);
	void *userdata;
};
#define SSH_DIAL_MAX 4096 /* bytes of input */
int ssh_dial(struct ssh *s, const struct ssh_dial *d, struct ssh_job **ret,
    struct err *err);
/* Writes a file whole or not at all (temporary name, mode, owner, rename). */
int ssh_write_file(struct ssh *s, const char *path, const void *data,
    size_t len, mode_t mode, const char *owner, /* "root:root", or NULL */
    void (*done)(int code, const struct err *err, void *userdata),
    void *userdata, struct ssh_job **ret, struct err *err);
/* done fires with -ECANCELED soon. */
void ssh_job_cancel(struct ssh_job *j);
/* The same, and done doesn't fire any more; for owners that go.  NULL is
 * legal. */
void ssh_job_forget(struct ssh_job *j);

#endif
