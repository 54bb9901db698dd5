/* SPDX-License-Identifier: Apache-2.0
 *
 * THE table of drivers.  A new one is a file in backend/drivers/, a line in
 * backend/drivers/drivers.h, and a line here (with a word of its own in
 * registry.h); the conformance test, --help, doctor and the docs follow.
 */
#include "drivers/drivers.h"
#include "engine/registry.h"

#define NODE(name)    &node_##name,
#define NETWORK(name) &network_##name,

/* What the words of a node's `driver` are made of. */
static const struct node_driver node_qemu = {
    .name = "qemu",
    .machine = &machine_qemu,
    .guest = &guest_ssh,
    .disk = &disk_guest,
    .install = {[IMAGE_ROOTFS] = &install_rootfs,
	[IMAGE_CLOSURE] = &install_closure,
	[IMAGE_DISK] = &install_disk},
    .setup = &setup_guest,
    .probe = &probe_ssh,
};

static const struct node_driver node_fake = {
    .name = "fake",
    .machine = &machine_fake,
    .guest = &guest_fake,
    .disk = &disk_fake,
    .install = {[IMAGE_ROOTFS] = &install_fake,
	[IMAGE_CLOSURE] = &install_fake,
	[IMAGE_DISK] = &install_fake},
    .setup = &setup_fake,
    .probe = &probe_fake,
    .virtual = true,
};

static const struct node_driver *const nodes[] = {NODE_DRIVERS(NODE)};

static const struct network_driver *const networks[] = {
    NETWORK_DRIVERS(NETWORK)};

static const struct image_driver *const images[] = {
    &image_netboot,
    &image_files,
    &image_rootfs,
    &image_archive,
    &image_disk,
    &image_closure,
};

const struct node_driver *registry_node(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
		if (STREQ(nodes[i]->name, name))
			return nodes[i];
	return NULL;
}

const struct network_driver *registry_network(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(networks); i++)
		if (STREQ(networks[i]->name, name))
			return networks[i];
	return NULL;
}

const struct image_driver *registry_image(const struct image_spec *spec)
{
	switch (spec->kind) {
	case IMAGE_NETBOOT:
		return spec->build ? &image_netboot : &image_files;
	case IMAGE_ROOTFS:
		return spec->build ? &image_rootfs : &image_archive;
	case IMAGE_DISK:
		return &image_disk;
	case IMAGE_CLOSURE:
		return &image_closure;
	default:
		return NULL;
	}
}

/* Each once, also one for several kinds of images. */
static void each_install(const struct node_driver *d,
    void (*fn)(const char *kind, const char *name, const char *help,
	int (*available)(struct err *err), void *userdata),
    void *userdata)
{
	const struct install_driver *last = NULL;

	for (int k = 0; k < IMAGE_KINDS; k++) {
		const struct install_driver *i = d->install[k];

		if (i && i != last)
			fn("install", i->name, i->help, i->available, userdata);
		last = i ? i : last;
	}
}

void registry_each(
    void (*fn)(const char *kind, const char *name, const char *help,
	int (*available)(struct err *err), void *userdata),
    void *userdata)
{
	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++) {
		const struct node_driver *d = nodes[i];
		fn("machine", d->machine->name, d->machine->help,
		    d->machine->available, userdata);
		fn("guest", d->guest->name, d->guest->help, d->guest->available,
		    userdata);
		fn("disk", d->disk->name, d->disk->help, d->disk->available,
		    userdata);
		each_install(d, fn, userdata);
		if (d->setup)
			fn("setup", d->setup->name, d->setup->help,
			    d->setup->available, userdata);
		fn("probe", d->probe->name, d->probe->help, d->probe->available,
		    userdata);
	}
	for (size_t i = 0; i < ARRAY_SIZE(networks); i++)
		fn("network", networks[i]->name, networks[i]->help,
		    networks[i]->available, userdata);
	for (size_t i = 0; i < ARRAY_SIZE(images); i++)
		fn("image", images[i]->name, images[i]->help,
		    images[i]->available, userdata);
}
