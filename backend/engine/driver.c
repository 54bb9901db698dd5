/* SPDX-License-Identifier: Apache-2.0
 *
 * The checked calls of include/driver.h: every call of the engine to a driver
 * goes through here, so that a driver which breaks the contract stops at an
 * assert with its name, and drivers themselves stay plain.
 */
#include "driver.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include "log.h"

static void begin(struct op *op)
{
	assert(op && op->done);
	assert(!op->pending); /* one operation at a time */
	op->pending = true;
	op->cancel = NULL;
	op->driver_data = NULL;
}

/* After the driver's answer: 0 took it on, negative refused it. */
static int begun(
    struct op *op, const char *driver, int r, const struct err *err)
{
	assert(r <= 0);
	assert(op->pending); /* done never fires from within the call */
	if (r < 0) {
		op->pending = false;
		log_debug("%s: %s refused: %s", driver,
		    op->what ? op->what : "call",
		    err && err->text[0] ? err->text : strerror(-r));
	}
	return r;
}

/* `op` and `err` are those of the function it stands in. */
#define CALL(d, call)                                                          \
	({                                                                     \
		begin(op);                                                     \
		begun(op, (d)->name, (d)->call, err);                          \
	})

const char *disk_content_name(enum disk_content c)
{
	static const char *const names[] = {
	    [DISK_UNKNOWN] = "unknown",
	    [DISK_BLANK] = "blank",
	    [DISK_OURS_PARTIAL] = "ours, not finished",
	    [DISK_OURS] = "ours",
	    [DISK_OURS_GROWN] = "ours, with room to grow",
	    [DISK_OURS_OTHER] = "ours, with another layout",
	    [DISK_FOREIGN] = "foreign",
	};
	static_assert(ARRAY_SIZE(names) == DISK_CONTENTS, "a word is missing");

	assert((unsigned)c < DISK_CONTENTS);
	return names[c];
}

int machine_observe(
    const struct machine_driver *d, void *self, struct op *op, struct err *err)
{
	return CALL(d, observe(self, op, err));
}

int machine_start(const struct machine_driver *d, void *self,
    const struct machine_slice *slice, struct op *op, struct err *err)
{
	return CALL(d, start(self, slice, op, err));
}

int machine_stop(const struct machine_driver *d, void *self, bool hard,
    struct op *op, struct err *err)
{
	return CALL(d, stop(self, hard, op, err));
}

int machine_apply(const struct machine_driver *d, void *self,
    const struct machine_slice *slice, struct op *op, struct err *err)
{
	return CALL(d, apply(self, slice, op, err));
}

int network_observe(
    const struct network_driver *d, void *self, struct op *op, struct err *err)
{
	return CALL(d, observe(self, op, err));
}

int network_ensure(const struct network_driver *d, void *self,
    const struct network_slice *slice, struct op *op, struct err *err)
{
	return CALL(d, ensure(self, slice, op, err));
}

int network_remove(
    const struct network_driver *d, void *self, struct op *op, struct err *err)
{
	return CALL(d, remove(self, op, err));
}

int network_query_ports(
    const struct network_driver *d, void *self, struct op *op, struct err *err)
{
	return CALL(d, query_ports(self, op, err));
}

int image_observe(const struct image_driver *d, void *self,
    const struct image_slice *slice, struct op *op, struct err *err)
{
	return CALL(d, observe(self, slice, op, err));
}

int image_ensure(const struct image_driver *d, void *self,
    const struct image_slice *slice, struct op *op, struct err *err)
{
	return CALL(d, ensure(self, slice, op, err));
}

int guest_connect(const struct guest_driver *d, void *self,
    const struct guest_slice *slice, struct op *op, struct err *err)
{
	return CALL(d, connect(self, slice, op, err));
}

int guest_configure(const struct guest_driver *d, void *self,
    const struct guest_slice *slice, struct op *op, struct err *err)
{
	return CALL(d, configure(self, slice, op, err));
}

int guest_poweroff(
    const struct guest_driver *d, void *self, struct op *op, struct err *err)
{
	return CALL(d, poweroff(self, op, err));
}

int guest_reach(const struct guest_driver *d, void *self,
    const struct guest_peer *peers, size_t n, struct op *op, struct err *err)
{
	return CALL(d, reach(self, peers, n, op, err));
}

int disk_observe(const struct disk_driver *d, void *self,
    const struct disk_slice *slice, struct op *op, struct err *err)
{
	return CALL(d, observe(self, slice, op, err));
}

int disk_ensure(const struct disk_driver *d, void *self,
    const struct disk_slice *slice, struct op *op, struct err *err)
{
	return CALL(d, ensure(self, slice, op, err));
}

int disk_wipe(const struct disk_driver *d, void *self,
    const struct disk_slice *slice, struct op *op, struct err *err)
{
	return CALL(d, wipe(self, slice, op, err));
}

int install_observe(const struct install_driver *d, void *self,
    const struct install_slice *slice, struct op *op, struct err *err)
{
	return CALL(d, observe(self, slice, op, err));
}

int install_ensure(const struct install_driver *d, void *self,
    const struct install_slice *slice, struct op *op, struct err *err)
{
	return CALL(d, ensure(self, slice, op, err));
}

int install_seal(const struct install_driver *d, void *self,
    const struct install_slice *slice, struct op *op, struct err *err)
{
	return CALL(d, seal(self, slice, op, err));
}

int setup_observe(const struct setup_driver *d, void *self,
    const struct setup_slice *slice, struct op *op, struct err *err)
{
	return CALL(d, observe(self, slice, op, err));
}

int setup_ensure(const struct setup_driver *d, void *self, enum setup_part part,
    const struct setup_slice *slice, struct op *op, struct err *err)
{
	return CALL(d, ensure(self, part, slice, op, err));
}

int probe_run(const struct probe_driver *d, void *self,
    const struct probe_slice *slice, struct op *op, struct err *err)
{
	return CALL(d, run(self, slice, op, err));
}
