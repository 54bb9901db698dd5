// SPDX-License-Identifier: Apache-2.0
/*
 * The engine through cluster.h, with fake machines and no mount: documents,
 * verbs, restarts of the engine, failures, many nodes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include "cluster.h"
#include "test.h"

#define PATIENCE (60 * USEC_PER_SEC)

static struct loop *loop;
static struct cluster *cluster;
static char dir[64];

struct answer {
	bool came;
	int code;
	struct err err;
};

static void answered(int code, const struct err *err, void *userdata)
{
	struct answer *a = userdata;

	a->came = true;
	a->code = code;
	err_copy(&a->err, err);
}

/* Turns the loop until *flag, or fails the case. */
static void wait_for(const struct answer *a)
{
	uint64_t end = now_mono() + PATIENCE;

	while (!a->came && now_mono() < end)
		loop_turn(loop, USEC_PER_SEC);
	CHECK(a->came);
}

static void open_cluster(void)
{
	_cleanup_free_ char *state = xasprintf("%s/state", dir);
	_cleanup_free_ char *run = xasprintf("%s/run", dir);
	struct cluster_options o = {
	    .state_dir = state, .runtime_dir = run, .data_dir = "backend"};
	struct err err = ERR_INIT;

	mkdir_p(state, 0700);
	mkdir_p(run, 0700);
	CHECK_INT(loop_new(&loop), 0);
	o.loop = loop;
	CHECK_INT(cluster_new(&o, &cluster, &err), 0);
	if (err.code)
		printf("# %s\n", err_text(&err));
}

static void close_cluster(void)
{
	cluster_free(cluster);
	loop_free(loop);
}

static void begin(void)
{
	snprintf(dir, sizeof(dir), "/tmp/test_cluster.XXXXXX");
	if (!mkdtemp(dir))
		abort();
	open_cluster();
}

static void end(void)
{
	close_cluster();
	remove_tree(AT_FDCWD, dir);
}

static struct object *node(const char *name)
{
	return cluster_find(cluster, OBJECT_NODE, name);
}

/* Its spec; until the next call. */
static const char *text_of(struct object *o)
{
	static char text[256];
	_cleanup_buf_ struct buf b = {0};

	CHECK_INT(cluster_document(o, DOCUMENT_SPEC, &b), 0);
	snprintf(text, sizeof(text), "%s", buf_str(&b));
	return text;
}

static int make(enum object_kind kind, const char *name, struct err *err)
{
	struct answer a = {0};

	cluster_make(cluster, kind, name, answered, &a);
	wait_for(&a);
	err_copy(err, &a.err);
	return a.code;
}

static int take_away(enum object_kind kind, const char *name)
{
	struct answer a = {0};

	cluster_remove(cluster, kind, name, answered, &a);
	wait_for(&a);
	return a.code;
}

static int verb(struct object *o, enum verb v)
{
	struct answer a = {0};

	cluster_verb(o, v, answered, &a);
	wait_for(&a);
	return a.code;
}

static int put(struct object *o, enum document d, bool patch, const char *text,
    struct err *ret)
{
	struct answer a = {0};
	struct draft *draft = NULL;
	struct err err = ERR_INIT;
	int r = cluster_prepare(
	    o, d, patch, text, strlen(text), answered, &a, &draft, &err);

	if (ret)
		err_copy(ret, &err);
	if (r < 0)
		return r;
	wait_for(&a);
	if (a.code < 0)
		return a.code;
	a = (struct answer){0};
	cluster_commit(draft, answered, &a);
	wait_for(&a);
	if (ret)
		err_copy(ret, &a.err);
	return a.code;
}

static void settle(struct object *o)
{
	uint64_t end_at = now_mono() + PATIENCE;

	while (!object_settled(o) && now_mono() < end_at)
		loop_turn(loop, USEC_PER_SEC);
	CHECK(object_settled(o));
}

static void fakes(void)
{
	CHECK_INT(put(cluster_root(cluster), DOCUMENT_SPEC, false,
		      "{\"defaults\":{\"driver\":\"fake\"}}", NULL),
	    0);
}

static void up_and_down(void)
{
	begin();
	fakes();
	CHECK_INT(make(OBJECT_NODE, "node01", NULL), 0);
	settle(cluster_root(cluster));
	CHECK_INT(node_state(node("node01")), STATE_DOWN);
	CHECK_INT(verb(node("node01"), VERB_UP), 0);
	CHECK(node_state(node("node01")) != STATE_DOWN);
	settle(node("node01"));
	CHECK_INT(node_state(node("node01")), STATE_UP);
	CHECK_INT(take_away(OBJECT_NODE, "node01"), -EBUSY);
	CHECK_INT(verb(node("node01"), VERB_WIPE), -EBUSY);
	CHECK_INT(verb(node("node01"), VERB_DOWN), 0);
	CHECK(!object_settled(node("node01")) ||
	      node_state(node("node01")) == STATE_DOWN);
	settle(node("node01"));
	CHECK_INT(node_state(node("node01")), STATE_DOWN);
	CHECK_INT(take_away(OBJECT_NODE, "node01"), 0);
	CHECK(!node("node01"));
	end();
}

static void reboot_is_another_run(void)
{
	struct node_view v;
	uint64_t launch;

	begin();
	fakes();
	CHECK_INT(make(OBJECT_NODE, "a", NULL), 0);
	CHECK_INT(verb(node("a"), VERB_REBOOT), -EBUSY);
	CHECK_INT(verb(node("a"), VERB_UP), 0);
	settle(node("a"));
	node_view(node("a"), &v);
	launch = v.machine.launch;
	CHECK_INT(verb(node("a"), VERB_REBOOT), 0);
	settle(node("a"));
	node_view(node("a"), &v);
	CHECK_INT(v.machine.launch, launch + 1);
	CHECK_INT(v.state, STATE_UP);
	CHECK_INT(verb(node("a"), VERB_RESET), 0);
	settle(node("a"));
	node_view(node("a"), &v);
	CHECK_INT(v.machine.launch, launch + 2);
	end();
}

/* A restart of the engine goes on where it was; a machine is adopted. */
static void restart_adopts(void)
{
	struct node_view v;
	uint64_t launch;

	begin();
	fakes();
	CHECK_INT(make(OBJECT_NODE, "a", NULL), 0);
	CHECK_INT(make(OBJECT_NODE, "b", NULL), 0);
	CHECK_INT(put(node("b"), DOCUMENT_SPEC, false,
		      "{ \"memory\": \"1G\" }\n", NULL),
	    0);
	CHECK_INT(verb(node("a"), VERB_UP), 0);
	settle(cluster_root(cluster));
	node_view(node("a"), &v);
	launch = v.machine.launch;
	close_cluster();
	open_cluster();
	CHECK(node("a") && node("b"));
	CHECK_STR(text_of(node("b")), "{ \"memory\": \"1G\" }\n");
	settle(cluster_root(cluster));
	node_view(node("a"), &v);
	CHECK_INT(v.state, STATE_UP);
	CHECK_INT(v.machine.launch, launch);
	CHECK_INT(node_state(node("b")), STATE_DOWN);
	end();
}

static void a_failure_stays_until_up(void)
{
	struct node_view v;

	begin();
	fakes();
	CHECK_INT(make(OBJECT_NODE, "a", NULL), 0);
	CHECK_INT(put(node("a"), DOCUMENT_SPEC, true,
		      "{\"fake\":{\"fail\":[\"ssh\"],\"fail_times\":1}}", NULL),
	    0);
	CHECK_INT(verb(node("a"), VERB_UP), 0);
	settle(node("a"));
	node_view(node("a"), &v);
	CHECK_INT(v.state, STATE_FAILED);
	CHECK_STR(v.failed_stage, "ssh");
	CHECK(v.failed_sentence && v.failed_sentence[0]);
	close_cluster();
	open_cluster();
	settle(node("a"));
	CHECK_INT(node_state(node("a")), STATE_FAILED);
	CHECK_INT(verb(node("a"), VERB_UP), 0);
	CHECK(node_state(node("a")) != STATE_FAILED);
	end();
}

/* A guest that goes down kills what runs in it, and lets go of its disks, a
 * moment before the machine's end is seen: no failure of the node. */
static void a_step_that_fails_as_the_machine_ends(void)
{
	_cleanup_free_ char *off = NULL;
	uint64_t end_at = now_mono() + PATIENCE;
	struct node_view v = {0};

	begin();
	fakes();
	CHECK_INT(make(OBJECT_NODE, "a", NULL), 0);
	CHECK_INT(put(node("a"), DOCUMENT_SPEC, true,
		      "{\"files\":{\"/a\":{\"content\":\"a\"}},"
		      "\"fake\":{\"fail\":[\"configure\"],\"fail_times\":1}}",
		      NULL),
	    0);
	CHECK_INT(verb(node("a"), VERB_UP), 0);
	do {
		loop_turn(loop, USEC_PER_SEC);
		node_view(node("a"), &v);
	} while (!strstr(v.waiting_for, "going down") &&
		 v.state != STATE_FAILED && now_mono() < end_at);
	CHECK(v.state != STATE_FAILED);
	CHECK(!object_settled(node("a")));
	off = xasprintf("%s/run/nodes/a/fake-poweroff", dir);
	CHECK_INT(file_replace(AT_FDCWD, off, "", 0, 0600), 0);
	settle(node("a"));
	node_view(node("a"), &v);
	CHECK_INT(v.state, STATE_DOWN);
	CHECK_INT(v.wanted, POWER_DOWN);
	CHECK(!v.failed_stage);
	end();
}

static void documents(void)
{
	struct err err = ERR_INIT;
	struct object *a;

	begin();
	fakes();
	CHECK_INT(make(OBJECT_NODE, "a", NULL), 0);
	CHECK_INT(make(OBJECT_NODE, "b", NULL), 0);
	a = node("a");
	CHECK_STR(text_of(a), "{}\n");
	CHECK_INT(
	    put(a, DOCUMENT_SPEC, false, "{\"memry\":\"1G\"}", &err), -EINVAL);
	CHECK(strstr(err_text(&err), "memory"));
	CHECK_INT(
	    put(a, DOCUMENT_SPEC, false,
		"{\"nics\":{\"lan\":{\"address\":\"10.36.0.12\"}}}", &err),
	    -EEXIST);
	CHECK_STR(err_text(&err),
	    "nics.lan.address: 10.36.0.12 on network lan is taken by b");
	CHECK_INT(
	    put(a, DOCUMENT_SPEC, false,
		"{\"nics\":{\"lan\":{\"address\":\"10.37.0.12\"}}}", &err),
	    -EINVAL);
	CHECK_INT(put(a, DOCUMENT_SPEC, false, "{\"nics\":{\"wan\":{}}}", &err),
	    -ENOENT);
	CHECK_INT(
	    put(a, DOCUMENT_SPEC, false, "{\"ssh\":{\"port\":2202}}", &err),
	    -EEXIST);
	CHECK_STR(text_of(a), "{}\n");
	/* What a gave up, b may have. */
	CHECK_INT(
	    put(a, DOCUMENT_SPEC, false, "{\"ssh\":{\"port\":3000}}", NULL), 0);
	CHECK_INT(put(node("b"), DOCUMENT_SPEC, false,
		      "{\"ssh\":{\"port\":2201}}", NULL),
	    0);
	/* A new node gets a number whose port and address are free. */
	CHECK_INT(make(OBJECT_NODE, "c", NULL), 0);
	CHECK_INT(object_number(node("c")), 3);
	CHECK_INT(make(OBJECT_NODE, "c", &err), -EEXIST);
	CHECK_INT(make(OBJECT_NODE, "No_Name", &err), -EINVAL);
	CHECK_INT(take_away(OBJECT_NETWORK, "lan"), -EBUSY);
	CHECK_INT(take_away(OBJECT_IMAGE, "netboot"), -EBUSY);
	end();
}

/* Two writers who patch the same object at the same time lose nothing. */
static void patches_do_not_lose_each_other(void)
{
	const char *one = "{\"cpus\":2}", *two = "{\"memory\":\"1G\"}";
	struct answer a = {0}, b = {0};
	struct draft *x, *y;
	struct object *o;

	begin();
	fakes();
	CHECK_INT(make(OBJECT_NODE, "a", NULL), 0);
	o = node("a");
	CHECK_INT(cluster_prepare(o, DOCUMENT_SPEC, true, one, strlen(one),
		      answered, &a, &x, NULL),
	    0);
	CHECK_INT(cluster_prepare(o, DOCUMENT_SPEC, true, two, strlen(two),
		      answered, &b, &y, NULL),
	    0);
	wait_for(&a);
	wait_for(&b);
	a = b = (struct answer){0};
	cluster_commit(x, answered, &a);
	cluster_commit(y, answered, &b);
	wait_for(&a);
	wait_for(&b);
	CHECK_INT(a.code, 0);
	CHECK_INT(b.code, 0);
	CHECK(spec_same(text_of(o), "{\"cpus\":2,\"memory\":\"1G\"}"));
	end();
}

static void disk_goes_through_wipe(void)
{
	static const char spec[] =
	    "{\"disk\":{\"size\":\"64M\",\"partitions\":[{\"name\":\"root\","
	    "\"size\":\"100%\",\"filesystem\":\"ext4\",\"mount\":\"/\"}]}}";
	struct node_view v;

	begin();
	fakes();
	CHECK_INT(make(OBJECT_NODE, "a", NULL), 0);
	CHECK_INT(put(node("a"), DOCUMENT_SPEC, true, spec, NULL), 0);
	CHECK_INT(verb(node("a"), VERB_UP), 0);
	settle(node("a"));
	node_view(node("a"), &v);
	CHECK_INT(v.state, STATE_UP);
	CHECK(v.disk_laid_out && v.disk_used && v.disk_uuid);
	/* A changed layout is accepted and not acted on. */
	CHECK_INT(put(node("a"), DOCUMENT_SPEC, true,
		      "{\"disk\":{\"partitions\":[{\"name\":\"x\",\"size\":"
		      "\"100%\",\"filesystem\":\"ext4\",\"mount\":\"/\"}]}}",
		      NULL),
	    0);
	settle(node("a"));
	node_view(node("a"), &v);
	CHECK_INT(v.state, STATE_UP);
	CHECK(v.wipe_required && v.wipe_required[0]);
	CHECK_INT(put(node("a"), DOCUMENT_SPEC, true,
		      "{\"disk\":{\"size\":\"32M\"}}", NULL),
	    -EINVAL);
	CHECK_INT(verb(node("a"), VERB_DOWN), 0);
	settle(node("a"));
	CHECK_INT(take_away(OBJECT_NODE, "a"), -ENOTEMPTY);
	CHECK_INT(verb(node("a"), VERB_WIPE), 0);
	settle(node("a"));
	node_view(node("a"), &v);
	CHECK(!v.disk_laid_out && !v.disk_used && !v.disk_uuid);
	CHECK_INT(take_away(OBJECT_NODE, "a"), 0);
	end();
}

/* A torn file is kept aside, the rest is served. */
static void damaged_files(void)
{
	_cleanup_free_ char *spec = NULL, *meta = NULL;
	struct err err = ERR_INIT;

	begin();
	fakes();
	CHECK_INT(make(OBJECT_NODE, "a", &err), 0);
	CHECK_INT(make(OBJECT_NODE, "b", &err), 0);
	close_cluster();
	spec = xasprintf("%s/state/nodes/a/spec", dir);
	meta = xasprintf("%s/state/nodes/b/node.json", dir);
	file_replace(AT_FDCWD, spec, "{\"mem", 6, 0600);
	file_replace(AT_FDCWD, meta, "\0\0\0", 3, 0600);
	open_cluster();
	CHECK(node("a") && node("b"));
	CHECK_STR(text_of(node("a")), "{}\n");
	_cleanup_free_ char *bad_spec = xasprintf("%s.bad", spec);
	_cleanup_free_ char *bad_meta = xasprintf("%s.bad", meta);
	CHECK_INT(access(bad_spec, F_OK), 0);
	CHECK_INT(access(bad_meta, F_OK), 0);
	settle(cluster_root(cluster));
	end();
}

static void many_nodes(void)
{
	char name[16];
	struct answer a = {0};
	struct cluster_view v;

	begin();
	CHECK_INT(put(cluster_root(cluster), DOCUMENT_SPEC, false,
		      "{\"defaults\":{\"driver\":\"fake\"}}", NULL),
	    0);
	CHECK_INT(
	    put(cluster_find(cluster, OBJECT_NETWORK, "lan"), DOCUMENT_SPEC,
		false, "{\"subnet\":\"10.36.0.0/16\"}", NULL),
	    0);
	for (int i = 1; i <= 300; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		CHECK_INT(make(OBJECT_NODE, name, NULL), 0);
	}
	cluster_verb(cluster_root(cluster), VERB_UP, answered, &a);
	wait_for(&a);
	CHECK_INT(a.code, 0);
	settle(cluster_root(cluster));
	cluster_view(cluster, &v);
	CHECK_INT(v.state, CLUSTER_UP);
	CHECK_INT(v.counts[STATE_UP], 300);
	end();
}

/* A machine that has run for longer than boot_timeout is adopted all the same,
 * and its word does not change while it is looked at again. */
static void an_old_run_is_adopted(void)
{
	uint64_t later;

	begin();
	fakes();
	CHECK_INT(make(OBJECT_NODE, "a", NULL), 0);
	CHECK_INT(put(node("a"), DOCUMENT_SPEC, true,
		      "{\"boot_timeout\":\"1s\"}", NULL),
	    0);
	CHECK_INT(verb(node("a"), VERB_UP), 0);
	settle(node("a"));
	for (later = now_mono() + 1100 * USEC_PER_MSEC; now_mono() < later;)
		loop_turn(loop, 100 * USEC_PER_MSEC);
	close_cluster();
	open_cluster();
	CHECK_INT(node_state(node("a")), STATE_UP);
	settle(node("a"));
	CHECK_INT(node_state(node("a")), STATE_UP);
	end();
}

/* A start that is no longer wanted is broken off, and is no failure. */
static void a_start_is_broken_off(void)
{
	struct node_view v;

	begin();
	fakes();
	CHECK_INT(make(OBJECT_NODE, "a", NULL), 0);
	CHECK_INT(put(node("a"), DOCUMENT_SPEC, true,
		      "{\"fake\":{\"delay\":\"1h\"}}", NULL),
	    0);
	CHECK_INT(verb(node("a"), VERB_UP), 0);
	while (loop_turn(loop, 200 * USEC_PER_MSEC))
		;
	CHECK_INT(node_state(node("a")), STATE_STARTING);
	CHECK_INT(verb(node("a"), VERB_OFF), 0);
	settle(node("a"));
	node_view(node("a"), &v);
	CHECK_INT(v.state, STATE_DOWN);
	CHECK(!v.failed_stage);
	end();
}

static int come_after(const char *name, const char *others, struct err *err)
{
	_cleanup_free_ char *text = xasprintf("{\"after\":[%s]}", others);

	return put(node(name), DOCUMENT_SPEC, true, text, err);
}

/* Each would wait for the other: refused, and named. */
static void no_node_waits_for_itself(void)
{
	struct draft *x = NULL, *y = NULL;
	struct answer a = {0}, b = {0};
	struct err err = ERR_INIT;
	char name[16];

	begin();
	fakes();
	for (int i = 1; i <= 4; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		CHECK_INT(make(OBJECT_NODE, name, NULL), 0);
	}
	CHECK_INT(come_after("n1", "\"n1\"", &err), -EINVAL);
	CHECK_STR(err_text(&err), "after: n1 can't come after itself");
	CHECK_INT(come_after("n1", "\"none\"", &err), -ENOENT);
	CHECK_INT(come_after("n2", "\"n1\"", NULL), 0);
	CHECK_INT(come_after("n3", "\"n2\"", NULL), 0);
	CHECK_INT(come_after("n1", "\"n3\"", &err), -EINVAL);
	CHECK_STR(err_text(&err), "after: n3 comes after n1 already; each "
				  "would wait for the other");
	/* Two ways to the same node are none. */
	CHECK_INT(come_after("n4", "\"n3\",\"n1\"", NULL), 0);
	CHECK_STR(text_of(node("n1")), "{}\n");
	CHECK_INT(take_away(OBJECT_NODE, "n1"), -EBUSY);
	/* For all of them: one of them is the node itself. */
	CHECK_INT(put(cluster_root(cluster), DOCUMENT_SPEC, false,
		      "{\"defaults\":{\"driver\":\"fake\",\"after\":[\"n1\"]}}",
		      &err),
	    -EINVAL);
	/* Each of two writes is right by itself. */
	CHECK_INT(come_after("n2", "", NULL), 0);
	CHECK_INT(come_after("n3", "", NULL), 0);
	CHECK_INT(come_after("n4", "", NULL), 0);
	CHECK_INT(cluster_prepare(node("n1"), DOCUMENT_SPEC, false,
		      "{\"after\":[\"n2\"]}", 16, answered, &a, &x, NULL),
	    0);
	CHECK_INT(cluster_prepare(node("n2"), DOCUMENT_SPEC, false,
		      "{\"after\":[\"n1\"]}", 16, answered, &b, &y, NULL),
	    0);
	wait_for(&a);
	wait_for(&b);
	a = b = (struct answer){0};
	cluster_commit(x, answered, &a);
	cluster_commit(y, answered, &b);
	wait_for(&a);
	wait_for(&b);
	CHECK_INT(a.code, 0);
	CHECK_INT(b.code, -EINVAL);
	end();
}

/* What no two nodes may share stands in no default, once there are two. */
static void defaults_give_nothing_twice(void)
{
	static const char *const rows[][2] = {
	    {"\"forwards\":{\"8080\":80}", "forwards.8080: port 8080"},
	    {"\"ssh\":{\"port\":5000}", "ssh.port: port 5000"},
	    {"\"nics\":{\"lan\":{\"mac\":\"52:54:00:aa:00:01\"}}",
		"nics.lan.mac: 52:54:00:aa:00:01"},
	    {"\"nics\":{\"lan\":{\"address\":\"10.36.0.99\"}}",
		"nics.lan.address: 10.36.0.99 on network lan"},
	};

	begin();
	fakes();
	CHECK_INT(make(OBJECT_NODE, "n1", NULL), 0);
	CHECK_INT(make(OBJECT_NODE, "n2", NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = ERR_INIT;
		_cleanup_free_ char *text = xasprintf(
		    "{\"defaults\":{\"driver\":\"fake\",%s}}", rows[i][0]);
		_cleanup_free_ char *why = xasprintf(
		    "defaults: node n2: %s is taken by n1", rows[i][1]);

		CHECK_INT(put(cluster_root(cluster), DOCUMENT_SPEC, false, text,
			      &err),
		    -EEXIST);
		CHECK_STR(err_text(&err), why);
	}
	/* One that says something else itself is no reason. */
	CHECK_INT(put(node("n2"), DOCUMENT_SPEC, false,
		      "{\"ssh\":{\"port\":5001}}", NULL),
	    0);
	CHECK_INT(put(cluster_root(cluster), DOCUMENT_SPEC, false,
		      "{\"defaults\":{\"driver\":\"fake\","
		      "\"ssh\":{\"port\":5000}}}",
		      NULL),
	    0);
	struct err err = ERR_INIT;
	CHECK_INT(make(OBJECT_NODE, "n3", &err), -EEXIST);
	CHECK_STR(err_text(&err), "ssh.port: port 5000 is taken by n1");
	end();
}

/* Up in their order, down in reverse, and each that fails holds up those that
 * come after it. */
static void nodes_in_order(void)
{
	struct node_view v;

	begin();
	fakes();
	CHECK_INT(make(OBJECT_NODE, "a", NULL), 0);
	CHECK_INT(make(OBJECT_NODE, "b", NULL), 0);
	CHECK_INT(come_after("b", "\"a\"", NULL), 0);
	CHECK_INT(verb(node("b"), VERB_UP), 0);
	settle(node("b"));
	/* Nobody wants a: it is not waited for. */
	CHECK_INT(node_state(node("b")), STATE_UP);
	CHECK_INT(verb(node("b"), VERB_DOWN), 0);
	settle(node("b"));
	CHECK_INT(put(node("a"), DOCUMENT_SPEC, false,
		      "{\"fake\":{\"fail\":[\"ssh\"]}}", NULL),
	    0);
	CHECK_INT(verb(cluster_root(cluster), VERB_UP), 0);
	settle(cluster_root(cluster));
	node_view(node("b"), &v);
	CHECK_INT(v.state, STATE_FAILED);
	CHECK_INT(v.machine.launch, 1); /* it was not started again */
	CHECK(v.failed_sentence && strstr(v.failed_sentence, "after a"));
	CHECK_INT(verb(node("a"), VERB_UP), 0);
	settle(cluster_root(cluster));
	settle(node("b"));
	CHECK_INT(node_state(node("b")), STATE_UP);
	close_cluster();
	open_cluster();
	settle(cluster_root(cluster));
	CHECK_INT(node_state(node("b")), STATE_UP);
	/* Who came after it is gone, and is in nobody's way. */
	CHECK_INT(verb(cluster_root(cluster), VERB_DOWN), 0);
	settle(cluster_root(cluster));
	CHECK_INT(take_away(OBJECT_NODE, "a"), -EBUSY);
	CHECK_INT(take_away(OBJECT_NODE, "b"), 0);
	CHECK_INT(verb(node("a"), VERB_UP), 0);
	settle(node("a"));
	CHECK_INT(node_state(node("a")), STATE_UP);
	CHECK_INT(verb(node("a"), VERB_DOWN), 0);
	settle(node("a"));
	CHECK_INT(take_away(OBJECT_NODE, "a"), 0);
	end();
}

static const struct test_case cases[] = {
    CASE(no_node_waits_for_itself),
    CASE(nodes_in_order),
    CASE(an_old_run_is_adopted),
    CASE(a_start_is_broken_off),
    CASE(up_and_down),
    CASE(reboot_is_another_run),
    CASE(restart_adopts),
    CASE(a_failure_stays_until_up),
    CASE(a_step_that_fails_as_the_machine_ends),
    CASE(documents),
    CASE(defaults_give_nothing_twice),
    CASE(patches_do_not_lose_each_other),
    CASE(disk_goes_through_wipe),
    CASE(damaged_files),
    CASE(many_nodes),
};
TEST_MAIN(cases)
