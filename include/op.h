/* SPDX-License-Identifier: Apache-2.0
 *
 * One accepted call of a driver: the engine hands an op in, the driver ends it
 * once, later, from the loop.  The contract is in driver.h.
 */
#ifndef RACKFS_OP_H
#define RACKFS_OP_H

#include "err.h"
#include "loop.h"

struct op {
	const char *what; /* "start": for logs; static */
	/* Set by the caller. */
	void (*done)(struct op *op, int code, const struct err *err);
	/* percent -1: unknown.  May be NULL. */
	void (*progress)(struct op *op, int percent, const char *text);
	void *owner;
	/* Set by the driver while it is accepted. */
	void (*cancel)(struct op *op);
	void *driver_data;
	/* Kept by driver.c. */
	bool pending;
};
/* For drivers: ends op; it may be freed by done. err may be NULL with 0. */
void op_done(struct op *op, int code, const struct err *err);
void op_progress(struct op *op, int percent, const char *fmt, ...) PRINTF(3, 4);
/* For the engine. */
void op_cancel(struct op *op);

/* A handle's place for the one operation under way.  Its end is told from the
 * loop: a driver may call op_end() anywhere, also within the call that began
 * it, and the handle may be gone after done. */
struct op_slot {
	struct op *op;  /* NULL: nothing is under way */
	struct err err; /* the sentence of its end */
	int code;
	bool ending; /* done is due; nothing else may end it */
	struct loop_source *end;
};
int op_slot_open(struct op_slot *s, struct loop *l);
/* done does not fire any more. */
void op_slot_close(struct op_slot *s);
/* cancel NULL: it ends by itself, soon. */
void op_begin(struct op_slot *s, struct op *op, void (*cancel)(struct op *op),
    void *driver_data);
/* The call is refused after all: done does not fire. */
void op_drop(struct op_slot *s);
/* Something is under way and not about to end. */
bool op_waits(const struct op_slot *s);
/* Ends it with code and s->err; false: nothing waits, and nothing is done. */
bool op_end(struct op_slot *s, int code);
/* For cancel: the sentence of -ECANCELED; false: its end is due already, and
 * stays what it is. */
bool op_say_cancelled(struct op_slot *s);

#endif
