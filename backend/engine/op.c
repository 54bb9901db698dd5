/* SPDX-License-Identifier: Apache-2.0
 *
 * The end of a driver's call, once and from the loop.
 */
#include "op.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void op_done(struct op *op, int code, const struct err *err)
{
	struct err plain = ERR_INIT;

	assert(op && op->pending); /* exactly once */
	assert(code <= 0);
	op->pending = false;
	op->cancel = NULL;
	if (code < 0 && (!err || !err->text[0])) {
		err_errno(&plain, code, "%s", op->what ? op->what : "call");
		err = &plain;
	}
	op->done(op, code, code < 0 ? err : NULL);
}

void op_progress(struct op *op, int percent, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	assert(op && op->pending);
	assert(percent >= -1 && percent <= 100);
	if (!op->progress)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	op->progress(op, percent, text);
}

void op_cancel(struct op *op)
{
	if (op->pending && op->cancel)
		op->cancel(op);
}

/* --- a handle's slot --------------------------------------------------- */

static void on_end(void *userdata)
{
	struct op_slot *s = userdata;
	struct op *op = TAKE_PTR(s->op);
	struct err err = s->err;

	/* A kick may still be on its way when its op was taken back. */
	if (!op)
		return;
	s->ending = false;
	op_done(op, s->code, &err);
}

int op_slot_open(struct op_slot *s, struct loop *l)
{
	return loop_add_deferred(l, on_end, s, &s->end);
}

void op_slot_close(struct op_slot *s)
{
	loop_source_free(TAKE_PTR(s->end));
}

void op_begin(struct op_slot *s, struct op *op, void (*cancel)(struct op *op),
    void *driver_data)
{
	assert(!s->op);
	s->op = op;
	s->err = ERR_INIT;
	s->ending = false;
	op->cancel = cancel;
	op->driver_data = driver_data;
}

void op_drop(struct op_slot *s)
{
	s->op = NULL;
}

bool op_waits(const struct op_slot *s)
{
	return s->op && !s->ending;
}

bool op_end(struct op_slot *s, int code)
{
	if (!op_waits(s))
		return false;
	s->ending = true;
	s->code = code;
	loop_kick(s->end);
	return true;
}

bool op_say_cancelled(struct op_slot *s)
{
	if (!op_waits(s))
		return false;
	err_set(&s->err, -ECANCELED, "cancelled");
	return true;
}
