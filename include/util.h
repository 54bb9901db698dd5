/* SPDX-License-Identifier: Apache-2.0
 *
 * Small helpers that every module may use: ownership on the stack, memory
 * that never returns NULL, growable text, argument vectors, whole files.
 * Out of memory aborts: the next start recovers by design.
 */
#ifndef RACKFS_UTIL_H
#define RACKFS_UTIL_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)     ((a) < (b) ? (a) : (b))
#define MAX(a, b)     ((a) > (b) ? (a) : (b))
#define STREQ(a, b)   (strcmp((a), (b)) == 0)
#define PRINTF(f, a)  __attribute__((format(printf, f, a)))
#define CONTAINER_OF(ptr, type, member)                                        \
	((type *)((char *)(ptr)-offsetof(type, member)))

#define USEC_PER_MSEC 1000ULL
#define USEC_PER_SEC  1000000ULL
#define USEC_NEVER    UINT64_MAX

#define KIB (1ULL << 10)
#define MIB (1ULL << 20)
#define GIB (1ULL << 30)

/* Cleanup when a variable leaves its scope. */
#define _cleanup_(f)    __attribute__((cleanup(f)))
#define _cleanup_free_  _cleanup_(util_freep)
#define _cleanup_close_ _cleanup_(util_closep)
#define _cleanup_buf_   _cleanup_(buf_done)
#define _cleanup_strv_  _cleanup_(strv_freep)

/* Hands a pointer (descriptor) over; the variable is empty afterwards. */
#define TAKE_PTR(p)                                                            \
	({                                                                     \
		__auto_type _p = (p);                                          \
		(p) = NULL;                                                    \
		_p;                                                            \
	})
#define TAKE_FD(fd)                                                            \
	({                                                                     \
		int _f = (fd);                                                 \
		(fd) = -1;                                                     \
		_f;                                                            \
	})

static inline void util_freep(void *p)
{
	free(*(void **)p);
}
void util_closep(int *fd); /* closes when >= 0; errno is kept */

/* Memory: abort instead of NULL.  Return owned memory. */
void *xmalloc(size_t size);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t size);
char *xstrdup(const char *s); /* NULL gives NULL */
char *xstrndup(const char *s, size_t n);
char *xasprintf(const char *fmt, ...) PRINTF(1, 2);

/* Growable bytes.  `data` is NUL-terminated whenever it is not NULL; the NUL
 * is not counted in `len`.  {0} is an empty one. */
struct buf {
	char *data;
	size_t len, cap;
};

void buf_done(struct buf *b);  /* frees the content */
void buf_clear(struct buf *b); /* keeps the memory, len = 0 */
void buf_append(struct buf *b, const void *data, size_t len);
void buf_puts(struct buf *b, const char *s);
void buf_putc(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF(2, 3);
void buf_vprintf(struct buf *b, const char *fmt, va_list ap);
const char *buf_str(const struct buf *b); /* "" when empty; borrowed */
char *buf_take(struct buf *b);            /* returns owned text, never NULL */
/* Appends `s` as a JSON string with its quotes; bytes that are not UTF-8
 * become U+FFFD. */
void buf_json_string(struct buf *b, const char *s);
/* Appends `len` bytes for people: control bytes but \n and \t are shown as
 * \xHH, so that no terminal escape of a guest gets through. */
void buf_escaped(struct buf *b, const char *s, size_t len);

/* NULL-terminated vectors of owned strings. */
char **strv_new(const char *first, ...) __attribute__((sentinel));
void strv_push(char ***v, const char *s); /* copies s */
void strv_pushf(char ***v, const char *fmt, ...) PRINTF(2, 3);
size_t strv_len(char *const *v);
char **strv_copy(char *const *v);
void strv_free(char **v);
void strv_freep(char ***v);
/* The words of argv, each quoted for a POSIX shell, joined by spaces.
 * Returns owned text. */
char *strv_quote(char *const *argv);

/* Files.  All return 0 or a negative errno.  dirfd may be AT_FDCWD. */
/* Reads a whole file of at most `max` bytes; -EFBIG beyond. */
int file_read(int dirfd, const char *path, size_t max, struct buf *ret);
/* Writes a temporary file beside it and renames it over `path`; not synced. */
int file_replace(
    int dirfd, const char *path, const void *data, size_t len, mode_t mode);
/* The same, on disk when it returns. */
int file_replace_synced(
    const char *path, const void *data, size_t len, mode_t mode);
/* After a rename or a link: fsync of the folder that `path` is in. */
int sync_folder_of(const char *path);
int write_all(int fd, const void *data, size_t len);
int mkdir_p(const char *path, mode_t mode);
/* The device number of the file system that holds what is at path (a link is
 * not followed); asks no server of it. */
int path_device(const char *path, uint64_t *ret);
/* Does path (absolute) lead to or through that file system?  It is not
 * entered. */
bool path_enters(const char *path, uint64_t device);
/* Removes a tree below dirfd; a missing one is no error. */
int remove_tree(int dirfd, const char *path);

/* Clocks, in microseconds. */
uint64_t now_mono(void); /* CLOCK_MONOTONIC: for deadlines and durations */
uint64_t now_real(void); /* CLOCK_REALTIME: for people and mtimes */
/* "2026-01-02T03:04:05.678901Z"; `out` takes 32 bytes. */
void format_time(uint64_t real_usec, char out[32]);

void random_bytes(void *p, size_t n); /* getrandom(2); aborts on failure */
/* A random (version 4) uuid in text form, 37 bytes. */
void random_uuid(char out[37]);
/* FNV-1a; for change detection, never for security. */
uint64_t hash_bytes(const void *p, size_t n);

#endif
