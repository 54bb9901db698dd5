// SPDX-License-Identifier: Apache-2.0
/*
 * The start: reads the store, keeps aside what is not sound (and says where),
 * and leaves everything to be observed.  Blocks: the loop does not run yet.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/engine.h"
#include "host/ssh_key.h"
#include "log.h"

/* Puts a bad file out of the way and tells. */
static void keep_aside(
    struct object *o, const char *dir, const char *file, const struct err *err)
{
	_cleanup_free_ char *from = xasprintf("%s/%s", dir, file);
	_cleanup_free_ char *to = xasprintf("%s.bad", from);

	(void)rename(from, to);
	log_error("%s: %s was not sound and is kept as %s: %s", o->name, file,
	    to, err_text(err));
	event(o, "damaged", NULL, NULL, file, "kept as %s: %s", to,
	    err_text(err));
	free(o->refused);
	o->refused = xasprintf("%s: it was not sound and is kept as %s: %s",
	    file, to, err_text(err));
}

/* Drafts that a crash left behind. */
static void clear_drafts(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		size_t n = strlen(e->d_name);

		if (strncmp(e->d_name, ".spec.", 6) == 0 ||
		    (n > 4 && STREQ(e->d_name + n - 4, ".new")))
			unlinkat(dirfd(d), e->d_name, 0);
	}
	if (d)
		closedir(d);
}

/* What has not changed while no daemon lived keeps its time. */
static void load_mtime(struct object *o, const char *path, unsigned aspects)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return;
	object_set_mtime(o, aspects,
	    (uint64_t)st.st_mtim.tv_sec * USEC_PER_SEC +
		(uint64_t)st.st_mtim.tv_nsec / 1000);
}

static int load_document(struct object *o, const char *dir, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/spec", dir);
	_cleanup_free_ char *log = xasprintf("%s/log", dir);
	_cleanup_buf_ struct buf text = {0};
	struct parsed *p = NULL;
	int r = file_read(AT_FDCWD, path, SPEC_MAX, &text);

	if (r == -ENOENT)
		buf_puts(&text, "{}\n");
	else if (r < 0)
		err_errno(err, r, "can't read it");
	if (r == 0 || r == -ENOENT) {
		r = 0;
		if (spec_json_state(buf_str(&text), text.len, err) !=
		    JSON_COMPLETE)
			r = -EINVAL;
	}
	if (r == 0)
		r = document_check(o, buf_str(&text), text.len, &p, err);
	if (r < 0) {
		keep_aside(o, dir, "spec", err);
		buf_clear(&text);
		buf_puts(&text, "{}\n");
		r = document_check(o, "{}", 2, &p, err);
		if (r < 0)
			return r;
	}
	load_mtime(o, path, ASPECT_SPEC | ASPECT_DISK);
	load_mtime(o, log, ASPECT_LOG);
	size_t len = text.len;
	document_force(o, p, buf_take(&text), len);
	return 0;
}

/* 0: none, or not sound. */
static uint32_t load_number(const char *dir)
{
	_cleanup_free_ char *path = xasprintf("%s/meta.json", dir);
	_cleanup_buf_ struct buf text = {0};
	json_int_t number = 0;
	json_t *o;

	if (file_read(AT_FDCWD, path, 4096, &text) < 0)
		return 0;
	o = json_loads(buf_str(&text), 0, NULL);
	number = json_integer_value(json_object_get(o, "number"));
	json_decref(o);
	return number > 0 && number <= NODES_MAX ? (uint32_t)number : 0;
}

static void load_meta(struct object *o, const char *dir)
{
	_cleanup_free_ char *path = xasprintf("%s/node.json", dir);
	_cleanup_buf_ struct buf text = {0};
	struct err err = ERR_INIT;
	int r;

	if (o->kind != OBJECT_NODE) {
		o->number = load_number(dir);
		return;
	}
	r = file_read(AT_FDCWD, path, 4 * MIB, &text);
	if (r < 0)
		err_errno(&err, r, "can't read it");
	else
		r = node_meta_parse(as_node(o), buf_str(&text), &err);
	if (r < 0) {
		node_meta_done(&as_node(o)->meta);
		keep_aside(o, dir, "node.json", &err);
	}
}

struct found {
	struct object **list;
	size_t n, cap;
};

static void found_add(struct found *f, struct object *o)
{
	if (f->n == f->cap) {
		f->cap = MAX((size_t)64, f->cap * 2);
		f->list = xrealloc(f->list, f->cap * sizeof(*f->list));
	}
	f->list[f->n++] = o;
}

/* The folders of a kind; those that were being made or removed go. */
static void find_objects(
    struct cluster *c, enum object_kind kind, struct found *f)
{
	_cleanup_free_ char *dir =
	    xasprintf("%s/%s", c->state_dir, kind_folder(kind));
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		if (STREQ(e->d_name, ".") || STREQ(e->d_name, ".."))
			continue;
		if (e->d_name[0] == '.')
			remove_tree(dirfd(d), e->d_name);
		else if (spec_check_name("", e->d_name, NULL) == 0)
			found_add(f, object_new(c, kind, e->d_name));
	}
	if (d)
		closedir(d);
}

/* The number that was stored, when nobody has it yet. */
static bool take_number(struct object *o)
{
	struct cluster *c = o->c;

	if (o->number == 0 || (o->number < c->size_by_number[o->kind] &&
				  c->by_number[o->kind][o->number]))
		return false;
	object_reserve(o);
	return true;
}

static void load_one(struct object *o, const char *dir)
{
	struct err err = ERR_INIT;

	object_show(o);
	clear_drafts(dir);
	if (load_document(o, dir, &err) < 0) {
		log_error("%s/%s can't be loaded: %s", kind_folder(o->kind),
		    o->name, err_text(&err));
		object_withdraw(o);
		object_forget(o);
		return;
	}
	if (o->kind == OBJECT_NODE)
		history_load(as_node(o));
	if (o->kind == OBJECT_NETWORK)
		network_open(as_network(o));
}

static void load_kind(struct cluster *c, enum object_kind kind)
{
	struct found f = {0};

	find_objects(c, kind, &f);
	for (size_t i = 0; i < f.n; i++) {
		_cleanup_free_ char *dir = object_path(f.list[i], c->state_dir);

		load_meta(f.list[i], dir);
		if (!take_number(f.list[i]))
			f.list[i]->number = 0;
	}
	for (size_t i = 0; i < f.n; i++) {
		struct object *o = f.list[i];
		_cleanup_free_ char *dir = object_path(o, c->state_dir);

		if (o->number == 0) {
			o->number = object_free_number(c, kind, NODES_MAX);
			object_reserve(o);
		}
		load_one(o, dir);
	}
	free(f.list);
}

/* --- the first start --- */

static int first_start(struct cluster *c, struct err *err)
{
	static const char netboot[] =
	    "{\n  \"kind\": \"netboot\",\n  \"build\": \"debian\"\n}\n";
	const struct store_file lan[] = {
	    {"spec", "{}\n"}, {"meta.json", "{\"number\": 1}\n"}};
	const struct store_file image[] = {
	    {"spec", netboot}, {"meta.json", "{\"number\": 1}\n"}};
	const struct store_file nothing[] = {{"spec", "{}\n"}};
	_cleanup_free_ char *mark = xasprintf("%s/cluster", c->state_dir);
	int r = 0;

	if (access(mark, F_OK) == 0)
		return 0;
	for (int k = OBJECT_NETWORK; k < OBJECT_KINDS; k++) {
		_cleanup_free_ char *dir =
		    xasprintf("%s/%s", c->state_dir, kind_folder(k));

		r = mkdir_p(dir, 0700);
		if (r < 0)
			return err_errno(err, r, "can't make %s", dir);
	}
	_cleanup_free_ char *has_lan =
	    xasprintf("%s/networks/lan", c->state_dir);
	_cleanup_free_ char *has_image =
	    xasprintf("%s/images/netboot", c->state_dir);
	if (access(has_lan, F_OK) < 0)
		r = store_make_now(c, "networks/lan", lan, 2, err);
	if (r == 0 && access(has_image, F_OK) < 0)
		r = store_make_now(c, "images/netboot", image, 2, err);
	if (r == 0) /* last: it marks that all is there */
		r = store_make_now(c, "cluster", nothing, 1, err);
	return r;
}

/* Relative host paths keep their meaning wherever later starts happen. */
static int load_cwd(struct cluster *c, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/cwd", c->state_dir);
	_cleanup_buf_ struct buf text = {0};
	_cleanup_free_ char *cwd = NULL;
	int r = file_read(AT_FDCWD, path, 8192, &text);

	if (r == 0 && text.len && text.data[0] == '/') {
		c->cwd = buf_take(&text);
		return 0;
	}
	cwd = getcwd(NULL, 0);
	if (!cwd)
		return err_errno(
		    err, -errno, "can't tell the working directory");
	r = file_replace(AT_FDCWD, path, cwd, strlen(cwd), 0600);
	if (r < 0)
		return err_errno(err, r, "can't write %s", path);
	c->cwd = TAKE_PTR(cwd);
	return 0;
}

static int load_keys(struct cluster *c, struct err *err)
{
	_cleanup_free_ char *dir = xasprintf("%s/keys", c->state_dir);
	int r = mkdir_p(dir, 0700);

	if (r < 0)
		return err_errno(err, r, "can't make %s", dir);
	c->key_file = xasprintf("%s/id_ed25519", dir);
	c->known_hosts = xasprintf("%s/known_hosts", dir);
	r = ssh_key_ensure(c->key_file, "rackfs", err);
	if (r == 0)
		r = ssh_key_public(c->key_file, &c->public_key, err);
	return r;
}

static int load_all(struct cluster *c, struct err *err)
{
	_cleanup_free_ char *dir = xasprintf("%s/cluster", c->state_dir);
	int r = first_start(c, err);

	if (r == 0)
		r = load_cwd(c, err);
	if (r == 0)
		r = load_keys(c, err);
	if (r == 0)
		r = events_open(c, err);
	if (r < 0)
		return r;
	c->loading = true;
	clear_drafts(dir);
	r = load_document(&c->o, dir, err);
	if (r < 0)
		return r;
	load_kind(c, OBJECT_NETWORK);
	load_kind(c, OBJECT_IMAGE);
	load_kind(c, OBJECT_NODE);
	c->loading = false;
	return 0;
}

int cluster_new(const struct cluster_options *options, struct cluster **ret,
    struct err *err)
{
	struct cluster *c = xcalloc(1, sizeof(*c));
	int r;

	c->options = *options;
	c->loop = options->loop;
	c->held = options->hold;
	c->o.c = c;
	c->o.kind = OBJECT_CLUSTER;
	c->o.number = 1;
	c->o.name = xstrdup("cluster");
	c->o.refs = 1; /* never freed by itself */
	c->events_fd = -1;
	c->changed_last = &c->changed_first;
	c->dirty_last = &c->dirty_first;
	c->state_dir = xstrdup(options->state_dir);
	c->runtime_dir = xstrdup(options->runtime_dir);
	for (size_t i = 0; i < ASPECT_BITS; i++)
		c->o.changed_at[i] = now_real();
	r = worker_new(c->loop, &c->worker);
	if (r < 0)
		err_errno(err, r, "can't start the worker thread");
	if (r == 0)
		r = loop_add_deferred(c->loop, tell_changes, c, &c->tell);
	if (r == 0)
		r = load_all(c, err);
	if (r < 0) {
		cluster_free(c);
		return r;
	}
	loop_kick(c->tell);
	names_start(c);
	reconcile_start(c);
	*ret = c;
	return 0;
}
