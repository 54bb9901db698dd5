/* SPDX-License-Identifier: Apache-2.0
 *
 * Ports of this host that lead into the guest of a running machine.  QMP has no
 * command for them; the monitor for people has, and what it says is parsed.
 * What is there is asked of QEMU and never only remembered, so a daemon that
 * dies in between loses nothing.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>

#include "machine_qemu.h"

#define SECTION " (mgmt):" /* of `info usernet` */

/* The answer of the monitor for people, a JSON string. */
static void words(const char *result, struct buf *ret)
{
	json_t *text = json_loads(result, JSON_DECODE_ANY, NULL);
	const char *s = json_string_value(text);

	buf_puts(ret, s ? s : "");
	json_decref(text);
}

size_t qemu_forwards_parse(
    const char *text, struct forward_spec *ret, size_t max)
{
	bool ours = false;
	size_t n = 0;

	for (const char *line = text; *line && n < max;) {
		size_t len = strcspn(line, "\n");
		unsigned host, guest;

		if (strncmp(line, "Hub ", 4) == 0) {
			const char *at = strstr(line, SECTION);
			ours = at && at < line + len;
		} else if (ours &&
			   /* Protocol[State] FD Source Port Dest Port */
			   sscanf(line,
			       " TCP[HOST_FORWARD] %*d %*s %5u %*s %5u", &host,
			       &guest) == 2 &&
			   host <= UINT16_MAX && guest <= UINT16_MAX) {
			ret[n++] = (struct forward_spec){
			    .host = (uint16_t)host, .guest = (uint16_t)guest};
		}
		line += len;
		line += *line == '\n';
	}
	return n;
}

static void on_list(
    struct qemu *q, int code, const char *result, const struct err *err)
{
	_cleanup_buf_ struct buf text = {0};

	if (code < 0)
		return;
	words(result, &text);
	q->look.n_forwards = qemu_forwards_parse(
	    buf_str(&text), q->look.forwards, ARRAY_SIZE(q->look.forwards));
	q->look.forwards_known = true;
	qemu_changed(q);
}

void qemu_ask_forwards(struct qemu *q)
{
	qemu_ask_always(q, "human-monitor-command",
	    "{\"command-line\":\"info usernet\"}", on_list);
}

/* --- what differs -------------------------------------------------------- */

/* Number i of those that are wanted, that to SSH first; false: no more. */
static bool wanted(const struct qemu *q, size_t i, struct forward_spec *ret)
{
	const struct machine_slice *s = q->slice;

	if (s->ssh_port && i == 0)
		*ret = (struct forward_spec){s->ssh_port, SSH_GUEST_PORT};
	else if (i - (s->ssh_port != 0) < s->n_forwards)
		*ret = s->forwards[i - (s->ssh_port != 0)];
	else
		return false;
	return true;
}

static bool same(const struct forward_spec *a, const struct forward_spec *b)
{
	return a->host == b->host && a->guest == b->guest;
}

/* Index in look of one that is there and must go; SIZE_MAX: none. */
static size_t to_remove(const struct qemu *q)
{
	const struct machine_look *l = &q->look;

	for (size_t i = 0; l->forwards_known && i < l->n_forwards; i++) {
		struct forward_spec w;
		bool stays = false;

		for (size_t k = 0; !stays && wanted(q, k, &w); k++)
			stays = same(&l->forwards[i], &w);
		if (!stays)
			return i;
	}
	return SIZE_MAX;
}

static bool to_add(const struct qemu *q, struct forward_spec *ret)
{
	const struct machine_look *l = &q->look;

	for (size_t k = 0; l->forwards_known && wanted(q, k, ret); k++) {
		bool there = false;

		for (size_t i = 0; !there && i < l->n_forwards; i++)
			there = same(&l->forwards[i], ret);
		if (!there)
			return true;
	}
	return false;
}

bool qemu_forwards_differ(const struct qemu *q)
{
	struct forward_spec f;

	return to_remove(q) != SIZE_MAX || to_add(q, &f);
}

static void refuse(
    struct qemu *q, uint16_t port, int code, const char *why, size_t len)
{
	struct err err = ERR_INIT;
	_cleanup_buf_ struct buf shown = {0};

	buf_escaped(&shown, why, len);
	err_set(&err, code, "forwards.%u: %s", port, buf_str(&shown));
	qemu_finish(q, code, &err);
}

static void on_removed(
    struct qemu *q, int code, const char *result, const struct err *err)
{
	size_t i = to_remove(q);
	struct machine_look *l = &q->look;

	if (q->finished || i == SIZE_MAX)
		return;
	if (code < 0) {
		refuse(q, l->forwards[i].host, -EAGAIN, err_text(err),
		    strlen(err_text(err)));
		return;
	}
	/* "removed" or "not found": it is not there. */
	qemu_log(q, "forwards.%u: removed", l->forwards[i].host);
	l->forwards[i] = l->forwards[--l->n_forwards];
	qemu_changed(q);
	qemu_live_next(q);
}

static void on_added(
    struct qemu *q, int code, const char *result, const struct err *err)
{
	struct machine_look *l = &q->look;
	_cleanup_buf_ struct buf text = {0};
	struct forward_spec f;

	if (q->finished || !to_add(q, &f))
		return;
	words(code < 0 ? "\"\"" : result, &text);
	size_t len = strcspn(buf_str(&text), "\r\n");
	if (code < 0 || len > 0) { /* it says something when it can't */
		refuse(q, f.host, code < 0 ? -EAGAIN : -EIO,
		    code < 0 ? err_text(err) : buf_str(&text),
		    code < 0 ? strlen(err_text(err)) : len);
		return;
	}
	l->forwards[l->n_forwards++] = f;
	qemu_log(q, "forwards.%u: leads to port %u", f.host, f.guest);
	qemu_changed(q);
	qemu_live_next(q);
}

static int ask(struct qemu *q, const char *line,
    void (*fn)(
	struct qemu *q, int code, const char *result, const struct err *err))
{
	_cleanup_buf_ struct buf b = {0};

	buf_puts(&b, "{\"command-line\":");
	buf_json_string(&b, line);
	buf_putc(&b, '}');
	return qemu_ask(q, "human-monitor-command", buf_str(&b), fn);
}

int qemu_forward_next(struct qemu *q)
{
	size_t i = to_remove(q);
	struct err err = ERR_INIT;
	char line[96];

	if (i != SIZE_MAX) {
		snprintf(line, sizeof(line),
		    "hostfwd_remove mgmt tcp:127.0.0.1:%u",
		    q->look.forwards[i].host);
		return ask(q, line, on_removed);
	}
	struct forward_spec f;
	if (!to_add(q, &f))
		return 0;
	/* The sentence names who has the port; QEMU's doesn't. */
	int r = qemu_check_port(f.host,
	    f.host == q->slice->ssh_port ? "ssh.port" : "forwards", &err);
	if (r >= 0 && q->look.n_forwards == ARRAY_SIZE(q->look.forwards))
		r = err_set(&err, -E2BIG, "forwards: too many");
	if (r < 0) {
		qemu_finish(q, r, &err);
		return 0;
	}
	snprintf(line, sizeof(line), "hostfwd_add mgmt tcp:127.0.0.1:%u-:%u",
	    f.host, f.guest);
	return ask(q, line, on_added);
}
