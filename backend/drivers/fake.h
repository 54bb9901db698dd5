/* SPDX-License-Identifier: Apache-2.0
 *
 * What the fake drivers share: calls that end after a delay, and what a fake
 * node remembers in its runtime directory.  A fake node that does nothing
 * holds no timer and no descriptor, and has touched no file.
 */
#ifndef RACKFS_FAKE_H
#define RACKFS_FAKE_H

#include "drivers/drivers.h"
#include "state.h"

/* --- one call under way ------------------------------------------------ */

struct fake_task {
	struct loop *loop;
	struct op *op; /* NULL: nothing is under way */
	struct loop_source *source;
	bool cancelled;
	struct err *failure; /* what the call has to fail with, or NULL */
	void *self;
	/* What the call does once its time has come; gives done's code. */
	int (*end)(void *self, struct err *err);
};
/* Takes the op on; it ends after `delay` usec, 0: in the next round. */
int fake_begin(struct fake_task *t, struct loop *loop, uint64_t delay,
    int (*end)(void *self, struct err *err), void *self, struct op *op,
    struct err *err);
void fake_drop(struct fake_task *t); /* for close: done does not fire */
/* Whether this stage fails is decided while the slice is there, and told when
 * the call ends: 0, or the failure's code with its sentence. */
void fake_decide(struct fake_task *t, const struct driver_env *env,
    const struct fake_spec *spec, unsigned stage);
int fake_told(struct fake_task *t, struct err *err);
/* A fake needs nothing of its host. */
int fake_available(struct err *err);

/* --- what it remembers ---------------------------------------------------- */

/* RUNTIME_DIR/fake: written at each start and end of a run, read by observe;
 * so a fake machine lives on when the daemon ends. */
struct fake_record {
	uint64_t launch, started;
	bool running, marked;
	enum machine_end end;
	uint64_t rules; /* digest of fake.fail: another one counts anew */
	unsigned failed[STAGES + 1];
};
/* A missing record reads as an empty one. */
int fake_record_read(
    const struct driver_env *env, struct fake_record *ret, struct err *err);
int fake_record_write(
    const struct driver_env *env, const struct fake_record *r, struct err *err);

/* What can fail by fake.fail beside stages: a check (FAKE_CHECK). */
#define FAILS_CHECK STAGES
/* Does this stage have to fail this time?  Counts it.  Returns 0, or -EIO
 * with a sentence.  No file is looked at when the stage isn't listed. */
int fake_fails(const struct driver_env *env, const struct fake_spec *spec,
    unsigned stage, struct err *err);

static inline uint64_t fake_delay(const struct fake_spec *spec)
{
	return spec ? spec->delay : 0;
}

/* DIR/name; owned text. */
char *fake_path(const char *dir, const char *name);
/* In the state directory: what install_fake has put on the disk. */
#define FAKE_INSTALLED "fake-installed"
/* A guest that was told to power off leaves this in the runtime directory for
 * its machine. */
#define FAKE_POWEROFF "fake-poweroff"
/* In the runtime directory: keys of the spec, one a line, whose things somebody
 * changed in the guest.  Looks find them; putting them right removes them. */
#define FAKE_DRIFT "fake-drift"
/* In the state directory: what is set up; it goes with the disk. */
#define FAKE_SETUP "fake-setup"

#endif
