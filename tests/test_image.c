/* SPDX-License-Identifier: Apache-2.0
 *
 * The image drivers: files of one's own, and our build up to the point where
 * it would need Debian's archive (the tests with machines build it).
 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image_fixture.h"

static void files_are_taken_as_they_are(void)
{
	_cleanup_free_ char *k = file("kernel", "k"), *i = file("initrd", "i");
	const struct image_slice s = {.kernel = k, .initrd = i};
	struct image_look look, again;
	struct err err = ERR_INIT;

	CHECK_INT(ask(&image_files, true, false, &s, &look, &err), 0);
	CHECK(look.ready);
	CHECK_STR(look.kernel, k);
	CHECK_STR(look.initrd, i);
	CHECK_INT(ask(&image_files, false, false, &s, &again, &err), 0);
	CHECK(again.ready);
	CHECK_STR(again.version, look.version);
	free(file("kernel", "another"));
	CHECK_INT(ask(&image_files, false, false, &s, &again, &err), 0);
	CHECK(strcmp(again.version, look.version) != 0);
}

static void a_missing_file_is_named(void)
{
	_cleanup_free_ char *k = file("nothing", NULL);
	_cleanup_free_ char *i = file("initrd", "i");
	const struct image_slice s = {.kernel = k, .initrd = i};
	const struct image_slice swapped = {.kernel = i, .initrd = k};
	struct image_look look;
	struct err err = ERR_INIT;

	CHECK_INT(ask(&image_files, true, false, &s, &look, &err), -ENOENT);
	CHECK(!look.ready);
	CHECK(strstr(err.text, k) && strstr(err.text, "kernel: "));
	CHECK_INT(
	    ask(&image_files, true, false, &swapped, &look, &err), -ENOENT);
	CHECK(strstr(err.text, k) && strstr(err.text, "initrd: "));
	/* A look sees that they are not there: no failure. */
	CHECK_INT(ask(&image_files, false, false, &s, &look, &err), 0);
	CHECK(!look.ready);
}

static void what_is_no_file_with_content_is_refused(void)
{
	_cleanup_free_ char *e = file("empty", ""), *i = file("initrd", "i");
	const struct image_slice folder = {.kernel = dir, .initrd = i};
	const struct image_slice empty = {.kernel = e, .initrd = i};
	const struct image_slice half = {.kernel = i};
	struct image_look look;
	struct err err = ERR_INIT;

	CHECK_INT(
	    ask(&image_files, true, false, &folder, &look, &err), -EINVAL);
	CHECK(strstr(err.text, "not a plain file"));
	CHECK_INT(ask(&image_files, true, false, &empty, &look, &err), -EINVAL);
	CHECK(strstr(err.text, "empty"));
	CHECK_INT(ask(&image_files, true, false, &half, &look, &err), -EINVAL);
	CHECK(strstr(err.text, "initrd: not given"));
}

static void a_look_that_is_over_is_not_cancelled(void)
{
	_cleanup_free_ char *i = file("initrd", "i");
	const struct image_slice s = {.kernel = i, .initrd = i};
	struct image_look look;
	struct err err = ERR_INIT;

	CHECK_INT(ask(&image_files, true, true, &s, &look, &err), 0);
}

static void no_package_is_taken_for_an_option(void)
{
	static const char *const bad[] = {
	    "-o", "--check", "../x", "Tar", "a", "tar;true", "tar=1", ""};
	struct image_look look;

	for (size_t k = 0; k < ARRAY_SIZE(bad); k++) {
		char *packages[] = {"tcpdump", (char *)bad[k], NULL};
		const struct image_slice s = {.packages = packages,
		    .cache_dir = dir,
		    .data_dir = RACKFS_DATA_DIR};
		struct err err = ERR_INIT;

		CHECK_INT(
		    ask(&image_netboot, true, false, &s, &look, &err), -EINVAL);
		CHECK(strstr(err.text, "packages: "));
		CHECK_INT(
		    ask(&image_rootfs, true, false, &s, &look, &err), -EINVAL);
	}
}

static void a_missing_script_is_named(void)
{
	const struct image_slice s = {.cache_dir = dir, .data_dir = dir};
	struct image_look look;
	struct err err = ERR_INIT;

	CHECK_INT(ask(&image_netboot, false, false, &s, &look, &err), -ENOENT);
	CHECK(strstr(err.text, dir) && strstr(err.text, "netboot image"));
	CHECK_INT(ask(&image_rootfs, false, false, &s, &look, &err), -ENOENT);
	CHECK(strstr(err.text, "root file system"));
}

/* The real script, in a world where apt has no lists. */
static void missing_lists_are_told_with_the_remedy(void)
{
	_cleanup_free_ char *conf = xasprintf("%s/apt.conf", dir);
	_cleanup_free_ char *lists = xasprintf("%s/lists", dir);
	_cleanup_free_ char *text =
	    xasprintf("Dir::State::lists \"%s\";\n", lists);
	const struct image_slice s = {
	    .cache_dir = dir, .data_dir = RACKFS_DATA_DIR};
	struct image_look look;
	struct err err = ERR_INIT;

	if (image_netboot.available(&err) < 0)
		SKIP("no apt-get");
	CHECK_INT(mkdir_p(lists, 0755), 0);
	CHECK_INT(file_replace(AT_FDCWD, conf, text, strlen(text), 0644), 0);
	setenv("APT_CONFIG", conf, 1);
	buf_clear(&logged);
	CHECK_INT(ask(&image_netboot, true, false, &s, &look, &err), -EIO);
	CHECK(!look.ready);
	CHECK(strstr(err.text, "run: sudo apt-get update"));
	CHECK(strstr(buf_str(&logged), "apt-get update"));
	unsetenv("APT_CONFIG");
}

static void a_build_can_be_cancelled(void)
{
	const struct image_slice s = {
	    .cache_dir = dir, .data_dir = RACKFS_DATA_DIR};
	struct image_look look;
	struct err err = ERR_INIT;

	if (image_netboot.available(&err) < 0)
		SKIP("no apt-get");
	CHECK_INT(ask(&image_netboot, true, true, &s, &look, &err), -ECANCELED);
	CHECK(!look.ready);
}

static const struct test_case cases[] = {
    CASE(files_are_taken_as_they_are),
    CASE(a_missing_file_is_named),
    CASE(what_is_no_file_with_content_is_refused),
    CASE(a_look_that_is_over_is_not_cancelled),
    CASE(no_package_is_taken_for_an_option),
    CASE(a_missing_script_is_named),
    CASE(missing_lists_are_told_with_the_remedy),
    CASE(a_build_can_be_cancelled),
};

int main(void)
{
	if (!mkdtemp(dir) || loop_new(&loop) < 0)
		return 1;
	int bad = test_main(cases, ARRAY_SIZE(cases));
	loop_free(loop);
	buf_done(&logged);
	remove_tree(AT_FDCWD, dir);
	return bad;
}
