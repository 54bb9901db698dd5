/* SPDX-License-Identifier: Apache-2.0
 *
 * A NixOS system that was built before: a path of this host's store, or the
 * output of nix-store --export.  Both become a tar of nix/store and the
 * registration of its paths (host/nar.h); of the first, nix-store makes an
 * export.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "drivers/drivers.h"
#include "drivers/image_source.h"
#include "host/nar.h"

#define STORE "/nix/store/"

/* In the source tree data_dir is its root or backend/. */
static char *find_script(const char *data_dir)
{
	static const char *const places[] = {"", "backend/"};

	for (size_t k = 0; k < ARRAY_SIZE(places); k++) {
		_cleanup_free_ char *path = xasprintf(
		    "%s/%srootfs/export-closure.sh", data_dir, places[k]);
		if (access(path, X_OK) == 0)
			return TAKE_PTR(path);
	}
	return NULL;
}

static int before(
    struct source_job *j, const char *data_dir, char ***argv, struct err *err)
{
	_cleanup_free_ char *script = find_script(data_dir);
	char top[PATH_MAX];

	if (!realpath(j->source, top))
		return err_errno(
		    err, -errno, "source: %s can't be read", j->source);
	if (strncmp(top, STORE, strlen(STORE)) != 0)
		return 0;
	if (strchr(top + strlen(STORE), '/'))
		return err_set(err, -EINVAL,
		    "source: %s is %s, which is within a path of the store; "
		    "name the path of the system itself",
		    j->source, top);
	if (!script)
		return err_set(err, -ENOENT,
		    "the script that exports closures is not there: "
		    "%s/rootfs/export-closure.sh",
		    data_dir);
	free(j->input);
	j->input = xasprintf("%s/export", j->dir);
	*argv = strv_new(script, top, j->input, (char *)NULL);
	/* Which of its paths is the system is known then. */
	if (!j->init)
		j->init = xasprintf("%s/init", top);
	return 0;
}

static int make(struct source_job *j, struct err *err)
{
	_cleanup_(nar_freep) struct nar *n = NULL;
	_cleanup_(tar_out_freep) struct tar_out *out = NULL;
	_cleanup_buf_ struct buf registration = {0};
	_cleanup_free_ char *path = xasprintf("%s/registration", j->dir);
	/* What we exported ourselves has no digest that anybody could know. */
	bool own = !STREQ(j->input, j->source);
	_cleanup_close_ int fd = -1;
	int r;

	if (own && j->sha256)
		return err_set(err, -EINVAL,
		    "sha256: is of a file; %s is a path of the store, which "
		    "nix verifies",
		    j->source);
	atomic_store(&j->passes, 2);
	r = nar_open(j->input, &j->watch, j->sha256, j->init, &n, err);
	if (r < 0)
		return r;
	fd = image_source_create(j, "closure.tar", err);
	if (fd < 0)
		return fd;
	atomic_store(&j->pass, 1);
	out = tar_out_new(fd, TAR_PAX);
	r = nar_write(n, &j->watch, out, err);
	if (r == 0)
		r = tar_out_finish(out, &j->size, j->digest, err);
	if (r < 0)
		return r;
	if (own)
		(void)unlink(j->input);
	nar_registration(n, &registration);
	snprintf(j->found_init, sizeof(j->found_init), "%s", nar_init(n));
	r = file_replace(
	    AT_FDCWD, path, registration.data, registration.len, 0644);
	return r < 0 ? err_errno(err, r, "can't write %s", path) : 0;
}

static const struct image_source kind = {
    .kind = "closure",
    .file = "closure.tar",
    .before = before,
    .make = make,
};

static int closure_open(
    const struct driver_env *env, void **ret, struct err *err)
{
	return image_source_open(&kind, env, ret, err);
}

const struct image_driver image_closure = {
    .name = "closure",
    .help = "a NixOS system that was built before",
    .available = image_source_available,
    .open = closure_open,
    .close = image_source_close,
    .observe = image_source_observe,
    .look = image_source_look,
    .ensure = image_source_ensure,
};
