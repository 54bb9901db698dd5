/* SPDX-License-Identifier: Apache-2.0
 *
 * Lays out a guest's disk through its SSH session: sfdisk, mkfs, mount.  What
 * the disk holds is asked first, always, under the guest's lock: so a command
 * that outlived its daemon is waited for, and its work is seen, never done
 * twice.  Every step is taken because the last look asks for it (next()), so
 * ensure goes on wherever it was cut off.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "drivers/disk_layout.h"
#include "drivers/drivers.h"
#include "host/guest_command.h"
#include "host/ssh.h"

#define LOOK_TIMEOUT (110 * USEC_PER_SEC)
#define STEP_TIMEOUT (300 * USEC_PER_SEC)
#define MKFS_TIMEOUT (1800 * USEC_PER_SEC)
#define TABLES_MAX   2 /* tables written in one ensure */

enum probe { PROBE_BROKEN, PROBE_EMPTY, PROBE_USED };

struct disk {
	const struct driver_env *env;
	struct ssh *ssh;
	struct ssh_job *job;
	struct op *op;
	bool ending;
	int code;
	struct err err;
	struct loop_source *end;

	/* Copies of what the call was given. */
	struct disk_spec spec;
	struct disk_plan plan;
	bool planned, laid_out;
	char *serial;

	bool ensure;     /* else: only look */
	bool proven;     /* every file system was made or checked */
	unsigned tables; /* written in this ensure */
	bool grown;      /* the table was, in this ensure */
	unsigned steps;  /* done, for the percentage */
	size_t at;       /* the partition that is worked on */
	char *what;      /* the command that runs, for people */
	struct disk_layout layout;
	struct disk_facts *facts;
	struct disk_verdict todo;
	struct disk_look look;
};

typedef void (*done_fn)(int code, int status, const char *out, size_t out_len,
    const char *errout, const struct err *err, void *userdata);

static void look_again(struct disk *d);
static void next(struct disk *d);

static void log_text(struct disk *d, const char *text)
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
	free(TAKE_PTR(d->serial));
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
	disk_layout(&d->spec, d->planned ? &d->plan : NULL, &d->layout);
}

/* --- the end of an operation ------------------------------------------- */

static void finish(struct disk *d, int code)
{
	if (d->ending)
		return;
	d->ending = true;
	d->job = NULL;
	d->ssh = NULL;
	d->code = code;
	loop_kick(d->end);
}

static void on_end(void *userdata)
{
	struct disk *d = userdata;
	struct op *op = TAKE_PTR(d->op);
	d->ending = false;
	if (op)
		op_done(op, d->code, &d->err);
}

static void on_cancel(struct op *op)
{
	struct disk *d = op->driver_data;
	if (d->job) {
		ssh_job_cancel(d->job); /* its done ends the operation */
		return;
	}
	err_set(&d->err, -ECANCELED, "cancelled");
	finish(d, -ECANCELED);
}

static void begin(struct disk *d, struct op *op)
{
	d->op = op;
	d->err = ERR_INIT;
	op->driver_data = d;
	op->cancel = on_cancel;
}

/* --- commands ---------------------------------------------------------- */

/* Runs sh -c script with $0, $1, ...; every one under the guest's lock. */
static void run(struct disk *d, const char *script, char *const *args,
    const char *input, uint64_t timeout, done_fn done)
{
	_cleanup_strv_ char **argv = strv_new("sh", "-c", script, NULL);
	for (size_t i = 0; args && args[i]; i++)
		strv_push(&argv, args[i]);
	const struct ssh_run r = {.argv = argv,
	    .input = input,
	    .input_len = input ? strlen(input) : 0,
	    .max_output = DISK_FACTS_MAX,
	    .timeout = timeout,
	    .lock = true,
	    .done = done,
	    .userdata = d};
	int code = ssh_run(d->ssh, &r, &d->job, &d->err);
	if (code < 0)
		finish(d, code == -ENOTCONN ? -EAGAIN : code);
}

static void set_what(struct disk *d, char *text)
{
	free(d->what);
	d->what = text;
}

/* Steps that the last look still asks for. */
static unsigned steps_left(const struct disk *d)
{
	const struct disk_verdict *t = &d->todo;
	unsigned n = 1; /* the mounts and the last look */
	if (t->write_table)
		return (unsigned)d->layout.n + 2;
	n += t->grow_table;
	for (size_t i = 0; i < d->layout.n; i++)
		n += (t->mkfs[i] ? 1 : 0) + (t->unproven[i] ? 2 : 0) +
		     (t->grow_fs[i] ? 1 : 0);
	return n;
}

/* Takes `what`: "mkfs.ext4 /dev/vda2". */
static void tell(struct disk *d, char *what)
{
	unsigned left = steps_left(d);
	set_what(d, what);
	op_progress(
	    d->op, (int)(100 * d->steps / (d->steps + left)), "%s", what);
	d->steps++;
}

/* Logs how the command ended; false when that ended the operation. */
static bool ended_well(struct disk *d, int code, int status, const char *out,
    const char *errout, const struct err *err)
{
	if (!d->op || d->ending)
		return false;
	d->job = NULL;
	_cleanup_buf_ struct buf b = {0};
	guest_command_text(&b, d->what, code, status, out, errout, err);
	log_text(d, b.data);
	int r = guest_command_code(code, status, d->what, errout, err, &d->err);
	if (r < 0)
		finish(d, r);
	return r == 0;
}

static char *device(const struct disk *d, size_t i)
{
	return xasprintf("/dev/%s%u", d->facts->dev, d->layout.parts[i].number);
}

/* A step that asks for nothing but success. */
static void on_step(int code, int status, const char *out, size_t out_len,
    const char *errout, const struct err *err, void *userdata)
{
	struct disk *d = userdata;
	if (ended_well(d, code, status, out, errout, err))
		next(d);
}

/* A step after which the disk must be looked at anew. */
static void on_changed(int code, int status, const char *out, size_t out_len,
    const char *errout, const struct err *err, void *userdata)
{
	struct disk *d = userdata;
	if (ended_well(d, code, status, out, errout, err))
		look_again(d);
}

/* --- the table --------------------------------------------------------- */

static const char table_script[] =
    "sfdisk -q --wipe always --wipe-partitions always \"$0\" || exit\n"
    "for n; do\n"
    "	i=0\n"
    "	until [ -b \"$n\" ]; do\n"
    "		i=$((i+1)); [ $i -le 100 ] || {\n"
    "			echo \"$n did not appear\" >&2; exit 1; }\n"
    "		sleep 0.1\n"
    "	done\n"
    "done\n"
    "sync\n";

static void write_table(struct disk *d)
{
	_cleanup_buf_ struct buf script = {0};
	if (d->facts->sectors < d->layout.sectors_min) {
		err_set(&d->err, -ENOSPC,
		    "/dev/%s has %llu MiB, the partitions need %llu: make "
		    "disk.size larger or partitions smaller",
		    d->facts->dev,
		    (unsigned long long)(d->facts->sectors / GRAIN),
		    (unsigned long long)((d->layout.sectors_min + GRAIN - 1) /
					 GRAIN));
		finish(d, -ENOSPC);
		return;
	}
	if (d->tables++ == TABLES_MAX) {
		err_set(&d->err, -EIO,
		    "sfdisk has written the table %d times, and still: %s",
		    TABLES_MAX, d->todo.found);
		finish(d, -EIO);
		return;
	}
	disk_layout_script(&d->layout, &script);
	log_text(d, script.data);
	_cleanup_strv_ char **args = NULL;
	strv_pushf(&args, "/dev/%s", d->facts->dev);
	for (size_t i = 0; i < d->layout.n; i++) {
		_cleanup_free_ char *dev = device(d, i);
		strv_push(&args, dev);
	}
	tell(d, xasprintf("sfdisk /dev/%s", d->facts->dev));
	run(d, table_script, args, script.data, STEP_TIMEOUT, on_changed);
}

/* sfdisk moves a GPT's copy to the disk's new end by itself. The disk may be
 * in use: then only partx tells the kernel. */
static const char grow_script[] =
    "echo ', +' | sfdisk -q --no-reread --force -N \"$1\" \"$0\" || exit\n"
    "partx -u --nr \"$1\" \"$0\" || blockdev --rereadpt \"$0\" || exit\n"
    "sync\n";

static void grow_table(struct disk *d)
{
	size_t last = d->layout.n - 1;
	_cleanup_strv_ char **args = NULL;
	strv_pushf(&args, "/dev/%s", d->facts->dev);
	strv_pushf(&args, "%u", d->layout.parts[last].number);
	d->grown = true;
	tell(d, xasprintf("sfdisk -N %s %s", args[1], args[0]));
	run(d, grow_script, args, NULL, STEP_TIMEOUT, on_changed);
}

/* --- file systems ------------------------------------------------------ */

/* A file system of ours that was never seen in use: mkfs may have been cut
 * short, and then it can be thrown away; one that holds a file can't. */
static const char probe_script[] =
    "d=/run/rackfs-probe\n"
    "mkdir -p $d\n"
    "if mount -t \"$1\" -o \"$2\" \"$0\" $d; then\n"
    "	f=$(ls -A $d | grep -vx 'lost+found' | head -n 1)\n"
    "	umount $d || exit\n"
    "	[ -z \"$f\" ] && echo empty || echo used\n"
    "else\n"
    "	echo broken\n"
    "fi\n";

static void on_probe(int code, int status, const char *out, size_t out_len,
    const char *errout, const struct err *err, void *userdata)
{
	struct disk *d = userdata;
	if (!ended_well(d, code, status, out, errout, err))
		return;
	d->todo.unproven[d->at] = false;
	d->todo.mkfs[d->at] = strcmp(out, "used\n") != 0;
	next(d);
}

static void probe(struct disk *d, size_t i)
{
	enum filesystem fs = d->layout.parts[i].spec->filesystem;
	if (fs == FS_SWAP) {
		d->todo.unproven[i] = false;
		d->todo.mkfs[i] = true;
		next(d);
		return;
	}
	_cleanup_free_ char *dev = device(d, i);
	char *args[] = {dev, (char *)filesystem_name(fs),
	    fs == FS_EXT4 ? "ro,noload" : "ro", NULL};
	d->at = i;
	tell(d, xasprintf("look into %s", dev));
	run(d, probe_script, args, NULL, STEP_TIMEOUT, on_probe);
}

static void make_fs(struct disk *d, size_t i)
{
	_cleanup_free_ char *dev = device(d, i);
	_cleanup_strv_ char **argv = disk_layout_mkfs(&d->layout.parts[i], dev);
	_cleanup_free_ char *line = strv_quote(argv);
	_cleanup_free_ char *script = xasprintf("%s && sync", line);
	d->todo.mkfs[i] = false;
	tell(d, xasprintf("%s %s", argv[0], dev));
	log_text(d, script);
	run(d, script, NULL, NULL, MKFS_TIMEOUT, on_step);
}

static const char resize_script[] =
    "if ! grep -q \"^$0 \" /proc/mounts; then\n"
    "	e2fsck -fp \"$0\"; [ $? -le 1 ] || exit 4\n"
    "fi\n"
    "resize2fs \"$0\" && sync\n";

static void grow_fs(struct disk *d, size_t i)
{
	_cleanup_free_ char *dev = device(d, i);
	char *args[] = {dev, NULL};
	d->todo.grow_fs[i] = false;
	tell(d, xasprintf("resize2fs %s", dev));
	run(d, resize_script, args, NULL, MKFS_TIMEOUT, on_step);
}

/* --- mounts ------------------------------------------------------------ */

struct wanted_mount {
	size_t part;
	char *target; /* NULL: swap */
};

/* A folder sorts before what lies below it. */
static int mount_order(const void *a, const void *b)
{
	const struct wanted_mount *x = a, *y = b;
	return strcmp(x->target ? x->target : "~", y->target ? y->target : "~");
}

static const struct disk_mount *taken(const struct disk *d, const char *target)
{
	for (size_t i = 0; target && i < d->facts->n_mounts; i++)
		if (STREQ(d->facts->mounts[i].target, target))
			return &d->facts->mounts[i];
	return NULL;
}

static void put_command(struct buf *script, char **argv)
{
	_cleanup_free_ char *line = strv_quote(argv);
	buf_printf(script, "%s\n", line);
	strv_free(argv);
}

static void put_mount(
    struct disk *d, const struct wanted_mount *w, struct buf *script)
{
	const struct partition_spec *s = d->layout.parts[w->part].spec;
	_cleanup_free_ char *dev = device(d, w->part);
	if (!w->target) {
		put_command(script, strv_new("swapon", dev, NULL));
		return;
	}
	put_command(script, strv_new("mkdir", "-p", w->target, NULL));
	put_command(
	    script, strv_new("mount", "-t", filesystem_name(s->filesystem), dev,
			w->target, NULL));
}

/* Fills `script`; false when something else is mounted there. */
static bool mount_script(struct disk *d, struct buf *script)
{
	struct wanted_mount list[PARTITIONS_MAX];
	size_t n = 0;
	bool ok = true;
	for (size_t i = 0; i < d->layout.n; i++)
		if (d->todo.mount[i])
			list[n++] = (struct wanted_mount){
			    i, disk_layout_target(&d->layout.parts[i])};
	if (n)
		qsort(list, n, sizeof(list[0]), mount_order);
	for (size_t i = 0; i < n; i++) {
		const struct disk_mount *m = taken(d, list[i].target);
		if (m && ok) {
			err_set(&d->err, -EBUSY,
			    "%s: %s is mounted there already; unmount it in "
			    "the guest",
			    m->target, m->dev);
			ok = false;
		}
		put_mount(d, &list[i], script);
		free(list[i].target);
	}
	return ok;
}

static void mount_all(struct disk *d)
{
	_cleanup_buf_ struct buf script = {0};
	buf_puts(&script, "set -e\n");
	if (!mount_script(d, &script)) {
		finish(d, -EBUSY);
		return;
	}
	memset(d->todo.mount, 0, sizeof(d->todo.mount));
	tell(d, xstrdup("mount below " DISK_MOUNT_BASE));
	log_text(d, script.data);
	run(d, script.data, NULL, NULL, STEP_TIMEOUT, on_step);
}

/* --- step by step ------------------------------------------------------ */

static void refuse(struct disk *d)
{
	err_set(&d->err, -EEXIST,
	    "/dev/%s holds %s; nothing was written; to throw it away, stop the "
	    "node and write \"wipe\" to its state",
	    d->facts->dev, d->todo.found);
	finish(d, -EEXIST);
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
		finish(d, 0);
	} else if (d->proven) {
		err_set(&d->err, -EIO,
		    "after the layout was made, /dev/%s holds %s%s",
		    d->facts->dev, d->todo.found,
		    d->todo.mounted ? "" : "; not all of it is mounted");
		finish(d, -EIO);
	} else {
		d->proven = true;
		look_again(d);
	}
}

/* One step that the last look asks for. */
static void next(struct disk *d)
{
	struct disk_verdict *t = &d->todo;
	size_t n = d->layout.n, i;
	if (t->content == DISK_FOREIGN || t->content == DISK_OURS_OTHER)
		refuse(d);
	else if (d->proven)
		check_result(d);
	else if (t->write_table)
		write_table(d);
	else if (t->grow_table && !d->grown)
		grow_table(d);
	else if (any(t->unproven, n, &i))
		probe(d, i);
	else if (any(t->mkfs, n, &i))
		make_fs(d, i);
	else if (any(t->mount, n, &i))
		mount_all(d);
	else if (any(t->grow_fs, n, &i))
		grow_fs(d, i);
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
	_cleanup_free_ char *text =
	    xasprintf("disk: /dev/%s, %llu MiB: %s (%s)\n", d->facts->dev,
		(unsigned long long)(d->facts->sectors / GRAIN), d->todo.found,
		disk_content_name(d->todo.content));
	log_text(d, text);
}

static void on_facts(int code, int status, const char *out, size_t out_len,
    const char *errout, const struct err *err, void *userdata)
{
	struct disk *d = userdata;
	if (!d->op || d->ending)
		return;
	d->job = NULL;
	int r = guest_command_code(
	    code, status, "looking at the disk", errout, err, &d->err);
	if (r == 0)
		r = disk_facts_parse(out, d->facts, &d->err);
	if (r < 0) {
		_cleanup_buf_ struct buf b = {0};
		guest_command_text(
		    &b, "looking at the disk", code, status, out, errout, err);
		log_text(d, b.data);
		finish(d, r);
		return;
	}
	take_look(d);
	log_look(d);
	/* What was just grown is small change: the next ensure takes more. */
	if (d->grown && d->todo.grow_table && !d->todo.write_table)
		d->todo.grow_table = false;
	if (d->grown && d->layout.n &&
	    d->layout.parts[d->layout.n - 1].spec->filesystem == FS_EXT4 &&
	    !d->proven)
		d->todo.grow_fs[d->layout.n - 1] = true;
	if (d->ensure)
		next(d);
	else
		finish(d, 0);
}

static void look_again(struct disk *d)
{
	char *args[] = {"sh", d->serial, NULL};
	if (!d->ensure || d->steps == 0)
		op_progress(d->op, -1, "looking at the disk");
	run(d, disk_facts_script, args, NULL, LOOK_TIMEOUT, on_facts);
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
	loop_source_free(d->end);
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
	int r = loop_add_deferred(env->loop, on_end, d, &d->end);
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
		return err_set(err, -ENOTCONN, "no SSH session to this guest");
	take_slice(d, slice);
	begin(d, op);
	d->ensure = ensure;
	d->proven = d->grown = false;
	d->tables = d->steps = 0;
	d->todo = (struct disk_verdict){0};
	look_again(d);
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
	if (!slice->plan)
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

/* The machine is down: its disk is a file of ours. */
static int disk_wipe_(
    void *self, const struct disk_slice *slice, struct op *op, struct err *err)
{
	struct disk *d = self;
	struct stat st;
	if (!slice->path)
		return err_set(err, -EINVAL, "there is no file to wipe");
	bool there = lstat(slice->path, &st) == 0;
	if (there && !S_ISREG(st.st_mode))
		return err_set(err, -EINVAL,
		    "%s is not a regular file: remove it yourself",
		    slice->path);
	if (unlink(slice->path) < 0 && errno != ENOENT)
		return err_errno(err, -errno, "%s", slice->path);
	_cleanup_free_ char *text = xasprintf("wipe: %s %s\n", slice->path,
	    there ? "is removed" : "is not there");
	log_text(d, text);
	d->look = (struct disk_look){.content = DISK_UNKNOWN};
	begin(d, op);
	finish(d, 0);
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
