// SPDX-License-Identifier: Apache-2.0
/*
 * Documents: what a write to `spec` or `disk` goes through.  prepare: text ->
 * whole document -> checked against everything -> beside the old one, synced.
 * commit: one at a time for each object -> checked again when something was
 * put in force in between -> in the old one's place, durably -> in force.
 */
#include <errno.h>
#include <stdio.h>
#include "engine/engine.h"

struct draft {
	struct object *o;
	enum document document;
	bool patch;
	char *written; /* what the user wrote */
	char *text;    /* the whole document that comes of it */
	uint64_t time; /* when it comes in force */
	uint64_t base; /* o->spec_version that it was made from */
	char *tmp;     /* where it is staged */
	bool staged, dropped;
	struct parsed *parsed; /* during commit */
	cluster_reply_fn reply;
	void *userdata;
	struct draft *next; /* in the queue of commits */
};

/* --- the whole document --- */

int cluster_document(struct object *o, enum document d, struct buf *ret)
{
	if (d == DOCUMENT_DISK)
		return spec_section_get(o->spec_text, "disk", ret, NULL);
	buf_append(ret, o->spec_text, o->spec_len);
	return 0;
}

static int disk_section(struct draft *d, struct buf *ret, struct err *err)
{
	_cleanup_buf_ struct buf old = {0}, new = {0};
	int r;

	if (!d->patch)
		return spec_section_set(
		    d->o->spec_text, "disk", d->written, ret, err);
	r = spec_section_get(d->o->spec_text, "disk", &old, err);
	if (r == 0)
		r = spec_merge(buf_str(&old), d->written, &new, err);
	if (r == 0)
		r = spec_section_set(
		    d->o->spec_text, "disk", buf_str(&new), ret, err);
	return r;
}

/* What the document will read, made from the one that is in force now. */
static int compose(struct draft *d, struct err *err)
{
	_cleanup_buf_ struct buf text = {0};
	bool whole = d->document != DOCUMENT_DISK && !d->patch;
	int r = 0;

	if (d->document == DOCUMENT_DISK)
		r = disk_section(d, &text, err);
	else if (d->patch)
		r = spec_merge(d->o->spec_text, d->written, &text, err);
	else
		buf_puts(&text, d->written);
	if (r < 0)
		return r;
	if (text.len > SPEC_MAX)
		return err_set(err, -EFBIG,
		    "the document would have %zu bytes, the limit is %d",
		    text.len, SPEC_MAX);
	free(d->text);
	/* A part that is there already leaves the bytes as they were written.
	 */
	if (!whole && spec_same(buf_str(&text), d->o->spec_text))
		d->text = xstrdup(d->o->spec_text);
	else
		d->text = buf_take(&text);
	d->base = d->o->spec_version;
	return 0;
}

/* --- prepare --- */

static void draft_done(struct draft *d)
{
	if (d->staged)
		store_unstage(d->o->c, d->tmp);
	document_done(d->parsed);
	object_unref(d->o);
	free(d->written);
	free(d->text);
	free(d->tmp);
	free(d);
}

static void prepared(int code, const struct err *err, void *userdata)
{
	struct draft *d = userdata;

	d->staged = code == 0;
	if (d->dropped) {
		draft_done(d);
		return;
	}
	cluster_reply_fn reply = d->reply;
	d->reply = NULL;
	reply(code, err, d->userdata);
}

void draft_free(struct draft *d)
{
	if (!d)
		return;
	if (d->reply) { /* the worker has it */
		d->dropped = true;
		return;
	}
	draft_done(d);
}

static char *staging_path(const struct object *o)
{
	/* Told apart by a number that grows; cleared away at start. */
	_cleanup_free_ char *dir =
	    o->kind == OBJECT_CLUSTER
		? xstrdup("cluster")
		: xasprintf("%s/%s", kind_folder(o->kind), o->name);

	return xasprintf("%s/.spec.%llx", dir, (unsigned long long)now_mono());
}

int cluster_prepare(struct object *o, enum document document, bool patch,
    const char *text, size_t len, cluster_reply_fn reply, void *userdata,
    struct draft **ret_draft, struct err *err)
{
	struct draft *d;
	int r = 0;

	if (document == DOCUMENT_DISK && o->kind != OBJECT_NODE)
		return err_set(err, -EINVAL, "only a node has a disk");
	if (len > SPEC_MAX)
		return err_set(err, -EFBIG,
		    "the document has more than %d bytes", SPEC_MAX);
	if (spec_json_state(text, len, err) != JSON_COMPLETE)
		return err && err->code ? err->code : -EINVAL;
	d = xcalloc(1, sizeof(*d));
	d->o = o;
	object_ref(o);
	d->document = document;
	d->patch = patch;
	d->written = xstrndup(text, len);
	d->tmp = staging_path(o);
	r = compose(d, err);
	if (r == 0)
		r = document_check(o, d->text, strlen(d->text), NULL, err);
	if (r < 0) {
		draft_done(d);
		return r;
	}
	d->reply = reply;
	d->userdata = userdata;
	*ret_draft = d;
	store_stage(o->c, d->tmp, d->text, strlen(d->text), prepared, d);
	return 0;
}

/* --- commit --- */

static void commit_begin(struct draft *d);

static void commit_end(struct draft *d, int code, const struct err *err)
{
	struct object *o = d->o;
	cluster_reply_fn reply = d->reply;
	void *userdata = d->userdata;
	struct draft *next = d->next;

	o->committing = next;
	object_ref(o);
	draft_done(d);
	reply(code, err, userdata);
	if (next)
		commit_begin(next);
	object_unref(o);
}

static void published(int code, const struct err *err, void *userdata)
{
	struct draft *d = userdata;
	struct object *o = d->o;

	d->staged = code < 0;
	if (code == 0 && !o->gone) {
		size_t len = strlen(d->text);

		document_force(o, TAKE_PTR(d->parsed), TAKE_PTR(d->text), len);
		/* Of the same text as well; as the next daemon will read it. */
		touch(o, ASPECT_SPEC | ASPECT_DISK);
		object_set_mtime(o, ASPECT_SPEC | ASPECT_DISK, d->time);
	}
	commit_end(d, code, err);
}

static void restaged(int code, const struct err *err, void *userdata)
{
	struct draft *d = userdata;
	_cleanup_free_ char *path = NULL;

	if (code < 0) {
		commit_end(d, code, err);
		return;
	}
	path = xstrdup(d->tmp);
	*strrchr(path, '/') = '\0';
	_cleanup_free_ char *spec = xasprintf("%s/spec", path);
	d->time = now_real();
	store_publish(d->o->c, d->tmp, spec, d->time, published, d);
}

static void commit_begin(struct draft *d)
{
	struct err err = ERR_INIT;
	bool again = d->base != d->o->spec_version;
	int r = 0;

	if (d->o->gone || d->o->removing)
		r = err_set(&err, -ENOENT, "%s was removed", d->o->name);
	if (r == 0 && again)
		r = compose(d, &err);
	if (r == 0)
		r = document_check(
		    d->o, d->text, strlen(d->text), &d->parsed, &err);
	if (r < 0)
		commit_end(d, r, &err);
	else if (again)
		store_stage(
		    d->o->c, d->tmp, d->text, strlen(d->text), restaged, d);
	else
		restaged(0, NULL, d);
}

void cluster_commit(struct draft *d, cluster_reply_fn reply, void *userdata)
{
	struct draft **end = &d->o->committing;
	bool first = !*end;

	while (*end)
		end = &(*end)->next;
	*end = d;
	d->reply = reply;
	d->userdata = userdata;
	if (first)
		commit_begin(d);
}
