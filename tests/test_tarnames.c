/* SPDX-License-Identifier: Apache-2.0
 *
 * Which names of an archive may be unpacked.
 */
#include "test.h"

#include <errno.h>

#include "host/tarnames.h"

struct line {
	const char *path;
	enum tar_kind kind;
	const char *target;
	const char *refusal; /* NULL: taken */
};

static int add(struct tarnames *n, const struct line *l, struct err *err)
{
	_cleanup_free_ char *name = NULL;

	return tarnames_add(n, l->path, l->kind, l->target, &name, err);
}

static void names_that_lead_outside_are_refused(void)
{
	/* Each line by itself, in an archive that begins so. */
	static const struct line begin[] = {
	    {"./", TAR_OTHER, NULL, NULL},
	    {"usr/", TAR_OTHER, NULL, NULL},
	    {"./usr/bin/", TAR_OTHER, NULL, NULL},
	    {"usr/bin/sh", TAR_OTHER, NULL, NULL},
	    {"bin", TAR_SYMLINK, "usr/bin", NULL},
	    {"etc/mtab", TAR_SYMLINK, "/proc/mounts", NULL},
	    {"var/run", TAR_SYMLINK, "/run", NULL},
	    {"up", TAR_SYMLINK, "../..", NULL},
	    {"far", TAR_SYMLINK, "usr/../../tmp", NULL},
	    {"twice", TAR_SYMLINK, "var/run/x", NULL},
	    {"a", TAR_SYMLINK, "b", NULL},
	    {"b", TAR_SYMLINK, "a", NULL},
	};
	static const struct line cases[] = {
	    {"bin/ls", TAR_OTHER, NULL, NULL},
	    {"usr//./bin/ls", TAR_OTHER, NULL, NULL},
	    {"usr/..bin", TAR_OTHER, NULL, NULL},
	    {"usr/bin/x", TAR_HARDLINK, "./bin/sh", NULL},
	    {"x", TAR_SYMLINK, "/", NULL},
	    {"var/run", TAR_SYMLINK, "../run", NULL},
	    {"../x", TAR_OTHER, NULL, "outside by .."},
	    {"usr/../../x", TAR_OTHER, NULL, "outside by .."},
	    {"usr/..", TAR_OTHER, NULL, "outside by .."},
	    {"/etc/passwd", TAR_OTHER, NULL, "absolute name"},
	    {"", TAR_OTHER, NULL, "without a name"},
	    {"var/run/pid", TAR_OTHER, NULL, "behind a link that leads"},
	    {"var/run/a/b", TAR_SYMLINK, "c", "behind a link that leads"},
	    {"up/x", TAR_OTHER, NULL, "behind a link that leads"},
	    {"far/x", TAR_OTHER, NULL, "behind a link that leads"},
	    {"twice/x", TAR_OTHER, NULL, "behind a link that leads"},
	    {"a/x", TAR_OTHER, NULL, "too many links"},
	    {"y", TAR_HARDLINK, "/etc/passwd", "absolute name"},
	    {"y", TAR_HARDLINK, "../x", "outside by .."},
	    {"y", TAR_HARDLINK, "up/x", "behind a link that leads"},
	    {"y", TAR_HARDLINK, "usr/bin/none", "not in it before"},
	    {"y", TAR_HARDLINK, NULL, "without a name"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(tarnames_freep) struct tarnames *n = tarnames_new();
		struct err err = ERR_INIT;

		for (size_t k = 0; k < ARRAY_SIZE(begin); k++)
			CHECK_INT(add(n, &begin[k], &err), 0);
		int r = add(n, &cases[i], &err);
		CHECK_INT(r, cases[i].refusal ? -EINVAL : 0);
		if (cases[i].refusal && !strstr(err.text, cases[i].refusal))
			printf("# %s: %s\n", cases[i].path, err.text);
		CHECK(!cases[i].refusal || strstr(err.text, cases[i].refusal));
	}
}

static void a_folder_in_place_of_a_link_changes_nothing(void)
{
	static const struct line lines[] = {
	    {"out", TAR_SYMLINK, "/tmp", NULL},
	    {"out", TAR_OTHER, NULL, NULL},
	};
	const struct line through = {"out/x", TAR_OTHER, NULL, NULL};
	_cleanup_(tarnames_freep) struct tarnames *n = tarnames_new();
	struct err err = ERR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		CHECK_INT(add(n, &lines[i], &err), 0);
	CHECK_INT(add(n, &through, &err), -EINVAL);
}

static void names_come_back_plain(void)
{
	static const char *const pairs[][2] = {{"./", "."}, {".", "."},
	    {"./a/", "a"}, {"a//b/./c", "a/b/c"}, {"...", "..."}};
	_cleanup_(tarnames_freep) struct tarnames *n = tarnames_new();

	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		_cleanup_free_ char *name = NULL;
		struct err err = ERR_INIT;

		CHECK_INT(
		    tarnames_add(n, pairs[i][0], TAR_OTHER, NULL, &name, &err),
		    0);
		CHECK_STR(name, pairs[i][1]);
	}
}

static void files_are_found_through_links(void)
{
	static const struct line lines[] = {
	    {"sbin", TAR_SYMLINK, "usr/sbin", NULL},
	    {"usr/sbin/init", TAR_SYMLINK, "/lib/systemd/systemd", NULL},
	    {"lib", TAR_SYMLINK, "usr/lib", NULL},
	    {"usr/lib/systemd/systemd", TAR_OTHER, NULL, NULL},
	    {"dangling", TAR_SYMLINK, "nowhere", NULL},
	};
	_cleanup_(tarnames_freep) struct tarnames *n = tarnames_new();
	struct err err = ERR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		CHECK_INT(add(n, &lines[i], &err), 0);
	CHECK(tarnames_has(n, "/sbin/init"));
	CHECK(tarnames_has(n, "lib/systemd/systemd"));
	CHECK(!tarnames_has(n, "/dangling"));
	CHECK(!tarnames_has(n, "/sbin/none"));
}

static void many_names_are_kept(void)
{
	_cleanup_(tarnames_freep) struct tarnames *n = tarnames_new();
	struct err err = ERR_INIT;

	for (int i = 0; i < 5000; i++) {
		_cleanup_free_ char *path = xasprintf("d/%d", i);
		const struct line l = {path, TAR_OTHER, NULL, NULL};
		CHECK_INT(add(n, &l, &err), 0);
	}
	CHECK(tarnames_has(n, "d/0") && tarnames_has(n, "d/4999"));
	CHECK(!tarnames_has(n, "d/5000"));
}

static const struct test_case cases[] = {
    CASE(names_that_lead_outside_are_refused),
    CASE(a_folder_in_place_of_a_link_changes_nothing),
    CASE(names_come_back_plain),
    CASE(files_are_found_through_links),
    CASE(many_names_are_kept),
};
TEST_MAIN(cases)
