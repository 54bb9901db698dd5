// SPDX-License-Identifier: Apache-2.0
/*
 * Requests that can't be answered yet: a read with nothing to read, a keyboard
 * that is full.  They are parked on their handle and tried again when notify.c
 * says that something has changed; a signal to the caller ends them.
 */
#include <errno.h>
#include <fcntl.h>
#include "fs/ops.h"
#include "fs/slots.h"

struct parked {
	struct handle *handle;
	fuse_req_t req;
	uint64_t unique;
	bool write;
	uint64_t off;
	size_t size;     /* of a read */
	struct buf data; /* of a write */
	size_t done;     /* of it */
	struct parked *next;
};

static void unlink_parked(struct parked *p)
{
	struct parked **i = &p->handle->parked;

	while (*i != p)
		i = &(*i)->next;
	*i = p->next;
}

/* Types; what is left is in p->data. */
static int type(struct parked *p)
{
	ssize_t n;

	if (!p->handle->object)
		return -ENODEV;
	while (p->done < p->data.len) {
		n = cluster_console_write(p->handle->object,
		    p->data.data + p->done, p->data.len - p->done);
		if (n == 0)
			n = -EAGAIN;
		if (n < 0)
			return (int)n;
		p->done += (size_t)n;
		p->handle->typed_by = p->unique;
		p->handle->typed = p->done;
		handle_keep(p->handle);
	}
	return 0;
}

static void end_parked(struct parked *p, int code)
{
	if (p->write && p->done > 0)
		fuse_reply_write(p->req, p->done);
	else
		fuse_reply_err(p->req, -code);
	buf_done(&p->data);
}

/* false: it must still wait. */
static bool try_parked(struct parked *p, bool may_wait)
{
	_cleanup_buf_ struct buf scratch = {0};
	const char *data = "";
	size_t len = 0;
	int r = p->write ? type(p)
			 : handle_read(p->handle, p->unique, p->off, p->size,
			       &scratch, &data, &len);

	if (r == -EAGAIN && may_wait)
		return false;
	if (r == 0 && !p->write)
		fuse_reply_buf(p->req, data, len);
	else
		end_parked(p, r);
	return true;
}

static void interrupted(fuse_req_t req, void *userdata)
{
	struct parked *p = userdata;

	unlink_parked(p);
	end_parked(p, -EINTR);
	free(p);
}

static void park(const struct parked *request)
{
	struct handle *h = request->handle;
	struct parked *p, **last = &h->parked;

	p = xmalloc(sizeof(*p));
	*p = *request;
	p->next = NULL;
	while (*last)
		last = &(*last)->next;
	*last = p;
	/* It must not call back from within: the request would be freed under
	 * its feet. */
	if (fuse_req_interrupted(p->req))
		interrupted(p->req, p);
	else
		fuse_req_interrupt_func(p->req, interrupted, p);
}

void ops_wake(struct handle *h)
{
	struct parked *p, **i = &h->parked;

	while ((p = *i)) {
		if (!try_parked(p, true)) {
			i = &p->next;
			continue;
		}
		*i = p->next;
		free(p);
	}
}

void ops_unpark(struct handle *h, int code)
{
	struct parked *p;

	while ((p = h->parked)) {
		h->parked = p->next;
		end_parked(p, code);
		free(p);
	}
}

void ops_serve(struct handle *h, fuse_req_t req, bool write, uint64_t off,
    const void *data, size_t size, const struct fuse_file_info *fi)
{
	struct parked p = {.handle = h,
	    .req = req,
	    .unique = slots_unique(h->session->slots),
	    .write = write,
	    .off = off,
	    .size = size};

	if (write) {
		buf_append(&p.data, data, size);
		/* Served again: an earlier daemon has typed some of it. */
		if (p.unique && h->typed_by == p.unique)
			p.done = MIN(h->typed, size);
	}
	if (!try_parked(&p, !(fi->flags & O_NONBLOCK)))
		park(&p);
}

/* --- poll --- */

void ops_poll_forget(struct handle *h)
{
	if (h->poll)
		fuse_pollhandle_destroy(h->poll);
	h->poll = NULL;
}

void ops_poll_wake(struct handle *h)
{
	if (h->poll)
		fuse_lowlevel_notify_poll(h->poll);
	ops_poll_forget(h);
}
