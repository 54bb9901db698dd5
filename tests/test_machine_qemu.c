/* SPDX-License-Identifier: Apache-2.0
 *
 * The machine driver "qemu" against the real QEMU: its life, its console, its
 * plugs.  test_machine_disks.c has its disks.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "tests/qemu_rig.h"

/* --- cases --------------------------------------------------------------- */

static void starts_and_stops(void)
{
	struct rig r;
	struct machine_look look;

	if (!rig_new(&r))
		SKIP("QEMU is not installed");
	r.slice.n_disks = 0;
	rig_look(&r, &look);
	CHECK_INT(look.state, MACHINE_UNKNOWN);
	CHECK_INT(rig_observe(&r), 0);
	rig_look(&r, &look);
	CHECK_INT(look.state, MACHINE_NONE);
	CHECK_INT(look.launch, 0);
	CHECK_INT(machine_qemu.console_write(r.m, "x", 1), -ENODEV);

	CHECK_INT(rig_start(&r), 0);
	rig_look(&r, &look);
	CHECK_INT(look.state, MACHINE_RUNNING);
	CHECK_INT(look.launch, 1);
	CHECK(look.pid > 0 && kill(look.pid, 0) == 0);
	CHECK(look.accel[0]);
	CHECK_INT(look.disk_size, 0);
	CHECK_INT(look.n_nics, 1);
	pid_t pid = look.pid;
	CHECK_INT(
	    machine_start(&machine_qemu, r.m, &r.slice, &r.op, &r.err), -EBUSY);

	CHECK_INT(rig_stop(&r, true), 0);
	rig_look(&r, &look);
	CHECK_INT(look.state, MACHINE_NONE);
	CHECK_INT(look.end, END_STOPPED);
	CHECK(kill(pid, 0) < 0);
	CHECK(strstr(buf_str(&r.log), "qemu-system-x86_64 -M pc"));
	/* Stopping again is nothing to do. */
	CHECK_INT(rig_stop(&r, true), 0);
	rig_free(&r);
}

static void identity_and_console(void)
{
	struct rig r;
	struct machine_look look;
	uint64_t launch, size, oldest;

	if (!rig_new(&r))
		SKIP("QEMU is not installed");
	CHECK_INT(rig_start(&r), 0);
	CHECK(rig_shows(&r, IDENTITY_MAGIC));
	CHECK(rig_shows(&r, "node07"));
	CHECK(rig_shows(&r, "TRAILER!!!"));
	CHECK(rig_shows(&r, MARK_READY));
	rig_type(&r, "zz\n");
	CHECK(rig_shows(&r, "zz\n"));
	uint64_t end = now_mono() + LIMIT;
	do {
		loop_turn(r.loop, 20 * USEC_PER_MSEC);
		rig_look(&r, &look);
	} while (!look.marked && now_mono() < end);
	CHECK(look.marked);
	CHECK(look.last_output <= now_mono() &&
	      look.last_output + LIMIT > now_mono());
	CHECK_INT(look.disk_size, 1 << 20);
	machine_qemu.console_stat(r.m, &launch, &size, &oldest);
	CHECK_INT(launch, 1);
	CHECK(size > 100);
	CHECK_INT(oldest, 0);
	/* It presses; this guest does not mind. */
	CHECK_INT(rig_stop(&r, false), 0);
	rig_look(&r, &look);
	CHECK_INT(look.state, MACHINE_RUNNING);
	rig_free(&r);
}

static void adopts(void)
{
	struct rig r;
	struct machine_look before, after;

	if (!rig_new(&r))
		SKIP("QEMU is not installed");
	/* A daemon that dies before the guest has asked. */
	CHECK_INT(rig_start(&r), 0);
	rig_look(&r, &before);
	rig_daemon_dies(&r);
	rig_open(&r);
	CHECK_INT(rig_observe(&r), 0);
	rig_look(&r, &after);
	CHECK_INT(after.state, MACHINE_RUNNING);
	CHECK_INT(after.pid, before.pid);
	CHECK_INT(after.launch, before.launch);
	CHECK_STR(after.accel, before.accel);
	CHECK_STR(after.accel_why, before.accel_why);
	CHECK_INT(after.n_nics, 1);
	CHECK_INT(after.disk_size, 1 << 20);
	CHECK(rig_shows(&r, MARK_READY));
	CHECK(r.asked > 0);

	/* One that dies after: the mark is in the log. */
	rig_daemon_dies(&r);
	r.asked = 0;
	rig_open(&r);
	CHECK_INT(rig_observe(&r), 0);
	rig_look(&r, &after);
	CHECK(after.marked);
	CHECK(after.last_line[0]);
	CHECK_INT(r.asked, 0);
	uint64_t end = now_mono() + LIMIT;
	while (machine_qemu.console_write(r.m, "q", 1) == -EAGAIN &&
	       now_mono() < end)
		loop_turn(r.loop, 20 * USEC_PER_MSEC);
	CHECK(rig_shows(&r, "q"));
	/* Nobody starts a second one, observed or not. */
	rig_daemon_dies(&r);
	rig_open(&r);
	CHECK_INT(rig_start(&r), -EBUSY);
	CHECK_INT(rig_stop(&r, true), 0);
	CHECK(kill(before.pid, 0) < 0);
	rig_free(&r);
}

/* How it ended, with a daemon that looks and without one. */
static void check_end(const char *key, enum machine_end want)
{
	static char *args[] = {"-device", "pvpanic", NULL};
	struct rig r;
	struct machine_look look;

	for (int watched = 0; watched < 2; watched++) {
		CHECK(rig_new(&r));
		r.slice.extra_args = args;
		CHECK_INT(rig_start(&r), 0);
		CHECK(rig_shows(&r, MARK_WAITING));
		rig_look(&r, &look);
		pid_t pid = look.pid;
		if (key)
			rig_type(&r, key);
		else
			CHECK_INT(kill(pid, SIGKILL), 0);
		if (watched) {
			CHECK(rig_ended(&r, &look));
		} else {
			rig_daemon_dies(&r);
			wait_pid(&r, pid);
			rig_open(&r);
			CHECK_INT(rig_observe(&r), 0);
			rig_look(&r, &look);
		}
		CHECK_INT(look.state, MACHINE_NONE);
		CHECK_INT(look.launch, 1);
		CHECK_INT(look.end, want);
		printf("# %s\n", look.end_text);
		rig_free(&r);
	}
}

static void tells_poweroff(void)
{
	struct err err;

	if (machine_qemu.available(&err) < 0)
		SKIP("QEMU is not installed");
	check_end("p", END_POWEROFF);
}

static void tells_reboot(void)
{
	struct err err;

	if (machine_qemu.available(&err) < 0)
		SKIP("QEMU is not installed");
	check_end("r", END_REBOOT);
}

static void tells_panic(void)
{
	struct err err;

	if (machine_qemu.available(&err) < 0)
		SKIP("QEMU is not installed");
	check_end("!", END_PANIC);
}

static void tells_kill(void)
{
	struct err err;

	if (machine_qemu.available(&err) < 0)
		SKIP("QEMU is not installed");
	check_end(NULL, END_CRASHED);
}

static void kill_is_seen_at_once(void)
{
	struct rig r;
	struct machine_look look;

	if (!rig_new(&r))
		SKIP("QEMU is not installed");
	CHECK_INT(rig_start(&r), 0);
	rig_look(&r, &look);
	CHECK_INT(kill(look.pid, SIGKILL), 0);
	CHECK(rig_ended(&r, &look));
	CHECK(strstr(look.end_text, "signal 9"));
	/* And it starts again, as another run. */
	CHECK_INT(rig_start(&r), 0);
	rig_look(&r, &look);
	CHECK_INT(look.launch, 2);
	rig_free(&r);
}

static void stopped_process_is_ended(void)
{
	struct rig r;
	struct machine_look look;

	if (!rig_new(&r))
		SKIP("QEMU is not installed");
	CHECK_INT(rig_start(&r), 0);
	rig_look(&r, &look);
	CHECK_INT(kill(look.pid, SIGSTOP), 0);
	CHECK_INT(rig_stop(&r, true), 0);
	rig_look(&r, &look);
	CHECK_INT(look.end, END_STOPPED);
	rig_free(&r);
}

static void cancel_of_start(void)
{
	struct rig r;
	struct machine_look look;

	if (!rig_new(&r))
		SKIP("QEMU is not installed");
	/* Before the launch, and once QEMU is there. */
	for (int i = 0; i < 2; i++) {
		r.done = false;
		CHECK_INT(
		    machine_start(&machine_qemu, r.m, &r.slice, &r.op, &r.err),
		    0);
		rig_look(&r, &look);
		uint64_t end = now_mono() + LIMIT;
		while (i == 1 && look.state != MACHINE_RUNNING &&
		       now_mono() < end) {
			loop_turn(r.loop, 1000);
			rig_look(&r, &look);
		}
		CHECK(!r.done);
		op_cancel(&r.op);
		CHECK_INT(rig_wait(&r), -ECANCELED);
		rig_look(&r, &look);
		CHECK(look.state != MACHINE_RUNNING);
	}
	CHECK_INT(rig_start(&r), 0);
	rig_free(&r);
}

static void says_what_is_wrong(void)
{
	static char *args[] = {"-nonsense", NULL};
	struct rig r;
	struct machine_look look;
	struct sockaddr_in a = {.sin_family = AF_INET};
	socklen_t len = sizeof(a);
	char who[64];

	if (!rig_new(&r))
		SKIP("QEMU is not installed");
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CHECK_INT(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	CHECK_INT(listen(fd, 1), 0);
	CHECK_INT(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	r.slice.ssh_port = ntohs(a.sin_port);
	CHECK_INT(rig_start(&r), -EADDRINUSE);
	snprintf(who, sizeof(who), "pid %d)", (int)getpid());
	CHECK(strstr(err_text(&r.err), who));
	struct forward_spec forward = {.host = ntohs(a.sin_port), .guest = 80};
	r.slice.ssh_port = 0;
	r.slice.forwards = &forward;
	r.slice.n_forwards = 1;
	CHECK_INT(rig_start(&r), -EADDRINUSE);
	r.slice.n_forwards = 0;
	close(fd);

	r.slice.kernel = "/no/such/kernel";
	CHECK_INT(rig_start(&r), -ENOENT);
	CHECK_STR(err_text(&r.err), "the kernel /no/such/kernel can't be read: "
				    "No such file or directory");
	r.slice.kernel = NULL;

	r.slice.extra_args = args;
	CHECK_INT(rig_start(&r), -EIO);
	CHECK(strstr(err_text(&r.err), "-nonsense: invalid option"));
	rig_look(&r, &look);
	CHECK_INT(look.state, MACHINE_NONE);
	CHECK(!strstr(buf_str(&r.log), "addr=0x8 -nonsense"));
	r.slice.extra_args = NULL;

	r.disks[0].path = "/no/such/folder/disk.qcow2";
	r.disks[0].format = FORMAT_QCOW2;
	CHECK_INT(rig_start(&r), -ENOENT);
	CHECK(strstr(err_text(&r.err), "/no/such/folder/disk.qcow2 can't be"));
	r.disks[0].path = r.disk;
	CHECK_INT(rig_start(&r), -EINVAL);
	CHECK(strstr(err_text(&r.err), "not qcow2"));

	r.slice.n_disks = 0;
	r.nics[0].endpoint = "/no/such/switch";
	CHECK_INT(rig_start(&r), -EAGAIN);
	rig_free(&r);
}

static void *start_switch(struct rig *r, const char *dir)
{
	_cleanup_strv_ char **argv = strv_new("vde_switch", "-s", "ctl", "-M",
	    "mgmt", "--mode", "0600", "--dirmode", "0700", NULL);
	struct launch_options o = {.argv = argv, .stdin_fifo = true};
	struct launch *x = NULL;
	uint64_t end = now_mono() + LIMIT;
	int fd = -1;

	mkdir(dir, 0700);
	CHECK_INT(launch_start(r->loop, dir, &o, NULL, NULL, &x, &r->err), 0);
	while (x && (fd = launch_connect(x, "mgmt")) < 0 && now_mono() < end)
		loop_turn(r->loop, 10 * USEC_PER_MSEC);
	CHECK(fd >= 0);
	if (fd >= 0)
		close(fd);
	return x;
}

static void end_switch(struct rig *r, struct launch *x, int signal)
{
	pid_t pid = launch_pid(x);

	CHECK_INT(launch_signal(x, signal), 0);
	launch_free(x); /* leaves the reaping to the loop */
	wait_pid(r, pid);
}

/* Plugs into a switch's folder: libvdeplug leaves its own socket there. */
static bool is_plugged(pid_t pid, const char *ctl)
{
	_cleanup_buf_ struct buf b = {0};
	char want[300];

	snprintf(want, sizeof(want), "%s/.%05d-", ctl, (int)pid);
	CHECK_INT(file_read(AT_FDCWD, "/proc/net/unix", 64 * MIB, &b), 0);
	return strstr(buf_str(&b), want) != NULL;
}

static void changes_live(void)
{
	struct rig r;
	struct machine_look look;
	char dir[160], ctl[2][256];
	struct launch *sw[2];

	if (!rig_new(&r))
		SKIP("QEMU is not installed");
	if (access("/usr/bin/vde_switch", X_OK) < 0) {
		rig_free(&r);
		SKIP("vde_switch is not installed");
	}
	snprintf(dir, sizeof(dir), "%s/lan", r.dir);
	sw[0] = start_switch(&r, dir);
	snprintf(ctl[0], sizeof(ctl[0]), "%s/ctl", launch_path(sw[0]));
	r.nics[0].endpoint = ctl[0];
	r.nics[0].incarnation = 41;
	r.nics[0].link = LINK_DOWN;
	CHECK_INT(rig_start(&r), 0);
	rig_look(&r, &look);
	CHECK_INT(look.nics[0].incarnation, 41);
	CHECK_INT(look.nics[0].link, LINK_DOWN);
	CHECK(is_plugged(look.pid, ctl[0]));

	/* The switch is killed, and another one comes. */
	end_switch(&r, sw[0], SIGKILL);
	sw[1] = start_switch(&r, dir);
	snprintf(ctl[1], sizeof(ctl[1]), "%s/ctl", launch_path(sw[1]));
	r.nics[0].endpoint = ctl[1];
	r.nics[0].incarnation = 42;
	r.nics[0].link = LINK_UP;
	r.disks[0].size = 2 << 20;
	CHECK_INT(rig_apply(&r), 0);
	rig_look(&r, &look);
	CHECK_INT(look.nics[0].incarnation, 42);
	CHECK_INT(look.nics[0].link, LINK_UP);
	CHECK_INT(look.disk_size, 2 << 20);
	CHECK(is_plugged(look.pid, ctl[1]));

	/* The next daemon knows it, and that there is nothing to do. */
	rig_daemon_dies(&r);
	rig_open(&r);
	CHECK_INT(rig_observe(&r), 0);
	rig_look(&r, &look);
	CHECK_INT(look.nics[0].incarnation, 42);
	CHECK_INT(look.nics[0].link, LINK_UP);
	CHECK_INT(look.disk_size, 2 << 20);

	/* A switch that is not there: it stays unplugged, and says so. */
	r.nics[0].endpoint = "/no/such/switch";
	r.nics[0].incarnation = 43;
	CHECK_INT(rig_apply(&r), -EAGAIN);
	rig_look(&r, &look);
	CHECK(look.nics[0].incarnation != 43 && look.nics[0].incarnation != 42);
	r.nics[0].endpoint = NULL;
	CHECK_INT(rig_apply(&r), 0);
	rig_look(&r, &look);
	CHECK_INT(look.nics[0].incarnation, 0);
	CHECK(!is_plugged(look.pid, ctl[1]));
	r.nics[0].endpoint = ctl[1];
	CHECK_INT(rig_apply(&r), 0);
	CHECK(is_plugged(look.pid, ctl[1]));
	end_switch(&r, sw[1], SIGTERM);
	rig_free(&r);
}

/* A socket that listens on 127.0.0.1 at a port of its own. */
static int listener(uint16_t *ret)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CHECK_INT(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	CHECK_INT(listen(fd, 1), 0);
	CHECK_INT(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	*ret = ntohs(a.sin_port);
	return fd;
}

static bool listens(uint16_t port)
{
	struct sockaddr_in a = {
	    .sin_family = AF_INET,
	    .sin_port = htons(port),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
}

static void wait_forwards(struct rig *r, struct machine_look *look)
{
	uint64_t end = now_mono() + LIMIT;

	do {
		loop_turn(r->loop, 10 * USEC_PER_MSEC);
		rig_look(r, look);
	} while (!look->forwards_known && now_mono() < end);
	CHECK(look->forwards_known);
}

static void forwards_come_and_go(void)
{
	struct forward_spec f = {.guest = 80};
	struct machine_look look;
	struct rig r;
	uint16_t ssh;
	char want[80];

	if (!rig_new(&r))
		SKIP("QEMU is not installed");
	close(listener(&ssh));
	r.slice.ssh_port = ssh;
	CHECK_INT(rig_start(&r), 0);
	wait_forwards(&r, &look);
	CHECK_INT(look.n_forwards, 1);
	CHECK(look.forwards[0].host == ssh && look.forwards[0].guest == 22);

	int fd = listener(&f.host);
	r.slice.forwards = &f;
	r.slice.n_forwards = 1;
	CHECK_INT(rig_apply(&r), -EADDRINUSE);
	snprintf(want, sizeof(want), "forwards: port %u is in use by another",
	    f.host);
	CHECK(strstr(err_text(&r.err), want));
	close(fd);
	CHECK_INT(rig_apply(&r), 0);
	CHECK(listens(f.host));

	/* The next daemon sees them. */
	rig_daemon_dies(&r);
	rig_open(&r);
	CHECK_INT(rig_observe(&r), 0);
	wait_forwards(&r, &look);
	CHECK_INT(look.n_forwards, 2);
	f.guest = 81;
	CHECK_INT(rig_apply(&r), 0);
	rig_look(&r, &look);
	CHECK_INT(look.n_forwards, 2);
	CHECK_INT(look.forwards[1].guest + look.forwards[0].guest, 22 + 81);
	r.slice.n_forwards = 0;
	CHECK_INT(rig_apply(&r), 0);
	CHECK(!listens(f.host));
	CHECK(listens(ssh));
	rig_free(&r);
}

static void a_nic_comes(void)
{
	struct machine_look look;
	struct qemu_record record;
	struct rig r;
	char folder[200];

	if (!rig_new(&r))
		SKIP("QEMU is not installed");
	CHECK_INT(rig_start(&r), 0);
	r.slice.n_nics = 2;
	r.nics[1].link = LINK_DOWN;
	CHECK_INT(rig_apply(&r), 0);
	rig_look(&r, &look);
	CHECK_INT(look.n_nics, 2);
	CHECK_INT(look.nics[1].link, LINK_DOWN);

	/* The daemon died before it had noted that. */
	snprintf(folder, sizeof(folder), "%s/launch-%llu", r.run,
	    (unsigned long long)look.launch);
	rig_daemon_dies(&r);
	_cleanup_close_ int fd =
	    open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK_INT(qemu_record_load(fd, &record), 0);
	CHECK_INT(record.n_nics, 2);
	record.n_nics = 1;
	CHECK_INT(qemu_record_save(fd, &record), 0);
	rig_open(&r);
	CHECK_INT(rig_observe(&r), 0);
	rig_look(&r, &look);
	CHECK_INT(look.n_nics, 1);
	CHECK_INT(rig_apply(&r), 0);
	rig_look(&r, &look);
	CHECK_INT(look.n_nics, 2);
	CHECK_INT(look.nics[1].link, LINK_DOWN);
	rig_free(&r);
}

/* A machine with UEFI has no place for what comes. */
static void no_nic_comes(void)
{
	struct machine_look look;
	struct rig r;

	if (!rig_new(&r))
		SKIP("QEMU is not installed");
	if (qemu_uefi_check(NULL) < 0) {
		rig_free(&r);
		SKIP("OVMF is not installed");
	}
	r.slice.firmware = FIRMWARE_UEFI;
	CHECK_INT(rig_start(&r), 0);
	r.slice.n_nics = 2;
	CHECK_INT(rig_apply(&r), -ENOTSUP);
	CHECK(strstr(
	    err_text(&r.err), "nics.san can't come while the machine runs: "));
	rig_look(&r, &look);
	CHECK_INT(look.n_nics, 1);
	r.slice.n_nics = 1;
	CHECK_INT(rig_apply(&r), 0);
	rig_free(&r);
}

/* QEMU repeats its arguments when it complains. */
static void args_are_hidden(void)
{
	static const char *const rows[][2] = {
	    {"-fw_cfg name=opt/key,string=HUSH,bad=1: Invalid parameter 'bad'",
		"-fw_cfg qemu.args[1]: Invalid parameter 'bad'"},
	    {"Could not open 'HUSH': No such file",
		"Could not open 'qemu.args[1]': No such file"},
	    {"HUSHHUSH, opt/key", "qemu.args[2], qemu.args[1]"},
	    {"-nonsense: invalid option, 1", "-nonsense: invalid option, 1"},
	    {"-HUSH", "qemu.args[4]"},
	    {"", ""},
	};
	_cleanup_strv_ char **args =
	    strv_new("-fw_cfg", "name=opt/key,string=HUSH,bad=1", "HUSHHUSH",
		"-nonsense", "-HUSH", NULL);
	char dir[] = "/tmp/test_hide.XXXXXX";

	CHECK(mkdtemp(dir) != NULL);
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_buf_ struct buf none = {0};
	CHECK_INT(qemu_hide_save(fd, NULL), 0);
	qemu_hide(fd, "HUSH", 4, &none);
	CHECK_STR(buf_str(&none), "HUSH");
	CHECK_INT(qemu_hide_save(fd, args), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_buf_ struct buf b = {0};

		qemu_hide(fd, rows[i][0], strlen(rows[i][0]), &b);
		CHECK_STR(buf_str(&b), rows[i][1]);
	}
	CHECK_INT(remove_tree(AT_FDCWD, dir), 0);
}

static void console_is_bounded(void)
{
	struct rig r;
	uint64_t launch = 0, size = 0, oldest = 0;
	char data[16];

	setenv("RACKFS_CONSOLE_MAX", "65536", 1);
	bool there = rig_new(&r);
	unsetenv("RACKFS_CONSOLE_MAX");
	if (!there)
		SKIP("QEMU is not installed");
	CHECK_INT(rig_start(&r), 0);
	CHECK(rig_shows(&r, MARK_READY));
	rig_type(&r, "b");
	uint64_t end = now_mono() + LIMIT;
	do {
		loop_turn(r.loop, 20 * USEC_PER_MSEC);
		machine_qemu.console_stat(r.m, &launch, &size, &oldest);
	} while (oldest < 32768 && now_mono() < end);
	CHECK(oldest >= 32768);
	CHECK(size - oldest >= 65536);
	CHECK_INT(machine_qemu.console_read(r.m, 0, 0, data, 16), 16);
	CHECK(data[0] == 0);
	CHECK_INT(machine_qemu.console_read(r.m, 0, oldest, data, 16), 16);
	CHECK(data[0] != 0);
	CHECK_INT(machine_qemu.console_read(r.m, 0, 1ULL << 40, data, 16), 0);
	/* Not a byte is lost or there twice. */
	char text[8192];
	ssize_t n =
	    machine_qemu.console_read(r.m, 0, oldest, text, sizeof(text) - 1);
	CHECK(n > 1000);
	text[MAX(n, 0)] = '\0';
	char *line = strchr(text, '\n');
	for (char *next; line && (next = strchr(line + 1, '\n')); line = next)
		if (strncmp(line, "\nall work and no play\n", 22) != 0)
			CHECK_STR(line, "a line");
	/* The next daemon finds the same. */
	rig_daemon_dies(&r);
	rig_open(&r);
	CHECK_INT(rig_observe(&r), 0);
	uint64_t later = 0;
	machine_qemu.console_stat(r.m, &launch, &size, &later);
	CHECK(later >= oldest);
	rig_free(&r);
}

static void typing_has_a_limit(void)
{
	struct rig r;
	struct machine_look look;
	char keys[4096];
	ssize_t n;

	if (!rig_new(&r))
		SKIP("QEMU is not installed");
	CHECK_INT(rig_start(&r), 0);
	CHECK(rig_shows(&r, MARK_READY));
	rig_look(&r, &look);
	CHECK_INT(kill(look.pid, SIGSTOP), 0);
	memset(keys, 'z', sizeof(keys));
	do {
		n = machine_qemu.console_write(r.m, keys, sizeof(keys));
	} while (n > 0);
	CHECK_INT(n, -EAGAIN);
	for (int i = 0; i < 5; i++)
		loop_turn(r.loop, 20 * USEC_PER_MSEC);
	CHECK_INT(kill(look.pid, SIGCONT), 0);
	uint64_t end = now_mono() + LIMIT;
	do {
		r.console = 0;
		while (!r.console && now_mono() < end)
			loop_turn(r.loop, 100 * USEC_PER_MSEC);
		n = machine_qemu.console_write(r.m, keys, 1);
	} while (n == -EAGAIN && now_mono() < end);
	CHECK_INT(n, 1);
	rig_free(&r);
}

static void three_runs_are_kept(void)
{
	struct rig r;
	struct machine_look look;
	char data[8];

	if (!rig_new(&r))
		SKIP("QEMU is not installed");
	for (int i = 0; i < 5; i++) {
		CHECK_INT(rig_start(&r), 0);
		CHECK(rig_shows(&r, MARK_WAITING));
		CHECK_INT(rig_stop(&r, true), 0);
	}
	CHECK(machine_qemu.console_read(r.m, 3, 0, data, 8) > 0);
	CHECK_INT(machine_qemu.console_read(r.m, 2, 0, data, 8), -ENOENT);
	/* A reboot of the host empties the runtime directory: numbers go on,
	 * and nothing is claimed of how the last run ended. */
	rig_daemon_dies(&r);
	remove_tree(AT_FDCWD, r.run);
	mkdir(r.run, 0700);
	rig_open(&r);
	CHECK_INT(rig_observe(&r), 0);
	rig_look(&r, &look);
	CHECK_INT(look.launch, 5);
	CHECK_INT(look.end, END_NONE);
	CHECK(machine_qemu.console_read(r.m, 0, 0, data, 8) > 0);
	CHECK_INT(rig_start(&r), 0);
	rig_look(&r, &look);
	CHECK_INT(look.launch, 6);
	rig_free(&r);
}

static const struct test_case cases[] = {
    CASE(starts_and_stops),
    CASE(identity_and_console),
    CASE(adopts),
    CASE(tells_poweroff),
    CASE(tells_reboot),
    CASE(tells_panic),
    CASE(tells_kill),
    CASE(kill_is_seen_at_once),
    CASE(stopped_process_is_ended),
    CASE(cancel_of_start),
    CASE(says_what_is_wrong),
    CASE(changes_live),
    CASE(forwards_come_and_go),
    CASE(a_nic_comes),
    CASE(no_nic_comes),
    CASE(args_are_hidden),
    CASE(console_is_bounded),
    CASE(typing_has_a_limit),
    CASE(three_runs_are_kept),
};
TEST_MAIN(cases)
