/* SPDX-License-Identifier: Apache-2.0
 *
 * What would make QEMU fail, found before it starts, so that the sentence
 * names the file or the port instead of QEMU's option.  Cheap and without
 * waiting; who holds a port is looked up only when one is taken.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "machine_qemu.h"

#define PROC_FILE_MAX (8 * MIB) /* of /proc/net/tcp that are read */
#define TCP_LISTEN    0x0a      /* column st of /proc/net/tcp */

static int check_file(const char *what, const char *path, struct err *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return err_errno(
		    err, -errno, "the %s %s can't be read", what, path);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(
		    err, -EINVAL, "the %s %s is not a file", what, path);
	if (st.st_size == 0)
		return err_set(err, -EINVAL, "the %s %s is empty", what, path);
	return 0;
}

/* The inode of the socket that listens on a port (on 127.0.0.1 or on all
 * addresses), 0: not found. */
static unsigned long long listener(const char *table, uint16_t port)
{
	_cleanup_buf_ struct buf text = {0};

	if (file_read(AT_FDCWD, table, PROC_FILE_MAX, &text) < 0)
		return 0;
	for (const char *line = buf_str(&text); *line;) {
		unsigned at, state;
		unsigned long long inode;
		/* proc(5): sl local remote st queues timer retrnsmt uid timeout
		 * inode */
		if (sscanf(line,
			" %*d: %*[0-9A-Fa-f]:%x %*s %x %*s %*s %*s %*u %*d "
			"%llu",
			&at, &state, &inode) == 3 &&
		    at == port && state == TCP_LISTEN)
			return inode;
		line += strcspn(line, "\n");
		line += *line == '\n';
	}
	return 0;
}

static bool process_has(int proc, const char *pid, const char *link)
{
	char path[64], target[64];
	bool found = false;

	snprintf(path, sizeof(path), "%.20s/fd", pid);
	int fd = openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	for (struct dirent *e; !found && (e = readdir(dir));) {
		ssize_t n = readlinkat(
		    dirfd(dir), e->d_name, target, sizeof(target) - 1);
		if (n <= 0)
			continue;
		target[n] = '\0';
		found = STREQ(target, link);
	}
	closedir(dir);
	return found;
}

/* " (sshd, pid 123)", or nothing: only our own user's processes can be seen
 * without privilege. */
static void describe_owner(uint16_t port, struct buf *ret)
{
	unsigned long long inode = listener("/proc/net/tcp", port);
	char link[64];

	if (!inode)
		inode = listener("/proc/net/tcp6", port);
	DIR *dir = inode ? opendir("/proc") : NULL;
	if (!dir)
		return;
	snprintf(link, sizeof(link), "socket:[%llu]", inode);
	for (struct dirent *e; (e = readdir(dir));) {
		if (e->d_name[0] < '1' || e->d_name[0] > '9' ||
		    !process_has(dirfd(dir), e->d_name, link))
			continue;
		char path[64];
		_cleanup_buf_ struct buf name = {0};
		snprintf(path, sizeof(path), "%.20s/comm", e->d_name);
		file_read(dirfd(dir), path, 64, &name);
		buf_puts(ret, " (");
		buf_escaped(ret, buf_str(&name), strcspn(buf_str(&name), "\n"));
		buf_printf(ret, ", pid %.20s)", e->d_name);
		break;
	}
	closedir(dir);
}

int qemu_check_port(uint16_t port, const char *key, struct err *err)
{
	struct sockaddr_in a = {
	    .sin_family = AF_INET,
	    .sin_port = htons(port),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int one = 1;
	_cleanup_buf_ struct buf owner = {0};
	_cleanup_close_ int fd =
	    socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return err_errno(err, -errno, "a socket");
	/* As QEMU does: connections in TIME_WAIT don't count. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 &&
	    listen(fd, 1) == 0)
		return 0;
	if (errno != EADDRINUSE)
		return err_errno(
		    err, -errno, "%s: port %u on 127.0.0.1", key, port);
	describe_owner(port, &owner);
	return err_set(err, -EADDRINUSE,
	    "%s: port %u is in use by another program on this host%s", key,
	    port, buf_str(&owner));
}

static int check_nic(const struct machine_nic *n, struct err *err)
{
	if (!n->endpoint)
		return 0;
	/* libvdeplug looks up the real path and uses that. */
	_cleanup_free_ char *real = realpath(n->endpoint, NULL);
	if (!real)
		return err_errno(err, -EAGAIN,
		    "nics.%s: its switch's folder %s is not there", n->name,
		    n->endpoint);
	if (strlen(real) > ENDPOINT_MAX)
		return err_set(err, -ENAMETOOLONG,
		    "nics.%s: the path of its switch has %zu bytes, and "
		    "sockets "
		    "allow %d here: start rackfs with a shorter --runtime-dir "
		    "(%s)",
		    n->name, strlen(real), ENDPOINT_MAX, real);
	return 0;
}

/* What names QEMU's node and serves as serial. */
static int check_disk_name(const struct machine_disk *d, struct err *err)
{
	const char *serial = qemu_disk_serial(d->name);

	if (strlen(serial) > SERIAL_MAX)
		return err_set(err, -ENAMETOOLONG,
		    "the disk \"%s\": its name is its serial number, and that "
		    "has at most %d characters: give it a shorter one",
		    d->name, SERIAL_MAX);
	for (const char *c = d->name; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr("-._", *c))
			return err_set(err, -EINVAL,
			    "the disk \"%s\": its name is its serial number, "
			    "of letters, digits, \"-\", \".\" and \"_\"",
			    d->name);
	if (!serial[0])
		return err_set(err, -EINVAL, "a disk without a name");
	return 0;
}

static int check_disks(const struct machine_slice *s, struct err *err)
{
	for (size_t i = 0; i < s->n_disks; i++) {
		const struct machine_disk *d = &s->disks[i];
		int r = check_disk_name(d, err);
		if (r >= 0 && d->readonly)
			r = check_file(d->name, d->path, err);
		if (r < 0)
			return r;
		for (size_t k = 0; k < i; k++)
			if (STREQ(qemu_disk_serial(d->name),
				qemu_disk_serial(s->disks[k].name)))
				return err_set(err, -EINVAL,
				    "the disks \"%s\" and \"%s\" have the "
				    "same serial number: name one otherwise",
				    s->disks[k].name, d->name);
	}
	if (s->from_disk && (s->n_disks == 0 || s->disks[0].readonly))
		return err_set(
		    err, -EINVAL, "it is to boot from its disk, and has none");
	return 0;
}

int qemu_check(const struct machine_slice *s, struct err *err)
{
	int r;

	if (s->n_nics > NICS_MAX || s->n_disks > DISKS_MAX ||
	    s->n_forwards > FORWARDS_MAX)
		return err_set(err, -E2BIG,
		    "a machine takes %d NICs, %d disks and %d forwards",
		    NICS_MAX, DISKS_MAX, FORWARDS_MAX);
	r = check_disks(s, err);
	/* An installer with a kernel of its own, too: told before the work. */
	if (r >= 0 && s->firmware == FIRMWARE_UEFI)
		r = qemu_uefi_check(err);
	if (r >= 0 && s->kernel)
		r = check_file("kernel", s->kernel, err);
	if (r >= 0 && s->initrd)
		r = check_file("initrd", s->initrd, err);
	if (r >= 0 && s->ssh_port)
		r = qemu_check_port(s->ssh_port, "ssh.port", err);
	for (size_t i = 0; r >= 0 && i < s->n_forwards; i++)
		r = qemu_check_port(s->forwards[i].host, "forwards", err);
	for (size_t i = 0; r >= 0 && i < s->n_nics; i++)
		r = check_nic(&s->nics[i], err);
	return r;
}
