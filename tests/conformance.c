/* SPDX-License-Identifier: Apache-2.0
 *
 * The contract of include/driver.h, tried on every driver that the registry
 * knows: done fires once and later, refusals never fire, cancel ends a call,
 * observe and ensure can be repeated, close is safe at any moment and leaves
 * machines and switches running for the next open.  A driver that can't work
 * here is skipped with its own reason.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "driver.h"
#include "identity.h"
#include "test.h"

#define PATIENCE (60 * USEC_PER_SEC)

/* --- a place to work in, and one call ------------------------------------- */

static struct loop *loop;
static char *folder; /* of the case that runs */
static char why_not[800];

struct place {
	struct driver_env env;
	char *state, *run;
	int changed;
};

static void on_changed(void *owner)
{
	struct place *p = owner;
	p->changed++;
}

static void on_log(void *owner, const char *text, size_t len)
{
}

static void place_init(struct place *p, const char *name)
{
	*p = (struct place){
	    .state = xasprintf("%s/%s.state", folder, name),
	    .run = xasprintf("%s/%s.run", folder, name),
	};
	CHECK_INT(mkdir_p(p->state, 0700), 0);
	CHECK_INT(mkdir_p(p->run, 0700), 0);
	p->env = (struct driver_env){
	    .loop = loop,
	    .name = "node01",
	    .number = 1,
	    .state_dir = p->state,
	    .runtime_dir = p->run,
	    .changed = on_changed,
	    .log = on_log,
	    .owner = p,
	};
}

static void place_done(struct place *p)
{
	free(p->state);
	free(p->run);
}

struct call {
	struct op op;
	int fired, code;
	struct err err;
};

static void on_done(struct op *op, int code, const struct err *err)
{
	struct call *c = op->owner;
	c->fired++;
	c->code = code;
	err_copy(&c->err, err);
}

static struct op *call(struct call *c, const char *what)
{
	*c = (struct call){.op = {.what = what, .done = on_done, .owner = c}};
	return &c->op;
}

/* Looks for calls of done that come too often as well. */
static void settle(void)
{
	for (int i = 0; i < 20; i++)
		loop_turn(loop, 2 * USEC_PER_MSEC);
}

/* An accepted call ends; its code. */
static int finish(struct call *c)
{
	uint64_t end = now_mono() + PATIENCE;
	CHECK_INT(c->fired, 0); /* not from within the call */
	while (!c->fired && now_mono() < end)
		loop_turn(loop, 100 * USEC_PER_MSEC);
	CHECK_INT(c->fired, 1);
	if (c->code < 0 && !c->err.text[0])
		CHECK(!"a failure has a sentence");
	return c->fired ? c->code : -ETIMEDOUT;
}

/* r is what the call returned.  Refused or ended: its code. */
static int outcome(struct call *c, int r, struct err *err)
{
	if (r == 0) {
		r = finish(c);
		err_copy(err, &c->err);
		return r;
	}
	settle();
	CHECK_INT(c->fired, 0);
	CHECK(!c->op.pending);
	CHECK(err->text[0]);
	return r;
}

#define DO(expr, want)                                                         \
	do {                                                                   \
		struct err err_ = ERR_INIT, *err = &err_;                      \
		struct call one;                                               \
		struct op *op = call(&one, #expr);                             \
		int r_ = outcome(&one, expr, err);                             \
		if (r_ != (want))                                              \
			printf("# %s: %s\n", #expr, err_text(err));            \
		CHECK_INT(r_, want);                                           \
	} while (0)

/* Cancelled at once: it ends soon, and once. */
#define CANCEL(expr)                                                           \
	do {                                                                   \
		struct err err_ = ERR_INIT, *err = &err_;                      \
		struct call one;                                               \
		struct op *op = call(&one, #expr);                             \
		int r_ = expr;                                                 \
		if (r_ == 0) {                                                 \
			op_cancel(op);                                         \
			op_cancel(op);                                         \
			r_ = finish(&one);                                     \
			CHECK(r_ == 0 || r_ == -ECANCELED);                    \
			settle();                                              \
			CHECK_INT(one.fired, 1);                               \
		} else {                                                       \
			printf("# %s: %s\n", #expr, err_text(err));            \
			CHECK_INT(r_, 0);                                      \
		}                                                              \
	} while (0)

static bool here(int (*available)(struct err *err))
{
	struct err err = ERR_INIT;
	int r = available(&err);
	if (r < 0)
		snprintf(why_not, sizeof(why_not), "%s", err_text(&err));
	return r == 0;
}

/* --- machine ------------------------------------------------------------- */

static int no_identity(void *owner, struct buf *ret, struct err *err)
{
	return err_set(err, -ENOENT, "there is none");
}

static void on_console(void *owner)
{
}

static void *machine_at(const struct machine_driver *d, struct place *p)
{
	struct err err = ERR_INIT;
	void *m = NULL;
	CHECK_INT(d->open(&p->env, no_identity, on_console, &m, &err), 0);
	return m;
}

static struct machine_look machine_seen(const struct machine_driver *d, void *m)
{
	struct machine_look look;
	d->look(m, &look);
	return look;
}

/* No kernel, no disk, no NIC: the smallest that executes. */
static struct machine_slice tiny(const struct fake_spec *fake)
{
	return (struct machine_slice){
	    .cpus = 1,
	    .memory = 64 * MIB,
	    .ssh_port = 0,
	    .fake = fake,
	};
}

static void machine_that_is_not(const struct machine_driver *d, struct place *p)
{
	struct machine_slice slice = tiny(NULL);
	uint64_t launch = 9, size = 9, oldest = 9;
	char byte;

	d->close(machine_at(d, p));
	void *m = machine_at(d, p);
	DO(machine_observe(d, m, op, err), 0);
	CHECK_INT(machine_seen(d, m).state, MACHINE_NONE);
	DO(machine_observe(d, m, op, err), 0);
	CHECK_INT(machine_seen(d, m).state, MACHINE_NONE);
	CHECK_INT(machine_seen(d, m).launch, 0);
	CHECK_INT(d->console_write(m, "x", 1), -ENODEV);
	CHECK_INT(d->console_read(m, 0, 0, &byte, 1), 0);
	d->console_stat(m, &launch, &size, &oldest);
	CHECK(launch == 0 && size == 0 && oldest == 0);
	DO(machine_stop(d, m, true, op, err), 0);
	DO(machine_apply(d, m, &slice, op, err), -ENODEV);
	d->close(m);
}

static void machine_runs(const struct machine_driver *d, struct place *p)
{
	struct machine_slice slice = tiny(NULL);
	void *m = machine_at(d, p);

	DO(machine_observe(d, m, op, err), 0);
	DO(machine_start(d, m, &slice, op, err), 0);
	struct machine_look first = machine_seen(d, m);
	CHECK_INT(first.state, MACHINE_RUNNING);
	CHECK(first.launch > 0 && first.started > 0);
	DO(machine_start(d, m, &slice, op, err), -EBUSY);
	DO(machine_observe(d, m, op, err), 0);
	CHECK_INT(machine_seen(d, m).launch, first.launch);

	/* Closed in the middle of a call, then found by the next. */
	struct err bad = ERR_INIT;
	struct call broken_off;
	CHECK_INT(machine_observe(d, m, call(&broken_off, "observe"), &bad), 0);
	d->close(m);
	settle();
	CHECK_INT(broken_off.fired, 0);
	m = machine_at(d, p);
	DO(machine_observe(d, m, op, err), 0);
	CHECK_INT(machine_seen(d, m).state, MACHINE_RUNNING);
	CHECK_INT(machine_seen(d, m).launch, first.launch);
	d->close(m);
	m = machine_at(d, p); /* not even looked at: never a second one */
	DO(machine_start(d, m, &slice, op, err), -EBUSY);

	DO(machine_stop(d, m, true, op, err), 0);
	CHECK_INT(machine_seen(d, m).state, MACHINE_NONE);
	CHECK_INT(machine_seen(d, m).end, END_STOPPED);
	DO(machine_stop(d, m, true, op, err), 0);
	DO(machine_start(d, m, &slice, op, err), 0);
	CHECK(machine_seen(d, m).launch > first.launch);
	DO(machine_stop(d, m, true, op, err), 0);
	d->close(m);
}

static void machine_is_cancelled(
    const struct machine_driver *d, struct place *p)
{
	struct machine_slice slice = tiny(NULL);
	void *m = machine_at(d, p);

	CANCEL(machine_observe(d, m, op, err));
	DO(machine_observe(d, m, op, err), 0);
	CANCEL(machine_start(d, m, &slice, op, err));
	DO(machine_observe(d, m, op, err), 0);
	DO(machine_stop(d, m, true, op, err), 0);
	CHECK_INT(machine_seen(d, m).state, MACHINE_NONE);
	DO(machine_start(d, m, &slice, op, err), 0);
	CANCEL(machine_stop(d, m, true, op, err));
	DO(machine_stop(d, m, true, op, err), 0);
	CHECK_INT(machine_seen(d, m).state, MACHINE_NONE);

	/* Closed while it starts: what there is then is found and ended. */
	struct err bad = ERR_INIT;
	struct call start;
	CHECK_INT(machine_start(d, m, &slice, call(&start, "start"), &bad), 0);
	d->close(m);
	settle();
	CHECK_INT(start.fired, 0);
	m = machine_at(d, p);
	DO(machine_observe(d, m, op, err), 0);
	DO(machine_stop(d, m, true, op, err), 0);
	CHECK_INT(machine_seen(d, m).state, MACHINE_NONE);
	d->close(m);
}

static void machine(const struct machine_driver *d)
{
	struct place p;
	if (!here(d->available))
		SKIP(why_not);
	place_init(&p, "machine");
	machine_that_is_not(d, &p);
	machine_runs(d, &p);
	machine_is_cancelled(d, &p);
	place_done(&p);
}

/* What only a machine that plays its part can show in no time. */
static void fake_machine_boots_and_ends(void)
{
	const struct node_driver *n = registry_node("fake");
	const struct machine_driver *d = n->machine;
	_cleanup_strv_ char **boot = strv_new("boot", NULL);
	struct fake_spec fake = {.fail = boot, .fail_times = 1};
	struct machine_slice slice = tiny(&fake);
	struct place p;

	place_init(&p, "machine");
	void *m = machine_at(d, &p);
	DO(machine_start(d, m, &slice, op, err), 0);
	settle();
	CHECK_INT(machine_seen(d, m).state, MACHINE_NONE);
	CHECK_INT(machine_seen(d, m).end, END_CRASHED);
	CHECK(!machine_seen(d, m).marked);
	CHECK(machine_seen(d, m).end_text[0]);
	DO(machine_start(d, m, &slice, op, err), 0);
	settle();
	CHECK(machine_seen(d, m).marked);

	char text[4096] = "";
	CHECK_INT(d->console_write(m, "typed", 5), 5);
	CHECK(d->console_read(m, 0, 0, text, sizeof(text) - 1) > 5);
	CHECK(strstr(text, MARK_READY) && strstr(text, "typed"));
	CHECK(d->console_read(m, 1, 0, text, sizeof(text) - 1) > 0);
	/* A soft stop: pressed, then it goes by itself. */
	p.changed = 0;
	DO(machine_stop(d, m, false, op, err), 0);
	settle();
	CHECK_INT(machine_seen(d, m).end, END_POWEROFF);
	CHECK(p.changed > 0);

	/* The guest can do it as well. */
	struct guest_slice to = {.fake = &fake};
	struct err bad = ERR_INIT;
	void *g = NULL;
	DO(machine_start(d, m, &slice, op, err), 0);
	CHECK_INT(n->guest->open(&p.env, &g, &bad), 0);
	DO(guest_connect(n->guest, g, &to, op, err), 0);
	DO(guest_poweroff(n->guest, g, op, err), 0);
	CHECK_INT(machine_seen(d, m).state, MACHINE_NONE);
	CHECK_INT(machine_seen(d, m).end, END_POWEROFF);
	n->guest->close(g);
	d->close(m);
	place_done(&p);
}

/* --- network ------------------------------------------------------------- */

static void *network_at(const struct network_driver *d, struct place *p)
{
	struct err err = ERR_INIT;
	void *n = NULL;
	CHECK_INT(d->open(&p->env, &n, &err), 0);
	return n;
}

static struct network_look network_seen(const struct network_driver *d, void *n)
{
	struct network_look look;
	d->look(n, &look);
	return look;
}

static void network(const struct network_driver *d)
{
	const struct network_slice slice = {.ports = 8, .mtu = 1500};
	const struct network_port *ports = NULL;
	struct err bad = ERR_INIT;
	struct call broken_off;
	struct place p;

	if (!here(d->available))
		SKIP(why_not);
	place_init(&p, "network");
	d->close(network_at(d, &p));
	void *n = network_at(d, &p);
	DO(network_observe(d, n, op, err), 0);
	CHECK_INT(network_seen(d, n).state, NETWORK_NONE);
	DO(network_remove(d, n, op, err), 0);
	DO(network_ensure(d, n, &slice, op, err), 0);
	struct network_look first = network_seen(d, n);
	CHECK_INT(first.state, NETWORK_RUNNING);
	CHECK(first.incarnation && first.ports >= 8);
	DO(network_ensure(d, n, &slice, op, err), 0);
	CHECK(network_seen(d, n).incarnation == first.incarnation);
	DO(network_query_ports(d, n, op, err), 0);
	CHECK_INT(d->ports(n, &ports), 0);

	CHECK_INT(network_observe(d, n, call(&broken_off, "observe"), &bad), 0);
	d->close(n);
	settle();
	CHECK_INT(broken_off.fired, 0);
	n = network_at(d, &p);
	DO(network_observe(d, n, op, err), 0);
	CHECK_INT(network_seen(d, n).state, NETWORK_RUNNING);
	CHECK(network_seen(d, n).incarnation == first.incarnation);

	DO(network_remove(d, n, op, err), 0);
	CHECK_INT(network_seen(d, n).state, NETWORK_NONE);
	DO(network_remove(d, n, op, err), 0);
	CANCEL(network_ensure(d, n, &slice, op, err));
	DO(network_ensure(d, n, &slice, op, err), 0);
	CHECK(network_seen(d, n).incarnation != first.incarnation);
	CANCEL(network_observe(d, n, op, err));
	CANCEL(network_query_ports(d, n, op, err));
	DO(network_remove(d, n, op, err), 0);
	CHECK_INT(network_seen(d, n).state, NETWORK_NONE);
	d->close(n);
	place_done(&p);
}

/* --- image ------------------------------------------------------------- */

static void *image_at(const struct image_driver *d, struct place *p)
{
	struct err err = ERR_INIT;
	void *i = NULL;
	CHECK_INT(d->open(&p->env, &i, &err), 0);
	return i;
}

/* Nothing is built here: what there is is looked at, and left again. */
static void image(const struct image_driver *d, const struct image_slice *slice)
{
	struct image_look look;
	struct err bad = ERR_INIT;
	struct call broken_off;
	struct place p;

	if (!here(d->available))
		SKIP(why_not);
	place_init(&p, "image");
	d->close(image_at(d, &p));
	void *i = image_at(d, &p);
	for (int round = 0; round < 2; round++) {
		struct call c;
		struct err why = ERR_INIT;
		int r = image_observe(d, i, slice, call(&c, "observe"), &why);
		(void)outcome(&c, r, &why);
		d->look(i, &look);
		CHECK(!look.ready);
	}
	CANCEL(image_observe(d, i, slice, op, err));
	CHECK_INT(
	    image_observe(d, i, slice, call(&broken_off, "observe"), &bad), 0);
	d->close(i);
	settle();
	CHECK_INT(broken_off.fired, 0);
	place_done(&p);
}

static void image_files_keeps_the_contract(void)
{
	const struct image_spec spec = {.kind = IMAGE_NETBOOT};
	const struct image_driver *d = registry_image(&spec);
	_cleanup_free_ char *kernel = xasprintf("%s/kernel", folder);
	_cleanup_free_ char *initrd = xasprintf("%s/initrd", folder);
	const struct image_slice slice = {
	    .kind = IMAGE_NETBOOT,
	    .kernel = kernel,
	    .initrd = initrd,
	    .cache_dir = folder,
	    .data_dir = folder,
	};
	struct image_look look;
	struct place p;

	image(d, &slice); /* the files are not there */
	CHECK_INT(file_replace(AT_FDCWD, kernel, "k", 1, 0600), 0);
	CHECK_INT(file_replace(AT_FDCWD, initrd, "i", 1, 0600), 0);
	place_init(&p, "image");
	void *i = image_at(d, &p);
	DO(image_ensure(d, i, &slice, op, err), 0);
	d->look(i, &look);
	CHECK(look.ready);
	CHECK_STR(look.kernel, kernel);
	CHECK_STR(look.initrd, initrd);
	DO(image_ensure(d, i, &slice, op, err), 0);
	DO(image_observe(d, i, &slice, op, err), 0);
	d->look(i, &look);
	CHECK(look.ready);
	d->close(i);
	place_done(&p);
}

static void image_netboot_keeps_the_contract(void)
{
	const struct image_spec spec = {
	    .kind = IMAGE_NETBOOT, .build = (char *)"debian"};
	const struct image_slice slice = {
	    .kind = IMAGE_NETBOOT,
	    .build = "debian",
	    .cache_dir = folder,
	    .data_dir = RACKFS_DATA_DIR,
	};

	image(registry_image(&spec), &slice);
}

static void image_rootfs_keeps_the_contract(void)
{
	const struct image_spec spec = {
	    .kind = IMAGE_ROOTFS, .build = (char *)"debian"};
	const struct image_slice slice = {
	    .kind = IMAGE_ROOTFS,
	    .build = "debian",
	    .cache_dir = folder,
	    .data_dir = RACKFS_DATA_DIR,
	};

	image(registry_image(&spec), &slice);
}

static void images_of_a_source_keep_the_contract(void)
{
	static const enum image_kind kinds[] = {
	    IMAGE_ROOTFS, IMAGE_DISK, IMAGE_CLOSURE};
	_cleanup_free_ char *source = xasprintf("%s/source", folder);

	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		const struct image_spec spec = {.kind = kinds[k]};
		const struct image_slice slice = {
		    .kind = kinds[k],
		    .source = source,
		    .cache_dir = folder,
		    .data_dir = RACKFS_DATA_DIR,
		};

		image(registry_image(&spec), &slice);
	}
}

/* --- guest ------------------------------------------------------------- */

static void *guest_at(const struct guest_driver *d, struct place *p)
{
	struct err err = ERR_INIT;
	void *g = NULL;
	CHECK_INT(d->open(&p->env, &g, &err), 0);
	return g;
}

static bool guest_connected(const struct guest_driver *d, void *g)
{
	struct guest_look look;
	d->look(g, &look);
	return look.connected;
}

/* Where nobody answers: it tries on until it is told to end. */
static void guest(const struct guest_driver *d)
{
	const struct fake_spec fake = {.delay = 3600 * USEC_PER_SEC};
	const struct guest_peer peer = {.name = "node02", .address = 1};
	_cleanup_free_ char *key = xasprintf("%s/key", folder);
	const struct guest_slice slice = {
	    .host = "127.0.0.1",
	    .port = 1, /* tcpmux: nobody */
	    .user = "root",
	    .key_file = key,
	    .host_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPXRV7WxkcCmSySq"
			"sNGrmZl4+Zf6Y4RdGkHY8WGEJJGd",
	    .hostname = "node01",
	    .hosts = "",
	    .fake = &fake,
	};
	struct err bad = ERR_INIT;
	struct call broken_off;
	struct place p;

	if (!here(d->available))
		SKIP(why_not);
	place_init(&p, "guest");
	d->close(guest_at(d, &p));
	void *g = guest_at(d, &p);
	CHECK(!guest_connected(d, g));
	DO(guest_configure(d, g, &slice, op, err), -EAGAIN);
	DO(guest_poweroff(d, g, op, err), -EAGAIN);
	DO(guest_reach(d, g, &peer, 1, op, err), -EAGAIN);
	d->disconnect(g);
	CANCEL(guest_connect(d, g, &slice, op, err));
	CHECK(!guest_connected(d, g));
	CHECK_INT(
	    guest_connect(d, g, &slice, call(&broken_off, "connect"), &bad), 0);
	d->close(g);
	settle();
	CHECK_INT(broken_off.fired, 0);
	place_done(&p);
}

static void fake_guest_does_what_it_is_told(void)
{
	const struct guest_driver *d = registry_node("fake")->guest;
	_cleanup_strv_ char **stages = strv_new("ssh", NULL);
	const struct fake_spec fake = {.fail = stages, .fail_times = 1};
	const struct fake_spec twice = {.fail = stages, .fail_times = 2};
	const struct guest_slice slice = {.fake = &fake};
	const struct guest_slice again = {.fake = &twice};
	const struct guest_peer peers[] = {{"node02", 1}, {"node03", 2}};
	const struct guest_reach *reached = NULL;
	struct guest_look look;
	struct place p;

	place_init(&p, "guest");
	void *g = guest_at(d, &p);
	DO(guest_connect(d, g, &slice, op, err), -EIO);
	CHECK(!guest_connected(d, g));
	DO(guest_connect(d, g, &slice, op, err), 0);
	CHECK(guest_connected(d, g));
	DO(guest_connect(d, g, &slice, op, err), -EBUSY);
	DO(guest_configure(d, g, &again, op, err), -EIO);
	DO(guest_configure(d, g, &again, op, err), -EIO);
	DO(guest_configure(d, g, &again, op, err), 0);
	d->look(g, &look);
	CHECK(look.right);
	DO(guest_reach(d, g, peers, 2, op, err), 0);
	CHECK_INT(d->reached(g, &reached), 2);
	CHECK(reached && STREQ(reached[1].name, "node03"));
	CHECK(!d->session(g));
	d->disconnect(g);
	CHECK(!guest_connected(d, g));
	d->close(g);
	place_done(&p);
}

/* --- disk -------------------------------------------------------------- */

static void *disk_at(const struct disk_driver *d, struct place *p)
{
	struct err err = ERR_INIT;
	void *k = NULL;
	CHECK_INT(d->open(&p->env, &k, &err), 0);
	return k;
}

static enum disk_content disk_seen(const struct disk_driver *d, void *k)
{
	struct disk_look look;
	d->look(k, &look);
	return look.content;
}

static struct partition_spec parts[] = {
    {.name = (char *)"ESP",
	.size = 32 * MIB,
	.filesystem = FS_VFAT,
	.label = (char *)"boot",
	.mount = (char *)"/boot",
	.flags = PARTITION_ESP},
    {.name = (char *)"root",
	.filesystem = FS_EXT4,
	.label = (char *)"root",
	.mount = (char *)"/"},
};

/* Without a guest a disk can only be thrown away. */
static void disk_without_guest(const struct disk_driver *d)
{
	const struct disk_spec spec = {.present = true,
	    .size = 64 * MIB,
	    .partitions = parts,
	    .n_partitions = 2};
	_cleanup_free_ char *path = xasprintf("%s/disk.raw", folder);
	_cleanup_free_ char *volume_path = xasprintf("%s/data.raw", folder);
	const struct volume_spec volume_spec = {.name = "data"};
	const struct disk_volume volume = {
	    .spec = &volume_spec, .serial = "data", .path = volume_path};
	const struct disk_slice slice = {.serial = DISK_SERIAL,
	    .spec = &spec,
	    .path = path,
	    .volumes = &volume,
	    .n_volumes = 1};
	struct stat st;
	struct place p;

	if (!here(d->available))
		SKIP(why_not);
	place_init(&p, "disk");
	d->close(disk_at(d, &p));
	void *k = disk_at(d, &p);
	CHECK_INT(disk_seen(d, k), DISK_UNKNOWN);
	for (int i = 0; i < 2; i++) {
		struct call c;
		struct err err = ERR_INIT;
		int r =
		    i ? disk_ensure(d, k, &slice, call(&c, "ensure"), &err)
		      : disk_observe(d, k, &slice, call(&c, "observe"), &err);
		CHECK(outcome(&c, r, &err) < 0);
		CHECK_INT(disk_seen(d, k), DISK_UNKNOWN);
	}
	CHECK_INT(file_replace(AT_FDCWD, path, "data", 4, 0600), 0);
	CHECK_INT(file_replace(AT_FDCWD, volume_path, "data", 4, 0600), 0);
	DO(disk_wipe(d, k, &slice, op, err), 0);
	CHECK(stat(path, &st) < 0 || st.st_blocks == 0);
	CHECK(stat(volume_path, &st) < 0 || st.st_blocks == 0);
	DO(disk_wipe(d, k, &slice, op, err), 0);
	d->close(k);
	place_done(&p);
}

static void fake_disk_is_laid_out_grown_and_wiped(void)
{
	const struct disk_driver *d = registry_node("fake")->disk;
	_cleanup_strv_ char **stages = strv_new("partition", NULL);
	const struct fake_spec fake = {.fail = stages, .fail_times = 1};
	struct disk_spec spec = {.present = true,
	    .size = 64 * MIB,
	    .partitions = parts,
	    .n_partitions = 2};
	struct disk_plan plan = {.uuid = "one"};
	struct disk_slice slice = {.spec = &spec, .fake = &fake};
	struct place p;

	place_init(&p, "disk");
	void *k = disk_at(d, &p);
	DO(disk_observe(d, k, &slice, op, err), 0);
	CHECK_INT(disk_seen(d, k), DISK_BLANK);
	DO(disk_ensure(d, k, &slice, op, err), -EINVAL); /* no plan */
	slice.plan = &plan;
	DO(disk_ensure(d, k, &slice, op, err), -EIO);
	CHECK_INT(disk_seen(d, k), DISK_OURS_PARTIAL);
	DO(disk_ensure(d, k, &slice, op, err), 0);
	CHECK_INT(disk_seen(d, k), DISK_OURS);
	DO(disk_ensure(d, k, &slice, op, err), 0);
	spec.size = 128 * MIB;
	slice.laid_out = true;
	DO(disk_observe(d, k, &slice, op, err), 0);
	CHECK_INT(disk_seen(d, k), DISK_OURS_GROWN);
	DO(disk_ensure(d, k, &slice, op, err), 0);
	CHECK_INT(disk_seen(d, k), DISK_OURS);
	spec.n_partitions = 1;
	DO(disk_ensure(d, k, &slice, op, err), 0);
	CHECK_INT(disk_seen(d, k), DISK_OURS_OTHER); /* never made anew */
	CANCEL(disk_observe(d, k, &slice, op, err));
	strcpy(plan.uuid, "two");
	DO(disk_observe(d, k, &slice, op, err), 0);
	CHECK_INT(disk_seen(d, k), DISK_FOREIGN);
	DO(disk_ensure(d, k, &slice, op, err), -EEXIST);
	DO(disk_wipe(d, k, &slice, op, err), 0);
	DO(disk_observe(d, k, &slice, op, err), 0);
	CHECK_INT(disk_seen(d, k), DISK_BLANK);
	d->close(k);
	place_done(&p);
}

/* Volumes without a disk, then beside one, then below a system that runs from
 * its disk. */
static void fake_volumes(void)
{
	const struct disk_driver *d = registry_node("fake")->disk;
	const struct fake_spec fake = {0};
	struct place p;
	struct volume_spec specs[] = {
	    {.name = "data", .size = GIB, .filesystem = FS_EXT4},
	    {.name = "logs", .size = GIB, .filesystem = FS_EXT4}};
	struct disk_volume volumes[] = {{.spec = &specs[0], .serial = "data"},
	    {.spec = &specs[1], .serial = "logs"}};
	struct disk_spec spec = {0};
	struct disk_plan plan = {.uuid = "one"};
	struct disk_slice slice = {.root = "/mnt",
	    .spec = &spec,
	    .volumes = volumes,
	    .n_volumes = 2,
	    .fake = &fake};
	struct disk_look look;

	place_init(&p, "disk");
	void *k = disk_at(d, &p);
	DO(disk_observe(d, k, &slice, op, err), 0);
	CHECK_INT(disk_seen(d, k), DISK_BLANK);
	volumes[0].uuid = "data-uuid";
	DO(disk_ensure(d, k, &slice, op, err), -EINVAL); /* one has none */
	slice.n_volumes = 1;
	DO(disk_ensure(d, k, &slice, op, err), 0);
	CHECK_INT(disk_seen(d, k), DISK_OURS);
	slice.n_volumes = 2;
	volumes[1].uuid = "logs-uuid";
	DO(disk_observe(d, k, &slice, op, err), 0);
	CHECK_INT(disk_seen(d, k), DISK_OURS_PARTIAL); /* one is blank */
	DO(disk_ensure(d, k, &slice, op, err), 0);
	CHECK_INT(disk_seen(d, k), DISK_OURS);
	specs[1].size = 2 * GIB;
	DO(disk_observe(d, k, &slice, op, err), 0);
	CHECK_INT(disk_seen(d, k), DISK_OURS_GROWN);
	spec = (struct disk_spec){.present = true, .size = GIB};
	slice.plan = &plan;
	slice.root = "";
	DO(disk_ensure(d, k, &slice, op, err), -EIO); /* it runs from what? */
	slice.root = "/mnt";
	DO(disk_ensure(d, k, &slice, op, err), 0);
	slice.root = "";
	DO(disk_ensure(d, k, &slice, op, err), 0);
	CHECK_INT(disk_seen(d, k), DISK_OURS);
	volumes[1].uuid = "another";
	DO(disk_observe(d, k, &slice, op, err), 0);
	CHECK_INT(disk_seen(d, k), DISK_FOREIGN);
	d->look(k, &look);
	CHECK_STR(look.found, "logs: a disk with the uuid logs-uuid");
	DO(disk_ensure(d, k, &slice, op, err), -EEXIST);
	DO(disk_wipe(d, k, &slice, op, err), 0);
	DO(disk_observe(d, k, &slice, op, err), 0);
	CHECK_INT(disk_seen(d, k), DISK_BLANK);
	d->close(k);
	place_done(&p);
}

/* --- install ----------------------------------------------------------- */

static struct install_look install_seen(const struct install_driver *d, void *i)
{
	struct install_look look;

	d->look(i, &look);
	return look;
}

static void *install_at(const struct install_driver *d, struct place *p)
{
	struct err err = ERR_INIT;
	void *i = NULL;

	CHECK_INT(d->open(&p->env, &i, &err), 0);
	return i;
}

static struct image_look *image_to_install(const char *source, char digit)
{
	struct image_look *look = xcalloc(1, sizeof(*look));

	look->ready = true;
	snprintf(look->source, sizeof(look->source), "%s", source);
	memset(look->digest, digit, sizeof(look->digest) - 1);
	look->format = FORMAT_RAW;
	look->size = 8 * MIB;
	snprintf(look->init, sizeof(look->init), "/nix/store/x-toy/init");
	return look;
}

/* Without a guest nothing can be put on its disk. */
static void install_without_guest(const struct install_driver *d)
{
	_cleanup_free_ struct image_look *image =
	    image_to_install("/nowhere", 'a');
	struct install_slice slice = {.root = "/mnt", .image = image};
	struct place p;

	if (!here(d->available))
		SKIP(why_not);
	place_init(&p, "install");
	d->close(install_at(d, &p));
	void *i = install_at(d, &p);
	DO(install_observe(d, i, &slice, op, err), -EAGAIN);
	DO(install_ensure(d, i, &slice, op, err), -EAGAIN);
	DO(install_seal(d, i, &slice, op, err), -EAGAIN);
	slice.root = "";
	DO(install_ensure(d, i, &slice, op, err), -EINVAL);
	slice.root = "/mnt";
	slice.cmdline = "one\ntwo";
	DO(install_ensure(d, i, &slice, op, err), -EINVAL);
	slice.image = NULL;
	DO(install_ensure(d, i, &slice, op, err), -EINVAL);
	CHECK_STR(install_seen(d, i).copied, "");
	d->close(i);
	place_done(&p);
}

static void install_on_a_file(const struct install_driver *d)
{
	_cleanup_free_ char *source = xasprintf("%s/image", folder);
	_cleanup_free_ char *path = xasprintf("%s/disk", folder);
	_cleanup_free_ struct image_look *first = image_to_install(source, 'a');
	_cleanup_free_ struct image_look *second =
	    image_to_install(source, 'b');
	struct install_slice slice = {.image = first,
	    .disk_path = path,
	    .disk_format = FORMAT_QCOW2,
	    .disk_size = 16 * MIB};
	struct err bad = ERR_INIT;
	struct call broken_off;
	struct place p;

	if (!here(d->available))
		SKIP(why_not);
	place_init(&p, "install");
	CHECK_INT(file_replace(AT_FDCWD, source, "data", 4, 0600), 0);
	CHECK_INT(truncate(source, 8 * MIB), 0);
	d->close(install_at(d, &p));
	void *i = install_at(d, &p);
	DO(install_observe(d, i, &slice, op, err), 0);
	CHECK_STR(install_seen(d, i).installed, "");
	DO(install_seal(d, i, &slice, op, err), -EIO);
	CANCEL(install_ensure(d, i, &slice, op, err));
	CHECK_INT(
	    install_ensure(d, i, &slice, call(&broken_off, "ensure"), &bad), 0);
	d->close(i);
	settle();
	CHECK_INT(broken_off.fired, 0);
	i = install_at(d, &p);
	for (int round = 0; round < 2; round++)
		DO(install_ensure(d, i, &slice, op, err), 0);
	DO(install_seal(d, i, &slice, op, err), 0);
	CHECK_STR(install_seen(d, i).installed, first->digest);
	slice.image = second;
	DO(install_ensure(d, i, &slice, op, err), -EEXIST);
	CHECK_INT(unlink(path), 0); /* wiped */
	DO(install_observe(d, i, &slice, op, err), 0);
	CHECK_STR(install_seen(d, i).installed, "");
	d->close(i);
	place_done(&p);
}

static void fake_install_is_sealed_and_wiped(void)
{
	const struct node_driver *n = registry_node("fake");
	const struct install_driver *d = n->install[IMAGE_ROOTFS];
	_cleanup_strv_ char **stages = strv_new("install", NULL);
	const struct fake_spec fake = {.fail = stages, .fail_times = 1};
	_cleanup_free_ struct image_look *first = image_to_install("", 'a');
	_cleanup_free_ struct image_look *second = image_to_install("", 'b');
	struct install_slice slice = {.image = first, .fake = &fake};
	const struct disk_spec disk = {.size = MIB};
	const struct disk_slice disk_slice = {.spec = &disk};
	struct place p;

	place_init(&p, "install");
	void *i = install_at(d, &p);
	DO(install_observe(d, i, &slice, op, err), 0);
	CHECK_STR(install_seen(d, i).copied, "");
	DO(install_seal(d, i, &slice, op, err), -EIO);
	DO(install_ensure(d, i, &slice, op, err), -EIO);
	CHECK_STR(install_seen(d, i).copied, "");
	DO(install_ensure(d, i, &slice, op, err), 0);
	CHECK_STR(install_seen(d, i).copied, first->digest);
	CHECK_STR(install_seen(d, i).installed, "");
	/* It was never booted: another image takes its place. */
	slice.image = second;
	DO(install_ensure(d, i, &slice, op, err), 0);
	CANCEL(install_seal(d, i, &slice, op, err));
	DO(install_seal(d, i, &slice, op, err), 0);
	CHECK_STR(install_seen(d, i).installed, second->digest);
	slice.image = first;
	DO(install_ensure(d, i, &slice, op, err), -EEXIST);
	slice.image = NULL; /* a fake node asks for none */
	void *k = disk_at(n->disk, &p);
	DO(disk_wipe(n->disk, k, &disk_slice, op, err), 0);
	n->disk->close(k);
	DO(install_observe(d, i, &slice, op, err), 0);
	CHECK_STR(install_seen(d, i).installed, "");
	DO(install_ensure(d, i, &slice, op, err), 0);
	DO(install_seal(d, i, &slice, op, err), 0);
	CHECK(install_seen(d, i).installed[0]);
	d->close(i);
	place_done(&p);
}

static void install(const struct node_driver *n, const char *name)
{
	const struct install_driver *d = NULL;

	for (int k = 0; k < IMAGE_KINDS; k++)
		if (n->install[k] && STREQ(n->install[k]->name, name))
			d = n->install[k];
	if (n->virtual)
		fake_install_is_sealed_and_wiped();
	else if (d == n->install[IMAGE_DISK])
		install_on_a_file(d);
	else
		install_without_guest(d);
}

/* --- setup and probe ------------------------------------------------------ */

static char *const true_argv[] = {(char *)"true", NULL};
static char *const sleep_argv[] = {(char *)"sleep", (char *)"3600", NULL};

/* Nothing can be set up without a guest; to look is refused as well. */
static void setup_without_guest(const struct setup_driver *d)
{
	const struct setup_file file = {
	    .key = "files./x", .path = "/x", .mode = 0644, .owner = "0:0"};
	const struct setup_slice slice = {
	    .root = "", .files = &file, .n_files = 1};
	struct setup_look look;
	struct place p;

	if (!here(d->available))
		SKIP(why_not);
	place_init(&p, "setup");
	void *s = NULL;
	CHECK_INT(d->open(&p.env, &s, NULL), 0);
	d->look(s, &look);
	CHECK(!look.known);
	DO(setup_observe(d, s, &slice, op, err), -EAGAIN);
	for (enum setup_part part = 0; part < SETUP_PARTS; part++)
		DO(setup_ensure(d, s, part, &slice, op, err), -EAGAIN);
	d->look(s, &look);
	CHECK(!look.known);
	d->close(s);
	place_done(&p);
}

static bool setup_differs(
    const struct setup_driver *d, void *s, enum setup_part part)
{
	struct setup_look look;

	d->look(s, &look);
	CHECK(look.known);
	CHECK(!look.differs[part] || look.n_items > 0);
	return look.differs[part];
}

static void fake_setup_differs_until_ensured(void)
{
	const struct setup_driver *d = registry_node("fake")->setup;
	_cleanup_strv_ char **stages = strv_new("configure", "run", NULL);
	const struct fake_spec fake = {.fail = stages, .fail_times = 1};
	struct setup_file file = {.key = "files./x",
	    .path = "/x",
	    .data = "one",
	    .len = 3,
	    .mode = 0644,
	    .owner = "root:root"};
	const struct setup_run run = {
	    .name = "once", .command = (char **)true_argv};
	const struct setup_service service = {.name = "web"};
	const struct setup_slice slice = {.root = "",
	    .files = &file,
	    .n_files = 1,
	    .runs = &run,
	    .n_runs = 1,
	    .services = &service,
	    .n_services = 1,
	    .fake = &fake};
	struct setup_look look;
	struct place p;
	void *s = NULL;

	place_init(&p, "setup");
	CHECK_INT(d->open(&p.env, &s, NULL), 0);
	DO(setup_observe(d, s, &slice, op, err), 0);
	d->look(s, &look);
	CHECK_INT(look.n_items, 3);
	CHECK_STR(look.items[0].key, "files./x");
	DO(setup_ensure(d, s, SETUP_FILES, &slice, op, err), -EIO);
	CHECK(setup_differs(d, s, SETUP_FILES));
	DO(setup_ensure(d, s, SETUP_FILES, &slice, op, err), 0);
	CHECK(!setup_differs(d, s, SETUP_FILES));
	DO(setup_ensure(d, s, SETUP_RUN, &slice, op, err), -EIO);
	DO(setup_ensure(d, s, SETUP_RUN, &slice, op, err), 0);
	DO(setup_ensure(d, s, SETUP_SERVICES, &slice, op, err), 0);
	CHECK(!setup_differs(d, s, SETUP_SERVICES));
	d->close(s);
	/* Another daemon sees the same. */
	CHECK_INT(d->open(&p.env, &s, NULL), 0);
	DO(setup_observe(d, s, &slice, op, err), 0);
	d->look(s, &look);
	CHECK_INT(look.n_items, 0);
	file.data = "two";
	DO(setup_observe(d, s, &slice, op, err), 0);
	CHECK(setup_differs(d, s, SETUP_FILES));
	CHECK(!setup_differs(d, s, SETUP_RUN));
	CANCEL(setup_observe(d, s, &slice, op, err));
	d->close(s);
	place_done(&p);
}

static void probe(const struct probe_driver *d)
{
	const struct fake_spec slow = {.delay = 3600 * USEC_PER_SEC};
	struct probe_slice slice = {.kind = CHECK_COMMAND,
	    .command = (char **)true_argv,
	    .timeout = 30 * USEC_PER_SEC};
	struct err bad = ERR_INIT;
	struct call broken_off;
	struct probe_look look;
	struct place p;
	void *k = NULL;

	if (!here(d->available))
		SKIP(why_not);
	place_init(&p, "probe");
	CHECK_INT(d->open(&p.env, &k, NULL), 0);
	DO(probe_run(d, k, &slice, op, err), 0);
	d->look(k, &look);
	CHECK(look.pass && look.detail[0]);
	slice.command = (char **)sleep_argv;
	slice.fake = &slow;
	CANCEL(probe_run(d, k, &slice, op, err));
	CHECK_INT(probe_run(d, k, &slice, call(&broken_off, "run"), &bad), 0);
	d->close(k);
	settle();
	CHECK_INT(broken_off.fired, 0);
	place_done(&p);
}

static void fake_check_fails_so_many_times(void)
{
	const struct probe_driver *d = registry_node("fake")->probe;
	_cleanup_strv_ char **words = strv_new(FAKE_CHECK, NULL);
	const struct fake_spec fake = {.fail = words, .fail_times = 2};
	const struct probe_slice slice = {.kind = CHECK_TCP, .fake = &fake};
	struct probe_look look;
	struct place p;
	void *k = NULL;

	place_init(&p, "probe");
	CHECK_INT(d->open(&p.env, &k, NULL), 0);
	for (int i = 0; i < 3; i++) {
		DO(probe_run(d, k, &slice, op, err), 0);
		d->look(k, &look);
		CHECK_INT(look.pass, i == 2);
	}
	d->close(k);
	place_done(&p);
}

/* --- a node that does nothing costs nothing ------------------------------ */

static void opening_fake_nodes_is_free(void)
{
	const struct node_driver *n = registry_node("fake");
	struct err err = ERR_INIT;
	struct place p;
	void *m, *g, *k, *i, *s, *c;

	/* Folders that do not exist: nothing may look at them. */
	place_init(&p, "gone");
	CHECK_INT(rmdir(p.state), 0);
	CHECK_INT(rmdir(p.run), 0);
	int before = dup(0), after;
	close(before);
	for (int round = 0; round < 1000; round++) {
		CHECK_INT(
		    n->machine->open(&p.env, no_identity, on_console, &m, &err),
		    0);
		CHECK_INT(n->guest->open(&p.env, &g, &err), 0);
		CHECK_INT(n->disk->open(&p.env, &k, &err), 0);
		CHECK_INT(n->install[IMAGE_DISK]->open(&p.env, &i, &err), 0);
		CHECK_INT(n->setup->open(&p.env, &s, &err), 0);
		CHECK_INT(n->probe->open(&p.env, &c, &err), 0);
		if (round == 0) {
			after = dup(0);
			CHECK_INT(after, before); /* no descriptor */
			close(after);
		}
		n->probe->close(c);
		n->setup->close(s);
		n->install[IMAGE_DISK]->close(i);
		n->disk->close(k);
		n->guest->close(g);
		n->machine->close(m);
	}
	CHECK(access(p.run, F_OK) < 0);
	place_done(&p);
}

/* --- all of the registry ------------------------------------------------- */

static void on_driver(const char *kind, const char *name, const char *help,
    int (*available)(struct err *err), void *userdata)
{
	int *count = userdata;
	struct err err = ERR_INIT;

	(*count)++;
	CHECK(*kind && *name && *help);
	int r = available(&err);
	CHECK(r <= 0);
	CHECK(r == 0 || err.text[0]); /* what to install */
}

static void every_driver_says_what_it_is(void)
{
	int count = 0;
	registry_each(on_driver, &count);
	CHECK(count >= 10);
	CHECK(!registry_node("vax") && !registry_network("token-ring"));
	CHECK(!registry_image(&(struct image_spec){0}));
}

/* One of them, by its kind and name; nodes are found by their machine. */
struct subject {
	const char *kind, *name;
	const struct node_driver *node;
};
#define SUBJECTS_MAX 64
static struct subject subjects[SUBJECTS_MAX];
static size_t n_subjects;
static const struct subject *subject; /* of the case that runs */

static void add_subject(const char *kind, const char *name, const char *help,
    int (*available)(struct err *err), void *userdata)
{
	static const struct node_driver *node;
	if (STREQ(kind, "machine"))
		node = registry_node(name);
	if (n_subjects < SUBJECTS_MAX)
		subjects[n_subjects++] = (struct subject){kind, name, node};
}

static void subject_keeps_the_contract(void)
{
	const struct subject *s = subject;
	if (STREQ(s->kind, "network"))
		network(registry_network(s->name));
	else if (!s->node)
		CHECK(!"a node driver has the name of its machine");
	else if (STREQ(s->kind, "machine"))
		machine(s->node->machine);
	else if (STREQ(s->kind, "guest"))
		guest(s->node->guest);
	else if (STREQ(s->kind, "install"))
		install(s->node, s->name);
	else if (STREQ(s->kind, "probe"))
		probe(s->node->probe);
	else if (STREQ(s->kind, "setup") && s->node->virtual)
		fake_setup_differs_until_ensured();
	else if (STREQ(s->kind, "setup"))
		setup_without_guest(s->node->setup);
	else if (s->node->virtual)
		fake_disk_is_laid_out_grown_and_wiped();
	else
		disk_without_guest(s->node->disk);
}

static const struct test_case cases[] = {
    CASE(every_driver_says_what_it_is),
    CASE(opening_fake_nodes_is_free),
    CASE(fake_machine_boots_and_ends),
    CASE(fake_guest_does_what_it_is_told),
    CASE(fake_volumes),
    CASE(fake_check_fails_so_many_times),
    CASE(image_files_keeps_the_contract),
    CASE(image_netboot_keeps_the_contract),
    CASE(image_rootfs_keeps_the_contract),
    CASE(images_of_a_source_keep_the_contract),
};

static int run_case(const struct test_case *c)
{
	const char *base = getenv("T");
	int bad;

	folder = xasprintf("%s/rackfs-XXXXXX", base ? base : "/tmp");
	if (!mkdtemp(folder))
		return 1;
	bad = test_main(c, 1);
	remove_tree(AT_FDCWD, folder);
	free(folder);
	return bad;
}

/* Every case works in a folder of its own. */
int main(void)
{
	int bad = 0;

	if (loop_new(&loop) < 0)
		return 1;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		bad |= run_case(&cases[i]);
	registry_each(add_subject, NULL);
	for (size_t i = 0; i < n_subjects; i++) {
		char name[128];
		subject = &subjects[i];
		if (STREQ(subject->kind, "image"))
			continue; /* by their own cases: inputs differ */
		snprintf(name, sizeof(name), "%s_%s_keeps_the_contract",
		    subject->kind, subject->name);
		bad |= run_case(&(struct test_case){
		    .name = name, .run = subject_keeps_the_contract});
	}
	loop_free(loop);
	return bad;
}
