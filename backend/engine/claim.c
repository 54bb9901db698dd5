// SPDX-License-Identifier: Apache-2.0
/*
 * What a node gets by its number and what no two nodes may share: MACs,
 * addresses, ports on the host.  What is claimed is kept in a tree with its
 * owner, so that a duplicate is found without a look at every node.
 */
#include <assert.h>
#include <errno.h>
#include <search.h>
#include <stdio.h>
#include "engine/engine.h"

struct claim {
	char *key; /* "port 2201" */
	struct node *owner;
};

static int by_key(const void *a, const void *b)
{
	return strcmp(
	    ((const struct claim *)a)->key, ((const struct claim *)b)->key);
}

static struct claim *find(void *const *tree, const char *key)
{
	struct claim k = {.key = (char *)key};
	void *p = tfind(&k, tree, by_key);

	return p ? *(struct claim **)p : NULL;
}

static void add(void **tree, struct node *n, const char *key)
{
	struct claim *x = xcalloc(1, sizeof(*x));

	x->key = xstrdup(key);
	x->owner = n;
	if (!tsearch(x, tree, by_key))
		abort();
}

static void free_claim(void *p)
{
	struct claim *x = p;

	free(x->key);
	free(x);
}

void claims_free(void *tree)
{
	tdestroy(tree, free_claim);
}

/* "port 2201" of "ssh.port: port 2201". */
static const char *what(const char *claim)
{
	return strstr(claim, ": ") + 2;
}

/* The claim of a list for the same as this one, or NULL. */
static const char *same(char *const *claims, const char *claim)
{
	for (; claims && *claims; claims++) {
		if (STREQ(what(*claims), what(claim)))
			return *claims;
	}
	return NULL;
}

static int check(
    void *const *tree, struct node *n, char *const *claims, struct err *err)
{
	for (size_t i = 0; claims && claims[i]; i++) {
		struct claim *x = find(tree, what(claims[i]));
		const char *first = same(claims, claims[i]);

		if (x && x->owner != n)
			return err_set(err, -EEXIST, "%s is taken by %s",
			    claims[i], x->owner->o.name);
		if (first != claims[i])
			return err_set(err, -EEXIST, "%s is that of %.*s too",
			    claims[i], (int)(what(first) - first - 2), first);
	}
	return 0;
}

int claims_check(struct node *n, char *const *claims, struct err *err)
{
	return check(&n->o.c->claims, n, claims, err);
}

static void add_all(void **tree, struct node *n, char *const *claims)
{
	for (size_t i = 0; claims && claims[i]; i++) {
		struct claim *x = find(tree, what(claims[i]));

		if (x)
			assert(x->owner == n);
		else
			add(tree, n, what(claims[i]));
	}
}

void claims_add(struct node *n, char *const *claims)
{
	add_all(&n->o.c->claims, n, claims);
}

int claims_gather(
    void **tree, struct node *n, char *const *claims, struct err *err)
{
	int r = claims_check(n, claims, err);

	if (r == 0)
		r = check(tree, n, claims, err);
	if (r == 0)
		add_all(tree, n, claims);
	return r;
}

void claims_drop(struct node *n, char *const *have, char *const *keep)
{
	for (size_t i = 0; have && have[i]; i++) {
		struct claim *x = find(&n->o.c->claims, what(have[i]));

		if (!x || x->owner != n || same(keep, have[i]))
			continue;
		tdelete(x, &n->o.c->claims, by_key);
		free_claim(x);
	}
}

/* 52:54:00, the node's number in two bytes, the NIC's from 1. */
static void default_mac(uint32_t number, size_t nic, uint8_t mac[6])
{
	const uint8_t m[6] = {0x52, 0x54, 0x00, (uint8_t)(number >> 8),
	    (uint8_t)number, (uint8_t)(nic + 1)};

	memcpy(mac, m, sizeof(m));
}

void node_nic_mac(
    const struct node *n, const struct nic_spec *s, size_t i, uint8_t mac[6])
{
	if (s->has_mac)
		memcpy(mac, s->mac, 6);
	else
		default_mac(n->o.number, i, mac);
}

static int default_address(const struct node *n, const struct network *net,
    uint32_t *ret, struct err *err)
{
	uint32_t hosts = 1u << (32 - net->prefix);
	uint32_t first = net->prefix > 27 ? 1 : 10;

	if (n->o.number + first >= hosts - 1)
		return err_set(err, -ENOSPC,
		    "network %s has no address left for node number %u: "
		    "give it a larger subnet, or this NIC an address",
		    net->o.name, n->o.number);
	*ret = net->subnet + first + n->o.number;
	return 0;
}

static int check_address(
    const struct nic_spec *s, const struct network *net, struct err *err)
{
	uint32_t mask = ~0u << (32 - net->prefix);
	char ip[16], sub[16];

	format_ip(s->address, ip);
	format_ip(net->subnet, sub);
	if ((s->address & mask) != net->subnet)
		return err_set(err, -EINVAL,
		    "nics.%s.address: %s is outside the subnet %s/%u of "
		    "network %s",
		    s->name, ip, sub, net->prefix, net->o.name);
	if (s->address == net->subnet || s->address == (net->subnet | ~mask))
		return err_set(err, -EINVAL,
		    "nics.%s.address: %s is the first or last address of "
		    "%s/%u; hosts can't have it",
		    s->name, ip, sub, net->prefix);
	return 0;
}

static int resolve_nic(struct node *n, const struct nic_spec *s, size_t i,
    struct nic *nic, char ***claims, struct err *err)
{
	struct object *o = cluster_find(n->o.c, OBJECT_NETWORK, s->network);
	char mac[18], ip[16];
	int r = 0;

	if (!o)
		return err_set(err, -ENOENT,
		    "nics.%s.network: there is no network %s; mkdir "
		    "networks/%s makes it",
		    s->name, s->network, s->network);
	*nic = (struct nic){.spec = s, .network = as_network(o)};
	node_nic_mac(n, s, i, nic->mac);
	format_mac(nic->mac, mac);
	strv_pushf(claims, "nics.%s.mac: %s", s->name, mac);
	if (s->address_mode == ADDRESS_NONE)
		return 0;
	if (s->address_mode == ADDRESS_FIXED) {
		r = check_address(s, nic->network, err);
		nic->address = s->address;
	} else {
		r = default_address(n, nic->network, &nic->address, err);
	}
	if (r < 0)
		return r;
	nic->has_address = true;
	format_ip(nic->address, ip);
	strv_pushf(
	    claims, "nics.%s.address: %s on network %s", s->name, ip, o->name);
	return 0;
}

int node_resolve(struct node *n, const struct node_spec *spec,
    struct nic nics[NICS_MAX], size_t *ret_n, uint16_t *ret_port,
    char ***ret_claims, struct err *err)
{
	_cleanup_strv_ char **claims = NULL;
	uint16_t port = spec->ssh_port
			    ? spec->ssh_port
			    : (uint16_t)(SSH_PORT_BASE + n->o.number);

	struct object *image =
	    cluster_find(n->o.c, OBJECT_IMAGE, spec->boot_image);
	int r;

	if (!image)
		return err_set(err, -ENOENT,
		    "boot.image: there is no image %s; mkdir images/%s makes "
		    "it",
		    spec->boot_image, spec->boot_image);
	if (as_image(image)->spec && !n->o.c->loading) {
		r = boot_fits(image->name, as_image(image)->spec->kind, err);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < spec->n_nics; i++) {
		r = resolve_nic(n, &spec->nics[i], i, &nics[i], &claims, err);
		if (r < 0)
			return r;
	}
	strv_pushf(&claims, "ssh.port: port %u", port);
	for (size_t i = 0; i < spec->n_forwards; i++)
		strv_pushf(&claims, "forwards.%u: port %u",
		    spec->forwards[i].host, spec->forwards[i].host);
	*ret_n = spec->n_nics;
	*ret_port = port;
	*ret_claims = TAKE_PTR(claims);
	return 0;
}

static void network_user(struct network *net, struct node *n, bool in)
{
	size_t i = 0;

	/* All NICs of a node come in one after the other. */
	if (in && net->n_users && net->users[net->n_users - 1] == n)
		return;
	while (!in && i < net->n_users && net->users[i] != n)
		i++;
	if (in) {
		if (net->n_users == net->cap_users) {
			net->cap_users = MAX(16, net->cap_users * 2);
			net->users = xrealloc(
			    net->users, net->cap_users * sizeof(*net->users));
		}
		net->users[net->n_users++] = n;
	} else if (i < net->n_users) {
		net->users[i] = net->users[--net->n_users];
	}
}

void node_set_users(struct node *n, bool in)
{
	struct image *img = node_image(n), *system = node_system(n);

	for (size_t i = 0; i < n->n_nics; i++)
		network_user(n->nics[i].network, n, in);
	if (img)
		img->users += in ? 1 : -1;
	if (system)
		system->users += in ? 1 : -1;
}
