/* SPDX-License-Identifier: Apache-2.0
 *
 * What the drivers share that install through a guest's SSH session onto a
 * disk that is mounted there: install_guest.c has the calls and the order of
 * steps, install_send.c streams host files, install_copy.c the image's tar,
 * install_boot.c what boots it; install_rootfs.c and install_closure.c are
 * the two kinds.  Nobody else includes this.
 */
#ifndef RACKFS_INSTALL_GUEST_H
#define RACKFS_INSTALL_GUEST_H

#include <sys/stat.h>

#include "drivers/drivers.h"
#include "host/child.h"
#include "host/ssh.h"

/* Below the root of the disk that is installed:
 *   begun      files here are ours: an install that is not whole is thrown away
 *   copied     digest of the image whose files are all there
 *   boot       what the boot entry was made from
 *   installed  digest, written last of all */
#define INSTALL_MARKS     "/var/lib/rackfs"
#define INSTALL_DIGEST    65
#define INSTALL_MOUNTS    32
#define INSTALL_BOOT_MAX  17
#define INSTALL_FILES_MAX 8 /* on the ESP */

struct install;
typedef void (*install_step)(struct install *in);

struct install_kind {
	/* For tar: who owns what it unpacks. */
	const char *owner;
	/* Checks the copied slice; 0 or a code with a sentence. */
	int (*check)(const struct install *in, struct err *err);
	/* Of ensure, NULL at the end; each ends in install_next() or
	 * install_finish(). */
	const install_step *steps;
	/* A shell function own_kernel() that sets kernel and initrd to those
	 * that the system brings; $1: its root, $2: install_top(). */
	const char *own_kernel;
};

struct install_mount {
	char *target, *type;
	uint64_t free; /* bytes */
};

struct install_facts { /* what the guest said */
	struct install_look look;
	char boot[INSTALL_BOOT_MAX];
	bool begun;
	char *holds; /* a file that is none of ours, or NULL */
	struct install_mount mounts[INSTALL_MOUNTS];
	size_t n_mounts;
};
int install_facts_parse(
    const char *text, struct install_facts *ret, struct err *err);
void install_facts_done(struct install_facts *f);

/* A host file on its way into the guest. */
struct install_send {
	int fd; /* its offset tells how far it is; -1: none */
	char *path;
	struct stat began;
	struct child *zstd;
	struct buf words; /* of zstd */
	bool failed;
};

typedef void (*install_done_fn)(struct install *in);

struct install {
	const struct driver_env *env;
	const struct install_kind *kind;
	struct ssh *ssh;
	struct ssh_job *job;
	struct op_slot call;
	struct loop_source *tick;

	/* Copies of what the call was given. */
	char *root, *payload, *kernel, *initrd, *modules, *cmdline, *esp;
	struct image_look *image;
	enum boot_firmware firmware;

	const install_step *at; /* the step that comes next */
	struct install_facts facts;
	struct install_look look;

	/* The command that runs. */
	char *what;
	install_done_fn after; /* it ended well */
	void (*line_output)(struct install *in, const char *data, size_t len);
	struct install_send send;
	struct buf out; /* all of its output */
	/* The copying. */
	uint64_t size; /* of the tar */
	bool copying;
	struct buf line;
	/* The boot entry. */
	size_t n_esp, esp_at;
	struct install_esp_file {
		const char *name;
		const char *source; /* host file; or */
		char *text;
		uint64_t size;
	} esp_files[INSTALL_FILES_MAX];
};

/* install_guest.c */
int install_guest_available(struct err *err);
int install_guest_open(const struct driver_env *env,
    const struct install_kind *kind, void **ret, struct err *err);
void install_guest_close(void *self);
int install_guest_observe(void *self, const struct install_slice *slice,
    struct op *op, struct err *err);
void install_guest_look(void *self, struct install_look *ret);
int install_guest_ensure(void *self, const struct install_slice *slice,
    struct op *op, struct err *err);
int install_guest_seal(void *self, const struct install_slice *slice,
    struct op *op, struct err *err);
/* The step is done. */
void install_next(struct install *in);
/* The operation ends with code and call.err; the first call counts. */
void install_finish(struct install *in, int code);
void install_log(struct install *in, const char *text);

/* install_send.c: runs sh -c script $0 $1 ... under the guest's lock; `after`
 * when it ended with 0, else the operation ends.  Takes `what`, for people. */
struct install_run {
	char *what;
	const char *script;
	char *const *args;
	const char *source; /* host file that it gets on its stdin, or NULL */
	bool compress;      /* as zstd */
	const char *text;   /* or this */
	uint64_t timeout;   /* usec */
	void (*output)(struct install *in, const char *data, size_t len);
	install_done_fn after;
};
void install_run(struct install *in, const struct install_run *r);
/* Forgets what is under way; for install_finish() and close. */
void install_send_done(struct install *in);
/* Bytes of the source that were taken so far. */
uint64_t install_sent(const struct install *in);
/* Opens a host file to be sent. */
int install_source(
    const char *path, int *ret_fd, struct stat *ret, struct err *err);

/* "/nix/store/...-system" of ".../init"; owned, or NULL. */
char *install_top(const char *init);

/* Steps. */
void install_first_look(struct install *in);
void install_copy(struct install *in);
void install_modules(struct install *in);
void install_esp(struct install *in);
void install_boot_mark(struct install *in);
/* The boot entry (and what went before it) is there and right. */
bool install_is_made(const struct install *in);
/* Before anything is copied: is there an ESP, if one is needed? */
int install_boot_check(const struct install *in, struct err *err);

#define INSTALL_STEP_TIMEOUT (300 * USEC_PER_SEC)

#endif
