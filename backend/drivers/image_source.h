/* SPDX-License-Identifier: Apache-2.0
 *
 * What the image drivers share that take a file of the user's: it is looked
 * at, verified and made into what can be installed on a thread of its own, and
 * kept in the cache by what it is.
 */
#ifndef RACKFS_IMAGE_SOURCE_H
#define RACKFS_IMAGE_SOURCE_H

#include <stdatomic.h>
#include "driver.h"
#include "host/sha256.h"
#include "host/tar.h"

struct source_job {   /* all strings are copies */
	char *source; /* as the spec has it, absolute */
	char *sha256; /* or NULL */
	char *init;   /* or NULL */
	char *dir;    /* private, empty: what is put there is kept */
	char *input;  /* what to read: source, or what `before` made */
	struct tar_watch watch;
	atomic_bool cancelled;
	/* From the thread, for progress. */
	atomic_uint_least64_t done, total;
	atomic_int pass, passes;
	/* Results. */
	char digest[SHA256_HEX];
	uint64_t size;
	enum disk_format format;
	char found_init[4096];
};

struct image_source {
	const char *kind; /* begins names in the cache */
	const char *file; /* that `make` writes into dir; NULL: the source
			   * itself is used */
	/* On the loop's thread, and short: looks at what source is.  *argv,
	 * when set: a program that must end well before `make`; *data_dir is
	 * where scripts are. */
	int (*before)(struct source_job *j, const char *data_dir, char ***argv,
	    struct err *err);
	/* May a status of that program be taken for an answer? NULL: only 0. */
	bool (*status_is_good)(int status);
	/* On a thread. */
	int (*make)(struct source_job *j, struct err *err);
};

int image_source_open(const struct image_source *kind,
    const struct driver_env *env, void **ret, struct err *err);
void image_source_close(void *self);
int image_source_available(struct err *err);
int image_source_observe(void *self, const struct image_slice *slice,
    struct op *op, struct err *err);
void image_source_look(void *self, struct image_look *ret);
int image_source_ensure(void *self, const struct image_slice *slice,
    struct op *op, struct err *err);

/* For make: a new file in dir. */
int image_source_create(
    const struct source_job *j, const char *name, struct err *err);

/* image_source_cache.c: for image_source.c. */
struct source_place {
	char *final; /* the folder that stands for this source */
	char *cache_dir;
	char *version; /* of the source, when it was first looked at */
	int lock;      /* on job's dir while it is made, or -1 */
};
int source_place_init(struct source_place *p, const struct image_source *kind,
    const struct image_slice *slice, struct err *err);
void source_place_done(struct source_place *p);
/* -EBUSY: it is another file, or has changed, since source_place_init(). */
int source_unchanged(
    const struct source_place *p, const char *source, struct err *err);
/* Is it there, whole?  Fills *ret. */
bool source_cached(const struct source_place *p,
    const struct image_source *kind, const char *source,
    struct image_look *ret);
int source_scratch(struct source_place *p, char **ret_dir, struct err *err);
/* On a thread: what was made becomes the image, in one step. */
int source_store(
    const struct source_place *p, const struct source_job *j, struct err *err);
void source_sweep(const struct source_place *p);

#endif
