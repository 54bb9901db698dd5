/* SPDX-License-Identifier: Apache-2.0
 *
 * What is set up in a fake machine: nothing but digests of what each part was
 * last put right with, in a file of the state directory.  A part differs until
 * it was ensured with just that; an item is told for each of its entries.  A
 * system without services is one in memory: it forgets with its run.  What a
 * test says that somebody changed (FAKE_DRIFT) differs until it is put right.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "drivers/fake.h"

#define RECORD_MAX 4096

static const enum stage part_stages[] = {
    [SETUP_FILES] = STAGE_CONFIGURE,
    [SETUP_RUN] = STAGE_RUN,
    [SETUP_SERVICES] = STAGE_SERVICES,
};

struct setup {
	const struct driver_env *env;
	struct fake_task task;
	/* What the call under way needs of its slice. */
	enum setup_part part;
	bool fails, in_memory;
	struct err failure;
	uint64_t wanted[SETUP_PARTS];
	char **keys[SETUP_PARTS];
	/* What was seen. */
	struct setup_look look;
	struct setup_item *items;
};

static int fake_open(const struct driver_env *env, void **ret, struct err *err)
{
	struct setup *s = xcalloc(1, sizeof(*s));

	s->env = env;
	*ret = s;
	return 0;
}

static void drop_keys(struct setup *s)
{
	for (int i = 0; i < SETUP_PARTS; i++)
		strv_free(TAKE_PTR(s->keys[i]));
}

static void fake_close(void *self)
{
	struct setup *s = self;

	if (!s)
		return;
	fake_drop(&s->task);
	drop_keys(s);
	free(s->items);
	free(s);
}

/* --- digests ------------------------------------------------------------- */

static void put_strv(struct buf *b, char *const *v)
{
	for (; v && *v; v++)
		buf_append(b, *v, strlen(*v) + 1);
	buf_putc(b, '\n');
}

static void put_file(struct buf *b, const struct setup_file *f)
{
	buf_printf(b, "%s %o %s %d %s\n", f->path, f->mode,
	    f->owner ? f->owner : "", f->link, f->source ? f->source : "");
	if (!f->source)
		buf_append(b, f->data, f->len);
}

static void put_service(struct buf *b, const struct setup_service *v)
{
	buf_printf(
	    b, "%s %s %d\n", v->name, v->check ? v->check : "", v->required);
	put_strv(b, v->uses);
	put_strv(b, v->after);
}

static void take_slice(struct setup *s, const struct setup_slice *slice)
{
	_cleanup_buf_ struct buf b = {0};

	drop_keys(s);
	s->in_memory = !slice->systemd;
	for (size_t i = 0; i < slice->n_files; i++) {
		put_file(&b, &slice->files[i]);
		strv_push(&s->keys[SETUP_FILES], slice->files[i].key);
	}
	s->wanted[SETUP_FILES] = hash_bytes(b.data, b.len);
	buf_clear(&b);
	for (size_t i = 0; i < slice->n_runs; i++) {
		buf_printf(&b, "%s\n", slice->runs[i].name);
		put_strv(&b, slice->runs[i].command);
		strv_pushf(&s->keys[SETUP_RUN], "run.%s", slice->runs[i].name);
	}
	s->wanted[SETUP_RUN] = hash_bytes(b.data, b.len);
	buf_clear(&b);
	for (size_t i = 0; i < slice->n_services; i++) {
		put_service(&b, &slice->services[i]);
		strv_pushf(&s->keys[SETUP_SERVICES], "services.%s",
		    slice->services[i].name);
	}
	s->wanted[SETUP_SERVICES] = hash_bytes(b.data, b.len);
}

/* --- the record ---------------------------------------------------------- */

static int record_read(
    const struct setup *s, uint64_t ret[SETUP_PARTS], struct err *err)
{
	_cleanup_free_ char *path = fake_path(s->env->state_dir, FAKE_SETUP);
	_cleanup_buf_ struct buf text = {0};
	struct fake_record run;
	uint64_t launch = 0;
	int r = file_read(AT_FDCWD, path, RECORD_MAX, &text);

	memset(ret, 0, SETUP_PARTS * sizeof(*ret));
	if (r < 0 && r != -ENOENT)
		return err_errno(err, r, "%s can't be read", path);
	sscanf(buf_str(&text), "%" SCNu64 " %" SCNx64 " %" SCNx64 " %" SCNx64,
	    &launch, &ret[SETUP_FILES], &ret[SETUP_RUN], &ret[SETUP_SERVICES]);
	r = fake_record_read(s->env, &run, err);
	if (r == 0 && s->in_memory && launch != run.launch)
		memset(ret, 0, SETUP_PARTS * sizeof(*ret));
	return r;
}

static int record_write(
    const struct setup *s, const uint64_t v[SETUP_PARTS], struct err *err)
{
	_cleanup_free_ char *path = fake_path(s->env->state_dir, FAKE_SETUP);
	struct fake_record run;
	char text[96];
	int len, r = fake_record_read(s->env, &run, err);

	if (r < 0)
		return r;
	len = snprintf(text, sizeof(text),
	    "%" PRIu64 " %" PRIx64 " %" PRIx64 " %" PRIx64 "\n", run.launch,
	    v[SETUP_FILES], v[SETUP_RUN], v[SETUP_SERVICES]);
	r = file_replace(AT_FDCWD, path, text, (size_t)len, 0600);
	return r < 0 ? err_errno(err, r, "%s can't be written", path) : 0;
}

/* --- what somebody changed in the guest ----------------------------------- */

static int drift_read(const struct setup *s, char ***ret, struct err *err)
{
	_cleanup_free_ char *path = fake_path(s->env->runtime_dir, FAKE_DRIFT);
	_cleanup_buf_ struct buf text = {0};
	char *line, *state = NULL;
	int r = file_read(AT_FDCWD, path, RECORD_MAX, &text);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return err_errno(err, r, "%s can't be read", path);
	for (line = text.data ? strtok_r(text.data, "\n", &state) : NULL; line;
	     line = strtok_r(NULL, "\n", &state))
		strv_push(ret, line);
	return 0;
}

static bool has(char *const *list, const char *s)
{
	for (; list && *list; list++)
		if (STREQ(*list, s))
			return true;
	return false;
}

/* What was changed of this part is as it should be again. */
static int drift_mend(
    const struct setup *s, enum setup_part part, struct err *err)
{
	_cleanup_free_ char *path = fake_path(s->env->runtime_dir, FAKE_DRIFT);
	_cleanup_strv_ char **drift = NULL;
	_cleanup_buf_ struct buf left = {0};
	int r = drift_read(s, &drift, err);

	if (r < 0 || !drift)
		return r;
	for (char **d = drift; *d; d++)
		if (!has(s->keys[part], *d))
			buf_printf(&left, "%s\n", *d);
	r = file_replace(AT_FDCWD, path, buf_str(&left), left.len, 0600);
	return r < 0 ? err_errno(err, r, "%s can't be written", path) : 0;
}

static void add_item(
    struct setup *s, enum setup_part part, const char *key, const char *detail)
{
	struct setup_item *i;

	s->items =
	    xrealloc(s->items, (s->look.n_items + 1) * sizeof(*s->items));
	i = &s->items[s->look.n_items++];
	*i = (struct setup_item){.part = part};
	snprintf(i->key, sizeof(i->key), "%s", key);
	snprintf(i->detail, sizeof(i->detail), "%s", detail);
}

static int see(struct setup *s, struct err *err)
{
	uint64_t is[SETUP_PARTS];
	_cleanup_strv_ char **drift = NULL;
	int r = record_read(s, is, err);

	if (r == 0)
		r = drift_read(s, &drift, err);
	if (r < 0)
		return r;
	s->look = (struct setup_look){.known = true};
	for (enum setup_part p = 0; p < SETUP_PARTS; p++) {
		bool right = is[p] == s->wanted[p];

		for (char **key = s->keys[p]; key && *key; key++) {
			if (right && !has(drift, *key))
				continue;
			s->look.differs[p] = true;
			add_item(s, p, *key, right ? "changed" : "not set up");
		}
	}
	s->look.items = s->items;
	return 0;
}

/* --- the calls ----------------------------------------------------------- */

static int observe_end(void *self, struct err *err)
{
	return see(self, err);
}

static int fake_observe(
    void *self, const struct setup_slice *slice, struct op *op, struct err *err)
{
	struct setup *s = self;

	take_slice(s, slice);
	return fake_begin(&s->task, s->env->loop, 0, observe_end, s, op, err);
}

static int ensure_end(void *self, struct err *err)
{
	struct setup *s = self;
	uint64_t is[SETUP_PARTS];
	int r;

	if (s->fails) {
		err_copy(err, &s->failure);
		return s->failure.code;
	}
	r = record_read(s, is, err);
	is[s->part] = s->wanted[s->part];
	if (r == 0)
		r = record_write(s, is, err);
	if (r == 0)
		r = drift_mend(s, s->part, err);
	return r < 0 ? r : see(s, err);
}

/* Host files are there, as for a real machine; what they say is not read. */
static int sources(const struct setup_slice *slice, struct err *err)
{
	for (size_t i = 0; i < slice->n_files; i++) {
		const struct setup_file *f = &slice->files[i];

		if (f->source && access(f->source, R_OK) < 0)
			return err_errno(err, -errno, "%s: can't read %s",
			    f->key, f->source);
	}
	return 0;
}

static int fake_ensure(void *self, enum setup_part part,
    const struct setup_slice *slice, struct op *op, struct err *err)
{
	struct setup *s = self;
	/* Below the root of a disk it is part of an installation. */
	enum stage stage =
	    slice->root && slice->root[0] ? STAGE_INSTALL : part_stages[part];

	take_slice(s, slice);
	s->part = part;
	s->failure = ERR_INIT;
	s->fails = fake_fails(s->env, slice->fake, stage, &s->failure) < 0 ||
		   (part == SETUP_FILES && sources(slice, &s->failure) < 0);
	return fake_begin(&s->task, s->env->loop, fake_delay(slice->fake),
	    ensure_end, s, op, err);
}

static void fake_look(void *self, struct setup_look *ret)
{
	const struct setup *s = self;

	*ret = s->look;
}

const struct setup_driver setup_fake = {
    .name = "fake",
    .help = "what is set up in a fake machine",
    .available = fake_available,
    .open = fake_open,
    .close = fake_close,
    .observe = fake_observe,
    .look = fake_look,
    .ensure = fake_ensure,
};
