/* SPDX-License-Identifier: Apache-2.0
 *
 * Waits for an SSH server on the loop, without a thread and without libssh.
 * QEMU's user network accepts a connection before the guest listens, and such
 * a one may stay silent for ever: so another is tried soon.  A slow guest may
 * need longer for its banner than we wait before that, so the last few tries
 * stay open, and whichever is answered first counts.  Each that stays silent
 * makes the next ones more patient: every try is work for the guest.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/ssh.h"

#define BANNER_WAIT (500 * USEC_PER_MSEC) /* at first */
#define BANNER_LONG (10 * USEC_PER_SEC)   /* at most */
#define RETRY_WAIT  (100 * USEC_PER_MSEC)
#define TRIES_MAX   3   /* tries at once */
#define BANNER_MAX  512 /* bytes before which "SSH-" must begin a line */

struct
try {
	struct ssh_probe *probe;
	struct loop_source *source;
	int fd; /* -1: free */
	bool connected;
	size_t len;
	char text[BANNER_MAX + 1];
};

struct ssh_probe {
	struct loop *loop;
	struct loop_source *timer;
	void (*done)(void *userdata);
	void *userdata;
	struct sockaddr_storage address;
	socklen_t address_len;
	unsigned tries;
	uint64_t wait;  /* for the banner of the next try */
	char last[128]; /* how the last one ended */
	struct try open[TRIES_MAX];
};

static void try_close(struct try *t)
{
	loop_source_free(t->source);
	t->source = NULL;
	util_closep(&t->fd);
	t->fd = -1;
	t->connected = false;
	t->len = 0;
}

static void try_failed(struct try *t, const char *why)
{
	struct ssh_probe *p = t->probe;

	snprintf(p->last, sizeof(p->last), "%s", why);
	try_close(t);
	loop_timer_set(p->timer, now_mono() + RETRY_WAIT);
}

static void try_errno(struct try *t, int code)
{
	char text[100];

	try_failed(t, strerror_r(-code, text, sizeof(text)));
}

/* A server may say other lines first (RFC 4253, section 4.2). */
static bool has_banner(const char *text)
{
	for (const char *line = text; line; line = strchr(line, '\n')) {
		if (line != text)
			line++;
		if (strncmp(line, "SSH-", 4) == 0)
			return true;
	}
	return false;
}

static void try_read(struct try *t)
{
	struct ssh_probe *p = t->probe;
	ssize_t n = read(t->fd, t->text + t->len, BANNER_MAX - t->len);

	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			try_errno(t, -errno);
		return;
	}
	if (n == 0) {
		try_failed(t, "closed without an SSH banner");
		return;
	}
	/* A NUL would hide what follows. */
	for (ssize_t i = 0; i < n; i++)
		if (!t->text[t->len + (size_t)i])
			t->text[t->len + (size_t)i] = ' ';
	t->len += (size_t)n;
	t->text[t->len] = '\0';
	if (has_banner(t->text)) {
		for (size_t i = 0; i < TRIES_MAX; i++)
			try_close(&p->open[i]);
		loop_timer_set(p->timer, USEC_NEVER);
		p->done(p->userdata); /* may free p */
	} else if (t->len == BANNER_MAX) {
		try_failed(t, "what answers there is no SSH server");
	}
}

static void on_socket(int fd, uint32_t events, void *userdata)
{
	struct try *t = userdata;
	socklen_t size = sizeof(int);
	int code = 0;

	if (t->connected) {
		try_read(t);
		return;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size) < 0)
		code = errno;
	if (!code)
		code = -loop_io_events(t->source, EPOLLIN);
	if (code)
		try_errno(t, -code);
	else
		t->connected = true;
}

static int try_open(struct try *t)
{
	struct ssh_probe *p = t->probe;
	const struct sockaddr *address = (const struct sockaddr *)&p->address;

	t->fd = socket(p->address.ss_family,
	    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (t->fd < 0)
		return -errno;
	if (connect(t->fd, address, p->address_len) < 0 && errno != EINPROGRESS)
		return -errno;
	return loop_add_io(p->loop, t->fd, EPOLLOUT, on_socket, t, &t->source);
}

/* Time for another try, in the place of the oldest. */
static void on_timer(void *userdata)
{
	struct ssh_probe *p = userdata;
	struct try *t = &p->open[p->tries++ % TRIES_MAX];
	int rc;

	for (size_t i = 0; i < TRIES_MAX; i++)
		if (p->open[i].fd >= 0)
			snprintf(p->last, sizeof(p->last), "%s",
			    p->open[i].connected ? "accepted, but no SSH banner"
						 : "no connection");
	if (t->fd >= 0)
		p->wait = MIN(p->wait * 5 / 4, BANNER_LONG);
	try_close(t);
	loop_timer_set(p->timer, now_mono() + p->wait + RETRY_WAIT);
	rc = try_open(t);
	if (rc)
		try_errno(t, rc);
}

int ssh_probe_new(struct loop *l, const char *host, uint16_t port,
    void (*done)(void *userdata), void *userdata, struct ssh_probe **ret,
    struct err *err)
{
	/* The loop never waits for a resolver. */
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
	    .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
	struct addrinfo *list = NULL;
	struct ssh_probe *p;
	char service[8];
	int rc;

	if (STREQ(host, "localhost"))
		host = "127.0.0.1";
	snprintf(service, sizeof(service), "%u", (unsigned)port);
	rc = getaddrinfo(host, service, &hints, &list);
	if (rc)
		return err_set(err, -EINVAL, "%s is not an IP address: %s",
		    host, gai_strerror(rc));
	p = xcalloc(1, sizeof(*p));
	p->loop = l;
	p->wait = BANNER_WAIT;
	p->done = done;
	p->userdata = userdata;
	memcpy(&p->address, list->ai_addr, list->ai_addrlen);
	p->address_len = list->ai_addrlen;
	freeaddrinfo(list);
	snprintf(p->last, sizeof(p->last), "not tried yet");
	for (size_t i = 0; i < TRIES_MAX; i++) {
		p->open[i].probe = p;
		p->open[i].fd = -1;
	}
	rc = loop_add_timer(l, now_mono(), on_timer, p, &p->timer);
	if (rc) {
		free(p);
		return err_errno(err, rc, "SSH to %s", host);
	}
	*ret = p;
	return 0;
}

unsigned ssh_probe_tries(const struct ssh_probe *p, const char **ret_last)
{
	if (ret_last)
		*ret_last = p->last;
	return p->tries;
}

void ssh_probe_free(struct ssh_probe *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < TRIES_MAX; i++)
		try_close(&p->open[i]);
	loop_source_free(p->timer);
	free(p);
}
