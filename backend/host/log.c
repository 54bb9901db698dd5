/* SPDX-License-Identifier: Apache-2.0
 *
 * The daemon's log: one write(2) a line, so that lines of threads and of
 * children that share stderr do not mix.
 */
#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"

static const char *const level_names[] = {"error", "warn", "notice", "debug"};
static_assert(ARRAY_SIZE(level_names) == LOG_LEVELS, "a name for each level");

/* sd-daemon(3): SD_ERR, SD_WARNING, SD_NOTICE, SD_DEBUG. */
static const char level_priority[] = {'3', '4', '5', '7'};
static_assert(sizeof(level_priority) == LOG_LEVELS, "a priority for each");

static _Atomic(enum log_level) log_max = LOG_NOTICE;

const char *log_level_name(enum log_level level)
{
	return level < LOG_LEVELS ? level_names[level] : "?";
}

int log_level_parse(const char *name, enum log_level *ret)
{
	for (unsigned i = 0; i < LOG_LEVELS; i++) {
		if (STREQ(name, level_names[i])) {
			*ret = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

void log_set_level(enum log_level level)
{
	log_max = level;
}

/* systemd.exec(5): the variable names the stream that it gave us; who started
 * us may have redirected stderr since. */
static bool stderr_is_journal(void)
{
	const char *env = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	if (!env || sscanf(env, "%llu:%llu", &dev, &ino) != 2)
		return false;
	return fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev &&
	       st.st_ino == ino;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	_cleanup_buf_ struct buf text = {0}, line = {0};
	int saved = errno;
	va_list ap;

	if (level > log_max)
		return;
	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	while (text.len && text.data[text.len - 1] == '\n')
		text.data[--text.len] = '\0';
	for (size_t i = 0; i < text.len; i++)
		if (text.data[i] == '\n')
			text.data[i] = ' ';

	if (stderr_is_journal())
		buf_printf(&line, "<%c>", level_priority[level]);
	else if (level == LOG_NOTICE)
		buf_puts(&line, "rackfs: ");
	else
		buf_printf(&line, "rackfs: %s: ", level_names[level]);
	buf_escaped(&line, buf_str(&text), text.len);
	buf_putc(&line, '\n');
	/* A log that can't be written is no reason to end. */
	(void)write_all(STDERR_FILENO, line.data, line.len);
	errno = saved;
}
