/* SPDX-License-Identifier: Apache-2.0
 *
 * What is asked of a guest over its session: names and addresses, put right
 * where they differ, power off, and who reaches whom.  The text of the
 * questions and the parsers of the answers are in guest_parse.c.
 */
#include <errno.h>
#include <stdio.h>

#include "drivers/guest_parse.h"
#include "drivers/guest_ssh.h"
#include "host/guest_command.h"

#define ASK_TIMEOUT (60 * USEC_PER_SEC)
#define ROUNDS      3 /* looks at names and addresses, fixes in between */
#define FACTS_MAX   (64 * KIB)
#define REACH_ROUND (6 * USEC_PER_SEC) /* eight pings side by side */
#define REACH_LINE  512
#define PEERS_MAX   65536

/* --- commands ---------------------------------------------------------- */

/* What a job's end means for an operation: 0, or the code to end with. */
static int job_code(struct guest *g, int code, int status, const char *what,
    const char *errout, const struct err *err)
{
	g->job = NULL;
	if (g->given_up)
		return err_set(&g->call.err, -EAGAIN,
		    "%s: the SSH session was given up", what);
	return guest_command_code(
	    code, status, what, errout, err, &g->call.err);
}

static void log_result(struct guest *g, const char *what, int code, int status,
    const char *out, const char *errout, const struct err *err)
{
	_cleanup_buf_ struct buf b = {0};
	guest_command_text(&b, what, code, status, out, errout, err);
	guest_log(g, b.data);
}

static int run(struct guest *g, char *const *argv, const char *input,
    size_t max_output, bool lock, uint64_t timeout,
    void (*done)(int code, int status, const char *out, size_t out_len,
	const char *errout, const struct err *err, void *userdata))
{
	const struct ssh_run r = {.argv = argv,
	    .input = input,
	    .input_len = input ? strlen(input) : 0,
	    .max_output = max_output,
	    .timeout = timeout,
	    .lock = lock,
	    .done = done,
	    .userdata = g};
	return ssh_run(g->ssh, &r, &g->job, &g->call.err);
}

/* --- configure --------------------------------------------------------- */

static void look_at_guest(struct guest *g);

/* Passes a refused job on: a session that just broke is a passing fault. */
static void refused(struct guest *g, int r)
{
	if (r == -ENOTCONN)
		r = -EAGAIN;
	guest_finish(g, r);
}

static void write_next(struct guest *g);

static void on_written(int code, const struct err *err, void *userdata)
{
	struct guest *g = userdata;
	if (!op_waits(&g->call))
		return;
	int r = job_code(g, code, 0, "writing a file", "", err);
	_cleanup_free_ char *text = xasprintf("%s%s\n",
	    r < 0 ? "not written: " : "written", r < 0 ? g->call.err.text : "");
	guest_log(g, text);
	if (r < 0)
		guest_finish(g, r);
	else
		write_next(g);
}

static void write_file(
    struct guest *g, const char *path, const char *text, unsigned mode)
{
	_cleanup_free_ char *what =
	    xasprintf("write %s (%zu bytes)\n", path, strlen(text));
	guest_log(g, what);
	op_progress(g->call.op, 60, "writing %s", path);
	int r = ssh_write_file(g->ssh, path, text, strlen(text), mode,
	    "root:root", on_written, g, &g->job, &g->call.err);
	if (r < 0)
		refused(g, r);
}

static void write_next(struct guest *g)
{
	if (g->hosts_due) {
		g->hosts_due = false;
		write_file(g, "/etc/hosts", g->hosts, 0644);
	} else if (g->keys_due) {
		g->keys_due = false;
		write_file(g, "/root/.ssh/authorized_keys", g->keys, 0600);
	} else {
		look_at_guest(g);
	}
}

static void on_fixed(int code, int status, const char *out, size_t out_len,
    const char *errout, const struct err *err, void *userdata)
{
	struct guest *g = userdata;
	if (!op_waits(&g->call))
		return;
	log_result(g, "names and addresses", code, status, out, errout, err);
	int r = job_code(g, code, status, "names and addresses", errout, err);
	/* A guest that is on its way out, or configures itself at the same
	 * time, refuses what it would take a moment later. */
	if (r < 0)
		guest_finish(g, r == -EIO ? -EAGAIN : r);
	else
		write_next(g);
}

static void put_right(struct guest *g, struct guest_fix *fix)
{
	g->hosts_due = fix->hosts;
	g->keys_due = fix->keys;
	if (!fix->script.len) {
		write_next(g);
		return;
	}
	guest_log(g, fix->script.data);
	char *argv[] = {"sh", "-c", fix->script.data, NULL};
	op_progress(g->call.op, 40, "%.200s", buf_str(&fix->wrong));
	int r = run(g, argv, NULL, 0, true, ASK_TIMEOUT, on_fixed);
	if (r < 0)
		refused(g, r);
}

static void judge(struct guest *g, const struct guest_facts *facts)
{
	const struct guest_slice s = {
	    .hostname = g->hostname, .nics = g->nics, .n_nics = g->n_nics};
	_cleanup_(guest_fix_done) struct guest_fix fix = {0};
	guest_compare(&s, facts, g->hosts_digest, g->keys_digest, &fix);
	snprintf(g->boot_id, sizeof(g->boot_id), "%s", facts->boot_id);
	snprintf(g->wrong, sizeof(g->wrong), "%.250s", buf_str(&fix.wrong));
	g->right = fix.wrong.len == 0;
	if (g->right) {
		guest_finish(g, 0);
	} else if (fix.missing) {
		err_set(&g->call.err, -ENODEV, "%s", g->wrong);
		guest_finish(g, -ENODEV);
	} else if (++g->round > ROUNDS) {
		err_set(&g->call.err, -EIO,
		    "was put right %d times, and still: %s", ROUNDS, g->wrong);
		guest_finish(g, -EIO);
	} else {
		put_right(g, &fix);
	}
}

static void on_facts(int code, int status, const char *out, size_t out_len,
    const char *errout, const struct err *err, void *userdata)
{
	struct guest *g = userdata;
	if (!op_waits(&g->call))
		return;
	int r = job_code(
	    g, code, status, "looking at names and addresses", errout, err);
	struct guest_facts facts;
	guest_facts_parse(out, &facts);
	if (r == 0 && !facts.whole)
		r = err_set(&g->call.err, -EIO,
		    "the guest's answer about names and addresses is not "
		    "whole");
	if (r < 0) {
		log_result(
		    g, "names and addresses", code, status, out, errout, err);
		guest_finish(g, r);
		return;
	}
	judge(g, &facts);
}

static void look_at_guest(struct guest *g)
{
	_cleanup_strv_ char **argv =
	    strv_new("sh", "-c", guest_facts_script, "sh", NULL);
	for (size_t i = 0; i < g->n_nics; i++) {
		char mac[18];
		format_mac(g->nics[i].mac, mac);
		strv_push(&argv, mac);
	}
	op_progress(g->call.op, -1, "looking at names and addresses");
	int r = run(g, argv, NULL, FACTS_MAX, false, ASK_TIMEOUT, on_facts);
	if (r < 0)
		refused(g, r);
}

int guest_ssh_configure(
    void *self, const struct guest_slice *slice, struct op *op, struct err *err)
{
	struct guest *g = self;
	int r = guest_need_session(g, err);
	if (r < 0)
		return r;
	guest_take_slice(g, slice);
	guest_begin(g, op, guest_cancel_job);
	g->round = 0;
	if (slice->netboot) {
		look_at_guest(g);
	} else {
		g->right = true;
		g->wrong[0] = 0;
		guest_finish(g, 0);
	}
	return 0;
}

/* --- power off --------------------------------------------------------- */

/* In the background, so that the answer comes before the network goes. */
static const char poweroff_netboot[] =
    "setsid sh -c 'sleep 0.2; sync; umount -a -r; poweroff -f' "
    "</dev/null >/dev/null 2>&1 &";
/* A guest whose init does not know poweroff's signal is forced after 10 s. */
static const char poweroff_other[] =
    "setsid sh -c 'sleep 0.2\n"
    "if [ -d /run/systemd/system ]; then systemctl poweroff\n"
    "else sync; poweroff; sleep 10; sync; poweroff -f; fi' "
    "</dev/null >/dev/null 2>&1 &";

static void on_poweroff(int code, int status, const char *out, size_t out_len,
    const char *errout, const struct err *err, void *userdata)
{
	struct guest *g = userdata;
	if (!op_waits(&g->call))
		return;
	log_result(g, "poweroff", code, status, out, errout, err);
	guest_finish(g, job_code(g, code, status, "poweroff", errout, err));
}

int guest_ssh_poweroff(void *self, struct op *op, struct err *err)
{
	struct guest *g = self;
	int r = guest_need_session(g, err);
	if (r < 0)
		return r;
	const char *script = g->netboot ? poweroff_netboot : poweroff_other;
	char *argv[] = {"sh", "-c", (char *)script, NULL};
	guest_begin(g, op, guest_cancel_job);
	r = run(g, argv, NULL, 0, false, ASK_TIMEOUT, on_poweroff);
	if (r < 0) {
		g->call.op = NULL;
		err_copy(err, &g->call.err);
	}
	return r;
}

/* --- reach ------------------------------------------------------------- */

void guest_free_peers(struct guest *g)
{
	strv_free(TAKE_PTR(g->peer_names));
	free(TAKE_PTR(g->peers));
	free(TAKE_PTR(g->reached));
	g->n_peers = 0;
}

static void on_reach(int code, int status, const char *out, size_t out_len,
    const char *errout, const struct err *err, void *userdata)
{
	struct guest *g = userdata;
	if (!op_waits(&g->call))
		return;
	guest_reach_parse(out, g->peers, g->n_peers, g->reached);
	int r = job_code(g, code, status, "ping", errout, err);
	if (r < 0)
		log_result(g, "ping", code, status, out, errout, err);
	guest_finish(g, r);
}

int guest_ssh_reach(void *self, const struct guest_peer *peers, size_t n,
    struct op *op, struct err *err)
{
	struct guest *g = self;
	int r = guest_need_session(g, err);
	if (r < 0)
		return r;
	if (n > PEERS_MAX)
		return err_set(
		    err, -E2BIG, "reach: %zu peers, at most %d", n, PEERS_MAX);
	_cleanup_buf_ struct buf input = {0};
	guest_free_peers(g);
	g->peers = xcalloc(n ? n : 1, sizeof(*g->peers));
	g->reached = xcalloc(n ? n : 1, sizeof(*g->reached));
	g->n_peers = n;
	for (size_t i = 0; i < n; i++) {
		char ip[16];
		format_ip(peers[i].address, ip);
		buf_printf(&input, "%s\n", ip);
		strv_push(&g->peer_names, peers[i].name);
		g->peers[i] = (struct guest_peer){
		    .name = g->peer_names[i], .address = peers[i].address};
	}
	guest_reach_parse("", g->peers, n, g->reached);
	guest_begin(g, op, guest_cancel_job);
	if (n == 0) {
		guest_finish(g, 0);
		return 0;
	}
	char *argv[] = {"sh", "-c", (char *)guest_reach_script, NULL};
	r = run(g, argv, input.data, n * REACH_LINE, false,
	    ASK_TIMEOUT + n / 8 * REACH_ROUND, on_reach);
	if (r < 0) {
		g->call.op = NULL;
		err_copy(err, &g->call.err);
	}
	return r;
}

size_t guest_ssh_reached(void *self, const struct guest_reach **ret)
{
	const struct guest *g = self;
	*ret = g->reached;
	return g->n_peers;
}
