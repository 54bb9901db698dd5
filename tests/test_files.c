// SPDX-License-Identifier: Apache-2.0
/*
 * The table of files: rows don't clash, every path is found by its parts; and
 * the hash table of inodes and handles.
 */
#include "fs/files.h"
#include "fs/table.h"
#include "test.h"

static void table_is_right(void)
{
	CHECK_INT(files_check(), -1);
	CHECK(file_of_place(PLACE_ROOT) == &files[0]);
}

static void paths(void)
{
	static const char *const some[] = {"README", "spec",
	    "nodes/<node>/spec", "networks/<network>/reach",
	    "images/<image>/log", "wait/all", "wait/<node>"};

	for (size_t i = 0; i < ARRAY_SIZE(some); i++) {
		bool found = false;

		for (size_t k = 0; k < n_files; k++) {
			_cleanup_buf_ struct buf path = {0};

			file_path(&files[k], &path);
			found = found || STREQ(buf_str(&path), some[i]);
		}
		CHECK(found);
	}
}

static void found_by_name_and_slot(void)
{
	for (size_t i = 0; i < n_files; i++) {
		const struct file *f = &files[i];

		CHECK(file_by_slot(file_owner(f), f->slot) == f);
		if (f->name)
			CHECK(file_by_name(f->place, f->name) == f);
	}
	CHECK(!file_by_name(PLACE_NODE, "nothing"));
	CHECK(!file_by_name(PLACE_NODE, ""));
	CHECK(file_each(PLACE_NODES) && !file_each(PLACE_NODE));
}

/* Secrets and what acts are the owner's alone. */
static void modes(void)
{
	for (size_t i = 0; i < n_files; i++) {
		const struct file *f = &files[i];

		if (f->kind == FILE_DOCUMENT)
			CHECK_INT(f->mode, 0600);
		CHECK((f->mode & 0022) == 0);
		CHECK(file_writable(f) == (f->writes != NULL));
	}
}

static void count(void *value, void *userdata)
{
	(*(size_t *)userdata)++;
}

static void table_of_numbers(void)
{
	enum { N = 20000 };
	static char things[N]; /* only their addresses matter */
	struct table *t = table_new();
	size_t left = 0;

	for (uint64_t i = 0; i < N; i++)
		table_put(t, i << 10, &things[i]);
	CHECK_INT(table_count(t), N);
	for (uint64_t i = 0; i < N; i += 2)
		CHECK(table_take(t, i << 10) == &things[i]);
	CHECK(!table_take(t, 0));
	for (uint64_t i = 0; i < N; i++)
		CHECK(table_get(t, i << 10) == (i % 2 ? &things[i] : NULL));
	for (uint64_t i = 1; i < N; i += 2) {
		if (i % 100 != 1)
			table_take(t, i << 10);
	}
	for (uint64_t i = 1; i < N; i += 100)
		CHECK(table_get(t, i << 10) == &things[i]);
	table_empty(t, count, &left);
	CHECK_INT(left, N / 100);
	CHECK_INT(table_count(t), 0);
	table_free(t);
}

static const struct test_case cases[] = {
    CASE(table_is_right),
    CASE(paths),
    CASE(found_by_name_and_slot),
    CASE(modes),
    CASE(table_of_numbers),
};
TEST_MAIN(cases)
