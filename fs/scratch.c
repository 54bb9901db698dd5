// SPDX-License-Identifier: Apache-2.0
/*
 * Temporary files.  ops*.c call it; it knows no request.
 *
 * One is a record of the memfd: a state, room for two names (the state says
 * which one counts, so that a rename is one store), then the content.  Content
 * is written in place: a write that its daemon did not finish is made again by
 * the next one.
 */
#include <assert.h>
#include <errno.h>
#include <time.h>
#include "fs/scratch.h"
#include "fs/table.h"

#define NAME_SIZE ((size_t)SCRATCH_NAME_MAX + 1)
#define HEAD      (2 * NAME_SIZE) /* before the content */

struct state {
	uint64_t directory, made_by;
	struct timespec atime, mtime, ctime;
	uint32_t mode, uid, gid, which_name;
};
static_assert(sizeof(struct state) <= KEPT_STATE_MAX, "it fits");

struct directory {
	uint64_t number;
	struct scratch *first;
	size_t count;
	uint64_t changed;
};

struct scratches {
	struct memory *memory;
	struct kept_store *kept;
	struct table *by_number, *directories;
};

const struct file scratch_file = {.slot = 128,
    .kind = FILE_SCRATCH,
    .help = "a temporary file of a tool, in memory"};

struct scratches *scratches_new(struct memory *m, struct kept_store *kept)
{
	struct scratches *t = xcalloc(1, sizeof(*t));

	t->memory = m;
	t->kept = kept;
	t->by_number = table_new();
	t->directories = table_new();
	return t;
}

static void free_scratch(void *scratch, void *userdata)
{
	struct scratch *s = scratch;

	kept_free(s->kept);
	free(s->name);
	free(s);
}

static void free_directory(void *directory, void *userdata)
{
	free(directory);
}

void scratches_free(struct scratches *t)
{
	if (!t)
		return;
	table_empty(t->by_number, free_scratch, NULL);
	table_empty(t->directories, free_directory, NULL);
	table_free(t->by_number);
	table_free(t->directories);
	free(t);
}

/* --- names --- */

static struct directory *directory_get(struct scratches *t, uint64_t number)
{
	struct directory *d = table_get(t->directories, number);

	if (!d) {
		d = xcalloc(1, sizeof(*d));
		d->number = number;
		table_put(t->directories, number, d);
	}
	return d;
}

static void enter(struct scratches *t, struct scratch *s)
{
	struct directory *d = directory_get(t, s->directory);
	struct scratch **p = &d->first;

	while (*p && (*p)->number < s->number)
		p = &(*p)->next;
	s->next = *p;
	*p = s;
	d->count++;
	d->changed = now_real();
}

static void leave(struct scratches *t, struct scratch *s)
{
	struct directory *d = table_get(t->directories, s->directory);
	struct scratch **p = &d->first;

	while (*p != s)
		p = &(*p)->next;
	*p = s->next;
	s->next = NULL;
	d->count--;
	d->changed = now_real();
}

struct scratch *scratch_get(const struct scratches *t, uint64_t number)
{
	return table_get(t->by_number, number);
}

struct scratch *scratch_next(
    const struct scratches *t, uint64_t directory, uint64_t number)
{
	const struct directory *d = table_get(t->directories, directory);
	struct scratch *s = d ? d->first : NULL;

	while (s && s->number <= number)
		s = s->next;
	return s;
}

struct scratch *scratch_find(
    const struct scratches *t, uint64_t directory, const char *name)
{
	const struct directory *d = table_get(t->directories, directory);
	struct scratch *s = d ? d->first : NULL;

	while (s && !STREQ(s->name, name))
		s = s->next;
	return s;
}

void scratch_touch(struct scratches *t, uint64_t directory)
{
	directory_get(t, directory)->changed = now_real();
}

uint64_t scratch_changed(const struct scratches *t, uint64_t directory)
{
	const struct directory *d = table_get(t->directories, directory);

	return d ? d->changed : 0;
}

/* --- what is kept --- */

static void store(struct scratch *s, size_t size)
{
	struct state state;

	memset(&state, 0, sizeof(state));
	state.directory = s->directory;
	state.made_by = s->made_by;
	state.atime = s->attr.atime;
	state.mtime = s->attr.mtime;
	state.ctime = s->attr.ctime;
	state.mode = s->attr.mode;
	state.uid = s->attr.uid;
	state.gid = s->attr.gid;
	state.which_name = s->which_name;
	kept_set(s->kept, &state, sizeof(state), HEAD + size);
}

const char *scratch_bytes(const struct scratch *s, size_t *ret_len)
{
	const char *text = kept_bytes(s->kept, ret_len);

	*ret_len -= HEAD;
	return text + HEAD;
}

static size_t size_of(const struct scratch *s)
{
	size_t len;

	scratch_bytes(s, &len);
	return len;
}

void scratch_keep(struct scratch *s)
{
	clock_gettime(CLOCK_REALTIME, &s->attr.ctime);
	store(s, size_of(s));
}

static void written(struct scratch *s, size_t size)
{
	clock_gettime(CLOCK_REALTIME, &s->attr.ctime);
	s->attr.mtime = s->attr.ctime;
	store(s, size);
}

/* --- life --- */

int scratch_new(struct scratches *t, const struct scratch_attr *attr,
    uint64_t made_by, struct scratch **ret)
{
	uint64_t number = SCRATCH_INODE | memory_sequence(t->memory);
	struct kept *k = kept_new(t->kept, number);
	struct scratch *s;

	if (!k)
		return -ENOMEM;
	if (kept_reserve(k, KEPT_SCRATCH, HEAD) < 0) {
		kept_forget(k);
		return -ENOSPC;
	}
	s = xcalloc(1, sizeof(*s));
	s->number = number;
	s->attr = *attr;
	s->made_by = made_by;
	s->kept = k;
	memset(kept_edit(k), 0, HEAD);
	written(s, 0);
	s->attr.atime = s->attr.mtime;
	table_put(t->by_number, number, s);
	*ret = s;
	return 0;
}

int scratch_name(struct scratches *t, struct scratch *s, uint64_t directory,
    const char *name)
{
	size_t len = strlen(name);
	struct directory *d = directory_get(t, directory);

	if (len > SCRATCH_NAME_MAX)
		return -ENAMETOOLONG;
	if (d->count >= SCRATCH_FILES_MAX && s->directory != directory)
		return -ENOSPC;
	if (s->directory)
		leave(t, s);
	free(s->name);
	s->name = xstrdup(name);
	s->directory = directory;
	s->which_name ^= 1;
	memcpy(
	    kept_edit(s->kept) + s->which_name * NAME_SIZE, s->name, len + 1);
	scratch_keep(s);
	enter(t, s);
	return 0;
}

static void forget(struct scratches *t, struct scratch *s)
{
	table_take(t->by_number, s->number);
	kept_forget(TAKE_PTR(s->kept));
	free(s->name);
	free(s);
}

void scratch_drop(struct scratches *t, struct scratch *s)
{
	if (s->directory)
		leave(t, s);
	forget(t, s);
}

void scratch_unlink(struct scratches *t, struct scratch *s)
{
	if (!s->directory)
		return;
	leave(t, s);
	s->directory = 0;
	if (s->handles)
		scratch_keep(s);
	else
		forget(t, s);
}

void scratch_open(struct scratch *s)
{
	s->handles++;
}

void scratch_close(struct scratches *t, struct scratch *s)
{
	assert(s->handles > 0);
	if (--s->handles == 0 && !s->directory)
		forget(t, s);
}

void scratch_forget(struct scratches *t, uint64_t directory)
{
	struct directory *d = table_get(t->directories, directory);

	if (!d)
		return;
	while (d->first)
		scratch_unlink(t, d->first);
	free(table_take(t->directories, directory));
}

/* --- content --- */

/* Bytes between the end and a later start are zeros. */
static int extend(struct scratch *s, uint64_t size, size_t from)
{
	size_t now = size_of(s);

	if (size > SCRATCH_SIZE_MAX)
		return -EFBIG;
	if (kept_reserve(s->kept, KEPT_SCRATCH, HEAD + MAX(size, now)) < 0)
		return -ENOSPC;
	if (from > now)
		memset(kept_edit(s->kept) + HEAD + now, 0, from - now);
	return 0;
}

ssize_t scratch_write(
    struct scratch *s, uint64_t off, const void *data, size_t len)
{
	int r;

	if (off >= SCRATCH_SIZE_MAX && len)
		return -EFBIG;
	len = MIN(len, SCRATCH_SIZE_MAX - off);
	r = extend(s, off + len, off);
	if (r < 0)
		return r;
	memcpy(kept_edit(s->kept) + HEAD + off, data, len);
	written(s, MAX(size_of(s), off + len));
	return (ssize_t)len;
}

int scratch_truncate(struct scratch *s, uint64_t size)
{
	int r = extend(s, size, size);

	if (r == 0)
		written(s, size);
	return r;
}

void scratch_stat(const struct scratch *s, struct stat *ret)
{
	size_t size = size_of(s);

	*ret = (struct stat){
	    .st_ino = s->number,
	    .st_mode = s->attr.mode,
	    .st_nlink = s->directory ? 1 : 0,
	    .st_uid = s->attr.uid,
	    .st_gid = s->attr.gid,
	    .st_size = (off_t)size,
	    .st_blksize = 4096,
	    .st_blocks = (blkcnt_t)(size + 511) / 512,
	    .st_atim = s->attr.atime,
	    .st_mtim = s->attr.mtime,
	    .st_ctim = s->attr.ctime,
	};
}

/* --- at a start --- */

bool scratch_restore(struct scratches *t, struct kept *k)
{
	struct state state;
	struct scratch *s;
	const char *text;
	size_t len;

	if (!kept_state(k, &state, sizeof(state)))
		return false;
	text = kept_bytes(k, &len);
	if (len < HEAD)
		return false;
	s = xcalloc(1, sizeof(*s));
	s->number = kept_id(k);
	s->kept = k;
	s->directory = state.directory;
	s->made_by = state.made_by;
	s->which_name = state.which_name & 1;
	s->attr = (struct scratch_attr){.mode = state.mode,
	    .uid = state.uid,
	    .gid = state.gid,
	    .atime = state.atime,
	    .mtime = state.mtime,
	    .ctime = state.ctime};
	s->name = xstrndup(text + s->which_name * NAME_SIZE, SCRATCH_NAME_MAX);
	table_put(t->by_number, s->number, s);
	enter(t, s); /* directory 0: until scratch_sweep() */
	return true;
}

void scratch_sweep(struct scratches *t)
{
	struct directory *nowhere = directory_get(t, 0);
	struct scratch *s;

	while ((s = nowhere->first)) {
		leave(t, s);
		if (!s->handles)
			forget(t, s);
	}
}
