/* SPDX-License-Identifier: Apache-2.0
 *
 * What the SSH tests share: keys in a folder of their own, a real sshd on a
 * loopback port, and what sessions and jobs told.
 */
#ifndef RACKFS_TESTS_SSH_FIXTURE_H
#define RACKFS_TESTS_SSH_FIXTURE_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/ssh_internal.h"
#include "host/ssh_key.h"
#include "test.h"

#define SSHD "/usr/sbin/sshd"
#define LONG (20 * USEC_PER_SEC) /* nothing here takes that long */

static char dir[] = "/tmp/test_ssh.XXXXXX";
static char *user_key, *other_key, *host_key, *host_public, *other_public;
static char *user;
static struct loop *loop;
static pid_t sshd_pid;
static uint16_t sshd_port;
static const char *no_sshd = "sshd was not started";
static const char *sshd_more = ""; /* lines of its configuration */

static char *in_dir(const char *name)
{
	return xasprintf("%s/%s", dir, name);
}

/* Turns the loop until *flag, or fails the case. */
static bool turn_until(const bool *flag, uint64_t usec)
{
	uint64_t until = now_mono() + usec;

	while (!*flag && now_mono() < until)
		loop_turn(loop, MIN(until - now_mono(), 100 * USEC_PER_MSEC));
	CHECK(*flag);
	return *flag;
}

static void turn_for(uint64_t usec)
{
	uint64_t until = now_mono() + usec;

	while (now_mono() < until)
		loop_turn(loop, 10 * USEC_PER_MSEC);
}

static int listen_on_loopback(uint16_t *ret_port)
{
	struct sockaddr_in a = {
	    .sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    listen(fd, 16) < 0 ||
	    getsockname(fd, (struct sockaddr *)&a, &len) < 0)
		abort();
	*ret_port = ntohs(a.sin_port);
	return fd;
}

static uint16_t free_port(void)
{
	uint16_t port;

	close(listen_on_loopback(&port));
	return port;
}

static void end_process(pid_t pid)
{
	if (pid <= 0)
		return;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static pid_t start(char *const *argv, const char *log)
{
	pid_t pid = fork();
	int fd;

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
		_exit(126);
	fd = open("/dev/null", O_RDONLY);
	if (fd < 0 || dup2(fd, 0) < 0)
		_exit(126);
	execv(argv[0], argv);
	_exit(127);
}

static void set_flag(void *userdata)
{
	*(bool *)userdata = true;
}

static bool wait_for_banner(uint16_t port)
{
	struct ssh_probe *p;
	bool seen = false;

	CHECK_INT(
	    ssh_probe_new(loop, "127.0.0.1", port, set_flag, &seen, &p, NULL),
	    0);
	turn_until(&seen, LONG);
	ssh_probe_free(p);
	return seen;
}

static void start_sshd(bool can_log_in)
{
	_cleanup_free_ char *conf = in_dir("sshd_config");
	_cleanup_free_ char *log = in_dir("sshd.log");
	_cleanup_buf_ struct buf b = {0};
	char *argv[] = {SSHD, "-D", "-e", "-f", conf, NULL};

	if (access(SSHD, X_OK) < 0) {
		no_sshd = "openssh-server is not installed";
		return;
	}
	if (!can_log_in) {
		no_sshd = "this user has no shell to log in with";
		return;
	}
	/* Debian's package makes it when the service starts. */
	if (geteuid() == 0)
		mkdir("/run/sshd", 0755);
	sshd_port = free_port();
	buf_printf(&b,
	    "ListenAddress 127.0.0.1\nPort %u\nHostKey %s\nPidFile none\n"
	    "AuthorizedKeysFile %s.pub\nStrictModes no\nUsePAM %s\n"
	    "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
	    "PermitRootLogin prohibit-password\nMaxStartups 100\n"
	    "LogLevel VERBOSE\n"
	    /* bash would read the user's ~/.bashrc. */
	    "SetEnv SHLVL=2\n%s",
	    (unsigned)sshd_port, host_key, user_key,
	    /* Without PAM a user's own sshd takes accounts for locked. */
	    geteuid() == 0 ? "no" : "yes", sshd_more);
	CHECK_INT(file_replace(AT_FDCWD, conf, b.data, b.len, 0600), 0);
	sshd_pid = start(argv, log);
	/* The cases fail without it, and say so. */
	no_sshd = NULL;
	CHECK(wait_for_banner(sshd_port));
}

#define NEED_SSHD()                                                            \
	do {                                                                   \
		if (no_sshd)                                                   \
			SKIP(no_sshd);                                         \
	} while (0)

/* What a session told. */
struct seen {
	struct ssh *s;
	bool connected, closed;
	int code;
	struct err err;
};

static void on_connected(
    struct ssh *s, int code, const struct err *err, void *userdata)
{
	struct seen *x = userdata;

	CHECK(!x->connected);
	x->connected = true;
	x->code = code;
	x->err = *err;
}

static void on_closed(struct ssh *s, const struct err *err, void *userdata)
{
	struct seen *x = userdata;

	CHECK(x->connected);
	CHECK(!x->closed);
	x->closed = true;
	x->err = *err;
}

static struct ssh_target target_of(uint16_t port)
{
	return (struct ssh_target){.host = "127.0.0.1",
	    .port = port,
	    .user = user,
	    .key_file = user_key,
	    .host_key = host_public,
	    .timeout = 10 * USEC_PER_SEC};
}

static void open_target(struct seen *x, const struct ssh_target *t)
{
	struct err err = ERR_INIT;

	*x = (struct seen){0};
	CHECK_INT(
	    ssh_open(loop, t, on_connected, on_closed, x, &x->s, &err), 0);
	CHECK(!x->connected);
}

/* Keys, the loop, and sshd where it is installed. */
static void set_up(void)
{
	const struct passwd *pw = getpwuid(geteuid());

	if (!mkdtemp(dir) || !pw || loop_new(&loop) < 0)
		abort();
	user = xstrdup(pw->pw_name);
	user_key = in_dir("user");
	other_key = in_dir("other");
	host_key = in_dir("host");
	if (ssh_key_ensure(user_key, "", NULL) ||
	    ssh_key_ensure(other_key, "", NULL) ||
	    ssh_key_ensure(host_key, "", NULL) ||
	    ssh_key_public(host_key, &host_public, NULL) ||
	    ssh_key_public(other_key, &other_public, NULL))
		abort();
	start_sshd(access(pw->pw_shell, X_OK) == 0 &&
		   !strstr(pw->pw_shell, "nologin") &&
		   !strstr(pw->pw_shell, "false"));
}

static void tear_down(void)
{
	_cleanup_free_ char *log = in_dir("sshd.log");
	_cleanup_buf_ struct buf b = {0};

	end_process(sshd_pid);
	if (getenv("VERBOSE") && file_read(AT_FDCWD, log, MIB, &b) == 0)
		fputs(buf_str(&b), stderr);
	CHECK_INT(remove_tree(AT_FDCWD, dir), 0);
	loop_free(loop);
	free(user);
	free(user_key);
	free(other_key);
	free(host_key);
	free(host_public);
	free(other_public);
}

#endif
