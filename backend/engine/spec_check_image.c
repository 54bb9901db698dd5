/* SPDX-License-Identifier: Apache-2.0
 *
 * Checks of an image's spec that concern more than one key: which keys each
 * kind asks for, and which it has no use for.  Called by the parsers.  Pure.
 */
#include "engine/spec_table.h"

#include <errno.h>

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
		    "own; an image with build takes the node's identity");
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
