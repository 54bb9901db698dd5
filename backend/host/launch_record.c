/* SPDX-License-Identifier: Apache-2.0
 *
 * What a launch leaves behind for the next daemon.  `lock` is flock'd by a
 * descriptor that the program inherits and keeps to its end.  `starting` is
 * flock'd until its exec: who finds both held looks at a child that may still
 * be told to end, and waits.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <time.h>
#include <unistd.h>

#include "host/launch_internal.h"

#define SETTLE_WAIT USEC_PER_SEC
#define SETTLE_STEP (2 * USEC_PER_MSEC)

void launch_name(uint64_t number, char out[32])
{
	snprintf(out, 32, LAUNCH_PREFIX "%" PRIu64, number);
}

static bool parse_name(const char *name, uint64_t *ret)
{
	char *end, again[32];
	uint64_t n;

	if (strncmp(name, LAUNCH_PREFIX, strlen(LAUNCH_PREFIX)) != 0)
		return false;
	n = strtoull(name + strlen(LAUNCH_PREFIX), &end, 10);
	/* No sign, no leading zero, nothing after it, no overflow. */
	launch_name(n, again);
	if (*end || !n || n >= UINT64_MAX / 2 || !STREQ(name, again))
		return false;
	*ret = n;
	return true;
}

static int newest_first(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x < *y) - (*x > *y);
}

int launch_list(int dirfd, uint64_t **ret, size_t *ret_n)
{
	uint64_t *numbers = NULL, number;
	size_t n = 0;
	struct dirent *e;
	DIR *dir;
	int fd;

	fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	dir = fdopendir(fd);
	if (!dir) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	while ((e = readdir(dir))) {
		if (!parse_name(e->d_name, &number))
			continue;
		numbers = xrealloc(numbers, (n + 1) * sizeof(*numbers));
		numbers[n++] = number;
	}
	closedir(dir);
	if (n)
		qsort(numbers, n, sizeof(*numbers), newest_first);
	*ret = numbers;
	*ret_n = n;
	return 0;
}

int launch_boot_id(char out[37])
{
	_cleanup_buf_ struct buf b = {0};
	int rc;

	rc = file_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &b);
	if (rc)
		return rc;
	if (b.len < 36)
		return -EBADMSG;
	memcpy(out, b.data, 36);
	out[36] = '\0';
	return 0;
}

/* proc(5): field 3 is the state, field 22 the start time.  Field 2, the name,
 * may hold anything, so counting begins after its last bracket. */
int launch_start_time(pid_t pid, uint64_t *ret)
{
	_cleanup_buf_ struct buf b = {0};
	char path[32];
	const char *at;
	char state;
	int rc;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	rc = file_read(AT_FDCWD, path, LAUNCH_RECORD_MAX, &b);
	if (rc)
		return rc == -ENOENT ? -ESRCH : rc;
	at = strrchr(b.data, ')');
	if (!at ||
	    sscanf(at + 1,
		" %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d "
		"%*d %*d %*d %*d %" SCNu64,
		&state, ret) != 2)
		return -EBADMSG;
	return state == 'Z' || state == 'X' ? -ESRCH : 0;
}

uint64_t launch_digest(char *const *argv)
{
	_cleanup_buf_ struct buf b = {0};

	/* With their NULs, as /proc/PID/cmdline has them. */
	for (size_t i = 0; argv[i]; i++)
		buf_append(&b, argv[i], strlen(argv[i]) + 1);
	return hash_bytes(b.data, b.len);
}

int launch_record_write(int folder, const struct launch_record *r)
{
	_cleanup_buf_ struct buf b = {0};

	buf_printf(&b,
	    "rackfs-launch 1\nnumber %" PRIu64 "\npid %d\nstart %" PRIu64
	    "\nmono %" PRIu64 "\nboot %s\nargv %016" PRIx64 "\n",
	    r->number, (int)r->pid, r->start, r->mono, r->boot, r->argv);
	return file_replace(folder, "record", b.data, b.len, 0600);
}

int launch_record_read(int folder, struct launch_record *ret)
{
	_cleanup_buf_ struct buf b = {0};
	struct launch_record r = {0};
	int pid, end = -1, rc;

	rc = file_read(folder, "record", LAUNCH_RECORD_MAX, &b);
	if (rc)
		return rc;
	sscanf(b.data,
	    "rackfs-launch 1 number %" SCNu64 " pid %d start %" SCNu64
	    " mono %" SCNu64 " boot %36[0-9a-f-] argv %" SCNx64 " %n",
	    &r.number, &pid, &r.start, &r.mono, r.boot, &r.argv, &end);
	if (end < 0 || (size_t)end != b.len || pid <= 1)
		return -EBADMSG;
	r.pid = pid;
	*ret = r;
	return 0;
}

int launch_lock_take(int folder, const char *name)
{
	_cleanup_close_ int fd = -1, copy = -1;

	fd = openat(
	    folder, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return -errno;
	if (fd > STDERR_FILENO)
		return TAKE_FD(fd);
	copy = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	return copy < 0 ? -errno : TAKE_FD(copy);
}

int launch_lock_held(int folder, const char *name)
{
	_cleanup_close_ int fd =
	    openat(folder, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	return errno == EWOULDBLOCK ? 1 : -errno;
}

/* Is the process of this record there?  Returns its pidfd or a negative errno;
 * opened first and then compared, so it can't be a later one's. */
static int open_process(const struct launch_record *r)
{
	_cleanup_close_ int fd = -1;
	char boot[37];
	uint64_t start;
	int rc;

	rc = launch_boot_id(boot);
	if (rc)
		return rc;
	if (!STREQ(boot, r->boot))
		return -ESRCH;
	fd = pidfd_open(r->pid, 0);
	if (fd < 0)
		return errno == EINVAL ? -ESRCH : -errno;
	rc = launch_start_time(r->pid, &start);
	if (rc)
		return rc;
	return start == r->start ? TAKE_FD(fd) : -ESRCH;
}

/* One look.  -EAGAIN: it is beginning or ending. */
static int look(int folder, struct launch_record *r, int *ret_pidfd)
{
	int rc;

	rc = launch_lock_held(folder, "lock");
	if (rc <= 0)
		return rc;
	rc = launch_lock_held(folder, "starting");
	if (rc)
		return rc < 0 ? rc : -EAGAIN;
	rc = launch_record_read(folder, r);
	if (rc)
		return rc == -ENOENT || rc == -EBADMSG ? -EAGAIN : rc;
	rc = open_process(r);
	if (rc < 0)
		return rc == -ESRCH ? -EAGAIN : rc;
	*ret_pidfd = rc;
	return 1;
}

int launch_lives(int folder, const char *path, struct launch_record *ret,
    int *ret_pidfd, struct err *err)
{
	const struct timespec step = {.tv_nsec = SETTLE_STEP * 1000};
	uint64_t end = now_mono() + SETTLE_WAIT;
	int rc;

	while (
	    (rc = look(folder, ret, ret_pidfd)) == -EAGAIN && now_mono() < end)
		nanosleep(&step, NULL);
	if (rc == -EAGAIN)
		return err_set(err, -EBUSY,
		    "%s/lock is held by a process that its record does not "
		    "name; `fuser %s/lock` finds it: end it",
		    path, path);
	if (rc < 0)
		return err_errno(err, rc, "cannot look at %s", path);
	return rc;
}
