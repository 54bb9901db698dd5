/* SPDX-License-Identifier: Apache-2.0
 *
 * rackfs-guest: what init in the netboot image can't do in shell.
 *   receive PORT CONSOLE OUT  asks for the identity and writes its archive
 *   seed FILE                 gives the kernel its random seed
 *   clock SECONDS [now]       sets the clock: forward only, or with "now" both
 *                             ways
 *   powerbutton COMMAND...    runs it when the power button is pressed
 *   load LIST                 loads the modules that the file names, one a line
 *   listening PORT SECONDS    waits until something listens on a TCP port
 * Static, and one process where a shell would start many: without KVM each
 * costs 10 to 20 ms of the boot.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <linux/random.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include "guest_frame.h"
#include "identity.h"

#define ASK_EVERY_MS     1000
#define FRAME_SILENCE_MS 3000 /* a frame that stalls so long is broken */
#define SEED_MAX         512
/* The archive's clock was read by the host when the frame was made; a smaller
 * difference may as well be the way it took. */
#define CLOCK_SLACK 0.5

static int fail(const char *what)
{
	fprintf(stderr, "rackfs-guest: %s: %s\n", what, strerror(errno));
	return 1;
}

static int write_all(int fd, const void *data, size_t len)
{
	const char *p = data;
	while (len) {
		ssize_t n = write(fd, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int set_raw(int fd)
{
	struct termios t;
	if (tcgetattr(fd, &t) < 0)
		return -1;
	cfmakeraw(&t);
	t.c_cflag |= CLOCAL | CREAD;
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	cfsetspeed(&t, B115200);
	return tcsetattr(fd, TCSAFLUSH, &t);
}

/* Reads until one frame is whole.  The mark is not printed while one comes:
 * the host would send it again. */
static int wait_frame(int port, int console, struct frame *f)
{
	static const char mark[] = MARK_WAITING "\n";
	for (;;) {
		if (!frame_begun(f) &&
		    write_all(console, mark, sizeof(mark) - 1) < 0)
			return fail("console");
		int wait = frame_begun(f) ? FRAME_SILENCE_MS : ASK_EVERY_MS;
		struct pollfd p = {.fd = port, .events = POLLIN};
		int ready = 0;
		while ((ready = poll(&p, 1, wait)) > 0) {
			char piece[4096];
			ssize_t n = read(port, piece, sizeof(piece));
			if (n < 0 && errno == EINTR)
				continue;
			if (n <= 0)
				return fail("identity port");
			enum frame_result r = frame_feed(f, piece, (size_t)n);
			if (r == FRAME_DONE)
				return 0;
			if (r == FRAME_BROKEN)
				break;
			wait = frame_begun(f) ? FRAME_SILENCE_MS : ASK_EVERY_MS;
		}
		if (ready < 0 && errno != EINTR)
			return fail("poll");
		/* Broken, or silent for too long: what is on its way belongs
		 * to the same frame. */
		if (ready > 0) {
			usleep(200000);
			tcflush(port, TCIFLUSH);
		}
		frame_reset(f);
	}
}

static int cmd_receive(char **argv)
{
	int port = open(argv[0], O_RDWR | O_NOCTTY | O_CLOEXEC);
	int console = open(argv[1], O_WRONLY | O_NOCTTY | O_CLOEXEC);
	struct frame f = {0};
	if (port < 0 || set_raw(port) < 0)
		return fail(argv[0]);
	if (console < 0)
		return fail(argv[1]);
	if (wait_frame(port, console, &f))
		return 1;
	int out = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (out < 0 || write_all(out, f.data, f.len) < 0 || close(out) < 0)
		return fail(argv[2]);
	return 0;
}

/* Without the reseed, clones of one machine would go on with the same random
 * numbers until the kernel's own next reseed. */
static int cmd_seed(char **argv)
{
	struct rand_pool_info *pool = calloc(1, sizeof(*pool) + SEED_MAX);
	int fd = open(argv[0], O_RDONLY | O_CLOEXEC);
	int random = open("/dev/urandom", O_RDWR | O_CLOEXEC);
	ssize_t n = fd < 0 || !pool ? -1 : read(fd, pool->buf, SEED_MAX);

	if (n < 0)
		return fail(argv[0]);
	pool->buf_size = (int)n;
	pool->entropy_count = (int)n * 8;
	if (random < 0 || ioctl(random, RNDADDENTROPY, pool) < 0)
		return fail("RNDADDENTROPY");
	if (ioctl(random, RNDRESEEDCRNG) < 0)
		return fail("RNDRESEEDCRNG");
	return 0;
}

static int cmd_clock(char **argv)
{
	char *end;
	double want = strtod(argv[0], &end);
	struct timespec now;
	if (*end || !(want >= 0 && want < 1e12)) {
		fprintf(stderr, "rackfs-guest: clock: \"%s\" is no time\n",
		    argv[0]);
		return 1;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	double behind = want - ((double)now.tv_sec + (double)now.tv_nsec / 1e9);
	int both = argv[1] && strcmp(argv[1], "now") == 0;
	if (behind < CLOCK_SLACK && !(both && behind < -CLOCK_SLACK))
		return 0;
	struct timespec to = {.tv_sec = (time_t)want,
	    .tv_nsec = (long)((want - (double)(time_t)want) * 1e9)};
	if (clock_settime(CLOCK_REALTIME, &to) < 0)
		return fail("clock_settime");
	return 0;
}

static int open_button(void)
{
	DIR *d = opendir("/dev/input");
	struct dirent *e;
	int found = -1;
	while (d && found < 0 && (e = readdir(d))) {
		char name[128] = "";
		if (strncmp(e->d_name, "event", 5) != 0)
			continue;
		int fd = openat(dirfd(d), e->d_name, O_RDONLY | O_CLOEXEC);
		if (fd >= 0 &&
		    ioctl(fd, EVIOCGNAME(sizeof(name) - 1), name) > 0 &&
		    strcmp(name, "Power Button") == 0)
			found = fd;
		else if (fd >= 0)
			close(fd);
	}
	if (d)
		closedir(d);
	return found;
}

static int cmd_powerbutton(char **argv)
{
	struct input_event e;
	int fd = open_button();
	if (fd < 0) {
		fprintf(stderr, "rackfs-guest: no power button below "
				"/dev/input\n");
		return 1;
	}
	for (;;) {
		ssize_t n = read(fd, &e, sizeof(e));
		if (n < 0 && errno != EINTR)
			return fail("power button");
		if (n == sizeof(e) && e.type == EV_KEY && e.code == KEY_POWER &&
		    e.value == 1)
			break;
	}
	execvp(argv[0], argv);
	return fail(argv[0]);
}

/* A module that fails is told and the others are loaded: a machine without
 * the power button is better than none. */
static int cmd_load(char **argv)
{
	char path[512];
	int status = 0;
	FILE *f = fopen(argv[0], "re");
	if (!f)
		return fail(argv[0]);
	while (fgets(path, sizeof(path), f)) {
		path[strcspn(path, "\n")] = '\0';
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) < 0 &&
				  errno != EEXIST))
			status = fail(path);
		if (fd >= 0)
			close(fd);
	}
	fclose(f);
	return status;
}

/* Is there a listening socket (state 0A) with this port in the table? */
static int listens(const char *table, unsigned port)
{
	char line[512];
	int found = 0;
	FILE *f = fopen(table, "re");
	while (f && !found && fgets(line, sizeof(line), f)) {
		unsigned local, state;
		if (sscanf(line, " %*u: %*[0-9A-F]:%x %*[0-9A-F]:%*x %x",
			&local, &state) == 2)
			found = local == port && state == 0x0a;
	}
	if (f)
		fclose(f);
	return found;
}

static int cmd_listening(char **argv)
{
	unsigned port = (unsigned)strtoul(argv[0], NULL, 10);
	long tries = strtol(argv[1], NULL, 10) * 50;
	while (!listens("/proc/net/tcp", port) &&
	       !listens("/proc/net/tcp6", port)) {
		if (tries-- <= 0)
			return 1;
		usleep(20000);
	}
	return 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int min, max;
		int (*run)(char **argv);
	} commands[] = {
	    {"receive", 3, 3, cmd_receive},
	    {"seed", 1, 1, cmd_seed},
	    {"clock", 1, 2, cmd_clock},
	    {"powerbutton", 1, 64, cmd_powerbutton},
	    {"load", 1, 1, cmd_load},
	    {"listening", 2, 2, cmd_listening},
	};
	for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(*commands);
	     i++)
		if (strcmp(argv[1], commands[i].name) == 0 &&
		    argc - 2 >= commands[i].min && argc - 2 <= commands[i].max)
			return commands[i].run(argv + 2);
	fprintf(stderr, "usage: rackfs-guest receive PORT CONSOLE OUT\n"
			"       rackfs-guest seed FILE\n"
			"       rackfs-guest clock SECONDS [now]\n"
			"       rackfs-guest powerbutton COMMAND...\n"
			"       rackfs-guest load LIST\n"
			"       rackfs-guest listening PORT SECONDS\n");
	return 2;
}
