// SPDX-License-Identifier: Apache-2.0
/*
 * Checks: those of the cluster's spec, and one for each service of a node.
 * Each has its own timer and runs through a probe driver, from a node or from
 * this host.  A result is kept until the next; one that can't run now (its
 * node is not up) waits.  A service that is required and fails three times in
 * a row makes its node failed, and well again when it passes.
 */
#include <errno.h>
#include <stdio.h>
#include "engine/engine.h"

#define SERVICE_EVERY   (10 * USEC_PER_SEC)
#define SERVICE_TIMEOUT (10 * USEC_PER_SEC)
#define GRACE           (60 * USEC_PER_SEC) /* of what never passed yet */
#define FAILURES_MAX    3                   /* in a row: a required one */
#define SOON            (500 * USEC_PER_MSEC)

struct check_item {
	struct check_item *next;
	struct cluster *c;
	struct node *node; /* whose service it is; NULL: the cluster's */
	char *name;        /* "quorum", "node01.etcd" */
	size_t index;      /* in the spec */
	enum check_state state;
	uint64_t since;   /* CLOCK_REALTIME usec of the state */
	uint64_t checked; /* CLOCK_REALTIME usec of the last result */
	char *detail;
	unsigned failures; /* in a row */
	bool passed;       /* since its node is up */
	const struct probe_driver *driver;
	void *handle;
	struct driver_env env;
	char *runtime_dir; /* of the node that it is done from */
	struct op op;
	struct loop_source *timer;
	uint64_t due; /* the next one, whatever changes */
};

/* --- results --- */

static void report(
    struct check_item *i, enum check_state state, const char *detail)
{
	struct object *o = i->node ? &i->node->o : &i->c->o;
	enum check_state was = i->state;

	if (was == state && i->detail && STREQ(i->detail, detail))
		return;
	free(i->detail);
	i->detail = xstrdup(detail);
	touch(&i->c->o, ASPECT_CHECKS);
	if (i->node)
		touch(o, ASPECT_OBSERVED);
	if (was == state)
		return;
	i->state = state;
	i->since = now_real();
	check_memory_save(i->c, i->node);
	event(o, "check", check_state_name(was), check_state_name(state), NULL,
	    "%s: %s", i->name, detail);
}

static bool failed_by_check(const struct node *n)
{
	return n->tried.failed && n->tried.failed_check;
}

static bool any_fails(const struct node *n)
{
	for (const struct check_item *i = n->checks; i; i = i->next)
		if (n->spec->services[i->index].required &&
		    i->state == CHECK_FAIL)
			return true;
	return false;
}

/* A required service decides over its node: what one has failed, another can't
 * mend. */
static void judge(struct check_item *i, bool pass)
{
	struct node *n = i->node;

	if (!n || !n->spec->services[i->index].required)
		return;
	if (!pass && i->failures >= FAILURES_MAX && n->plan.state == STATE_UP &&
	    n->plan.settled) {
		_cleanup_free_ char *text = xasprintf(
		    "the check of %s failed %u times in a row: %s",
		    n->spec->services[i->index].name, i->failures, i->detail);

		node_fail(n, STAGE_SERVICES, text);
		n->tried.failed_check = true;
		history_save(n);
		node_refresh(n);
	} else if (pass && failed_by_check(n) && !any_fails(n)) {
		history_clear_failure(n);
		node_refresh(n);
		mark_dirty(&n->o);
	}
}

static void took(struct check_item *i, bool pass, const char *detail)
{
	bool young = i->node && !i->passed && i->node->up_since &&
		     loop_now(i->c->loop) - i->node->up_since < GRACE;

	/* Somebody may have stopped it: seen, and mended, before it is judged.
	 */
	if (i->node && !pass && i->failures == 0 &&
	    i->node->plan.state == STATE_UP && i->node->plan.settled)
		node_look_soon(i->node);
	i->checked = now_real();
	i->failures = pass ? 0 : i->failures + 1;
	i->passed |= pass;
	report(i,
	    pass    ? CHECK_PASS
	    : young ? CHECK_WAITING
		    : CHECK_FAIL,
	    detail);
	if (!young)
		judge(i, pass);
}

static uint64_t every(const struct check_item *i)
{
	return i->node ? SERVICE_EVERY : i->c->spec->checks[i->index].every;
}

static void again(struct check_item *i)
{
	i->due = loop_now(i->c->loop) + every(i);
	loop_timer_set(i->timer, i->due);
}

static void op_ended(struct op *op, int code, const struct err *err)
{
	struct check_item *i = op->owner;
	struct probe_look look = {0};

	i->driver->look(i->handle, &look);
	if (code == -ECANCELED || code == -EAGAIN)
		report(i, CHECK_WAITING, "the session to the node broke");
	else if (code < 0)
		took(i, false, err_text(err));
	else
		took(i, look.pass, look.detail);
	again(i);
}

/* --- running --- */

static bool connected(const struct node *n)
{
	return n->guest && n->guest_look && n->guest_look->connected;
}

/* "node02" or "10.0.0.1" as an address that `from` reaches. */
static int resolve(struct cluster *c, const char *host, const struct node *from,
    char ret[16], struct err *err)
{
	struct object *o = cluster_find(c, OBJECT_NODE, host);
	const struct nic *nic;
	uint32_t ip;

	if (!o) {
		if (STREQ(host, "localhost"))
			ip = 0x7f000001;
		else if (parse_ip(host, &ip) < 0)
			return err_set(err, -ENOENT,
			    "there is no node %s, and it is no address", host);
		format_ip(ip, ret);
		return 0;
	}
	if (!from)
		return err_set(err, -EINVAL,
		    "this host does not reach %s: check it `from` a node, or "
		    "through a forward of 127.0.0.1",
		    host);
	nic = node_first_nic(as_node(o));
	if (!nic)
		return err_set(err, -EINVAL, "%s has no address", host);
	format_ip(nic->address, ret);
	return 0;
}

/* What the texts of a slice are kept in. */
struct target {
	char address[16], host[256];
	char *command[4];
	char unit[256];
};

/* "http://host:port/path" */
static int slice_http(struct cluster *c, const char *url,
    const struct node *from, struct probe_slice *s, struct target *t,
    struct err *err)
{
	const char *p = url + strlen("http://");
	size_t len = strcspn(p, "/");
	char *colon;

	if (len == 0 || len >= sizeof(t->host))
		return err_set(err, -EINVAL, "%s names no host", url);
	memcpy(t->host, p, len);
	t->host[len] = '\0';
	s->kind = CHECK_HTTP;
	s->port = 80;
	s->target = p[len] ? p + len : "/";
	colon = strrchr(t->host, ':');
	if (colon && parse_port(colon + 1, &s->port) < 0)
		return err_set(err, -EINVAL, "%s has no port", url);
	if (colon)
		*colon = '\0';
	s->host_header = t->host;
	s->address = t->address;
	return resolve(c, t->host, from, t->address, err);
}

static int slice_tcp(struct cluster *c, const char *tcp,
    const struct node *from, struct probe_slice *s, struct target *t,
    struct err *err)
{
	const char *colon = strrchr(tcp, ':');

	snprintf(t->host, sizeof(t->host), "%.*s", (int)(colon - tcp), tcp);
	s->kind = CHECK_TCP;
	s->address = t->address;
	(void)parse_port(colon + 1, &s->port); /* the spec was checked */
	return resolve(c, t->host, from, t->address, err);
}

static int slice_cluster(struct check_item *i, const struct node *from,
    struct probe_slice *s, struct target *t, struct err *err)
{
	const struct check_spec *spec = &i->c->spec->checks[i->index];

	s->timeout = spec->timeout;
	s->folder = i->c->cwd;
	if (spec->tcp)
		return slice_tcp(i->c, spec->tcp, from, s, t, err);
	if (spec->http)
		return slice_http(i->c, spec->http, from, s, t, err);
	s->kind = CHECK_COMMAND;
	s->command = spec->command;
	return 0;
}

static int slice_service(struct check_item *i, struct probe_slice *s,
    struct target *t, struct err *err)
{
	const struct service_spec *v = &i->node->spec->services[i->index];
	struct check check;
	int r = parse_check(v->check ? v->check : "systemd", &check, err);

	s->timeout = SERVICE_TIMEOUT;
	s->kind = check.kind;
	s->address = "";
	s->port = check.port;
	s->target = check.text;
	s->host_header = "localhost";
	snprintf(t->unit, sizeof(t->unit), "%.240s.service", v->name);
	s->unit = t->unit;
	t->command[0] = (char *)"/bin/sh";
	t->command[1] = (char *)"-c";
	t->command[2] = (char *)check.text;
	s->command = t->command;
	return r;
}

static const struct probe_driver *wanted_driver(const struct node *from)
{
	return from ? from->driver->probe : registry_node("qemu")->probe;
}

static int open_probe(
    struct check_item *i, const struct node *from, struct err *err)
{
	const struct probe_driver *d = wanted_driver(from);

	free(i->runtime_dir);
	i->runtime_dir = from ? object_path(&from->o, i->c->runtime_dir)
			      : xstrdup(i->c->runtime_dir);
	i->env.runtime_dir = i->runtime_dir;
	if (i->handle && i->driver != d)
		i->driver->close(TAKE_PTR(i->handle));
	i->driver = d;
	if (i->handle)
		return 0;
	i->env = (struct driver_env){
	    .loop = i->c->loop,
	    .name = i->name,
	    .state_dir = i->c->state_dir,
	    .runtime_dir = i->runtime_dir,
	    .owner = i,
	};
	return d->open(&i->env, &i->handle, err);
}

static void run(void *userdata)
{
	struct check_item *i = userdata;
	const char *name = i->node ? NULL : i->c->spec->checks[i->index].from;
	struct object *o =
	    i->node ? &i->node->o : cluster_find(i->c, OBJECT_NODE, name);
	const struct node *from = o ? as_node(o) : NULL;
	struct probe_slice slice = {0};
	struct target target = {0};
	struct err err = ERR_INIT;
	char text[160];
	int r;

	if (i->op.pending)
		return;
	if (!from && !STREQ(name, "host")) {
		snprintf(text, sizeof(text), "there is no node %s", name);
		report(i, CHECK_WAITING, text);
		again(i);
		return;
	}
	/* A daemon that has just begun is not connected to what is up, or was
	 * before a check failed: the last result stands until it is. */
	if (from && !connected(from) &&
	    (from->plan.state == STATE_UP || failed_by_check(from))) {
		loop_timer_set(i->timer, loop_now(i->c->loop) + SOON);
		return;
	}
	/* One that was up may be failed because of this very check. */
	if (from && (from->plan.state != STATE_UP || !from->up_since) &&
	    !failed_by_check(from)) {
		snprintf(text, sizeof(text), "%s is %s", from->o.name,
		    node_state_name(from->plan.state));
		i->passed = false;
		i->failures = 0;
		report(i, CHECK_WAITING, text);
		again(i);
		return;
	}
	if (from) {
		slice.guest = from->guest
				  ? from->driver->guest->session(from->guest)
				  : NULL;
		slice.fake = &from->spec->fake;
	}
	r = i->node ? slice_service(i, &slice, &target, &err)
		    : slice_cluster(i, from, &slice, &target, &err);
	if (r == 0 && from && !from->driver->virtual && !slice.guest)
		r = err_set(&err, -ENOTCONN, "SSH to %s is not connected",
		    from->o.name);
	if (r == 0)
		r = open_probe(i, from, &err);
	i->op = (struct op){.what = "check", .done = op_ended, .owner = i};
	if (r == 0)
		r = probe_run(i->driver, i->handle, &slice, &i->op, &err);
	if (r < 0) {
		took(i, false, err_text(&err));
		again(i);
	}
}

/* --- the list --- */

static void item_free(struct check_item *i)
{
	if (i->handle)
		i->driver->close(i->handle);
	loop_source_free(i->timer);
	free(i->name);
	free(i->runtime_dir);
	free(i->detail);
	free(i);
}

static void item_add(struct check_item **list, struct cluster *c,
    struct node *n, size_t index, char *name, struct check_item **old)
{
	struct check_item *i = xcalloc(1, sizeof(*i));

	i->c = c;
	i->node = n;
	i->index = index;
	i->name = name;
	i->since = now_real();
	i->detail = xstrdup("not looked at yet");
	/* What is known of one of this name goes on. */
	for (struct check_item *k = *old; k; k = k->next) {
		if (!STREQ(k->name, name))
			continue;
		i->state = k->state;
		i->since = k->since;
		i->checked = k->checked;
		i->passed = k->passed;
		free(i->detail);
		i->detail = xstrdup(k->detail);
	}
	i->due = loop_now(c->loop) + SOON;
	loop_add_timer(c->loop, i->due, run, i, &i->timer);
	while (*list)
		list = &(*list)->next;
	*list = i;
}

static void items_free(struct check_item *list)
{
	while (list) {
		struct check_item *next = list->next;

		item_free(list);
		list = next;
	}
}

void checks_follow_cluster(struct cluster *c)
{
	struct check_item *old = TAKE_PTR(c->checks);

	for (size_t k = 0; !c->loading && k < c->spec->n_checks; k++)
		item_add(&c->checks, c, NULL, k,
		    xstrdup(c->spec->checks[k].name), &old);
	items_free(old);
	touch(&c->o, ASPECT_CHECKS);
}

void checks_follow_node(struct node *n)
{
	struct check_item *old = TAKE_PTR(n->checks);

	for (size_t k = 0; !n->o.c->loading && !n->o.gone && n->spec &&
			   k < n->spec->n_services;
	     k++)
		item_add(&n->checks, n->o.c, n, k,
		    xasprintf("%s.%s", n->o.name, n->spec->services[k].name),
		    &old);
	if (old || n->checks)
		touch(&n->o.c->o, ASPECT_CHECKS);
	items_free(old);
}

static void recall(const struct check_view *v, void *userdata)
{
	for (struct check_item *i = userdata; i; i = i->next) {
		if (!STREQ(i->name, v->name))
			continue;
		i->state = v->state;
		i->since = v->since;
		i->checked = v->checked;
		i->passed = v->state != CHECK_WAITING;
		free(i->detail);
		i->detail = xstrdup(v->detail);
	}
}

void checks_start(struct cluster *c)
{
	checks_follow_cluster(c);
	if (c->checks)
		check_memory_load(c, NULL, recall, c->checks);
	EACH_OBJECT (o, c, OBJECT_NODE) {
		struct node *n = as_node(o);

		checks_follow_node(n);
		if (n->checks)
			check_memory_load(c, n, recall, n->checks);
	}
}

void node_checks_drop(struct node *n)
{
	items_free(TAKE_PTR(n->checks));
}

/* Once it is quiet; where it never is, when it is due. */
static void soon(struct check_item *list)
{
	for (struct check_item *i = list; i; i = i->next)
		loop_timer_set(
		    i->timer, MIN(loop_now(i->c->loop) + SOON, i->due));
}

/* Required services are up when their checks have passed. */
void checks_set_up(struct node *n)
{
	for (struct check_item *i = n->checks; i; i = i->next) {
		if (!n->spec->services[i->index].required)
			continue;
		i->failures = 0;
		i->passed = true;
		report(i, CHECK_PASS, "it passed as the service was set up");
	}
}

void checks_node_changed(struct node *n)
{
	soon(n->checks);
	soon(n->o.c->checks);
}

void checks_stop(struct cluster *c)
{
	items_free(TAKE_PTR(c->checks));
	EACH_OBJECT (o, c, OBJECT_NODE)
		node_checks_drop(as_node(o));
}

/* --- views --- */

const char *check_state_name(enum check_state s)
{
	static const char *const names[] = {
	    [CHECK_WAITING] = "waiting",
	    [CHECK_PASS] = "pass",
	    [CHECK_FAIL] = "fail",
	};

	return names[s];
}

static void views(const struct check_item *i,
    void (*fn)(const struct check_view *v, void *userdata), void *userdata)
{
	for (; i; i = i->next) {
		const struct check_view v = {
		    .name = i->name,
		    .node = i->node ? i->node->o.name : NULL,
		    .state = i->state,
		    .since = i->since,
		    .checked = i->checked,
		    .detail = i->detail,
		};

		fn(&v, userdata);
	}
}

void checks_of(struct cluster *c, struct node *n,
    void (*fn)(const struct check_view *v, void *userdata), void *userdata)
{
	views(n ? n->checks : c->checks, fn, userdata);
}

void node_checks(struct object *o,
    void (*fn)(const struct check_view *v, void *userdata), void *userdata)
{
	checks_of(o->c, as_node(o), fn, userdata);
}

void cluster_checks(struct cluster *c,
    void (*fn)(const struct check_view *v, void *userdata), void *userdata)
{
	views(c->checks, fn, userdata);
	EACH_OBJECT (o, c, OBJECT_NODE)
		views(as_node(o)->checks, fn, userdata);
}
