/* SPDX-License-Identifier: Apache-2.0
 *
 * What is wanted, copied from the slice, with what follows from it alone: the
 * folders of the files, the owners' names, the order of commands.  No I/O.
 */
#include <errno.h>
#include <stdio.h>

#include "drivers/setup_guest.h"

/* --- copies ------------------------------------------------------------ */

static void drop_file(struct wanted_file *w)
{
	free((char *)w->f.key);
	free((char *)w->f.path);
	/* It may be a key. */
	if (w->f.data)
		explicit_bzero((char *)w->f.data, w->f.len);
	free((char *)w->f.data);
	free((char *)w->f.source);
	free((char *)w->f.owner);
	free((char *)w->f.apply);
	free(w->host_error);
	free(w->user);
	free(w->group);
}

void setup_drop_seen(struct setup *s)
{
	struct seen *v = &s->seen;

	for (size_t i = 0; i < v->n_dirs; i++) {
		free(v->dirs[i].path);
		free(v->dirs[i].real);
	}
	for (size_t i = 0; v->files && i < s->n_files; i++)
		free(v->files[i].target);
	for (size_t i = 0; i < v->n_owners; i++)
		free(v->owners[i].name);
	for (size_t i = 0; i < v->n_manifest; i++) {
		free(v->manifest[i].digest);
		free(v->manifest[i].path);
		free(v->manifest[i].apply);
	}
	free(v->dirs);
	free(v->files);
	free(v->runs);
	free(v->services);
	free(v->owners);
	free(v->manifest);
	strv_free(v->pending);
	strv_free(v->left);
	*v = (struct seen){0};
}

void setup_drop_slice(struct setup *s)
{
	setup_drop_seen(s);
	for (size_t i = 0; i < s->n_files; i++)
		drop_file(&s->files[i]);
	for (size_t i = 0; i < s->n_runs; i++) {
		free((char *)s->runs[i].r.name);
		strv_free((char **)s->runs[i].r.command);
		strv_free((char **)s->runs[i].r.after);
	}
	for (size_t i = 0; i < s->n_services; i++) {
		free((char *)s->services[i].s.name);
		free((char *)s->services[i].s.check);
		strv_free((char **)s->services[i].s.uses);
		strv_free((char **)s->services[i].s.after);
	}
	free(TAKE_PTR(s->files));
	free(TAKE_PTR(s->runs));
	free(TAKE_PTR(s->services));
	free(TAKE_PTR(s->send));
	free(TAKE_PTR(s->root));
	s->n_files = s->n_runs = s->n_services = s->n_send = 0;
}

static void take_owner(struct wanted_file *w)
{
	const char *owner = w->f.owner ? w->f.owner : "root:root";
	size_t n = strcspn(owner, ":");

	w->user = xstrndup(owner, n);
	w->group = xstrdup(owner[n] && owner[n + 1] ? owner + n + 1 : w->user);
}

static int take_file(
    struct setup *s, const struct setup_file *f, struct err *err)
{
	struct wanted_file *w = &s->files[s->n_files];
	size_t len = strlen(f->path);

	if (f->path[0] != '/' || len < 2 || f->path[len - 1] == '/')
		return err_set(err, -EINVAL,
		    "%s: the path of a file begins with a slash, and ends "
		    "with none",
		    f->path);
	for (size_t i = 0; i < s->n_files; i++)
		if (STREQ(s->files[i].f.path, f->path))
			return err_set(err, -EINVAL,
			    "%s is set twice: by %s and by %s", f->path,
			    s->files[i].f.key, f->key);
	s->n_files++;
	w->f = *f;
	w->f.key = xstrdup(f->key);
	w->f.path = xstrdup(f->path);
	w->f.data = memcpy(xcalloc(1, f->len + 1), f->data ? f->data : "",
	    f->data ? f->len : 0);
	w->f.len = f->data ? f->len : 0;
	w->f.source = xstrdup(f->source);
	w->f.owner = xstrdup(f->owner);
	w->f.apply = xstrdup(f->apply);
	take_owner(w);
	return 0;
}

/* It becomes part of a path, and of a program.  As specs have names of units:
 * none of these letters means anything to a shell. */
bool setup_is_name(const char *name)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "-_.@:";

	return *name && !strchr(".-@", *name) && !name[strspn(name, plain)] &&
	       strlen(name) <= SETUP_NAME_MAX;
}

static int check_name(const char *what, const char *name, struct err *err)
{
	if (setup_is_name(name))
		return 0;
	return err_set(
	    err, -EINVAL, "%s.%s: such a name can't be used", what, name);
}

/* Of a command: where one word ends counts. */
static void digest_argv(char *const *argv, char ret[SHA256_HEX])
{
	_cleanup_(sha256_freep) struct sha256 *sum = sha256_new();

	for (; argv && *argv; argv++)
		sha256_add(sum, *argv, strlen(*argv) + 1);
	sha256_end(sum, ret);
}

static void take_run(struct setup *s, const struct setup_run *r)
{
	struct wanted_run *w = &s->runs[s->n_runs++];

	w->r.name = xstrdup(r->name);
	w->r.command = strv_copy(r->command);
	w->r.after = strv_copy(r->after);
	digest_argv(r->command, w->digest);
}

static void take_service(struct setup *s, const struct setup_service *v)
{
	struct wanted_service *w = &s->services[s->n_services++];

	w->s.name = xstrdup(v->name);
	w->s.check = xstrdup(v->check ? v->check : "systemd");
	w->s.required = v->required;
	w->s.uses = strv_copy(v->uses);
	w->s.after = strv_copy(v->after);
}

/* --- folders ----------------------------------------------------------- */

static size_t dir_index(struct setup *s, const char *path, size_t len)
{
	struct seen *v = &s->seen;

	for (size_t i = v->n_dirs; i--;)
		if (strlen(v->dirs[i].path) == len &&
		    memcmp(v->dirs[i].path, path, len) == 0)
			return i;
	v->dirs = xrealloc(v->dirs, (v->n_dirs + 1) * sizeof(*v->dirs));
	v->dirs[v->n_dirs] = (struct seen_dir){.path = xstrndup(path, len)};
	return v->n_dirs++;
}

/* Each folder above it, from the root on; the root's own path is "".  Gives
 * the last. */
static size_t take_dirs(struct setup *s, const char *path)
{
	size_t dir = 0;

	for (size_t i = 0; path[i]; i++)
		if (path[i] == '/')
			dir = dir_index(s, path, i);
	return dir;
}

static void add_owner(struct setup *s, const char *name, bool group)
{
	struct seen *v = &s->seen;
	size_t digits = strspn(name, "0123456789");

	for (size_t i = 0; i < v->n_owners; i++)
		if (v->owners[i].group == group &&
		    STREQ(v->owners[i].name, name))
			return;
	v->owners = xrealloc(v->owners, (v->n_owners + 1) * sizeof(*v->owners));
	v->owners[v->n_owners++] = (struct seen_owner){
	    .group = group,
	    .name = xstrdup(name),
	    .known = STREQ(name, "root") || (digits && !name[digits]),
	    .id =
		digits && !name[digits] ? (uint32_t)strtoul(name, NULL, 10) : 0,
	};
}

void setup_begin_seen(struct setup *s)
{
	struct seen *v = &s->seen;

	setup_drop_seen(s);
	take_dirs(s, SETUP_DIR "/");
	for (size_t i = 0; i < s->n_files; i++) {
		s->files[i].dir = take_dirs(s, s->files[i].f.path);
		add_owner(s, s->files[i].user, false);
		add_owner(s, s->files[i].group, true);
	}
	v->files = xcalloc(s->n_files + 1, sizeof(*v->files));
	v->runs = xcalloc(s->n_runs + 1, sizeof(*v->runs));
	v->services = xcalloc(s->n_services + 1, sizeof(*v->services));
}

int setup_take_slice(
    struct setup *s, const struct setup_slice *slice, struct err *err)
{
	int r = 0;

	setup_drop_slice(s);
	if (slice->n_files > SETUP_FILES_MAX || slice->n_runs > RUNS_MAX ||
	    slice->n_services > SERVICES_MAX)
		return err_set(err, -E2BIG,
		    "%zu files, %zu commands and %zu services are too many",
		    slice->n_files, slice->n_runs, slice->n_services);
	s->root = xstrdup(slice->root ? slice->root : "");
	s->systemd = slice->systemd;
	s->files = xcalloc(slice->n_files + 1, sizeof(*s->files));
	s->runs = xcalloc(slice->n_runs + 1, sizeof(*s->runs));
	s->services = xcalloc(slice->n_services + 1, sizeof(*s->services));
	s->send = xcalloc(slice->n_files + 1, sizeof(*s->send));
	for (size_t i = 0; r == 0 && i < slice->n_files; i++)
		r = take_file(s, &slice->files[i], err);
	for (size_t i = 0; r == 0 && i < slice->n_runs; i++)
		r = check_name("run", slice->runs[i].name, err);
	for (size_t i = 0; r == 0 && i < slice->n_services; i++)
		r = check_name("services", slice->services[i].name, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < slice->n_runs; i++)
		take_run(s, &slice->runs[i]);
	for (size_t i = 0; i < slice->n_services; i++)
		take_service(s, &slice->services[i]);
	s->ssh = slice->guest;
	return r;
}

/* --- what follows from it ---------------------------------------------- */

int setup_order_runs(struct setup *s, struct err *err)
{
	bool placed[RUNS_MAX] = {false};
	size_t n = 0, before;

	do {
		before = n;
		for (unsigned i = 0; i < s->n_runs; i++) {
			char **after = (char **)s->runs[i].r.after;
			bool waits = placed[i];

			for (; after && *after && !waits; after++)
				for (size_t k = 0; k < s->n_runs; k++)
					waits |=
					    !placed[k] &&
					    STREQ(s->runs[k].r.name, *after);
			if (waits)
				continue;
			placed[i] = true;
			s->order[n++] = i;
		}
	} while (n != before);
	if (n == s->n_runs)
		return 0;
	for (size_t i = 0; i < s->n_runs; i++)
		if (!placed[i])
			return err_set(err, -ELOOP,
			    "run.%s.after: it waits for itself, over others",
			    s->runs[i].r.name);
	return 0;
}

bool setup_is_unit(const char *path)
{
	return strstr(path, "/systemd/system/") != NULL;
}

/* The unit of that name (the first `len` bytes), or what is dropped into its
 * <name>.service.d. */
static bool is_of_unit(const char *path, const char *name, size_t len)
{
	_cleanup_free_ char *unit =
	    xasprintf("/systemd/system/%.*s.service", (int)len, name);
	const char *at = strstr(path, unit);

	at = at ? at + strlen(unit) : NULL;
	return at && (!*at || strncmp(at, ".d/", 3) == 0);
}

bool setup_service_uses(const struct setup *s, size_t service, size_t file)
{
	const struct setup_service *v = &s->services[service].s;
	const char *path = s->files[file].f.path;
	const char *at = strchr(v->name, '@');

	/* An instance is of its template as well. */
	if (is_of_unit(path, v->name, strlen(v->name)) ||
	    (at && is_of_unit(path, v->name, (size_t)(at + 1 - v->name))))
		return true;
	/* A file, or the folder that it is in. */
	for (char **u = (char **)v->uses; u && *u; u++) {
		size_t n = strlen(*u);

		while (n > 1 && (*u)[n - 1] == '/')
			n--;
		if (strncmp(*u, path, n) == 0 && (!path[n] || path[n] == '/'))
			return true;
	}
	return false;
}

/* --- digests that are known ---------------------------------------------- */

#define SETTLE (2 * USEC_PER_SEC) /* times of files may be in seconds */

static struct known_digest *find(const struct known *k, const char *path)
{
	for (size_t i = 0; i < k->n; i++)
		if (STREQ(k->list[i].path, path))
			return &k->list[i];
	return NULL;
}

const struct known_digest *setup_known(const struct known *k, const char *path)
{
	const struct known_digest *d = find(k, path);

	return d && d->sure ? d : NULL;
}

void setup_know(struct known *k, const char *path, const char *print,
    const char *digest, bool sure)
{
	struct known_digest *d = find(k, path);

	if (!d) {
		k->list = xrealloc(k->list, (k->n + 1) * sizeof(*k->list));
		d = &k->list[k->n++];
		*d = (struct known_digest){.path = xstrdup(path)};
	}
	if (STREQ(d->print, print) && STREQ(d->digest, digest)) {
		d->sure |= sure || now_mono() - d->since > SETTLE;
		return;
	}
	snprintf(d->print, sizeof(d->print), "%s", print);
	snprintf(d->digest, sizeof(d->digest), "%s", digest);
	d->since = now_mono();
	d->sure = sure;
}

void setup_know_drop(struct known *k)
{
	for (size_t i = 0; i < k->n; i++)
		free(k->list[i].path);
	free(k->list);
	*k = (struct known){0};
}
