/* SPDX-License-Identifier: Apache-2.0
 *
 * The program that comes with files into a guest, after them: sees that they
 * are whole, puts them in their places by rename, takes away what the spec has
 * no more, and tells the running system.  The manifest names a file before it
 * is there, and until it is gone: so a file of ours is never forgotten.
 */
#include <stdio.h>

#include "drivers/setup_guest.h"

/* Its first argument is the root.  Nothing is done with half a tar. */
const char setup_push_command[] =
    "umask 022; n=$0" SETUP_DIR "/" SETUP_STAGE "; rm -rf \"$n\"\n"
    "trap '[ ! -f \"$n/clean\" ] || . \"$n/clean\"; rm -rf \"$n\"' EXIT\n"
    "trap 'exit 1' HUP INT TERM PIPE\n"
    "tar -C \"$0\" -xpmf - || exit\n"
    "[ -f \"$n/do\" ] || { echo 'cut off on the way' >&2; exit 1; }\n"
    ". \"$n/do\" </dev/null\n";

static void put_path(
    const struct setup *s, size_t dir, const char *name, struct buf *b)
{
	_cleanup_free_ char *path = setup_stage_path(s, dir, name);

	buf_putc(b, ' ');
	setup_quote(b, path);
}

static const char *base_name(const struct setup *s, size_t i)
{
	return strrchr(s->files[i].f.path, '/') + 1;
}

void setup_clean_script(const struct setup *s, struct buf *b)
{
	for (size_t i = 0; i < s->seen.n_dirs; i++) {
		if (!setup_dir_is_used(s, i))
			continue;
		buf_puts(b, "rm -rf");
		put_path(s, i, "", b);
		buf_putc(b, '\n');
	}
}

/* --- lists ------------------------------------------------------------- */

static void put_line(
    struct buf *b, const char *digest, const char *path, const char *apply)
{
	buf_printf(b, "%s ", digest);
	setup_encode(b, path);
	buf_putc(b, ' ');
	setup_encode(b, apply ? apply : "");
	buf_putc(b, '\n');
}

static bool is_sent(const struct setup *s, const char *path)
{
	for (size_t i = 0; i < s->n_files; i++)
		if (s->send[i] && STREQ(s->files[i].f.path, path))
			return true;
	return false;
}

void setup_manifest(const struct setup *s, bool leaving, struct buf *b)
{
	for (size_t i = 0; i < s->seen.n_manifest; i++) {
		const struct manifest_line *m = &s->seen.manifest[i];

		if (!is_sent(s, m->path) &&
		    (leaving || setup_is_wanted(s, m->path)))
			put_line(b, m->digest, m->path, m->apply);
	}
	for (size_t i = 0; i < s->n_files; i++) {
		const struct wanted_file *w = &s->files[i];
		_cleanup_buf_ struct buf digest = {0};

		if (!s->send[i])
			continue;
		buf_puts(&digest, w->f.link ? "link:" : w->digest);
		if (w->f.link)
			setup_encode(&digest, w->f.data);
		put_line(b, digest.data, w->f.path, w->f.apply);
	}
}

/* What has to be told, each once, in the order of the files. */
static char **commands(const struct setup *s)
{
	char **list = NULL, **p;
	size_t n = s->n_files + s->seen.n_manifest;

	if (*s->root)
		return NULL;
	for (p = s->seen.pending; p && *p; p++)
		strv_push(&list, *p);
	for (size_t i = 0; i < n; i++) {
		const struct manifest_line *m =
		    i < s->n_files ? NULL : &s->seen.manifest[i - s->n_files];
		const char *apply = m ? m->apply : s->files[i].f.apply;

		if (!apply || !*apply ||
		    (m ? setup_is_wanted(s, m->path) : !s->send[i]))
			continue;
		for (p = list; p && *p && !STREQ(*p, apply); p++)
			;
		if (!p || !*p)
			strv_push(&list, apply);
	}
	return list;
}

void setup_pending(const struct setup *s, struct buf *b)
{
	_cleanup_strv_ char **list = commands(s);

	for (char **p = list; p && *p; p++) {
		setup_encode(b, *p);
		buf_putc(b, '\n');
	}
}

/* --- the program ------------------------------------------------------- */

static bool is_plain(const char *path)
{
	return !strpbrk(path, "\n\\");
}

/* Both sides of the comparison are made here; in batches, for the length of a
 * program's arguments. */
static void put_check(
    const struct setup *s, const size_t *list, size_t n, struct buf *b)
{
	_cleanup_buf_ struct buf want = {0};

	if (!n)
		return;
	buf_puts(b, "[ \"$(sha256sum");
	for (size_t i = 0; i < n; i++) {
		const struct wanted_file *w = &s->files[list[i]];
		_cleanup_free_ char *path =
		    setup_stage_path(s, w->dir, base_name(s, list[i]));

		buf_putc(b, ' ');
		setup_quote(b, path);
		buf_printf(&want, "%s%s  %s", i ? "\n" : "", w->digest, path);
	}
	buf_puts(b, ")\" = ");
	setup_quote(b, want.data);
	buf_puts(b, " ] || broken\n");
}

static void put_checks(const struct setup *s, struct buf *b)
{
	size_t list[SETUP_BATCH], n = 0;

	for (size_t i = 0; i < s->n_files; i++) {
		const struct wanted_file *w = &s->files[i];

		if (!s->send[i] || w->f.link)
			continue;
		if (is_plain(w->f.path) &&
		    is_plain(s->seen.dirs[w->dir].real)) {
			list[n++] = i;
		} else {
			buf_puts(b, "[ \"$(sha256sum <");
			put_path(s, w->dir, base_name(s, i), b);
			buf_printf(b, ")\" = '%s  -' ] || broken\n", w->digest);
		}
		if (n == SETUP_BATCH) {
			put_check(s, list, n, b);
			n = 0;
		}
	}
	put_check(s, list, n, b);
}

/* A rename for each, by one program for each folder. */
static void put_moves(const struct setup *s, size_t dir, struct buf *b)
{
	const char *real = s->seen.dirs[dir].real;
	size_t n = 0;

	for (size_t i = 0; i < s->n_files; i++) {
		if (!s->send[i] || s->files[i].dir != dir)
			continue;
		if (n && n % SETUP_BATCH == 0) {
			buf_putc(b, ' ');
			setup_quote(b, real);
			buf_puts(b, "/ || exit\n");
		}
		if (n++ % SETUP_BATCH == 0)
			buf_puts(b, "mv -f");
		put_path(s, dir, base_name(s, i), b);
	}
	if (!n)
		return;
	buf_putc(b, ' ');
	setup_quote(b, real);
	buf_puts(b, "/ || exit\n");
}

static void put_stamps(const struct setup *s, struct buf *b)
{
	for (size_t i = 0; i < s->n_services; i++)
		for (size_t k = 0; k < s->n_files; k++) {
			if (!s->send[k] || !setup_service_uses(s, i, k))
				continue;
			buf_puts(b, "rm -f \"$s\"/services/");
			setup_quote(b, s->services[i].s.name);
			buf_putc(b, '\n');
			break;
		}
}

const char setup_leave_function[] =
    "leave() { # NAME: a service that left the spec\n"
    "	if [ -z \"$r\" ]; then\n"
    "		systemctl disable \"$1.service\" >&2 2>/dev/null\n"
    "		systemctl stop \"$1.service\" >&2 2>/dev/null\n"
    "		if systemctl is-active -q \"$1.service\"; then\n"
    "			echo \"$1.service can't be stopped\" >&2; exit 1\n"
    "		fi\n"
    "	fi\n"
    "	set +f\n"
    "	rm -f \"$r\"/etc/systemd/system/*.wants/\"$1.service\" \\\n"
    "		\"$r\"/etc/systemd/system/*.requires/\"$1.service\" \\\n"
    "		\"$s/services/$1\"\n"
    "	set -f\n"
    "}\n";

static const char functions[] =
    "broken() {\n"
    "	echo 'what came is not what was sent' >&2; exit 1\n"
    "}\n"
    "gone() { # PATH DIGEST\n"
    "	q=$r$1\n"
    "	case $2 in\n"
    "	link:*) [ -L \"$q\" ] && [ \"link:$(readlink \"$q\")\" = \"$2\" ] ;;\n"
    "	*) [ ! -L \"$q\" ] && [ -f \"$q\" ] &&\n"
    "		[ \"$(sha256sum <\"$q\")\" = \"$2  -\" ] ;;\n"
    "	esac && { rm -f \"$q\" || exit; return; }\n"
    "	[ ! -e \"$q\" ] && [ ! -L \"$q\" ] || z k \"$1\"\n"
    "}\n"
    "e=0\n"
    "apply() {\n"
    "	sh -c \"$1\" >&2 && return\n"
    "	e=$?; echo \"$1: exit status $e\" >&2\n"
    "}\n";

/* Returns whether a unit goes. */
static bool put_gone(const struct setup *s, struct buf *b)
{
	bool unit = false;

	for (size_t i = 0; i < s->seen.n_manifest; i++) {
		const struct manifest_line *m = &s->seen.manifest[i];
		_cleanup_free_ char *digest =
		    setup_decode(m->digest, strlen(m->digest));

		if (setup_is_wanted(s, m->path))
			continue;
		unit |= setup_is_unit(m->path);
		buf_puts(b, "gone ");
		setup_quote(b, m->path);
		buf_putc(b, ' ');
		setup_quote(b, digest);
		buf_putc(b, '\n');
	}
	return unit;
}

/* The digest of a big one is known from now on. */
static void put_big(const struct setup *s, struct buf *b)
{
	for (size_t i = 0; i < s->n_files; i++) {
		if (!s->send[i] || s->files[i].f.link ||
		    s->files[i].size <= SETUP_BIG)
			continue;
		buf_printf(b, "z b %zu \"$(stat -c '%s' \"$r\"", i, SETUP_STAT);
		setup_quote(b, s->files[i].f.path);
		buf_puts(b, ")\"\n");
	}
}

static void put_telling(const struct setup *s, bool unit, struct buf *b)
{
	_cleanup_strv_ char **list = commands(s);

	for (size_t i = 0; i < s->n_files; i++)
		unit |= s->send[i] && setup_is_unit(s->files[i].f.path);
	if (*s->root)
		return;
	if (unit && s->systemd)
		buf_puts(b, "systemctl daemon-reload || exit\n");
	for (char **p = list; p && *p; p++) {
		buf_puts(b, "apply ");
		setup_quote(b, *p);
		buf_putc(b, '\n');
	}
	buf_puts(b, "[ $e = 0 ] || exit $e\nrm -f \"$s/pending\"\n");
}

void setup_push_script(const struct setup *s, struct buf *b)
{
	bool unit;

	buf_puts(b, "{\n");
	setup_put_head(s, b);
	buf_puts(b, functions);
	put_checks(s, b);
	/* Whole after a crash as well; below a root the end of the install
	 * sees to that. */
	if (!*s->root)
		buf_puts(b, "sync\n");
	buf_puts(b, "mv -f \"$n/manifest\" \"$s/manifest\" || exit\n");
	if (!*s->root)
		buf_puts(b, "mv -f \"$n/pending\" \"$s/pending\" || exit\n");
	put_stamps(s, b);
	for (size_t i = 0; i < s->seen.n_dirs; i++)
		put_moves(s, i, b);
	buf_puts(b, setup_leave_function);
	if (s->systemd)
		for (char **l = s->seen.left; l && *l; l++)
			buf_printf(b, "leave '%s'\n", *l);
	unit = put_gone(s, b);
	buf_puts(b, "mv -f \"$n/manifest.last\" \"$s/manifest\" || exit\n");
	put_big(s, b);
	put_telling(s, unit, b);
	buf_puts(b, "}\n");
}
