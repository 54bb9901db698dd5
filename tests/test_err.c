/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"
#include "log.h"
#include "test.h"

static void test_set(void)
{
	struct err e = ERR_INIT;

	CHECK_STR(err_text(&e), "no error");
	CHECK_INT(
	    err_set(&e, -EINVAL, "memory: %s is too much", "9T"), -EINVAL);
	CHECK_INT(e.code, -EINVAL);
	CHECK_STR(err_text(&e), "memory: 9T is too much");
	CHECK_INT(err_set(NULL, -EIO, "nobody asks"), -EIO);
}

static void test_errno(void)
{
	struct err e = ERR_INIT;

	CHECK_INT(err_errno(&e, -ENOENT, "cannot open %s", "x"), -ENOENT);
	CHECK_STR(err_text(&e), "cannot open x: No such file or directory");
	CHECK_INT(err_errno(NULL, -ENOENT, "x"), -ENOENT);
}

static void test_prefix(void)
{
	struct err e = ERR_INIT;

	err_set(&e, -EBUSY, "is taken");
	CHECK_INT(err_prefix(&e, "node%02d: ", 1), -EBUSY);
	CHECK_STR(err_text(&e), "node01: is taken");
	e = (struct err){.code = -ENOENT};
	err_prefix(&e, "node01: ");
	CHECK_STR(err_text(&e), "node01: No such file or directory");
	CHECK_INT(err_prefix(NULL, "x"), 0);
}

/* Part of a sentence may come from a guest. */
static void test_one_line(void)
{
	struct err e = ERR_INIT;

	err_set(&e, -EIO, "QEMU said: %s", "a\nb\tc\x1b[1m\n\n");
	CHECK_STR(err_text(&e), "QEMU said: a b c\\x1b[1m");
}

/* Cut between characters, never within one. */
static void test_long(void)
{
	struct err e = ERR_INIT;
	_cleanup_buf_ struct buf b = {0};

	for (int i = 0; i < 1000; i++)
		buf_puts(&b, "\xe2\x82\xac");
	err_set(&e, -EIO, "%s", b.data);
	CHECK_INT(strlen(e.text), 765);
	err_set(&e, -EIO, "x%s", b.data);
	CHECK_INT(strlen(e.text), 766);
	err_set(&e, -EIO, "xx%s", b.data);
	CHECK_INT(strlen(e.text), 767);
	err_prefix(&e, "x");
	CHECK_INT(strlen(e.text), 765);
}

static void test_unknown_code(void)
{
	struct err e = {.code = -4000};

	CHECK_STR(err_text(&e), "unknown error");
}

static void test_copy(void)
{
	struct err a = ERR_INIT, b = ERR_INIT;

	err_set(&a, -EPERM, "no");
	err_copy(&b, &a);
	CHECK_STR(err_text(&b), "no");
	err_copy(&b, NULL);
	CHECK_INT(b.code, 0);
	err_copy(NULL, &a);
}

static void test_level_names(void)
{
	enum log_level level;

	for (unsigned i = 0; i < LOG_LEVELS; i++) {
		CHECK_INT(log_level_parse(log_level_name(i), &level), 0);
		CHECK_INT(level, i);
	}
	CHECK_INT(log_level_parse("loud", &level), -EINVAL);
}

/* What log_warn() writes to a file that is stderr. */
static void logged(bool is_journal, struct buf *ret)
{
	FILE *f = tmpfile();
	int saved = dup(STDERR_FILENO);
	char journal[64];
	struct stat st;

	fstat(fileno(f), &st);
	snprintf(journal, sizeof(journal), "%llu:%llu",
	    (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	if (is_journal)
		setenv("JOURNAL_STREAM", journal, 1);
	dup2(fileno(f), STDERR_FILENO);
	log_warn("node01: %s", "odd\n\x1b[1mtwo\n");
	log_debug("not shown");
	log_set_level(LOG_DEBUG);
	log_debug("shown");
	log_set_level(LOG_NOTICE);
	dup2(saved, STDERR_FILENO);
	close(saved);
	unsetenv("JOURNAL_STREAM");
	buf_append(ret, "", 0);
	rewind(f);
	for (int c; (c = fgetc(f)) != EOF;)
		buf_putc(ret, (char)c);
	fclose(f);
}

static void test_log(void)
{
	_cleanup_buf_ struct buf plain = {0}, journal = {0};

	logged(false, &plain);
	CHECK_STR(buf_str(&plain), "rackfs: warn: node01: odd \\x1b[1mtwo\n"
				   "rackfs: debug: shown\n");
	logged(true, &journal);
	CHECK_STR(buf_str(&journal), "<4>node01: odd \\x1b[1mtwo\n<7>shown\n");
}

static const struct test_case cases[] = {
    CASE(test_set),
    CASE(test_errno),
    CASE(test_prefix),
    CASE(test_one_line),
    CASE(test_long),
    CASE(test_unknown_code),
    CASE(test_copy),
    CASE(test_level_names),
    CASE(test_log),
};
TEST_MAIN(cases)
