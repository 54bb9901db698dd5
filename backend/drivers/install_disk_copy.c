/* SPDX-License-Identifier: Apache-2.0
 *
 * How a disk image becomes the file of a disk, by qemu-img.  Its order:
 * looking into the file that is there -> copying -> growing -> syncing ->
 * renamed, and synced again -> the NoCloud disk.  Called by install_disk.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "drivers/install_disk.h"
#include "host/seed.h"

#define WORDS_MAX    1024 /* bytes of stderr that are kept */
#define SECTOR       512ULL
#define LOOK_TIMEOUT (60 * USEC_PER_SEC)

/* --- programs ------------------------------------------------------------- */

static void on_words(struct install *in, const char *data, size_t len)
{
	if (in->words.len < WORDS_MAX)
		buf_append(
		    &in->words, data, MIN(len, WORDS_MAX - in->words.len));
}

/* "    (12.34/100%)\r" */
static void on_progress(struct install *in)
{
	const char *at = strrchr(buf_str(&in->line), '(');
	double percent;
	uint64_t done;

	if (!at || sscanf(at, "(%lf/100%%)", &percent) != 1 || percent < 0 ||
	    percent > 100)
		return;
	done = (uint64_t)(percent / 100 * (double)in->image->size);
	op_progress(in->call.op, (int)MIN(percent, 99.0),
	    "copying: %" PRIu64 " of %" PRIu64 " MB", done / 1000000,
	    (in->image->size + 999999) / 1000000);
}

static void on_output(
    const char *data, size_t len, bool is_stderr, void *userdata)
{
	struct install *in = userdata;

	if (is_stderr) {
		on_words(in, data, len);
		return;
	}
	for (size_t i = 0; i < len; i++) {
		if (data[i] != '\r' && data[i] != '\n') {
			if (in->line.len < 512)
				buf_putc(&in->line, data[i]);
			continue;
		}
		/* Of `qemu-img map`. */
		if (strstr(buf_str(&in->line), "\"data\": true"))
			in->has_data = true;
		on_progress(in);
		buf_clear(&in->line);
	}
}

static void tell_failure(struct install *in, int code)
{
	_cleanup_buf_ struct buf shown = {0};
	size_t len = in->words.len;

	while (len && in->words.data[len - 1] == '\n')
		len--;
	buf_escaped(&shown, buf_str(&in->words), len);
	for (size_t i = 0; i < shown.len; i++)
		if (shown.data[i] == '\n')
			shown.data[i] = ' ';
	if (strstr(buf_str(&in->words), "No space left on device"))
		code = err_set(&in->call.err, -ENOSPC,
		    "this host has no room left for %s: %s", in->path,
		    buf_str(&shown));
	else
		err_set(&in->call.err, code, "%s for %s failed: %s", in->doing,
		    in->path, shown.len ? buf_str(&shown) : strerror(-code));
	whole_finish(in, code);
}

static void on_done(int code, int status, void *userdata)
{
	struct install *in = userdata;

	child_free(TAKE_PTR(in->child));
	if (!op_waits(&in->call))
		return;
	if (code || status)
		tell_failure(in, code ? code : -EIO);
	else
		in->after(in);
}

/* Takes argv. */
static void run(struct install *in, const char *doing, char **argv,
    uint64_t timeout, void (*after)(struct install *in))
{
	_cleanup_strv_ char **owned = argv;
	_cleanup_free_ char *line = strv_quote(owned);
	_cleanup_free_ char *text = xasprintf("$ %s\n", line);
	int r;

	if (in->call.ending)
		return;
	if (in->env->log)
		in->env->log(in->env->owner, text, strlen(text));
	in->doing = doing;
	in->after = after;
	buf_clear(&in->words);
	buf_clear(&in->line);
	r = child_start(in->env->loop,
	    &(struct child_options){
		.argv = owned,
		.stdin_fd = -1,
		.timeout = timeout,
		.output = on_output,
		.done = on_done,
		.userdata = in,
	    },
	    &in->child, &in->call.err);
	if (r < 0)
		whole_finish(in, r);
}

/* --- steps ------------------------------------------------------------- */

void whole_write_seed(struct install *in)
{
	int r = 0;

	if (in->seed)
		r = seed_write(in->seed, in->user_data, in->meta_data,
		    in->network_config, &in->call.err);
	whole_finish(in, r);
}

static void after_rename(struct install *in)
{
	if (whole_read_mark(in, in->path, &in->call.err) < 0)
		whole_finish(in, in->call.err.code);
	else
		whole_write_seed(in);
}

/* The mark first: it names the file under whatever name, and without the file
 * it says nothing. */
static void put_in_place(struct install *in)
{
	_cleanup_free_ char *mark = whole_mark_path(in);
	_cleanup_buf_ struct buf text = {0};
	int r = whole_mark_text(
	    in->image->digest, in->temporary, &text, &in->call.err);

	if (r < 0) {
		whole_finish(in, r);
		return;
	}
	r = file_replace(AT_FDCWD, mark, text.data, text.len, 0600);
	if (r == 0 && rename(in->temporary, in->path) < 0)
		r = -errno;
	if (r < 0) {
		err_errno(
		    &in->call.err, r, "%s can't be put in place", in->path);
		whole_finish(in, r);
		return;
	}
	run(in, "syncing",
	    strv_new("sync", "--", mark, in->folder, in->env->state_dir, NULL),
	    0, after_rename);
}

static void sync_file(struct install *in)
{
	op_progress(in->call.op, 99, "copying: writing it out");
	run(in, "syncing", strv_new("sync", "--", in->temporary, NULL), 0,
	    put_in_place);
}

static void grow(struct install *in)
{
	char size[24];

	snprintf(size, sizeof(size), "%llu",
	    (in->size + SECTOR - 1) / SECTOR * SECTOR);
	if (in->image->size >= in->size) {
		sync_file(in);
		return;
	}
	run(in, "growing",
	    strv_new("qemu-img", "resize", "-q", "-f",
		disk_format_name(in->format), "--", in->temporary, size, NULL),
	    0, sync_file);
}

/* Blocks that both share: on btrfs and XFS, at once. */
static bool clone(struct install *in)
{
	_cleanup_close_ int from = -1, to = -1;

	if (in->image->format != FORMAT_RAW || in->format != FORMAT_RAW)
		return false;
	from = open(in->image->source, O_RDONLY | O_CLOEXEC);
	to = open(in->temporary,
	    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	return from >= 0 && to >= 0 && ioctl(to, FICLONE, from) == 0;
}

/* What was copied must be what was there when it began. */
static void check_source(struct install *in)
{
	const struct stat *a = &in->began;
	struct stat b;

	if (stat(in->image->source, &b) == 0 && a->st_ino == b.st_ino &&
	    a->st_size == b.st_size && a->st_mtim.tv_sec == b.st_mtim.tv_sec &&
	    a->st_mtim.tv_nsec == b.st_mtim.tv_nsec) {
		grow(in);
		return;
	}
	err_set(&in->call.err, -EAGAIN,
	    "%s changed or vanished while it was copied", in->image->source);
	whole_finish(in, -EAGAIN);
}

/* Never what the image says is behind it: that could be any file here. */
static char *source_name(const struct install *in)
{
	_cleanup_buf_ struct buf b = {0};

	buf_printf(&b, "json:{\"driver\":\"%s\",",
	    disk_format_name(in->image->format));
	if (in->image->format == FORMAT_QCOW2)
		buf_puts(&b, "\"backing\":null,");
	buf_puts(&b, "\"file\":{\"driver\":\"file\",\"filename\":");
	buf_json_string(&b, in->image->source);
	buf_puts(&b, "}}");
	return buf_take(&b);
}

static void copy(struct install *in)
{
	_cleanup_free_ char *source = source_name(in);
	_cleanup_close_ int fd = -1;

	if (in->has_data) {
		err_set(&in->call.err, -EEXIST,
		    "the disk %s holds data that no install put there; "
		    "nothing was written; to throw it away, stop the node and "
		    "write \"wipe\" to its state",
		    in->path);
		whole_finish(in, -EEXIST);
		return;
	}
	unlink(in->temporary);
	if (clone(in)) {
		grow(in);
		return;
	}
	fd = open(in->temporary,
	    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		int r = err_errno(
		    &in->call.err, -errno, "%s can't be made", in->temporary);
		whole_finish(in, r);
		return;
	}
	op_progress(in->call.op, 0, "copying");
	run(in, "copying the image",
	    strv_new("qemu-img", "convert", "-p", "-O",
		disk_format_name(in->format), source, in->temporary, NULL),
	    0, check_source);
}

/* A file that is there may be blank: the machine made it, or may hold data. */
void whole_copy(struct install *in)
{
	struct stat st;

	in->has_data = false;
	if (stat(in->path, &st) < 0) {
		copy(in);
		return;
	}
	op_progress(in->call.op, -1, "looking into the disk");
	run(in, "looking into the disk",
	    strv_new("qemu-img", "map", "--output=json", "-f",
		disk_format_name(in->format), "--", in->path, NULL),
	    LOOK_TIMEOUT, copy);
}
