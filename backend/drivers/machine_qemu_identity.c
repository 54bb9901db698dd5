/* SPDX-License-Identifier: Apache-2.0
 *
 * The host's end of a guest's second serial port (identity.h).  The guest
 * asks on its console, again and again until it has what it needs; so there
 * is no state of "sent": asked again, it is sent again.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/newc.h"
#include "machine_qemu.h"

#define SEND_EVERY USEC_PER_SEC
/* A guest that reads nothing for so long is given it anew all the same. */
#define SEND_STUCK (30 * USEC_PER_SEC)

struct qemu_identity {
	struct loop *loop;
	int fd;
	struct loop_source *io;
	struct buf out;
	size_t out_sent;
	uint64_t sent_at; /* 0: never */
	void (*closed)(void *userdata);
	void *userdata;
};

static void identity_write(struct qemu_identity *i)
{
	while (i->out_sent < i->out.len) {
		ssize_t n = send(i->fd, i->out.data + i->out_sent,
		    i->out.len - i->out_sent, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		i->out_sent += (size_t)n;
	}
	if (i->out_sent == i->out.len) {
		buf_clear(&i->out);
		i->out_sent = 0;
	}
	loop_io_events(i->io,
	    EPOLLIN | (i->out_sent < i->out.len ? (uint32_t)EPOLLOUT : 0));
}

static void on_io(int fd, uint32_t events, void *userdata)
{
	struct qemu_identity *i = userdata;
	char data[4096];

	if (events & EPOLLOUT)
		identity_write(i);
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	/* The guest may say something there; it is not listened to. */
	ssize_t n = read(fd, data, sizeof(data));
	if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return;
	i->closed(i->userdata);
}

int qemu_identity_new(struct loop *l, int fd, void (*closed)(void *userdata),
    void *userdata, struct qemu_identity **ret)
{
	struct qemu_identity *i = xcalloc(1, sizeof(*i));

	i->loop = l;
	i->fd = fd;
	i->closed = closed;
	i->userdata = userdata;
	int r = loop_add_io(l, fd, EPOLLIN, on_io, i, &i->io);
	if (r < 0) {
		qemu_identity_free(i);
		return r;
	}
	*ret = i;
	return 0;
}

void qemu_identity_free(struct qemu_identity *i)
{
	if (!i)
		return;
	loop_source_free(i->io);
	util_closep(&i->fd);
	buf_done(&i->out);
	free(i);
}

int qemu_identity_send(struct qemu_identity *i,
    int (*identity)(void *owner, struct buf *ret, struct err *err), void *owner,
    struct err *err)
{
	_cleanup_buf_ struct buf archive = {0};
	uint64_t now = loop_now(i->loop);
	int unread = 0;

	if (i->sent_at && now < i->sent_at + SEND_EVERY)
		return 0;
	/* What QEMU has not yet taken would be followed by a second frame,
	 * and then the guest is behind for ever. */
	if (i->out.len || (ioctl(i->fd, SIOCOUTQ, &unread) == 0 && unread > 0))
		if (now < i->sent_at + SEND_STUCK)
			return 0;
	i->sent_at = now;
	int r = identity(owner, &archive, err);
	if (r < 0)
		return r;
	buf_clear(&i->out);
	i->out_sent = 0;
	newc_frame(&archive, &i->out);
	identity_write(i);
	return 1;
}
