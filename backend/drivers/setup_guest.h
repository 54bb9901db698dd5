/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the guest setup driver share: setup_guest.c has the calls
 * and their order, _slice.c the copy of what is wanted, _host.c reads this
 * host's files, _script.c writes what is asked, _parse.c reads the answer,
 * _judge.c tells what differs; _send.c, _push.c, _run.c, _services.c put it
 * right.  Nobody else includes this.
 */
#ifndef RACKFS_SETUP_GUEST_H
#define RACKFS_SETUP_GUEST_H

#include <stdatomic.h>

#include "drivers/drivers.h"
#include "host/knock.h"
#include "host/sha256.h"
#include "host/tar.h"
#include "host/ssh.h"
#include "host/worker.h"

/* In the guest, below slice.root:
 *   manifest        what we put there: "<digest> <path> <apply>" a line; the
 *                   digest of a link is "link:" and where it leads; each word
 *                   has %XX for bytes that would break the line, "-" for none
 *   pending         commands that have to tell the system of a change, a line
 *   run/<name>      digest of the command that ran last
 *   services/<name> digest of what the service was started with */
#define SETUP_DIR "/var/lib/rackfs"
/* Beside each file that comes, until all of them are whole. */
#define SETUP_STAGE ".rackfs-new"

/* What stat tells of a file: it changes when the content does. */
#define SETUP_STAT      "%f %u %g %s %i %Y %Z"
#define SETUP_BIG       MIB /* a bigger file isn't read again to look at it */
#define SETUP_BATCH     100 /* files looked at by one program */
#define SETUP_OUT       (8 * MIB) /* of an answer */
#define SETUP_FILES_MAX 4096
#define SETUP_NAME_MAX  200 /* of a service */

struct wanted_file {
	struct setup_file f; /* owned copies */
	char digest[80];     /* as in the manifest; "" not known */
	char *host_error;    /* the host's file can't be read: a sentence */
	int host_code;
	size_t dir;    /* its folder, in dirs */
	uint64_t size; /* once it was packed */
	char *user, *group;
};

struct wanted_service {
	struct setup_service s; /* owned copies */
	char digest[SHA256_HEX];
};

struct wanted_run {
	struct setup_run r; /* owned copies */
	char digest[SHA256_HEX];
};

/* A folder above a wanted file. */
struct seen_dir {
	char *path; /* as the spec writes it */
	char *real; /* where that leads, or NULL */
	enum { DIR_MISSING, DIR_THERE, DIR_NONE } state; /* NONE: a file */
};

enum seen_type { SEEN_MISSING, SEEN_FILE, SEEN_LINK, SEEN_FOLDER, SEEN_OTHER };

struct seen_file {
	enum seen_type type;
	unsigned mode;
	uint32_t uid, gid;
	char print[160]; /* stat's line */
	char digest[SHA256_HEX];
	char *target;
};

struct seen_service {
	char load[24], active[24], sub[24], result[24], file_state[24],
	    type[24];
	bool reload, ran;
	char stamp[SHA256_HEX];
	bool linked; /* below another root: the links that enable it */
	bool has_unit;
};

struct seen_owner {
	bool group;
	char *name;
	bool known;
	uint32_t id;
};

struct manifest_line {
	char *digest, *path, *apply; /* decoded; apply may be "" */
};

/* What the guest told. */
struct seen {
	struct seen_dir *dirs; /* of the wanted files; parents come first */
	size_t n_dirs;
	struct seen_file *files; /* by the index of wanted */
	char (*runs)[SHA256_HEX];
	struct seen_service *services;
	struct seen_owner *owners;
	size_t n_owners;
	struct manifest_line *manifest;
	size_t n_manifest;
	char **pending, **left; /* commands; services */
};

/* Digests of big files of the guest and of this host, as once computed. */
struct known_digest {
	char *path;
	char print[160]; /* of stat: device, inode, size, times */
	char digest[SHA256_HEX];
	uint64_t since; /* CLOCK_MONOTONIC usec */
	bool sure;      /* a change since would show in its times */
};
struct known {
	struct known_digest *list;
	size_t n;
};

struct setup {
	const struct driver_env *env;
	struct op_slot call;
	struct loop_source *timer;
	void (*on_timer)(struct setup *s);
	struct ssh *ssh;
	struct ssh_job *job;

	/* Copies of what the call was given. */
	char *root;
	bool systemd;
	struct wanted_file *files;
	size_t n_files;
	struct wanted_run *runs;
	size_t n_runs;
	struct wanted_service *services;
	size_t n_services;

	bool ensure;
	bool proven; /* all was done: only a last look */
	enum setup_part part;
	struct seen seen;
	struct known host_known, guest_known;

	/* The thread that reads files of this host; exists while it does. */
	struct worker *worker;
	atomic_bool stop;
	bool closing;
	void (*prepared)(struct setup *s);
	int host_code;
	struct err host_err;
	/* What is sent. */
	bool *send; /* by the index of files */
	size_t n_send;
	struct tar_out *tar; /* while it is packed */
	int tar_fd;
	uint64_t tar_size;
	unsigned pushes;
	/* Commands and services under way. */
	unsigned order[MAX(RUNS_MAX, SERVICES_MAX)];
	size_t at;
	struct buf line[2]; /* of a command's stdout and stderr, until whole */
	size_t logged;
	char token[17]; /* of the command that runs */
	uint64_t began;
	struct {
		bool starting, started, passed;
	} progress[SERVICES_MAX];
	struct knock *knock;

	struct setup_look look;
	struct setup_item *items;
};

/* setup_guest.c */
void setup_log(struct setup *s, const char *fmt, ...) PRINTF(2, 3);
/* The operation ends with code and call.err; the first counts. */
void setup_finish(struct setup *s, int code);
typedef void (*setup_done_fn)(int code, int status, const char *out,
    size_t out_len, const char *errout, const struct err *err, void *userdata);
/* Runs a shell program that it gets on its stdin, whole or not at all. */
void setup_shell(struct setup *s, const char *program, bool lock,
    uint64_t timeout, setup_done_fn done);
/* Did a job end well?  If not, the operation ends. */
bool setup_ended_well(struct setup *s, const char *what, int code, int status,
    const char *errout, const struct err *err);
/* Looks, and goes on with what the operation has to do. */
void setup_look_again(struct setup *s);

/* setup_guest_slice.c */
int setup_take_slice(
    struct setup *s, const struct setup_slice *slice, struct err *err);
void setup_drop_slice(struct setup *s);
/* Makes room for what a look will tell. */
void setup_begin_seen(struct setup *s);
void setup_drop_seen(struct setup *s);
/* Fills s->order by `after`; -ELOOP with a sentence. */
int setup_order_runs(struct setup *s, struct err *err);
bool setup_is_unit(const char *path);
bool setup_is_name(const char *name);
/* Does the service run with this file? */
bool setup_service_uses(const struct setup *s, size_t service, size_t file);
/* What is known for sure, or NULL. */
const struct known_digest *setup_known(const struct known *k, const char *path);
/* One that is not sure becomes so when it is found the same later on. */
void setup_know(struct known *k, const char *path, const char *print,
    const char *digest, bool sure);
void setup_know_drop(struct known *k);

/* setup_guest_host.c: both in the worker, then s->prepared() on the loop. */
void setup_prepare(struct setup *s, void (*prepared)(struct setup *s));
void setup_on_worker(struct setup *s, void (*work)(struct setup *s),
    void (*prepared)(struct setup *s));
void setup_worker_stop(struct setup *s); /* for close */
/* Copies a host's file to fd (-1: nowhere) and digests it. */
int setup_read_source(struct setup *s, const char *path, int fd,
    uint64_t *ret_size, char digest[SHA256_HEX], char print[160],
    struct err *err);

/* After files were read once more. */
void setup_digest_services(struct setup *s);

/* setup_guest_send.c: packs what s->send lists into s->tar_fd; s->host_code
 * and s->host_err tell how it went.  On the worker. */
void setup_pack(struct setup *s);
char *setup_stage_path(const struct setup *s, size_t dir, const char *name);
size_t setup_own_dir(const struct setup *s);
bool setup_dir_is_used(const struct setup *s, size_t dir);

/* setup_guest_push.c: what goes with it. */
extern const char setup_push_command[], setup_leave_function[];
void setup_clean_script(const struct setup *s, struct buf *b);
/* leaving: with what the spec has no more. */
void setup_manifest(const struct setup *s, bool leaving, struct buf *b);
void setup_pending(const struct setup *s, struct buf *b);
void setup_push_script(const struct setup *s, struct buf *b);

/* setup_guest_script.c */
void setup_look_script(struct setup *s, struct buf *ret);
void setup_quote(struct buf *b, const char *word);
extern const char setup_show_properties[], setup_unit_functions[];
void setup_put_head(const struct setup *s, struct buf *b);

/* setup_guest_parse.c */
int setup_parse(struct setup *s, const char *out, size_t len, struct err *err);
/* systemctl show of the services that `which` lists, in order. */
int setup_parse_show(struct setup *s, const char *text, const size_t *which,
    size_t n, struct err *err);
void setup_encode(struct buf *b, const char *word);
char *setup_decode(const char *word, size_t len); /* owned */

/* setup_guest_judge.c */
void setup_judge(struct setup *s);
/* 0: it is as wanted; 1: it differs; negative: it can't be put right. */
int setup_file_differs(
    struct setup *s, size_t i, char detail[200], struct err *err);
bool setup_service_differs(const struct setup *s, size_t i, char detail[200]);
bool setup_service_done(const struct seen_service *v); /* a oneshot that ran */
bool setup_service_starting(const struct seen_service *v);
bool setup_owner_ids(const struct setup *s, const struct wanted_file *f,
    uint32_t *ret_uid, uint32_t *ret_gid);
/* Is the path of a line of the manifest still wanted? */
bool setup_is_wanted(const struct setup *s, const char *path);

/* setup_guest_files.c, _run.c, _services.c: what the last look asks for. */
void setup_next_file(struct setup *s);
void setup_next_run(struct setup *s);
void setup_next_service(struct setup *s);

#endif
