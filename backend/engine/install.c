// SPDX-License-Identifier: Apache-2.0
/*
 * The system on a node's disk: which image it comes from, how it gets there,
 * whether the next run boots from it, and what its kernel is told.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include "engine/engine.h"
#include "identity.h"

/* As for our own image; the system's own init and udev come after it. */
#define DISK_CMDLINE NETBOOT_CMDLINE " rw"

struct image *node_system(const struct node *n)
{
	struct object *o;

	if (!n->spec || !n->spec->install.present)
		return NULL;
	o = cluster_find(n->o.c, OBJECT_IMAGE, n->spec->install.image);
	return o ? as_image(o) : NULL;
}

enum image_kind node_system_kind(const struct node *n)
{
	const struct image *img = node_system(n);

	if (n->meta.installed)
		return n->meta.installed_kind;
	if (n->driver->virtual)
		return IMAGE_ROOTFS;
	return img && img->spec ? img->spec->kind : IMAGE_NONE;
}

enum install_way node_install_way(const struct node *n)
{
	if (!n->spec->install.present)
		return INSTALL_NONE;
	return node_system_kind(n) == IMAGE_DISK ? INSTALL_COLD : INSTALL_GUEST;
}

const struct install_driver *node_install_driver(const struct node *n)
{
	enum image_kind kind = node_system_kind(n);

	if (!n->spec->install.present || kind == IMAGE_NONE)
		return NULL;
	return n->driver->install[kind];
}

bool node_starts_disk(const struct node *n)
{
	const struct node_spec *s = n->spec;

	if (s->boot_from == BOOT_AUTO)
		return s->install.present && n->meta.installed;
	return s->boot_from == BOOT_DISK;
}

bool node_runs_disk(const struct node *n)
{
	return n->machine_look.state == MACHINE_RUNNING && n->started_disk &&
	       n->started_launch == n->machine_look.launch;
}

bool node_marks_disk(const struct node *n)
{
	return n->spec->install.present && !n->driver->virtual &&
	       node_system_kind(n) == IMAGE_ROOTFS;
}

bool node_installing(const struct node *n)
{
	return !n->meta.installed && !node_starts_disk(n) &&
	       node_install_way(n) == INSTALL_GUEST;
}

/* What an installed disk boots by.  One without a loader on its ESP gets none
 * by another word in the spec. */
enum boot_firmware node_firmware(const struct node *n)
{
	if (n->meta.installed && n->laid &&
	    n->meta.installed_kind != IMAGE_DISK &&
	    n->laid->boot_firmware == FIRMWARE_DIRECT)
		return FIRMWARE_DIRECT;
	return n->spec->boot_firmware;
}

const char *node_root_uuid(const struct node *n)
{
	const struct disk_spec *d = &n->spec->disk;

	if (n->laid && n->laid->disk.present)
		d = &n->laid->disk;
	for (size_t i = 0; n->meta.disk && i < d->n_partitions; i++)
		if (d->partitions[i].mount &&
		    STREQ(d->partitions[i].mount, "/"))
			return n->meta.disk->partition_uuid[i];
	return "";
}

char *node_disk_cmdline(const struct node *n)
{
	const struct image *img = node_system(n);
	const struct image_spec *s = img ? img->spec : NULL;
	const char *init = s && s->init ? s->init : "";
	_cleanup_buf_ struct buf b = {0};

	if (!*init && img)
		init = img->look.init;
	buf_puts(&b, DISK_CMDLINE);
	if (s && s->root)
		buf_printf(&b, " root=%s", s->root);
	else
		buf_printf(&b, " root=UUID=%s", node_root_uuid(n));
	if (*init)
		buf_printf(&b, " init=%s", init);
	return buf_take(&b);
}

char *node_kernel_path(const struct node *n, bool initrd)
{
	_cleanup_free_ char *dir = object_path(&n->o, n->o.c->state_dir);

	return xasprintf("%s/%s", dir, initrd ? "disk-initrd" : "kernel");
}

void node_drop_kernel(struct node *n)
{
	for (int initrd = 0; initrd < 2; initrd++) {
		_cleanup_free_ char *path = node_kernel_path(n, initrd);

		unlink(path);
	}
	n->meta.own_kernel = false;
}

/* Links: the cache is in the same state directory.  Where it is not, the
 * image's are used. */
void node_keep_kernel(struct node *n)
{
	const struct image *boot = node_image(n);
	_cleanup_free_ char *kernel = node_kernel_path(n, false);
	_cleanup_free_ char *initrd = node_kernel_path(n, true);

	node_drop_kernel(n);
	if (n->driver->virtual || !boot || !boot->look.disk_initrd[0])
		return;
	n->meta.own_kernel = link(boot->look.kernel, kernel) == 0 &&
			     link(boot->look.disk_initrd, initrd) == 0;
}

char *node_seed_path(const struct node *n)
{
	_cleanup_free_ char *dir = object_path(&n->o, n->o.c->state_dir);

	return xasprintf("%s/seed.iso", dir);
}

/* --- cloud-init --- */

/* Names stand in quotation marks: to YAML a bare `no` or `on` is a boolean.
 * That of the management NIC is none that a NIC of the spec can have. */
static void network_config(const struct node *n, struct buf *b)
{
	buf_puts(b, "version: 2\nethernets:\n"
		    "  rackfs_management:\n"
		    "    match: {macaddress: \"" MANAGEMENT_MAC "\"}\n"
		    "    addresses: [10.0.2.15/24]\n");
	if (n->spec->internet)
		buf_puts(b, "    routes: [{to: 0.0.0.0/0, via: 10.0.2.2}]\n"
			    "    nameservers: {addresses: [10.0.2.3]}\n");
	for (size_t i = 0; i < n->n_nics; i++) {
		const struct nic *nic = &n->nics[i];
		char mac[18], ip[16];

		format_mac(nic->mac, mac);
		buf_printf(b, "  \"%s\":\n    match: {macaddress: \"%s\"}\n",
		    nic->spec->name, mac);
		/* No boot waits for one that is unplugged. */
		buf_printf(b, "    optional: true\n    mtu: %u\n",
		    nic->network->spec->mtu);
		if (!nic->has_address)
			continue;
		format_ip(nic->address, ip);
		buf_printf(
		    b, "    addresses: [%s/%u]\n", ip, nic->network->prefix);
	}
}

/* Texts within YAML's literal blocks: each line indented. */
static void yaml_block(struct buf *b, const char *indent, const char *text)
{
	while (*text) {
		size_t len = strcspn(text, "\n");

		buf_printf(b, "%s%.*s\n", indent, (int)len, text);
		text += len + (text[len] == '\n');
	}
}

static int user_data(struct node *n, struct buf *b, struct err *err)
{
	const struct cluster *c = n->o.c;
	_cleanup_free_ char *key_path = node_key_path(n), *key = NULL;
	_cleanup_buf_ struct buf private = {0};
	int r = file_read(AT_FDCWD, key_path, 64 * KIB, &private);

	if (r < 0)
		return err_errno(
		    err, r, "can't read the host key %s", key_path);
	r = node_host_key(n, &key, err);
	if (r < 0)
		return r;
	buf_printf(b,
	    "#cloud-config\nhostname: \"%s\"\nfqdn: \"%s.%s\"\n"
	    "disable_root: false\nssh_pwauth: false\n"
	    "users:\n  - name: \"%s\"\n    lock_passwd: true\n"
	    "    ssh_authorized_keys:\n      - \"%s\"\n",
	    n->o.name, n->o.name, c->spec->domain, n->spec->ssh_user,
	    c->public_key);
	for (size_t i = 0;
	     c->spec->authorized_keys && c->spec->authorized_keys[i]; i++) {
		buf_puts(b, "      - ");
		buf_json_string(b, c->spec->authorized_keys[i]);
		buf_puts(b, "\n");
	}
	if (!STREQ(n->spec->ssh_user, "root"))
		buf_puts(b, "    sudo: ALL=(ALL) NOPASSWD:ALL\n"
			    "    shell: /bin/bash\n");
	/* The key that the guest must show is handed over, not learnt. */
	buf_puts(b, "ssh_deletekeys: true\n"
		    "ssh_keys:\n  ed25519_private: |\n");
	yaml_block(b, "    ", buf_str(&private));
	buf_printf(b, "  ed25519_public: \"%s\"\n", key);
	return 0;
}

static int seed_texts(struct node *n, struct install_texts *t, struct err *err)
{
	struct buf user = {0}, meta = {0}, net = {0};
	int r = user_data(n, &user, err);

	if (r < 0) {
		buf_done(&user);
		return r;
	}
	buf_printf(&meta, "instance-id: \"%s-%s\"\nlocal-hostname: \"%s\"\n",
	    n->o.name, n->meta.disk ? n->meta.disk->uuid : "1", n->o.name);
	network_config(n, &net);
	t->seed_path = node_seed_path(n);
	t->user_data = buf_take(&user);
	t->meta_data = buf_take(&meta);
	t->network_config = buf_take(&net);
	return 0;
}

/* --- the slice --- */

static const char *esp_mount(const struct node_spec *s)
{
	const struct disk_spec *d = &s->disk;

	for (size_t i = 0; i < d->n_partitions; i++)
		if (d->partitions[i].flags & PARTITION_ESP)
			return d->partitions[i].mount;
	return NULL;
}

void install_texts_done(struct install_texts *t)
{
	free(t->disk_path);
	free(t->seed_path);
	free(t->cmdline);
	free(t->user_data);
	free(t->meta_data);
	free(t->network_config);
}

int slice_install(struct node *n, struct install_slice *ret,
    struct install_texts *t, struct err *err)
{
	const struct image *boot = node_image(n), *img = node_system(n);
	int r;

	*t = (struct install_texts){.cmdline = node_disk_cmdline(n)};
	*ret = (struct install_slice){
	    .guest = n->guest ? n->driver->guest->session(n->guest) : NULL,
	    .root = "/mnt",
	    .image = img ? &img->look : NULL,
	    .firmware = n->spec->boot_firmware,
	    .cmdline = t->cmdline,
	    .esp = esp_mount(n->spec),
	    .disk_size = n->spec->disk.size,
	    .fake = &n->spec->fake,
	};
	if (n->started_payload)
		ret->payload_serial = PAYLOAD_DISK;
	if (boot && boot->look.disk_initrd[0]) {
		ret->kernel = boot->look.kernel;
		ret->initrd = boot->look.disk_initrd;
		ret->modules = boot->look.modules;
	}
	if (node_install_way(n) != INSTALL_COLD)
		return 0;
	t->disk_path = node_disk_path(n, &ret->disk_format);
	ret->disk_path = t->disk_path;
	if (!n->spec->install.cloud_init)
		return 0;
	r = seed_texts(n, t, err);
	if (r < 0)
		return r;
	ret->seed_path = t->seed_path;
	ret->user_data = t->user_data;
	ret->meta_data = t->meta_data;
	ret->network_config = t->network_config;
	return 0;
}

/* --- the spec against the image --- */

static bool has_root(const struct node_spec *s)
{
	for (size_t i = 0; i < s->disk.n_partitions; i++)
		if (s->disk.partitions[i].mount &&
		    STREQ(s->disk.partitions[i].mount, "/"))
			return true;
	return false;
}

/* NixOS has a link to its store where units are: one of ours in its place
 * would leave it without any. */
static int check_units(const struct node_spec *s, struct err *err)
{
	for (size_t i = 0; i < s->n_services; i++)
		if (s->services[i].unit || s->services[i].source)
			return err_set(err, -EINVAL,
			    "services.%s.%s: units of a closure come from its "
			    "own configuration; leave it out, and name what is "
			    "in the closure",
			    s->services[i].name,
			    s->services[i].unit ? "unit" : "source");
	return 0;
}

int boot_fits(const char *image, enum image_kind kind, struct err *err)
{
	if (kind == IMAGE_NONE || kind == IMAGE_NETBOOT)
		return 0;
	return err_set(err, -EINVAL,
	    "boot.image: image %s is of kind %s, which install.image takes; "
	    "wanted netboot",
	    image, image_kind_name(kind));
}

int install_fits(const struct node_spec *s, const char *image,
    enum image_kind kind, struct err *err)
{
	if (kind == IMAGE_NETBOOT)
		return err_set(err, -EINVAL,
		    "install.image: image %s is of kind netboot; wanted "
		    "rootfs, disk or closure",
		    image);
	if (kind == IMAGE_DISK && s->disk.n_partitions)
		return err_set(err, -EINVAL,
		    "disk.partitions: image %s is a whole disk and brings its "
		    "own; leave them out",
		    image);
	if (kind != IMAGE_DISK && kind != IMAGE_NONE && !has_root(s))
		return err_set(err, -EINVAL,
		    "disk.partitions: install asks for one that is mounted at "
		    "/");
	if (kind != IMAGE_DISK && kind != IMAGE_NONE &&
	    s->boot_firmware == FIRMWARE_UEFI && !esp_mount(s))
		return err_set(err, -EINVAL,
		    "disk.partitions: boot.firmware uefi asks for an EFI "
		    "system partition: flags [\"esp\"], filesystem vfat and a "
		    "mount");
	if (kind != IMAGE_DISK && kind != IMAGE_NONE && s->install.cloud_init)
		return err_set(err, -EINVAL,
		    "install.cloud_init: is for images of kind disk");
	return kind == IMAGE_CLOSURE ? check_units(s, err) : 0;
}

int install_check(struct node *n, const struct node_spec *s, struct err *err)
{
	struct object *o;

	if (!s->install.present)
		return 0;
	o = cluster_find(n->o.c, OBJECT_IMAGE, s->install.image);
	if (!o && n->o.c->loading)
		return 0;
	if (!o)
		return err_set(err, -ENOENT,
		    "install.image: there is no image %s; mkdir images/%s "
		    "makes it",
		    s->install.image, s->install.image);
	return install_fits(s, o->name,
	    as_image(o)->spec ? as_image(o)->spec->kind : IMAGE_NONE, err);
}
