/* SPDX-License-Identifier: Apache-2.0
 *
 * A disk, or a daemon, that stops where a test wants it, preloaded:
 * fsync(2) waits as long as the file $GATE is there; the answer to the first
 * request of the opcode that $GATE.reply holds waits as long as that is there.
 * $GATE.held says that one of them does.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

static uint64_t held; /* the request whose answer waits */

/* One of our own calls must not come back here. */
#define REAL(name) __typeof__(&name) real = dlsym(RTLD_NEXT, #name)

static const char *path_of(const char *suffix, char ret[512])
{
	const char *gate = getenv("GATE");

	snprintf(ret, 512, "%s%s", gate ? gate : "/nowhere", suffix);
	return ret;
}

static void wait_for_end_of(const char *path)
{
	char mark[512];

	if (access(path, F_OK) < 0)
		return;
	close(
	    open(path_of(".held", mark), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	while (access(path, F_OK) == 0)
		usleep(5000);
}

int fsync(int fd)
{
	REAL(fsync);
	char path[512];

	wait_for_end_of(path_of("", path));
	return real(fd);
}

ssize_t read(int fd, void *data, size_t size)
{
	REAL(read);
	ssize_t n = real(fd, data, size);
	const struct fuse_in_header *h = data;
	char path[512], word[8] = "";
	int gate;

	/* Only requests are read into as much room. */
	if (size <= 1 << 20 || n < (ssize_t)sizeof(*h) || held ||
	    (gate = open(path_of(".reply", path), O_RDONLY | O_CLOEXEC)) < 0)
		return n;
	if (real(gate, word, sizeof(word) - 1) > 0 &&
	    h->opcode == (uint32_t)atoi(word))
		held = h->unique;
	close(gate);
	return n;
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
	REAL(writev);
	const struct fuse_out_header *h = iov[0].iov_base;
	char path[512];

	if (held && iov[0].iov_len >= sizeof(*h) && h->unique == held) {
		wait_for_end_of(path_of(".reply", path));
		held = 0;
	}
	return real(fd, iov, count);
}
