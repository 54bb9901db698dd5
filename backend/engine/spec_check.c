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

static int check_partition(const struct disk_spec *d, size_t i, struct err *err)
{
	const struct partition_spec *p = &d->partitions[i];
	static const size_t label_max[FILESYSTEMS] = {
	    [FS_VFAT] = 11, [FS_EXT4] = 16, [FS_SWAP] = 15};
	char at[48];
	snprintf(at, sizeof(at), "disk.partitions[%zu]", i);

	if (p->size == 0 && i + 1 < d->n_partitions)
		return err_set(err, -EINVAL,
		    "%s.size: only the last partition can be \"100%%\"", at);
	if (p->filesystem == FS_NONE && (p->label || p->mount))
		return err_set(err, -EINVAL,
		    "%s.%s: there is no filesystem; add one, for example "
		    "\"filesystem\":\"ext4\"",
		    at, p->label ? "label" : "mount");
	if (p->filesystem == FS_SWAP && p->mount)
		return err_set(err, -EINVAL,
		    "%s.mount: swap is not mounted; leave it out", at);
	if (p->label && strlen(p->label) > label_max[p->filesystem])
		return err_set(err, -EINVAL,
		    "%s.label: \"%s\" has %zu characters, the maximum for %s "
		    "is %zu",
		    at, p->label, strlen(p->label),
		    filesystem_name(p->filesystem), label_max[p->filesystem]);
	if (p->label && p->filesystem == FS_VFAT &&
	    strpbrk(p->label, "\"*+,./:;<=>?[\\]|"))
		return err_set(err, -EINVAL,
		    "%s.label: \"%s\" has a character that vfat does not take",
		    at, p->label);
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

int spec_check_node(struct node_spec *s, bool partial, struct err *err)
{
	int r = check_nics(s, err);
	if (r == 0)
		r = check_forwards(s, err);
	if (r == 0 && s->disk.present)
		r = check_disk(&s->disk, partial, err);
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
	int r = check_netboot(s, err);
	return r < 0 ? r : check_identity(s, err);
}

int spec_check_cluster(const struct cluster_spec *s, struct err *err)
{
	if (s->observe_every && s->observe_every < USEC_PER_SEC)
		return err_set(err, -EINVAL,
		    "observe_every: is below the minimum of 1s (0s: only at "
		    "boot and when up is written)");
	return 0;
}
