/* SPDX-License-Identifier: Apache-2.0
 *
 * KVM or TCG: one probe for all machines of a loop, made when the first one
 * starts.  Handles of machines don't know each other, and the driver has no
 * handle of its own; so the answer hangs on a list of the process: the one
 * exception here to "no mutable globals".  It is touched by the loop's thread
 * only, counted by the open handles, and gone with the last of them, so that
 * nothing is left between tests.  (A file would be asked for by three
 * machines at once before the first answer, and stay wrong after a reboot.)
 */
#include <errno.h>
#include <stdio.h>

#include "host/kvm.h"
#include "machine_qemu.h"

struct qemu_accel {
	struct qemu_accel *next;
	struct loop *loop;
	unsigned refs;
	struct kvm_probe *probe;
	bool known, usable;
	char why[160];
	struct qemu_accel_wait *waits;
	struct loop_source *tell;
};

struct qemu_accel_wait {
	struct qemu_accel_wait *next;
	struct qemu_accel *accel; /* NULL once it was told */
	void (*fn)(bool kvm, const char *why, void *userdata);
	void *userdata;
};

static struct qemu_accel *accels; /* one for each loop */

struct qemu_accel *qemu_accel_ref(struct loop *l)
{
	struct qemu_accel *a = accels;

	while (a && a->loop != l)
		a = a->next;
	if (!a) {
		a = xcalloc(1, sizeof(*a));
		a->loop = l;
		a->next = accels;
		accels = a;
	}
	a->refs++;
	return a;
}

void qemu_accel_unref(struct qemu_accel *a)
{
	struct qemu_accel **at = &accels;

	if (!a || --a->refs > 0)
		return;
	while (*at != a)
		at = &(*at)->next;
	*at = a->next;
	kvm_probe_free(a->probe);
	loop_source_free(a->tell);
	free(a);
}

static void on_tell(void *userdata)
{
	struct qemu_accel *a = userdata;

	kvm_probe_free(TAKE_PTR(a->probe));
	/* fn may close its handle, and with the last one goes `a`. */
	a->refs++;
	while (a->waits) {
		struct qemu_accel_wait *w = a->waits;
		a->waits = w->next;
		w->accel = NULL;
		w->fn(a->usable, a->why, w->userdata);
	}
	qemu_accel_unref(a);
}

static void on_probe(bool usable, const char *why, void *userdata)
{
	struct qemu_accel *a = userdata;

	a->known = true;
	a->usable = usable;
	snprintf(a->why, sizeof(a->why), "%s", usable ? "" : why);
	loop_kick(a->tell);
}

int qemu_accel_ask(struct qemu_accel *a, const char *dir,
    void (*fn)(bool kvm, const char *why, void *userdata), void *userdata,
    struct qemu_accel_wait **ret, struct err *err)
{
	int r = 0;

	if (!a->tell)
		r = loop_add_deferred(a->loop, on_tell, a, &a->tell);
	if (r < 0)
		return err_errno(err, r, "KVM probe");
	if (!a->known && !a->probe) {
		r = kvm_probe_new(a->loop, dir, on_probe, a, &a->probe, err);
		if (r < 0)
			return r;
	}
	struct qemu_accel_wait *w = xcalloc(1, sizeof(*w));
	w->accel = a;
	w->fn = fn;
	w->userdata = userdata;
	w->next = a->waits;
	a->waits = w;
	if (a->known)
		loop_kick(a->tell);
	*ret = w;
	return 0;
}

void qemu_accel_wait_free(struct qemu_accel_wait *w)
{
	if (!w)
		return;
	if (w->accel) {
		struct qemu_accel_wait **at = &w->accel->waits;
		while (*at != w)
			at = &(*at)->next;
		*at = w->next;
	}
	free(w);
}
