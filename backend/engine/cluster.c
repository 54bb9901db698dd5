// SPDX-License-Identifier: Apache-2.0
/*
 * The cluster: makes, removes and frees objects, and takes the engine down.
 * load.c fills it at start.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdio.h>
#include <unistd.h>
#include "engine/engine.h"

/* --- making --- */

struct object *object_new(
    struct cluster *c, enum object_kind kind, const char *name)
{
	static const size_t sizes[] = {
	    [OBJECT_NETWORK] = sizeof(struct network),
	    [OBJECT_IMAGE] = sizeof(struct image),
	    [OBJECT_NODE] = sizeof(struct node),
	};
	struct object *o = xcalloc(1, sizes[kind]);
	uint64_t now = now_real();

	o->c = c;
	o->kind = kind;
	o->name = xstrdup(name);
	for (size_t i = 0; i < ASPECT_BITS; i++)
		o->changed_at[i] = now;
	if (kind == OBJECT_NODE)
		as_node(o)->since = now_mono();
	return o;
}

struct making {
	struct object *o;
	struct parsed *parsed;
	uint64_t time; /* of its files */
	cluster_reply_fn reply;
	void *userdata;
};

static void made(int code, const struct err *err, void *userdata)
{
	struct making *m = userdata;
	struct object *o = m->o;
	struct cluster *c = o->c;

	if (code < 0) {
		document_done(m->parsed);
		object_withdraw(o);
		object_forget(o);
	} else {
		object_show(o);
		document_force(o, m->parsed, xstrdup("{}\n"), 3);
		object_set_mtime(o, ASPECT_SPEC | ASPECT_DISK, m->time);
		if (o->kind == OBJECT_NETWORK)
			network_open(as_network(o));
		if (o->kind == OBJECT_NODE)
			as_node(o)->machine_look.state = MACHINE_NONE; /* new */
		event(o, "made", NULL, NULL, NULL, NULL);
		names_changed(c);
		touch(&c->o, ASPECT_STATUS | ASPECT_SETTLED | ASPECT_OBSERVED |
				 ASPECT_PROGRESS | ASPECT_LINKS);
		if (c->options.appeared)
			c->options.appeared(o, c->options.userdata);
	}
	m->reply(code, err, m->userdata);
	free(m);
}

/* The lowest number whose MACs, addresses and ports are free. */
static int pick_number(struct object *o, struct parsed **ret, struct err *err)
{
	static const uint32_t most[] = {
	    [OBJECT_NETWORK] = NETWORKS_MAX,
	    [OBJECT_IMAGE] = IMAGES_MAX,
	    [OBJECT_NODE] = NODES_MAX,
	};
	struct cluster *c = o->c;
	uint32_t i = object_free_number(c, o->kind, most[o->kind]);
	struct err last = ERR_INIT;

	for (; i && i <= most[o->kind]; i++) {
		struct err why = ERR_INIT;
		int r;

		if (i < c->size_by_number[o->kind] && c->by_number[o->kind][i])
			continue;
		o->number = i;
		r = document_check(o, "{}", 2, ret, &why);
		if (r == 0)
			return 0;
		/* Somebody wrote down what this number would get; the same
		 * sentence twice is about what every number gets. */
		if (o->kind == OBJECT_NETWORK
			? r == -EINVAL
			: r == -EEXIST && !STREQ(why.text, last.text)) {
			last = why;
			continue;
		}
		err_copy(err, &why);
		return r;
	}
	return err_set(err, -ENOSPC, "there is no %s left for one more %s",
	    o->kind == OBJECT_NETWORK ? "subnet 10.36.N.0/24" : "number",
	    object_kind_name(o->kind));
}

/* What becomes a host name must not mean something else already. */
static int check_new_name(
    enum object_kind kind, const char *name, struct err *err)
{
	struct in_addr address;
	int r = spec_check_name(object_kind_name(kind), name, err);

	if (r < 0 || kind != OBJECT_NODE)
		return r;
	if (inet_aton(name, &address))
		return err_set(err, -EINVAL,
		    "node: programs read \"%s\" as the address %s; begin with "
		    "a letter, for example node%s",
		    name, inet_ntoa(address), name);
	if (STREQ(name, "localhost"))
		return err_set(err, -EINVAL,
		    "node: localhost is what each machine calls itself; take "
		    "another name");
	if (STREQ(name, "host"))
		return err_set(err, -EINVAL,
		    "node: in `from` of a check host is this host; take "
		    "another name");
	return 0;
}

static int make(struct cluster *c, enum object_kind kind, const char *name,
    cluster_reply_fn reply, void *userdata, struct err *err)
{
	_cleanup_buf_ struct buf meta = {0};
	_cleanup_free_ char *path = NULL;
	struct store_file files[] = {{"spec", "{}\n"}, {"node.json", NULL}};
	struct parsed *parsed = NULL;
	struct making *m;
	struct object *o;
	int r = check_new_name(kind, name, err);

	if (r < 0)
		return r;
	if (cluster_find(c, kind, name))
		return err_set(err, -EEXIST, "%s/%s is there already",
		    kind_folder(kind), name);
	o = object_new(c, kind, name);
	r = pick_number(o, &parsed, err);
	if (r < 0) {
		object_forget(o);
		return r;
	}
	object_reserve(o);
	m = xcalloc(1, sizeof(*m));
	*m = (struct making){o, parsed, now_real(), reply, userdata};
	if (kind == OBJECT_NODE) {
		node_meta_text(as_node(o), &meta);
	} else {
		buf_printf(&meta, "{\"number\": %u}\n", o->number);
		files[1].name = "meta.json";
	}
	files[1].data = buf_str(&meta);
	path = xasprintf("%s/%s", kind_folder(kind), name);
	store_make(c, path, files, 2, m->time, made, m);
	return 0;
}

void cluster_make(struct cluster *c, enum object_kind kind, const char *name,
    cluster_reply_fn reply, void *userdata)
{
	struct err err = ERR_INIT;
	int r = make(c, kind, name, reply, userdata, &err);

	if (r < 0)
		reply(r, &err, userdata);
}

/* --- removing --- */

static int may_remove_node(struct node *n, struct err *err)
{
	const char *name = n->o.name, *by;

	if (after_named(n, &by))
		return err_set(err, -EBUSY,
		    "%s is named in `after` of %s; take it out there first",
		    name, by);
	if (n->meta.power == POWER_UP || n->pending ||
	    n->machine_look.state != MACHINE_NONE || n->doing != STEP_NONE)
		return err_set(err, -EBUSY,
		    "%s is not down; echo down > nodes/%s/state first", name,
		    name);
	if (n->meta.disk_used)
		return err_set(err, -ENOTEMPTY,
		    "the disk of %s holds data; echo wipe > nodes/%s/state "
		    "throws it away",
		    name, name);
	return 0;
}

static int may_remove(struct object *o, struct err *err)
{
	struct network *net = as_network(o);

	if (o->removing || o->committing)
		return err_set(err, -EBUSY, "%s is being changed", o->name);
	if (o->kind == OBJECT_NODE)
		return may_remove_node(as_node(o), err);
	if (o->kind == OBJECT_IMAGE && as_image(o)->users)
		return err_set(err, -EBUSY,
		    "image %s is used by the specs of %u nodes", o->name,
		    as_image(o)->users);
	if (o->kind == OBJECT_IMAGE && as_image(o)->doing != IMG_IDLE)
		return err_set(err, -EBUSY, "image %s is being made", o->name);
	if (o->kind == OBJECT_NETWORK && net->n_users)
		return err_set(err, -EBUSY,
		    "network %s is used by %s and %zu more", o->name,
		    net->users[0]->o.name, net->n_users - 1);
	if (o->kind == OBJECT_NETWORK &&
	    (net->doing != NET_IDLE || net->look.state == NETWORK_RUNNING))
		return err_set(err, -EBUSY,
		    "network %s is being stopped; try again", o->name);
	return 0;
}

struct removing {
	struct object *o;
	cluster_reply_fn reply;
	void *userdata;
};

static void close_object(struct object *o)
{
	struct node *n = as_node(o);

	if (o->kind == OBJECT_NETWORK)
		network_close(as_network(o));
	if (o->kind == OBJECT_IMAGE) {
		image_close(as_image(o));
		watch_clear(&as_image(o)->watches);
	}
	if (o->kind != OBJECT_NODE)
		return;
	watch_clear(&n->watches);
	node_checks_drop(n);
	o->c->n_after -= n->spec->after != NULL;
	node_close(n);
	claims_drop(n, n->claims, NULL);
	node_set_users(n, false);
	node_reach_stale(n);
	if (n->planned && !n->plan.settled)
		o->c->unsettled--;
	n->planned = false;
}

static void removed(int code, const struct err *err, void *userdata)
{
	struct removing *m = userdata;
	struct object *o = m->o;
	struct cluster *c = o->c;

	o->removing = false;
	if (code == 0) {
		_cleanup_free_ char *run = object_path(o, c->runtime_dir);

		event(o, "removed", NULL, NULL, NULL, NULL);
		if (c->options.vanishing)
			c->options.vanishing(o, c->options.userdata);
		close_object(o);
		object_withdraw(o);
		after_forget(c);
		remove_tree(AT_FDCWD, run);
		names_changed(c);
		touch(&c->o, ASPECT_STATUS | ASPECT_SETTLED | ASPECT_OBSERVED |
				 ASPECT_PROGRESS | ASPECT_LINKS | ASPECT_PLAN |
				 ASPECT_DRIFT | ASPECT_CHECKS);
		object_forget(o);
	}
	m->reply(code, err, m->userdata);
	free(m);
}

void cluster_remove(struct cluster *c, enum object_kind kind, const char *name,
    cluster_reply_fn reply, void *userdata)
{
	struct object *o = cluster_find(c, kind, name);
	struct err err = ERR_INIT;
	struct removing *m;
	_cleanup_free_ char *path = NULL;
	int r;

	r = o ? may_remove(o, &err)
	      : err_set(&err, -ENOENT, "there is no %s/%s", kind_folder(kind),
		    name);
	if (!o || r < 0) {
		reply(r, &err, userdata);
		return;
	}
	o->removing = true;
	m = xcalloc(1, sizeof(*m));
	*m = (struct removing){o, reply, userdata};
	path = xasprintf("%s/%s", kind_folder(kind), name);
	store_remove(c, path, removed, m);
}

/* --- freeing --- */

static void node_free(struct node *n)
{
	node_close(n);
	node_spec_free(n->spec);
	node_spec_free(n->laid);
	node_meta_done(&n->meta);
	loop_source_free(n->timer);
	for (size_t i = 0; n->stages && i < STAGES; i++)
		free(n->stages[i].detail);
	free(n->stages);
	free(n->guest_look);
	free(n->disk_look);
	free(n->failed_sentence);
	watch_clear(&n->watches);
	node_drift_drop(n);
	node_doubt_drop(n);
	free(n->started_spec);
	node_spec_free(n->started);
	free(n->reach);
	free(n->host_key);
	free(n->host_key_path);
	free(n->followers);
	strv_free(n->claims);
	strv_free(n->restart_required);
	strv_free(n->wipe_required);
}

static void network_free(struct network *net)
{
	network_close(net);
	network_spec_free(net->spec);
	loop_source_free(net->timer);
	free(net->failed_sentence);
	free(net->users);
	free(net->ports);
}

static void image_free(struct image *img)
{
	image_close(img);
	watch_clear(&img->watches);
	free(img->source);
	image_spec_free(img->spec);
	free(img->failed_sentence);
	free(img->detail);
	free(img->kernel);
	free(img->initrd);
	free(img->user_key);
	free(img->host_key_file);
	free(img->host_key);
}

void object_free(struct object *o)
{
	if (o->kind == OBJECT_NODE)
		node_free(as_node(o));
	else if (o->kind == OBJECT_NETWORK)
		network_free(as_network(o));
	else if (o->kind == OBJECT_IMAGE)
		image_free(as_image(o));
	free(o->name);
	free(o->spec_text);
	free(o->refused);
	free(o);
}

static void nothing(void *p)
{
	(void)p;
}

void cluster_free(struct cluster *c)
{
	if (!c)
		return;
	/* What was given to the worker is finished and answered first. */
	worker_free(c->worker);
	c->worker = NULL;
	reconcile_stop(c);
	tell_changes(c);
	for (int k = OBJECT_KINDS - 1; k > OBJECT_CLUSTER; k--) {
		tdestroy(c->by_name[k], nothing);
		for (size_t i = 0; i < c->size_by_number[k]; i++) {
			if (c->by_number[k][i])
				object_free(c->by_number[k][i]);
		}
		free(c->by_number[k]);
	}
	claims_free(c->claims);
	loop_source_free(c->tell);
	if (c->events_fd >= 0)
		close(c->events_fd);
	cluster_spec_free(c->spec);
	loop_source_free(c->events_timer);
	buf_done(&c->events_waiting);
	buf_done(&c->hosts);
	buf_done(&c->effective);
	free(c->event_offsets);
	free(c->defaults);
	free(c->cwd);
	free(c->state_dir);
	free(c->runtime_dir);
	free(c->key_file);
	free(c->public_key);
	free(c->known_hosts);
	free(c->o.name);
	free(c->o.spec_text);
	free(c->o.refused);
	free(c);
}
