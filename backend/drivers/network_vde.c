/* SPDX-License-Identifier: Apache-2.0
 *
 * A network is one vde_switch, run without root in the private folder of its
 * launch, adopted when the daemon comes back.  Its folder, record and lock are
 * host/launch.c's; its questions host/vde_mgmt.c's.  It knows no node.
 *
 * What an operation goes through (enum step), with its legal moves:
 *   IDLE -> CONNECTING        something lives or was started: does it answer?
 *   CONNECTING -> ASKING      its management socket takes us
 *   ASKING -> IDLE            it answered; or it is not as asked for:
 *   CONNECTING, ASKING -> STOPPING   so it must go
 *   IDLE -> STOPPING          remove
 *   STOPPING -> IDLE          it is gone (SIGKILL after STOP_PATIENCE), or
 *            -> CONNECTING    a new one was started in its place
 */
#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "drivers/drivers.h"
#include "host/launch.h"
#include "host/vde_mgmt.h"

#define SOCKET_DIR    "ctl"
#define MGMT_SOCKET   "mgmt"
#define STOP_PATIENCE (2 * USEC_PER_SEC)
#define OPEN_PATIENCE (5 * USEC_PER_SEC) /* from start to an answer */
#define RETRY         (10 * USEC_PER_MSEC)
#define KILL_PATIENCE (5 * USEC_PER_SEC) /* SIGKILL takes effect by then */
/* libvdeplug binds DIR/.<pid>-<number> and the switch DIR/<port>.<fd>, both cut
 * silently at sun_path's 108 bytes; cut names collide. */
#define ENDPOINT_MAX (107 - (int)sizeof("/.4194304-00000") + 1)
/* Room for nodes to come: a switch with too few ports must be replaced. */
#define PORTS_MIN    64
#define PORTS_TOP    16384
#define KEPT_FOLDERS 2 /* the newest says which number comes next */
/* vde_switch 2.3.2 cuts longer frames at 1518 bytes and says nothing; it has no
 * other notion of an MTU. */
#define MTU_TOP     1500
#define STDERR_TAIL 4096

enum step { IDLE, CONNECTING, ASKING, STOPPING };
/* What the operation is, and what follows a stop. */
enum goal { GOAL_OBSERVE, GOAL_ENSURE, GOAL_REMOVE, GOAL_PORTS };

struct vde {
	const struct driver_env *env;
	struct launch *launch; /* NULL: none lives */
	char *endpoint;        /* absolute path of the socket directory */
	bool answers;          /* seen by the last look */
	bool hub;
	unsigned ports;
	bool observed;
	char end_text[256];

	struct op *op;
	enum goal goal;
	enum step step;
	struct network_slice want;
	uint64_t deadline;
	bool killed;  /* SIGKILL was sent */
	int restarts; /* in this operation */
	struct vde_mgmt *ask;
	struct loop_source *timer, *end;
	int code;
	struct err err;

	struct network_port *table;
	size_t n_table;
};

static void connect_soon(struct vde *v);

static void log_text(struct vde *v, const char *text)
{
	if (v->env->log)
		v->env->log(v->env->owner, text, strlen(text));
}

/* --- the end of an operation ------------------------------------------- */

/* done must not fire from within a call, so every end takes this way. */
static void finish(struct vde *v, int code)
{
	v->step = IDLE;
	v->code = code;
	vde_mgmt_free(TAKE_PTR(v->ask));
	loop_timer_set(v->timer, USEC_NEVER);
	loop_kick(v->end);
}

static void on_end(void *userdata)
{
	struct vde *v = userdata;
	struct op *op = TAKE_PTR(v->op);
	if (op)
		op_done(op, v->code, &v->err);
}

/* A switch that was just started stays: the next observe finds it. */
static void on_cancel(struct op *op)
{
	struct vde *v = op->driver_data;
	err_set(&v->err, -ECANCELED, "cancelled");
	finish(v, -ECANCELED);
}

static int begin(struct vde *v, enum goal goal, struct op *op)
{
	v->op = op;
	v->goal = goal;
	v->err = ERR_INIT;
	v->restarts = 0;
	op->driver_data = v;
	op->cancel = on_cancel;
	return 0;
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

static void forget(struct vde *v)
{
	launch_free(TAKE_PTR(v->launch));
	free(TAKE_PTR(v->endpoint));
	v->answers = false;
}

static int start(struct vde *v);

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
	forget(v);
	enum step step = v->step;
	if (step == STOPPING)
		v->end_text[0] = 0; /* as we wanted */
	if (step == STOPPING && v->goal == GOAL_ENSURE) {
		v->restarts++;
		v->step = IDLE;
		int r = start(v);
		if (r < 0)
			finish(v, r);
	} else if (step == STOPPING) {
		launch_prune(v->env->runtime_dir, 1);
		finish(v, 0);
	} else if (step != IDLE && v->goal == GOAL_OBSERVE) {
		finish(v, 0); /* none is there: that is an answer */
	} else if (step != IDLE) {
		err_set(&v->err, -EIO, "vde_switch %s (launch %llu)",
		    v->end_text, (unsigned long long)number);
		finish(v, -EIO);
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

/* Starts a switch and goes on to CONNECTING. */
static int start(struct vde *v)
{
	/* The folder's number is not known yet: count the longest we reach in
	 * practice. */
	_cleanup_free_ char *longest =
	    xasprintf("%s/launch-99999/" SOCKET_DIR, v->env->runtime_dir);
	if (strlen(longest) > ENDPOINT_MAX)
		return err_set(&v->err, -ENAMETOOLONG,
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
	op_progress(v->op, -1, "starting vde_switch");
	int r = launch_start(
	    v->env->loop, v->env->runtime_dir, &o, NULL, NULL, &x, &v->err);
	if (r < 0)
		return r;
	r = take_launch(v, x, &v->err);
	if (r < 0) {
		launch_signal(v->launch, SIGKILL);
		forget(v);
		return err_errno(&v->err, r, "watch of vde_switch");
	}
	log_start(v, argv);
	launch_prune(v->env->runtime_dir, KEPT_FOLDERS);
	v->end_text[0] = 0;
	v->deadline = now_mono() + OPEN_PATIENCE;
	connect_soon(v);
	return 0;
}

/* --- stop -------------------------------------------------------------- */

static void stop(struct vde *v, const char *why)
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

static void stop_harder(struct vde *v)
{
	if (v->killed) {
		err_set(&v->err, -ETIMEDOUT,
		    "vde_switch (pid %d) did not end by SIGKILL within %d s",
		    launch_pid(v->launch), (int)(KILL_PATIENCE / USEC_PER_SEC));
		finish(v, -ETIMEDOUT);
		return;
	}
	v->killed = true;
	launch_signal(v->launch, SIGKILL);
	loop_timer_set(v->timer, now_mono() + KILL_PATIENCE);
}

/* --- does it answer? --------------------------------------------------- */

static int mac_order(const void *a, const void *b)
{
	const struct vde_mac *x = a, *y = b;
	if (x->port != y->port)
		return x->port < y->port ? -1 : 1;
	return x->age < y->age ? -1 : x->age > y->age;
}

/* The youngest address that the switch has learnt on that port. */
static void name_mac(
    struct network_port *p, const struct vde_mac *macs, size_t n_macs)
{
	size_t lo = 0, hi = n_macs;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (macs[mid].port < p->port)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo < n_macs && macs[lo].port == p->port)
		format_mac(macs[lo].mac, p->mac);
}

static void take_table(struct vde *v, const char *ports, const char *macs)
{
	_cleanup_free_ struct vde_port *p = NULL;
	_cleanup_free_ struct vde_mac *m = NULL;
	size_t n = vde_ports_parse(ports, &p);
	size_t n_macs = vde_macs_parse(macs, &m);
	if (n_macs)
		qsort(m, n_macs, sizeof(*m), mac_order);
	free(v->table);
	v->table = xcalloc(n ? n : 1, sizeof(*v->table));
	v->n_table = 0;
	for (size_t i = 0; i < n; i++) {
		if (!p[i].plugged)
			continue;
		struct network_port *t = &v->table[v->n_table++];
		*t = (struct network_port){.port = p[i].number,
		    .pid = p[i].pid,
		    .frames_in = p[i].packets_in,
		    .bytes_in = p[i].bytes_in,
		    .frames_out = p[i].packets_out,
		    .bytes_out = p[i].bytes_out};
		name_mac(t, m, n_macs);
	}
}

/* It runs and answers; is it what ensure asked for? */
static void check_fit(struct vde *v)
{
	char why[96] = "";
	if (v->goal == GOAL_ENSURE && v->ports < v->want.ports)
		snprintf(why, sizeof(why), "it has %u ports, %u are needed",
		    v->ports, v->want.ports);
	else if (v->goal == GOAL_ENSURE && v->hub != v->want.hub)
		snprintf(why, sizeof(why), "it is a %s, a %s is asked for",
		    v->hub ? "hub" : "switch", v->want.hub ? "hub" : "switch");
	if (!why[0]) {
		finish(v, 0);
	} else if (v->restarts) {
		err_set(
		    &v->err, -EIO, "vde_switch was started anew and %s", why);
		finish(v, -EIO);
	} else {
		stop(v, why);
	}
}

/* A switch that doesn't answer is no network: ensure puts another in its
 * place, observe says so. */
static void no_answer(struct vde *v, int code, const struct err *err)
{
	v->answers = false;
	snprintf(v->end_text, sizeof(v->end_text), "%.250s", err_text(err));
	if (v->goal == GOAL_OBSERVE) {
		finish(v, 0);
	} else if (v->goal == GOAL_ENSURE && !v->restarts) {
		stop(v, v->end_text);
	} else {
		err_copy(&v->err, err);
		finish(v, code);
		v->env->changed(v->env->owner);
	}
}

static void on_answer(
    int code, const struct buf *answers, const struct err *err, void *userdata)
{
	struct vde *v = userdata;
	struct err local = ERR_INIT;
	err_copy(&local, err);
	if (code == 0 && v->goal == GOAL_PORTS) {
		take_table(v, buf_str(&answers[0]), buf_str(&answers[1]));
		finish(v, 0);
		return;
	}
	if (code == 0 &&
	    !vde_info_parse(buf_str(&answers[0]), &v->ports, &v->hub))
		code = err_set(&local, -EPROTO,
		    "the switch doesn't say how many ports it has");
	vde_mgmt_free(TAKE_PTR(v->ask));
	if (code < 0) {
		no_answer(v, code, &local);
		return;
	}
	v->answers = true;
	v->end_text[0] = 0;
	check_fit(v);
}

static void connect_now(struct vde *v)
{
	static const char *const info[] = {"port/showinfo"};
	static const char *const table[] = {"port/print", "hash/print"};
	struct err err = ERR_INIT;
	int fd = launch_connect(v->launch, MGMT_SOCKET);
	if (fd < 0 && now_mono() < v->deadline) {
		loop_timer_set(v->timer, now_mono() + RETRY);
		return;
	}
	int r = fd;
	if (fd < 0)
		err_errno(&err, fd,
		    "vde_switch (pid %d): management socket %s/%s",
		    launch_pid(v->launch), launch_path(v->launch), MGMT_SOCKET);
	else if (v->goal == GOAL_PORTS)
		r = vde_mgmt_ask(
		    v->env->loop, fd, table, 2, on_answer, v, &v->ask, &err);
	else
		r = vde_mgmt_ask(
		    v->env->loop, fd, info, 1, on_answer, v, &v->ask, &err);
	if (r < 0)
		no_answer(v, r, &err);
	else
		v->step = ASKING;
}

static void on_timer(void *userdata)
{
	struct vde *v = userdata;
	if (v->step == STOPPING)
		stop_harder(v);
	else if (v->step == CONNECTING)
		connect_now(v);
}

static void connect_soon(struct vde *v)
{
	v->step = CONNECTING;
	loop_timer_set(v->timer, now_mono());
}

/* --- the driver's calls ------------------------------------------------ */

static int vde_available(struct err *err)
{
	const char *path = getenv("PATH");
	_cleanup_free_ char *dirs =
	    xstrdup(path ? path : "/usr/local/bin:/usr/bin:/bin");
	for (char *p = dirs, *dir; (dir = strsep(&p, ":"));) {
		_cleanup_free_ char *file =
		    xasprintf("%s/vde_switch", *dir ? dir : ".");
		if (access(file, X_OK) == 0)
			return 0;
	}
	return err_set(err, -ENOENT,
	    "vde_switch is not installed; run: sudo apt-get install vde2");
}

static void vde_close(void *self);

static int vde_open(const struct driver_env *env, void **ret, struct err *err)
{
	struct vde *v = xcalloc(1, sizeof(*v));
	v->env = env;
	int r = loop_add_timer(env->loop, USEC_NEVER, on_timer, v, &v->timer);
	if (r == 0)
		r = loop_add_deferred(env->loop, on_end, v, &v->end);
	if (r < 0) {
		vde_close(v);
		return err_errno(err, r, "%s", env->name);
	}
	*ret = v;
	return 0;
}

static void vde_close(void *self)
{
	struct vde *v = self;
	if (!v)
		return;
	vde_mgmt_free(v->ask);
	forget(v);
	loop_source_free(v->timer);
	loop_source_free(v->end);
	free(v->table);
	free(v);
}

/* Takes over what lives from before. 1: something does. */
static int adopt(struct vde *v, struct err *err)
{
	if (v->launch)
		return 1;
	struct launch *x = NULL;
	int r = launch_adopt(v->env->loop, v->env->runtime_dir, &x, NULL, err);
	if (r <= 0)
		return r;
	r = take_launch(v, x, err);
	if (r < 0) {
		forget(v);
		return err_errno(err, r, "vde_switch: watch of its process");
	}
	return 1;
}

static int vde_observe(void *self, struct op *op, struct err *err)
{
	struct vde *v = self;
	int r = adopt(v, err);
	if (r < 0)
		return r;
	v->observed = true;
	begin(v, GOAL_OBSERVE, op);
	v->deadline = now_mono() + VDE_SILENCE;
	if (r == 0)
		finish(v, 0);
	else
		connect_soon(v);
	return 0;
}

static void vde_look(void *self, struct network_look *ret)
{
	const struct vde *v = self;
	*ret = (struct network_look){.state = NETWORK_NONE};
	snprintf(ret->end_text, sizeof(ret->end_text), "%s", v->end_text);
	if (!v->observed) {
		ret->state = NETWORK_UNKNOWN;
	} else if (v->launch && v->answers) {
		ret->state = NETWORK_RUNNING;
		ret->incarnation = launch_number(v->launch);
		ret->endpoint = v->endpoint;
		ret->pid = launch_pid(v->launch);
		ret->ports = v->ports;
	}
}

static int vde_ensure(void *self, const struct network_slice *slice,
    struct op *op, struct err *err)
{
	struct vde *v = self;
	if (slice->mtu > MTU_TOP)
		return err_set(err, -EINVAL,
		    "mtu: a vde_switch cuts frames for an MTU above %d, %u is "
		    "asked for: write at most %d",
		    MTU_TOP, slice->mtu, MTU_TOP);
	int r = adopt(v, err);
	if (r < 0)
		return r;
	v->observed = true;
	begin(v, GOAL_ENSURE, op);
	v->want = *slice;
	v->deadline = now_mono() + VDE_SILENCE;
	if (r > 0) {
		connect_soon(v);
		return 0;
	}
	r = start(v);
	if (r < 0) {
		v->op = NULL;
		v->step = IDLE;
		err_copy(err, &v->err);
	}
	return r;
}

static int vde_remove(void *self, struct op *op, struct err *err)
{
	struct vde *v = self;
	int r = adopt(v, err);
	if (r < 0)
		return r;
	v->observed = true;
	begin(v, GOAL_REMOVE, op);
	if (r > 0) {
		stop(v, "no node is on this network any more");
	} else {
		launch_prune(v->env->runtime_dir, 1);
		finish(v, 0);
	}
	return 0;
}

static int vde_query_ports(void *self, struct op *op, struct err *err)
{
	struct vde *v = self;
	if (!v->launch)
		return err_set(err, -ENOTCONN, "no vde_switch runs");
	begin(v, GOAL_PORTS, op);
	v->deadline = now_mono() + VDE_SILENCE;
	connect_soon(v);
	return 0;
}

static size_t vde_ports(void *self, const struct network_port **ret)
{
	const struct vde *v = self;
	*ret = v->table;
	return v->n_table;
}

const struct network_driver network_vde = {
    .name = "vde",
    .help = "an Ethernet switch of its own: a vde_switch, without root",
    .available = vde_available,
    .open = vde_open,
    .close = vde_close,
    .observe = vde_observe,
    .look = vde_look,
    .ensure = vde_ensure,
    .remove = vde_remove,
    .query_ports = vde_query_ports,
    .ports = vde_ports,
};
