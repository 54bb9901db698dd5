// SPDX-License-Identifier: Apache-2.0
/*
 * Temporary files: names, content and limits, and what the next daemon finds.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
#include "fs/memory.h"
#include "fs/scratch.h"
#include "test.h"

#define DIRECTORY 1027 /* any number */

static const struct scratch_attr attr = {.mode = S_IFREG | 0600};

struct world {
	int fd;
	struct memory *memory;
	struct kept_store *kept;
	struct scratches *files;
};

static void begin(struct world *w)
{
	struct err err = ERR_INIT;
	struct kept *k;

	if (memory_open(w->fd, &w->memory, &err) < 0)
		abort();
	w->kept = kept_store_new(w->memory);
	w->files = scratches_new(w->memory, w->kept);
	while ((k = kept_next(w->kept))) {
		CHECK_INT(kept_used_for(k), KEPT_SCRATCH);
		CHECK(scratch_restore(w->files, k));
	}
}

static void end(struct world *w)
{
	scratches_free(w->files);
	kept_store_free(w->kept);
	memory_close(w->memory);
}

static void new_world(struct world *w)
{
	w->fd = memfd_create("test", MFD_CLOEXEC);
	begin(w);
}

static void end_world(struct world *w)
{
	end(w);
	close(w->fd);
}

/* As after the death of a daemon. */
static void next_daemon(struct world *w)
{
	end(w);
	begin(w);
}

static struct scratch *make(struct world *w, const char *name)
{
	struct scratch *s = NULL;

	CHECK_INT(scratch_new(w->files, &attr, 7, &s), 0);
	if (name)
		CHECK_INT(scratch_name(w->files, s, DIRECTORY, name), 0);
	return s;
}

static struct scratch *find(struct world *w, const char *name)
{
	return scratch_find(w->files, DIRECTORY, name);
}

static bool holds(const struct scratch *s, const char *text, size_t len)
{
	size_t n;
	const char *bytes = scratch_bytes(s, &n);

	return n == len && memcmp(bytes, text, len) == 0;
}

static void content(void)
{
	struct world w;
	struct scratch *s;

	new_world(&w);
	s = make(&w, "a");
	CHECK(holds(s, "", 0));
	CHECK_INT(scratch_write(s, 3, "abc", 3), 3);
	CHECK(holds(s, "\0\0\0abc", 6));
	CHECK_INT(scratch_write(s, 1, "x", 1), 1);
	CHECK(holds(s, "\0x\0abc", 6));
	/* What was cut off is zeros when it is longer again. */
	CHECK_INT(scratch_truncate(s, 4), 0);
	CHECK_INT(scratch_truncate(s, 6), 0);
	CHECK(holds(s, "\0x\0a\0\0", 6));
	CHECK_INT(scratch_truncate(s, SCRATCH_SIZE_MAX + 1), -EFBIG);
	CHECK_INT(scratch_write(s, SCRATCH_SIZE_MAX, "x", 1), -EFBIG);
	CHECK_INT(scratch_write(s, SCRATCH_SIZE_MAX - 1, "xy", 2), 1);
	CHECK_INT(scratch_write(s, UINT64_MAX - 1, "xy", 2), -EFBIG);
	CHECK_INT(scratch_truncate(s, 0), 0);
	CHECK(holds(s, "", 0));
	end_world(&w);
}

static void names(void)
{
	char name[SCRATCH_NAME_MAX + 2];
	struct scratch *a, *b;
	struct world w;

	new_world(&w);
	a = make(&w, "a");
	b = make(&w, "b");
	CHECK(a->number != b->number && a->number < b->number);
	CHECK(find(&w, "a") == a && find(&w, "b") == b && !find(&w, "c"));
	CHECK(scratch_get(w.files, b->number) == b);
	CHECK(scratch_next(w.files, DIRECTORY, 0) == a);
	CHECK(scratch_next(w.files, DIRECTORY, a->number) == b);
	CHECK(!scratch_next(w.files, DIRECTORY, b->number));
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	CHECK_INT(scratch_name(w.files, a, DIRECTORY, name), -ENAMETOOLONG);
	CHECK(find(&w, "a") == a);
	name[SCRATCH_NAME_MAX] = '\0';
	CHECK_INT(scratch_name(w.files, a, DIRECTORY, name), 0);
	CHECK(!find(&w, "a") && find(&w, name) == a);
	/* To another directory, and that goes. */
	CHECK_INT(scratch_name(w.files, b, DIRECTORY + 1, "b"), 0);
	CHECK(!find(&w, "b"));
	scratch_forget(w.files, DIRECTORY + 1);
	CHECK(!scratch_find(w.files, DIRECTORY + 1, "b"));
	CHECK(find(&w, name) == a);
	end_world(&w);
}

static void limits(void)
{
	struct scratch *s = NULL, *other;
	struct world w;
	size_t n;

	new_world(&w);
	for (int i = 0; i < SCRATCH_FILES_MAX; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%d", i);
		s = make(&w, name);
	}
	other = make(&w, NULL);
	CHECK_INT(scratch_name(w.files, other, DIRECTORY, "x"), -ENOSPC);
	CHECK_INT(scratch_name(w.files, s, DIRECTORY, "x"), 0);
	scratch_drop(w.files, other);
	/* All of them together. */
	s = scratch_next(w.files, DIRECTORY, 0);
	for (n = 0; s && scratch_truncate(s, SCRATCH_SIZE_MAX) == 0; n++)
		s = scratch_next(w.files, DIRECTORY, s->number);
	CHECK_INT(n, KEPT_TEXT_LIMIT / SCRATCH_SIZE_MAX - 1);
	CHECK_INT(scratch_truncate(s, SCRATCH_SIZE_MAX), -ENOSPC);
	scratch_unlink(w.files, scratch_next(w.files, DIRECTORY, 0));
	CHECK_INT(scratch_truncate(s, SCRATCH_SIZE_MAX), 0);
	end_world(&w);
}

/* A file that was cut must not keep the memory that it had. */
static void memory_is_given_back(void)
{
	struct world w;

	new_world(&w);
	for (int i = 0; i < 500; i++) {
		char name[16];
		struct scratch *s;

		snprintf(name, sizeof(name), "%d", i);
		CHECK_INT(scratch_new(w.files, &attr, 7, &s), 0);
		CHECK_INT(scratch_name(w.files, s, (uint64_t)i / 60, name), 0);
		CHECK_INT(scratch_truncate(s, SCRATCH_SIZE_MAX), 0);
		CHECK_INT(scratch_truncate(s, 1), 0);
	}
	end_world(&w);
}

static void outlives_a_daemon(void)
{
	struct scratch *a, *b;
	struct world w;
	uint64_t number;

	new_world(&w);
	a = make(&w, "a");
	number = a->number;
	a->attr.mode = S_IFREG | 0751;
	a->attr.mtime = (struct timespec){.tv_sec = 5, .tv_nsec = 6};
	CHECK_INT(scratch_write(a, 0, "hello", 5), 5);
	CHECK_INT(scratch_name(w.files, a, DIRECTORY, "again"), 0);
	b = make(&w, "open");
	scratch_open(b);
	CHECK_INT(scratch_write(b, 0, "bye", 3), 3);
	scratch_unlink(w.files, b);
	make(&w, NULL); /* its daemon died before it had a name */
	next_daemon(&w);

	a = find(&w, "again");
	if (!a)
		abort();
	CHECK(a->number == number && holds(a, "hello", 5));
	CHECK_INT(a->attr.mode, S_IFREG | 0751);
	CHECK_INT(a->made_by, 7);
	b = scratch_next(w.files, 0, 0);
	if (!b)
		abort();
	CHECK(holds(b, "bye", 3));
	scratch_open(b);
	scratch_sweep(w.files);
	CHECK(!scratch_next(w.files, 0, 0));
	CHECK(holds(b, "bye", 3)); /* a handle has it */
	scratch_close(w.files, b);
	next_daemon(&w);
	CHECK(!scratch_next(w.files, 0, 0));
	CHECK(find(&w, "again") != NULL);
	/* A number is never given again. */
	CHECK(make(&w, "c")->number > number);
	end_world(&w);
}

static const struct test_case cases[] = {
    CASE(content),
    CASE(names),
    CASE(limits),
    CASE(memory_is_given_back),
    CASE(outlives_a_daemon),
};
TEST_MAIN(cases)
