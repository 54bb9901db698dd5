// SPDX-License-Identifier: Apache-2.0
/*
 * Open files and what a read of each kind gives.  ops_file.c calls it and
 * answers the kernel; nothing here blocks: -EAGAIN says that there is nothing
 * to read yet.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include "fs/handle.h"
#include "fs/kept.h"
#include "fs/ops.h"
#include "fs/scratch.h"
#include "fs/slots.h"
#include "fs/transaction.h"

/* --- the text of a file --- */

int file_text(
    struct session *s, const struct file *f, struct object *o, struct buf *ret)
{
	struct render r = session_render(s, o);

	if (f->kind == FILE_DOCUMENT)
		return cluster_document(o, f->document, ret);
	if (f->render)
		f->render(&r, ret);
	return 0;
}

static void remember_size(struct inode *i, uint64_t version, uint64_t size)
{
	i->size_known = true;
	i->size_version = version;
	i->size = size;
}

uint64_t file_size(
    struct session *s, const struct file *f, struct object *o, struct inode *i)
{
	_cleanup_buf_ struct buf text = {0};
	uint64_t version, run, size, oldest;

	switch (f->kind) {
	case FILE_STREAM:
	case FILE_CONSOLE:
		cluster_stream_stat(o, f->stream, &run, &size, &oldest);
		return size;
	case FILE_TEXT:
	case FILE_DOCUMENT:
		break;
	case FILE_DIRECTORY:
	case FILE_WAIT:
	case FILE_SCRATCH:
	case FILE_KINDS:
		return 0;
	}
	version = object_version(o, f->aspects);
	if (i && i->size_known && i->size_version == version && !f->timed)
		return i->size;
	if (file_text(s, f, o, &text) < 0)
		return 0;
	if (i)
		remember_size(i, version, text.len);
	return text.len;
}

/* --- handles --- */

static bool reads(const struct handle *h)
{
	return (h->flags & O_ACCMODE) != O_WRONLY;
}

static bool writes(const struct handle *h)
{
	return (h->flags & O_ACCMODE) != O_RDONLY;
}

bool handle_is_terminal(const struct handle *h)
{
	return h->file->kind == FILE_CONSOLE && reads(h) && writes(h);
}

static int snapshot(struct handle *h)
{
	int r;

	buf_clear(&h->text);
	h->version = object_version(h->object, h->file->aspects);
	h->have = true;
	h->restored = false;
	r = file_text(h->session, h->file, h->object, &h->text);
	if (r < 0)
		return r;
	remember_size(h->inode, h->version, h->text.len);
	handle_keep_text(h);
	return 0;
}

struct handle *handle_make(
    struct session *s, const struct named *n, int flags, uint64_t id)
{
	struct handle *h = xcalloc(1, sizeof(*h));

	h->id = id;
	h->session = s;
	h->file = n->file;
	h->object = n->object;
	h->flags = flags;
	h->scratch = n->scratch;
	if (h->scratch)
		scratch_open(h->scratch);
	h->inode = inode_get(s->inodes, named_number(n));
	h->next = h->inode->handles;
	h->inode->handles = h;
	table_put(s->handles, id, h);
	return h;
}

/* Where the reader of a growing text begins. */
static void begin_stream(struct handle *h)
{
	uint64_t size, oldest;

	cluster_stream_stat(
	    h->object, h->file->stream, &h->place.run, &size, &oldest);
	if (handle_is_terminal(h))
		h->place.at = size;
}

int handle_new(struct session *s, const struct named *n, int flags,
    pid_t opener, struct handle **ret)
{
	struct handle *h;
	int r = 0;

	if (table_count(s->handles) >= HANDLES_MAX)
		return -ENFILE;
	/* Begins with the time, so that no earlier daemon gave it. */
	s->last_handle = MAX(s->last_handle + 1, now_real() << 8);
	h = handle_make(s, n, flags, s->last_handle);
	h->opener = opener;
	h->opened_by = slots_unique(s->slots);
	h->kept = kept_new(s->kept, h->id);
	if (n->file->touch)
		n->file->touch(n->object);
	if (n->file->kind == FILE_STREAM || n->file->kind == FILE_CONSOLE)
		begin_stream(h);
	else if (reads(h) && n->object && n->file->kind != FILE_WAIT)
		r = snapshot(h);
	if (r < 0) {
		handle_free(h);
		return r;
	}
	handle_keep(h);
	*ret = h;
	return 0;
}

struct handle *handle_find(struct session *s, uint64_t id)
{
	return table_get(s->handles, id);
}

int handle_get(struct session *s, uint64_t id, uint64_t inode, int flags,
    struct handle **ret)
{
	struct handle *h = table_get(s->handles, id);
	struct named n;
	int r;

	if (!h) {
		r = ops_named(s, inode, &n);
		if (r < 0)
			return r;
		h = handle_make(s, &n, flags & ~O_TRUNC, id);
		if (n.file->kind == FILE_STREAM || n.file->kind == FILE_CONSOLE)
			begin_stream(h);
	}
	/* Not every request says how it was opened. */
	if (!writes(h) && (flags & O_ACCMODE) != O_RDONLY)
		h->flags = flags & ~O_TRUNC;
	*ret = h;
	return 0;
}

void handle_free(struct handle *h)
{
	struct handle **p = &h->inode->handles;

	ops_unpark(h, -ENOTCONN);
	while (*p != h)
		p = &(*p)->next;
	*p = h->next;
	inode_trim(h->session->inodes, h->inode);
	ops_poll_forget(h);
	table_take(h->session->handles, h->id);
	ops_drop_transaction(h);
	kept_forget(h->kept);
	if (h->scratch)
		scratch_close(h->session->scratches, h->scratch);
	buf_done(&h->text);
	session_rest(h->session);
	free(h);
}

static void free_one(void *handle, void *userdata)
{
	handle_free(handle);
}

void handle_free_all(struct session *s)
{
	table_empty(s->handles, free_one, NULL);
}

/* --- reading --- */

static void slice(const struct buf *b, uint64_t off, size_t size,
    const char **ret_data, size_t *ret_len)
{
	*ret_data = off < b->len ? b->data + off : "";
	*ret_len = off < b->len ? MIN(size, b->len - off) : 0;
}

static bool stale(const struct handle *h)
{
	return !h->have || h->restored || h->file->timed ||
	       object_version(h->object, h->file->aspects) != h->version;
}

static int read_text(struct handle *h, uint64_t off, size_t size,
    const char **ret_data, size_t *ret_len)
{
	const struct buf *written =
	    h->transaction ? transaction_text(h->transaction) : NULL;
	int r = 0;

	if (written) {
		slice(written, off, size, ret_data, ret_len);
		return 0;
	}
	if (!h->have || (off == 0 && h->object && stale(h)))
		r = h->object ? snapshot(h) : -ENODEV;
	if (r < 0)
		return r;
	slice(&h->text, off, size, ret_data, ret_len);
	return 0;
}

static int read_scratch(const struct handle *h, uint64_t off, size_t size,
    const char **ret_data, size_t *ret_len)
{
	size_t len;
	const char *data = scratch_bytes(h->scratch, &len);

	*ret_data = off < len ? data + off : "";
	*ret_len = off < len ? MIN(size, len - off) : 0;
	return 0;
}

/* A read at 0 waits anew; later ones go on with the answer, to its end. */
static int read_wait(struct handle *h, uint64_t off, size_t size,
    const char **ret_data, size_t *ret_len)
{
	struct render r;
	int code;

	if (off == 0 || !h->have) {
		if (!h->object)
			return -ENODEV;
		r = session_render(h->session, h->object);
		buf_clear(&h->text);
		h->have = false;
		code = wait_answer(&r, &h->text);
		if (code < 0)
			return code;
		h->have = true;
		handle_keep_text(h);
	}
	slice(&h->text, off, size, ret_data, ret_len);
	return 0;
}

/* Where in the text a read at `off` is. A read at 0 starts with the run that is
 * on and at the oldest byte kept; a sequential reader goes on from there. */
static uint64_t stream_offset(struct handle *h, uint64_t off)
{
	uint64_t run, size, oldest;

	cluster_stream_stat(h->object, h->file->stream, &run, &size, &oldest);
	if (handle_is_terminal(h)) {
		if (run != h->place.run)
			h->place.at = 0;
		h->place.run = run;
		h->place.at = MAX(h->place.at, oldest);
		return h->place.at;
	}
	if (off == 0) {
		h->place.run = run;
		h->place.shift = oldest;
	} else if (off != h->place.expected) {
		h->place.shift = 0;
	}
	return off + h->place.shift;
}

static int read_stream(struct handle *h, uint64_t unique, uint64_t off,
    size_t size, struct buf *scratch, const char **ret_data, size_t *ret_len)
{
	uint64_t from;
	ssize_t n;

	if (!h->object)
		return -ENODEV;
	/* Served again, it must give the same bytes. */
	if (unique && h->moved_by == unique)
		h->place = h->before;
	h->before = h->place;
	h->moved_by = unique;
	from = stream_offset(h, off);
	buf_done(scratch);
	scratch->data = xmalloc(size + 1);
	scratch->cap = size + 1;
	n = cluster_stream_read(h->object, h->file->stream, h->place.run, from,
	    scratch->data, size);
	if (n < 0)
		return (int)n;
	if (n == 0 && size > 0 && handle_is_terminal(h))
		return -EAGAIN;
	h->place.at = from + (uint64_t)n;
	h->place.expected = off + (uint64_t)n;
	handle_keep(h);
	*ret_data = scratch->data;
	*ret_len = (size_t)n;
	return 0;
}

int handle_read(struct handle *h, uint64_t unique, uint64_t off, size_t size,
    struct buf *scratch, const char **ret_data, size_t *ret_len)
{
	switch (h->file->kind) {
	case FILE_TEXT:
	case FILE_DOCUMENT:
		return read_text(h, off, size, ret_data, ret_len);
	case FILE_STREAM:
	case FILE_CONSOLE:
		return read_stream(
		    h, unique, off, size, scratch, ret_data, ret_len);
	case FILE_WAIT:
		return read_wait(h, off, size, ret_data, ret_len);
	case FILE_SCRATCH:
		return read_scratch(h, off, size, ret_data, ret_len);
	case FILE_DIRECTORY:
	case FILE_KINDS:
		break;
	}
	return -EISDIR;
}

/* --- poll and size --- */

static unsigned poll_wait(struct handle *h)
{
	_cleanup_buf_ struct buf text = {0};
	struct render r = session_render(h->session, h->object);

	return wait_answer(&r, &text) == -EAGAIN ? 0 : POLLIN | POLLRDNORM;
}

/* Versions are this daemon's: what an earlier one gave is compared itself. */
static bool has_changed(struct handle *h)
{
	_cleanup_buf_ struct buf now = {0};

	if (!h->restored)
		return object_version(h->object, h->file->aspects) !=
		       h->version;
	return file_text(h->session, h->file, h->object, &now) < 0 ||
	       now.len != h->text.len ||
	       (now.len && memcmp(now.data, h->text.data, now.len) != 0);
}

/* A text is always readable, as in sysfs; POLLPRI says that it has changed. */
unsigned handle_poll(struct handle *h)
{
	unsigned events = writes(h) ? POLLOUT | POLLWRNORM : 0;
	uint64_t run, size, oldest;

	if (h->scratch)
		return events | POLLIN | POLLRDNORM;
	if (!h->object)
		return POLLERR | POLLHUP;
	switch (h->file->kind) {
	case FILE_WAIT:
		return events | poll_wait(h);
	case FILE_STREAM:
	case FILE_CONSOLE:
		cluster_stream_stat(
		    h->object, h->file->stream, &run, &size, &oldest);
		if (run != h->place.run || h->place.at < size)
			events |= POLLIN | POLLRDNORM;
		return events;
	case FILE_TEXT:
	case FILE_DOCUMENT:
		break;
	case FILE_DIRECTORY:
	case FILE_SCRATCH:
	case FILE_KINDS:
		return events;
	}
	events |= file_poll(h->file) & (POLLIN | POLLRDNORM);
	if (h->have && has_changed(h))
		events |= file_poll(h->file) & (POLLPRI | POLLERR);
	return events;
}

uint64_t handle_size(struct handle *h)
{
	const struct buf *written =
	    h->transaction ? transaction_text(h->transaction) : NULL;
	size_t len;

	if (h->scratch) {
		scratch_bytes(h->scratch, &len);
		return len;
	}
	if (written)
		return written->len;
	if (h->have || !h->object)
		return h->text.len;
	return file_size(h->session, h->file, h->object, h->inode);
}
