/* SPDX-License-Identifier: Apache-2.0
 *
 * The shell program that looks at a guest: one for all, however much there
 * is.  What a POSIX shell and busybox both have is enough.  Every value is a
 * quoted word.  The whole stands in braces, so that a shell which gets only a
 * part of it does nothing; its answer is fields that end with a NUL:
 *
 *   D <dir> <real path> | d <dir> (missing) | N <dir> (no folder)
 *   L <file> <target> | F <file> | C <file> (as it is known) | X <file> <sum>
 *   T <file> (folder) | O <file> | M <file> (missing)
 *   S <lines of stat> | H <lines of sha256sum>: of the F since the last S
 *   U <user> <id> | G <group> <id> | m <manifest> | p <pending> | l <service>
 *   R <run> <digest> | V <service> <digest> | K <service> <yes, no, none>
 *   w <output of systemctl show> | E (the end)
 */
#include <stdio.h>

#include "drivers/setup_guest.h"

const char setup_show_properties[] =
    "-p Id -p LoadState -p ActiveState -p SubState -p Result "
    "-p UnitFileState -p NeedDaemonReload -p Type "
    "-p ExecMainExitTimestampMonotonic";

void setup_quote(struct buf *b, const char *word)
{
	buf_putc(b, '\'');
	for (; *word; word++)
		if (*word == '\'')
			buf_puts(b, "'\\''");
		else
			buf_putc(b, *word);
	buf_putc(b, '\'');
}

static void put_set(struct buf *b, const char *name, const char *value)
{
	buf_printf(b, "%s=", name);
	setup_quote(b, value);
	buf_putc(b, ';');
}

/* A root's own logins lack sbin in places. */
static const char head[] =
    "LC_ALL=C; export LC_ALL; umask 022; set -f\n"
    "PATH=$PATH:/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/sw/bin\n"
    "export PATH\n"
    "z() { printf '%s\\0' \"$@\"; }\n";

void setup_put_head(const struct setup *s, struct buf *b)
{
	buf_puts(b, head);
	put_set(b, "r", s->root);
	buf_puts(b, "s=$r" SETUP_DIR "\n");
}

/* --- files ------------------------------------------------------------- */

/* Run by eval, since a function has arguments of its own.  $p is a path that
 * someone wrote: it begins with a slash, so it is no option. */
static const char file_code[] =
    "f='" SETUP_STAT "'\n"
    "P='if cd -P \"$r$p/\" 2>/dev/null; then z D $i \"$PWD\"\n"
    "elif [ -e \"$r$p\" ] || [ -L \"$r$p\" ]; then z N $i\n"
    "else z d $i; fi; cd /'\n"
    "Q='q=$r$p; if [ -L \"$q\" ]; then z L $i \"$(readlink \"$q\")\"\n"
    "elif [ -f \"$q\" ]; then eval \"$y\"\n"
    "elif [ -d \"$q\" ]; then z T $i\n"
    "elif [ -e \"$q\" ]; then z O $i; else z M $i; fi'\n"
    /* The three kinds of a regular file: to be read with others; one whose
     * name sha256sum would not print as it is; a big one that is known. */
    "F='set -- \"$@\" \"$q\"; z F $i'\n"
    "X='z X $i \"$(stat -c \"$f\" \"$q\")\" \"$(sha256sum <\"$q\")\"'\n"
    "C='if [ \"$(stat -c \"$f\" \"$q\")\" = \"$k\" ]; then z C $i\n"
    "else set -- \"$@\" \"$q\"; z F $i; fi'\n"
    "B='if [ $# -gt 0 ]; then printf \"S\\0\"; stat -c \"$f\" \"$@\"\n"
    "printf \"\\0H\\0\"; sha256sum \"$@\"; printf \"\\0\"; set --; fi'\n";

static void put_dirs(const struct setup *s, struct buf *b)
{
	for (size_t i = 0; i < s->seen.n_dirs; i++) {
		buf_printf(b, "i=%zu;", i);
		put_set(b, "p", s->seen.dirs[i].path);
		buf_puts(b, "eval \"$P\"\n");
	}
}

static const char *kind_of(
    const struct wanted_file *w, const struct known_digest *k)
{
	if (strpbrk(w->f.path, "\n\\"))
		return "X";
	return k ? "C" : "F";
}

static void put_files(const struct setup *s, struct buf *b)
{
	buf_puts(b, "set --\n");
	for (size_t i = 0; i < s->n_files; i++) {
		const struct wanted_file *w = &s->files[i];
		const struct known_digest *k =
		    setup_known(&s->guest_known, w->f.path);

		buf_printf(b, "i=%zu;", i);
		put_set(b, "p", w->f.path);
		if (k)
			put_set(b, "k", k->print);
		buf_printf(b, "y=$%s;eval \"$Q\"\n", kind_of(w, k));
		if (i % SETUP_BATCH == SETUP_BATCH - 1)
			buf_puts(b, "eval \"$B\"\n");
	}
	buf_puts(b, "eval \"$B\"\n");
}

/* --- owners ------------------------------------------------------------ */

/* Read in the shell, so that the system below a root is asked; a running one
 * may have users from elsewhere too. */
static const char owner_code[] =
    "owners() { # FILE LETTER NAME...\n"
    "	a=$1 t=$2; shift 2; x=' '\n"
    "	[ ! -r \"$r$a\" ] || while IFS=: read -r n y u v; do\n"
    "		for o; do\n"
    "			[ \"$o\" != \"$n\" ] || { z $t \"$n\" \"$u\"; "
    "x=\"$x$n \"; }\n"
    "		done\n"
    "	done <\"$r$a\"\n"
    "	[ -z \"$r\" ] || return 0\n"
    "	for o; do\n"
    "		case $x in *\" $o \"*) continue ;; esac\n"
    "		case $t in\n"
    "		U) u=$(id -u \"$o\" 2>/dev/null) ;;\n"
    "		*) u=$(getent group \"$o\" 2>/dev/null | cut -d: -f3) ;;\n"
    "		esac\n"
    "		[ -z \"$u\" ] || z $t \"$o\" \"$u\"\n"
    "	done\n"
    "}\n";

static void put_owners(const struct setup *s, bool group, struct buf *b)
{
	size_t n = 0;

	for (size_t i = 0; i < s->seen.n_owners; i++) {
		const struct seen_owner *o = &s->seen.owners[i];

		if (o->group != group || o->known)
			continue;
		if (!n++)
			buf_puts(b, group ? "owners /etc/group G"
					  : "owners /etc/passwd U");
		buf_putc(b, ' ');
		setup_quote(b, o->name);
	}
	if (n)
		buf_putc(b, '\n');
}

/* --- commands and services --------------------------------------------- */

/* As systemctl enable does it, for a system that does not run. */
const char setup_unit_functions[] =
    "unit() { # NAME: u is its file, or that of its template\n"
    "	for v in \"$1\" \"${1%%@*}@\"; do\n"
    "		for u in etc run usr/local/lib lib usr/lib; do\n"
    "			u=$r/$u/systemd/system/$v.service\n"
    "			[ ! -f \"$u\" ] || return 0\n"
    "		done\n"
    "		case $1 in *@*) ;; *) return 1 ;; esac\n"
    "	done\n"
    "	return 1\n"
    "}\n"
    "links() { # NAME COMMAND: runs it for each link that enables it\n"
    "	c=; while read -r l || [ -n \"$l\" ]; do\n"
    "		case $l in\n"
    "		'[Install]'*) c=1 ;;\n"
    "		'['*) c= ;;\n"
    "		*=*)\n"
    "			[ -n \"$c\" ] || continue\n"
    "			for t in ${l#*=}; do\n"
    "				case $l in\n"
    "				WantedBy*) $2 \"$t.wants/$1.service\" ;;\n"
    "				RequiredBy*) $2 \"$t.requires/$1.service\" ;;\n"
    "				Alias*) $2 \"$t\" ;;\n"
    "				esac\n"
    "			done ;;\n"
    "		esac\n"
    "	done <\"$u\"\n"
    "}\n";

static void put_runs(const struct setup *s, struct buf *b)
{
	for (size_t i = 0; i < s->n_runs; i++) {
		put_set(b, "n", s->runs[i].r.name);
		buf_printf(b,
		    "x=;[ ! -f \"$s/run/$n\" ]||read -r x <\"$s/run/$n\";"
		    "z R %zu \"$x\"\n",
		    i);
	}
}

static void put_linked(const struct setup *s, struct buf *b)
{
	buf_puts(b, setup_unit_functions);
	buf_puts(
	    b, "linked() { [ -L \"$r/etc/systemd/system/$1\" ] || k=no; }\n");
	for (size_t i = 0; i < s->n_services; i++) {
		put_set(b, "n", s->services[i].s.name);
		buf_printf(b,
		    "if unit \"$n\"; then k=yes;links \"$n\" linked;"
		    "else k=none;fi;z K %zu $k\n",
		    i);
	}
}

static void put_services(const struct setup *s, struct buf *b)
{
	for (size_t i = 0; i < s->n_services; i++) {
		put_set(b, "n", s->services[i].s.name);
		buf_printf(b,
		    "x=;[ ! -f \"$s/services/$n\" ]||"
		    "read -r x <\"$s/services/$n\";z V %zu \"$x\"\n",
		    i);
	}
	buf_puts(b, "set +f;for x in \"$s\"/services/*;do "
		    "[ ! -f \"$x\" ]||z l \"${x##*/}\";done;set -f\n");
	if (!s->n_services || !s->systemd)
		return;
	if (*s->root) {
		put_linked(s, b);
		return;
	}
	buf_printf(
	    b, "printf 'w\\0'; systemctl show %s", setup_show_properties);
	for (size_t i = 0; i < s->n_services; i++) {
		buf_printf(b, " %s.service", s->services[i].s.name);
	}
	buf_puts(b, "; printf '\\0'\n");
}

void setup_look_script(struct setup *s, struct buf *ret)
{
	buf_puts(ret, "{\n");
	setup_put_head(s, ret);
	buf_puts(ret, file_code);
	put_dirs(s, ret);
	put_files(s, ret);
	buf_puts(ret, owner_code);
	put_owners(s, false, ret);
	put_owners(s, true, ret);
	buf_puts(ret,
	    "for x in manifest pending; do\n"
	    "	if [ -s \"$s/$x\" ]; then\n"
	    "		printf '%.1s\\0' $x; cat \"$s/$x\"; printf '\\0'\n"
	    "	fi\n"
	    "done\n");
	put_runs(s, ret);
	put_services(s, ret);
	buf_puts(ret, "z E; exit 0\n} </dev/null\n");
}
