/* SPDX-License-Identifier: Apache-2.0
 *
 * A guest over SSH with a pinned host key: log in, keep the session, lend it
 * to disk and install drivers.  It knows neither the machine nor the cluster.
 *
 * The session's states (enum link), with their legal moves:
 *   OFF -> PROBING      connect: waits for the banner, for ever
 *   PROBING -> LOGGING  the banner came
 *   LOGGING -> ON       logged in; -> PROBING: a passing fault, again;
 *                       -> OFF: refused (-EACCES)
 *   ON -> OFF           it broke
 *   any -> OFF          disconnect, cancel; one that was ON is retired: jobs
 *                       of other drivers still end on it
 */
#include <errno.h>
#include <stdio.h>

#include "drivers/drivers.h"
#include "drivers/guest_ssh.h"

#define LOGIN_TIMEOUT (60 * USEC_PER_SEC)
#define LOGIN_AGAIN   (250 * USEC_PER_MSEC)
#define TELL_EVERY    USEC_PER_SEC

void guest_log(struct guest *g, const char *text)
{
	if (g->env->log)
		g->env->log(g->env->owner, text, strlen(text));
}

/* --- the end of an operation ------------------------------------------- */

void guest_finish(struct guest *g, int code)
{
	if (op_end(&g->call, code))
		g->job = NULL;
}

static int fail(struct guest *g, int code, const struct err *err)
{
	if (err && err != &g->call.err)
		err_copy(&g->call.err, err);
	guest_finish(g, code);
	return code;
}

void guest_begin(struct guest *g, struct op *op, void (*cancel)(struct op *op))
{
	op_begin(&g->call, op, cancel, g);
	g->given_up = false;
}

/* The job's done comes with -ECANCELED and ends the operation. */
void guest_cancel_job(struct op *op)
{
	struct guest *g = op->driver_data;
	if (g->job) {
		ssh_job_cancel(g->job);
		return;
	}
	if (op_say_cancelled(&g->call))
		guest_finish(g, -ECANCELED);
}

int guest_need_session(struct guest *g, struct err *err)
{
	if (g->link == ON)
		return 0;
	return err_set(err, -EAGAIN, "no SSH session to this guest");
}

/* --- connect ----------------------------------------------------------- */

static void probe(struct guest *g);

/* A job of another driver may run on it: that ends with the session, which
 * breaks when its machine goes. */
static void retire(struct guest *g)
{
	g->retired =
	    xrealloc(g->retired, (g->n_retired + 1) * sizeof(*g->retired));
	g->retired[g->n_retired++] = TAKE_PTR(g->ssh);
}

static void drop(struct guest *g)
{
	ssh_probe_free(TAKE_PTR(g->probe));
	if (g->link == ON)
		retire(g);
	ssh_free(TAKE_PTR(g->ssh));
	loop_timer_set(g->timer, USEC_NEVER);
	g->job = NULL;
	g->link = OFF;
	g->right = false;
	g->wrong[0] = 0;
}

static void cancel_connect(struct op *op)
{
	struct guest *g = op->driver_data;
	drop(g);
	if (op_say_cancelled(&g->call))
		guest_finish(g, -ECANCELED);
}

/* Its jobs have all ended by now. */
static void on_closed(struct ssh *s, const struct err *err, void *userdata)
{
	struct guest *g = userdata;
	if (s != g->ssh) {
		size_t i = 0;
		while (i < g->n_retired && g->retired[i] != s)
			i++;
		if (i < g->n_retired)
			g->retired[i] = g->retired[--g->n_retired];
		ssh_free(s);
		return;
	}
	_cleanup_free_ char *text =
	    xasprintf("ssh: the session broke: %s\n", err_text(err));
	guest_log(g, text);
	g->link = OFF;
	g->right = false;
	ssh_free(TAKE_PTR(g->ssh));
	g->env->changed(g->env->owner);
}

static void on_connected(
    struct ssh *s, int code, const struct err *err, void *userdata)
{
	struct guest *g = userdata;
	if (code == 0) {
		_cleanup_free_ char *text =
		    xasprintf("ssh: logged in as %s at %s:%u\n", g->user,
			g->host, g->port);
		guest_log(g, text);
		g->link = ON;
		guest_finish(g, 0);
		return;
	}
	/* Another try would see the same keys. */
	if (code == -EACCES || code == -ECANCELED || code == -ENOENT ||
	    code == -EINVAL) {
		ssh_free(TAKE_PTR(g->ssh));
		g->link = OFF;
		fail(g, code, err);
		return;
	}
	snprintf(g->refusal, sizeof(g->refusal), "%.190s", err_text(err));
	g->logins++;
	ssh_free(TAKE_PTR(g->ssh));
	g->link = PROBING;
	loop_timer_set(g->timer, now_mono() + LOGIN_AGAIN);
}

static void on_banner(void *userdata)
{
	struct guest *g = userdata;
	struct err err = ERR_INIT;
	const struct ssh_target t = {.host = g->host,
	    .port = g->port,
	    .user = g->user,
	    .key_file = g->key_file,
	    .host_key = g->host_key,
	    .timeout = LOGIN_TIMEOUT};
	ssh_probe_free(TAKE_PTR(g->probe));
	loop_timer_set(g->timer, USEC_NEVER);
	op_progress(g->call.op, -1, "logging in as %s", g->user);
	g->link = LOGGING;
	int r = ssh_new(
	    g->env->loop, &t, on_connected, on_closed, g, &g->ssh, &err);
	if (r < 0) {
		g->link = OFF;
		fail(g, r, &err);
	}
}

static void tell_probe(struct guest *g)
{
	const char *last = NULL;
	unsigned tries = ssh_probe_tries(g->probe, &last);
	struct buf b = {0};
	buf_printf(&b, "waiting for the SSH banner at %s:%u", g->host, g->port);
	if (tries && last && *last)
		buf_printf(&b, ", %s, %u tries", last, tries);
	if (g->logins)
		buf_printf(
		    &b, "; log-in failed %u times: %s", g->logins, g->refusal);
	op_progress(g->call.op, -1, "%s", buf_str(&b));
	buf_done(&b);
	loop_timer_set(g->timer, now_mono() + TELL_EVERY);
}

static void probe(struct guest *g)
{
	struct err err = ERR_INIT;
	g->link = PROBING;
	int r = ssh_probe_new(
	    g->env->loop, g->host, g->port, on_banner, g, &g->probe, &err);
	if (r < 0) {
		g->link = OFF;
		fail(g, r, &err);
		return;
	}
	tell_probe(g);
}

static void on_timer(void *userdata)
{
	struct guest *g = userdata;
	if (g->link != PROBING || !op_waits(&g->call))
		return;
	if (g->probe)
		tell_probe(g);
	else
		probe(g);
}

static void set_text(char **where, const char *text)
{
	char *copy = xstrdup(text ? text : "");
	free(*where);
	*where = copy;
}

static void text_digest(const char *text, char ret[SHA256_HEX])
{
	ret[0] = '\0';
	if (text[0])
		sha256_of(text, strlen(text), ret);
}

void guest_take_slice(struct guest *g, const struct guest_slice *s)
{
	set_text(&g->host, s->host);
	set_text(&g->user, s->user);
	set_text(&g->key_file, s->key_file);
	set_text(&g->host_key, s->host_key);
	set_text(&g->hostname, s->hostname);
	set_text(&g->hosts, s->hosts);
	set_text(&g->keys, s->keys);
	g->port = s->port;
	g->netboot = s->netboot;
	g->n_nics = MIN(s->n_nics, (size_t)NICS_MAX);
	for (size_t i = 0; i < g->n_nics; i++)
		g->nics[i] = s->nics[i];
	text_digest(g->hosts, g->hosts_digest);
	text_digest(g->keys, g->keys_digest);
}

static int guest_ssh_connect(
    void *self, const struct guest_slice *slice, struct op *op, struct err *err)
{
	struct guest *g = self;
	if (g->link == ON)
		return err_set(err, -EBUSY, "the SSH session is there already");
	drop(g);
	guest_take_slice(g, slice);
	g->boot_id[0] = 0;
	g->logins = 0;
	guest_begin(g, op, cancel_connect);
	probe(g);
	return 0;
}

static void guest_ssh_disconnect(void *self)
{
	struct guest *g = self;
	if (g->job) {
		g->given_up = true; /* its done ends the operation */
		ssh_job_cancel(g->job);
	} else if (op_waits(&g->call)) {
		err_set(&g->call.err, -EAGAIN, "the SSH session was given up");
		guest_finish(g, -EAGAIN);
	}
	drop(g);
}

/* --- the driver -------------------------------------------------------- */

static int guest_ssh_available(struct err *err)
{
	return 0; /* libssh is linked in */
}

static void guest_ssh_close(void *self);

static int guest_ssh_open(
    const struct driver_env *env, void **ret, struct err *err)
{
	struct guest *g = xcalloc(1, sizeof(*g));
	g->env = env;
	int r = loop_add_timer(env->loop, USEC_NEVER, on_timer, g, &g->timer);
	if (r == 0)
		r = op_slot_open(&g->call, env->loop);
	if (r < 0) {
		guest_ssh_close(g);
		return err_errno(err, r, "%s", env->name);
	}
	*ret = g;
	return 0;
}

static void guest_ssh_close(void *self)
{
	struct guest *g = self;
	if (!g)
		return;
	ssh_probe_free(g->probe);
	ssh_free(g->ssh);
	for (size_t i = 0; i < g->n_retired; i++)
		ssh_free(g->retired[i]);
	free(g->retired);
	loop_source_free(g->timer);
	op_slot_close(&g->call);
	guest_free_peers(g);
	free(g->host);
	free(g->user);
	free(g->key_file);
	free(g->host_key);
	free(g->hostname);
	free(g->hosts);
	free(g->keys);
	free(g);
}

static void guest_ssh_look(void *self, struct guest_look *ret)
{
	const struct guest *g = self;
	*ret = (struct guest_look){
	    .connected = g->link == ON, .right = g->link == ON && g->right};
	snprintf(ret->wrong, sizeof(ret->wrong), "%s", g->wrong);
	snprintf(ret->boot_id, sizeof(ret->boot_id), "%s", g->boot_id);
}

static struct ssh *guest_ssh_session(void *self)
{
	const struct guest *g = self;
	return g->link == ON ? g->ssh : NULL;
}

const struct guest_driver guest_ssh = {
    .name = "ssh",
    .help = "a guest over SSH, its host key pinned before first contact",
    .available = guest_ssh_available,
    .open = guest_ssh_open,
    .close = guest_ssh_close,
    .connect = guest_ssh_connect,
    .disconnect = guest_ssh_disconnect,
    .look = guest_ssh_look,
    .configure = guest_ssh_configure,
    .poweroff = guest_ssh_poweroff,
    .reach = guest_ssh_reach,
    .reached = guest_ssh_reached,
    .session = guest_ssh_session,
};
