/* SPDX-License-Identifier: Apache-2.0
 *
 * Checks that concern more than one key of a spec: pairs that need each
 * other, values used twice, partitions that must fit their disk.  Called by
 * the parsers once every value is right by itself.  Pure.
 */
#include "engine/spec_table.h"

#include <errno.h>
#include <stdio.h>
#include <strings.h>
#include "identity.h"

/* What a GPT keeps at the end of a disk: 33 sectors of 512 bytes (UEFI 2.10,
 * 5.3.1), and with them the last whole MiB is not for partitions. */
#define GPT_TAIL  (33 * 512ULL)
#define MBR_PARTS 4
#define MBR_REACH (1ULL << 41) /* 2^32 sectors */

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

/* --- disk --- */

static int check_filesystem(const char *at, enum filesystem fs,
    const char *label, const char *mount, struct err *err)
{
	static const size_t label_max[FILESYSTEMS] = {
	    [FS_VFAT] = 11, [FS_EXT4] = 16, [FS_SWAP] = 15};

	if (fs == FS_NONE && (label || mount))
		return err_set(err, -EINVAL,
		    "%s.%s: there is no filesystem; add one, for example "
		    "\"filesystem\":\"ext4\"",
		    at, label ? "label" : "mount");
	if (fs == FS_SWAP && mount)
		return err_set(err, -EINVAL,
		    "%s.mount: swap is not mounted; leave it out", at);
	if (label && strlen(label) > label_max[fs])
		return err_set(err, -EINVAL,
		    "%s.label: \"%s\" has %zu characters, the maximum for %s "
		    "is %zu",
		    at, label, strlen(label), filesystem_name(fs),
		    label_max[fs]);
	if (label && fs == FS_VFAT && strpbrk(label, "\"*+,./:;<=>?[\\]|"))
		return err_set(err, -EINVAL,
		    "%s.label: \"%s\" has a character that vfat does not take",
		    at, label);
	return 0;
}

static int check_partition(const struct disk_spec *d, size_t i, struct err *err)
{
	const struct partition_spec *p = &d->partitions[i];
	char at[48];
	int r;

	snprintf(at, sizeof(at), "disk.partitions[%zu]", i);
	if (p->size == 0 && i + 1 < d->n_partitions)
		return err_set(err, -EINVAL,
		    "%s.size: only the last partition can be \"100%%\"", at);
	r = check_filesystem(at, p->filesystem, p->label, p->mount, err);
	if (r < 0)
		return r;
	if (p->flags & PARTITION_ESP && p->filesystem != FS_VFAT)
		return err_set(err, -EINVAL,
		    "%s.flags: esp asks for \"filesystem\":\"vfat\"", at);
	return 0;
}

static bool same_label(
    const struct partition_spec *a, const struct partition_spec *b)
{
	if (!a->label || !b->label)
		return false;
	bool vfat = a->filesystem == FS_VFAT || b->filesystem == FS_VFAT;
	return vfat ? strcasecmp(a->label, b->label) == 0
		    : STREQ(a->label, b->label);
}

/* Partition i against the ones before it. */
static int check_used_twice(
    const struct disk_spec *d, size_t i, struct err *err)
{
	const struct partition_spec *p = &d->partitions[i];
	for (size_t j = 0; j < i; j++) {
		const struct partition_spec *q = &d->partitions[j];
		const char *what = NULL, *value = NULL;
		if (p->name && q->name && STREQ(p->name, q->name)) {
			what = "name";
			value = p->name;
		} else if (same_label(p, q)) {
			what = "label";
			value = p->label;
		} else if (p->mount && q->mount && STREQ(p->mount, q->mount)) {
			what = "mount";
			value = p->mount;
		} else if (p->flags & q->flags & PARTITION_ESP) {
			what = "flags";
			value = "esp";
		}
		if (what)
			return err_set(err, -EINVAL,
			    "disk.partitions[%zu].%s: \"%s\" is that of "
			    "disk.partitions[%zu] as well",
			    i, what, value, j);
	}
	return 0;
}

static uint64_t whole_mib(uint64_t bytes)
{
	return (bytes + MIB - 1) / MIB * MIB;
}

/* Where sfdisk puts them: the first at 1 MiB, each at a whole MiB. */
static int check_fit(const struct disk_spec *d, struct err *err)
{
	uint64_t end = MIB;
	uint64_t limit = d->size;
	if (d->table == TABLE_GPT)
		limit -= GPT_TAIL;
	else
		limit = MIN(limit, MBR_REACH);
	for (size_t i = 0; i < d->n_partitions; i++) {
		uint64_t start = whole_mib(end);
		uint64_t size = d->partitions[i].size;
		char want[24], disk[24], room[24];
		format_size(size, want);
		format_size(d->size, disk);
		end = start + (size ? size : MIB);
		if (end <= limit)
			continue;
		format_size(
		    start < limit ? (limit - start) / MIB * MIB : 0, room);
		return err_set(err, -EINVAL,
		    "disk.partitions[%zu].size: %s does not fit: the disk has "
		    "%s, %s are left for this partition%s",
		    i, size ? want : "\"100%\"", disk, room,
		    d->table == TABLE_MBR && limit < d->size
			? " (an mbr table reaches 2T)"
			: "");
	}
	return 0;
}

static int check_disk(const struct disk_spec *d, bool partial, struct err *err)
{
	if (d->table == TABLE_MBR && d->n_partitions > MBR_PARTS)
		return err_set(err, -EINVAL,
		    "disk.partitions: %zu partitions, an mbr table holds %d; "
		    "take \"table\":\"gpt\"",
		    d->n_partitions, MBR_PARTS);
	for (size_t i = 0; i < d->n_partitions; i++) {
		/* Without its size there is no more to say about it. */
		int r = partial && d->partitions[i].size == 0
			    ? 0
			    : check_partition(d, i, err);
		if (r == 0)
			r = check_used_twice(d, i, err);
		if (r < 0)
			return r;
	}
	return d->size ? check_fit(d, err) : 0;
}

/* --- volumes --- */

static int check_volume(
    const struct node_spec *s, size_t i, bool partial, struct err *err)
{
	const struct volume_spec *v = &s->volumes[i];
	char at[96];
	int r;

	snprintf(at, sizeof(at), "volumes.%.63s", v->name);
	if (!partial && v->filesystem == FS_NONE)
		return err_set(err, -EINVAL, "%s.filesystem: is empty", at);
	r = check_filesystem(at, v->filesystem, v->label, v->mount, err);
	if (r < 0 || !v->mount)
		return r;
	for (size_t j = 0; j < i; j++)
		if (s->volumes[j].mount && STREQ(s->volumes[j].mount, v->mount))
			return err_set(err, -EINVAL,
			    "%s.mount: \"%s\" is that of volumes.%s as well",
			    at, v->mount, s->volumes[j].name);
	for (size_t j = 0; j < s->disk.n_partitions; j++)
		if (s->disk.partitions[j].mount &&
		    STREQ(s->disk.partitions[j].mount, v->mount))
			return err_set(err, -EINVAL,
			    "%s.mount: \"%s\" is that of disk.partitions[%zu] "
			    "as well",
			    at, v->mount, j);
	if (STREQ(v->mount, "/"))
		return err_set(
		    err, -EINVAL, "%s.mount: / is a partition of the disk", at);
	return 0;
}

/* --- what is put into a guest --- */

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
	if (r == 0 && s->disk.present)
		r = check_disk(&s->disk, partial, err);
	for (size_t i = 0; r == 0 && i < s->n_volumes; i++)
		r = check_volume(s, i, partial, err);
	if (r == 0 && !partial)
		r = check_boot(s, err);
	if (r == 0)
		r = check_setup(s, partial, err);
	return r;
}

/* --- image --- */

static int check_netboot(const struct image_spec *s, struct err *err)
{
	if (!s->kernel != !s->initrd)
		return err_set(err, -EINVAL,
		    "%s: is required with %s, for example \"%s\"",
		    s->kernel ? "initrd" : "kernel",
		    s->kernel ? "kernel" : "initrd",
		    s->kernel ? "/boot/initrd.img" : "/boot/vmlinuz");
	if (s->kernel && s->build)
		return err_set(err, -EINVAL,
		    "build: can't stand beside kernel and initrd");
	if (s->kernel && s->packages)
		return err_set(err, -EINVAL,
		    "packages: are for images with \"build\":\"debian\"");
	return 0;
}

static int check_source(const struct image_spec *s, struct err *err)
{
	const char *kind = image_kind_name(s->kind);

	if (s->kernel || s->initrd || s->cmdline)
		return err_set(err, -EINVAL,
		    "%s: is for images of kind netboot",
		    s->kernel   ? "kernel"
		    : s->initrd ? "initrd"
				: "cmdline");
	if (s->build && s->source)
		return err_set(
		    err, -EINVAL, "source: can't stand beside build");
	if (s->build && s->kind != IMAGE_ROOTFS)
		return err_set(err, -EINVAL,
		    "build: an image of kind %s is made elsewhere; name it "
		    "with source",
		    kind);
	if (!s->build && !s->source)
		return err_set(err, -EINVAL,
		    "source: is required with kind %s, for example \"%s\"",
		    kind,
		    s->kind == IMAGE_DISK ? "debian.qcow2" : "debian.tar.zst");
	if (s->packages && !s->build)
		return err_set(err, -EINVAL,
		    "packages: are for images with \"build\":\"debian\"");
	if (s->sha256 && !s->source)
		return err_set(err, -EINVAL, "sha256: is that of source");
	if (s->kind == IMAGE_DISK && (s->root || s->init))
		return err_set(err, -EINVAL,
		    "%s: a disk image boots by its own boot loader",
		    s->root ? "root" : "init");
	return 0;
}

static int check_identity(const struct image_spec *s, struct err *err)
{
	if (s->identity != IDENTITY_NONE) {
		if (!s->user_key && !s->host_key)
			return 0;
		return err_set(err, -EINVAL,
		    "%s: is for images with \"identity\":\"none\"",
		    s->user_key ? "user_key" : "host_key");
	}
	if (!s->user_key || !s->host_key)
		return err_set(err, -EINVAL,
		    "%s: is required with \"identity\":\"none\", for example "
		    "\"%s\"",
		    s->user_key ? "host_key" : "user_key",
		    s->user_key ? "ssh_host_ed25519_key.pub" : "id_ed25519");
	if (s->build)
		return err_set(err, -EINVAL,
		    "identity: \"none\" is for a kernel and initrd of your "
		    "own; "
		    "an image with build takes the node's identity");
	return 0;
}

int spec_check_image(struct image_spec *s, const json_t *doc, struct err *err)
{
	if (s->kind == IMAGE_NONE) {
		const char *name;
		json_t *v;
		json_object_foreach ((json_t *)doc, name, v)
			if (!json_is_null(v))
				return err_set(err, -EINVAL,
				    "kind: is required with %s, for example "
				    "\"netboot\"",
				    name);
		return 0;
	}
	if (s->kind == IMAGE_NETBOOT && (s->source || s->sha256 || s->root))
		return err_set(err, -EINVAL,
		    "%s: is for images of kind rootfs, disk and closure",
		    s->source   ? "source"
		    : s->sha256 ? "sha256"
				: "root");
	int r = s->kind == IMAGE_NETBOOT ? check_netboot(s, err)
					 : check_source(s, err);
	return r < 0 ? r : check_identity(s, err);
}

/* --- cluster --- */

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
		    "observe_every: is below the minimum of 1s (0s: only at "
		    "boot and when up is written)");
	for (size_t i = 0; i < s->n_checks; i++) {
		int r = check_one(&s->checks[i], err);
		if (r < 0)
			return r;
	}
	return 0;
}
