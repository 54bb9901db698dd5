/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads what the program of setup_guest_script.c answered.  A guest can say
 * anything: nothing is taken that is not of the form asked for, and an answer
 * that is cut off is none.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "drivers/setup_guest.h"

struct fields {
	const char *at, *end;
	bool short_of; /* one was asked for that isn't there */
};

static const char *next(struct fields *f)
{
	const char *s = f->at;
	const char *nul =
	    s < f->end ? memchr(s, 0, (size_t)(f->end - s)) : NULL;

	if (!nul) {
		f->short_of = true;
		return "";
	}
	f->at = nul + 1;
	return s;
}

static size_t next_index(struct fields *f, size_t n)
{
	const char *s = next(f);
	char *end;
	unsigned long v = strtoul(s, &end, 10);

	if (!isdigit((unsigned char)*s) || *end || v >= n) {
		f->short_of = true;
		return 0;
	}
	return v;
}

/* --- files ------------------------------------------------------------- */

/* The files that were met since the last S. */
struct met {
	size_t *list;
	size_t n;
};

static bool take_stat(struct seen_file *f, const char *line, size_t len)
{
	unsigned mode;
	uint32_t uid, gid;

	if (len >= sizeof(f->print))
		return false;
	memcpy(f->print, line, len);
	f->print[len] = '\0';
	if (sscanf(f->print, "%x %u %u ", &mode, &uid, &gid) != 3)
		return false;
	f->type = SEEN_FILE;
	f->mode = mode & 07777;
	f->uid = uid;
	f->gid = gid;
	return true;
}

static bool take_digest(struct seen_file *f, const char *line, size_t len)
{
	if (len < SHA256_HEX || !sha256_valid(line, SHA256_DIGITS) ||
	    line[SHA256_DIGITS] != ' ')
		return false;
	memcpy(f->digest, line, SHA256_DIGITS);
	return true;
}

/* One line for each file, or a file has come or gone meanwhile. */
static bool take_lines(struct setup *s, const char *text, const struct met *m,
    bool (*take)(struct seen_file *f, const char *line, size_t len))
{
	for (size_t i = 0; i < m->n; i++) {
		size_t len = strcspn(text, "\n");

		if (!text[len] || !take(&s->seen.files[m->list[i]], text, len))
			return false;
		text += len + 1;
	}
	return !*text;
}

static uint64_t size_of(const struct seen_file *f)
{
	uint64_t size = 0;

	sscanf(f->print, "%*x %*u %*u %" SCNu64, &size);
	return size;
}

/* A big one that was read twice with the same result, and some time between:
 * a change would show in its times. */
static void know_big(struct setup *s, const struct met *m)
{
	for (size_t i = 0; i < m->n; i++) {
		const char *path = s->files[m->list[i]].f.path;
		const struct seen_file *f = &s->seen.files[m->list[i]];

		if (size_of(f) > SETUP_BIG)
			setup_know(
			    &s->guest_known, path, f->print, f->digest, false);
	}
}

static void take_known(struct setup *s, size_t i)
{
	const struct known_digest *k =
	    setup_known(&s->guest_known, s->files[i].f.path);
	struct seen_file *f = &s->seen.files[i];

	if (k && take_stat(f, k->print, strlen(k->print)))
		snprintf(f->digest, sizeof(f->digest), "%s", k->digest);
}

static bool take_file(
    struct setup *s, char kind, struct fields *f, struct met *m)
{
	size_t i = next_index(f, s->n_files);
	struct seen_file *seen = &s->seen.files[i];
	const char *stat;

	if (f->short_of)
		return false;
	switch (kind) {
	case 'L':
		seen->type = SEEN_LINK;
		free(seen->target);
		seen->target = xstrdup(next(f));
		return true;
	case 'F':
		if (m->n < s->n_files)
			m->list[m->n++] = i;
		return true;
	case 'C':
		take_known(s, i);
		return true;
	case 'X':
		stat = next(f);
		return take_stat(seen, stat, strlen(stat)) &&
		       take_digest(seen, next(f), SHA256_HEX);
	case 'T':
		seen->type = SEEN_FOLDER;
		return true;
	case 'O':
		seen->type = SEEN_OTHER;
		return true;
	default: /* M */
		return true;
	}
}

static void take_dir(struct setup *s, char kind, struct fields *f)
{
	struct seen_dir *d = &s->seen.dirs[next_index(f, s->seen.n_dirs)];

	d->state = kind == 'D'   ? DIR_THERE
		   : kind == 'N' ? DIR_NONE
				 : DIR_MISSING;
	free(TAKE_PTR(d->real));
	if (kind == 'D')
		d->real = xstrdup(next(f));
}

static void take_owner(struct setup *s, bool group, struct fields *f)
{
	const char *name = next(f), *id = next(f);

	for (size_t i = 0; i < s->seen.n_owners; i++) {
		struct seen_owner *o = &s->seen.owners[i];

		if (o->group != group || o->known || !STREQ(o->name, name) ||
		    !isdigit((unsigned char)*id))
			continue;
		o->known = true;
		o->id = (uint32_t)strtoul(id, NULL, 10);
	}
}

/* --- manifest ---------------------------------------------------------- */

/* No byte that parts words or lines, and never empty. */
void setup_encode(struct buf *b, const char *word)
{
	if (!*word)
		buf_putc(b, '-');
	for (const char *p = word; *p; p++)
		if ((unsigned char)*p <= ' ' || *p == '%' || *p == 0x7f ||
		    (*p == '-' && p == word))
			buf_printf(b, "%%%02X", (unsigned char)*p);
		else
			buf_putc(b, *p);
}

char *setup_decode(const char *word, size_t len)
{
	char *out = xmalloc(len + 1);
	size_t n = 0;
	unsigned v;

	for (size_t i = 0; i < len; i++)
		if (word[i] == '%' && i + 2 < len &&
		    sscanf(word + i + 1, "%2x", &v) == 1 && v) {
			out[n++] = (char)v;
			i += 2;
		} else if (len > 1 || word[i] != '-') {
			out[n++] = word[i];
		}
	out[n] = '\0';
	return out;
}

static void take_manifest(struct setup *s, const char *text)
{
	struct seen *v = &s->seen;

	while (*text && v->n_manifest < (size_t)2 * SETUP_FILES_MAX) {
		size_t len = strcspn(text, "\n");
		size_t a = strcspn(text, " \n");
		size_t b = a < len ? strcspn(text + a + 1, " \n") : 0;
		const char *path = text + a + 1, *apply = path + b + 1;

		if (b && path[b] == ' ') {
			v->manifest = xrealloc(v->manifest,
			    (v->n_manifest + 1) * sizeof(*v->manifest));
			v->manifest[v->n_manifest++] = (struct manifest_line){
			    .digest = xstrndup(text, a),
			    .path = setup_decode(path, b),
			    .apply = setup_decode(
				apply, (size_t)(text + len - apply)),
			};
		}
		text += len + (text[len] == '\n');
	}
}

static void take_pending(struct setup *s, const char *text)
{
	while (*text) {
		size_t len = strcspn(text, "\n");
		_cleanup_free_ char *command = setup_decode(text, len);

		if (*command)
			strv_push(&s->seen.pending, command);
		text += len + (text[len] == '\n');
	}
}

/* --- services ---------------------------------------------------------- */

static void set_word(char *field, size_t size, const char *value, size_t len)
{
	len = MIN(len, size - 1);
	memcpy(field, value, len);
	field[len] = '\0';
}

static void take_property(
    struct seen_service *v, const char *name, const char *value, size_t len)
{
#define WORD(property, field)                                                  \
	if (strncmp(name, property "=", sizeof(property)) == 0)                \
	set_word(v->field, sizeof(v->field), value, len)
	WORD("LoadState", load);
	WORD("ActiveState", active);
	WORD("SubState", sub);
	WORD("Result", result);
	WORD("UnitFileState", file_state);
	WORD("Type", type);
#undef WORD
	if (strncmp(name, "NeedDaemonReload=", 17) == 0)
		v->reload = len == 3;
	if (strncmp(name, "ExecMainExitTimestampMonotonic=", 31) == 0)
		v->ran = len && (len > 1 || *value != '0');
}

/* Blocks of lines, one for each unit, parted by empty ones. */
int setup_parse_show(struct setup *s, const char *text, const size_t *which,
    size_t n, struct err *err)
{
	size_t i = 0;
	bool any = false;

	for (; *text && i < n; text += *text == '\n') {
		size_t len = strcspn(text, "\n");
		size_t name = strcspn(text, "=\n");

		if (len == 0) {
			i += any;
			any = false;
		} else if (name < len) {
			any = true;
			take_property(&s->seen.services[which[i]], text,
			    text + name + 1, len - name - 1);
		}
		text += len;
	}
	i += any;
	if (i == n)
		return 0;
	return err_set(err, -EAGAIN,
	    "systemd of the guest tells of %zu of %zu services: is it still "
	    "starting?",
	    i, n);
}

static int take_show(struct setup *s, const char *text, struct err *err)
{
	size_t all[SERVICES_MAX];

	for (size_t i = 0; i < s->n_services; i++)
		all[i] = i;
	return setup_parse_show(s, text, all, s->n_services, err);
}

static void take_linked(struct setup *s, struct fields *f)
{
	size_t i = next_index(f, s->n_services);
	const char *word = next(f);

	if (f->short_of)
		return;
	s->seen.services[i].has_unit = !STREQ(word, "none");
	s->seen.services[i].linked = STREQ(word, "yes");
}

static void take_left(struct setup *s, const char *name)
{
	for (size_t i = 0; i < s->n_services; i++)
		if (STREQ(s->services[i].s.name, name))
			return;
	if (setup_is_name(name))
		strv_push(&s->seen.left, name);
}

static void take_stamp(char *field, struct fields *f)
{
	const char *s = next(f);

	if (sha256_valid(s, strlen(s)))
		memcpy(field, s, SHA256_HEX);
}

/* --- the whole --------------------------------------------------------- */

static int changed_meanwhile(struct err *err)
{
	return err_set(err, -EAGAIN,
	    "a file of the guest came or went while it was looked at");
}

/* One record; 1 at the end. */
static int take_record(
    struct setup *s, struct fields *f, struct met *m, struct err *err)
{
	const char *word = next(f);
	size_t i;

	switch (*word) {
	case 'D':
	case 'd':
	case 'N':
		take_dir(s, *word, f);
		return 0;
	case 'S':
		return take_lines(s, next(f), m, take_stat)
			   ? 0
			   : changed_meanwhile(err);
	case 'H':
		if (!take_lines(s, next(f), m, take_digest))
			return changed_meanwhile(err);
		know_big(s, m);
		m->n = 0;
		return 0;
	case 'U':
	case 'G':
		take_owner(s, *word == 'G', f);
		return 0;
	case 'm':
		take_manifest(s, next(f));
		return 0;
	case 'p':
		take_pending(s, next(f));
		return 0;
	case 'l':
		take_left(s, next(f));
		return 0;
	case 'R':
		i = next_index(f, s->n_runs);
		take_stamp(s->seen.runs[i], f);
		return 0;
	case 'V':
		i = next_index(f, s->n_services);
		take_stamp(s->seen.services[i].stamp, f);
		return 0;
	case 'K':
		take_linked(s, f);
		return 0;
	case 'w':
		return take_show(s, next(f), err);
	case 'E':
		return 1;
	default:
		if (!*word || !strchr("LFCXTOM", *word))
			f->short_of = true;
		else if (!take_file(s, *word, f, m) && !f->short_of)
			return changed_meanwhile(err);
		return 0;
	}
}

int setup_parse(struct setup *s, const char *out, size_t len, struct err *err)
{
	struct fields f = {.at = out, .end = out + len};
	_cleanup_free_ size_t *list = xcalloc(s->n_files + 1, sizeof(*list));
	struct met m = {.list = list};
	int r = 0;

	while (r == 0 && !f.short_of)
		r = take_record(s, &f, &m, err);
	if (r < 0)
		return r;
	if (f.short_of)
		return err_set(err, -EIO,
		    "the guest's answer to what is set up is not whole: its "
		    "shell, stat or sha256sum is not what it should be");
	return 0;
}
