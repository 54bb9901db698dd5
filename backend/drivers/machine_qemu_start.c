/* SPDX-License-Identifier: Apache-2.0
 *
 * Starting a machine, one thing after the other: which accelerator, the disk
 * files, then the launch.  What follows ("running", links) comes from the
 * running machine: machine_qemu_run.c, machine_qemu_live.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "machine_qemu.h"

#define START_WAIT (60 * USEC_PER_SEC) /* from exec to "running" */
#define KEEP_RUNS  3                   /* folders and console logs */

void qemu_start_drop(struct qemu *q)
{
	qemu_accel_wait_free(TAKE_PTR(q->accel_wait));
	qemu_disk_job_free(TAKE_PTR(q->disk_job));
	q->disk = 0;
}

static void fail(struct qemu *q, int code, const struct err *err)
{
	qemu_finish(q, code, err);
}

/* The number in the name of a launch folder. */
static uint64_t folder_number(int folder)
{
	char link[64], path[4096];
	unsigned long long number;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", folder);
	ssize_t n = readlink(link, path, sizeof(path) - 1);
	if (n <= 0)
		return 0;
	path[n] = '\0';
	const char *name = strrchr(path, '/');
	if (!name || sscanf(name, "/launch-%llu", &number) != 1)
		return 0;
	return number;
}

/* Files that QEMU opens by short, relative names. */
static int prepare(int folder, void *userdata, struct err *err)
{
	struct qemu *q = userdata;
	uint64_t number = folder_number(folder);

	if (number == 0)
		return err_set(err, -EIO, "the launch folder has no number");
	_cleanup_free_ char *log = qemu_console_path(q->env.state_dir, number);
	_cleanup_close_ int fd = open(
	    log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_errno(
		    err, -errno, "the console's log %s can't be created", log);
	if (symlinkat(log, folder, "console.out") < 0 ||
	    mkfifoat(folder, "console.in", 0600) < 0)
		return err_errno(err, -errno, "the console's FIFO");
	int r = qemu_record_events(folder, &q->events_fifo, err);
	if (r >= 0 && qemu_boots_uefi(q->slice))
		r = qemu_uefi_prepare(folder, err);
	if (r < 0)
		return r;
	r = qemu_hide_save(folder, q->slice->extra_args);
	if (r == 0)
		r = qemu_record_save(folder, &q->record);
	return r < 0 ? err_errno(err, r, "the launch folder's `run`") : 0;
}

static void make_record(struct qemu *q, bool kvm, const char *why)
{
	struct qemu_record *r = &q->record;

	*r = (struct qemu_record){
	    .identity = q->slice->identity, .n_nics = q->slice->n_nics};
	snprintf(r->accel, sizeof(r->accel), "%s", kvm ? "kvm" : "tcg");
	snprintf(r->accel_why, sizeof(r->accel_why), "%s", why);
	for (size_t i = 0; i < r->n_nics; i++) {
		const struct machine_nic *n = &q->slice->nics[i];
		r->nics[i].incarnation = n->endpoint ? n->incarnation : 0;
		r->nics[i].link = LINK_UP; /* a link can't be down at exec */
	}
}

/* Values of qemu.args are nobody's business but QEMU's. */
static void log_command(struct qemu *q, char *const *argv)
{
	_cleanup_free_ char *line = strv_quote(argv);
	size_t extra =
	    q->slice->extra_args ? strv_len(q->slice->extra_args) : 0;

	if (extra)
		qemu_log(q, "%s (and %zu words of qemu.args)", line, extra);
	else
		qemu_log(q, "%s", line);
}

static int launch(struct qemu *q, struct err *err)
{
	struct qemu_argv o = {
	    .name = q->env.name, .kvm = STREQ(q->record.accel, "kvm")};
	int r;

	qemu_uuid(q->env.state_dir, q->env.name, o.uuid);
	_cleanup_strv_ char **argv = qemu_argv(q->slice, &o);
	log_command(q, argv);
	for (char *const *a = q->slice->extra_args; a && *a; a++)
		strv_push(&argv, *a);
	launch_prune(q->env.runtime_dir, KEEP_RUNS - 1);
	qemu_console_prune(q->env.state_dir, KEEP_RUNS - 1);

	struct launch_options lo = {.argv = argv};
	r = launch_start(
	    q->env.loop, q->env.runtime_dir, &lo, prepare, q, &q->launch, err);
	if (r < 0) {
		util_closep(&q->events_fifo);
		q->events_fifo = -1;
		return r;
	}
	q->launched = true;
	loop_timer_set(q->op_timer, loop_now(q->env.loop) + START_WAIT);
	return qemu_attach(q, false, err);
}

static void next_disk(struct qemu *q);

static void on_disk(
    int code, uint64_t size, const struct err *err, void *userdata)
{
	struct qemu *q = userdata;

	qemu_disk_job_free(TAKE_PTR(q->disk_job));
	if (code < 0) {
		fail(q, code, err);
		return;
	}
	q->disk++;
	next_disk(q);
}

static void log_text(const char *text, void *userdata)
{
	qemu_log(userdata, "%s", text);
}

static void next_disk(struct qemu *q)
{
	struct err err = ERR_INIT;
	int r;

	/* What is only read is there: qemu_check(). */
	while (q->disk < q->slice->n_disks && q->slice->disks[q->disk].readonly)
		q->disk++;
	op_progress(q->op, -1, "%s",
	    q->disk < q->slice->n_disks ? "disk file" : "QEMU");
	if (q->disk < q->slice->n_disks)
		r = qemu_disk_ensure(q->env.loop, &q->slice->disks[q->disk],
		    on_disk, log_text, q, &q->disk_job, &err);
	else
		r = launch(q, &err);
	if (r < 0)
		fail(q, r, &err);
}

static void on_accel(bool kvm, const char *why, void *userdata)
{
	struct qemu *q = userdata;

	qemu_accel_wait_free(TAKE_PTR(q->accel_wait));
	if (!kvm)
		qemu_log(q, "without KVM: %s", why);
	make_record(q, kvm, why);
	next_disk(q);
}

int qemu_start(struct qemu *q, struct err *err)
{
	q->disk = 0;
	return qemu_accel_ask(
	    q->accel, q->env.runtime_dir, on_accel, q, &q->accel_wait, err);
}
