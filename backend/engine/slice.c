// SPDX-License-Identifier: Apache-2.0
/*
 * Slices: what a driver is handed, made from a node.  A machine that runs is
 * described by the document it was started with, but for what can change
 * while it runs: links, plugs, addresses, the size of the disk.
 */
#include <stdio.h>
#include <unistd.h>
#include "engine/engine.h"
#include "identity.h"

const struct node_spec *node_running_spec(const struct node *n)
{
	if (n->machine_look.state == MACHINE_RUNNING && n->started)
		return n->started;
	return n->spec;
}

const struct nic *node_nic(const struct node *n, const char *name)
{
	for (size_t i = 0; i < n->n_nics; i++) {
		if (STREQ(n->nics[i].spec->name, name))
			return &n->nics[i];
	}
	return NULL;
}

size_t slice_nics(struct node *n, struct machine_nic nics[NICS_MAX])
{
	const struct node_spec *s = node_running_spec(n);

	for (size_t i = 0; i < s->n_nics; i++) {
		const struct nic *nic = node_nic(n, s->nics[i].name);
		struct object *o =
		    cluster_find(n->o.c, OBJECT_NETWORK, s->nics[i].network);
		struct network *net = o ? as_network(o) : NULL;

		nics[i] = (struct machine_nic){
		    .name = s->nics[i].name,
		    .link = nic ? nic->spec->link : LINK_DOWN,
		    .mtu = net && net->spec ? net->spec->mtu : 1500,
		};
		node_nic_mac(n, &s->nics[i], i, nics[i].mac);
		if (net && net->look.state == NETWORK_RUNNING) {
			nics[i].endpoint = net->endpoint;
			nics[i].incarnation = net->look.incarnation;
		}
	}
	return s->n_nics;
}

/* A file that is there keeps its format; a new one has that of the spec. */
char *node_disk_path(const struct node *n, enum disk_format *ret)
{
	_cleanup_free_ char *dir = object_path(&n->o, n->o.c->state_dir);
	enum disk_format format = n->spec->disk.format;

	for (int f = 0; f < DISK_FORMATS; f++) {
		_cleanup_free_ char *path =
		    xasprintf("%s/disk.%s", dir, disk_format_name(f));

		if (access(path, F_OK) == 0)
			format = f;
	}
	if (ret)
		*ret = format;
	return xasprintf("%s/disk.%s", dir, disk_format_name(format));
}

void slice_machine(struct node *n, struct machine_slice *ret,
    struct machine_nic *nics, struct machine_disk *disk)
{
	const struct node_spec *s = n->spec;
	struct image *img = node_image(n);

	*ret = (struct machine_slice){
	    .cpus = s->cpus,
	    .memory = s->memory,
	    .cmdline_extra = s->boot_cmdline,
	    .identity = n->driver->virtual,
	    .nics = nics,
	    .n_nics = slice_nics(n, nics),
	    .ssh_port = n->ssh_port,
	    .forwards = s->forwards,
	    .n_forwards = s->n_forwards,
	    .internet = s->internet,
	    .extra_args = s->qemu_args,
	    .fake = &s->fake,
	};
	if (img && !n->driver->virtual) {
		ret->kernel = img->look.kernel;
		ret->initrd = img->look.initrd;
		ret->cmdline = img->spec->cmdline;
		ret->identity = img->spec->identity == IDENTITY_RACKFS;
	}
	if (s->disk.present) {
		disk->name = "disk";
		disk->path = node_disk_path(n, &disk->format);
		disk->size = s->disk.size;
		ret->disks = disk;
		ret->n_disks = 1;
	}
}

void slice_disk(struct node *n, struct disk_slice *ret, struct disk_spec *spec)
{
	*spec =
	    n->laid && n->laid->disk.present ? n->laid->disk : n->spec->disk;
	spec->size = n->spec->disk.size;
	*ret = (struct disk_slice){
	    .guest = n->guest ? n->driver->guest->session(n->guest) : NULL,
	    .serial = DISK_SERIAL,
	    .spec = spec,
	    .plan = n->meta.disk,
	    .laid_out = n->meta.laid_out,
	    .fake = &n->spec->fake,
	};
}

const char *node_key_file(struct node *n)
{
	const struct image *img = node_image(n);

	if (n->driver->virtual || !img || !img->user_key ||
	    img->spec->identity == IDENTITY_RACKFS)
		return n->o.c->key_file;
	return img->user_key;
}

void slice_guest(struct node *n, struct guest_slice *ret,
    struct guest_nic *nics, const char *host_key)
{
	const struct node_spec *s = node_running_spec(n);
	struct image *img = node_image(n);
	bool ours = n->driver->virtual ||
		    (img && img->spec->identity == IDENTITY_RACKFS);

	for (size_t i = 0; i < s->n_nics; i++) {
		const struct nic *nic = node_nic(n, s->nics[i].name);

		nics[i] = (struct guest_nic){.mtu = 1500};
		node_nic_mac(n, &s->nics[i], i, nics[i].mac);
		if (!nic)
			continue;
		nics[i].has_address = nic->has_address;
		nics[i].address = nic->address;
		nics[i].prefix = nic->network->prefix;
		nics[i].mtu = nic->network->spec->mtu;
	}
	*ret = (struct guest_slice){
	    .host = "127.0.0.1",
	    .port = s->ssh_port ? s->ssh_port
				: (uint16_t)(SSH_PORT_BASE + n->o.number),
	    .user = s->ssh_user,
	    .key_file = node_key_file(n),
	    .host_key = host_key,
	    .hostname = n->o.name,
	    .netboot = ours,
	    .nics = nics,
	    .n_nics = s->n_nics,
	    .hosts = names_hosts(n->o.c),
	    .fake = &n->spec->fake,
	};
}
