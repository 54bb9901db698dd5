/* SPDX-License-Identifier: Apache-2.0
 *
 * What a launch folder remembers, for a daemon that was not there:
 *
 *   run          what is plugged, the accelerator (JSON; rewritten by apply)
 *   events.out   QEMU's events as they came, written by QEMU itself: the file
 *                is the output of a second monitor
 *   events.in    that monitor's input, a FIFO that QEMU holds open both ways
 *   stopped      stop() was about to end it
 *   stderr       of QEMU (launch.h)
 *   hidden       words of qemu.args (machine_qemu_hide.c)
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "machine_qemu.h"

#define RUN_MAX       (64 * KIB)
#define EVENTS_TAIL   (64 * KIB) /* the end is what counts */
#define STDERR_TAIL   4096
#define BOOT_ID       "/proc/sys/kernel/random/boot_id"
#define CAPABILITIES  "{\"execute\":\"qmp_capabilities\"}\n"
#define STATUS_SIGNAL 128

static void boot_id(struct buf *ret)
{
	if (file_read(AT_FDCWD, BOOT_ID, 64, ret) < 0)
		buf_puts(ret, "unknown");
	if (ret->len && ret->data[ret->len - 1] == '\n')
		ret->data[--ret->len] = '\0';
}

int qemu_record_save(int folder, const struct qemu_record *r)
{
	_cleanup_buf_ struct buf b = {0}, boot = {0};

	boot_id(&boot);
	buf_puts(&b, "{\"boot_id\":");
	buf_json_string(&b, buf_str(&boot));
	buf_puts(&b, ",\"accel\":");
	buf_json_string(&b, r->accel);
	buf_puts(&b, ",\"accel_why\":");
	buf_json_string(&b, r->accel_why);
	buf_printf(&b, ",\"identity\":%s,\"said\":%llu,\"nics\":[",
	    r->identity ? "true" : "false", (unsigned long long)r->said);
	for (size_t i = 0; i < r->n_nics; i++)
		buf_printf(&b, "%s{\"incarnation\":%lld,\"up\":%s}",
		    i ? "," : "", (long long)r->nics[i].incarnation,
		    r->nics[i].link == LINK_UP ? "true" : "false");
	buf_puts(&b, "]}\n");
	return file_replace(folder, "run", b.data, b.len, 0600);
}

static json_t *load_run(int folder)
{
	_cleanup_buf_ struct buf b = {0};

	if (file_read(folder, "run", RUN_MAX, &b) < 0)
		return NULL;
	return json_loadb(buf_str(&b), b.len, 0, NULL);
}

static void get_text(const json_t *run, const char *key, char *to, size_t size)
{
	const char *s = json_string_value(json_object_get(run, key));

	snprintf(to, size, "%s", s ? s : "");
}

int qemu_record_load(int folder, struct qemu_record *ret)
{
	struct qemu_record r = {0};
	json_t *run = load_run(folder);
	const json_t *nics = json_object_get(run, "nics");

	if (!run)
		return -ENODATA;
	get_text(run, "accel", r.accel, sizeof(r.accel));
	get_text(run, "accel_why", r.accel_why, sizeof(r.accel_why));
	r.identity = json_is_true(json_object_get(run, "identity"));
	r.said = (uint64_t)json_integer_value(json_object_get(run, "said"));
	r.n_nics = MIN(json_array_size(nics), (size_t)NICS_MAX);
	for (size_t i = 0; i < r.n_nics; i++) {
		const json_t *n = json_array_get(nics, i);
		r.nics[i].incarnation = (uint64_t)json_integer_value(
		    json_object_get(n, "incarnation"));
		r.nics[i].link = json_is_false(json_object_get(n, "up"))
				     ? LINK_DOWN
				     : LINK_UP;
	}
	json_decref(run);
	*ret = r;
	return 0;
}

int qemu_record_stopped(int folder)
{
	return file_replace(folder, "stopped", "", 0, 0600);
}

int qemu_record_events(int folder, int *ret_fifo, struct err *err)
{
	_cleanup_close_ int out = -1, fifo = -1;

	out = openat(folder, "events.out",
	    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (out < 0 || mkfifoat(folder, "events.in", 0600) < 0)
		return err_errno(err, -errno, "files for QEMU's events");
	fifo = openat(folder, "events.in", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fifo < 0)
		return err_errno(err, -errno, "events.in");
	int r = write_all(fifo, CAPABILITIES, strlen(CAPABILITIES));
	if (r < 0)
		return err_errno(err, r, "events.in");
	*ret_fifo = TAKE_FD(fifo);
	return 0;
}

void qemu_record_events_again(int folder)
{
	_cleanup_close_ int out = -1, fifo = -1;
	char data[1024];
	ssize_t n;

	out = openat(folder, "events.out", O_RDONLY | O_CLOEXEC);
	n = out < 0 ? 0 : pread(out, data, sizeof(data), 0);
	/* The greeting, then the answer to qmp_capabilities. */
	if (n <= 0 || memmem(data, (size_t)n, "\"return\"", 8))
		return;
	fifo = openat(folder, "events.in", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fifo >= 0)
		write_all(fifo, CAPABILITIES, strlen(CAPABILITIES));
}

/* The last `max` bytes of a file. */
static void read_tail(int folder, const char *name, size_t max, struct buf *ret)
{
	_cleanup_close_ int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return;
	_cleanup_free_ char *data = xmalloc(max);
	off_t from = st.st_size > (off_t)max ? st.st_size - (off_t)max : 0;
	ssize_t n = pread(fd, data, max, from);
	if (n > 0)
		buf_append(ret, data, (size_t)n);
}

static void copy_reason(const json_t *event, char *to, size_t size)
{
	const char *s = json_string_value(
	    json_object_get(json_object_get(event, "data"), "reason"));

	snprintf(to, size, "%s", s ? s : "");
}

/* The reason of the last SHUTDOWN ("" when there is none), panics, and whether
 * QEMU wrote its events at all. */
static bool read_events(
    int folder, char *reason, size_t size, bool *ret_panicked)
{
	_cleanup_buf_ struct buf b = {0};
	bool answered = false;

	reason[0] = '\0';
	*ret_panicked = false;
	read_tail(folder, "events.out", EVENTS_TAIL, &b);
	for (const char *line = buf_str(&b); *line;) {
		size_t len = strcspn(line, "\n");
		json_t *message = json_loadb(line, len, JSON_ALLOW_NUL, NULL);
		const char *name =
		    json_string_value(json_object_get(message, "event"));
		if (name || json_object_get(message, "return"))
			answered = true;
		if (name && STREQ(name, "GUEST_PANICKED"))
			*ret_panicked = true;
		if (name && STREQ(name, "SHUTDOWN"))
			copy_reason(message, reason, size);
		json_decref(message);
		line += len;
		line += *line == '\n';
	}
	return answered;
}

void qemu_record_words(int folder, struct buf *ret)
{
	_cleanup_buf_ struct buf b = {0};
	size_t from = 0, len = 0;

	read_tail(folder, "stderr", STDERR_TAIL, &b);
	const char *s = buf_str(&b);
	for (size_t at = 0; at < b.len;) {
		size_t n = strcspn(s + at, "\n");
		/* A warning is said by machines that run well, too. */
		if (n > 0 && !memmem(s + at, n, ": warning: ", 11)) {
			from = at;
			len = n;
		}
		at += n + 1;
	}
	if (len > sizeof(QEMU_PROGRAM) && strncmp(s + from, QEMU_PROGRAM ": ",
					      sizeof(QEMU_PROGRAM) + 1) == 0) {
		from += sizeof(QEMU_PROGRAM) + 1;
		len -= sizeof(QEMU_PROGRAM) + 1;
	}
	_cleanup_buf_ struct buf shown = {0};
	qemu_hide(folder, s + from, len, &shown);
	buf_escaped(ret, buf_str(&shown), shown.len);
}

static bool other_boot(int folder)
{
	_cleanup_buf_ struct buf boot = {0};
	char then[64];
	json_t *run = load_run(folder);

	boot_id(&boot);
	get_text(run, "boot_id", then, sizeof(then));
	json_decref(run);
	return then[0] && !STREQ(then, buf_str(&boot));
}

static void describe_crash(
    int folder, int code, int status, char *text, size_t size)
{
	_cleanup_buf_ struct buf words = {0};

	qemu_record_words(folder, &words);
	if (code < 0)
		snprintf(text, size, "ended while nobody looked%s%s",
		    words.len ? ": " : ", as if it was killed",
		    buf_str(&words));
	else if (status > STATUS_SIGNAL)
		snprintf(text, size, "signal %d (%s)%s%s",
		    status - STATUS_SIGNAL, strsignal(status - STATUS_SIGNAL),
		    words.len ? ": " : "", buf_str(&words));
	else
		snprintf(text, size, "exit status %d%s%s", status,
		    words.len ? ": " : "", buf_str(&words));
}

enum machine_end qemu_record_end(
    int folder, int code, int status, char *text, size_t size)
{
	char reason[64];
	bool panicked;
	struct stat st;

	if (other_boot(folder)) {
		snprintf(text, size, "the host was started again");
		return END_NONE;
	}
	bool told = read_events(folder, reason, sizeof(reason), &panicked);
	if (fstatat(folder, "stopped", &st, 0) == 0 ||
	    STREQ(reason, "host-qmp-quit")) {
		snprintf(text, size, "stopped");
		return END_STOPPED;
	}
	if (panicked || STREQ(reason, "guest-panic")) {
		snprintf(text, size, "the guest panicked");
		return END_PANIC;
	}
	if (STREQ(reason, "guest-shutdown")) {
		snprintf(text, size, "the guest powered itself off");
		return END_POWEROFF;
	}
	if (STREQ(reason, "guest-reset") ||
	    STREQ(reason, "host-qmp-system-reset")) {
		snprintf(text, size, "the guest asked for a reboot");
		return END_REBOOT;
	}
	describe_crash(folder, code, status, text, size);
	/* Nobody saw how it ended, and it left no word. */
	if (code < 0 && !told)
		return END_NONE;
	return END_CRASHED;
}
