/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory that never is NULL, vectors of strings, clocks and random numbers.
 * Used by every module; knows none of them.  Files are in file.c, growable
 * text in buf.c.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "util.h"

void util_closep(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved;
}

/* Out of memory is not dealt with: recovery is what a restart does anyway. */
static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

void *xmalloc(size_t size)
{
	return must(malloc(size ? size : 1));
}

void *xcalloc(size_t n, size_t size)
{
	return must(n && size ? calloc(n, size) : calloc(1, 1));
}

void *xrealloc(void *p, size_t size)
{
	return must(realloc(p, size ? size : 1));
}

char *xstrdup(const char *s)
{
	return s ? must(strdup(s)) : NULL;
}

char *xstrndup(const char *s, size_t n)
{
	return s ? must(strndup(s, n)) : NULL;
}

char *xasprintf(const char *fmt, ...)
{
	struct buf b = {0};
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	return buf_take(&b);
}

char **strv_new(const char *first, ...)
{
	char **v = xcalloc(1, sizeof(*v));
	va_list ap;

	va_start(ap, first);
	for (const char *s = first; s; s = va_arg(ap, const char *))
		strv_push(&v, s);
	va_end(ap);
	return v;
}

static void push_owned(char ***v, char *s)
{
	size_t n = strv_len(*v);

	*v = xrealloc(*v, (n + 2) * sizeof(**v));
	(*v)[n] = s;
	(*v)[n + 1] = NULL;
}

void strv_push(char ***v, const char *s)
{
	push_owned(v, xstrdup(s));
}

void strv_pushf(char ***v, const char *fmt, ...)
{
	struct buf b = {0};
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	push_owned(v, buf_take(&b));
}

size_t strv_len(char *const *v)
{
	size_t n = 0;

	while (v && v[n])
		n++;
	return n;
}

char **strv_copy(char *const *v)
{
	size_t n = strv_len(v);
	char **copy = xcalloc(n + 1, sizeof(*copy));

	for (size_t i = 0; i < n; i++)
		copy[i] = xstrdup(v[i]);
	return copy;
}

void strv_free(char **v)
{
	for (size_t i = 0; v && v[i]; i++)
		free(v[i]);
	free(v);
}

void strv_freep(char ***v)
{
	strv_free(*v);
	*v = NULL;
}

/* Words that a shell takes for syntax when they come first. */
static bool is_reserved(const char *s)
{
	static const char *const words[] = {"if", "then", "else", "elif", "fi",
	    "do", "done", "case", "esac", "while", "until", "for", "in", "time",
	    "function", "select", "coproc"};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (STREQ(s, words[i]))
			return true;
	return false;
}

/* `A=b` as the first word would be an assignment. */
static bool needs_quotes(const char *s, bool first)
{
	static const char safe[] = "abcdefghijklmnopqrstuvwxyz"
				   "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "0123456789_@%+:,./-=";

	if (!*s || s[strspn(s, safe)])
		return true;
	return first && (strchr(s, '=') || is_reserved(s));
}

char *strv_quote(char *const *argv)
{
	struct buf b = {0};

	for (size_t i = 0; argv && argv[i]; i++) {
		if (i)
			buf_putc(&b, ' ');
		if (!needs_quotes(argv[i], i == 0)) {
			buf_puts(&b, argv[i]);
			continue;
		}
		buf_putc(&b, '\'');
		for (const char *s = argv[i]; *s; s++) {
			if (*s == '\'')
				buf_puts(&b, "'\\''");
			else
				buf_putc(&b, *s);
		}
		buf_putc(&b, '\'');
	}
	return buf_take(&b);
}

static uint64_t now(clockid_t clock)
{
	struct timespec t;

	if (clock_gettime(clock, &t) < 0)
		abort();
	return (uint64_t)t.tv_sec * USEC_PER_SEC + (uint64_t)t.tv_nsec / 1000;
}

uint64_t now_mono(void)
{
	return now(CLOCK_MONOTONIC);
}

uint64_t now_real(void)
{
	return now(CLOCK_REALTIME);
}

void format_time(uint64_t real_usec, char out[32])
{
	time_t sec = (time_t)(real_usec / USEC_PER_SEC);
	struct tm tm;
	size_t n = 0;

	/* Years of more than four digits have no such text. */
	if (gmtime_r(&sec, &tm) && tm.tm_year <= 9999 - 1900)
		n = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &tm);
	if (!n) {
		snprintf(out, 32, "-");
		return;
	}
	snprintf(
	    out + n, 32 - n, ".%06uZ", (unsigned)(real_usec % USEC_PER_SEC));
}

void random_bytes(void *p, size_t n)
{
	char *at = p;

	while (n) {
		ssize_t got = getrandom(at, n, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			abort();
		at += got;
		n -= (size_t)got;
	}
}

void random_uuid(char out[37])
{
	uint8_t r[16];
	char *at = out;

	random_bytes(r, sizeof(r));
	r[6] = (uint8_t)((r[6] & 0x0f) | 0x40); /* RFC 9562: version 4 */
	r[8] = (uint8_t)((r[8] & 0x3f) | 0x80); /* and its variant */
	for (size_t i = 0; i < sizeof(r); i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*at++ = '-';
		*at++ = "0123456789abcdef"[r[i] >> 4];
		*at++ = "0123456789abcdef"[r[i] & 15];
	}
	*at = '\0';
}

uint64_t hash_bytes(const void *p, size_t n)
{
	const uint8_t *at = p;
	uint64_t h = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < n; i++)
		h = (h ^ at[i]) * 0x100000001b3ULL;
	return h;
}
