// SPDX-License-Identifier: Apache-2.0
/*
 * Write transactions of documents.  ops.c calls it; the target is the cluster
 * (or a test).  The rules:
 *
 *  1. A flush with nothing written says 0 and changes nothing; so does a
 *     descriptor that was only truncated.
 *  2. A document is made ready in the write that completes it and goes in force
 *     at the next flush or fsync.
 *  3. Half a document at a flush: EINVAL for the opener, who may go on.
 *  4. Half a document at the last close is dropped and told.
 *  5. A wrong byte is EINVAL at its write and poisons the transaction: nothing
 *     of it goes in force.
 *
 * A transaction is `plain` while its bytes come one after the other into an
 * empty text.  Bytes that are written over a document make no sense until the
 * last of them is there, so those are looked at at flush only.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include "fs/draft_text.h"
#include "fs/transaction.h"

enum call_kind { CALL_WRITE, CALL_TRUNCATE, CALL_FLUSH, CALL_RELEASE };

struct call {
	enum call_kind kind;
	bool opener;
	uint64_t unique;
	uint64_t off; /* or the size to truncate to */
	void *data;
	size_t len;
	transaction_fn reply;
	void *userdata;
	struct call *next;
};

struct transaction {
	const struct transaction_target *target;
	void *owner;
	bool patch;
	bool started; /* `text` is what a read gives */
	bool plain;
	bool dirty;      /* bytes came since the last commit */
	bool told;       /* what is wrong with them was told */
	int poisoned;    /* the errno, or 0 */
	uint64_t unique; /* of the last write in the text */
	struct draft_text text;
	struct draft *draft; /* of exactly `text` */
	bool inside;         /* of prepare(), and it has not answered */
	int inside_code;
	struct err inside_err;
	struct call *first, **last; /* the first one is under way when busy */
	bool busy, running;
	bool committing; /* the draft was given away */
	bool orphan;     /* freed while committing */
	bool over;       /* released */
};

struct transaction *transaction_new(const struct transaction_target *target,
    void *owner, bool patch, bool truncated)
{
	struct transaction *t = xcalloc(1, sizeof(*t));

	t->target = target;
	t->owner = owner;
	t->patch = patch;
	t->started = t->plain = truncated || patch;
	t->last = &t->first;
	return t;
}

struct transaction *transaction_restore(const struct transaction_target *target,
    void *owner, const struct transaction_state *state, const char *text,
    size_t len)
{
	struct transaction *t =
	    transaction_new(target, owner, state->patch, false);

	t->unique = state->unique;
	t->poisoned = state->poisoned;
	t->started = state->started;
	t->plain = state->plain;
	t->dirty = state->dirty;
	t->told = state->told;
	buf_append(&t->text.b, text, len);
	return t;
}

/* Bytes of the text from `from` on have changed. */
static int keep(struct transaction *t, size_t from)
{
	struct transaction_state state;

	if (!t->target->keep)
		return 0;
	memset(&state, 0, sizeof(state));
	state.unique = t->unique;
	state.poisoned = t->poisoned;
	state.patch = t->patch;
	state.started = t->started;
	state.plain = t->plain;
	state.dirty = t->dirty;
	state.told = t->told;
	return t->target->keep(
	    t->owner, &state, from, buf_str(&t->text.b), t->text.b.len);
}

static void keep_state(struct transaction *t)
{
	(void)keep(t, t->text.b.len); /* takes no room */
}

const struct buf *transaction_text(const struct transaction *t)
{
	return t->started && !t->patch ? &t->text.b : NULL;
}

bool transaction_pending(const struct transaction *t)
{
	return t->dirty && !t->poisoned && transaction_text(t);
}

static void drop_draft(struct transaction *t)
{
	if (t->draft)
		t->target->drop(t->draft);
	t->draft = NULL;
}

static void start_over(struct transaction *t)
{
	drop_draft(t);
	draft_text_clear(&t->text);
	t->started = t->plain = true;
	t->dirty = t->told = false;
	t->poisoned = 0;
	keep_state(t);
}

static void tell(struct transaction *t, const struct err *err)
{
	t->told = true;
	t->target->tell(t->owner, err_text(err));
}

static int poison(struct transaction *t, const struct err *err)
{
	tell(t, err);
	drop_draft(t);
	draft_text_done(&t->text);
	t->poisoned = err->code < 0 ? err->code : -EINVAL;
	keep_state(t);
	return t->poisoned;
}

/* --- calls --- */

static void run(struct transaction *t);

/* Answers the call under way; run() goes on with the next. */
static void answer(struct transaction *t, int code)
{
	struct call *c = t->first;

	t->first = c->next;
	if (!t->first)
		t->last = &t->first;
	t->busy = false;
	if (c->kind == CALL_RELEASE)
		t->over = true;
	if (c->reply)
		c->reply(code, c->userdata);
	free(c->data);
	free(c);
}

static void committed(int code, const struct err *err, void *userdata)
{
	struct transaction *t = userdata;
	struct err e;

	t->committing = false;
	if (t->orphan) {
		transaction_free(t);
		return;
	}
	if (code < 0) {
		err_copy(&e, err);
		e.code = code;
		poison(t, &e);
	} else {
		t->dirty = t->told = false;
		t->target->tell(t->owner, NULL);
		if (t->patch)
			start_over(t);
		else
			keep_state(t);
	}
	answer(t, code);
	run(t);
}

static void prepared(struct transaction *t, int code, const struct err *err)
{
	struct err e;

	if (code < 0) {
		err_copy(&e, err);
		e.code = code;
		answer(t, poison(t, &e));
	} else if (t->first->kind == CALL_WRITE) {
		answer(t, 0);
	} else {
		t->committing = true;
		t->target->commit(TAKE_PTR(t->draft), committed, t);
	}
}

static void prepare_replied(int code, const struct err *err, void *userdata)
{
	struct transaction *t = userdata;

	if (t->inside) { /* the draft is not known yet */
		t->inside = false;
		t->inside_code = code;
		err_copy(&t->inside_err, err);
		return;
	}
	prepared(t, code, err);
	run(t);
}

static void prepare(struct transaction *t)
{
	struct err err = ERR_INIT;
	int r;

	t->inside = true;
	r = t->target->prepare(t->owner, t->patch, buf_str(&t->text.b),
	    t->text.b.len, prepare_replied, t, &t->draft, &err);
	if (r < 0) {
		t->inside = false;
		prepared(t, r, &err);
	} else if (!t->inside) {
		prepared(t, t->inside_code, &t->inside_err);
	} else {
		t->inside = false;
	}
}

/* The document in force is what is written over. */
static int load(struct transaction *t)
{
	int r;

	if (t->started)
		return 0;
	r = t->target->current(t->owner, &t->text.b);
	if (r < 0)
		return r;
	t->started = true;
	return 0;
}

/* Into the text; poisons it when it can't be.  true: it is there. */
static bool take(struct transaction *t, const struct call *c)
{
	struct err err = ERR_INIT;
	bool loaded = !t->started;
	uint64_t off, from;
	int r = load(t);

	if (r < 0) {
		answer(t, r);
		return false;
	}
	off = t->patch ? t->text.b.len : c->off;
	if (off > SPEC_MAX || c->len > SPEC_MAX - off) {
		err_set(&err, -EFBIG,
		    "the document is longer than %d bytes, which is the limit",
		    SPEC_MAX);
		answer(t, poison(t, &err));
		return false;
	}
	drop_draft(t);
	if (off != t->text.b.len)
		t->plain = false;
	from = loaded ? 0 : MIN(off, t->text.b.len);
	draft_text_put(&t->text, off, c->data, c->len);
	t->dirty = true;
	t->told = false;
	t->unique = c->unique;
	r = keep(t, from);
	if (r < 0) {
		err_set(&err, r,
		    "unfinished documents take all the memory that is kept "
		    "for them; close some");
		answer(t, poison(t, &err));
	}
	return r == 0;
}

static void do_write(struct transaction *t, const struct call *c)
{
	struct err err = ERR_INIT;
	enum json_state state;

	if (t->poisoned) {
		answer(t, t->poisoned);
		return;
	}
	if ((!c->unique || c->unique != t->unique) && !take(t, c))
		return;
	state = t->plain && draft_text_worth_a_look(&t->text)
		    ? draft_text_look(&t->text, &err)
		    : JSON_INCOMPLETE;
	if (state == JSON_COMPLETE)
		prepare(t);
	else
		answer(t, state == JSON_BROKEN ? poison(t, &err) : 0);
}

static void do_truncate(struct transaction *t, const struct call *c)
{
	bool loaded = !t->started;
	int r = 0;

	if (c->off == 0) {
		start_over(t);
	} else if (t->poisoned) {
		r = t->poisoned;
	} else if ((r = load(t)) == 0 && c->off > t->text.b.len) {
		r = -EINVAL; /* NUL bytes are no JSON */
	} else if (r == 0 && c->off < t->text.b.len) {
		drop_draft(t);
		draft_text_cut(&t->text, c->off);
		t->plain = false;
		t->dirty = true;
		r = keep(t, loaded ? 0 : t->text.b.len);
	}
	answer(t, r);
}

static void do_flush(struct transaction *t, const struct call *c)
{
	bool release = c->kind == CALL_RELEASE;
	struct err err = ERR_INIT;
	enum json_state state;
	int r = 0;

	if (t->poisoned || !t->dirty) {
		answer(t, c->opener ? t->poisoned : 0);
		return;
	}
	if (t->draft) {
		prepared(t, 0, NULL);
		return;
	}
	state = draft_text_look(&t->text, &err);
	if (state == JSON_COMPLETE) {
		prepare(t);
		return;
	}
	if (state == JSON_BROKEN && t->plain)
		r = poison(t, &err);
	else if (state != JSON_EMPTY)
		r = -EINVAL;
	if (r < 0 && !t->told && (c->opener || release)) {
		tell(t, &err);
		keep_state(t);
	}
	answer(t, c->opener ? r : 0);
}

static void run(struct transaction *t)
{
	if (t->running)
		return;
	t->running = true;
	while (t->first && !t->busy) {
		t->busy = true;
		switch (t->first->kind) {
		case CALL_WRITE:
			do_write(t, t->first);
			break;
		case CALL_TRUNCATE:
			do_truncate(t, t->first);
			break;
		case CALL_FLUSH:
		case CALL_RELEASE:
			do_flush(t, t->first);
			break;
		}
	}
	t->running = false;
	if (t->over) {
		t->target->done(t->owner);
		transaction_free(t);
	}
}

static void add(struct transaction *t, const struct call *call)
{
	struct call *c = xmalloc(sizeof(*c));

	*c = *call;
	*t->last = c;
	t->last = &c->next;
	run(t);
}

void transaction_write(struct transaction *t, uint64_t unique, uint64_t off,
    const void *data, size_t len, transaction_fn reply, void *userdata)
{
	struct call c = {.kind = CALL_WRITE,
	    .unique = unique,
	    .off = off,
	    .len = len,
	    .reply = reply,
	    .userdata = userdata};

	c.data = xmalloc(len + 1);
	memcpy(c.data, data, len);
	add(t, &c);
}

void transaction_truncate(
    struct transaction *t, uint64_t size, transaction_fn reply, void *userdata)
{
	add(t, &(struct call){.kind = CALL_TRUNCATE,
		   .off = size,
		   .reply = reply,
		   .userdata = userdata});
}

void transaction_flush(
    struct transaction *t, bool opener, transaction_fn reply, void *userdata)
{
	add(t, &(struct call){.kind = CALL_FLUSH,
		   .opener = opener,
		   .reply = reply,
		   .userdata = userdata});
}

void transaction_release(struct transaction *t)
{
	add(t, &(struct call){.kind = CALL_RELEASE});
}

void transaction_free(struct transaction *t)
{
	struct call *c;

	if (!t)
		return;
	while ((c = t->first)) {
		t->first = c->next;
		free(c->data);
		free(c);
	}
	if (t->committing) {
		t->orphan = true;
		return;
	}
	drop_draft(t);
	draft_text_done(&t->text);
	free(t);
}
