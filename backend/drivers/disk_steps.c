/* SPDX-License-Identifier: Apache-2.0
 *
 * The commands that lay out a guest's disk and volumes, one step each: write
 * the table, grow it, look into a file system, make one, grow it, mount all.
 * disk_guest.c decides which is due.
 */
#include <errno.h>
#include <stdio.h>

#include "drivers/disk_guest.h"
#include "host/guest_command.h"

#define STEP_TIMEOUT (300 * USEC_PER_SEC)
#define MKFS_TIMEOUT (1800 * USEC_PER_SEC)
#define TABLES_MAX   2 /* tables written in one ensure */

/* --- commands ---------------------------------------------------------- */

void disk_run(struct disk *d, const char *script, char *const *args,
    const char *input, uint64_t timeout, disk_done_fn done)
{
	/* An ordinary system may show its tools to root's own shell only. */
	_cleanup_free_ char *whole =
	    xasprintf("PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin\n%s", script);
	_cleanup_strv_ char **argv = strv_new("sh", "-c", whole, NULL);
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
	int code = ssh_run(d->ssh, &r, &d->job, &d->call.err);
	if (code < 0)
		disk_finish(d, code == -ENOTCONN ? -EAGAIN : code);
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
	for (size_t i = 0; i < disk_layout_parts(&d->layout); i++)
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
	    d->call.op, (int)(100 * d->steps / (d->steps + left)), "%s", what);
	d->steps++;
}

/* Logs how the command ended; false when that ended the operation. */
static bool ended_well(struct disk *d, int code, int status, const char *out,
    const char *errout, const struct err *err)
{
	if (!op_waits(&d->call))
		return false;
	d->job = NULL;
	_cleanup_buf_ struct buf b = {0};
	guest_command_text(&b, d->what, code, status, out, errout, err);
	disk_log(d, b.data);
	int r = guest_command_code(
	    code, status, d->what, errout, err, &d->call.err);
	if (r < 0)
		disk_finish(d, r);
	return r == 0;
}

static char *device(const struct disk *d, size_t i)
{
	return disk_facts_device(d->facts, &d->layout, i);
}

/* A step that asks for nothing but success. */
static void on_step(int code, int status, const char *out, size_t out_len,
    const char *errout, const struct err *err, void *userdata)
{
	struct disk *d = userdata;
	if (ended_well(d, code, status, out, errout, err))
		disk_next(d);
}

/* A step after which the disk must be looked at anew. */
static void on_changed(int code, int status, const char *out, size_t out_len,
    const char *errout, const struct err *err, void *userdata)
{
	struct disk *d = userdata;
	if (ended_well(d, code, status, out, errout, err))
		disk_look_again(d);
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

void disk_write_table(struct disk *d)
{
	_cleanup_buf_ struct buf script = {0};
	if (d->facts->sectors < d->layout.sectors_min) {
		err_set(&d->call.err, -ENOSPC,
		    "/dev/%s has %llu MiB, the partitions need %llu: make "
		    "disk.size larger or partitions smaller",
		    d->facts->dev,
		    (unsigned long long)(d->facts->sectors / GRAIN),
		    (unsigned long long)((d->layout.sectors_min + GRAIN - 1) /
					 GRAIN));
		disk_finish(d, -ENOSPC);
		return;
	}
	if (d->tables++ == TABLES_MAX) {
		err_set(&d->call.err, -EIO,
		    "sfdisk has written the table %d times, and still: %s",
		    TABLES_MAX, d->todo.found);
		disk_finish(d, -EIO);
		return;
	}
	disk_layout_script(&d->layout, &script);
	disk_log(d, script.data);
	_cleanup_strv_ char **args = NULL;
	strv_pushf(&args, "/dev/%s", d->facts->dev);
	for (size_t i = 0; i < d->layout.n; i++) {
		_cleanup_free_ char *dev = device(d, i);
		strv_push(&args, dev);
	}
	tell(d, xasprintf("sfdisk /dev/%s", d->facts->dev));
	disk_run(d, table_script, args, script.data, STEP_TIMEOUT, on_changed);
}

/* sfdisk moves a GPT's copy to the disk's new end by itself. The disk may be
 * in use: then only partx tells the kernel. */
static const char grow_script[] =
    "echo ', +' | sfdisk -q --no-reread --force -N \"$1\" \"$0\" || exit\n"
    "partx -u --nr \"$1\" \"$0\" || blockdev --rereadpt \"$0\" || exit\n"
    "sync\n";

void disk_grow_table(struct disk *d)
{
	size_t last = d->layout.n - 1;
	_cleanup_strv_ char **args = NULL;
	strv_pushf(&args, "/dev/%s", d->facts->dev);
	strv_pushf(&args, "%u", d->layout.parts[last].number);
	d->grown = true;
	enum filesystem fs = d->layout.parts[last].spec->filesystem;
	if (fs == FS_VFAT || fs == FS_SWAP) {
		_cleanup_free_ char *text = xasprintf(
		    "partition %s grows; its %s stays as it is: that can't "
		    "be grown\n",
		    args[1], filesystem_name(fs));
		disk_log(d, text);
	}
	tell(d, xasprintf("sfdisk -N %s %s", args[1], args[0]));
	disk_run(d, grow_script, args, NULL, STEP_TIMEOUT, on_changed);
}

/* --- file systems ------------------------------------------------------ */

/* A file system of ours that was never seen in use: mkfs may have been cut
 * short, and then it can be thrown away; one that holds a file can't. */
static const char probe_script[] =
    "d=/run/rackfs-probe\n"
    "mkdir -p $d\n"
    "if mount -t \"$1\" -o \"$2\" \"$0\" $d; then\n"
    "	l=$(ls -A $d) || exit\n"
    "	umount $d || exit\n"
    "	case $l in '' | lost+found) echo empty ;; *) echo used ;; esac\n"
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
	disk_next(d);
}

void disk_probe(struct disk *d, size_t i)
{
	enum filesystem fs = d->layout.parts[i].spec->filesystem;
	if (fs == FS_SWAP) {
		d->todo.unproven[i] = false;
		d->todo.mkfs[i] = true;
		disk_next(d);
		return;
	}
	_cleanup_free_ char *dev = device(d, i);
	char *args[] = {dev, (char *)filesystem_name(fs),
	    fs == FS_EXT4 ? "ro,noload" : "ro", NULL};
	d->at = i;
	tell(d, xasprintf("look into %s", dev));
	disk_run(d, probe_script, args, NULL, STEP_TIMEOUT, on_probe);
}

/* $0: device, $1: sector, $2: claim, then mkfs.  The claim is taken back only
 * where it still stands: mkfs may have put something of its own there. */
static const char volume_script[] =
    "dev=$0 at=$1 claim=$2; shift 2\n"
    "sector() { dd bs=512 \"$@\" 2>/dev/null; }\n"
    "printf '%s\\n' \"$claim\" | sector of=\"$dev\" seek=\"$at\" \\\n"
    "	conv=sync,notrunc,fsync || {\n"
    "		echo \"$dev can't be written\" >&2; exit 1; }\n"
    "\"$@\" && sync || exit\n"
    "if [ \"$(sector if=\"$dev\" skip=\"$at\" count=1 | tr -d '\\000')\" = \\\n"
    "	\"$claim\" ]; then\n"
    "	sector if=/dev/zero of=\"$dev\" seek=\"$at\" count=1 \\\n"
    "		conv=notrunc,fsync\n"
    "fi\n";

static void make_volume(struct disk *d, size_t i, const char *dev, char **mkfs)
{
	char claim[CLAIM_MAX];
	_cleanup_strv_ char **args = strv_new(dev, NULL);
	disk_layout_claim(&d->layout.parts[i], claim);
	strv_pushf(&args, "%llu",
	    (unsigned long long)d->facts->volumes[i - d->layout.n].claim_at);
	strv_push(&args, claim);
	for (char **word = mkfs; *word; word++)
		strv_push(&args, *word);
	disk_run(d, volume_script, args, NULL, MKFS_TIMEOUT, on_step);
}

void disk_make_fs(struct disk *d, size_t i)
{
	_cleanup_free_ char *dev = device(d, i);
	_cleanup_strv_ char **argv = disk_layout_mkfs(&d->layout.parts[i], dev);
	_cleanup_free_ char *line = strv_quote(argv);
	_cleanup_free_ char *script = xasprintf("%s && sync", line);
	d->todo.mkfs[i] = false;
	tell(d, xasprintf("%s %s", argv[0], dev));
	disk_log(d, script);
	if (i >= d->layout.n)
		make_volume(d, i, dev, argv);
	else
		disk_run(d, script, NULL, NULL, MKFS_TIMEOUT, on_step);
}

/* By number: a system may call the device it runs from /dev/root. */
static const char resize_script[] =
    "read -r n <\"/sys/class/block/${0##*/}/dev\" || exit\n"
    "if ! grep -q \" $n \" /proc/self/mountinfo; then\n"
    "	e2fsck -fp \"$0\"; [ $? -le 1 ] || exit 4\n"
    "fi\n"
    "resize2fs \"$0\" && sync\n";

void disk_grow_fs(struct disk *d, size_t i)
{
	_cleanup_free_ char *dev = device(d, i);
	char *args[] = {dev, NULL};
	d->todo.grow_fs[i] = false;
	tell(d, xasprintf("resize2fs %s", dev));
	disk_run(d, resize_script, args, NULL, MKFS_TIMEOUT, on_step);
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
	struct wanted_mount list[PARTS_MAX];
	size_t n = 0;
	bool ok = true;
	for (size_t i = 0; i < disk_layout_parts(&d->layout); i++)
		if (d->todo.mount[i])
			list[n++] = (struct wanted_mount){
			    i, disk_layout_target(
				   &d->layout, &d->layout.parts[i])};
	if (n)
		qsort(list, n, sizeof(list[0]), mount_order);
	for (size_t i = 0; i < n; i++) {
		const struct disk_mount *m = taken(d, list[i].target);
		if (m && ok) {
			err_set(&d->call.err, -EBUSY,
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

void disk_mount_all(struct disk *d)
{
	_cleanup_buf_ struct buf script = {0};
	buf_puts(&script, "set -e\n");
	if (!mount_script(d, &script)) {
		disk_finish(d, -EBUSY);
		return;
	}
	memset(d->todo.mount, 0, sizeof(d->todo.mount));
	tell(d, xasprintf("mount below %s",
		    d->layout.root[0] ? d->layout.root : "/"));
	disk_log(d, script.data);
	disk_run(d, script.data, NULL, NULL, STEP_TIMEOUT, on_step);
}
