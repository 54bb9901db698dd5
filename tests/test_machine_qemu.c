/* SPDX-License-Identifier: Apache-2.0
 *
 * The machine driver "qemu" against the real QEMU.  The guest is a boot sector
 * that is given as a disk: it asks for its identity, repeats on the console
 * what comes on its second serial port, and obeys single keys.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/drivers/machine_qemu.h"
#include "host/newc.h"
#include "identity.h"
#include "tests/test.h"

/* clang-format off */
__asm__(
"	.pushsection .rodata\n"
"	.globl guest_start, guest_end\n"
"	.code16\n"
"guest_start:\n"
"	cli; xor %ax, %ax; mov %ax, %ds; mov %ax, %es; mov %ax, %ss\n"
"	mov $0x7c00, %sp; sti\n"
"	mov $0x3fb, %dx; mov $3, %al; out %al, %dx\n"
"	mov $0x2fb, %dx; out %al, %dx\n"
"	xor %bp, %bp\n"                         /* bp: has it said ready? */
"ask:	test %bp, %bp; jnz quiet\n"
"	mov $(m_ask - guest_start + 0x7c00), %si; call print\n"
"quiet:	mov 0x46c, %bx\n"                       /* ticks, 18.2 a second */
"poll:	mov $0x2fd, %dx; in %dx, %al; test $1, %al; jnz second\n"
"	mov $0x3fd, %dx; in %dx, %al; test $1, %al; jnz key\n"
"	mov 0x46c, %ax; sub %bx, %ax; cmp $18, %ax; jb poll\n"
"	jmp ask\n"
"second: test %bp, %bp; jnz 3f; inc %bp\n"
"	mov $(m_ready - guest_start + 0x7c00), %si; call print\n"
"3:	mov $0x2f8, %dx; in %dx, %al; call putc\n"
"	jmp poll\n"
"key:	mov $0x3f8, %dx; in %dx, %al\n"
"	cmp $'p', %al; je off\n"
"	cmp $'r', %al; je reset\n"
"	cmp $'!', %al; je panic\n"
"	cmp $'b', %al; je babble\n"
"	call putc; jmp poll\n"
"off:	mov $0x604, %dx; mov $0x2000, %ax; out %ax, %dx; jmp poll\n"
"reset:	mov $0xfe, %al; out %al, $0x64; jmp poll\n"
"panic:	mov $0x505, %dx; mov $1, %al; out %al, %dx; jmp poll\n"
"babble: mov $(m_line - guest_start + 0x7c00), %si; call print; jmp babble\n"
"print:	lodsb; test %al, %al; jz 1f; call putc; jmp print\n"
"1:	ret\n"
"putc:	push %dx; push %ax\n"
"2:	mov $0x3fd, %dx; in %dx, %al; test $0x20, %al; jz 2b\n"
"	pop %ax; mov $0x3f8, %dx; out %al, %dx; pop %dx; ret\n"
"m_ask:	.asciz \"" MARK_WAITING "\\n\"\n"
"m_ready: .asciz \"\\n" MARK_READY "\\n\"\n"
"m_line: .asciz \"all work and no play\\n\"\n"
"	.org guest_start + 510, 0\n"
"	.byte 0x55, 0xaa\n"
"guest_end:\n"
"	.code64\n"
"	.popsection\n"
);
/* clang-format on */
extern const char guest_start[512], guest_end[];

#define LIMIT (20 * USEC_PER_SEC)

struct rig {
	struct loop *loop;
	char dir[128];
	char state[160], run[160], disk[192];
	struct driver_env env;
	void *m;
	struct machine_slice slice;
	struct machine_disk disks[1];
	struct machine_nic nics[1];
	struct op op;
	bool done;
	int code;
	struct err err;
	struct buf log;
	unsigned asked;
	unsigned console; /* times that it was told of */
};

static void rig_op_done(struct op *op, int code, const struct err *err)
{
	struct rig *r = op->owner;

	r->done = true;
	r->code = code;
	err_copy(&r->err, err);
}

static void rig_log(void *owner, const char *text, size_t len)
{
	struct rig *r = owner;

	buf_append(&r->log, text, len);
	buf_putc(&r->log, '\n');
}

static void rig_changed(void *owner)
{
}

static void rig_console_changed(void *owner)
{
	struct rig *r = owner;

	r->console++;
}

static int rig_identity(void *owner, struct buf *ret, struct err *err)
{
	struct rig *r = owner;
	struct newc *n = newc_new();

	r->asked++;
	newc_add(n, "etc/hostname", 0644, "node07\n", 7);
	return newc_finish(n, ret, err);
}

static void rig_open(struct rig *r)
{
	CHECK_INT(machine_qemu.open(&r->env, rig_identity, rig_console_changed,
		      &r->m, &r->err),
	    0);
}

static bool rig_new(struct rig *r)
{
	*r = (struct rig){0};
	if (machine_qemu.available(&r->err) < 0)
		return false;
	CHECK_INT(loop_new(&r->loop), 0);
	const char *tmp = getenv("TMPDIR");
	snprintf(r->dir, sizeof(r->dir), "%s/rackfs-qemu.XXXXXX",
	    tmp && strlen(tmp) < 64 ? tmp : "/tmp");
	CHECK(mkdtemp(r->dir) != NULL);
	snprintf(r->state, sizeof(r->state), "%s/st,ate", r->dir);
	snprintf(r->run, sizeof(r->run), "%s/run", r->dir);
	snprintf(r->disk, sizeof(r->disk), "%s/disk,1.raw", r->state);
	mkdir(r->state, 0700);
	mkdir(r->run, 0700);
	int fd = open(r->disk, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	CHECK_INT(write_all(fd, guest_start, 512), 0);
	CHECK_INT(ftruncate(fd, 1 << 20), 0);
	close(fd);
	r->env = (struct driver_env){
	    .loop = r->loop,
	    .name = "node07",
	    .number = 7,
	    .state_dir = r->state,
	    .runtime_dir = r->run,
	    .changed = rig_changed,
	    .log = rig_log,
	    .owner = r,
	};
	r->op = (struct op){.what = "test", .done = rig_op_done, .owner = r};
	r->disks[0] = (struct machine_disk){
	    .name = "disk",
	    .path = r->disk,
	    .format = FORMAT_RAW,
	    .size = 1 << 20,
	};
	r->nics[0] = (struct machine_nic){
	    .name = "lan", .mac = {0x52, 0x54, 0, 0, 7, 1}};
	r->slice = (struct machine_slice){
	    .cpus = 1,
	    .memory = 64 * MIB,
	    .identity = true,
	    .disks = r->disks,
	    .n_disks = 1,
	    .nics = r->nics,
	    .n_nics = 1,
	};
	rig_open(r);
	return true;
}

static void rig_look(struct rig *r, struct machine_look *look)
{
	machine_qemu.look(r->m, look);
}

static int rig_wait(struct rig *r)
{
	uint64_t end = now_mono() + LIMIT;

	while (!r->done && now_mono() < end)
		loop_turn(r->loop, 100 * USEC_PER_MSEC);
	CHECK(r->done);
	if (r->done && r->code < 0)
		printf("# %s\n", err_text(&r->err));
	return r->done ? r->code : -ETIME;
}

static int rig_start(struct rig *r)
{
	r->done = false;
	int code =
	    machine_start(&machine_qemu, r->m, &r->slice, &r->op, &r->err);
	return code < 0 ? code : rig_wait(r);
}

static int rig_stop(struct rig *r, bool hard)
{
	r->done = false;
	int code = machine_stop(&machine_qemu, r->m, hard, &r->op, &r->err);
	return code < 0 ? code : rig_wait(r);
}

static int rig_observe(struct rig *r)
{
	r->done = false;
	int code = machine_observe(&machine_qemu, r->m, &r->op, &r->err);
	return code < 0 ? code : rig_wait(r);
}

static int rig_apply(struct rig *r)
{
	r->done = false;
	int code =
	    machine_apply(&machine_qemu, r->m, &r->slice, &r->op, &r->err);
	return code < 0 ? code : rig_wait(r);
}

static bool rig_ended(struct rig *r, struct machine_look *look)
{
	uint64_t end = now_mono() + LIMIT;

	do {
		rig_look(r, look);
		if (look->state == MACHINE_NONE)
			return true;
		loop_turn(r->loop, 100 * USEC_PER_MSEC);
	} while (now_mono() < end);
	return false;
}

/* The console's bytes of a run. */
static void rig_console(struct rig *r, uint64_t launch, struct buf *ret)
{
	char data[4096];
	ssize_t n;

	buf_clear(ret);
	while ((n = machine_qemu.console_read(
		    r->m, launch, ret->len, data, sizeof(data))) > 0)
		buf_append(ret, data, (size_t)n);
}

static bool rig_shows(struct rig *r, const char *text)
{
	uint64_t end = now_mono() + LIMIT;
	_cleanup_buf_ struct buf b = {0};

	do {
		rig_console(r, 0, &b);
		if (b.len && memmem(b.data, b.len, text, strlen(text)))
			return true;
		loop_turn(r->loop, 20 * USEC_PER_MSEC);
	} while (now_mono() < end);
	return false;
}

static void rig_type(struct rig *r, const char *keys)
{
	CHECK_INT(
	    machine_qemu.console_write(r->m, keys, strlen(keys)), strlen(keys));
}

/* As a daemon that is killed, and the next one. */
static void rig_daemon_dies(struct rig *r)
{
	machine_qemu.close(r->m);
	r->m = NULL;
}

/* Waits for the end of a process that is not watched. */
static void wait_pid(struct rig *r, pid_t pid)
{
	uint64_t end = now_mono() + LIMIT;

	/* The first daemon of this test reaps it: the loop must turn. */
	while (kill(pid, 0) == 0 && now_mono() < end)
		loop_turn(r->loop, 10 * USEC_PER_MSEC);
	CHECK(kill(pid, 0) < 0);
}

static void rig_free(struct rig *r)
{
	if (r->m) {
		rig_stop(r, true);
		machine_qemu.close(r->m);
	}
	loop_free(r->loop);
	buf_done(&r->log);
	remove_tree(AT_FDCWD, r->dir);
}

/* --- cases
 * ------------------------------------------------------------------------ */

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
	uint64_t at = now_mono();
	CHECK_INT(kill(look.pid, SIGKILL), 0);
	CHECK(rig_ended(&r, &look));
	CHECK(now_mono() - at < USEC_PER_SEC);
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

static void makes_disks(void)
{
	struct rig r;
	struct machine_look look;
	char path[256];
	struct stat st;

	if (!rig_new(&r))
		SKIP("QEMU is not installed");
	snprintf(path, sizeof(path), "%s/new,disk.qcow2", r.state);
	r.disks[0] = (struct machine_disk){.name = "disk",
	    .path = path,
	    .format = FORMAT_QCOW2,
	    .size = 16 * MIB};
	CHECK_INT(rig_start(&r), 0);
	rig_look(&r, &look);
	CHECK_INT(look.disk_size, 16 * MIB);
	/* Grown while it runs, then while it is down. */
	r.disks[0].size = 32 * MIB;
	CHECK_INT(rig_apply(&r), 0);
	CHECK_INT(rig_stop(&r, true), 0);
	r.disks[0].size = 64 * MIB;
	CHECK_INT(rig_start(&r), 0);
	rig_look(&r, &look);
	CHECK_INT(look.disk_size, 64 * MIB);
	CHECK_INT(rig_stop(&r, true), 0);
	/* Never shrunk. */
	r.disks[0].size = 16 * MIB;
	CHECK_INT(rig_start(&r), 0);
	rig_look(&r, &look);
	CHECK_INT(look.disk_size, 64 * MIB);
	CHECK_INT(rig_stop(&r, true), 0);
	snprintf(path, sizeof(path), "%s/new.raw", r.state);
	r.disks[0].format = FORMAT_RAW;
	r.disks[0].size = 3 * MIB;
	CHECK_INT(rig_start(&r), 0);
	CHECK_INT(stat(path, &st), 0);
	CHECK_INT(st.st_size, 3 * MIB);
	CHECK_INT(st.st_mode & 0777, 0600);
	rig_free(&r);
}

static uint64_t file_size(const char *path)
{
	struct stat st;

	CHECK_INT(stat(path, &st), 0);
	return (uint64_t)st.st_size;
}

/* As many as there can be: each is made, and grown by its name. */
static void takes_many_disks(void)
{
	struct rig r;
	struct machine_look look;
	struct machine_disk disks[DISKS_MAX];
	char names[DISKS_MAX][16], paths[DISKS_MAX][256];

	if (!rig_new(&r))
		SKIP("QEMU is not installed");
	disks[0] = r.disks[0];
	for (size_t i = 1; i < DISKS_MAX; i++) {
		snprintf(names[i], sizeof(names[i]), "volume-%zu", i);
		snprintf(
		    paths[i], sizeof(paths[i]), "%s/%s.raw", r.state, names[i]);
		disks[i] = (struct machine_disk){.name = names[i],
		    .path = paths[i],
		    .format = FORMAT_RAW,
		    .size = i * MIB};
	}
	r.slice.disks = disks;
	r.slice.n_disks = DISKS_MAX;
	CHECK_INT(rig_start(&r), 0);
	CHECK(rig_shows(&r, MARK_WAITING)); /* the first one boots */
	CHECK_INT(file_size(paths[3]), 3 * MIB);
	CHECK_INT(file_size(paths[DISKS_MAX - 1]), (DISKS_MAX - 1) * MIB);
	/* The next daemon's slice has fewer, in another order, and one that the
	 * machine was not started with. */
	rig_daemon_dies(&r);
	rig_open(&r);
	CHECK_INT(rig_observe(&r), 0);
	disks[2].size = 40 * MIB;
	disks[1] = disks[DISKS_MAX - 1];
	disks[1].size = 30 * MIB;
	disks[3].name = "later";
	disks[3].size = 50 * MIB;
	r.slice.n_disks = 4;
	CHECK_INT(rig_apply(&r), 0);
	CHECK_INT(file_size(paths[1]), 1 * MIB);
	CHECK_INT(file_size(paths[2]), 40 * MIB);
	CHECK_INT(file_size(paths[3]), 3 * MIB);
	CHECK_INT(file_size(paths[DISKS_MAX - 1]), 30 * MIB);
	rig_look(&r, &look);
	CHECK_INT(look.disk_size, 1 * MIB);
	rig_free(&r);
}

/* Two machines on one file would destroy it; what is only read can be shared,
 * and neither made, grown nor written to. */
static void disks_are_not_shared(void)
{
	struct rig a, b;
	struct machine_disk disks[2];
	char payload[256];

	if (!rig_new(&a))
		SKIP("QEMU is not installed");
	CHECK(rig_new(&b));
	snprintf(payload, sizeof(payload), "%s/payload.tar", a.dir);
	disks[0] = a.disks[0];
	disks[1] = (struct machine_disk){.name = "payload",
	    .path = payload,
	    .format = FORMAT_RAW,
	    .size = 64 * MIB,
	    .readonly = true};
	a.slice.disks = disks;
	a.slice.n_disks = 2;
	CHECK_INT(rig_start(&a), -ENOENT);
	CHECK(access(payload, F_OK) < 0);
	int fd = open(payload, O_WRONLY | O_CREAT | O_CLOEXEC, 0400);
	/* Neither its size nor its first bytes are those of a disk. */
	CHECK_INT(write_all(fd, "QFI\xfb and so on", 15), 0);
	close(fd);
	CHECK_INT(rig_start(&a), 0);
	CHECK(rig_shows(&a, MARK_WAITING));
	CHECK_INT(rig_apply(&a), 0);
	CHECK_INT(file_size(payload), 15);

	b.disks[0].path = a.disk;
	CHECK_INT(rig_start(&b), -EIO);
	CHECK(strstr(err_text(&b.err), "another process using the image"));
	b.disks[0].path = b.disk;
	struct machine_disk shared[2] = {b.disks[0], disks[1]};
	b.slice.disks = shared;
	b.slice.n_disks = 2;
	CHECK_INT(rig_start(&b), 0);
	CHECK(rig_shows(&b, MARK_WAITING));
	rig_free(&b);
	rig_free(&a);
}

/* A system that says nothing on its console is started, adopted and stopped as
 * any other; by UEFI too, whose variables are its own. */
static void silent_machines(void)
{
	struct rig r;
	struct machine_look look;

	for (int uefi = 0; uefi < 2; uefi++) {
		if (!rig_new(&r))
			SKIP("QEMU is not installed");
		if (uefi && qemu_uefi_check(&r.err) < 0) {
			rig_free(&r);
			SKIP("ovmf is not installed");
		}
		int fd = open(r.disk, O_WRONLY | O_TRUNC | O_CLOEXEC);
		CHECK_INT(ftruncate(fd, 1 << 20), 0);
		close(fd);
		r.slice.memory = 256 * MIB;
		r.slice.identity = false;
		r.slice.from_disk = true;
		r.slice.firmware = uefi ? FIRMWARE_UEFI : FIRMWARE_DIRECT;
		CHECK_INT(rig_start(&r), 0);
		rig_look(&r, &look);
		pid_t pid = look.pid;
		rig_daemon_dies(&r);
		rig_open(&r);
		CHECK_INT(rig_observe(&r), 0);
		rig_look(&r, &look);
		CHECK_INT(look.state, MACHINE_RUNNING);
		CHECK_INT(look.pid, pid);
		CHECK_INT(look.disk_size, 1 << 20);
		CHECK(!look.marked);
		_cleanup_free_ char *vars =
		    xasprintf("%s/launch-1/vars.fd", r.run);
		CHECK_INT(access(vars, F_OK), uefi ? 0 : -1);
		CHECK_INT(rig_stop(&r, true), 0);
		rig_free(&r);
	}
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
    CASE(makes_disks),
    CASE(takes_many_disks),
    CASE(disks_are_not_shared),
    CASE(silent_machines),
    CASE(console_is_bounded),
    CASE(typing_has_a_limit),
    CASE(three_runs_are_kept),
};
TEST_MAIN(cases)
