/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the SSH module share: ssh.c is the loop's side,
 * ssh_thread.c the session's thread, ssh_job.c and ssh_dial.c what the thread
 * does for one job; ssh_key.c and ssh_ed25519.c are about keys.  Nobody else
 * includes this.
 */
#ifndef RACKFS_SSH_INTERNAL_H
#define RACKFS_SSH_INTERNAL_H

#define SSH_KEEP_LIBSSH_NAMES
#include <libssh/libssh.h>
#include <libssh/callbacks.h>
#include <pthread.h>

#include "host/ssh.h"

static inline void ssh_keyp(ssh_key *key)
{
	ssh_key_free(*key);
}
static inline void ssh_textp(char **text)
{
	ssh_string_free_char(*text);
}

/* Bytes that are wiped. */
static inline void secret_done(struct buf *b)
{
	if (b->data)
		explicit_bzero(b->data, b->cap);
	buf_done(b);
}
#define _cleanup_secret_ _cleanup_(secret_done)

#define SSH_COMMENT_MAX 256 /* bytes of a key's comment */

/* Appends a new key as an OpenSSH private key file. */
int ssh_ed25519_make(const char *comment, struct buf *ret, struct err *err);
/* Appends an OpenSSH private key as dropbear's host key file; false when it is
 * no ed25519 key without a passphrase. */
bool ssh_ed25519_dropbear(const char *text, struct buf *ret);

/* Reads a private key without a passphrase; never asks for one. */
int ssh_key_load(const char *path, ssh_key *ret, struct err *err);
/* "ssh-ed25519 AAAA... comment" */
int ssh_key_parse(const char *text, ssh_key *ret, struct err *err);
/* "ssh-ed25519 SHA256:..."; owned text for a sentence. */
char *ssh_key_fingerprint(ssh_key key);

#define SSH_PIECE         (32 * KIB)  /* read or written at once */
#define SSH_QUEUE_MAX     (256 * KIB) /* bytes on their way to the loop */
#define SSH_OUTPUT_KEPT   (64 * KIB)  /* of stdout and stderr each */
#define SSH_DIAL_KEPT     (4 * KIB)   /* of an answer */
#define SSH_HALF_OPEN_MAX 8

struct ssh_job {
	struct ssh *ssh;
	struct ssh_job *next;
	char *name;    /* of the program, for sentences */
	char *command; /* quoted; or */
	char *address; /* where to connect to from the guest */
	uint16_t port;
	char *input;
	int input_fd; /* -1: `input` is all */
	size_t input_len, max_output;
	uint64_t timeout;
	void (*output)(
	    const char *data, size_t len, bool is_stderr, void *userdata);
	void (*done)(int code, int status, const char *out, size_t out_len,
	    const char *errout, const struct err *err, void *userdata);
	void *userdata;
	void *owned;    /* freed with the job */
	bool cancelled; /* under the session's lock */
	/* How it ended: written by the thread, read once DONE is seen. */
	int code, status;
	struct buf out, errout;
	bool cut; /* more was dropped */
	struct err err;
};

/* What the thread tells the loop, in order. */
struct ssh_note {
	struct ssh_note *next;
	enum { NOTE_CONNECTED, NOTE_OUTPUT, NOTE_DONE, NOTE_CLOSED } kind;
	struct ssh_job *job; /* DONE: owned */
	bool is_stderr;
	size_t len;
	char data[];
};

struct ssh {
	/* Written before the thread starts. */
	char *host, *user, *key_file, *where; /* where: "host:port" */
	uint16_t port;
	uint64_t timeout;
	ssh_key host_key;
	int thread_fd, loop_fd; /* eventfds that wake the one and the other */

	/* The loop's. */
	struct loop_source *source;
	void (*connected)(
	    struct ssh *s, int code, const struct err *err, void *userdata);
	void (*closed)(struct ssh *s, const struct err *err, void *userdata);
	void *userdata;

	pthread_mutex_t lock; /* of all that follows */
	unsigned refs;        /* the loop's, the thread's */
	bool given_up;        /* ssh_close(): nothing is told any more */
	bool broken;          /* no job is taken any more */
	bool starved;         /* the thread waits for room in the queue */
	int code;             /* of CONNECTED */
	struct err err;       /* of CONNECTED or CLOSED */
	struct ssh_job *jobs; /* that wait */
	size_t n_jobs;
	struct ssh_note *notes, **last_note;
	size_t n_notes, noted; /* bytes of OUTPUT */
};

/* ssh_command.c */
int ssh_job_new(struct ssh *s, const struct ssh_run *r, struct ssh_job **ret,
    struct err *err);
struct ssh_job *ssh_job_dial(struct ssh *s, const struct ssh_dial *d);
void ssh_job_free(struct ssh_job *j);

/* ssh.c, for the thread. */
void ssh_unref(struct ssh *s);
/* What is asked of the thread: 0: to go on; -ESHUTDOWN: to end; -ECANCELED: to
 * end `job` (which may be NULL). */
int ssh_asked(struct ssh *s, const struct ssh_job *job);
struct ssh_job *ssh_next_job(struct ssh *s);
/* Is there room for output?  If not, the thread is woken when there is. */
bool ssh_room(struct ssh *s);
void ssh_tell_output(
    struct ssh_job *j, const char *data, size_t len, bool is_stderr);
void ssh_tell_done(struct ssh_job *j); /* takes it */
void ssh_tell_connected(struct ssh *s);
/* It never connected (then code counts), or it broke: waiting jobs fail. */
void ssh_tell_broken(struct ssh *s, bool was_connected, const struct err *err);

/* ssh_thread.c */
struct ssh_thread {
	struct ssh *s;
	ssh_session session;
	ssh_event event; /* serves the session's socket once logged in */
	struct ssh_counter_struct counter;
	int fd;       /* ours until libssh has it */
	int input_fd; /* of the job, while more of it is waited for; or -1 */
	bool connecting;
	uint64_t heard_bytes, heard_at, asked_at;
	/* Of ssh_dial.c: given up, and the guest has not told yet. */
	ssh_channel half_open[SSH_HALF_OPEN_MAX];
	size_t n_half_open;
	struct err err; /* why it broke */
};
int ssh_thread_start(struct ssh *s); /* takes a reference */
/* Waits until something may have changed: 0.  Else what ssh_asked() said,
 * -ETIMEDOUT at `until` (now_mono() clock), or -ECONNRESET with t->err. */
int ssh_thread_wait(
    struct ssh_thread *t, const struct ssh_job *job, uint64_t until);

/* ssh_job.c: runs it and tells how it ended.  Negative when the session can't
 * be used any more. */
int ssh_job_run(struct ssh_thread *t, struct ssh_job *j);

/* ssh_dial.c: the same for a job that has an address. */
int ssh_dial_run(struct ssh_thread *t, struct ssh_job *j);

#endif
