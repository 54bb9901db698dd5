/* SPDX-License-Identifier: Apache-2.0
 *
 * Lays out a guest's disk and volumes through its SSH session: sfdisk, mkfs,
 * mount.  What they hold is asked first, always, under the guest's lock: so a
 * command that outlived its daemon is waited for, and its work is seen, never
 * done twice.  Every step is taken because the last look asks for it
 * (disk_next()), so ensure goes on wherever it was cut off.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "drivers/disk_guest.h"
#include "drivers/drivers.h"
#include "host/guest_command.h"

#define LOOK_TIMEOUT (110 * USEC_PER_SEC)

void disk_log(struct disk *d, const char *text)
{
	if (d->env->log)
		d->env->log(d->env->owner, text, strlen(text));
}

/* --- copies ------------------------------------------------------------ */

static void drop_spec(struct disk *d)
{
	for (size_t i = 0; i < d->spec.n_partitions; i++) {
		free(d->spec.partitions[i].name);
		free(d->spec.partitions[i].label);
		free(d->spec.partitions[i].mount);
	}
	free(d->spec.partitions);
	d->spec = (struct disk_spec){0};
	for (size_t i = 0; i < d->n_volumes; i++) {
		struct disk_volume *v = &d->volumes[i];
		free(v->spec->name);
		free(v->spec->label);
		free(v->spec->mount);
		free((struct volume_spec *)v->spec);
		free((char *)v->serial);
		free((char *)v->uuid);
	}
	d->n_volumes = 0;
	free(TAKE_PTR(d->serial));
	free(TAKE_PTR(d->root));
}

static void take_volumes(struct disk *d, const struct disk_slice *s)
{
	for (size_t i = 0; i < s->n_volumes && i < VOLUMES_MAX; i++) {
		const struct disk_volume *from = &s->volumes[i];
		struct volume_spec *spec = xmalloc(sizeof(*spec));
		*spec = *from->spec;
		spec->name = xstrdup(spec->name);
		spec->label = xstrdup(spec->label);
		spec->mount = xstrdup(spec->mount);
		d->volumes[d->n_volumes++] = (struct disk_volume){.spec = spec,
		    .serial = xstrdup(from->serial),
		    .uuid = xstrdup(from->uuid)};
		disk_layout_volume(&d->layout, spec, from->uuid);
	}
}

static void take_slice(struct disk *d, const struct disk_slice *s)
{
	drop_spec(d);
	d->spec = *s->spec;
	d->spec.n_partitions = MIN(s->spec->n_partitions, PARTITIONS_MAX);
	d->spec.partitions =
	    xcalloc(d->spec.n_partitions + 1, sizeof(*d->spec.partitions));
	for (size_t i = 0; i < d->spec.n_partitions; i++) {
		struct partition_spec *p = &d->spec.partitions[i];
		*p = s->spec->partitions[i];
		p->name = xstrdup(p->name);
		p->label = xstrdup(p->label);
		p->mount = xstrdup(p->mount);
	}
	d->planned = s->plan != NULL;
	if (s->plan)
		d->plan = *s->plan;
	d->laid_out = s->laid_out;
	d->serial = xstrdup(s->serial);
	d->ssh = s->guest;
	d->root = xstrdup(s->root ? s->root : DISK_MOUNT_BASE);
	disk_layout(&d->spec, d->planned ? &d->plan : NULL, &d->layout);
	d->layout.root = d->root;
	take_volumes(d, s);
}

/* --- the end of an operation ------------------------------------------- */

void disk_finish(struct disk *d, int code)
{
	if (!op_end(&d->call, code))
		return;
	d->job = NULL;
	d->ssh = NULL;
}

static void on_cancel(struct op *op)
{
	struct disk *d = op->driver_data;
	if (d->job) {
		ssh_job_cancel(d->job); /* its done ends the operation */
		return;
	}
	if (op_say_cancelled(&d->call))
		disk_finish(d, -ECANCELED);
}

/* --- step by step ------------------------------------------------------ */

static void refuse(struct disk *d)
{
	err_set(&d->call.err, -EEXIST,
	    "%s holds %s; nothing was written; to throw away all disks of the "
	    "node, stop it and write \"wipe\" to its state",
	    d->todo.where, d->todo.holds);
	disk_finish(d, -EEXIST);
}

/* A system that runs from its disk is not laid out under its feet. */
static bool undermines(struct disk *d)
{
	bool makes = d->todo.write_table;
	for (size_t i = 0; i < d->layout.n; i++)
		makes = makes || d->todo.mkfs[i] || d->todo.unproven[i];
	if (!makes || d->layout.root[0])
		return false;
	err_set(&d->call.err, -EIO,
	    "the system was to run from /dev/%s, and that holds %s: nothing "
	    "was written",
	    d->facts->dev, d->todo.found);
	return true;
}

static bool any(const bool *flags, size_t n, size_t *ret)
{
	for (size_t i = 0; i < n; i++)
		if (flags[i]) {
			*ret = i;
			return true;
		}
	return false;
}

/* Everything was made: the next look must find it so. */
static void check_result(struct disk *d)
{
	if ((d->proven || d->steps == 0) && d->todo.content == DISK_OURS &&
	    d->todo.mounted) {
		disk_finish(d, 0);
	} else if (d->proven) {
		err_set(&d->call.err, -EIO,
		    "after the layout was made, %s holds %s%s", d->todo.where,
		    d->todo.holds,
		    d->todo.mounted ? "" : "; not all of it is mounted");
		disk_finish(d, -EIO);
	} else {
		d->proven = true;
		disk_look_again(d);
	}
}

/* One step that the last look asks for. */
void disk_next(struct disk *d)
{
	struct disk_verdict *t = &d->todo;
	size_t n = disk_layout_parts(&d->layout), i;
	if (t->content == DISK_FOREIGN || t->content == DISK_OURS_OTHER)
		refuse(d);
	else if (undermines(d))
		disk_finish(d, -EIO);
	else if (d->proven)
		check_result(d);
	else if (t->write_table)
		disk_write_table(d);
	else if (t->grow_table && !d->grown)
		disk_grow_table(d);
	else if (any(t->unproven, n, &i))
		disk_probe(d, i);
	else if (any(t->mkfs, n, &i))
		disk_make_fs(d, i);
	else if (any(t->mount, n, &i))
		disk_mount_all(d);
	else if (any(t->grow_fs, n, &i))
		disk_grow_fs(d, i);
	else
		check_result(d);
}

/* --- looking ----------------------------------------------------------- */

static void take_look(struct disk *d)
{
	disk_judge(&d->layout, d->facts, d->laid_out, d->proven, &d->todo);
	d->look.content = d->todo.content;
	d->look.mounted = d->todo.mounted;
	d->look.size = d->facts->sectors * SECTOR;
	snprintf(d->look.found, sizeof(d->look.found), "%s", d->todo.found);
}

static void log_look(struct disk *d)
{
	_cleanup_buf_ struct buf b = {0};
	buf_puts(&b, "disk: ");
	if (d->layout.disk)
		buf_printf(&b, "/dev/%s, %llu MiB: ", d->facts->dev,
		    (unsigned long long)(d->facts->sectors / GRAIN));
	buf_printf(
	    &b, "%s (%s)\n", d->todo.found, disk_content_name(d->todo.content));
	disk_log(d, buf_str(&b));
}

static void on_facts(int code, int status, const char *out, size_t out_len,
    const char *errout, const struct err *err, void *userdata)
{
	struct disk *d = userdata;
	if (!op_waits(&d->call))
		return;
	d->job = NULL;
	int r = guest_command_code(
	    code, status, "looking at the disk", errout, err, &d->call.err);
	if (r == 0)
		r = disk_facts_parse(out, d->facts, &d->call.err);
	if (r == 0)
		r = disk_judge_able(
		    &d->layout, d->facts, d->laid_out, &d->call.err);
	if (r < 0) {
		_cleanup_buf_ struct buf b = {0};
		guest_command_text(
		    &b, "looking at the disk", code, status, out, errout, err);
		disk_log(d, b.data);
		disk_finish(d, r);
		return;
	}
	take_look(d);
	log_look(d);
	/* What was just grown is small change: the next ensure takes more. */
	if (d->grown && d->todo.grow_table && !d->todo.write_table)
		d->todo.grow_table = false;
	if (d->grown && d->layout.n &&
	    d->layout.parts[d->layout.n - 1].spec->filesystem == FS_EXT4 &&
	    !disk_facts_lack(d->facts, "resize2fs") && !d->proven)
		d->todo.grow_fs[d->layout.n - 1] = true;
	if (d->ensure)
		disk_next(d);
	else
		disk_finish(d, 0);
}

void disk_look_again(struct disk *d)
{
	_cleanup_strv_ char **args =
	    strv_new("sh", d->layout.disk ? d->serial : "", NULL);
	for (size_t i = 0; i < d->n_volumes; i++)
		strv_push(&args, d->volumes[i].serial);
	if (!d->ensure || d->steps == 0)
		op_progress(d->call.op, -1, "looking at the disk");
	disk_run(d, disk_facts_script, args, NULL, LOOK_TIMEOUT, on_facts);
}

/* --- the driver's calls ------------------------------------------------ */

static int disk_available(struct err *err)
{
	return 0; /* its tools are the guest's */
}

static void disk_close(void *self)
{
	struct disk *d = self;
	if (!d)
		return;
	op_slot_close(&d->call);
	drop_spec(d);
	free(d->what);
	free(d->facts);
	free(d);
}

static int disk_open(const struct driver_env *env, void **ret, struct err *err)
{
	struct disk *d = xcalloc(1, sizeof(*d));
	d->env = env;
	d->facts = xcalloc(1, sizeof(*d->facts));
	int r = op_slot_open(&d->call, env->loop);
	if (r < 0) {
		disk_close(d);
		return err_errno(err, r, "%s", env->name);
	}
	*ret = d;
	return 0;
}

static int start(struct disk *d, const struct disk_slice *slice, struct op *op,
    bool ensure, struct err *err)
{
	if (!slice->guest)
		return err_set(err, -EAGAIN, "no SSH session to this guest");
	take_slice(d, slice);
	op_begin(&d->call, op, on_cancel, d);
	d->ensure = ensure;
	d->proven = d->grown = false;
	d->tables = d->steps = 0;
	d->todo = (struct disk_verdict){0};
	disk_look_again(d);
	return 0;
}

static int disk_observe_(
    void *self, const struct disk_slice *slice, struct op *op, struct err *err)
{
	return start(self, slice, op, false, err);
}

static int disk_ensure_(
    void *self, const struct disk_slice *slice, struct op *op, struct err *err)
{
	bool planned =
	    slice->plan || !slice->spec->present || !slice->spec->n_partitions;
	for (size_t i = 0; i < slice->n_volumes; i++)
		planned = planned && slice->volumes[i].uuid;
	if (!planned)
		return err_set(err, -EINVAL,
		    "a disk is laid out only with uuids that were stored "
		    "first");
	return start(self, slice, op, true, err);
}

static void disk_look_(void *self, struct disk_look *ret)
{
	const struct disk *d = self;
	*ret = d->look;
}

static int wipe_file(struct disk *d, const char *path, struct err *err)
{
	struct stat st;
	bool there = lstat(path, &st) == 0;
	if (there && !S_ISREG(st.st_mode))
		return err_set(err, -EINVAL,
		    "%s is not a regular file: remove it yourself", path);
	if (unlink(path) < 0 && errno != ENOENT)
		return err_errno(err, -errno, "%s", path);
	_cleanup_free_ char *text = xasprintf(
	    "wipe: %s %s\n", path, there ? "is removed" : "is not there");
	disk_log(d, text);
	return 0;
}

/* The machine is down: its disks are files of ours. */
static int disk_wipe_(
    void *self, const struct disk_slice *slice, struct op *op, struct err *err)
{
	struct disk *d = self;
	int r = 0;
	if (!slice->path && !slice->n_volumes)
		return err_set(err, -EINVAL, "there is no file to wipe");
	if (slice->path)
		r = wipe_file(d, slice->path, err);
	for (size_t i = 0; r >= 0 && i < slice->n_volumes; i++)
		if (slice->volumes[i].path)
			r = wipe_file(d, slice->volumes[i].path, err);
	if (r < 0)
		return r;
	d->look = (struct disk_look){.content = DISK_UNKNOWN};
	op_begin(&d->call, op, on_cancel, d);
	disk_finish(d, 0);
	return 0;
}

const struct disk_driver disk_guest = {
    .name = "guest",
    .help = "partitions and file systems, made within the guest over SSH",
    .available = disk_available,
    .open = disk_open,
    .close = disk_close,
    .observe = disk_observe_,
    .look = disk_look_,
    .ensure = disk_ensure_,
    .wipe = disk_wipe_,
};
