/* SPDX-License-Identifier: Apache-2.0
 *
 * Images that a script of ours builds: it holds the know-how and the cache.
 * Its "progress" lines become progress, its "image" line the result, all else
 * lines of the log.  The drivers that build are thin: which script, and which
 * files it makes.  Knows nothing of what is in an image.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "drivers/image_script.h"
#include "host/child.h"
#include "host/spawn.h"

#define CHECK_TIMEOUT (60 * USEC_PER_SEC)
#define BUILD_TIMEOUT (3600 * USEC_PER_SEC) /* a slow line, 50 MB */
#define LINE_MAX_LEN  4096
#define STATUS_ABSENT 3 /* --check: not in the cache */

struct image {
	struct driver_env env;
	const struct image_script *script;
	struct image_look look;
	struct child *child;
	struct op *op;
	bool check;
	struct buf line[2];  /* of stdout and stderr, not yet whole */
	char sentence[512];  /* why the script gave up */
	bool spokesman_said; /* sentence is the script's own, not a tool's */
	struct image_look found;
	char *init; /* of the spec, or NULL */
};

static void log_line_of(struct image *i, const char *line)
{
	_cleanup_buf_ struct buf b = {0};

	buf_printf(&b, "%s\n", line);
	if (i->env.log)
		i->env.log(i->env.owner, b.data, b.len);
}

/* "progress PERCENT WORDS" */
static void take_progress(struct image *i, const char *words)
{
	char *end;
	long percent = strtol(words, &end, 10);

	end += strspn(end, " ");
	op_progress(
	    i->op, percent < 0 ? -1 : (int)MIN(percent, 100), "%s", end);
}

/* "image DIRECTORY DIGEST": the digest has no blank in it. */
static void take_image(struct image *i, const char *words)
{
	const char *blank = strrchr(words, ' ');
	_cleanup_free_ char *dir = NULL;

	if (!blank || blank == words || words[0] != '/' ||
	    blank - words > IMAGE_DIR_MAX)
		return;
	dir = xstrndup(words, (size_t)(blank - words));
	snprintf(i->found.version, sizeof(i->found.version), "%s", blank + 1);
	i->found.ready = i->script->fill(dir, &i->found);
}

/* The first words of the script itself say best what happened; until then the
 * last line of whoever spoke. */
static void take_stderr(struct image *i, const char *line)
{
	size_t len = strlen(i->script->spokesman);
	bool own = strncmp(line, i->script->spokesman, len) == 0 &&
		   strncmp(line + len, ": ", 2) == 0;

	log_line_of(i, line);
	if (i->spokesman_said || !*line)
		return;
	i->spokesman_said = own;
	snprintf(i->sentence, sizeof(i->sentence), "%s",
	    own ? line + len + 2 : line);
}

static void take_line(struct image *i, const char *line, bool is_stderr)
{
	if (is_stderr)
		take_stderr(i, line);
	else if (strncmp(line, "progress ", 9) == 0)
		take_progress(i, line + 9);
	else if (strncmp(line, "image ", 6) == 0)
		take_image(i, line + 6);
	else
		log_line_of(i, line);
}

static void on_output(
    const char *data, size_t len, bool is_stderr, void *userdata)
{
	struct image *i = userdata;
	struct buf *b = &i->line[is_stderr];

	for (size_t k = 0; k < len; k++) {
		if (data[k] != '\n') {
			if (b->len < LINE_MAX_LEN && data[k])
				buf_putc(b, data[k]);
			continue;
		}
		take_line(i, buf_str(b), is_stderr);
		buf_clear(b);
	}
}

static int conclude(struct image *i, int code, int status, struct err *err)
{
	const char *what = i->script->what;

	if (code == -ETIMEDOUT)
		return err_set(err, -ETIMEDOUT,
		    "the %s: %s did not end in time", what,
		    i->check ? "the look into its cache" : "the build");
	if (code < 0)
		return err_set(
		    err, code, "building the %s was cancelled", what);
	if (i->check && status == STATUS_ABSENT)
		return 0;
	if (status != 0)
		return err_set(err, -EIO, "the %s: %s", what,
		    i->sentence[0] ? i->sentence
				   : "the script that builds it ended without "
				     "a word; is it executable?");
	if (!i->found.ready)
		return err_set(err, -EIO,
		    "the %s was built, but can't be read: rackfs has no right "
		    "to its cache, or it is full",
		    what);
	return 0;
}

static void on_done(int code, int status, void *userdata)
{
	struct image *i = userdata;
	struct op *op = TAKE_PTR(i->op);
	struct err err = ERR_INIT;

	for (int k = 0; k < 2; k++)
		if (i->line[k].len)
			take_line(i, buf_str(&i->line[k]), k == 1);
	child_free(TAKE_PTR(i->child));
	code = conclude(i, code, status, &err);
	if (i->init)
		snprintf(i->found.init, sizeof(i->found.init), "%s", i->init);
	i->look = code == 0 ? i->found : (struct image_look){0};
	op_done(op, code, &err);
}

static void cancel(struct op *op)
{
	struct image *i = op->driver_data;

	child_kill(i->child);
}

/* In the source tree data_dir is its root or backend/; installed, it is the
 * folder that holds netboot/. */
static char *find_script(const struct image_script *s, const char *data_dir)
{
	static const char *const places[] = {"", "backend/"};

	for (size_t k = 0; k < ARRAY_SIZE(places); k++) {
		_cleanup_free_ char *path =
		    xasprintf("%s/%s%s", data_dir, places[k], s->path);
		if (access(path, X_OK) == 0)
			return TAKE_PTR(path);
	}
	return NULL;
}

/* A name of Debian (policy manual, 5.6.7): so it can't be taken for an option
 * or a path. */
static bool is_package_name(const char *s)
{
	return strlen(s) >= 2 && (islower(*s) || isdigit(*s)) &&
	       s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789+-.")] == '\0';
}

static int run(struct image *i, bool check, const struct image_slice *slice,
    struct op *op, struct err *err)
{
	_cleanup_free_ char *script = find_script(i->script, slice->data_dir);
	_cleanup_strv_ char **argv = NULL;
	int r;

	if (!script)
		return err_set(err, -ENOENT,
		    "the script that builds the %s is not there: %s/%s",
		    i->script->what, slice->data_dir, i->script->path);
	strv_push(&argv, script);
	if (check)
		strv_push(&argv, "--check");
	strv_push(&argv, slice->cache_dir);
	for (char *const *p = slice->packages; p && *p; p++) {
		if (!is_package_name(*p))
			return err_set(err, -EINVAL,
			    "packages: \"%s\" is no name of a Debian package",
			    *p);
		strv_push(&argv, *p);
	}
	free(i->init);
	i->init = xstrdup(slice->init);
	i->check = check;
	i->found = (struct image_look){0};
	i->sentence[0] = '\0';
	i->spokesman_said = false;
	buf_clear(&i->line[0]);
	buf_clear(&i->line[1]);
	struct child_options o = {.argv = argv,
	    .stdin_fd = -1,
	    .timeout = check ? CHECK_TIMEOUT : BUILD_TIMEOUT,
	    .output = on_output,
	    .done = on_done,
	    .userdata = i};
	r = child_start(i->env.loop, &o, &i->child, err);
	if (r < 0)
		return r;
	i->op = op;
	op->driver_data = i;
	op->cancel = cancel;
	return 0;
}

int image_script_available(struct err *err)
{
	_cleanup_free_ char *path = NULL;

	/* The script looks for what else it needs. */
	if (spawn_find("apt-get", &path, NULL) < 0)
		return err_set(err, -ENOENT,
		    "apt-get is not installed: images are built on Debian "
		    "only; elsewhere give your own, see docs/IMAGES.md");
	return 0;
}

int image_script_open(
    const struct image_script *script, const struct driver_env *env, void **ret)
{
	struct image *i = xcalloc(1, sizeof(*i));

	i->env = *env;
	i->script = script;
	*ret = i;
	return 0;
}

void image_script_close(void *self)
{
	struct image *i = self;

	if (!i)
		return;
	child_free(i->child);
	buf_done(&i->line[0]);
	buf_done(&i->line[1]);
	free(i->init);
	free(i);
}

int image_script_observe(
    void *self, const struct image_slice *slice, struct op *op, struct err *err)
{
	return run(self, true, slice, op, err);
}

void image_script_look(void *self, struct image_look *ret)
{
	struct image *i = self;

	*ret = i->look;
}

int image_script_ensure(
    void *self, const struct image_slice *slice, struct op *op, struct err *err)
{
	return run(self, false, slice, op, err);
}

bool image_script_file(
    const char *dir, const char *name, char ret[IMAGE_PATH_MAX])
{
	snprintf(ret, IMAGE_PATH_MAX, "%s/%s", dir, name);
	return access(ret, R_OK) == 0;
}
