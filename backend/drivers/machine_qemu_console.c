/* SPDX-License-Identifier: Apache-2.0
 *
 * The serial console.  QEMU writes what the machine prints into a log, with or
 * without a daemon, and reads what is typed from a FIFO.  (Not a socket with
 * a log beside it: a full socket stalls the guest, and QEMU 7.2 then logs a
 * byte again with every try.)
 *
 * One log a run: state_dir/console-<launch>.log.  Of each the newest
 * CONSOLE_MAX bytes are kept: what is older is given back to the file system
 * and reads as zeros.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "identity.h"
#include "machine_qemu.h"

#define CONSOLE_MAX (64 * MIB)  /* of a run's log; RACKFS_CONSOLE_MAX */
#define BLOCK       4096        /* what file systems give back */
#define LOOK_SIZE   (256 * KIB) /* bytes a look */
/* From the first byte of some output to a look at all of it. */
#define SETTLE       (10 * USEC_PER_MSEC)
#define POLL         (250 * USEC_PER_MSEC) /* where inotify can't be had */
#define LINE_SIZE    256
#define MARK_LONGEST 64

_Static_assert(sizeof(MARK_WAITING) < MARK_LONGEST, "MARK_LONGEST");
_Static_assert(sizeof(MARK_READY) < MARK_LONGEST, "MARK_LONGEST");

struct qemu_console {
	struct loop *loop;
	char *state_dir;
	struct qemu_console_callbacks cb;
	void *userdata;
	uint64_t max;

	uint64_t launch; /* 0: no run yet */
	int log;
	uint64_t size, oldest, looked;
	uint64_t answer_from; /* a question before it is old */
	struct loop_source *watch, *timer;
	bool caught_up;

	int fd; /* of the FIFO, to type */
	struct loop_source *io;
	bool full; /* a write found no room */

	bool marked;
	uint64_t last_output;
	char carry[MARK_LONGEST]; /* the end of the last look */
	size_t carried;
	char line[LINE_SIZE],
	    last[LINE_SIZE]; /* the present one; the last full */
	size_t line_len, last_len;
};

char *qemu_console_path(const char *state_dir, uint64_t launch)
{
	_cleanup_buf_ struct buf b = {0};

	buf_printf(
	    &b, "%s/console-%llu.log", state_dir, (unsigned long long)launch);
	return buf_take(&b);
}

/* --- files of all runs ------------------------------------------------- */

static uint64_t parse_log_name(const char *name)
{
	unsigned long long n;
	int end = 0;

	if (sscanf(name, "console-%llu.log%n", &n, &end) != 1 || name[end] ||
	    end == 0)
		return 0;
	return n;
}

/* The newest log below `limit`, 0: none. */
static uint64_t newest_below(const char *state_dir, uint64_t limit)
{
	uint64_t newest = 0;
	DIR *dir = opendir(state_dir);

	if (!dir)
		return 0;
	for (struct dirent *e; (e = readdir(dir));) {
		uint64_t n = parse_log_name(e->d_name);
		if (n > newest && n < limit)
			newest = n;
	}
	closedir(dir);
	return newest;
}

uint64_t qemu_console_newest(const char *state_dir)
{
	return newest_below(state_dir, UINT64_MAX);
}

void qemu_console_prune(const char *state_dir, unsigned keep)
{
	uint64_t n = UINT64_MAX;

	while (keep-- > 0 && n)
		n = newest_below(state_dir, n);
	while (n && (n = newest_below(state_dir, n))) {
		_cleanup_free_ char *path = qemu_console_path(state_dir, n);
		if (unlink(path) < 0)
			break;
	}
}

static uint64_t oldest_kept(int fd)
{
	off_t at = lseek(fd, 0, SEEK_DATA);

	return at < 0 ? 0 : (uint64_t)at;
}

/* --- looking at the log -------------------------------------------------- */

static void give_back(struct qemu_console *c)
{
	uint64_t step = MAX(c->max / 16 / BLOCK * BLOCK, (uint64_t)BLOCK);
	uint64_t to;

	if (c->size <= c->max)
		return;
	to = (c->size - c->max) / BLOCK * BLOCK;
	if (to < c->oldest + step)
		return;
	if (fallocate(c->log, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
		(off_t)to) == 0)
		c->oldest = to;
	else
		c->max = UINT64_MAX; /* this file system can't */
}

static void look_at_lines(struct qemu_console *c, const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (data[i] == '\n') {
			if (c->line_len) {
				memcpy(c->last, c->line, c->line_len);
				c->last_len = c->line_len;
			}
			c->line_len = 0;
		} else if (data[i] != '\r' && c->line_len < LINE_SIZE) {
			c->line[c->line_len++] = data[i];
		}
	}
}

/* Is a mark in the carried bytes and data, so that it ends in data? */
static bool has_mark(
    struct qemu_console *c, const char *data, size_t len, const char *mark)
{
	size_t n = strlen(mark);
	char seam[2 * MARK_LONGEST];
	size_t head = MIN(len, n - 1), tail = MIN(c->carried, n - 1);

	if (memmem(data, len, mark, n))
		return true;
	memcpy(seam, c->carry + c->carried - tail, tail);
	memcpy(seam + tail, data, head);
	return memmem(seam, tail + head, mark, n) != NULL;
}

static void carry(struct qemu_console *c, const char *data, size_t len)
{
	if (len >= MARK_LONGEST) {
		memcpy(c->carry, data + len - MARK_LONGEST, MARK_LONGEST);
		c->carried = MARK_LONGEST;
		return;
	}
	size_t keep = MIN(c->carried, MARK_LONGEST - len);
	memmove(c->carry, c->carry + c->carried - keep, keep);
	memcpy(c->carry + keep, data, len);
	c->carried = keep + len;
}

/* Reads on from where the last look ended; true when something was new. */
static bool look_piece(struct qemu_console *c)
{
	_cleanup_free_ char *data = xmalloc(LOOK_SIZE);
	struct stat st;

	if (fstat(c->log, &st) < 0)
		return false;
	c->size = (uint64_t)st.st_size;
	c->looked = MAX(c->looked, MIN(c->oldest, c->size));
	ssize_t n = pread(c->log, data, LOOK_SIZE, (off_t)c->looked);
	if (n <= 0)
		return false;
	bool fresh = c->looked + (uint64_t)n > c->answer_from;
	c->looked += (uint64_t)n;
	look_at_lines(c, data, (size_t)n);
	if (!c->marked)
		c->marked = has_mark(c, data, (size_t)n, MARK_READY);
	bool asks = fresh && has_mark(c, data, (size_t)n, MARK_WAITING);
	carry(c, data, (size_t)n);
	if (fresh)
		c->last_output = now_mono();
	give_back(c);
	if (asks)
		c->cb.asked(c->userdata);
	return true;
}

/* Output comes in single bytes: the first one ends the watch, and the look
 * that takes all of them begins a new one. */
static void on_inotify(const struct inotify_event *event, void *userdata)
{
	struct qemu_console *c = userdata;

	loop_source_free(TAKE_PTR(c->watch));
	loop_timer_set(c->timer, loop_now(c->loop) + SETTLE);
}

static void watch(struct qemu_console *c)
{
	_cleanup_free_ char *path = qemu_console_path(c->state_dir, c->launch);

	if (!c->watch && c->log >= 0)
		loop_add_inotify(
		    c->loop, path, IN_MODIFY, on_inotify, c, &c->watch);
}

static void on_timer(void *userdata)
{
	struct qemu_console *c = userdata;
	uint64_t now = loop_now(c->loop);
	bool was_caught_up = c->caught_up;

	if (c->log < 0)
		return;
	watch(c); /* before the look: nothing falls between */
	bool grew = look_piece(c);
	if (c->looked < c->size)
		loop_timer_set(c->timer, now);
	else if (!c->watch)
		loop_timer_set(c->timer, now + POLL);
	c->caught_up = c->caught_up || c->looked >= c->size;
	if (!was_caught_up && c->caught_up)
		c->cb.caught_up(c->userdata);
	if (grew)
		c->cb.grew(c->userdata);
}

/* --- a run ------------------------------------------------------------- */

int qemu_console_new(struct loop *l, const char *state_dir,
    const struct qemu_console_callbacks *cb, void *userdata,
    struct qemu_console **ret, struct err *err)
{
	struct qemu_console *c = xcalloc(1, sizeof(*c));
	const char *max = getenv("RACKFS_CONSOLE_MAX");

	c->loop = l;
	c->state_dir = xstrdup(state_dir);
	c->cb = *cb;
	c->userdata = userdata;
	c->log = c->fd = -1;
	c->caught_up = true;
	c->max = max ? strtoull(max, NULL, 10) : 0;
	if (c->max == 0)
		c->max = CONSOLE_MAX;
	int r = loop_add_timer(l, USEC_NEVER, on_timer, c, &c->timer);
	if (r < 0) {
		qemu_console_free(c);
		return err_errno(err, r, "console");
	}
	*ret = c;
	return 0;
}

static void drop_input(struct qemu_console *c)
{
	loop_source_free(TAKE_PTR(c->io));
	util_closep(&c->fd);
	c->fd = -1;
	c->full = false;
}

static void drop_log(struct qemu_console *c)
{
	loop_source_free(TAKE_PTR(c->watch));
	util_closep(&c->log);
	c->log = -1;
}

void qemu_console_free(struct qemu_console *c)
{
	if (!c)
		return;
	drop_input(c);
	drop_log(c);
	loop_source_free(c->timer);
	free(c->state_dir);
	free(c);
}

int qemu_console_begin(
    struct qemu_console *c, uint64_t launch, bool adopted, struct err *err)
{
	_cleanup_free_ char *path = qemu_console_path(c->state_dir, launch);
	struct stat st;

	drop_input(c);
	drop_log(c);
	c->launch = launch;
	c->size = c->oldest = c->looked = c->answer_from = 0;
	c->marked = false;
	c->carried = c->line_len = c->last_len = 0;
	c->last_output = now_mono();
	c->caught_up = true;
	c->log = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (c->log < 0 || fstat(c->log, &st) < 0) {
		int r = -errno;
		drop_log(c);
		return err_errno(err, r, "the console's log %s", path);
	}
	c->size = (uint64_t)st.st_size;
	c->oldest = oldest_kept(c->log);
	if (adopted) {
		uint64_t real = now_real(), mono = now_mono();
		uint64_t at = (uint64_t)st.st_mtim.tv_sec * USEC_PER_SEC +
			      (uint64_t)st.st_mtim.tv_nsec / 1000;
		uint64_t ago = real > at ? MIN(real - at, mono) : 0;
		c->last_output = mono - ago;
		c->answer_from = c->size;
		c->caught_up = false;
	}
	loop_timer_set(c->timer, loop_now(c->loop));
	return 0;
}

static void on_io(int fd, uint32_t events, void *userdata)
{
	struct qemu_console *c = userdata;

	if (events & EPOLLOUT && c->full) {
		c->full = false;
		loop_io_events(c->io, 0);
		c->cb.grew(c->userdata);
	}
}

int qemu_console_attach(struct qemu_console *c, int folder)
{
	drop_input(c);
	/* For reading as well: so there is always a reader, and no SIGPIPE
	 * when QEMU ends. */
	c->fd = openat(folder, "console.in", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (c->fd < 0)
		return -errno;
	int r = loop_add_io(c->loop, c->fd, 0, on_io, c, &c->io);
	if (r < 0)
		drop_input(c);
	return r;
}

bool qemu_console_attached(const struct qemu_console *c)
{
	return c->fd >= 0;
}

bool qemu_console_caught_up(const struct qemu_console *c)
{
	return c->caught_up;
}

void qemu_console_end(struct qemu_console *c)
{
	bool grew = false;

	drop_input(c);
	loop_timer_set(c->timer, USEC_NEVER);
	while (c->log >= 0 && look_piece(c))
		grew = true;
	c->caught_up = true;
	if (grew)
		c->cb.grew(c->userdata);
}

/* --- what others see --------------------------------------------------- */

void qemu_console_look(struct qemu_console *c, struct machine_look *ret)
{
	_cleanup_buf_ struct buf b = {0};

	ret->marked = c->marked;
	ret->last_output = c->last_output;
	if (c->line_len)
		buf_escaped(&b, c->line, c->line_len);
	else
		buf_escaped(&b, c->last, c->last_len);
	snprintf(ret->last_line, sizeof(ret->last_line), "%s", buf_str(&b));
}

void qemu_console_stat(struct qemu_console *c, uint64_t *ret_launch,
    uint64_t *ret_size, uint64_t *ret_oldest)
{
	struct stat st;

	*ret_launch = c->launch;
	*ret_size = c->size;
	*ret_oldest = MIN(c->oldest, c->size);
	if (c->log >= 0 && fstat(c->log, &st) == 0)
		*ret_size = (uint64_t)st.st_size;
}

ssize_t qemu_console_read(struct qemu_console *c, uint64_t launch, uint64_t off,
    void *data, size_t len)
{
	_cleanup_close_ int other = -1;
	int fd = c->log;

	if (launch == 0)
		launch = c->launch;
	if (launch == 0)
		return 0;
	if (launch != c->launch || fd < 0) {
		_cleanup_free_ char *path =
		    qemu_console_path(c->state_dir, launch);
		other = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (other < 0)
			return -errno;
		fd = other;
	}
	ssize_t n = pread(fd, data, len, (off_t)off);
	return n < 0 ? -errno : n;
}

ssize_t qemu_console_write(struct qemu_console *c, const void *data, size_t len)
{
	if (c->fd < 0)
		return -EAGAIN;
	ssize_t n = write(c->fd, data, len);
	if (n >= 0)
		return n;
	if (errno != EAGAIN)
		return -errno;
	c->full = true;
	loop_io_events(c->io, EPOLLOUT);
	return -EAGAIN;
}
