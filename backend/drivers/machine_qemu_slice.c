/* SPDX-License-Identifier: Apache-2.0
 *
 * A copy of a slice for an operation that outlives the call that gave it.
 */
#include "machine_qemu.h"

static void *copy_array(const void *from, size_t n, size_t size)
{
	if (n == 0)
		return NULL;
	void *to = xcalloc(n, size);
	memcpy(to, from, n * size);
	return to;
}

/* An image without an initrd may say so by an empty name. */
static char *copy_path(const char *s)
{
	return s && s[0] ? xstrdup(s) : NULL;
}

struct machine_slice *qemu_slice_copy(const struct machine_slice *s)
{
	struct machine_slice *to = xcalloc(1, sizeof(*to));

	*to = *s;
	to->kernel = copy_path(s->kernel);
	to->initrd = copy_path(s->initrd);
	to->cmdline = xstrdup(s->cmdline);
	to->cmdline_extra = xstrdup(s->cmdline_extra);
	struct machine_nic *nics =
	    copy_array(s->nics, s->n_nics, sizeof(*nics));
	for (size_t i = 0; i < s->n_nics; i++) {
		nics[i].name = xstrdup(s->nics[i].name);
		nics[i].endpoint = xstrdup(s->nics[i].endpoint);
	}
	to->nics = nics;
	struct machine_disk *disks =
	    copy_array(s->disks, s->n_disks, sizeof(*disks));
	for (size_t i = 0; i < s->n_disks; i++) {
		disks[i].name = xstrdup(s->disks[i].name);
		disks[i].path = xstrdup(s->disks[i].path);
	}
	to->disks = disks;
	to->forwards =
	    copy_array(s->forwards, s->n_forwards, sizeof(*s->forwards));
	to->extra_args = s->extra_args ? strv_copy(s->extra_args) : NULL;
	to->fake = NULL;
	return to;
}

void qemu_slice_free(struct machine_slice *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n_nics; i++) {
		free((char *)s->nics[i].name);
		free((char *)s->nics[i].endpoint);
	}
	for (size_t i = 0; i < s->n_disks; i++) {
		free((char *)s->disks[i].name);
		free((char *)s->disks[i].path);
	}
	free((char *)s->kernel);
	free((char *)s->initrd);
	free((char *)s->cmdline);
	free((char *)s->cmdline_extra);
	free((struct machine_nic *)s->nics);
	free((struct machine_disk *)s->disks);
	free((struct forward_spec *)s->forwards);
	strv_free((char **)s->extra_args);
	free(s);
}
