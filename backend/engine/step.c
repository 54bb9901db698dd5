// SPDX-License-Identifier: Apache-2.0
/*
 * Carries out one step of a node through its drivers; step_end.c takes in what
 * came of it.  reconcile.c decides when; what is next is plan.c's.  A step that
 * needs something on disk first (keys, uuids, the mark that a disk is used)
 * has it made by the worker before the driver is called.
 */
#include <errno.h>
#include <stdio.h>
#include "engine/engine.h"
#include "host/ssh_key.h"

/* No step is waited for without end. */
static const uint64_t limits[STEPS] = {
    [STEP_OBSERVE] = 30 * USEC_PER_SEC,
    [STEP_START] = 120 * USEC_PER_SEC,
    [STEP_APPLY] = 120 * USEC_PER_SEC,
    [STEP_CONNECT] = USEC_NEVER, /* the plan has its deadline */
    [STEP_CONFIGURE] = 120 * USEC_PER_SEC,
    [STEP_DISK_LOOK] = 120 * USEC_PER_SEC,
    [STEP_PARTITION] = 3600 * USEC_PER_SEC,
    [STEP_INSTALL] = 14400 * USEC_PER_SEC,
    [STEP_SEAL] = 300 * USEC_PER_SEC,
    [STEP_SETUP_LOOK] = 300 * USEC_PER_SEC,
    [STEP_SETUP] = 3600 * USEC_PER_SEC,
    [STEP_POWEROFF] = 10 * USEC_PER_SEC,
    [STEP_KILL] = 20 * USEC_PER_SEC,
    [STEP_WIPE] = 120 * USEC_PER_SEC,
};

uint64_t step_time_limit(enum step s)
{
	return limits[s] ? limits[s] : USEC_NEVER;
}

/* --- calls back from a driver -------------------------------------------- */

static void op_ended(struct op *op, int code, const struct err *err)
{
	struct node *n = op->owner;
	enum step step = n->doing;
	struct err late = ERR_INIT;

	if (code == -ECANCELED && n->timed_out) {
		char t[24];

		format_usec(step_time_limit(step), t);
		code = err_set(&late, -ETIMEDOUT,
		    "it did not end within %s (step %s)", t, step_name(step));
		err = &late;
	}
	step_ended(n, step, code, err);
}

static void op_progressed(struct op *op, int percent, const char *text)
{
	struct node *n = op->owner;

	if (n->plan.stage < STAGES)
		node_stage_detail(n, n->plan.stage, percent, text);
}

/* A call was refused at once: that is an end as well, told from the loop so
 * that the caller is through with its own work. */
static void rejected(struct node *n, int r, const struct err *err)
{
	if (r < 0)
		step_ended(n, n->doing, r, err);
}

/* --- preparing on the worker --------------------------------------------- */

struct preparing {
	struct node *n;
	char *key_path; /* host key to make, or NULL */
};

static int prepare_run(void *userdata, struct err *err)
{
	struct preparing *p = userdata;

	return p->key_path ? ssh_key_ensure(p->key_path, "", err) : 0;
}

static void prepare_end(struct preparing *p)
{
	object_unref(&p->n->o);
	free(p->key_path);
	free(p);
}

static void start_machine(struct node *n)
{
	const struct image *system = node_system(n);
	struct machine_slice slice;
	struct slice_space space;
	struct err err = ERR_INIT;
	int r;

	n->started_disk = node_starts_disk(n);
	n->started_payload = node_installing(n) && !n->driver->virtual &&
			     system && system->look.ready;
	slice_machine(n, &slice, &space);
	r = machine_start(n->driver->machine, n->machine, &slice, &n->op, &err);
	slice_space_done(&space);
	rejected(n, r, &err);
}

static void run_partition(struct node *n)
{
	struct disk_slice slice;
	struct slice_space space;
	struct err err = ERR_INIT;
	int r;

	slice_disk(n, &slice, &space);
	r = disk_ensure(n->driver->disk, n->disk, &slice, &n->op, &err);
	slice_space_done(&space);
	rejected(n, r, &err);
}

static int run_apply(struct node *n, struct err *err)
{
	struct machine_slice slice;
	struct slice_space space;
	int r;

	n->applied = n->spec_digest;
	slice_machine(n, &slice, &space);
	r = machine_apply(n->driver->machine, n->machine, &slice, &n->op, err);
	slice_space_done(&space);
	return r;
}

static void prepared(int code, const struct err *err, void *userdata)
{
	struct preparing *p = userdata;
	struct node *n = p->n;
	struct err late = ERR_INIT;

	n->preparing = false;
	node_open(n);
	if (!n->machine || n->cancelling || !n->o.c->worker)
		step_ended(n, n->doing, -ECANCELED, NULL);
	else if (code < 0)
		step_ended(n, n->doing, code, err);
	else if (n->doing == STEP_START)
		start_machine(n);
	else if (n->doing == STEP_INSTALL)
		begin_install(n);
	else if (n->doing == STEP_APPLY)
		rejected(n, run_apply(n, &late), &late);
	else
		run_partition(n);
	prepare_end(p);
}

static void key_ready(int code, const struct err *err, void *userdata)
{
	struct preparing *p = userdata;
	struct node *n = p->n;
	/* What an install wrote is on record by its own mark. */
	bool disk = n->doing == STEP_START &&
		    (n->spec->disk.present || n->spec->n_volumes);
	bool numbered =
	    disk && code == 0 && !n->o.gone && node_number_volumes(n);

	if (code == 0 && p->key_path)
		names_changed(n->o.c);
	if (code < 0 || n->o.gone || !disk ||
	    (n->meta.disk_used && !numbered)) {
		prepared(code, err, p);
		return;
	}
	/* From now on the disk may hold data: on record before it can. */
	n->meta.disk_used = true;
	node_meta_put(n, prepared, p);
}

static struct preparing *prepare_new(struct node *n)
{
	struct preparing *p = xcalloc(1, sizeof(*p));

	p->n = n;
	object_ref(&n->o);
	n->preparing = true;
	return p;
}

/* A start, and an install of what is handed the key that it shall show. */
static void begin_keyed(struct node *n)
{
	struct preparing *p = prepare_new(n);

	if (n->driver->virtual && !n->spec->disk.present &&
	    !n->spec->n_volumes) {
		key_ready(0, NULL, p);
		return;
	}
	if (!n->driver->virtual)
		p->key_path = node_key_path(n);
	store_run(n->o.c, prepare_run, key_ready, p);
}

void filesystem_uuid(enum filesystem fs, char ret[37])
{
	uint16_t v[2];

	random_uuid(ret);
	if (fs != FS_VFAT)
		return;
	random_bytes(v, sizeof(v));
	snprintf(ret, 37, "%04X-%04X", v[0], v[1]);
}

/* Uuids are chosen and stored before the first byte is written. */
static void begin_partition(struct node *n)
{
	struct slice_space space;
	struct disk_slice slice;
	struct disk_plan *plan;
	size_t count;

	slice_disk(n, &slice, &space);
	slice_space_done(&space);
	count = space.disk.n_partitions;
	if (n->meta.disk && (n->meta.laid_out || count == 0 ||
				n->meta.disk->partition_uuid[count - 1][0])) {
		run_partition(n);
		return;
	}
	if (!n->meta.disk)
		n->meta.disk = xcalloc(1, sizeof(*n->meta.disk));
	plan = n->meta.disk;
	if (!plan->uuid[0])
		random_uuid(plan->uuid);
	if (space.disk.table == TABLE_MBR && plan->uuid[1] != 'x') {
		uint32_t id = 0;

		while (id == 0)
			random_bytes(&id, sizeof(id));
		snprintf(plan->uuid, sizeof(plan->uuid), "0x%08x", id);
	}
	for (size_t i = 0; i < count; i++)
		if (!plan->partition_uuid[i][0])
			filesystem_uuid(space.disk.partitions[i].filesystem,
			    plan->partition_uuid[i]);
	node_meta_put(n, prepared, prepare_new(n));
}

/* --- steps --------------------------------------------------------------- */

/* A volume that is to be plugged in has its number and uuid on disk first. */
static int begin_apply(struct node *n, struct err *err)
{
	if (volumes_fit(n) || !node_number_volumes(n))
		return run_apply(n, err);
	n->meta.disk_used = true;
	node_meta_put(n, prepared, prepare_new(n));
	return 0;
}

static int run_connect(struct node *n, bool configure, struct err *err)
{
	_cleanup_free_ char *host_key = NULL;
	_cleanup_buf_ struct buf keys = {0};
	struct guest_nic nics[NICS_MAX];
	struct guest_slice slice;
	int r = node_host_key(n, &host_key, err);

	if (r < 0)
		return r;
	slice_guest(n, &slice, nics, host_key, &keys);
	if (!configure)
		return guest_connect(
		    n->driver->guest, n->guest, &slice, &n->op, err);
	n->hosts_sent = n->o.c->names_version;
	return guest_configure(n->driver->guest, n->guest, &slice, &n->op, err);
}

static int run_disk(struct node *n, bool wipe, struct err *err)
{
	_cleanup_free_ char *path = NULL;
	struct slice_space space;
	struct disk_slice slice;
	int r;

	slice_disk(n, &slice, &space);
	if (wipe) {
		struct disk_volume *volumes;
		size_t count = slice_wipe(n, &volumes);

		path = node_disk_path(n, NULL);
		slice.path = path;
		slice.volumes = volumes;
		slice.n_volumes = count;
		r = disk_wipe(n->driver->disk, n->disk, &slice, &n->op, err);
		slice_wipe_done(volumes, count);
	} else {
		r = disk_observe(n->driver->disk, n->disk, &slice, &n->op, err);
	}
	slice_space_done(&space);
	return r;
}

static int run_poweroff(struct node *n, struct err *err)
{
	if (n->guest_look && n->guest_look->connected)
		return guest_poweroff(n->driver->guest, n->guest, &n->op, err);
	return machine_stop(n->driver->machine, n->machine, false, &n->op, err);
}

void step_run(struct node *n)
{
	const struct node_driver *d = n->driver;
	struct err err = ERR_INIT;
	int r = 0;

	node_open(n);
	n->doing = n->plan.step;
	n->cancelling = n->timed_out = false;
	n->doing_due = n->due;
	n->doing_again = n->again;
	n->op = (struct op){
	    .what = step_name(n->doing),
	    .done = op_ended,
	    .progress = op_progressed,
	    .owner = n,
	};
	switch (n->doing) {
	case STEP_OBSERVE:
		r = machine_observe(d->machine, n->machine, &n->op, &err);
		break;
	case STEP_START:
		begin_keyed(n);
		break;
	case STEP_APPLY:
		r = begin_apply(n, &err);
		break;
	case STEP_CONNECT:
	case STEP_CONFIGURE:
		r = run_connect(n, n->doing == STEP_CONFIGURE, &err);
		break;
	case STEP_DISK_LOOK:
	case STEP_WIPE:
		r = run_disk(n, n->doing == STEP_WIPE, &err);
		break;
	case STEP_PARTITION:
		begin_partition(n);
		break;
	case STEP_INSTALL:
		if (node_install_way(n) == INSTALL_COLD)
			begin_keyed(n);
		else
			begin_install(n);
		break;
	case STEP_SEAL:
		begin_seal(n);
		break;
	case STEP_SETUP:
	case STEP_SETUP_LOOK:
		begin_setup(n, n->doing == STEP_SETUP_LOOK);
		break;
	case STEP_POWEROFF:
		/* Noted first: the guest may go, and this daemon before it. */
		n->asking = n->machine_look.launch;
		history_save(n);
		r = run_poweroff(n, &err);
		break;
	case STEP_KILL:
		r = machine_stop(d->machine, n->machine, true, &n->op, &err);
		break;
	case STEP_NONE:
	case STEP_IMAGE:
	case STEP_NETWORK:
	case STEP_FAIL:
	case STEPS:
		n->doing = STEP_NONE;
		return;
	}
	rejected(n, r, &err);
}
