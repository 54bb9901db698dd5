// SPDX-License-Identifier: Apache-2.0
/*
 * What the herald is told.  notify.c and ops call it.  The daemon never waits
 * for the herald: what its socket does not take stays here.
 *
 * A file is in one of these states:
 *   QUIET     change -> DIRTY
 *   DIRTY     told to the herald -> TOLD
 *   TOLD      done -> QUIET; change -> TOLD_OLD; new herald -> DIRTY
 *   TOLD_OLD  done -> DIRTY; new herald -> DIRTY
 * so at most one order a file is under way, and the one after the last change
 * is never left out.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include "fs/herald.h"
#include "fs/session.h"
#include "fs/wake.h"

/* Many changes of one file within it are one. */
#define WINDOW_USEC (5 * USEC_PER_MSEC)
/* Entries that nobody has heard of yet; older ones are let go. */
#define ENTRIES_MAX 4096

struct entry {
	uint64_t directory, inode;
	const struct file *file;
	bool appeared, told;
	char *name, *path;
	struct entry *next;
};

struct wake {
	struct session *session;
	int fd;
	pid_t herald; /* 0: none */
	struct loop_source *io, *timer;
	bool blocked; /* the socket takes no more */
	bool armed;
	uint64_t last; /* loop_now() of the last flush */
	struct inode *dirty, *told;
	struct entry *entries, **last_entry;
	size_t n_entries;
};

/* --- lists of inodes --- */

static void take(struct inode *i)
{
	if (!i->wake_previous)
		return;
	*i->wake_previous = i->wake_next;
	if (i->wake_next)
		i->wake_next->wake_previous = i->wake_previous;
	i->wake_next = NULL;
	i->wake_previous = NULL;
}

static void put(struct inode **list, struct inode *i)
{
	take(i);
	i->wake_next = *list;
	i->wake_previous = list;
	if (*list)
		(*list)->wake_previous = &i->wake_next;
	*list = i;
}

/* --- orders --- */

static bool send_order(
    struct wake *w, enum herald_call call, uint64_t inode, const char *path)
{
	struct herald_order o = {.head = {.inode = inode, .call = call}};
	size_t len = strlen(path) + 1;

	if (len > sizeof(o.path))
		return true; /* no name here is so long */
	memcpy(o.path, path, len);
	if (send(w->fd, &o, sizeof(o.head) + len,
		MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return true;
	w->blocked = true;
	loop_io_events(w->io, EPOLLIN | EPOLLOUT);
	return false;
}

static void path_of(const struct named *n, struct buf *ret)
{
	const struct file *f = n->file, *up = file_of_place(f->place);

	if (f->place != PLACE_ROOT) {
		struct named parent = {.file = up, .object = n->object};

		path_of(&parent, ret);
		buf_putc(ret, '/');
	}
	buf_puts(ret, f->name ? f->name : object_name(n->object));
}

/* false: the herald takes no more. */
static bool tell_file(struct wake *w, struct inode *i)
{
	_cleanup_buf_ struct buf path = {0};
	struct named n;
	bool grows;

	if (inode_resolve(w->session->cluster, i->number, &n) < 0) {
		wake_forget(w, i);
		return true;
	}
	path_of(&n, &path);
	grows = !(file_inotify(n.file) & IN_CLOSE_WRITE);
	if (!send_order(w, grows ? HERALD_GREW : HERALD_REWRITTEN, i->number,
		buf_str(&path)))
		return false;
	i->wake = WAKE_TOLD;
	put(&w->told, i);
	return true;
}

static bool tell_entry(struct wake *w, struct entry *e)
{
	bool dir = e->file->kind == FILE_DIRECTORY;
	enum herald_call call;

	if (e->appeared)
		call = dir ? HERALD_MKDIR : HERALD_MKNOD;
	else
		call = dir ? HERALD_RMDIR : HERALD_UNLINK;
	e->told = send_order(w, call, e->directory, e->path);
	return e->told;
}

static void flush(struct wake *w)
{
	if (!w->herald || w->blocked)
		return;
	w->last = loop_now(w->session->loop);
	for (struct entry *e = w->entries; e; e = e->next) {
		if (!e->told && !tell_entry(w, e))
			return;
	}
	while (w->dirty && tell_file(w, w->dirty))
		;
}

static void on_timer(void *userdata)
{
	struct wake *w = userdata;

	w->armed = false;
	flush(w);
}

static void arm(struct wake *w)
{
	if (w->armed || !w->timer)
		return;
	w->armed = true;
	loop_timer_set(
	    w->timer, MAX(loop_now(w->session->loop), w->last + WINDOW_USEC));
}

/* --- answers --- */

static void entry_free(struct wake *w, struct entry **at)
{
	struct entry *e = *at;

	*at = e->next;
	if (!e->next)
		w->last_entry = at;
	w->n_entries--;
	free(e->name);
	free(e->path);
	free(e);
}

/* The call came back; what its entry was good for is over. */
static void entry_over(struct wake *w, uint64_t directory)
{
	struct entry **p = &w->entries;

	while (*p && !((*p)->told && (*p)->directory == directory))
		p = &(*p)->next;
	if (*p)
		entry_free(w, p);
}

static void done(struct wake *w, const struct herald_head *head)
{
	struct inode *i;

	if (head->call >= HERALD_MKNOD) {
		entry_over(w, head->inode);
		return;
	}
	i = inode_find(w->session->inodes, head->inode);
	if (!i)
		return;
	if (i->wake == WAKE_TOLD) {
		wake_forget(w, i);
		inode_trim(w->session->inodes, i);
	} else if (i->wake == WAKE_TOLD_OLD) {
		i->wake = WAKE_DIRTY;
		put(&w->dirty, i);
		arm(w);
	}
}

static void on_socket(int fd, uint32_t events, void *userdata)
{
	struct wake *w = userdata;
	struct herald_head head;

	for (;;) {
		ssize_t n = recv(fd, &head, sizeof(head), MSG_DONTWAIT);

		if (n == 0) /* the keeper is gone, and the daemon ends */
			loop_source_free(TAKE_PTR(w->io));
		if (n != sizeof(head))
			break;
		done(w, &head);
	}
	if ((events & EPOLLOUT) && w->io) {
		w->blocked = false;
		loop_io_events(w->io, EPOLLIN);
		flush(w);
	}
}

/* --- what has happened --- */

void wake_changed(struct wake *w, struct inode *i)
{
	if (w->fd < 0)
		return;
	switch (i->wake) {
	case WAKE_QUIET:
		i->wake = WAKE_DIRTY;
		put(&w->dirty, i);
		arm(w);
		break;
	case WAKE_TOLD:
		i->wake = WAKE_TOLD_OLD;
		break;
	case WAKE_DIRTY:
	case WAKE_TOLD_OLD:
		break;
	}
}

void wake_forget(struct wake *w, struct inode *i)
{
	take(i);
	i->wake = WAKE_QUIET;
}

void wake_entry(struct wake *w, const struct named *directory, bool appeared,
    const struct file *f, struct object *o)
{
	struct named n = {.file = f, .object = o};
	struct buf path = {0};
	struct entry *e;

	if (w->fd < 0)
		return;
	if (w->n_entries >= ENTRIES_MAX)
		entry_free(w, &w->entries);
	path_of(&n, &path);
	e = xcalloc(1, sizeof(*e));
	e->directory = inode_number(directory->file, directory->object);
	e->inode = inode_number(f, o);
	e->file = f;
	e->appeared = appeared;
	e->name = xstrdup(f->name ? f->name : object_name(o));
	e->path = buf_take(&path);
	*w->last_entry = e;
	w->last_entry = &e->next;
	w->n_entries++;
	arm(w);
}

static struct entry *find_entry(
    const struct wake *w, uint64_t directory, const char *name)
{
	struct entry *e = w->entries;

	while (e &&
	       !(e->told && e->directory == directory && STREQ(e->name, name)))
		e = e->next;
	return e;
}

bool wake_expects(const struct wake *w, uint64_t directory, const char *name,
    struct wake_ghost *ret)
{
	const struct entry *e = find_entry(w, directory, name);

	if (e && ret)
		*ret = (struct wake_ghost){.appeared = e->appeared,
		    .inode = e->inode,
		    .file = e->file};
	return e != NULL;
}

/* --- life --- */

bool wake_is_herald(const struct wake *w, pid_t pid)
{
	return w->herald && w->herald == pid;
}

void wake_herald(struct wake *w, pid_t pid)
{
	struct inode *i;

	w->herald = pid;
	while ((i = w->told)) {
		i->wake = WAKE_DIRTY;
		put(&w->dirty, i);
	}
	for (struct entry *e = w->entries; e; e = e->next)
		e->told = false;
	if (pid)
		arm(w);
}

int wake_new(struct session *s, int fd, struct wake **ret)
{
	struct wake *w = xcalloc(1, sizeof(*w));
	int r = 0;

	w->session = s;
	w->fd = fd;
	w->last_entry = &w->entries;
	if (fd >= 0)
		r = loop_add_io(s->loop, fd, EPOLLIN, on_socket, w, &w->io);
	if (r == 0)
		r = loop_add_timer(s->loop, USEC_NEVER, on_timer, w, &w->timer);
	if (r < 0) {
		wake_free(w);
		return r;
	}
	*ret = w;
	return 0;
}

void wake_free(struct wake *w)
{
	if (!w)
		return;
	while (w->dirty)
		wake_forget(w, w->dirty);
	while (w->told)
		wake_forget(w, w->told);
	while (w->entries)
		entry_free(w, &w->entries);
	loop_source_free(w->io);
	loop_source_free(w->timer);
	free(w);
}
