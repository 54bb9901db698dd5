/* SPDX-License-Identifier: Apache-2.0
 *
 * A machine that is a record in a file: it starts, boots and ends after
 * fake.delay, fails as fake.fail says, prints a short boot log, and is found
 * again by the next daemon.
 *
 *   NONE    start -> (delay) RUNNING | the start fails
 *   RUNNING (delay) marks itself | crashes, stop -> NONE
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "drivers/fake.h"
#include "identity.h"

#define RUNS_KEPT 3

struct machine {
	const struct driver_env *env;
	void (*console)(void *owner);
	struct fake_task task;
	/* What comes by itself: the end of the boot, or of a run that was asked
	 * to power off. */
	struct loop_source *timer;
	bool powering_off;
	struct machine_start *next; /* while a start is under way */
	enum machine_state state;
	enum machine_end end;
	bool marked;
	bool crash_at_boot;
	uint64_t delay;
	uint64_t launch, started, last_output;
	size_t n_disks;
	struct {
		char name[DISK_NAME_MAX + 1];
		uint64_t size;
	} disks[MACHINE_DISKS_MAX];
	unsigned n_nics;
	struct {
		uint64_t incarnation;
		enum link_state link;
	} nics[NICS_MAX];
};

/* --- console ------------------------------------------------------------ */

static char *log_path(const struct machine *m, uint64_t launch)
{
	return xasprintf("%s/fake-console.%" PRIu64, m->env->state_dir, launch);
}

/* A console that can't be written is no reason to stop a machine. */
static void print(struct machine *m, const void *data, size_t len)
{
	_cleanup_free_ char *path = log_path(m, m->launch);
	_cleanup_close_ int fd =
	    open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0 || write_all(fd, data, len) < 0)
		return;
	m->last_output = now_mono();
	if (m->console)
		m->console(m->env->owner);
}

static void PRINTF(2, 3) say(struct machine *m, const char *fmt, ...)
{
	_cleanup_buf_ struct buf text = {0};
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	print(m, text.data, text.len);
}

static void drop_old_log(const struct machine *m)
{
	if (m->launch <= RUNS_KEPT)
		return;
	_cleanup_free_ char *path = log_path(m, m->launch - RUNS_KEPT);
	(void)unlink(path);
}

static ssize_t fake_console_read(
    void *self, uint64_t launch, uint64_t off, void *data, size_t len)
{
	struct machine *m = self;
	_cleanup_free_ char *path = log_path(m, launch ? launch : m->launch);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	ssize_t n = pread(fd, data, len, (off_t)off);
	return n < 0 ? -errno : n;
}

static void fake_console_stat(
    void *self, uint64_t *ret_launch, uint64_t *ret_size, uint64_t *ret_oldest)
{
	struct machine *m = self;
	struct stat st = {0};

	if (m->launch) {
		_cleanup_free_ char *path = log_path(m, m->launch);
		if (stat(path, &st) < 0)
			st.st_size = 0;
	}
	*ret_launch = m->launch;
	*ret_size = (uint64_t)st.st_size;
	*ret_oldest = 0;
}

static ssize_t fake_console_write(void *self, const void *data, size_t len)
{
	struct machine *m = self;

	if (m->state != MACHINE_RUNNING)
		return -ENODEV;
	print(m, data, len);
	return (ssize_t)len;
}

/* --- runs -------------------------------------------------------------- */

static int remember(const struct machine *m, struct err *err)
{
	struct fake_record r;
	int rc = fake_record_read(m->env, &r, err);

	if (rc < 0)
		return rc;
	r.launch = m->launch;
	r.started = m->started;
	r.running = m->state == MACHINE_RUNNING;
	r.marked = m->marked;
	r.end = m->end;
	return fake_record_write(m->env, &r, err);
}

static void forget_poweroff(const struct machine *m)
{
	_cleanup_free_ char *path =
	    fake_path(m->env->runtime_dir, FAKE_POWEROFF);
	(void)unlink(path);
}

static int end_run(struct machine *m, enum machine_end end, struct err *err)
{
	loop_source_free(TAKE_PTR(m->timer));
	m->powering_off = false;
	m->state = MACHINE_NONE;
	m->end = end;
	say(m, "[  fake] %s\n",
	    end == END_CRASHED ? "the machine is gone" : "power down");
	return remember(m, err);
}

/* What the next daemon would find is then not what is: said in `log`. */
static void tell(const struct machine *m, const struct err *err)
{
	if (m->env->log && err->code)
		m->env->log(m->env->owner, err->text, strlen(err->text));
}

static void on_timer(void *userdata)
{
	struct machine *m = userdata;
	struct err err = ERR_INIT;

	loop_source_free(TAKE_PTR(m->timer));
	if (m->powering_off) {
		(void)end_run(m, END_POWEROFF, &err);
	} else if (m->crash_at_boot) {
		(void)end_run(m, END_CRASHED, &err);
	} else {
		m->marked = true;
		say(m, "%s\n%s login: ", MARK_READY, m->env->name);
		(void)remember(m, &err);
	}
	tell(m, &err);
	m->env->changed(m->env->owner);
}

static int set_timer(struct machine *m, uint64_t delay, struct err *err)
{
	loop_source_free(TAKE_PTR(m->timer));
	int r = loop_add_timer(m->env->loop, loop_now(m->env->loop) + delay,
	    on_timer, m, &m->timer);
	return r < 0 ? err_errno(err, r, "no timer for a fake machine") : 0;
}

/* --- the driver ---------------------------------------------------------- */

static int fake_open(const struct driver_env *env,
    int (*identity)(void *owner, struct buf *ret, struct err *err),
    void (*console)(void *owner), void **ret, struct err *err)
{
	struct machine *m = xcalloc(1, sizeof(*m));

	m->env = env;
	m->console = console;
	*ret = m;
	return 0;
}

static void fake_close(void *self)
{
	struct machine *m = self;

	if (!m)
		return;
	fake_drop(&m->task);
	loop_source_free(m->timer);
	free(m->next);
	free(m);
}

static int adopt(struct machine *m, struct err *err)
{
	struct fake_record r;
	int rc = fake_record_read(m->env, &r, err);

	if (rc < 0)
		return rc;
	m->state = r.running ? MACHINE_RUNNING : MACHINE_NONE;
	m->launch = r.launch;
	m->started = r.started;
	m->end = r.end;
	m->marked = r.running; /* its boot went on without us */
	m->last_output = r.started;
	return 0;
}

static int observe_end(void *self, struct err *err)
{
	struct machine *m = self;

	return m->state == MACHINE_UNKNOWN ? adopt(m, err) : 0;
}

static int fake_observe(void *self, struct op *op, struct err *err)
{
	struct machine *m = self;

	return fake_begin(&m->task, m->env->loop, 0, observe_end, m, op, err);
}

static bool guest_powered_off(const struct machine *m)
{
	_cleanup_free_ char *path =
	    fake_path(m->env->runtime_dir, FAKE_POWEROFF);
	return access(path, F_OK) == 0;
}

static void fake_look(void *self, struct machine_look *ret)
{
	struct machine *m = self;
	struct err err = ERR_INIT;

	if (m->state == MACHINE_RUNNING && guest_powered_off(m)) {
		(void)end_run(m, END_POWEROFF, &err);
		forget_poweroff(m);
		tell(m, &err);
	}
	*ret = (struct machine_look){
	    .state = m->state,
	    .launch = m->launch,
	    .started = m->started,
	    .end = m->state == MACHINE_RUNNING ? END_NONE : m->end,
	    .marked = m->marked,
	    .last_output = m->last_output,
	    .accel = "",
	    .n_nics = m->n_nics,
	    .disk_size = m->n_disks ? m->disks[0].size : 0,
	    .disks_known = m->state == MACHINE_RUNNING,
	    .n_disks = m->n_disks,
	};
	for (size_t i = 0; i < m->n_disks; i++) {
		memcpy(ret->disks[i].name, m->disks[i].name,
		    sizeof(ret->disks[i].name));
		ret->disks[i].size = m->disks[i].size;
	}
	for (size_t i = 0; i < m->n_nics; i++) {
		ret->nics[i].incarnation = m->nics[i].incarnation;
		ret->nics[i].link = m->nics[i].link;
	}
	if (ret->end == END_CRASHED)
		snprintf(ret->end_text, sizeof(ret->end_text),
		    "the boot fails because fake.fail of the spec says so");
	if (m->marked)
		snprintf(ret->last_line, sizeof(ret->last_line),
		    "%s login:", m->env->name);
}

static void take_slice(struct machine *m, const struct machine_slice *slice)
{
	m->n_nics = (unsigned)MIN(slice->n_nics, (size_t)NICS_MAX);
	for (size_t i = 0; i < m->n_nics; i++) {
		m->nics[i].incarnation = slice->nics[i].incarnation;
		m->nics[i].link = slice->nics[i].link;
	}
	m->n_disks = MIN(slice->n_disks, (size_t)MACHINE_DISKS_MAX);
	for (size_t i = 0; i < m->n_disks; i++) {
		snprintf(m->disks[i].name, sizeof(m->disks[i].name), "%s",
		    slice->disks[i].name);
		m->disks[i].size = slice->disks[i].size;
	}
	m->delay = fake_delay(slice->fake);
}

/* What the end of a start needs of the slice, which is borrowed. */
struct machine_start {
	unsigned cpus;
	uint64_t memory;
	struct err failure;
};

static int start_end(void *self, struct err *err)
{
	struct machine *m = self;
	_cleanup_free_ struct machine_start *s = TAKE_PTR(m->next);
	char memory[24];

	if (s->failure.code) {
		err_copy(err, &s->failure);
		return err->code;
	}
	format_size(s->memory, memory);
	m->launch++;
	m->started = m->last_output = now_mono();
	m->state = MACHINE_RUNNING;
	m->end = END_NONE;
	m->marked = false;
	int r = remember(m, err);
	if (r == 0)
		r = set_timer(m, m->delay, err);
	if (r < 0) {
		m->state = MACHINE_NONE;
		m->end = END_STOPPED;
		return r;
	}
	forget_poweroff(m);
	drop_old_log(m);
	say(m,
	    "[  fake] run %" PRIu64 " of %s\n[  fake] %u cpus, %s of memory, "
	    "%u network cards\n",
	    m->launch, m->env->name, s->cpus, memory, m->n_nics);
	return 0;
}

static int fake_start(void *self, const struct machine_slice *slice,
    struct op *op, struct err *err)
{
	struct machine *m = self;
	int r = m->state == MACHINE_UNKNOWN ? adopt(m, err) : 0;

	if (r < 0)
		return r;
	if (m->state == MACHINE_RUNNING)
		return err_set(err, -EBUSY, "a fake machine runs already");
	free(m->next); /* of a start that was cancelled */
	m->next = xcalloc(1, sizeof(*m->next));
	m->next->cpus = slice->cpus;
	m->next->memory = slice->memory;
	m->crash_at_boot = false;
	take_slice(m, slice);
	if (fake_fails(m->env, slice->fake, STAGE_MACHINE, &m->next->failure) ==
	    0) {
		r = fake_fails(m->env, slice->fake, STAGE_BOOT, NULL);
		m->crash_at_boot = r < 0;
	}
	return fake_begin(
	    &m->task, m->env->loop, m->delay, start_end, m, op, err);
}

static int kill_end(void *self, struct err *err)
{
	struct machine *m = self;

	return m->state == MACHINE_RUNNING ? end_run(m, END_STOPPED, err) : 0;
}

static int press_end(void *self, struct err *err)
{
	struct machine *m = self;

	if (m->state != MACHINE_RUNNING)
		return 0;
	m->powering_off = true;
	return set_timer(m, m->delay, err);
}

static int fake_stop(void *self, bool hard, struct op *op, struct err *err)
{
	struct machine *m = self;
	int r = m->state == MACHINE_UNKNOWN ? adopt(m, err) : 0;

	if (r < 0)
		return r;
	return fake_begin(
	    &m->task, m->env->loop, 0, hard ? kill_end : press_end, m, op, err);
}

static int apply_end(void *self, struct err *err)
{
	return 0;
}

static int fake_apply(void *self, const struct machine_slice *slice,
    struct op *op, struct err *err)
{
	struct machine *m = self;

	if (m->state != MACHINE_RUNNING)
		return err_set(err, -ENODEV, "no machine runs");
	take_slice(m, slice);
	return fake_begin(&m->task, m->env->loop, 0, apply_end, m, op, err);
}

const struct machine_driver machine_fake = {
    .name = "fake",
    .help = "a record in a file that plays a machine, for tests",
    .available = fake_available,
    .open = fake_open,
    .close = fake_close,
    .observe = fake_observe,
    .look = fake_look,
    .start = fake_start,
    .stop = fake_stop,
    .apply = fake_apply,
    .console_read = fake_console_read,
    .console_stat = fake_console_stat,
    .console_write = fake_console_write,
};
