// SPDX-License-Identifier: Apache-2.0
/*
 * Host paths that specs name: where relative ones begin, and that none leads
 * into our own tree.  A daemon that looks there waits for an answer of its own.
 * check.c asks before a document is in force; who is about to look asks again,
 * for links may lead elsewhere by then.
 */
#include <errno.h>
#include "engine/engine.h"

char *host_path(struct cluster *c, const char *path)
{
	if (!path)
		return NULL;
	return path[0] == '/' ? xstrdup(path)
			      : xasprintf("%s/%s", c->cwd, path);
}

bool host_path_is_ours(struct cluster *c, const char *full)
{
	uint64_t own;

	return c->options.mountpoint &&
	       path_device(c->options.mountpoint, &own) == 0 &&
	       path_enters(full, own);
}

static int check(struct cluster *c, const char *map, const char *entry,
    const char *key, const char *path, struct err *err)
{
	_cleanup_free_ char *full = host_path(c, path);

	if (!full || !host_path_is_ours(c, full))
		return 0;
	return err_set(err, -EINVAL,
	    "%s%s%s%s: %s is in this tree, which can't be made from itself; "
	    "copy it to another folder and name that",
	    map, entry, *entry ? "." : "", key, full);
}

int host_paths_of_node(
    struct cluster *c, const struct node_spec *s, struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < s->n_files; i++)
		r = check(c, "files.", s->files[i].path, "source",
		    s->files[i].source, err);
	for (size_t i = 0; r == 0 && i < s->n_services; i++)
		r = check(c, "services.", s->services[i].name, "source",
		    s->services[i].source, err);
	return r;
}

int host_paths_of_image(
    struct cluster *c, const struct image_spec *s, struct err *err)
{
	const struct {
		const char *key, *path;
	} all[] = {
	    {"kernel", s->kernel},
	    {"initrd", s->initrd},
	    {"user_key", s->user_key},
	    {"host_key", s->host_key},
	    {"source", s->source},
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(all); i++)
		r = check(c, "", "", all[i].key, all[i].path, err);
	return r;
}
