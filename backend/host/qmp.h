/* SPDX-License-Identifier: Apache-2.0
 *
 * QMP, QEMU's JSON control protocol, over a unix socket on the loop.  The
 * greeting and capabilities are dealt with inside; commands given before they
 * are done queue.  A disconnect fails every pending call with -ENOTCONN.
 */
#ifndef RACKFS_QMP_H
#define RACKFS_QMP_H

#include "err.h"
#include "loop.h"

struct qmp;

/* The stream parser alone (for tests and fuzzers): feed bytes, each whole JSON
 * object that is at most QMP_MESSAGE_MAX is handed to fn as text. */
#define QMP_MESSAGE_MAX (4 * MIB)
struct qmp_stream;
struct qmp_stream *qmp_stream_new(void);
int qmp_stream_feed(struct qmp_stream *s, const char *data, size_t len,
    void (*fn)(const char *text, size_t len, void *userdata), void *userdata,
    struct err *err);
void qmp_stream_free(struct qmp_stream *s);

struct qmp_callbacks {
	/* `data`: the event's data as JSON text ("{}" when none). */
	void (*event)(
	    struct qmp *q, const char *name, const char *data, void *userdata);
	void (*ready)(struct qmp *q, void *userdata); /* capabilities done */
	/* Once; q may be freed from within. */
	void (*closed)(struct qmp *q, const struct err *err, void *userdata);
};
/* Takes fd (connected, non-blocking). */
int qmp_new(struct loop *l, int fd, const struct qmp_callbacks *cb,
    void *userdata, struct qmp **ret, struct err *err);
void qmp_free(struct qmp *q); /* pending calls do not fire */
/* arguments: JSON text or NULL.  done (may be NULL) gets the `return` value as
 * JSON text, or a negative errno and QEMU's own words; -ETIMEDOUT after 10 s.
 */
int qmp_command(struct qmp *q, const char *command, const char *arguments,
    void (*done)(
	int code, const char *result, const struct err *err, void *userdata),
    void *userdata);

#endif
