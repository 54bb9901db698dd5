// SPDX-License-Identifier: Apache-2.0
/*
 * Names, keys and identities: the host lines of all nodes, the host keys that
 * are known before first contact, and the archive that makes a netboot guest
 * the node it is.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include "engine/engine.h"
#include "host/newc.h"
#include "host/ssh_key.h"
#include "identity.h"
#include "log.h"

/* Many changes are one round, but those who wait for it must not wait until
 * there are no more. */
#define SETTLE_TIME  (50 * USEC_PER_MSEC)
#define SETTLE_LIMIT (3 * USEC_PER_SEC)

/* --- host lines --- */

static const char this_host[] = "127.0.0.1\tlocalhost\n"
				"::1\tlocalhost ip6-localhost ip6-loopback\n";

const struct nic *node_first_nic(const struct node *n)
{
	for (size_t i = 0; i < n->n_nics; i++) {
		if (n->nics[i].has_address)
			return &n->nics[i];
	}
	return NULL;
}

const char *names_hosts(struct cluster *c)
{
	if (c->hosts.data && c->hosts_version == c->names_version)
		return buf_str(&c->hosts);
	buf_clear(&c->hosts);
	buf_puts(&c->hosts, this_host);
	EACH_OBJECT (o, c, OBJECT_NODE) {
		const struct nic *nic = node_first_nic(as_node(o));
		char ip[16];

		if (!nic)
			continue;
		format_ip(nic->address, ip);
		buf_printf(&c->hosts, "%s\t%s.%s %s\n", ip, o->name,
		    c->spec->domain, o->name);
	}
	c->hosts_version = c->names_version;
	return buf_str(&c->hosts);
}

static uint64_t hosts_digest(struct cluster *c)
{
	const char *text = names_hosts(c);

	/* JSON has no larger integers. */
	return hash_bytes(text, strlen(text)) & INT64_MAX;
}

void node_has_hosts(struct node *n)
{
	n->hosts_version = n->hosts_sent;
	if (n->driver->virtual || n->hosts_sent != n->o.c->names_version)
		return; /* there are newer ones to be sent */
	n->hosts_digest = hosts_digest(n->o.c);
	history_save(n);
}

void node_had_hosts(struct node *n)
{
	if (!n->driver->virtual && n->hosts_digest == hosts_digest(n->o.c))
		n->hosts_version = n->o.c->names_version;
}

const char *cluster_hosts(struct cluster *c)
{
	return names_hosts(c) + sizeof(this_host) - 1;
}

/* --- keys --- */

char *node_key_path(const struct node *n)
{
	_cleanup_free_ char *dir = object_path(&n->o, n->o.c->state_dir);

	return xasprintf("%s/host_key", dir);
}

/* The host key that this node's guest must show; an owned copy. */
int node_host_key(struct node *n, char **ret, struct err *err)
{
	const struct image *img = node_foreign_image(n);
	_cleanup_free_ char *path = NULL;
	int r;

	if (n->driver->virtual) {
		*ret = xstrdup("");
		return 0;
	}
	/* Another image, or the system on the disk, may show another one. */
	path = img && img->host_key_file ? xstrdup(img->host_key_file)
					 : node_key_path(n);
	if (!n->host_key || !STREQ(n->host_key_path, path)) {
		free(TAKE_PTR(n->host_key));
		free(TAKE_PTR(n->host_key_path));
		if (img &&
		    (r = host_paths_of_image(n->o.c, img->spec, err)) < 0)
			return r;
		r = ssh_key_public(path, &n->host_key, err);
		if (r < 0)
			return r;
		n->host_key_path = TAKE_PTR(path);
	}
	*ret = xstrdup(n->host_key);
	return 0;
}

/* Did it change? */
static bool write_known_hosts(struct cluster *c)
{
	_cleanup_buf_ struct buf b = {0};
	int r;

	EACH_OBJECT (o, c, OBJECT_NODE) {
		struct node *n = as_node(o);
		_cleanup_free_ char *key = NULL;

		if (n->driver->virtual || node_host_key(n, &key, NULL) < 0)
			continue;
		buf_printf(
		    &b, "%s,[127.0.0.1]:%u %s\n", o->name, n->ssh_port, key);
	}
	uint64_t digest = hash_bytes(buf_str(&b), b.len);
	if (digest == c->known_hosts_digest)
		return false;
	r = file_replace(AT_FDCWD, c->known_hosts, buf_str(&b), b.len, 0600);
	if (r < 0)
		log_error("can't write %s: %s", c->known_hosts, strerror(-r));
	else
		c->known_hosts_digest = digest;
	return true;
}

static void names_settle(void *userdata)
{
	struct cluster *c = userdata;
	uint64_t digest = hosts_digest(c);

	c->names_since = 0;
	if (write_known_hosts(c))
		touch(&c->o, ASPECT_NAMES);
	if (digest == c->told_digest)
		return; /* keys, ports, memory: nothing of theirs */
	c->told_digest = digest;
	c->names_told = c->names_version;
	/* The lines go to the guests that run. */
	EACH_OBJECT (o, c, OBJECT_NODE) {
		if (!as_node(o)->driver->virtual)
			mark_dirty(o);
	}
}

void names_changed(struct cluster *c)
{
	uint64_t now = loop_now(c->loop);

	c->names_version++;
	if (!c->names_work)
		return;
	touch(&c->o, ASPECT_NAMES);
	if (!c->names_since)
		c->names_since = now;
	loop_timer_set(c->names_work,
	    MIN(now + SETTLE_TIME, c->names_since + SETTLE_LIMIT));
}

void names_start(struct cluster *c)
{
	(void)write_known_hosts(c);
	c->told_digest = hosts_digest(c);
	c->names_told = c->names_version;
	loop_add_timer(c->loop, USEC_NEVER, names_settle, c, &c->names_work);
}

/* --- identity --- */

static void add_text(
    struct newc *a, const char *path, mode_t mode, const char *text)
{
	newc_add(a, path, mode, text, strlen(text));
}

void names_keys(struct cluster *c, struct buf *ret)
{
	buf_printf(ret, "%s\n", c->public_key);
	for (size_t i = 0;
	     c->spec->authorized_keys && c->spec->authorized_keys[i]; i++)
		buf_printf(ret, "%s\n", c->spec->authorized_keys[i]);
}

static void node_conf(struct node *n, struct buf *b)
{
	const struct node_spec *s = node_running_spec(n);
	uint64_t now = now_real();

	buf_printf(b, "NAME=%s\nDOMAIN=%s\nCLOCK=%llu.%06llu000\nNICS='",
	    n->o.name, n->o.c->spec->domain,
	    (unsigned long long)(now / USEC_PER_SEC),
	    (unsigned long long)(now % USEC_PER_SEC));
	for (size_t i = 0; i < s->n_nics; i++) {
		const struct nic *nic = node_nic(n, s->nics[i].name);
		uint8_t m[6];
		char ip[16];

		if (!nic)
			continue;
		node_nic_mac(n, &s->nics[i], i, m);
		buf_printf(b, "%s%02x%02x%02x%02x%02x%02x=", i ? " " : "", m[0],
		    m[1], m[2], m[3], m[4], m[5]);
		if (nic->has_address) {
			format_ip(nic->address, ip);
			buf_printf(b, "%s/%u", ip, nic->network->prefix);
		} else {
			buf_putc(b, '-');
		}
		buf_printf(b, ",%u", nic->network->spec->mtu);
	}
	buf_puts(b, "'\n");
}

int names_identity(struct node *n, struct buf *ret, struct err *err)
{
	struct cluster *c = n->o.c;
	_cleanup_free_ char *key_path = node_key_path(n);
	_cleanup_buf_ struct buf key = {0}, conf = {0}, keys = {0};
	char name[NAME_MAX_LABEL + 2];
	uint8_t seed[64];
	struct newc *a;
	int r = ssh_key_dropbear(key_path, &key, err);

	if (r < 0)
		return r;
	a = newc_new();
	snprintf(name, sizeof(name), "%s\n", n->o.name);
	add_text(a, "etc/hostname", 0644, name);
	add_text(a, "etc/hosts", 0644, names_hosts(c));
	n->hosts_version = c->names_version;
	node_conf(n, &conf);
	add_text(a, "etc/rackfs/node.conf", 0644, buf_str(&conf));
	names_keys(c, &keys);
	add_text(a, "root/.ssh/authorized_keys", 0600, buf_str(&keys));
	newc_add(a, "etc/dropbear/dropbear_ed25519_host_key", 0600, key.data,
	    key.len);
	random_bytes(seed, sizeof(seed));
	newc_add(a, "etc/rackfs/seed", 0600, seed, sizeof(seed));
	return newc_finish(a, ret, err);
}
