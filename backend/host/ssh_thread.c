/* SPDX-License-Identifier: Apache-2.0
 *
 * The thread of one SSH session: connects, checks the pinned host key, logs
 * in with the one key it was given, then serves jobs until it is told to end
 * or the session breaks.  libssh never blocks here and reads no file: every
 * wait is a poll() of the socket and of an eventfd, with a deadline, in
 * ssh_thread_wait().  Started by ssh.c; never touches the loop.
 */
#include <errno.h>
#include <fcntl.h>
#include <libssh/server.h> /* ssh_send_keepalive() */
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/crypto.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/ssh_internal.h"

#define STACK_SIZE  MIB
#define ASK_AFTER   (10 * USEC_PER_SEC) /* of silence: keepalive */
#define DEAD_AFTER  (10 * USEC_PER_SEC) /* without an answer to that */
#define WAIT_AT_END (2 * USEC_PER_SEC)  /* of the process, for threads */

static void heard(struct ssh_thread *t)
{
	if (t->counter.in_bytes == t->heard_bytes)
		return;
	t->heard_bytes = t->counter.in_bytes;
	t->heard_at = now_mono();
}

/* A guest that hangs keeps its TCP connection when QEMU's user network
 * answers for it, so the server itself is asked. */
static int keep_alive(struct ssh_thread *t)
{
	uint64_t now = now_mono();

	if (t->asked_at > t->heard_at) {
		if (now < t->asked_at + DEAD_AFTER)
			return 0;
		return err_set(&t->err, -ECONNRESET, "%s: no answer for %llu s",
		    t->s->where, (now - t->heard_at) / USEC_PER_SEC);
	}
	if (now < t->heard_at + ASK_AFTER)
		return 0;
	t->asked_at = now;
	/* A call that follows an answered one only takes note of that. */
	ssh_send_keepalive(t->session);
	ssh_send_keepalive(t->session);
	return 0;
}

static uint64_t wake_at(const struct ssh_thread *t, uint64_t until)
{
	if (!t->event)
		return until;
	return MIN(until, t->asked_at > t->heard_at ? t->asked_at + DEAD_AFTER
						    : t->heard_at + ASK_AFTER);
}

static int poll_until(struct ssh_thread *t, uint64_t now, uint64_t until)
{
	struct pollfd p[] = {
	    {.fd = t->s->thread_fd, .events = POLLIN},
	    {.fd = t->session ? ssh_get_fd(t->session) : t->fd,
		.events = POLLIN},
	    {.fd = t->input_fd, .events = POLLIN},
	};
	struct timespec ts;
	uint64_t left = until - now, count;

	if (t->session && ssh_get_poll_flags(t->session) & SSH_WRITE_PENDING)
		p[1].events |= POLLOUT;
	if (t->connecting)
		p[1].events = POLLOUT;
	ts.tv_sec = (time_t)(left / USEC_PER_SEC);
	ts.tv_nsec = (long)(left % USEC_PER_SEC) * 1000;
	if (ppoll(p, ARRAY_SIZE(p), until == USEC_NEVER ? NULL : &ts, NULL) <
		0 &&
	    errno != EINTR)
		return -errno;
	if (p[0].revents)
		while (
		    read(p[0].fd, &count, sizeof(count)) < 0 && errno == EINTR)
			;
	return 0;
}

int ssh_thread_wait(
    struct ssh_thread *t, const struct ssh_job *job, uint64_t until)
{
	uint64_t now = now_mono();
	int rc = ssh_asked(t->s, job);

	if (rc)
		return rc;
	if (now >= until)
		return -ETIMEDOUT;
	until = wake_at(t, until);
	if (until > now) {
		rc = poll_until(t, now, until);
		if (rc)
			return err_errno(&t->err, rc, "%s", t->s->where);
	}
	/* Before that the callers' own calls read the socket. */
	if (!t->event)
		return 0;
	if (ssh_event_dopoll(t->event, 0) == SSH_ERROR)
		return err_set(&t->err, -ECONNRESET, "%s: %s", t->s->where,
		    ssh_get_error(t->session));
	heard(t);
	return keep_alive(t);
}

/* Of a wait that ended early while connecting. */
static int wait_failed(
    struct ssh_thread *t, int rc, const char *stage, struct err *err)
{
	if (rc == -ETIMEDOUT)
		return err_set(err, rc, "%s: %s took longer than %.3g s",
		    t->s->where, stage, (double)t->s->timeout / USEC_PER_SEC);
	if (t->err.code == rc)
		err_copy(err, &t->err);
	else
		err_errno(err, rc, "%s: %s", t->s->where, stage);
	return rc;
}

static int tcp_try(struct ssh_thread *t, const struct addrinfo *a,
    uint64_t until, struct err *err)
{
	socklen_t size = sizeof(int);
	int rc = 0, one = 1;

	util_closep(&t->fd);
	t->fd = socket(a->ai_family,
	    a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol);
	if (t->fd < 0)
		return err_errno(err, -errno, "%s", t->s->where);
	if (connect(t->fd, a->ai_addr, a->ai_addrlen) < 0) {
		rc = -errno;
		while (rc == -EINPROGRESS) {
			struct pollfd p = {.fd = t->fd, .events = POLLOUT};

			t->connecting = true;
			rc = ssh_thread_wait(t, NULL, until);
			t->connecting = false;
			if (rc)
				return wait_failed(t, rc, "connecting", err);
			rc = poll(&p, 1, 0) == 1 ? 0 : -EINPROGRESS;
		}
		if (!rc &&
		    getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &rc, &size) == 0)
			rc = -rc;
	}
	if (rc)
		return err_errno(err, rc, "%s", t->s->where);
	setsockopt(t->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return 0;
}

/* A name is looked up by the resolver, whose own time-outs hold. */
static int tcp_connect(struct ssh_thread *t, uint64_t until, struct err *err)
{
	const struct addrinfo hints = {
	    .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
	struct addrinfo *list = NULL;
	char port[8];
	int rc;

	snprintf(port, sizeof(port), "%u", (unsigned)t->s->port);
	rc = getaddrinfo(t->s->host, port, &hints, &list);
	if (rc)
		return err_set(err, -EHOSTUNREACH, "%s: %s", t->s->where,
		    gai_strerror(rc));
	for (struct addrinfo *a = list; a; a = a->ai_next) {
		rc = tcp_try(t, a, until, err);
		if (!rc || rc == -ESHUTDOWN || rc == -ETIMEDOUT)
			break;
	}
	freeaddrinfo(list);
	return rc;
}

/* The pinned kind first, so that a server that has it shows that one.  The
 * others too: a server that lacks it then shows what it has, and is refused
 * for that, instead of hanging up without a word. */
#define OTHER_KINDS                                                            \
	"ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,"                 \
	"ecdsa-sha2-nistp521,rsa-sha2-512,rsa-sha2-256"
static char *host_key_algorithms(ssh_key key)
{
	enum ssh_keytypes_e type = ssh_key_type(key);

	return xasprintf("%s," OTHER_KINDS, type == SSH_KEYTYPE_RSA
						? "rsa-sha2-512,rsa-sha2-256"
						: ssh_key_type_to_char(type));
}

static int set_options(struct ssh_thread *t, struct err *err)
{
	const struct ssh *s = t->s;
	_cleanup_free_ char *algorithms = host_key_algorithms(s->host_key);
	static const bool no = false;

	t->session = ssh_new();
	if (!t->session)
		abort();
	ssh_set_blocking(t->session, 0);
	/* No file of the user's has a say: config first, since other options
	 * may read it; known_hosts would reorder the algorithms. */
	if (ssh_options_set(t->session, SSH_OPTIONS_PROCESS_CONFIG, &no) ||
	    ssh_options_set(t->session, SSH_OPTIONS_KNOWNHOSTS, "/dev/null") ||
	    ssh_options_set(
		t->session, SSH_OPTIONS_GLOBAL_KNOWNHOSTS, "/dev/null") ||
	    ssh_options_set(t->session, SSH_OPTIONS_SSH_DIR, "/dev/null") ||
	    ssh_options_set(t->session, SSH_OPTIONS_HOST, s->host) ||
	    ssh_options_set(t->session, SSH_OPTIONS_USER, s->user) ||
	    ssh_options_set(t->session, SSH_OPTIONS_HOSTKEYS, algorithms) ||
	    ssh_options_set(t->session, SSH_OPTIONS_FD, &t->fd))
		return err_set(err, -EINVAL, "%s: %s", s->where,
		    ssh_get_error(t->session));
	ssh_set_counters(t->session, &t->counter, NULL);
	return 0;
}

static int exchange_keys(struct ssh_thread *t, uint64_t until, struct err *err)
{
	int fd = TAKE_FD(t->fd), rc; /* libssh closes it */
	const char *why;

	while ((rc = ssh_connect(t->session)) == SSH_AGAIN) {
		/* libssh has made it blocking once it saw it connected. */
		if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
			return err_errno(err, -errno, "%s", t->s->where);
		rc = ssh_thread_wait(t, NULL, until);
		if (rc)
			return wait_failed(t, rc, "the key exchange", err);
	}
	if (rc == SSH_OK)
		return 0;
	why = ssh_get_error(t->session);
	if (!*why)
		why = "the server broke the protocol";
	return err_set(
	    err, -ECONNRESET, "%s: key exchange: %s", t->s->where, why);
}

static int check_host_key(struct ssh_thread *t, struct err *err)
{
	_cleanup_(ssh_keyp) ssh_key key = NULL;
	_cleanup_free_ char *is = NULL, *pinned = NULL;

	if (ssh_get_server_publickey(t->session, &key) != SSH_OK)
		return err_set(
		    err, -EACCES, "%s: no host key was shown", t->s->where);
	if (ssh_key_cmp(key, t->s->host_key, SSH_KEY_CMP_PUBLIC) == 0)
		return 0;
	is = ssh_key_fingerprint(key);
	pinned = ssh_key_fingerprint(t->s->host_key);
	return err_set(err, -EACCES,
	    "%s: host key differs: the server has %s, pinned is %s; another "
	    "machine answers there, or its image has another host key",
	    t->s->where, is, pinned);
}

static int log_in(struct ssh_thread *t, uint64_t until, struct err *err)
{
	_cleanup_(ssh_keyp) ssh_key key = NULL;
	const struct ssh *s = t->s;
	int rc = ssh_key_load(s->key_file, &key, err);

	if (rc)
		return rc;
	while ((rc = ssh_userauth_publickey(t->session, NULL, key)) ==
	       SSH_AUTH_AGAIN) {
		rc = ssh_thread_wait(t, NULL, until);
		if (rc)
			return wait_failed(t, rc, "the log-in", err);
	}
	switch (rc) {
	case SSH_AUTH_SUCCESS:
		return 0;
	case SSH_AUTH_PARTIAL:
		return err_set(err, -EACCES,
		    "%s: user %s: the server wants more than a key", s->where,
		    s->user);
	case SSH_AUTH_DENIED:
		return err_set(err, -EACCES,
		    "%s: user %s: the server refused the key %s", s->where,
		    s->user, s->key_file);
	default:
		return err_set(err, -ECONNRESET, "%s: log-in: %s", s->where,
		    ssh_get_error(t->session));
	}
}

static int log_on(struct ssh_thread *t, struct err *err)
{
	uint64_t until = now_mono() + t->s->timeout;
	int rc = tcp_connect(t, until, err);

	if (!rc)
		rc = set_options(t, err);
	if (!rc)
		rc = exchange_keys(t, until, err);
	if (!rc)
		rc = check_host_key(t, err);
	if (!rc)
		rc = log_in(t, until, err);
	if (rc)
		return rc;
	t->heard_at = now_mono();
	t->event = ssh_event_new();
	if (!t->event)
		abort();
	if (ssh_event_add_session(t->event, t->session) != SSH_OK)
		return err_set(err, -ECONNRESET, "%s: the connection is lost",
		    t->s->where);
	return 0;
}

static void serve(struct ssh_thread *t)
{
	int rc = 0;

	while (!rc) {
		struct ssh_job *j = ssh_next_job(t->s);

		if (!j)
			rc = ssh_thread_wait(t, NULL, USEC_NEVER);
		else if (j->address)
			rc = ssh_dial_run(t, j);
		else
			rc = ssh_job_run(t, j);
	}
	if (rc != -ESHUTDOWN && !t->err.code)
		err_errno(&t->err, rc, "%s", t->s->where);
}

/* Threads that have not ended yet.  libssh and libcrypto take themselves down
 * when the process exits, so exit waits for those that use them. */
static atomic_uint threads;

static void wait_for_threads(void)
{
	uint64_t until = now_mono() + WAIT_AT_END;

	while (atomic_load(&threads) && now_mono() < until)
		usleep(1000);
}

static void register_wait(void)
{
	atexit(wait_for_threads);
}

static void *thread_main(void *userdata)
{
	struct ssh_thread t = {.s = userdata, .fd = -1, .input_fd = -1};
	struct err err = ERR_INIT;

	if (log_on(&t, &err)) {
		ssh_tell_broken(t.s, false, &err);
	} else {
		ssh_tell_connected(t.s);
		serve(&t);
		if (t.err.code)
			ssh_tell_broken(t.s, true, &t.err);
	}
	/* No ssh_disconnect(): it forgets a socket that it was given, open. */
	ssh_event_free(t.event);
	ssh_free(t.session);
	util_closep(&t.fd);
	ssh_unref(t.s);
	OPENSSL_thread_stop();
	atomic_fetch_sub(&threads, 1);
	return NULL;
}

int ssh_thread_start(struct ssh *s)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	sigset_t all, old;
	pthread_attr_t attr;
	pthread_t thread;
	int rc;

	pthread_once(&once, register_wait);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	/* Signals are for the loop's thread. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	s->refs++;
	atomic_fetch_add(&threads, 1);
	rc = pthread_create(&thread, &attr, thread_main, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (rc) {
		atomic_fetch_sub(&threads, 1);
		s->refs--;
	}
	return -rc;
}
