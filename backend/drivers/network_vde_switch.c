/* SPDX-License-Identifier: Apache-2.0
 *
 * The process of a vde_switch: start, adopt, stop, and what its end means for
 * the operation that is on.  Called by network_vde.c.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>

#include "drivers/network_vde.h"
#include "host/launch.h"

#define STOP_PATIENCE (2 * USEC_PER_SEC)
#define OPEN_PATIENCE (5 * USEC_PER_SEC) /* from start to an answer */
#define KILL_PATIENCE (5 * USEC_PER_SEC) /* SIGKILL takes effect by then */
/* libvdeplug binds DIR/.<pid>-<number> and the switch DIR/<port>.<fd>, both cut
 * silently at sun_path's 108 bytes; cut names collide. */
#define ENDPOINT_MAX (107 - (int)sizeof("/.4194304-00000") + 1)
/* Room for nodes to come: a switch with too few ports must be replaced. */
#define PORTS_MIN    64
#define PORTS_TOP    16384
#define KEPT_FOLDERS 2 /* the newest says which number comes next */
#define STDERR_TAIL  4096

static void log_text(struct vde *v, const char *text)
{
	if (v->env->log)
		v->env->log(v->env->owner, text, strlen(text));
}

/* --- start ------------------------------------------------------------- */

/* Half as many again as asked for, in powers of two. */
static unsigned capacity(unsigned ports)
{
	unsigned n = PORTS_MIN;
	while (n < PORTS_TOP && n < ports + ports / 2)
		n *= 2;
	return MAX(n, ports);
}

static void tell_end(struct vde *v, const char *how)
{
	_cleanup_buf_ struct buf tail = {0}, shown = {0};
	launch_stderr(v->launch, STDERR_TAIL, &tail);
	while (tail.len && tail.data[tail.len - 1] == '\n')
		tail.data[--tail.len] = 0;
	buf_escaped(&shown, buf_str(&tail), tail.len);
	const char *last = strrchr(buf_str(&shown), '\n');
	last = last ? last + 1 : buf_str(&shown);
	snprintf(v->end_text, sizeof(v->end_text), "%s%s%.180s", how,
	    *last ? ": " : "", last);
	_cleanup_free_ char *text = xasprintf("vde_switch (pid %d) %s\n%s%s",
	    launch_pid(v->launch), how, buf_str(&shown), shown.len ? "\n" : "");
	log_text(v, text);
}

void vde_forget(struct vde *v)
{
	launch_free(TAKE_PTR(v->launch));
	free(TAKE_PTR(v->endpoint));
	v->answers = false;
}

/* The switch has ended, by us or by somebody else. */
static void on_death(int code, int status, void *userdata)
{
	struct vde *v = userdata;
	char how[64] = "has ended";
	if (code == 0 && status >= 128)
		snprintf(
		    how, sizeof(how), "was ended by signal %d", status - 128);
	else if (code == 0)
		snprintf(how, sizeof(how), "ended with status %d", status);
	tell_end(v, how);
	uint64_t number = launch_number(v->launch);
	vde_forget(v);
	enum vde_step step = v->step;
	if (step == STOPPING)
		v->end_text[0] = 0; /* as we wanted */
	if (step == STOPPING && v->goal == GOAL_ENSURE) {
		v->restarts++;
		v->step = IDLE;
		int r = vde_start(v);
		if (r < 0)
			vde_finish(v, r);
	} else if (step == STOPPING) {
		launch_prune(v->env->runtime_dir, 1);
		vde_finish(v, 0);
	} else if (step != IDLE && v->goal == GOAL_OBSERVE) {
		vde_finish(v, 0); /* none is there: that is an answer */
	} else if (step != IDLE) {
		err_set(&v->call.err, -EIO, "vde_switch %s (launch %llu)",
		    v->end_text, (unsigned long long)number);
		vde_finish(v, -EIO);
	}
	v->env->changed(v->env->owner);
}

static int take_launch(struct vde *v, struct launch *x, struct err *err)
{
	v->launch = x;
	v->endpoint = xasprintf("%s/%s", launch_path(x), SOCKET_DIR);
	v->answers = false;
	return launch_watch(x, on_death, v);
}

static void log_start(struct vde *v, char *const *argv)
{
	_cleanup_free_ char *line = strv_quote(argv);
	_cleanup_free_ char *text =
	    xasprintf("$ %s\nvde_switch: launch %llu, pid %d, in %s\n", line,
		(unsigned long long)launch_number(v->launch),
		launch_pid(v->launch), launch_path(v->launch));
	log_text(v, text);
}

int vde_start(struct vde *v)
{
	/* The folder's number is not known yet: count the longest we reach in
	 * practice. */
	_cleanup_free_ char *longest =
	    xasprintf("%s/launch-99999/" SOCKET_DIR, v->env->runtime_dir);
	if (strlen(longest) > ENDPOINT_MAX)
		return err_set(&v->call.err, -ENAMETOOLONG,
		    "%s: at most %d bytes may name a VDE socket folder, this "
		    "has %zu: use a shorter --runtime-dir, or a shorter name "
		    "for the network",
		    longest, ENDPOINT_MAX, strlen(longest));
	_cleanup_strv_ char **argv =
	    strv_new("vde_switch", "-s", SOCKET_DIR, "-M", MGMT_SOCKET,
		"--mode", "0600", "--dirmode", "0700", "--mgmtmode", "0600",
		/* or it reads ~/.vderc */
		"-f", "/dev/null", NULL);
	strv_push(&argv, "-n");
	strv_pushf(&argv, "%u", capacity(v->want.ports));
	if (v->want.hub)
		strv_push(&argv, "-x");
	const struct launch_options o = {.argv = argv, .stdin_fifo = true};
	struct launch *x;
	op_progress(v->call.op, -1, "starting vde_switch");
	int r = launch_start(v->env->loop, v->env->runtime_dir, &o, NULL, NULL,
	    &x, &v->call.err);
	if (r < 0)
		return r;
	r = take_launch(v, x, &v->call.err);
	if (r < 0) {
		launch_signal(v->launch, SIGKILL);
		vde_forget(v);
		return err_errno(&v->call.err, r, "watch of vde_switch");
	}
	log_start(v, argv);
	launch_prune(v->env->runtime_dir, KEPT_FOLDERS);
	v->end_text[0] = 0;
	v->deadline = now_mono() + OPEN_PATIENCE;
	vde_connect_soon(v);
	return 0;
}

/* --- stop -------------------------------------------------------------- */

void vde_stop(struct vde *v, const char *why)
{
	_cleanup_free_ char *text = xasprintf(
	    "vde_switch (pid %d): stop: %s\n", launch_pid(v->launch), why);
	log_text(v, text);
	vde_mgmt_free(TAKE_PTR(v->ask));
	v->step = STOPPING;
	v->killed = false;
	launch_signal(v->launch, SIGTERM);
	/* A stopped process takes SIGTERM only when it goes on. */
	launch_signal(v->launch, SIGCONT);
	loop_timer_set(v->timer, now_mono() + STOP_PATIENCE);
}

void vde_stop_harder(struct vde *v)
{
	if (v->killed) {
		err_set(&v->call.err, -ETIMEDOUT,
		    "vde_switch (pid %d) did not end by SIGKILL within %d s",
		    launch_pid(v->launch), (int)(KILL_PATIENCE / USEC_PER_SEC));
		vde_finish(v, -ETIMEDOUT);
		return;
	}
	v->killed = true;
	launch_signal(v->launch, SIGKILL);
	loop_timer_set(v->timer, now_mono() + KILL_PATIENCE);
}

/* --- adopt --------------------------------------------------------------- */

int vde_adopt(struct vde *v, struct err *err)
{
	if (v->launch)
		return 1;
	struct launch *x = NULL;
	int r = launch_adopt(v->env->loop, v->env->runtime_dir, &x, NULL, err);
	if (r <= 0)
		return r;
	r = take_launch(v, x, err);
	if (r < 0) {
		vde_forget(v);
		return err_errno(err, r, "vde_switch: watch of its process");
	}
	return 1;
}
