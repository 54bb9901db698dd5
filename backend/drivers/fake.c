/* SPDX-License-Identifier: Apache-2.0
 *
 * The common part of the fake drivers: delays, scripted failures, the record.
 * They let the engine and the tree be tried with thousands of nodes and
 * without a machine.
 */
#include "drivers/fake.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

/* --- one call under way ------------------------------------------------ */

static void on_end(void *userdata)
{
	struct fake_task *t = userdata;
	struct op *op = TAKE_PTR(t->op);
	struct err err = ERR_INIT;
	int code;

	loop_source_free(TAKE_PTR(t->source));
	if (t->cancelled)
		code = err_set(&err, -ECANCELED, "cancelled");
	else
		code = t->end(t->self, &err);
	op_done(op, code, &err);
}

static int arm(struct fake_task *t, uint64_t delay)
{
	int r;

	if (delay)
		return loop_add_timer(
		    t->loop, loop_now(t->loop) + delay, on_end, t, &t->source);
	r = loop_add_deferred(t->loop, on_end, t, &t->source);
	if (r >= 0)
		loop_kick(t->source);
	return r;
}

static void cancel(struct op *op)
{
	struct fake_task *t = op->driver_data;

	if (t->cancelled)
		return;
	t->cancelled = true;
	loop_source_free(TAKE_PTR(t->source));
	if (arm(t, 0) < 0)
		abort(); /* out of memory */
}

int fake_begin(struct fake_task *t, struct loop *loop, uint64_t delay,
    int (*end)(void *self, struct err *err), void *self, struct op *op,
    struct err *err)
{
	t->loop = loop;
	t->cancelled = false;
	t->end = end;
	t->self = self;
	int r = arm(t, delay);
	if (r < 0)
		return err_errno(err, r, "no timer for a fake node");
	t->op = op;
	op->driver_data = t;
	op->cancel = cancel;
	return 0;
}

void fake_drop(struct fake_task *t)
{
	loop_source_free(TAKE_PTR(t->source));
	free(TAKE_PTR(t->failure));
	t->op = NULL;
}

int fake_available(struct err *err)
{
	return 0;
}

/* --- the record -------------------------------------------------------- */

#define RECORD     "fake"
#define RECORD_MAX 4096

char *fake_path(const char *dir, const char *name)
{
	return xasprintf("%s/%s", dir, name);
}

static const char *fail_name(unsigned stage)
{
	return stage == FAILS_CHECK ? FAKE_CHECK
				    : stage_name((enum stage)stage);
}

static void read_line(const char *line, struct fake_record *r)
{
	char stage[16];
	unsigned n;
	uint64_t v;

	if (sscanf(line, "launch %" SCNu64, &v) == 1)
		r->launch = v;
	else if (sscanf(line, "started %" SCNu64, &v) == 1)
		r->started = v;
	else if (sscanf(line, "running %u", &n) == 1)
		r->running = n != 0;
	else if (sscanf(line, "marked %u", &n) == 1)
		r->marked = n != 0;
	else if (sscanf(line, "end %u", &n) == 1 && n < MACHINE_ENDS)
		r->end = (enum machine_end)n;
	else if (sscanf(line, "rules %" SCNx64, &v) == 1)
		r->rules = v;
	else if (sscanf(line, "failed %15s %u", stage, &n) == 2)
		for (unsigned s = 0; s < ARRAY_SIZE(r->failed); s++)
			if (STREQ(stage, fail_name(s)))
				r->failed[s] = n;
}

int fake_record_read(
    const struct driver_env *env, struct fake_record *ret, struct err *err)
{
	_cleanup_free_ char *path = fake_path(env->runtime_dir, RECORD);
	_cleanup_buf_ struct buf text = {0};
	struct fake_record r = {0};
	char *line, *state = NULL;
	int rc = file_read(AT_FDCWD, path, RECORD_MAX, &text);

	if (rc < 0 && rc != -ENOENT)
		return err_errno(err, rc, "%s can't be read", path);
	for (line = text.data ? strtok_r(text.data, "\n", &state) : NULL; line;
	     line = strtok_r(NULL, "\n", &state))
		read_line(line, &r);
	*ret = r;
	return 0;
}

int fake_record_write(
    const struct driver_env *env, const struct fake_record *r, struct err *err)
{
	_cleanup_free_ char *path = fake_path(env->runtime_dir, RECORD);
	_cleanup_buf_ struct buf text = {0};

	buf_printf(&text,
	    "launch %" PRIu64 "\nstarted %" PRIu64 "\nrunning %d\nmarked %d\n"
	    "end %d\n",
	    r->launch, r->started, r->running, r->marked, (int)r->end);
	if (r->rules)
		buf_printf(&text, "rules %" PRIx64 "\n", r->rules);
	for (unsigned s = 0; s < ARRAY_SIZE(r->failed); s++)
		if (r->failed[s])
			buf_printf(&text, "failed %s %u\n", fail_name(s),
			    r->failed[s]);
	int rc = file_replace(AT_FDCWD, path, text.data, text.len, 0600);
	if (rc < 0)
		return err_errno(err, rc, "%s can't be written", path);
	return 0;
}

/* --- scripted failures --------------------------------------------------- */

static uint64_t rules_of(const struct fake_spec *spec)
{
	_cleanup_buf_ struct buf text = {0};

	buf_printf(&text, "%u", spec->fail_times);
	for (char **s = spec->fail; s && *s; s++)
		buf_printf(&text, " %s", *s);
	return hash_bytes(text.data, text.len);
}

int fake_fails(const struct driver_env *env, const struct fake_spec *spec,
    unsigned stage, struct err *err)
{
	struct fake_record r = {0};
	bool listed = false;

	for (char **s = spec ? spec->fail : NULL; s && *s; s++)
		listed |= STREQ(*s, fail_name(stage));
	if (!listed)
		return 0;
	int rc = fake_record_read(env, &r, err);
	if (rc < 0)
		return rc;
	uint64_t rules = rules_of(spec);
	if (r.rules != rules) {
		r.rules = rules;
		memset(r.failed, 0, sizeof(r.failed));
	}
	if (r.failed[stage] >= spec->fail_times)
		return 0;
	r.failed[stage]++;
	rc = fake_record_write(env, &r, err);
	if (rc < 0)
		return rc;
	return err_set(err, -EIO,
	    "it fails because fake.fail of the spec says so (%u of %u times)",
	    r.failed[stage], spec->fail_times);
}

void fake_decide(struct fake_task *t, const struct driver_env *env,
    const struct fake_spec *spec, unsigned stage)
{
	struct err why = ERR_INIT;

	free(TAKE_PTR(t->failure));
	if (fake_fails(env, spec, stage, &why) == 0)
		return;
	t->failure = xmalloc(sizeof(why));
	*t->failure = why;
}

int fake_told(struct fake_task *t, struct err *err)
{
	_cleanup_free_ struct err *failure = TAKE_PTR(t->failure);

	if (!failure)
		return 0;
	err_copy(err, failure);
	return failure->code;
}
