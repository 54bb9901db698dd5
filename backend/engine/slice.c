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
	size_t count = s->n_nics + nics_coming(n);

	for (size_t i = 0; i < count; i++) {
		const struct nic_spec *spec =
		    i < s->n_nics ? &s->nics[i] : &n->spec->nics[i];
		const struct nic *nic = node_nic(n, spec->name);
		struct network *net = nic ? nic->network : NULL;

		nics[i] = (struct machine_nic){
		    .name = spec->name,
		    .link = nic ? nic->spec->link : LINK_DOWN,
		    .mtu = net && net->spec ? net->spec->mtu : 1500,
		};
		node_nic_mac(n, spec, i, nics[i].mac);
		if (net && net->look.state == NETWORK_RUNNING) {
			nics[i].endpoint = net->endpoint;
			nics[i].incarnation = network_plug(net);
		}
	}
	return count;
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

static char *keep(struct slice_space *sp, char *text)
{
	return sp->texts[sp->n_texts++] = text;
}

void slice_space_done(struct slice_space *sp)
{
	for (size_t i = 0; i < sp->n_texts; i++)
		free(sp->texts[i]);
	sp->n_texts = 0;
}

const struct volume_record *volume_record(
    const struct node *n, const char *name)
{
	for (size_t i = 0; i < n->meta.n_volumes; i++)
		if (STREQ(n->meta.volumes[i].name, name))
			return &n->meta.volumes[i];
	return NULL;
}

bool node_number_volumes(struct node *n)
{
	struct node_meta *m = &n->meta;
	bool changed = false;

	for (size_t i = 0; i < n->spec->n_volumes; i++) {
		const struct volume_spec *v = &n->spec->volumes[i];
		struct volume_record *r;

		if (volume_record(n, v->name))
			continue;
		m->volumes = xrealloc(
		    m->volumes, (m->n_volumes + 1) * sizeof(*m->volumes));
		r = &m->volumes[m->n_volumes++];
		*r = (struct volume_record){.number = 1};
		for (size_t k = 0; k + 1 < m->n_volumes; k++)
			r->number = MAX(r->number, m->volumes[k].number + 1);
		snprintf(r->name, sizeof(r->name), "%s", v->name);
		filesystem_uuid(v->filesystem, r->uuid);
		changed = true;
	}
	return changed;
}

char *volume_serial(const struct volume_record *r)
{
	return xasprintf("rackfs-vol%u", r->number);
}

char *volume_path(const struct node *n, const struct volume_record *r)
{
	_cleanup_free_ char *dir = object_path(&n->o, n->o.c->state_dir);

	return xasprintf("%s/volume%u.qcow2", dir, r->number);
}

static size_t add_volume(struct node *n, const struct volume_spec *v,
    struct slice_space *sp, size_t count)
{
	const struct volume_record *r = volume_record(n, v->name);

	if (!r || count == VOLUMES_MAX)
		return count;
	sp->volumes[count] = (struct disk_volume){
	    .spec = v,
	    .serial = keep(sp, volume_serial(r)),
	    .uuid = r->uuid,
	    .path = keep(sp, volume_path(n, r)),
	};
	return count + 1;
}

/* Those of the run that is on, in the order of its spec; coming: then those
 * that it is to get. */
static size_t slice_volumes(struct node *n, bool coming, struct slice_space *sp)
{
	const struct node_spec *s = node_running_spec(n);
	size_t count = 0;

	for (size_t i = 0; i < s->n_volumes; i++)
		count = add_volume(
		    n, volume_running(n, s->volumes[i].name), sp, count);
	for (size_t i = 0; coming && i < n->spec->n_volumes; i++)
		if (volume_pluggable(n, &n->spec->volumes[i]))
			count = add_volume(n, &n->spec->volumes[i], sp, count);
	return count;
}

static void slice_disks(
    struct node *n, struct machine_slice *ret, struct slice_space *sp)
{
	struct machine_disk *d = sp->disks;
	size_t volumes = slice_volumes(n, true, sp);

	if (n->spec->disk.present) {
		d->name = "disk";
		d->path = keep(sp, node_disk_path(n, &d->format));
		d++->size = n->spec->disk.size;
	}
	for (size_t i = 0; i < volumes; i++) {
		const struct disk_volume *v = &sp->volumes[i];

		*d++ = (struct machine_disk){
		    .name = v->serial,
		    .path = v->path,
		    .format = FORMAT_QCOW2,
		    .size = v->spec->size,
		    .live = true,
		};
	}
	if (n->started_payload && node_system(n))
		*d++ = (struct machine_disk){
		    .name = PAYLOAD_DISK,
		    .path = node_system(n)->look.source,
		    .format = FORMAT_RAW,
		    .readonly = true,
		};
	if (ret->from_disk && n->spec->install.present &&
	    n->spec->install.cloud_init && node_install_way(n) == INSTALL_COLD)
		*d++ = (struct machine_disk){
		    .name = SEED_DISK,
		    .path = keep(sp, node_seed_path(n)),
		    .format = FORMAT_RAW,
		    .readonly = true,
		};
	ret->disks = sp->disks;
	ret->n_disks = (size_t)(d - sp->disks);
}

/* What boots the system on the disk: a kernel from outside when its image has
 * none, or the firmware. */
static void slice_disk_boot(
    struct node *n, struct machine_slice *ret, struct slice_space *sp)
{
	struct image *boot = node_image(n);

	ret->from_disk = true;
	ret->firmware = node_firmware(n);
	ret->identity = n->driver->virtual;
	if (node_install_way(n) != INSTALL_GUEST ||
	    ret->firmware != FIRMWARE_DIRECT || n->driver->virtual)
		return;
	ret->kernel = boot->look.kernel;
	ret->initrd = boot->look.disk_initrd;
	if (n->meta.own_kernel) {
		ret->kernel = keep(sp, node_kernel_path(n, false));
		ret->initrd = keep(sp, node_kernel_path(n, true));
	}
	ret->cmdline = keep(sp, node_disk_cmdline(n));
}

void slice_machine(
    struct node *n, struct machine_slice *ret, struct slice_space *sp)
{
	const struct node_spec *s = n->spec;
	struct image *img = node_image(n);

	memset(sp, 0, sizeof(*sp));
	*ret = (struct machine_slice){
	    .cpus = s->cpus,
	    .memory = s->memory,
	    .cmdline_extra = s->boot_cmdline,
	    .identity = n->driver->virtual,
	    .nics = sp->nics,
	    .n_nics = slice_nics(n, sp->nics),
	    .ssh_port = n->ssh_port,
	    .forwards = s->forwards,
	    .n_forwards = s->n_forwards,
	    .internet = s->internet,
	    .extra_args = s->qemu_args,
	    .fake = &s->fake,
	};
	if (n->started_disk) {
		slice_disk_boot(n, ret, sp);
	} else if (img && !n->driver->virtual) {
		ret->kernel = img->look.kernel;
		ret->initrd = img->look.initrd;
		ret->cmdline = img->spec->cmdline;
		ret->identity = img->spec->identity == IDENTITY_RACKFS;
		if (node_installing(n))
			ret->firmware = s->boot_firmware;
	}
	slice_disks(n, ret, sp);
}

/* What is to be thrown away: every volume that ever was. */
size_t slice_wipe(struct node *n, struct disk_volume **ret)
{
	size_t count = n->meta.n_volumes;
	struct disk_volume *v = xcalloc(MAX(count, (size_t)1), sizeof(*v));

	for (size_t i = 0; i < count; i++)
		v[i].path = volume_path(n, &n->meta.volumes[i]);
	*ret = v;
	return count;
}

void slice_wipe_done(struct disk_volume *v, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free((char *)v[i].path);
	free(v);
}

void slice_disk(struct node *n, struct disk_slice *ret, struct slice_space *sp)
{
	memset(sp, 0, sizeof(*sp));
	sp->disk =
	    n->laid && n->laid->disk.present ? n->laid->disk : n->spec->disk;
	sp->disk.size = n->spec->disk.size;
	*ret = (struct disk_slice){
	    .guest = n->guest ? n->driver->guest->session(n->guest) : NULL,
	    .root = node_runs_disk(n) ? "" : "/mnt",
	    .serial = DISK_SERIAL,
	    .spec = &sp->disk,
	    .plan = n->meta.disk,
	    .laid_out = n->meta.laid_out,
	    .volumes = sp->volumes,
	    .n_volumes = slice_volumes(n, false, sp),
	    .fake = &n->spec->fake,
	};
}

const struct image *node_foreign_image(const struct node *n)
{
	bool disk = n->machine_look.state == MACHINE_RUNNING
			? n->started_disk
			: node_starts_disk(n);
	const struct image *img = disk ? node_system(n) : node_image(n);

	if (n->driver->virtual || !img ||
	    img->spec->identity == IDENTITY_RACKFS)
		return NULL;
	return img;
}

const char *node_key_file(struct node *n)
{
	const struct image *img = node_foreign_image(n);

	return img && img->user_key ? img->user_key : n->o.c->key_file;
}

void slice_guest(struct node *n, struct guest_slice *ret,
    struct guest_nic *nics, const char *host_key, struct buf *keys)
{
	const struct node_spec *s = node_running_spec(n);
	bool ours = !node_runs_disk(n) && !node_foreign_image(n);

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
	names_keys(n->o.c, keys);
	*ret = (struct guest_slice){
	    .host = "127.0.0.1",
	    .port = n->ssh_port,
	    .user = s->ssh_user,
	    .key_file = node_key_file(n),
	    .host_key = host_key,
	    .hostname = n->o.name,
	    .netboot = ours,
	    .nics = nics,
	    .n_nics = s->n_nics,
	    .hosts = names_hosts(n->o.c),
	    .keys = ours ? buf_str(keys) : NULL,
	    .fake = &n->spec->fake,
	};
}
