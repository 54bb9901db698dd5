// SPDX-License-Identifier: Apache-2.0
/*
 * The last results of checks, kept in the runtime directory: those of a node
 * in its folder, the cluster's beside it.  Not synced: a new daemon goes on
 * with them, a reboot of the host starts afresh.  checks.c saves and recalls.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include "engine/engine.h"

#define MEMORY_MAX (4 * MIB)

static char *memory_path(const struct cluster *c, const struct node *n)
{
	_cleanup_free_ char *dir =
	    n ? object_path(&n->o, c->runtime_dir) : xstrdup(c->runtime_dir);

	return xasprintf("%s/checks.json", dir);
}

static void add(const struct check_view *v, void *userdata)
{
	json_t *record = json_object();

	json_object_set_new(
	    record, "state", json_string(check_state_name(v->state)));
	json_object_set_new(
	    record, "since", json_integer((json_int_t)v->since));
	json_object_set_new(
	    record, "checked", json_integer((json_int_t)v->checked));
	json_object_set_new(record, "detail", json_string(v->detail));
	json_object_set_new(userdata, v->name, record);
}

/* What can't be kept is looked at anew: no reason to fail. */
void check_memory_save(struct cluster *c, struct node *n)
{
	_cleanup_free_ char *path = memory_path(c, n);
	json_t *all = json_object();
	char *text;

	checks_of(c, n, add, all);
	text = json_dumps(all, JSON_COMPACT);
	json_decref(all);
	if (file_replace(AT_FDCWD, path, text, strlen(text), 0600) == -ENOENT &&
	    n) {
		_cleanup_free_ char *dir = object_path(&n->o, c->runtime_dir);

		if (mkdir_p(dir, 0700) == 0)
			(void)file_replace(
			    AT_FDCWD, path, text, strlen(text), 0600);
	}
	free(text);
}

static bool parse_state(const char *name, enum check_state *ret)
{
	for (enum check_state s = CHECK_WAITING; s <= CHECK_FAIL; s++) {
		if (name && STREQ(name, check_state_name(s))) {
			*ret = s;
			return true;
		}
	}
	return false;
}

void check_memory_load(struct cluster *c, struct node *n,
    void (*fn)(const struct check_view *v, void *userdata), void *userdata)
{
	_cleanup_free_ char *path = memory_path(c, n);
	_cleanup_buf_ struct buf text = {0};
	const char *name;
	json_t *all, *record;

	if (file_read(AT_FDCWD, path, MEMORY_MAX, &text) < 0)
		return;
	all = json_loads(buf_str(&text), 0, NULL);
	json_object_foreach (all, name, record) {
		struct check_view v = {
		    .name = name,
		    .since = (uint64_t)json_integer_value(
			json_object_get(record, "since")),
		    .checked = (uint64_t)json_integer_value(
			json_object_get(record, "checked")),
		    .detail =
			json_string_value(json_object_get(record, "detail")),
		};

		if (v.detail && parse_state(json_string_value(json_object_get(
						record, "state")),
				    &v.state))
			fn(&v, userdata);
	}
	json_decref(all);
}
