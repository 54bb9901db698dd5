/* SPDX-License-Identifier: Apache-2.0
 *
 * The disks of a fake machine: what was written to one is a few words in a file
 * of the state directory; each volume has a file of its own.  Anything else in
 * such a file is a foreign disk.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "drivers/disk_layout.h"
#include "drivers/fake.h"

#define CONTENT     "fake-disk"
#define CONTENT_MAX 4096

/* The words of a file. */
struct content {
	char uuid[37];
	uint64_t layout;  /* digest */
	uint64_t size;    /* of the disk when it was laid out */
	uint64_t mounted; /* the run in which it was mounted */
	unsigned whole;
};

/* What the call under way needs of a disk's slice. */
struct unit {
	char *path;    /* its file */
	char *name;    /* of the volume; NULL: the disk */
	char uuid[37]; /* "": none planned */
	uint64_t layout, size;
	bool grows;
};

struct disk {
	const struct driver_env *env;
	struct fake_task task;
	struct unit units[1 + VOLUMES_MAX];
	size_t n;
	bool laid_out;
	bool within; /* the system runs from it, and mounts it by itself */
	bool seen, mounted;
	enum disk_content content;
	uint64_t size;
	struct buf found;
};

static int fake_open(const struct driver_env *env, void **ret, struct err *err)
{
	struct disk *d = xcalloc(1, sizeof(*d));

	d->env = env;
	*ret = d;
	return 0;
}

static void drop_units(struct disk *d)
{
	for (size_t i = 0; i < d->n; i++) {
		free(d->units[i].path);
		free(d->units[i].name);
	}
	d->n = 0;
}

static void fake_close(void *self)
{
	struct disk *d = self;

	if (!d)
		return;
	fake_drop(&d->task);
	drop_units(d);
	buf_done(&d->found);
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

static void take_disk(struct disk *d, const struct disk_slice *slice)
{
	const struct disk_spec *s = slice->spec;
	struct unit *u = &d->units[d->n++];

	*u = (struct unit){
	    .path = fake_path(d->env->state_dir, CONTENT),
	    .layout = layout_of(s),
	    .size = s->size,
	    .grows =
		s->n_partitions && s->partitions[s->n_partitions - 1].size == 0,
	};
	if (slice->plan)
		snprintf(u->uuid, sizeof(u->uuid), "%s", slice->plan->uuid);
	d->size = s->size;
}

static void take_volume(struct disk *d, const struct disk_volume *v)
{
	struct unit *u = &d->units[d->n++];
	_cleanup_free_ char *file = xasprintf(CONTENT "-%s", v->spec->name);

	*u = (struct unit){
	    .path = fake_path(d->env->state_dir, file),
	    .name = xstrdup(v->spec->name),
	    .layout = (uint64_t)v->spec->filesystem,
	    .size = v->spec->size,
	    .grows = v->spec->filesystem == FS_EXT4,
	};
	if (v->uuid)
		snprintf(u->uuid, sizeof(u->uuid), "%s", v->uuid);
}

static void take_slice(struct disk *d, const struct disk_slice *slice)
{
	drop_units(d);
	d->size = 0;
	d->laid_out = slice->laid_out;
	d->within = slice->root && !slice->root[0];
	if (slice->spec->present)
		take_disk(d, slice);
	for (size_t i = 0; i < slice->n_volumes && i < VOLUMES_MAX; i++)
		take_volume(d, &slice->volumes[i]);
}

/* --- the file ------------------------------------------------------------ */

/* Returns 1 when it holds our words, 0 when it is blank, -EINVAL when it
 * holds something else, which *found gets, or another negative errno. */
static int content_read(const struct unit *u, struct content *ret,
    struct buf *found, struct err *err)
{
	_cleanup_buf_ struct buf text = {0};
	struct content c = {0};
	int r = file_read(AT_FDCWD, u->path, CONTENT_MAX, &text);

	if (r < 0 && r != -ENOENT)
		return err_errno(err, r, "%s can't be read", u->path);
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
    const struct unit *u, const struct content *c, struct err *err)
{
	_cleanup_buf_ struct buf text = {0};

	buf_printf(&text,
	    "uuid %s layout %" PRIx64 " size %" PRIu64 " mounted %" PRIu64
	    " whole %u\n",
	    c->uuid, c->layout, c->size, c->mounted, c->whole);
	int r = file_replace(AT_FDCWD, u->path, text.data, text.len, 0600);
	return r < 0 ? err_errno(err, r, "%s can't be written", u->path) : 0;
}

/* --- looking ----------------------------------------------------------- */

/* What one disk holds; *ret_mounted is only ever cleared. */
static int see_unit(const struct disk *d, const struct unit *u,
    const struct fake_record *run, struct content *c, struct buf *found,
    bool *ret_mounted, enum disk_content *ret, struct err *err)
{
	int r = content_read(u, c, found, err);

	if (r < 0 && !(r == -EINVAL && found->len))
		return r;
	if (r <= 0) {
		*ret_mounted = false;
		*ret = r < 0 ? DISK_FOREIGN : DISK_BLANK;
		return 0;
	}
	if (!u->uuid[0] || !STREQ(c->uuid, u->uuid)) {
		buf_printf(found, "a disk with the uuid %s", c->uuid);
		*ret_mounted = false;
		*ret = DISK_FOREIGN;
		return 0;
	}
	if (!run->running || !c->whole ||
	    (c->mounted != run->launch && !d->within))
		*ret_mounted = false;
	*ret = !c->whole                       ? DISK_OURS_PARTIAL
	       : c->layout != u->layout        ? DISK_OURS_OTHER
	       : u->grows && c->size < u->size ? DISK_OURS_GROWN
					       : DISK_OURS;
	return 0;
}

/* ret: of each unit. */
static int see(struct disk *d, struct content *ret, struct err *err)
{
	struct fake_record run;
	enum disk_content content = DISK_OURS, all = DISK_OURS;
	_cleanup_buf_ struct buf all_found = {0};
	bool mounted = true;
	int r = fake_record_read(d->env, &run, err);

	for (size_t i = 0; r == 0 && i < d->n; i++) {
		const struct unit *u = &d->units[i];
		_cleanup_buf_ struct buf found = {0};

		r = see_unit(
		    d, u, &run, &ret[i], &found, &mounted, &content, err);
		all = i ? disk_content_join(all, content) : content;
		if (found.len)
			buf_printf(&all_found, "%s%s%s%s",
			    all_found.len ? "; " : "", u->name ? u->name : "",
			    u->name ? ": " : "", buf_str(&found));
	}
	if (r < 0)
		return r;
	d->content = all;
	d->mounted = mounted;
	d->seen = true;
	buf_clear(&d->found);
	buf_append(&d->found, buf_str(&all_found), all_found.len);
	return 0;
}

static int observe_end(void *self, struct err *err)
{
	struct content c[1 + VOLUMES_MAX] = {0};

	return see(self, c, err);
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
	snprintf(ret->found, sizeof(ret->found), "%s", buf_str(&d->found));
}

/* --- writing ------------------------------------------------------------- */

static int write_all_units(struct disk *d, struct content *c, uint64_t launch,
    bool whole, struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < d->n; i++) {
		const struct unit *u = &d->units[i];
		/* A layout that was once whole is mounted, never made anew. */
		bool keep = d->laid_out && !u->name && c[i].uuid[0] &&
			    c[i].whole && c[i].layout != u->layout;

		snprintf(c[i].uuid, sizeof(c[i].uuid), "%s", u->uuid);
		c[i].layout = keep ? c[i].layout : u->layout;
		c[i].size = u->size;
		c[i].mounted = launch;
		c[i].whole = whole;
		r = content_write(u, &c[i], err);
	}
	return r;
}

static int ensure_end(void *self, struct err *err)
{
	struct disk *d = self;
	struct err failure = ERR_INIT;
	bool whole = fake_told(&d->task, &failure) == 0;
	struct fake_record run;
	struct content c[1 + VOLUMES_MAX] = {0};
	int r = see(d, c, err);

	if (r < 0)
		return r;
	if (d->content == DISK_FOREIGN)
		return err_set(
		    err, -EEXIST, "the disk holds %s", buf_str(&d->found));
	if (d->within && d->n && !d->units[0].name && !c[0].whole)
		return err_set(err, -EIO,
		    "the system was to run from its disk, and that is not "
		    "whole");
	r = fake_record_read(d->env, &run, err);
	if (r == 0) /* or broken off in the middle */
		r = write_all_units(d, c, run.launch, whole, err);
	if (r == 0)
		r = see(d, c, err);
	if (r == 0 && !whole) {
		err_copy(err, &failure);
		r = failure.code;
	}
	return r;
}

static int fake_ensure(
    void *self, const struct disk_slice *slice, struct op *op, struct err *err)
{
	struct disk *d = self;

	take_slice(d, slice);
	for (size_t i = 0; i < d->n; i++)
		if (!d->units[i].uuid[0])
			return err_set(
			    err, -EINVAL, "a disk without a planned uuid");
	fake_decide(&d->task, d->env, slice->fake, STAGE_PARTITION);
	return fake_begin(&d->task, d->env->loop, fake_delay(slice->fake),
	    ensure_end, d, op, err);
}

/* The disk, each volume that ever was, and what the system on the disk has in
 * the fake drivers' own files. */
static bool wiped(const char *name)
{
	return STREQ(name, FAKE_INSTALLED) || STREQ(name, FAKE_SETUP) ||
	       strncmp(name, CONTENT, strlen(CONTENT)) == 0;
}

static int wipe_end(void *self, struct err *err)
{
	struct disk *d = self;
	const struct dirent *e;
	int r = 0;
	DIR *folder = opendir(d->env->state_dir);

	if (!folder)
		return err_errno(
		    err, -errno, "%s can't be read", d->env->state_dir);
	while (r == 0 && (e = readdir(folder)))
		if (wiped(e->d_name) &&
		    unlinkat(dirfd(folder), e->d_name, 0) < 0 &&
		    errno != ENOENT)
			r = err_errno(
			    err, -errno, "%s can't be removed", e->d_name);
	closedir(folder);
	if (r < 0)
		return r;
	d->content = DISK_BLANK;
	d->mounted = false;
	d->seen = true;
	buf_clear(&d->found);
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
