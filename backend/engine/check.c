// SPDX-License-Identifier: Apache-2.0
/*
 * A document against everything that is there, and what follows when it is put
 * in force.  document_check() changes nothing but claims: names that the new
 * document takes are taken at once, so that two documents on their way to the
 * disk can't take the same; document_done() gives them back.
 */
#include <errno.h>
#include <stdio.h>
#include "engine/engine.h"

#define VDE_MTU_MAX 1500 /* measured: frames are cut at 1518 bytes */

struct parsed {
	struct object *o;
	union {
		struct node_spec *node;
		struct network_spec *network;
		struct image_spec *image;
		struct cluster_spec *cluster;
	} spec;
	char *defaults; /* cluster */
	struct nic nics[NICS_MAX];
	size_t n_nics;
	uint16_t port;
	char **claims;
};

void document_done(struct parsed *p)
{
	if (!p)
		return;
	switch (p->o->kind) {
	case OBJECT_NODE:
		claims_drop(as_node(p->o), p->claims, as_node(p->o)->claims);
		if (as_node(p->o)->coming == p->spec.node)
			as_node(p->o)->coming = NULL;
		node_spec_free(p->spec.node);
		break;
	case OBJECT_NETWORK:
		network_spec_free(p->spec.network);
		break;
	case OBJECT_IMAGE:
		image_spec_free(p->spec.image);
		break;
	case OBJECT_CLUSTER:
		cluster_spec_free(p->spec.cluster);
		break;
	case OBJECT_KINDS:
		break;
	}
	free(p->defaults);
	strv_free(p->claims);
	free(p);
}

/* --- node --- */

static int check_disk(
    struct node *n, const struct node_spec *s, struct err *err)
{
	char was[24], is[24];

	if (!n->meta.disk_used || !n->spec || !n->spec->disk.present ||
	    !s->disk.present || s->disk.size >= n->spec->disk.size)
		return 0;
	format_size(n->spec->disk.size, was);
	format_size(s->disk.size, is);
	return err_set(err, -EINVAL,
	    "disk.size: %s is less than the %s it has; a disk that was used "
	    "never shrinks (wipe throws it away)",
	    is, was);
}

static int check_node(struct parsed *p, const char *text, struct err *err)
{
	struct node *n = as_node(p->o);
	struct cluster *c = n->o.c;
	int r = node_spec_parse(c->defaults, text, &p->spec.node, err);

	if (r == 0)
		r = check_disk(n, p->spec.node, err);
	if (r == 0 && n->meta.power == POWER_UP && n->driver &&
	    !STREQ(n->driver->name, p->spec.node->driver))
		r = err_set(err, -EBUSY, "driver: %s must be down to change it",
		    n->o.name);
	if (r == 0)
		r = node_resolve(n, p->spec.node, p->nics, &p->n_nics, &p->port,
		    &p->claims, err);
	if (r == 0)
		r = claims_check(n, p->claims, err);
	if (r == 0)
		r = host_paths_of_node(n->o.c, p->spec.node, err);
	if (r == 0)
		r = install_check(n, p->spec.node, err);
	if (r == 0)
		r = after_check(n, p->spec.node, NULL, err);
	if (r == 0)
		claims_add(n, p->claims);
	else
		strv_free(TAKE_PTR(p->claims));
	return r;
}

/* What the document of a node changes beside the node. */
static void force_node(struct node *n, struct parsed *p)
{
	_cleanup_strv_ char **old = TAKE_PTR(n->claims);
	bool named = n->spec != NULL, after = named && n->spec->after;

	if (named)
		node_set_users(n, false);
	if (n->driver && !STREQ(n->driver->name, p->spec.node->driver))
		node_close(n);
	n->claims = TAKE_PTR(p->claims);
	claims_drop(n, old, n->claims);
	n->o.c->n_after -= after;
	node_spec_free(n->spec);
	n->spec = TAKE_PTR(p->spec.node);
	n->coming = NULL;
	n->o.c->n_after += n->spec->after != NULL;
	if (!named || after || n->spec->after)
		after_forget(n->o.c);
	memcpy(n->nics, p->nics, sizeof(n->nics));
	n->n_nics = p->n_nics;
	n->ssh_port = p->port;
	n->driver = registry_node(n->spec->driver);
	node_set_users(n, true);
	node_watch_sources(n);
	checks_follow_node(n);
	if (n->spec->tls.present)
		tls_want(n->o.c);
}

/* --- network --- */

uint32_t network_default_subnet(uint32_t number)
{
	return 10u << 24 | (36u + (number - 1) / 256) << 16 |
	       (number - 1) % 256 << 8;
}

bool network_overlaps(const struct network *net, uint32_t subnet,
    unsigned prefix, const char **ret_other)
{
	EACH_OBJECT (o, net->o.c, OBJECT_NETWORK) {
		struct network *other = as_network(o);
		unsigned common = MIN(prefix, other->prefix);
		uint32_t mask = ~0u << (32 - common);

		if (other == net || ((subnet ^ other->subnet) & mask))
			continue;
		if (ret_other)
			*ret_other = o->name;
		return true;
	}
	return false;
}

static int check_users(struct network *net, struct err *err)
{
	for (size_t i = 0; i < net->n_users; i++) {
		struct node *n = net->users[i];
		struct nic nics[NICS_MAX];
		_cleanup_strv_ char **claims = NULL;
		size_t count;
		uint16_t port;
		int r =
		    node_resolve(n, n->spec, nics, &count, &port, &claims, err);

		if (r == 0)
			r = claims_check(n, claims, err);
		if (r < 0)
			return err_prefix(err, "%s: ", n->o.name), r;
	}
	return 0;
}

static int check_network(struct parsed *p, const char *text, struct err *err)
{
	struct network *net = as_network(p->o);
	uint32_t old = net->subnet;
	unsigned old_prefix = net->prefix;
	const char *other = "";
	struct network_spec *s;
	int r = network_spec_parse(text, &p->spec.network, err);

	if (r < 0)
		return r;
	s = p->spec.network;
	if (net->held && net->spec &&
	    !spec_same(net->o.spec_text ? net->o.spec_text : "{}", text))
		return err_set(err, -EBUSY,
		    "network %s is in use; its nodes must be down to change it",
		    net->o.name);
	if (s->mtu > VDE_MTU_MAX && STREQ(s->driver, "vde"))
		return err_set(err, -EINVAL,
		    "mtu: a VDE switch cuts frames that carry more than %d "
		    "bytes; found %u",
		    VDE_MTU_MAX, s->mtu);
	if (s->has_subnet) {
		net->subnet = s->subnet;
		net->prefix = s->prefix;
	} else {
		net->subnet = network_default_subnet(net->o.number);
		net->prefix = 24;
	}
	if (network_overlaps(net, net->subnet, net->prefix, &other))
		r = err_set(err, -EINVAL,
		    "subnet: it overlaps that of network %s", other);
	if (r == 0)
		r = check_users(net, err);
	net->subnet = old;
	net->prefix = old_prefix;
	return r;
}

static void force_network(struct network *net, struct parsed *p)
{
	const struct network_driver *driver;

	network_spec_free(net->spec);
	net->spec = TAKE_PTR(p->spec.network);
	net->subnet = net->spec->has_subnet
			  ? net->spec->subnet
			  : network_default_subnet(net->o.number);
	net->prefix = net->spec->has_subnet ? net->spec->prefix : 24;
	driver = registry_network(net->spec->driver);
	if (net->driver && net->driver != driver)
		network_close(net);
	net->driver = driver;
	network_forget_failure(net);
	/* Default addresses follow the subnet. */
	for (size_t i = 0; i < net->n_users; i++) {
		struct node *n = net->users[i];
		_cleanup_strv_ char **old = TAKE_PTR(n->claims);

		(void)node_resolve(n, n->spec, n->nics, &n->n_nics,
		    &n->ssh_port, &n->claims, NULL);
		claims_drop(n, old, n->claims);
		claims_add(n, n->claims);
		touch(&n->o, ASPECT_OBSERVED);
	}
	names_changed(net->o.c);
	touch(&net->o, ASPECT_PORTS | ASPECT_REACH);
}

/* --- the cluster --- */

/* All that a node's own document is checked for but its `after`. */
static int check_default(
    struct node *n, const struct node_spec *s, void **taken, struct err *err)
{
	struct nic nics[NICS_MAX];
	_cleanup_strv_ char **claims = NULL;
	size_t count;
	uint16_t port;
	int r = node_resolve(n, s, nics, &count, &port, &claims, err);

	if (r == 0)
		r = claims_gather(taken, n, claims, err);
	if (r == 0)
		r = check_disk(n, s, err);
	if (r == 0)
		r = host_paths_of_node(n->o.c, s, err);
	if (r == 0)
		r = install_check(n, s, err);
	if (r == 0 && n->meta.power == POWER_UP && n->spec &&
	    !STREQ(s->driver, n->spec->driver))
		r = err_set(
		    err, -EBUSY, "driver: it must be down to change it");
	return r;
}

/* Every node must be sound with the new defaults as well. */
static int check_defaults(
    struct cluster *c, const char *defaults, struct err *err)
{
	struct node_spec **specs =
	    xcalloc(c->top[OBJECT_NODE] + 1, sizeof(*specs));
	struct object *o = NULL;
	void *taken = NULL;
	int r = 0;

	while (
	    r == 0 && (o = cluster_next(c, OBJECT_NODE, o ? o->number : 0))) {
		r = node_spec_parse(
		    defaults, o->spec_text, &specs[o->number], err);
		if (r == 0)
			r = check_default(
			    as_node(o), specs[o->number], &taken, err);
	}
	while (r == 0 && (o = cluster_next(c, OBJECT_NODE, o ? o->number : 0)))
		r = after_check(as_node(o), specs[o->number], specs, err);
	if (r < 0)
		err_prefix(err, "defaults: node %s: ", o->name);
	for (uint32_t i = 0; i <= c->top[OBJECT_NODE]; i++)
		node_spec_free(specs[i]);
	free(specs);
	claims_free(taken);
	return r;
}

static int check_cluster(struct parsed *p, const char *text, struct err *err)
{
	struct cluster *c = p->o->c;
	int r = cluster_spec_parse(text, &p->spec.cluster, &p->defaults, err);

	if (r < 0 || c->loading)
		return r;
	if (c->defaults && p->defaults && spec_same(c->defaults, p->defaults))
		return 0;
	return check_defaults(c, p->defaults, err);
}

/* What the cluster's own keys put into every guest. */
static uint64_t in_guests(struct cluster *c)
{
	_cleanup_buf_ struct buf b = {0};

	if (!c->spec || c->loading)
		return 0;
	names_keys(c, &b);
	buf_printf(&b, "%s\n%s\n%s\n%u\n", c->spec->name, c->spec->domain,
	    c->spec->tls_organization ? c->spec->tls_organization : "",
	    c->spec->tls_days);
	return hash_bytes(buf_str(&b), b.len);
}

static void force_cluster(struct cluster *c, struct parsed *p)
{
	uint64_t before = in_guests(c);
	bool same = c->defaults && p->defaults
			? spec_same(c->defaults, p->defaults)
			: c->defaults == p->defaults;

	cluster_spec_free(c->spec);
	c->spec = TAKE_PTR(p->spec.cluster);
	free(c->defaults);
	c->defaults = TAKE_PTR(p->defaults);
	names_changed(c);
	if (c->loading)
		return;
	checks_follow_cluster(c);
	touch(&c->o, ASPECT_PLAN); /* on_drift */
	bool told = before != in_guests(c);
	EACH_OBJECT (o, c, OBJECT_NODE) {
		struct parsed *q = NULL;
		struct err err = ERR_INIT;

		if (same)
			continue;
		if (document_check(o, o->spec_text, o->spec_len, &q, &err) == 0)
			document_force(
			    o, q, xstrdup(o->spec_text), o->spec_len);
		else /* something came in force while they were stored */
			cluster_refused(o, "defaults", err_text(&err));
	}
	EACH_OBJECT (o, c, OBJECT_NODE) {
		if (told)
			node_look_again(as_node(o));
		mark_dirty(o);
	}
	if (c->observe_timer)
		reconcile_start(c);
}

/* --- image --- */

static int check_image_user(const struct node_spec *s, const char *image,
    enum image_kind kind, struct err *err)
{
	int r = 0;

	if (STREQ(s->boot_image, image))
		r = boot_fits(image, kind, err);
	if (r == 0 && s->install.present && STREQ(s->install.image, image))
		r = install_fits(s, image, kind, err);
	return r;
}

/* Nodes that boot or install it must still be able to. */
static int check_image(struct parsed *p, const char *text, struct err *err)
{
	int r = image_spec_parse(text, &p->spec.image, err);

	if (r == 0)
		r = host_paths_of_image(p->o->c, p->spec.image, err);
	if (r < 0)
		return r;
	EACH_OBJECT (o, p->o->c, OBJECT_NODE) {
		const struct node *n = as_node(o);
		const struct node_spec *specs[] = {n->spec, n->coming};

		for (size_t i = 0; r == 0 && i < ARRAY_SIZE(specs); i++)
			if (specs[i])
				r = check_image_user(specs[i], p->o->name,
				    p->spec.image->kind, err);
		if (r < 0)
			return err_prefix(err, "node %s: ", o->name), r;
	}
	return 0;
}

/* --- all kinds --- */

int document_check(struct object *o, const char *text, size_t len,
    struct parsed **ret, struct err *err)
{
	struct parsed *p = xcalloc(1, sizeof(*p));
	int r = -EINVAL;

	(void)len;
	p->o = o;
	switch (o->kind) {
	case OBJECT_NODE:
		r = check_node(p, text, err);
		if (r == 0 && ret)
			as_node(o)->coming = p->spec.node;
		break;
	case OBJECT_NETWORK:
		r = check_network(p, text, err);
		break;
	case OBJECT_IMAGE:
		r = check_image(p, text, err);
		break;
	case OBJECT_CLUSTER:
		r = check_cluster(p, text, err);
		break;
	case OBJECT_KINDS:
		break;
	}
	if (r < 0 || !ret) {
		document_done(p);
		return r;
	}
	*ret = p;
	return 0;
}

static void keep_digest(struct node *n)
{
	_cleanup_buf_ struct buf b = {0};

	(void)spec_effective(
	    SPEC_NODE, n->o.c->defaults, n->o.spec_text, &b, NULL);
	n->spec_digest = hash_bytes(buf_str(&b), b.len);
}

/* A document that says the same as before changes nothing but its text. */
static void after_node(struct node *n)
{
	uint64_t before = n->spec_digest;

	keep_digest(n);
	if (n->o.c->loading)
		return;
	if (before != n->spec_digest) {
		history_clear_failure(n);
		if (node_image(n))
			image_forget_failure(node_image(n));
		if (node_system(n))
			image_forget_failure(node_system(n));
		node_look_again(n);
		node_reach_stale(n);
	}
	node_compare_specs(n);
	names_changed(n->o.c);
	node_refresh(n);
}

void document_force(struct object *o, struct parsed *p, char *text, size_t len)
{
	bool changed = !o->spec_text || strcmp(o->spec_text, text) != 0;
	bool named = o->spec_text != NULL;

	free(o->spec_text);
	o->spec_text = text;
	o->spec_len = len;
	o->spec_version++;
	switch (o->kind) {
	case OBJECT_NODE:
		force_node(as_node(o), p);
		after_node(as_node(o));
		break;
	case OBJECT_NETWORK:
		force_network(as_network(o), p);
		break;
	case OBJECT_IMAGE:
		image_spec_free(as_image(o)->spec);
		as_image(o)->spec = TAKE_PTR(p->spec.image);
		image_spec_written(as_image(o), !changed);
		break;
	case OBJECT_CLUSTER:
		force_cluster(o->c, p);
		break;
	case OBJECT_KINDS:
		break;
	}
	document_done(p);
	if (o->c->loading)
		return;
	/* A node whose defaults have changed has the same document. */
	if (changed)
		touch(o, ASPECT_SPEC | ASPECT_DISK);
	touch(o, ASPECT_OBSERVED | ASPECT_SETTLED |
		     (o->kind == OBJECT_NODE ? ASPECT_PROGRESS : 0) |
		     (o->kind == OBJECT_IMAGE ? 0 : ASPECT_LINKS));
	if (changed && named)
		event(o, "spec", NULL, NULL, "spec", NULL);
	mark_dirty(o);
}

/* --- what waits for a restart or a wipe --- */

static void keep_key(const char *key, void *userdata)
{
	strv_push(userdata, key);
}

static void keep_disk_key(const char *key, void *userdata)
{
	if (strncmp(key, "disk.", 5) == 0 || strncmp(key, "install", 7) == 0)
		strv_push(userdata, key);
}

static void keep_volume_key(const char *key, void *userdata)
{
	if (strncmp(key, "volumes.", 8) == 0)
		strv_push(userdata, key);
}

void node_compare_specs(struct node *n)
{
	_cleanup_buf_ struct buf now = {0}, then = {0}, run = {0};

	strv_free(TAKE_PTR(n->restart_required));
	strv_free(TAKE_PTR(n->wipe_required));
	node_spec_free(TAKE_PTR(n->laid));
	if (spec_effective(
		SPEC_NODE, n->o.c->defaults, n->o.spec_text, &now, NULL) < 0)
		return;
	if (n->started_spec && n->machine_look.state == MACHINE_RUNNING) {
		volumes_then(n, buf_str(&now), &run);
		nics_then(n, buf_str(&now), &run);
		spec_node_diff(buf_str(&run), buf_str(&now), EFFECT_RESTART,
		    keep_key, &n->restart_required);
		spec_node_diff(buf_str(&run), buf_str(&now), EFFECT_WIPE,
		    keep_volume_key, &n->wipe_required);
	}
	if ((n->meta.laid_out || n->meta.installed) && n->meta.laid_out_spec &&
	    n->spec->disk.present) {
		(void)node_spec_parse(
		    NULL, n->meta.laid_out_spec, &n->laid, NULL);
		if (spec_effective(SPEC_NODE, NULL, n->meta.laid_out_spec,
			&then, NULL) == 0)
			spec_node_diff(buf_str(&then), buf_str(&now),
			    EFFECT_WIPE, keep_disk_key, &n->wipe_required);
		if (node_firmware(n) != n->spec->boot_firmware)
			strv_push(&n->wipe_required, "boot.firmware");
	}
	touch(&n->o, ASPECT_OBSERVED);
	touch(&n->o.c->o, ASPECT_PLAN);
}
