// SPDX-License-Identifier: Apache-2.0
/*
 * What has changed, told three ways: bits for the face (coalesced: once a
 * round for each object), lines of `events` (numbered, written with write(2)
 * before they can be seen), and lines of an object's `log`.  Files that grow
 * keep their offsets: the oldest bytes are given back to the file system.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/engine.h"
#include "log.h"

/* While the disk is full. */
#define EVENTS_WAITING_MAX MIB
#define EVENTS_RETRY       USEC_PER_SEC

/* What a change of an object is for the files of the whole cluster. */
static unsigned for_all(const struct object *o, unsigned aspects)
{
	unsigned bits =
	    aspects & (ASPECT_OBSERVED | ASPECT_PROGRESS | ASPECT_PORTS |
			  ASPECT_REACH | ASPECT_LINKS);

	/* status.json of all has them with their specs and errors. */
	if ((o->kind == OBJECT_NETWORK || o->kind == OBJECT_IMAGE) &&
	    (aspects &
		(ASPECT_SPEC | ASPECT_STATE | ASPECT_ERROR | ASPECT_OBSERVED)))
		bits |= ASPECT_STATUS;
	if (o->kind != OBJECT_IMAGE && (aspects & (ASPECT_SPEC | ASPECT_STATE)))
		bits |= ASPECT_LINKS;
	return bits;
}

void touch(struct object *o, unsigned aspects)
{
	struct cluster *c = o->c;
	uint64_t now = now_real();
	unsigned all = for_all(o, aspects);

	if (o == &c->o)
		aspects |= all;
	else if (all)
		touch(&c->o, all);
	for (unsigned i = 0; i < ASPECT_BITS; i++) {
		if (!(aspects & 1u << i))
			continue;
		o->changed_at[i] = now;
		o->version[i]++;
	}
	if (o->gone)
		return;
	if (!o->changed) {
		object_ref(o);
		o->next_changed = NULL;
		*c->changed_last = o;
		c->changed_last = &o->next_changed;
		if (c->tell)
			loop_kick(c->tell);
	}
	o->changed |= aspects;
}

/* Runs from the loop. */
void tell_changes(void *cluster)
{
	struct cluster *c = cluster;
	struct object *o = c->changed_first;

	c->changed_first = NULL;
	c->changed_last = &c->changed_first;
	while (o) {
		struct object *next = o->next_changed;
		unsigned aspects = o->changed;

		o->changed = 0;
		o->next_changed = NULL;
		if (c->options.changed && !o->gone)
			c->options.changed(o, aspects, c->options.userdata);
		object_unref(o);
		o = next;
	}
}

/* Gives bytes [from, to) of a growing file back. */
static void give_back(int fd, uint64_t from, uint64_t to)
{
	/* Best effort: a file system without holes keeps the bytes. */
	(void)fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
	    (off_t)from, (off_t)(to - from));
}

/* --- events --- */

static void event_line_start(struct cluster *c, uint64_t seq, uint64_t offset)
{
	c->event_offsets[seq % EVENTS_KEPT] = offset;
}

/* Finds the sequence number in a line that begins with {"seq":N. */
static uint64_t line_seq(const char *line)
{
	unsigned long long seq = 0;

	if (sscanf(line, "{\"seq\":%llu", &seq) != 1)
		return 0;
	return seq;
}

/* Reads what is kept, to know the last number and where lines begin; a line
 * that was cut off by a crash is cut away. */
static int events_scan(struct cluster *c, struct err *err)
{
	_cleanup_buf_ struct buf text = {0};
	off_t data = lseek(c->events_fd, 0, SEEK_DATA);
	off_t end = lseek(c->events_fd, 0, SEEK_END);
	char *line, *stop;

	if (end < 0)
		return err_errno(err, -errno, "can't read the events");
	if (data < 0)
		data = end; /* nothing but a hole, or empty */
	text.data = xmalloc((size_t)(end - data) + 1);
	while (data + (off_t)text.len < end) {
		ssize_t n = pread(c->events_fd, text.data + text.len,
		    (size_t)(end - data) - text.len, data + (off_t)text.len);
		if (n <= 0)
			break;
		text.len += (size_t)n;
	}
	text.data[text.len] = '\0';
	stop = text.data + text.len;
	line = text.data;
	while (line < stop && *line == '\0')
		line++;
	c->events_oldest = (uint64_t)data + (uint64_t)(line - text.data);
	while (line < stop) {
		char *nl = memchr(line, '\n', (size_t)(stop - line));
		uint64_t seq = nl ? line_seq(line) : 0;

		if (!nl)
			break;
		if (seq) {
			c->seq = seq;
			event_line_start(c, seq,
			    (uint64_t)data + (uint64_t)(line - text.data));
		}
		line = nl + 1;
	}
	c->events_size = (uint64_t)data + (uint64_t)(line - text.data);
	if (c->events_size < (uint64_t)end &&
	    ftruncate(c->events_fd, (off_t)c->events_size) < 0)
		return err_errno(err, -errno, "can't mend the events");
	return 0;
}

static bool event_write(struct cluster *c, const char *line, size_t len)
{
	uint64_t seq = line_seq(line);
	ssize_t n = pwrite(c->events_fd, line, len, (off_t)c->events_size);

	if (n != (ssize_t)len) {
		if (n >= 0)
			errno = ENOSPC;
		if (n > 0 && ftruncate(c->events_fd, (off_t)c->events_size) < 0)
			log_warn("half an event is in the file of events");
		return false;
	}
	/* The slot of this line is that of the line EVENTS_KEPT before. */
	if (seq > EVENTS_KEPT && seq % 1000 == 0) {
		uint64_t oldest = c->event_offsets[(seq + 1) % EVENTS_KEPT];

		if (oldest > c->events_oldest) {
			give_back(c->events_fd, 0, oldest);
			c->events_oldest = oldest;
		}
	}
	event_line_start(c, seq, c->events_size);
	c->events_size += len;
	touch(&c->o, ASPECT_EVENTS);
	return true;
}

/* Lines that a full disk did not take, in order, before any later one. */
static void write_waiting(void *cluster)
{
	struct cluster *c = cluster;
	struct buf *b = &c->events_waiting;
	size_t done = 0;

	while (done < b->len) {
		char *line = b->data + done;
		char *end = memchr(line, '\n', b->len - done);
		size_t len = (size_t)(end - line) + 1;

		if (!event_write(c, line, len))
			break;
		done += len;
	}
	memmove(b->data, b->data + done, b->len - done);
	b->len -= done;
	if (b->len)
		loop_timer_set(
		    c->events_timer, loop_now(c->loop) + EVENTS_RETRY);
	else
		log_notice("events can be written again");
}

static void event_wait(struct cluster *c, const struct buf *line)
{
	struct buf *b = &c->events_waiting;

	if (b->len == 0) {
		log_error("events can't be written: %s; they are kept in "
			  "memory until there is room in %s",
		    strerror(errno), c->state_dir);
		loop_timer_set(
		    c->events_timer, loop_now(c->loop) + EVENTS_RETRY);
	}
	/* Beyond that the gap in the numbers tells. */
	if (b->len + line->len <= EVENTS_WAITING_MAX)
		buf_append(b, line->data, line->len);
}

int events_open(struct cluster *c, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/events.jsonl", c->state_dir);

	c->events_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (c->events_fd < 0)
		return err_errno(err, -errno, "can't open %s", path);
	c->event_offsets = xcalloc(EVENTS_KEPT, sizeof(*c->event_offsets));
	int r = loop_add_timer(
	    c->loop, USEC_NEVER, write_waiting, c, &c->events_timer);
	if (r < 0)
		return err_errno(err, r, "the event loop");
	return events_scan(c, err);
}

static void member(struct buf *b, const char *key, const char *value)
{
	if (!value)
		return;
	buf_printf(b, ",\"%s\":", key);
	buf_json_string(b, value);
}

void event(struct object *o, const char *change, const char *from,
    const char *to, const char *file, const char *why_fmt, ...)
{
	struct cluster *c = o->c;
	_cleanup_buf_ struct buf b = {0}, why = {0};
	_cleanup_free_ char *path =
	    o->kind == OBJECT_CLUSTER
		? xstrdup("cluster")
		: xasprintf("%s/%s", kind_folder(o->kind), o->name);
	char when[32];
	va_list ap;

	if (c->events_fd < 0)
		return;
	format_time(now_real(), when);
	buf_printf(&b, "{\"seq\":%llu,\"time\":\"%s\"",
	    (unsigned long long)++c->seq, when);
	member(&b, "object", path);
	member(&b, "change", change);
	member(&b, "file", file);
	member(&b, "from", from);
	member(&b, "to", to);
	if (why_fmt) {
		va_start(ap, why_fmt);
		buf_vprintf(&why, why_fmt, ap);
		va_end(ap);
		member(&b, "why", buf_str(&why));
	}
	buf_puts(&b, "}\n");
	if (c->events_waiting.len || !event_write(c, b.data, b.len))
		event_wait(c, &b);
}

/* --- log --- */

static void log_measure(struct object *o, int fd)
{
	struct stat st;
	off_t data;

	if (o->log_known || fstat(fd, &st) < 0)
		return;
	o->log_size = (uint64_t)st.st_size;
	data = lseek(fd, 0, SEEK_DATA);
	o->log_oldest = data > 0 ? (uint64_t)data : 0;
	o->log_known = true;
}

static int log_open(struct object *o, int flags)
{
	_cleanup_free_ char *dir = object_path(o, o->c->state_dir);
	_cleanup_free_ char *path = xasprintf("%s/log", dir);
	int fd = open(path, flags | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	log_measure(o, fd);
	return fd;
}

void object_log(struct object *o, const char *text, size_t len)
{
	_cleanup_close_ int fd = -1;
	_cleanup_buf_ struct buf b = {0};
	char when[32];

	if (len == 0 || o->gone)
		return;
	fd = log_open(o, O_RDWR | O_CREAT);
	if (fd < 0)
		return;
	format_time(now_real(), when);
	buf_printf(&b, "%s ", when);
	buf_escaped(&b, text, len);
	if (b.data[b.len - 1] != '\n')
		buf_putc(&b, '\n');
	if (pwrite(fd, b.data, b.len, (off_t)o->log_size) != (ssize_t)b.len)
		return;
	o->log_size += b.len;
	if (o->log_size - o->log_oldest > LOG_MAX + LOG_MAX / 4) {
		uint64_t oldest = (o->log_size - LOG_MAX) & ~4095ULL;

		give_back(fd, 0, oldest);
		o->log_oldest = oldest;
	}
	touch(o, ASPECT_LOG);
}

void object_logf(struct object *o, const char *fmt, ...)
{
	_cleanup_buf_ struct buf b = {0};
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	object_log(o, b.data, b.len);
}

/* --- streams --- */

void cluster_stream_stat(struct object *o, enum stream s, uint64_t *ret_run,
    uint64_t *ret_size, uint64_t *ret_oldest)
{
	struct node *n = as_node(o);

	*ret_run = *ret_size = *ret_oldest = 0;
	switch (s) {
	case STREAM_EVENTS:
		*ret_size = o->c->events_size;
		*ret_oldest = o->c->events_oldest;
		break;
	case STREAM_LOG:
		if (!o->log_known) {
			_cleanup_close_ int fd = log_open(o, O_RDONLY);
			(void)fd;
		}
		*ret_size = o->log_size;
		*ret_oldest = o->log_oldest;
		break;
	case STREAM_CONSOLE:
		node_open(n);
		if (n->machine)
			n->driver->machine->console_stat(
			    n->machine, ret_run, ret_size, ret_oldest);
		break;
	}
}

ssize_t cluster_stream_read(struct object *o, enum stream s, uint64_t run,
    uint64_t off, void *data, size_t len)
{
	struct node *n = as_node(o);
	ssize_t r;

	if (s == STREAM_CONSOLE) {
		node_open(n);
		if (!n->machine)
			return 0;
		return n->driver->machine->console_read(
		    n->machine, run, off, data, len);
	}
	if (s == STREAM_EVENTS) {
		r = pread(o->c->events_fd, data, len, (off_t)off);
		return r < 0 ? -errno : r;
	}
	_cleanup_close_ int fd = log_open(o, O_RDONLY);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	r = pread(fd, data, len, (off_t)off);
	return r < 0 ? -errno : r;
}

ssize_t cluster_console_write(struct object *o, const void *data, size_t len)
{
	struct node *n = as_node(o);

	node_open(n);
	if (!n->machine)
		return -ENODEV;
	return n->driver->machine->console_write(n->machine, data, len);
}
