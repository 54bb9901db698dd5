/* SPDX-License-Identifier: Apache-2.0
 *
 * The image that we build: runs backend/netboot/build-image.sh, which holds
 * the know-how and the cache.  Its "progress" lines become progress, its
 * "image" line the result, all else lines of the log.  Knows nothing of what
 * is in the image.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "drivers/drivers.h"
#include "host/child.h"
#include "host/spawn.h"

#define CHECK_TIMEOUT (60 * USEC_PER_SEC)
#define BUILD_TIMEOUT (3600 * USEC_PER_SEC) /* a slow line, 50 MB */
#define LINE_MAX_LEN  4096
#define STATUS_ABSENT 3 /* --check: not in the cache */
#define SPOKESMAN     "build-image: "

struct image {
	struct driver_env env;
	struct image_look look;
	struct child *child;
	struct op *op;
	bool check;
	struct buf line[2];  /* of stdout and stderr, not yet whole */
	char sentence[512];  /* why the script gave up */
	bool spokesman_said; /* sentence is the script's own, not a tool's */
	struct image_look found;
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
	struct image_look *f = &i->found;
	const char *blank = strrchr(words, ' ');
	int len = blank ? (int)(blank - words) : 0;

	if (!len || words[0] != '/' ||
	    (size_t)len + sizeof("/disk-initrd") > sizeof(f->kernel))
		return;
	snprintf(f->kernel, sizeof(f->kernel), "%.*s/kernel", len, words);
	snprintf(f->initrd, sizeof(f->initrd), "%.*s/initrd", len, words);
	snprintf(f->disk_initrd, sizeof(f->disk_initrd), "%.*s/disk-initrd",
	    len, words);
	snprintf(
	    f->modules, sizeof(f->modules), "%.*s/modules.tar", len, words);
	snprintf(f->version, sizeof(f->version), "%s", blank + 1);
	f->ready = true;
}

/* The first words of the script itself say best what happened; until then the
 * last line of whoever spoke. */
static void take_stderr(struct image *i, const char *line)
{
	bool own = strncmp(line, SPOKESMAN, strlen(SPOKESMAN)) == 0;

	log_line_of(i, line);
	if (i->spokesman_said || !*line)
		return;
	i->spokesman_said = own;
	snprintf(i->sentence, sizeof(i->sentence), "%s",
	    own ? line + strlen(SPOKESMAN) : line);
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
	if (code == -ETIMEDOUT)
		return err_set(err, -ETIMEDOUT,
		    "the netboot image: %s did not end in time",
		    i->check ? "the look into its cache" : "the build");
	if (code < 0)
		return err_set(err, code,
		    "building the netboot image was "
		    "cancelled");
	if (i->check && status == STATUS_ABSENT)
		return 0;
	if (status != 0)
		return err_set(err, -EIO, "the netboot image: %s",
		    i->sentence[0] ? i->sentence
				   : "the script that builds it ended without "
				     "a word; is it executable?");
	if (!i->found.ready || access(i->found.kernel, R_OK) < 0 ||
	    access(i->found.initrd, R_OK) < 0)
		return err_set(err, -EIO,
		    "the netboot image was built, but %s can't be read",
		    i->found.ready ? i->found.kernel : "what the script named");
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
static char *find_script(const char *data_dir)
{
	static const char *const places[] = {
	    "netboot/build-image.sh", "backend/netboot/build-image.sh"};

	for (size_t k = 0; k < ARRAY_SIZE(places); k++) {
		_cleanup_free_ char *path =
		    xasprintf("%s/%s", data_dir, places[k]);
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
	_cleanup_free_ char *script = find_script(slice->data_dir);
	_cleanup_strv_ char **argv = NULL;
	int r;

	if (!script)
		return err_set(err, -ENOENT,
		    "the script that builds the netboot image is not there: "
		    "%s/netboot/build-image.sh",
		    slice->data_dir);
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

static int netboot_available(struct err *err)
{
	_cleanup_free_ char *path = NULL;

	/* The script looks for what else it needs. */
	if (spawn_find("apt-get", &path, NULL) < 0)
		return err_set(err, -ENOENT,
		    "apt-get is not installed: images are built on Debian "
		    "only; elsewhere give kernel and initrd");
	return 0;
}

static int netboot_open(
    const struct driver_env *env, void **ret, struct err *err)
{
	struct image *i = xcalloc(1, sizeof(*i));

	i->env = *env;
	*ret = i;
	return 0;
}

static void netboot_close(void *self)
{
	struct image *i = self;

	if (!i)
		return;
	child_free(i->child);
	buf_done(&i->line[0]);
	buf_done(&i->line[1]);
	free(i);
}

static int netboot_observe(
    void *self, const struct image_slice *slice, struct op *op, struct err *err)
{
	return run(self, true, slice, op, err);
}

static void netboot_look(void *self, struct image_look *ret)
{
	struct image *i = self;

	*ret = i->look;
}

static int netboot_ensure(
    void *self, const struct image_slice *slice, struct op *op, struct err *err)
{
	return run(self, false, slice, op, err);
}

const struct image_driver image_netboot = {
    .name = "netboot",
    .help = "builds our netboot image from Debian packages",
    .available = netboot_available,
    .open = netboot_open,
    .close = netboot_close,
    .observe = netboot_observe,
    .look = netboot_look,
    .ensure = netboot_ensure,
};
