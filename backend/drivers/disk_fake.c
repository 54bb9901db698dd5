/* SPDX-License-Identifier: Apache-2.0
 *
 * The disk of a fake machine: what was written to it is a few words in a file
 * of the state directory.  Anything else in that file is a foreign disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>
#include "drivers/fake.h"

#define CONTENT     "fake-disk"
#define CONTENT_MAX 4096

/* The words of the file. */
struct content {
	char uuid[37];
	uint64_t layout;  /* digest */
	uint64_t size;    /* of the disk when it was laid out */
	uint64_t mounted; /* the run in which it was mounted */
	unsigned whole;
};

struct disk {
	const struct driver_env *env;
	struct fake_task task;
	struct err *failure; /* of ensure, or NULL */
	/* What the call under way needs of its slice. */
	char uuid[37];
	uint64_t layout, size;
	bool grows, laid_out, planned;
	bool seen;
	enum disk_content content;
	bool mounted;
	char *found;
};

static int fake_available(struct err *err)
{
	return 0;
}

static int fake_open(const struct driver_env *env, void **ret, struct err *err)
{
	struct disk *d = xcalloc(1, sizeof(*d));

	d->env = env;
	*ret = d;
	return 0;
}

static void fake_close(void *self)
{
	struct disk *d = self;

	if (!d)
		return;
	fake_drop(&d->task);
	free(d->failure);
	free(d->found);
	free(d);
}

static uint64_t layout_of(const struct disk_spec *s)
{
	_cleanup_buf_ struct buf text = {0};

	buf_printf(&text, "%d", (int)s->table);
	for (size_t i = 0; i < s->n_partitions; i++) {
		const struct partition_spec *p = &s->partitions[i];
		buf_printf(&text, "\n%s %" PRIu64 " %d %s %s %u", p->name,
		    p->size, (int)p->filesystem, p->label ? p->label : "",
		    p->mount ? p->mount : "", p->flags);
	}
	return hash_bytes(text.data, text.len);
}

static void take_slice(struct disk *d, const struct disk_slice *slice)
{
	const struct disk_spec *s = slice->spec;

	d->layout = layout_of(s);
	d->size = s->size;
	d->grows =
	    s->n_partitions && s->partitions[s->n_partitions - 1].size == 0;
	d->laid_out = slice->laid_out;
	d->planned = slice->plan && slice->plan->uuid[0];
	d->uuid[0] = '\0';
	if (d->planned)
		snprintf(d->uuid, sizeof(d->uuid), "%s", slice->plan->uuid);
}

/* --- the file ------------------------------------------------------------ */

/* Returns 1 when it holds our words, 0 when it is blank, -EINVAL when it
 * holds something else, which *found gets, or another negative errno. */
static int content_read(const struct disk *d, struct content *ret,
    struct buf *found, struct err *err)
{
	_cleanup_free_ char *path = fake_path(d->env->state_dir, CONTENT);
	_cleanup_buf_ struct buf text = {0};
	struct content c = {0};
	int r = file_read(AT_FDCWD, path, CONTENT_MAX, &text);

	if (r < 0 && r != -ENOENT)
		return err_errno(err, r, "%s can't be read", path);
	if (r < 0 || text.len == 0)
		return 0;
	if (sscanf(text.data,
		"uuid %36s layout %" SCNx64 " size %" SCNu64 " mounted %" SCNu64
		" whole %u",
		c.uuid, &c.layout, &c.size, &c.mounted, &c.whole) != 5) {
		buf_puts(found, "the words \"");
		buf_escaped(found, text.data, MIN(text.len, (size_t)60));
		buf_putc(found, '"');
		return -EINVAL;
	}
	*ret = c;
	return 1;
}

static int content_write(
    const struct disk *d, const struct content *c, struct err *err)
{
	_cleanup_free_ char *path = fake_path(d->env->state_dir, CONTENT);
	_cleanup_buf_ struct buf text = {0};

	buf_printf(&text,
	    "uuid %s layout %" PRIx64 " size %" PRIu64 " mounted %" PRIu64
	    " whole %u\n",
	    c->uuid, c->layout, c->size, c->mounted, c->whole);
	int r = file_replace(AT_FDCWD, path, text.data, text.len, 0600);
	return r < 0 ? err_errno(err, r, "%s can't be written", path) : 0;
}

/* --- looking -----------------------------------------------------------------
 */

static void set_seen(
    struct disk *d, enum disk_content content, bool mounted, const char *found)
{
	free(d->found);
	d->found = *found ? xstrdup(found) : NULL;
	d->content = content;
	d->mounted = mounted;
	d->seen = true;
}

static int see(struct disk *d, struct content *ret, struct err *err)
{
	_cleanup_buf_ struct buf found = {0};
	struct fake_record run;
	struct content c = {0};
	int r = content_read(d, &c, &found, err);

	if (r == 0)
		set_seen(d, DISK_BLANK, false, "");
	else if (r == -EINVAL && found.len)
		set_seen(d, DISK_FOREIGN, false, found.data);
	else if (r < 0)
		return r;
	if (r <= 0)
		return 0;
	*ret = c;
	if (!d->planned || !STREQ(c.uuid, d->uuid)) {
		buf_printf(&found, "a disk with the uuid %s", c.uuid);
		set_seen(d, DISK_FOREIGN, false, found.data);
		return 0;
	}
	r = fake_record_read(d->env, &run, err);
	if (r < 0)
		return r;
	bool mounted = run.running && c.mounted == run.launch && c.whole;
	enum disk_content content = DISK_OURS;
	if (!c.whole)
		content = DISK_OURS_PARTIAL;
	else if (c.layout != d->layout)
		content = DISK_OURS_OTHER;
	else if (d->grows && c.size < d->size)
		content = DISK_OURS_GROWN;
	set_seen(d, content, mounted, "");
	return 0;
}

static int observe_end(void *self, struct err *err)
{
	struct content c;

	return see(self, &c, err);
}

static int fake_observe(
    void *self, const struct disk_slice *slice, struct op *op, struct err *err)
{
	struct disk *d = self;

	take_slice(d, slice);
	return fake_begin(&d->task, d->env->loop, 0, observe_end, d, op, err);
}

static void fake_look(void *self, struct disk_look *ret)
{
	struct disk *d = self;

	*ret = (struct disk_look){
	    .content = d->seen ? d->content : DISK_UNKNOWN,
	    .mounted = d->mounted,
	    .size = d->size,
	};
	if (d->found)
		snprintf(ret->found, sizeof(ret->found), "%s", d->found);
}

/* --- writing
 * -------------------------------------------------------------------- */

static int ensure_end(void *self, struct err *err)
{
	struct disk *d = self;
	_cleanup_free_ struct err *failure = TAKE_PTR(d->failure);
	struct fake_record run;
	struct content c = {0};
	int r = see(d, &c, err);

	if (r < 0)
		return r;
	if (d->content == DISK_FOREIGN)
		return err_set(err, -EEXIST, "the disk holds %s", d->found);
	r = fake_record_read(d->env, &run, err);
	if (r < 0)
		return r;
	/* A layout that was once whole is mounted, never made anew. */
	bool keep = d->laid_out && d->content == DISK_OURS_OTHER;
	snprintf(c.uuid, sizeof(c.uuid), "%s", d->uuid);
	c.layout = keep ? c.layout : d->layout;
	c.size = d->size;
	c.mounted = run.launch;
	c.whole = !failure; /* broken off in the middle */
	r = content_write(d, &c, err);
	if (r == 0)
		r = see(d, &c, err);
	if (r == 0 && failure) {
		err_copy(err, failure);
		r = err->code;
	}
	return r;
}

static int fake_ensure(
    void *self, const struct disk_slice *slice, struct op *op, struct err *err)
{
	struct disk *d = self;
	struct err why = ERR_INIT;

	take_slice(d, slice);
	if (!d->planned)
		return err_set(err, -EINVAL, "a disk without a planned uuid");
	free(TAKE_PTR(d->failure));
	if (fake_fails(d->env, slice->fake, STAGE_PARTITION, &why) < 0) {
		d->failure = xmalloc(sizeof(why));
		*d->failure = why;
	}
	return fake_begin(&d->task, d->env->loop, fake_delay(slice->fake),
	    ensure_end, d, op, err);
}

static int wipe_end(void *self, struct err *err)
{
	static const char *const files[] = {
	    CONTENT, FAKE_INSTALLED, FAKE_SETUP};
	struct disk *d = self;

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		_cleanup_free_ char *path =
		    fake_path(d->env->state_dir, files[i]);

		if (unlink(path) < 0 && errno != ENOENT)
			return err_errno(
			    err, -errno, "%s can't be removed", path);
	}
	set_seen(d, DISK_BLANK, false, "");
	return 0;
}

static int fake_wipe(
    void *self, const struct disk_slice *slice, struct op *op, struct err *err)
{
	struct disk *d = self;

	return fake_begin(&d->task, d->env->loop, fake_delay(slice->fake),
	    wipe_end, d, op, err);
}

const struct disk_driver disk_fake = {
    .name = "fake",
    .help = "the disk of a fake machine",
    .available = fake_available,
    .open = fake_open,
    .close = fake_close,
    .observe = fake_observe,
    .look = fake_look,
    .ensure = fake_ensure,
    .wipe = fake_wipe,
};
