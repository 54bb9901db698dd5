// SPDX-License-Identifier: Apache-2.0
/*
 * Host files that specs refer to: their folders are watched, so that a file
 * which appears, is replaced or changes is a change of the spec.  A folder
 * that is not there yet, or that leads into our own tree, is stood in for by
 * the nearest one above it.
 */
#include <sys/stat.h>
#include "engine/engine.h"

struct watch {
	struct watch *next;
	struct cluster *c;
	struct loop_source *source;
	char *path;
	char *looked; /* the name in the watched folder that matters */
	void (*fn)(const char *path, void *userdata);
	void *userdata;
};

static void watch_arm(struct watch *w);

/* A file that is being written tells so again when it is whole; a link does
 * not. */
static bool begun(const struct watch *w, const struct inotify_event *e)
{
	struct stat st;

	return (e->mask & IN_CREATE) && !(e->mask & IN_ISDIR) &&
	       !host_path_is_ours(w->c, w->path) && lstat(w->path, &st) == 0 &&
	       S_ISREG(st.st_mode) && st.st_nlink == 1;
}

static void on_file(const struct inotify_event *e, void *userdata)
{
	struct watch *w = userdata;
	bool gone = e->mask & (IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF);

	if (!gone && (!e->len || !STREQ(e->name, w->looked)))
		return;
	if (!gone && begun(w, e))
		return;
	/* The folder that matters may be there now, or not any more. */
	watch_arm(w);
	w->fn(w->path, w->userdata);
}

static void watch_arm(struct watch *w)
{
	_cleanup_free_ char *dir = xstrdup(w->path);

	loop_source_free(TAKE_PTR(w->source));
	for (;;) {
		char *slash = strrchr(dir, '/');
		const char *folder = slash == dir ? "/" : dir;

		if (!slash)
			return;
		free(w->looked);
		w->looked = xstrdup(slash + 1);
		*slash = '\0';
		if ((!host_path_is_ours(w->c, folder) &&
			loop_add_inotify(w->c->loop, folder,
			    IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE |
				IN_ATTRIB | IN_DELETE | IN_MOVED_FROM |
				IN_DELETE_SELF | IN_MOVE_SELF,
			    on_file, w, &w->source) >= 0) ||
		    slash == dir)
			return;
	}
}

void watch_add(struct watch **list, struct cluster *c, const char *path,
    void (*fn)(const char *path, void *userdata), void *userdata)
{
	struct watch *w;

	if (!path || *path != '/')
		return;
	for (w = *list; w; w = w->next)
		if (STREQ(w->path, path))
			return;
	w = xcalloc(1, sizeof(*w));
	w->c = c;
	w->path = xstrdup(path);
	w->fn = fn;
	w->userdata = userdata;
	w->next = *list;
	*list = w;
	watch_arm(w);
}

void watch_clear(struct watch **list)
{
	while (*list) {
		struct watch *w = *list;

		*list = w->next;
		loop_source_free(w->source);
		free(w->path);
		free(w->looked);
		free(w);
	}
}
