/* SPDX-License-Identifier: Apache-2.0
 *
 * Tar archives, and files that are compressed or not, by libarchive: read with
 * their SHA-256, checked, and written as plain tar.  For worker threads: every
 * call blocks.
 */
#ifndef RACKFS_TAR_H
#define RACKFS_TAR_H

#include "err.h"
#include "host/sha256.h"

#define TAR_MAX (256 * GIB) /* unpacked */

/* Asked often: how far it is.  false: stop, the call ends with -ECANCELED. */
struct tar_watch {
	bool (*go_on)(uint64_t done, uint64_t total, void *userdata);
	void *userdata;
};

/* --- reading --- */

struct tar_in;

/* As a tar archive, or (raw) as bytes; compressed by gzip, bzip2, xz or zstd.
 * path and watch are borrowed. */
int tar_in_open(const char *path, bool raw, const struct tar_watch *watch,
    struct tar_in **ret, struct err *err);
/* raw: exactly len bytes; -EBADMSG when the file ends before. */
int tar_in_read(struct tar_in *in, void *data, size_t len, struct err *err);
/* Reads what is left; the digest of the file as it is.  sha256 (NULL: any) is
 * what it must be: -EBADMSG, and err names both. */
int tar_in_check(struct tar_in *in, const char *sha256, char ret[SHA256_HEX],
    struct err *err);
void tar_in_free(struct tar_in *in);
void tar_in_freep(struct tar_in **in);

/* --- writing --- */

struct tar_out;

/* pax (POSIX) has room for all that a file is; long names in the format of GNU
 * tar are read by busybox as well. */
enum tar_format { TAR_PAX, TAR_GNU };

/* fd is borrowed. */
struct tar_out *tar_out_new(int fd, enum tar_format format);

struct tar_entry {
	const char *path; /* relative, any length */
	mode_t mode;      /* with its type */
	uint32_t uid, gid;
	uint64_t size;      /* of a file, whose bytes follow */
	const char *target; /* of a symbolic link */
};

/* Its mtime is 1. */
int tar_out_entry(
    struct tar_out *out, const struct tar_entry *entry, struct err *err);
int tar_out_data(
    struct tar_out *out, const void *data, size_t len, struct err *err);
/* Ends the archive: its bytes and their digest. */
int tar_out_finish(struct tar_out *out, uint64_t *ret_size,
    char ret_digest[SHA256_HEX], struct err *err);
void tar_out_free(struct tar_out *out);
void tar_out_freep(struct tar_out **out);

/* --- both --- */

/* Copies every entry after tarnames.h has looked at it; wants a file `init`
 * among them (NULL: none). */
int tar_repack(
    struct tar_in *in, struct tar_out *out, const char *init, struct err *err);

#endif
