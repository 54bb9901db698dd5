/* SPDX-License-Identifier: Apache-2.0
 *
 * Makes a running machine what its slice says: each call of qemu_live_next()
 * finds the first difference and sends one command; the answer updates what
 * is known and calls it again; without a difference the operation is done.
 *
 * Plugging again: the NIC is on a hub; the hub's other port and the switch's
 * netdev are deleted and added anew, and the guest sees no more than a pause.
 * A third port, with nothing behind it, is what keeps the hub taking frames
 * while the switch is dead: without one QEMU holds the guest's next frame back
 * until the switch's netdev can send, which that one never will; the NIC would
 * wait for that frame for good, and send nothing any more.
 * A NIC that came is put on a hub of its own first, and plugged in after that.
 */
#include <errno.h>
#include <stdio.h>

#include "machine_qemu.h"

/* Steps of plugging NIC i, in q->live_step. */
enum { DEL_PORT, DEL_SWITCH, ADD_SWITCH, ADD_PORT };

static void refuse(struct qemu *q, const char *what, const char *name, int code,
    const struct err *err)
{
	struct err why;

	err_copy(&why, err);
	why.code = code;
	err_prefix(&why, "%s%s: ", what, name);
	qemu_finish(q, code, &why);
}

static size_t differs_plug(const struct qemu *q)
{
	size_t n = MIN(q->slice->n_nics, q->record.n_nics);

	for (size_t i = 0; i < n; i++) {
		const struct machine_nic *nic = &q->slice->nics[i];
		uint64_t want = nic->endpoint ? nic->incarnation : 0;
		if (q->record.nics[i].incarnation != want)
			return i;
	}
	return SIZE_MAX;
}

static size_t differs_link(const struct qemu *q)
{
	size_t n = MIN(q->slice->n_nics, q->record.n_nics);

	for (size_t i = 0; i < n; i++)
		if (q->record.nics[i].link != q->slice->nics[i].link)
			return i;
	return SIZE_MAX;
}

static uint64_t wanted_size(const struct machine_disk *d)
{
	return (d->size + 511) / 512 * 512;
}

/* The disk of the slice that runs as q->disks[i], or NULL.  A machine may have
 * been started with others, so their order says nothing. */
static const struct machine_disk *wanted_disk(const struct qemu *q, size_t i)
{
	for (size_t k = 0; q->disks[i].size && k < q->slice->n_disks; k++)
		if (STREQ(q->slice->disks[k].name, q->disks[i].name))
			return &q->slice->disks[k];
	return NULL;
}

static size_t differs_size(const struct qemu *q)
{
	for (size_t i = 0; i < q->n_disks; i++) {
		const struct machine_disk *d = wanted_disk(q, i);
		if (d && !d->readonly && q->disks[i].size < wanted_size(d))
			return i;
	}
	return SIZE_MAX;
}

static void remember(struct qemu *q)
{
	int r = qemu_record_save(launch_folder(q->launch), &q->record);

	if (r < 0)
		qemu_log(q, "what is plugged can't be noted: %s", strerror(-r));
	qemu_plugs_to_look(q);
	qemu_changed(q);
}

static void on_plug(
    struct qemu *q, int code, const char *result, const struct err *err)
{
	size_t i = differs_plug(q);

	if (q->finished || i == SIZE_MAX)
		return;
	const struct machine_nic *nic = &q->slice->nics[i];
	bool deleting = q->live_step == DEL_PORT || q->live_step == DEL_SWITCH;
	/* Nothing there to delete is as good; QEMU has no class of its own
	 * for that in every version. */
	if (code < 0 &&
	    !(deleting && code != -ETIMEDOUT && code != -ENOTCONN)) {
		q->live_step = DEL_PORT;
		/* The switch may have died since: looked at again soon. */
		refuse(q, "nics.", nic->name, -EAGAIN, err);
		return;
	}
	q->live_step++;
	if (q->live_step > ADD_PORT) {
		q->record.nics[i].incarnation = nic->incarnation;
		q->live_step = DEL_PORT;
		remember(q);
		qemu_log(
		    q, "nics.%s is plugged into %s", nic->name, nic->endpoint);
	} else if (q->live_step == ADD_SWITCH && !nic->endpoint) {
		q->record.nics[i].incarnation = 0;
		q->live_step = DEL_PORT;
		remember(q);
		qemu_log(q, "nics.%s is unplugged", nic->name);
	}
	qemu_live_next(q);
}

static int plug(struct qemu *q, size_t i)
{
	const char *command =
	    q->live_step <= DEL_SWITCH ? "netdev_del" : "netdev_add";
	_cleanup_buf_ struct buf b = {0};

	switch (q->live_step) {
	case DEL_PORT:
		q->record.nics[i].incarnation = PLUG_UNKNOWN;
		remember(q);
		buf_printf(&b, "{\"id\":\"hv%zu\"}", i);
		break;
	case DEL_SWITCH:
		buf_printf(&b, "{\"id\":\"v%zu\"}", i);
		break;
	case ADD_SWITCH:
		buf_printf(
		    &b, "{\"type\":\"vde\",\"id\":\"v%zu\",\"sock\":", i);
		buf_json_string(&b, q->slice->nics[i].endpoint);
		buf_putc(&b, '}');
		break;
	default:
		buf_printf(&b,
		    "{\"type\":\"hubport\",\"id\":\"hv%zu\",\"hubid\":%zu,"
		    "\"netdev\":\"v%zu\"}",
		    i, i, i);
		break;
	}
	return qemu_ask(q, command, buf_str(&b), on_plug);
}

void qemu_hub_open(struct qemu *q, size_t i)
{
	_cleanup_free_ char *arguments = xasprintf(
	    "{\"type\":\"hubport\",\"id\":\"ho%zu\",\"hubid\":%zu}", i, i);

	/* One that an earlier daemon has added is there: refused, and right. */
	qemu_ask_always(q, "netdev_add", arguments, NULL);
}

/* --- a NIC that came ----------------------------------------------------- */

/* A daemon before this one may have died after the command.  QEMU has no class
 * for it. */
static bool is_there(const struct err *err)
{
	return strstr(err_text(err), "uplicate") != NULL;
}

static void on_nic_added(
    struct qemu *q, int code, const char *result, const struct err *err)
{
	size_t i = q->record.n_nics;
	struct err why = ERR_INIT;

	if (q->finished || i >= q->slice->n_nics)
		return;
	const char *name = q->slice->nics[i].name;
	if (code == -ETIMEDOUT || code == -ENOTCONN) {
		refuse(q, "nics.", name, -EAGAIN, err);
		return;
	}
	if (code < 0 && !is_there(err)) {
		/* No place for it in this run: the next start has one. */
		err_set(&why, -ENOTSUP,
		    "nics.%s can't come while the machine runs: %s", name,
		    err_text(err));
		qemu_finish(q, -ENOTSUP, &why);
		return;
	}
	q->record.nics[i].incarnation = 0;
	q->record.nics[i].link = LINK_UP;
	q->record.n_nics++;
	remember(q);
	qemu_log(q, "nics.%s has come", name);
	qemu_live_next(q);
}

static void on_hub_added(
    struct qemu *q, int code, const char *result, const struct err *err)
{
	size_t i = q->record.n_nics;

	if (q->finished || i >= q->slice->n_nics)
		return;
	if (code < 0 && !is_there(err)) {
		refuse(q, "nics.", q->slice->nics[i].name, -EAGAIN, err);
		return;
	}
	qemu_hub_open(q, i);
	_cleanup_free_ char *arguments =
	    qemu_nic_device(&q->slice->nics[i], (unsigned)i);
	if (qemu_ask(q, "device_add", arguments, on_nic_added) < 0)
		refuse(q, "nics.", q->slice->nics[i].name, -EAGAIN, err);
}

static int add_nic(struct qemu *q)
{
	size_t i = q->record.n_nics;
	_cleanup_free_ char *arguments = xasprintf(
	    "{\"type\":\"hubport\",\"id\":\"hn%zu\",\"hubid\":%zu}", i, i);

	return qemu_ask(q, "netdev_add", arguments, on_hub_added);
}

/* --- links and sizes ----------------------------------------------------- */

static void on_link(
    struct qemu *q, int code, const char *result, const struct err *err)
{
	size_t i = differs_link(q);

	if (q->finished || i == SIZE_MAX)
		return;
	const struct machine_nic *nic = &q->slice->nics[i];
	if (code < 0) {
		refuse(q, "nics.", nic->name, code, err);
		return;
	}
	q->record.nics[i].link = nic->link;
	remember(q);
	qemu_log(q, "nics.%s: link %s", nic->name, link_state_name(nic->link));
	qemu_live_next(q);
}

static int set_link(struct qemu *q, size_t i)
{
	_cleanup_buf_ struct buf b = {0};

	buf_printf(&b, "{\"name\":\"nic%zu\",\"up\":%s}", i,
	    q->slice->nics[i].link == LINK_UP ? "true" : "false");
	return qemu_ask(q, "set_link", buf_str(&b), on_link);
}

static void on_resized(
    struct qemu *q, int code, const char *result, const struct err *err)
{
	size_t i = differs_size(q);

	if (q->finished || i == SIZE_MAX)
		return;
	const struct machine_disk *d = wanted_disk(q, i);
	if (code < 0) {
		refuse(q, "disk: can't be grown: ", d->path, code, err);
		return;
	}
	q->disks[i].size = wanted_size(d);
	qemu_disks_to_look(q);
	qemu_changed(q);
	qemu_log(q, "%s: grown to %llu bytes", d->name,
	    (unsigned long long)q->disks[i].size);
	qemu_live_next(q);
}

static int resize(struct qemu *q, size_t i)
{
	_cleanup_buf_ struct buf b = {0};

	buf_printf(&b, "{\"node-name\":\"disk%zu.%s\",\"size\":%llu}", i,
	    q->disks[i].name,
	    (unsigned long long)wanted_size(wanted_disk(q, i)));
	return qemu_ask(q, "block_resize", buf_str(&b), on_resized);
}

void qemu_live_next(struct qemu *q)
{
	struct err err = ERR_INIT;
	size_t plug_i = differs_plug(q), link_i = differs_link(q),
	       size_i = differs_size(q);
	int r = 0;

	if (plug_i != SIZE_MAX)
		r = plug(q, plug_i);
	else if (q->slice->n_nics > q->record.n_nics)
		r = add_nic(q);
	else if (link_i != SIZE_MAX)
		r = set_link(q, link_i);
	else if (size_i != SIZE_MAX)
		r = resize(q, size_i);
	else if (qemu_forwards_differ(q))
		r = qemu_forward_next(q);
	else if (qemu_disk_to_plug(q))
		qemu_plug_disk(q);
	else
		qemu_finish(q, 0, NULL);
	if (r < 0) {
		err_set(&err, -EAGAIN, "QEMU does not answer");
		qemu_finish(q, -EAGAIN, &err);
	}
}
