/* SPDX-License-Identifier: Apache-2.0
 *
 * Plugs a disk into a running machine: its file is made, then QEMU opens it
 * and the guest gets the device.  Called by qemu_live_next(), which is called
 * again when that is done.  What is there counts only with its device: a
 * daemon may die between the two, so a node without one is removed first.
 */
#include <errno.h>
#include <stdio.h>

#include "machine_qemu.h"

/* In q->plug_step. */
enum { MAKE_FILE, DEL_NODE, ADD_NODE, ADD_DEVICE };

#define GONE(code) ((code) == -ETIMEDOUT || (code) == -ENOTCONN)

static void step(struct qemu *q);

void qemu_disks_to_look(struct qemu *q)
{
	q->look.disk_size = q->disks[0].size;
	q->look.disks_known = q->sizes_known;
	q->look.n_disks = q->n_disks;
	for (size_t i = 0; i < q->n_disks; i++) {
		memcpy(q->look.disks[i].name, q->disks[i].name,
		    sizeof(q->look.disks[i].name));
		q->look.disks[i].size = q->disks[i].size;
	}
}

const struct machine_disk *qemu_disk_to_plug(const struct qemu *q)
{
	for (size_t k = 0; k < q->slice->n_disks; k++) {
		const struct machine_disk *d = &q->slice->disks[k];
		size_t i = 0;

		while (i < q->n_disks && !STREQ(q->disks[i].name, d->name))
			i++;
		if (d->live && i == q->n_disks)
			return d;
	}
	return NULL;
}

/* Where it goes; DISKS_MAX: nowhere. */
static size_t free_index(const struct qemu *q)
{
	size_t i = 0;

	while (i < DISKS_MAX && q->disks[i].name[0])
		i++;
	return i;
}

static char *node_of(const struct qemu *q, const struct machine_disk *d)
{
	return xasprintf("disk%zu.%s", free_index(q), d->name);
}

static char *node_arguments(const struct qemu *q, const struct machine_disk *d)
{
	_cleanup_free_ char *node = node_of(q, d);

	return xasprintf("{\"node-name\":\"%s\"}", node);
}

static void end(struct qemu *q, int code, const struct err *err)
{
	q->plug_step = MAKE_FILE;
	q->plug_slot = 0;
	qemu_finish(q, code, err);
}

/* No place for it while the machine runs: the next start has one. */
static void full(struct qemu *q, const char *name, const char *why)
{
	struct err err = ERR_INIT;

	err_set(&err, -ENOTSUP,
	    "%s can't be plugged in while the machine runs: %s", name, why);
	end(q, -ENOTSUP, &err);
}

static void plugged(struct qemu *q, const struct machine_disk *d)
{
	size_t i = free_index(q);

	snprintf(q->disks[i].name, sizeof(q->disks[i].name), "%s", d->name);
	q->disks[i].size = q->plug_size;
	q->n_disks = MAX(q->n_disks, i + 1);
	q->plug_step = MAKE_FILE;
	q->plug_slot = 0;
	qemu_disks_to_look(q);
	qemu_changed(q);
	qemu_log(q, "%s is plugged in", d->name);
	qemu_live_next(q);
}

static void on_answer(
    struct qemu *q, int code, const char *result, const struct err *err)
{
	const struct machine_disk *d = qemu_disk_to_plug(q);

	if (q->finished || !d)
		return;
	if (code < 0 && GONE(code)) {
		end(q, -EAGAIN, err);
		return;
	}
	if (q->plug_step == DEL_NODE || code >= 0) {
		q->plug_step++;
	} else if (q->plug_step == ADD_NODE) {
		end(q, code, err);
		return;
	} else if (++q->plug_slot == QEMU_PLUG_SLOTS) {
		_cleanup_free_ char *arguments = node_arguments(q, d);

		qemu_ask(q, "blockdev-del", arguments, NULL);
		full(q, d->name, err_text(err));
		return;
	}
	if (q->plug_step > ADD_DEVICE)
		plugged(q, d);
	else
		step(q);
}

static void on_file(
    int code, uint64_t size, const struct err *err, void *userdata)
{
	struct qemu *q = userdata;

	qemu_disk_job_free(TAKE_PTR(q->disk_job));
	if (q->finished)
		return;
	if (code < 0) {
		end(q, code, err);
		return;
	}
	q->plug_size = size;
	q->plug_step = DEL_NODE;
	step(q);
}

static void log_text(const char *text, void *userdata)
{
	qemu_log(userdata, "%s", text);
}

static int ask(struct qemu *q, const struct machine_disk *d)
{
	_cleanup_free_ char *arguments = NULL;
	unsigned i = (unsigned)free_index(q);

	switch (q->plug_step) {
	case DEL_NODE:
		arguments = node_arguments(q, d);
		return qemu_ask(q, "blockdev-del", arguments, on_answer);
	case ADD_NODE:
		arguments = qemu_blockdev(d, i);
		return qemu_ask(q, "blockdev-add", arguments, on_answer);
	default:
		arguments = qemu_plug_device(d, i, q->plug_slot);
		return qemu_ask(q, "device_add", arguments, on_answer);
	}
}

static void step(struct qemu *q)
{
	const struct machine_disk *d = qemu_disk_to_plug(q);
	struct err err = ERR_INIT;
	int r;

	if (free_index(q) == DISKS_MAX) {
		full(q, d->name, "it has as many disks as it can have");
		return;
	}
	if (q->plug_step == MAKE_FILE) {
		r = qemu_disk_ensure(
		    q->env.loop, d, on_file, log_text, q, &q->disk_job, &err);
	} else {
		r = ask(q, d);
		if (r < 0)
			r = err_set(&err, -EAGAIN, "QEMU does not answer");
	}
	if (r < 0)
		end(q, r, &err);
}

void qemu_plug_disk(struct qemu *q)
{
	q->plug_step = MAKE_FILE;
	q->plug_slot = 0;
	step(q);
}
