/* SPDX-License-Identifier: Apache-2.0
 *
 * Asks a vde_switch over its management socket, on the loop.  The network_vde
 * driver calls it: to see that a switch answers, and for the table of ports.
 * What comes back may be cut anywhere or be something else: an answer is taken
 * only when its prompt is there, and only lines of the known shape count.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/vde_mgmt.h"

#define PROMPT "vde$ "

struct vde_mgmt {
	struct loop *loop;
	int fd;
	struct loop_source *io, *silence, *end;
	char *commands[VDE_COMMANDS_MAX];
	struct buf answers[VDE_COMMANDS_MAX];
	size_t n_commands;
	ssize_t at; /* -1: waiting for the first prompt */
	struct buf in;
	int code;
	struct err err;
	void (*done)(int code, const struct buf *answers, const struct err *err,
	    void *userdata);
	void *userdata;
};

/* --- parsers ------------------------------------------------------------- */

/* Does text end with a prompt at the start of a line? */
static bool ends_with_prompt(const char *text, size_t len)
{
	size_t n = strlen(PROMPT);
	if (len < n || memcmp(text + len - n, PROMPT, n) != 0)
		return false;
	return len == n || text[len - n - 1] == '\n';
}

/* The line at *p without its newline; moves *p on.  False: no whole line. */
static bool next_line(
    const char **p, const char *end, const char **ret, size_t *ret_len)
{
	const char *nl = *p < end ? memchr(*p, '\n', (size_t)(end - *p)) : NULL;
	if (!nl)
		return false;
	*ret = *p;
	*ret_len = (size_t)(nl - *p);
	*p = nl + 1;
	return true;
}

static int result_code(const char *line, size_t len)
{
	if (len < 5 || line[4] != ' ')
		return -1;
	int code = 0;
	for (int i = 0; i < 4; i++) {
		if (line[i] < '0' || line[i] > '9')
			return -1;
		code = code * 10 + (line[i] - '0');
	}
	return code;
}

int vde_answer(const char *text, size_t len, const char **ret_body,
    size_t *ret_len, struct err *err)
{
	const char *p = text, *end = text + len, *line, *body = "";
	size_t n, body_len = 0;
	if (len == 0)
		return 0;
	if (memchr(text, 0, len))
		return err_set(err, -EPROTO, "the switch sent a NUL byte");
	if (!next_line(&p, end, &line, &n))
		return 0;
	int code = result_code(line, n);
	if (code == 0) {
		body = p;
		do {
			if (!next_line(&p, end, &line, &n))
				return 0;
			body_len = (size_t)(line - body);
		} while (n != 1 || line[0] != '.');
		if (!next_line(&p, end, &line, &n))
			return 0;
		code = result_code(line, n);
	}
	if (code != 1000)
		return err_set(err, -EPROTO, "the switch answered \"%.*s\"",
		    (int)MIN(n, 120), line);
	if (!ends_with_prompt(p, (size_t)(end - p)))
		return 0;
	*ret_body = body;
	*ret_len = body_len;
	return 1;
}

/* The number after the last " pid=" of the line that begins at `line`: what
 * stands before it was chosen by the program that is plugged in. */
static int endpoint_pid(const char *line)
{
	const char *end = strchrnul(line, '\n'), *at = NULL;
	for (const char *p = line; (p = strstr(p, " pid=")) && p < end; p++)
		at = p;
	if (!at)
		return 0;
	long pid = strtol(at + strlen(" pid="), NULL, 10);
	return pid > 0 && pid <= INT32_MAX ? (int)pid : 0;
}

size_t vde_ports_parse(const char *body, struct vde_port **ret)
{
	struct vde_port *ports = NULL, *now = NULL;
	size_t n = 0, cap = 0;
	for (const char *p = body; *p; p = strchrnul(p, '\n'), p += *p != 0) {
		unsigned number;
		uint64_t packets, bytes;
		if (sscanf(p, "Port %5u untagged_vlan=", &number) == 1) {
			now = NULL;
			if (number >= VDE_PORTS_MAX || n >= VDE_PORTS_MAX)
				continue;
			if (n == cap) {
				cap = cap ? 2 * cap : 64;
				ports = xrealloc(ports, cap * sizeof(*ports));
			}
			now = &ports[n++];
			*now = (struct vde_port){.number = number};
		} else if (!now) {
			continue;
		} else if (sscanf(p, " IN: pkts %20" SCNu64 " bytes %20" SCNu64,
			       &packets, &bytes) == 2) {
			now->packets_in = packets;
			now->bytes_in = bytes;
		} else if (sscanf(p,
			       " OUT: pkts %20" SCNu64 " bytes %20" SCNu64,
			       &packets, &bytes) == 2) {
			now->packets_out = packets;
			now->bytes_out = bytes;
		} else if (strncmp(p, "  -- endpoint ID ", 17) == 0) {
			now->plugged = true;
			if (!now->pid)
				now->pid = endpoint_pid(p);
		}
	}
	*ret = ports;
	return n;
}

size_t vde_macs_parse(const char *body, struct vde_mac **ret)
{
	struct vde_mac *macs = NULL;
	size_t n = 0, cap = 0;
	for (const char *p = body; *p; p = strchrnul(p, '\n'), p += *p != 0) {
		struct vde_mac m;
		unsigned b[6];
		if (sscanf(p,
			" Hash: %*u Addr: %2x:%2x:%2x:%2x:%2x:%2x VLAN %5u to "
			"port: %5u age %10lu secs",
			&b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &m.vlan,
			&m.port, &m.age) != 9)
			continue;
		for (int i = 0; i < 6; i++)
			m.mac[i] = (uint8_t)b[i];
		if (n == cap) {
			if (n >= VDE_PORTS_MAX)
				break;
			cap = cap ? 2 * cap : 64;
			macs = xrealloc(macs, cap * sizeof(*macs));
		}
		macs[n++] = m;
	}
	*ret = macs;
	return n;
}

bool vde_info_parse(const char *body, unsigned *ret_ports, bool *ret_hub)
{
	const char *ports = strstr(body, "Numports=");
	unsigned n;
	if (!ports || sscanf(ports, "Numports=%6u", &n) != 1 || n == 0)
		return false;
	bool on = strstr(body, "HUB=true") != NULL;
	if (!on && !strstr(body, "HUB=false"))
		return false;
	*ret_ports = n;
	*ret_hub = on;
	return true;
}

/* --- a conversation ------------------------------------------------------ */

static void finish(struct vde_mgmt *m, int code)
{
	loop_source_free(TAKE_PTR(m->io));
	loop_source_free(TAKE_PTR(m->silence));
	util_closep(&m->fd);
	m->code = code;
	loop_kick(m->end);
}

static void on_end(void *userdata)
{
	struct vde_mgmt *m = userdata;
	m->done(m->code, m->answers, &m->err, m->userdata);
}

/* A command is a few bytes: the socket takes it whole or is broken. */
static void send_command(struct vde_mgmt *m)
{
	if (++m->at == (ssize_t)m->n_commands) {
		finish(m, 0);
		return;
	}
	buf_clear(&m->in);
	const char *c = m->commands[m->at];
	ssize_t n = send(m->fd, c, strlen(c), MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n != (ssize_t)strlen(c))
		finish(m, err_set(&m->err, -ECONNRESET,
			      "the switch takes no command on its management "
			      "socket"));
}

static void take_input(struct vde_mgmt *m)
{
	if (!ends_with_prompt(m->in.data, m->in.len))
		return;
	if (m->at < 0) {
		send_command(m);
		return;
	}
	const char *body = "";
	size_t len = 0;
	int r = vde_answer(m->in.data, m->in.len, &body, &len, &m->err);
	if (r < 0) {
		err_prefix(&m->err,
		    "%.*s: ", (int)strcspn(m->commands[m->at], "\n"),
		    m->commands[m->at]);
		finish(m, r);
	} else if (r > 0) {
		buf_append(&m->answers[m->at], body, len);
		send_command(m);
	}
}

static void on_input(int fd, uint32_t events, void *userdata)
{
	struct vde_mgmt *m = userdata;
	char piece[16384];
	ssize_t n = recv(fd, piece, sizeof(piece), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		finish(m, err_set(&m->err, -ECONNRESET,
			      "the switch closed its management socket"));
		return;
	}
	if (m->in.len + (size_t)n > VDE_ANSWER_MAX) {
		finish(m, err_set(&m->err, -EPROTO,
			      "the switch's answer is over %zu bytes",
			      VDE_ANSWER_MAX));
		return;
	}
	buf_append(&m->in, piece, (size_t)n);
	loop_timer_set(m->silence, now_mono() + VDE_SILENCE);
	take_input(m);
}

static void on_silence(void *userdata)
{
	struct vde_mgmt *m = userdata;
	finish(
	    m, err_set(&m->err, -ETIMEDOUT,
		   "the switch says nothing on its management socket for %d s",
		   (int)(VDE_SILENCE / USEC_PER_SEC)));
}

int vde_mgmt_ask(struct loop *l, int fd, const char *const *commands,
    size_t n_commands,
    void (*done)(int code, const struct buf *answers, const struct err *err,
	void *userdata),
    void *userdata, struct vde_mgmt **ret, struct err *err)
{
	struct vde_mgmt *m = xcalloc(1, sizeof(*m));
	m->loop = l;
	m->fd = fd;
	m->at = -1;
	m->n_commands = MIN(n_commands, VDE_COMMANDS_MAX);
	for (size_t i = 0; i < m->n_commands; i++)
		m->commands[i] = xasprintf("%s\n", commands[i]);
	m->done = done;
	m->userdata = userdata;
	int r = loop_add_io(l, fd, EPOLLIN, on_input, m, &m->io);
	if (r == 0)
		r = loop_add_timer(
		    l, now_mono() + VDE_SILENCE, on_silence, m, &m->silence);
	if (r == 0)
		r = loop_add_deferred(l, on_end, m, &m->end);
	if (r < 0) {
		vde_mgmt_free(m);
		return err_errno(err, r, "management socket");
	}
	*ret = m;
	return 0;
}

void vde_mgmt_free(struct vde_mgmt *m)
{
	if (!m)
		return;
	loop_source_free(m->io);
	loop_source_free(m->silence);
	loop_source_free(m->end);
	util_closep(&m->fd);
	for (size_t i = 0; i < VDE_COMMANDS_MAX; i++) {
		free(m->commands[i]);
		buf_done(&m->answers[i]);
	}
	buf_done(&m->in);
	free(m);
}
