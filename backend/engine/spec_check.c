/* SPDX-License-Identifier: Apache-2.0
 *
 * Checks that concern more than one key of a node's or a cluster's spec: pairs
 * that need each other, values used twice.  Called by the parsers once every
 * value is right by itself.  spec_check_disk.c and spec_check_image.c have
 * those of disks and images.  Pure.
 */
#include "engine/spec_table.h"

#include <errno.h>
#include <stdio.h>
#include "identity.h"

/* --- network cards -------------------------------------------------------- */

static int check_nic(
    const struct node_spec *s, size_t i, uint64_t management, struct err *err)
{
	const struct nic_spec *nic = &s->nics[i];
	char text[18];
	uint64_t mac = 0;
	memcpy(&mac, nic->mac, sizeof(nic->mac));

	if (nic->has_mac && mac == management)
		return err_set(err, -EINVAL,
		    "nics.%s.mac: %s is that of the management NIC", nic->name,
		    MANAGEMENT_MAC);
	if (nic->address_mode == ADDRESS_FIXED &&
	    (nic->address & MANAGEMENT_MASK) == MANAGEMENT_SUBNET) {
		format_ip(nic->address, text);
		return err_set(err, -EINVAL,
		    "nics.%s.address: %s: in 10.0.2.0/24 every machine has "
		    "its management NIC; take another",
		    nic->name, text);
	}
	for (size_t j = 0; j < i; j++) {
		const struct nic_spec *other = &s->nics[j];
		if (nic->has_mac && other->has_mac &&
		    memcmp(nic->mac, other->mac, sizeof(nic->mac)) == 0) {
			format_mac(nic->mac, text);
			return err_set(err, -EEXIST,
			    "nics.%s.mac: %s is the MAC of nics.%s as well",
			    nic->name, text, other->name);
		}
		if (nic->address_mode == ADDRESS_FIXED &&
		    other->address_mode == ADDRESS_FIXED &&
		    nic->address == other->address) {
			format_ip(nic->address, text);
			return err_set(err, -EEXIST,
			    "nics.%s.address: %s is the address of nics.%s as "
			    "well",
			    nic->name, text, other->name);
		}
	}
	return 0;
}

static int check_nics(const struct node_spec *s, struct err *err)
{
	uint8_t mac[6] = {0};
	uint64_t management = 0;
	(void)parse_mac(MANAGEMENT_MAC, mac);
	memcpy(&management, mac, sizeof(mac));
	for (size_t i = 0; i < s->n_nics; i++) {
		int r = check_nic(s, i, management, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int check_forwards(const struct node_spec *s, struct err *err)
{
	for (size_t i = 0; i < s->n_forwards; i++)
		if (s->ssh_port && s->forwards[i].host == s->ssh_port)
			return err_set(err, -EEXIST,
			    "forwards.%u: the port is that of ssh.port as well",
			    s->forwards[i].host);
	return 0;
}

/* --- what is put into a guest ------------------------------------------ */

static int check_file(const struct file_spec *f, bool partial, struct err *err)
{
	if (f->content && f->source)
		return err_set(err, -EINVAL,
		    "files.%s.source: can't stand beside content", f->path);
	if (!partial && !f->content && !f->source)
		return err_set(err, -EINVAL,
		    "files.%s: content or source is required, for example "
		    "\"content\":\"hello\\n\"",
		    f->path);
	return 0;
}

/* What an entry of a map comes after: the names of others, without a circle.
 */
struct order {
	const char *map; /* "services" */
	size_t n;
	const char *(*name)(const struct node_spec *s, size_t i);
	char *const *(*after)(const struct node_spec *s, size_t i);
};

static const char *service_name(const struct node_spec *s, size_t i)
{
	return s->services[i].name;
}

static char *const *service_after(const struct node_spec *s, size_t i)
{
	return s->services[i].after;
}

static const char *run_name(const struct node_spec *s, size_t i)
{
	return s->runs[i].name;
}

static char *const *run_after(const struct node_spec *s, size_t i)
{
	return s->runs[i].after;
}

static size_t find_entry(
    const struct node_spec *s, const struct order *o, const char *name)
{
	size_t i = 0;

	while (i < o->n && !STREQ(o->name(s, i), name))
		i++;
	return i;
}

/* Puts away, again and again, what comes after nothing that is left; what
 * stays goes in a circle. */
static int check_order(
    const struct node_spec *s, const struct order *o, struct err *err)
{
	bool done[MAX(SERVICES_MAX, RUNS_MAX)] = {0};
	size_t left = o->n;

	for (size_t i = 0; i < o->n; i++) {
		char *const *a = o->after(s, i);

		for (size_t k = 0; a && a[k]; k++)
			if (find_entry(s, o, a[k]) == o->n)
				return err_set(err, -EINVAL,
				    "%s.%s.after: \"%s\" is not one of %s",
				    o->map, o->name(s, i), a[k], o->map);
	}
	for (size_t before = left + 1; left && left < before;) {
		before = left;
		for (size_t i = 0; i < o->n; i++) {
			char *const *a = o->after(s, i);
			bool free_of = !done[i];

			for (size_t k = 0; a && a[k]; k++)
				free_of &= done[find_entry(s, o, a[k])];
			done[i] |= free_of;
			left -= free_of;
		}
	}
	for (size_t i = 0; left && i < o->n; i++)
		if (!done[i])
			return err_set(err, -EINVAL,
			    "%s.%s.after: it goes in a circle; each would wait "
			    "for another",
			    o->map, o->name(s, i));
	return 0;
}

static bool has_file(const struct node_spec *s, const char *path)
{
	for (size_t i = 0; i < s->n_files; i++)
		if (STREQ(s->files[i].path, path))
			return true;
	return s->tls.present && s->tls.dir && STREQ(s->tls.dir, path);
}

static int check_service(
    const struct node_spec *s, size_t i, bool partial, struct err *err)
{
	const struct service_spec *v = &s->services[i];

	if (v->unit && v->source)
		return err_set(err, -EINVAL,
		    "services.%s.source: can't stand beside unit", v->name);
	for (size_t k = 0; !partial && v->uses && v->uses[k]; k++)
		if (!has_file(s, v->uses[k]))
			return err_set(err, -EINVAL,
			    "services.%s.uses: \"%s\" is not one of files, and "
			    "not tls.dir",
			    v->name, v->uses[k]);
	return 0;
}

static int check_setup(const struct node_spec *s, bool partial, struct err *err)
{
	const struct order services = {
	    "services", s->n_services, service_name, service_after};
	const struct order runs = {"run", s->n_runs, run_name, run_after};
	int r = 0;

	if (!partial && s->n_services && !s->install.present)
		return err_set(err, -EINVAL,
		    "services: ask for install; the netboot system has no "
		    "systemd");
	for (size_t i = 0; r == 0 && i < s->n_files; i++)
		r = check_file(&s->files[i], partial, err);
	for (size_t i = 0; r == 0 && i < s->n_services; i++)
		r = check_service(s, i, partial, err);
	if (r == 0 && !partial)
		r = check_order(s, &services, err);
	if (r == 0 && !partial)
		r = check_order(s, &runs, err);
	return r;
}

static int check_boot(const struct node_spec *s, struct err *err)
{
	if (s->install.present && !s->disk.present)
		return err_set(err, -EINVAL,
		    "install: asks for a disk, for example "
		    "\"disk\":{\"size\":\"4G\"}");
	if (s->boot_from == BOOT_DISK && !s->disk.present)
		return err_set(
		    err, -EINVAL, "boot.from: there is no disk to boot from");
	return 0;
}

int spec_check_node(struct node_spec *s, bool partial, struct err *err)
{
	int r = check_nics(s, err);
	if (r == 0)
		r = check_forwards(s, err);
	if (r == 0)
		r = spec_check_disks(s, partial, err);
	if (r == 0 && !partial)
		r = check_boot(s, err);
	if (r == 0)
		r = check_setup(s, partial, err);
	return r;
}

/* --- cluster ----------------------------------------------------------- */

/* "node02:80" */
static int check_tcp(const struct check_spec *c, struct err *err)
{
	const char *colon = strrchr(c->tcp, ':');
	uint16_t port;

	if (!colon || colon == c->tcp || parse_port(colon + 1, &port) < 0)
		return err_set(err, -EINVAL,
		    "checks.%s.tcp: \"%s\" is not a node or an address and a "
		    "port, for example \"node02:80\"",
		    c->name, spec_show(c->tcp).text);
	return 0;
}

static int check_one(const struct check_spec *c, struct err *err)
{
	int given = !!c->command + !!c->tcp + !!c->http;

	if (given != 1)
		return err_set(err, -EINVAL,
		    "checks.%s: %s of command, tcp and http is wanted", c->name,
		    given ? "only one" : "one");
	if (c->http && strncmp(c->http, "http://", 7) != 0)
		return err_set(err, -EINVAL,
		    "checks.%s.http: \"%s\" does not begin with http://",
		    c->name, spec_show(c->http).text);
	if (c->timeout > c->every * 6)
		return err_set(err, -EINVAL,
		    "checks.%s.timeout: is more than six times `every`",
		    c->name);
	return c->tcp ? check_tcp(c, err) : 0;
}

int spec_check_cluster(const struct cluster_spec *s, struct err *err)
{
	if (s->observe_every && s->observe_every < USEC_PER_SEC)
		return err_set(err, -EINVAL,
		    "observe_every: %llums is below the minimum of 1s (0s: "
		    "only at boot and when up is written)",
		    (unsigned long long)(s->observe_every / USEC_PER_MSEC));
	for (size_t i = 0; i < s->n_checks; i++) {
		int r = check_one(&s->checks[i], err);
		if (r < 0)
			return r;
	}
	return 0;
}
