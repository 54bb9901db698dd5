/* SPDX-License-Identifier: Apache-2.0
 *
 * A network is one vde_switch, run without root in the private folder of its
 * launch, adopted when the daemon comes back.  Its folder, record and lock are
 * host/launch.c's; its questions host/vde_mgmt.c's.  It knows no node.
 *
 * What an operation goes through (enum vde_step), with its legal moves:
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
#include <unistd.h>

#include "drivers/network_vde.h"
#include "host/launch.h"
#include "host/vde_mgmt.h"

#define RETRY (10 * USEC_PER_MSEC)
/* vde_switch 2.3.2 cuts longer frames at 1518 bytes and says nothing; it has no
 * other notion of an MTU. */
#define MTU_TOP 1500

/* --- the end of an operation ------------------------------------------- */

void vde_finish(struct vde *v, int code)
{
	v->step = IDLE;
	vde_mgmt_free(TAKE_PTR(v->ask));
	loop_timer_set(v->timer, USEC_NEVER);
	op_end(&v->call, code);
}

/* A switch that was just started stays: the next observe finds it. */
static void on_cancel(struct op *op)
{
	struct vde *v = op->driver_data;
	if (op_say_cancelled(&v->call))
		vde_finish(v, -ECANCELED);
}

static int begin(struct vde *v, enum vde_goal goal, struct op *op)
{
	op_begin(&v->call, op, on_cancel, v);
	v->goal = goal;
	v->restarts = 0;
	return 0;
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
		vde_finish(v, 0);
	} else if (v->restarts) {
		err_set(&v->call.err, -EIO,
		    "vde_switch was started anew and %s", why);
		vde_finish(v, -EIO);
	} else {
		vde_stop(v, why);
	}
}

/* A switch that doesn't answer is no network: ensure puts another in its
 * place, observe says so. */
static void no_answer(struct vde *v, int code, const struct err *err)
{
	v->answers = false;
	snprintf(v->end_text, sizeof(v->end_text), "%.250s", err_text(err));
	if (v->goal == GOAL_OBSERVE) {
		vde_finish(v, 0);
	} else if (v->goal == GOAL_ENSURE && !v->restarts) {
		vde_stop(v, v->end_text);
	} else {
		err_copy(&v->call.err, err);
		vde_finish(v, code);
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
		vde_finish(v, 0);
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
		vde_stop_harder(v);
	else if (v->step == CONNECTING)
		connect_now(v);
}

void vde_connect_soon(struct vde *v)
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
		r = op_slot_open(&v->call, env->loop);
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
	vde_forget(v);
	loop_source_free(v->timer);
	op_slot_close(&v->call);
	free(v->table);
	free(v);
}

static int vde_observe(void *self, struct op *op, struct err *err)
{
	struct vde *v = self;
	int r = vde_adopt(v, err);
	if (r < 0)
		return r;
	v->observed = true;
	begin(v, GOAL_OBSERVE, op);
	v->deadline = now_mono() + VDE_SILENCE;
	if (r == 0)
		vde_finish(v, 0);
	else
		vde_connect_soon(v);
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
	int r = vde_adopt(v, err);
	if (r < 0)
		return r;
	v->observed = true;
	begin(v, GOAL_ENSURE, op);
	v->want = *slice;
	v->deadline = now_mono() + VDE_SILENCE;
	if (r > 0) {
		vde_connect_soon(v);
		return 0;
	}
	r = vde_start(v);
	if (r < 0) {
		op_drop(&v->call);
		v->step = IDLE;
		err_copy(err, &v->call.err);
	}
	return r;
}

static int vde_remove(void *self, struct op *op, struct err *err)
{
	struct vde *v = self;
	int r = vde_adopt(v, err);
	if (r < 0)
		return r;
	v->observed = true;
	begin(v, GOAL_REMOVE, op);
	if (r > 0) {
		vde_stop(v, "no node is on this network any more");
	} else {
		launch_prune(v->env->runtime_dir, 1);
		vde_finish(v, 0);
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
	vde_connect_soon(v);
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
