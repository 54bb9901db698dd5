/* SPDX-License-Identifier: Apache-2.0
 *
 * What differs between what is wanted and what the last look told, in words.
 * No I/O.  No content is ever part of them.
 */
#include <errno.h>
#include <stdio.h>

#include "drivers/setup_guest.h"

#define WORDS 200 /* of an item's detail */

/* --- files ------------------------------------------------------------- */

static const struct seen_owner *owner_of(
    const struct setup *s, const char *name, bool group)
{
	for (size_t i = 0; i < s->seen.n_owners; i++)
		if (s->seen.owners[i].group == group &&
		    STREQ(s->seen.owners[i].name, name))
			return &s->seen.owners[i];
	return NULL;
}

bool setup_owner_ids(const struct setup *s, const struct wanted_file *f,
    uint32_t *ret_uid, uint32_t *ret_gid)
{
	const struct seen_owner *u = owner_of(s, f->user, false);
	const struct seen_owner *g = owner_of(s, f->group, true);

	if (!u || !g || !u->known || !g->known)
		return false;
	*ret_uid = u->id;
	*ret_gid = g->id;
	return true;
}

/* Below a root nothing may lead out of it. */
static bool leads_out(const struct setup *s, const char *real)
{
	const char *root = s->seen.dirs[0].real;
	size_t len = root ? strlen(root) : 0;

	if (!*s->root || !root || STREQ(root, "/"))
		return false;
	return strncmp(real, root, len) != 0 || (real[len] && real[len] != '/');
}

/* Its folder, or the deepest one above that is there. */
static int folder_wrong(
    const struct setup *s, size_t i, char detail[WORDS], struct err *err)
{
	const struct wanted_file *w = &s->files[i];
	const char *path = w->f.path;
	int code = 0;

	for (size_t k = 0; k < s->seen.n_dirs; k++) {
		const struct seen_dir *d = &s->seen.dirs[k];
		size_t len = strlen(d->path);

		if (strncmp(path, d->path, len) != 0 || path[len] != '/')
			continue;
		if (d->state == DIR_NONE) {
			snprintf(detail, WORDS, "%.150s is no folder", d->path);
			code = -ENOTDIR;
		} else if (d->real && leads_out(s, d->real)) {
			snprintf(detail, WORDS, "%.80s leads out, to %.80s",
			    d->path, d->real);
			code = -EXDEV;
		}
	}
	if (code)
		err_set(err, code,
		    "%s: %s: give the path without that link, or remove what "
		    "is in the way",
		    path, detail);
	return code;
}

static int type_differs(const struct setup *s, size_t i, char detail[WORDS])
{
	const struct wanted_file *w = &s->files[i];
	const struct seen_file *f = &s->seen.files[i];

	switch (f->type) {
	case SEEN_MISSING:
		snprintf(detail, WORDS, "missing");
		return 1;
	case SEEN_FOLDER:
		snprintf(detail, WORDS, "is a folder");
		return -EISDIR;
	case SEEN_OTHER:
		snprintf(detail, WORDS, "is no regular file");
		return 1;
	case SEEN_LINK:
		if (w->f.link && STREQ(w->f.data, f->target))
			return 0;
		snprintf(detail, WORDS, "is a link to %.150s", f->target);
		return 1;
	case SEEN_FILE:
		if (!w->f.link)
			return 0;
		snprintf(detail, WORDS, "is no link");
		return 1;
	}
	return 0;
}

static int content_differs(
    const struct setup *s, size_t i, char detail[WORDS], struct err *err)
{
	const struct wanted_file *w = &s->files[i];
	const struct seen_file *f = &s->seen.files[i];
	uint32_t uid, gid;

	if (!setup_owner_ids(s, w, &uid, &gid)) {
		snprintf(detail, WORDS, "the owner %.60s:%.60s is not known",
		    w->user, w->group);
		return err_set(err, -EINVAL,
		    "%s: the guest has no user or group of its owner %s:%s",
		    w->f.path, w->user, w->group);
	}
	if (f->type != SEEN_FILE)
		return 0;
	if (!STREQ(f->digest, w->digest))
		snprintf(detail, WORDS, "content differs");
	else if (f->mode != w->f.mode)
		snprintf(detail, WORDS, "mode is %04o, not %04o", f->mode,
		    w->f.mode);
	else if (f->uid != uid || f->gid != gid)
		snprintf(detail, WORDS, "owner is %u:%u, not %.60s:%.60s",
		    f->uid, f->gid, w->user, w->group);
	else
		return 0;
	return 1;
}

int setup_file_differs(
    struct setup *s, size_t i, char detail[WORDS], struct err *err)
{
	const struct wanted_file *w = &s->files[i];
	int r, differs;

	if (w->host_error) {
		snprintf(detail, WORDS, "%.190s", w->host_error);
		return err_set(
		    err, w->host_code, "%s: %s", w->f.path, w->host_error);
	}
	r = folder_wrong(s, i, detail, err);
	if (r < 0)
		return r;
	differs = type_differs(s, i, detail);
	if (differs < 0)
		return err_set(err, differs,
		    "%s is a folder in the guest: remove it, or take another "
		    "path",
		    w->f.path);
	r = w->f.link ? 0 : content_differs(s, i, detail, err);
	return r ? r : differs;
}

/* --- services ---------------------------------------------------------- */

bool setup_service_done(const struct seen_service *v)
{
	return STREQ(v->type, "oneshot") && STREQ(v->active, "inactive") &&
	       STREQ(v->result, "success") && v->ran;
}

bool setup_service_starting(const struct seen_service *v)
{
	return STREQ(v->active, "active") || STREQ(v->active, "activating") ||
	       STREQ(v->active, "reloading") || setup_service_done(v);
}

static bool offline_differs(const struct seen_service *v, char detail[WORDS])
{
	if (v->linked)
		return false;
	snprintf(detail, WORDS, v->has_unit ? "not enabled" : "no such unit");
	return true;
}

bool setup_service_differs(const struct setup *s, size_t i, char detail[WORDS])
{
	const struct wanted_service *w = &s->services[i];
	const struct seen_service *v = &s->seen.services[i];

	if (!s->systemd)
		snprintf(detail, WORDS, "the system has no systemd");
	else if (*s->root)
		return offline_differs(v, detail) ||
		       (!STREQ(v->stamp, w->digest) &&
			   snprintf(detail, WORDS, "not enabled by rackfs"));
	else if (!STREQ(v->load, "loaded"))
		snprintf(detail, WORDS, "the unit is %s", v->load);
	else if (v->reload)
		snprintf(detail, WORDS, "systemd has an older unit");
	else if (STREQ(v->file_state, "disabled"))
		snprintf(detail, WORDS, "not enabled");
	else if (!STREQ(v->stamp, w->digest))
		snprintf(detail, WORDS,
		    *v->stamp ? "what it uses has changed"
			      : "not started by rackfs");
	else if (setup_service_starting(v))
		return false;
	else if (!w->s.required && STREQ(v->active, "failed"))
		/* Its checks tell that; it was started, and ended. */
		return false;
	else
		snprintf(
		    detail, WORDS, "%s (%s, %s)", v->active, v->sub, v->result);
	return true;
}

/* --- all --------------------------------------------------------------- */

static void add_item(
    struct setup *s, enum setup_part part, const char *key, const char *detail)
{
	struct setup_item *i;

	s->items =
	    xrealloc(s->items, (s->look.n_items + 1) * sizeof(*s->items));
	i = &s->items[s->look.n_items++];
	*i = (struct setup_item){.part = part};
	snprintf(i->key, sizeof(i->key), "%s", key);
	snprintf(i->detail, sizeof(i->detail), "%s", detail);
	s->look.differs[part] = true;
}

bool setup_is_wanted(const struct setup *s, const char *path)
{
	for (size_t i = 0; i < s->n_files; i++)
		if (STREQ(s->files[i].f.path, path))
			return true;
	return false;
}

static void judge_files(struct setup *s)
{
	char detail[WORDS];
	struct err err = ERR_INIT;

	for (size_t i = 0; i < s->n_files; i++)
		if (setup_file_differs(s, i, detail, &err))
			add_item(s, SETUP_FILES, s->files[i].f.key, detail);
	for (size_t i = 0; i < s->seen.n_manifest; i++)
		if (!setup_is_wanted(s, s->seen.manifest[i].path))
			add_item(s, SETUP_FILES, s->seen.manifest[i].path,
			    "not in the spec any more");
	if (s->seen.pending && !*s->root)
		add_item(s, SETUP_FILES, "files",
		    "the system was not told of a change yet");
}

static void judge_services(struct setup *s)
{
	char detail[WORDS];

	for (size_t i = 0; i < s->n_services; i++) {
		_cleanup_free_ char *key =
		    xasprintf("services.%s", s->services[i].s.name);

		if (setup_service_differs(s, i, detail))
			add_item(s, SETUP_SERVICES, key, detail);
	}
	for (char **l = s->seen.left; l && *l; l++) {
		_cleanup_free_ char *key = xasprintf("services.%s", *l);

		add_item(s, SETUP_SERVICES, key, "not in the spec any more");
	}
}

void setup_judge(struct setup *s)
{
	s->look = (struct setup_look){.known = true};
	judge_files(s);
	for (size_t i = 0; !*s->root && i < s->n_runs; i++) {
		_cleanup_free_ char *key =
		    xasprintf("run.%s", s->runs[i].r.name);

		if (!STREQ(s->seen.runs[i], s->runs[i].digest))
			add_item(s, SETUP_RUN, key,
			    *s->seen.runs[i] ? "another command has run"
					     : "has not run yet");
	}
	judge_services(s);
	s->look.items = s->items;
}
