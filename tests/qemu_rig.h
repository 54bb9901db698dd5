/* SPDX-License-Identifier: Apache-2.0
 *
 * A machine of the driver "qemu" for tests, in a folder of its own.  Its guest
 * is a boot sector that is given as a disk: it asks for its identity, repeats
 * on the console what comes on its second serial port, and obeys single keys.
 */
#ifndef RACKFS_QEMU_RIG_H
#define RACKFS_QEMU_RIG_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
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
	struct machine_nic nics[2];
	struct op op;
	bool done;
	int code;
	struct err err;
	struct buf log;
	unsigned asked;
	unsigned console; /* times that it was told of */
};

static inline void rig_op_done(struct op *op, int code, const struct err *err)
{
	struct rig *r = op->owner;

	r->done = true;
	r->code = code;
	err_copy(&r->err, err);
}

static inline void rig_log(void *owner, const char *text, size_t len)
{
	struct rig *r = owner;

	buf_append(&r->log, text, len);
	buf_putc(&r->log, '\n');
}

static inline void rig_changed(void *owner)
{
}

static inline void rig_console_changed(void *owner)
{
	struct rig *r = owner;

	r->console++;
}

static inline int rig_identity(void *owner, struct buf *ret, struct err *err)
{
	struct rig *r = owner;
	struct newc *n = newc_new();

	r->asked++;
	newc_add(n, "etc/hostname", 0644, "node07\n", 7);
	return newc_finish(n, ret, err);
}

static inline void rig_open(struct rig *r)
{
	CHECK_INT(machine_qemu.open(&r->env, rig_identity, rig_console_changed,
		      &r->m, &r->err),
	    0);
}

static inline bool rig_new(struct rig *r)
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
	r->nics[1] = (struct machine_nic){
	    .name = "san", .mac = {0x52, 0x54, 0, 0, 7, 2}};
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

static inline void rig_look(struct rig *r, struct machine_look *look)
{
	machine_qemu.look(r->m, look);
}

static inline int rig_wait(struct rig *r)
{
	uint64_t end = now_mono() + LIMIT;

	while (!r->done && now_mono() < end)
		loop_turn(r->loop, 100 * USEC_PER_MSEC);
	CHECK(r->done);
	if (r->done && r->code < 0)
		printf("# %s\n", err_text(&r->err));
	return r->done ? r->code : -ETIME;
}

static inline int rig_start(struct rig *r)
{
	r->done = false;
	int code =
	    machine_start(&machine_qemu, r->m, &r->slice, &r->op, &r->err);
	return code < 0 ? code : rig_wait(r);
}

static inline int rig_stop(struct rig *r, bool hard)
{
	r->done = false;
	int code = machine_stop(&machine_qemu, r->m, hard, &r->op, &r->err);
	return code < 0 ? code : rig_wait(r);
}

static inline int rig_observe(struct rig *r)
{
	r->done = false;
	int code = machine_observe(&machine_qemu, r->m, &r->op, &r->err);
	return code < 0 ? code : rig_wait(r);
}

static inline int rig_apply(struct rig *r)
{
	r->done = false;
	int code =
	    machine_apply(&machine_qemu, r->m, &r->slice, &r->op, &r->err);
	return code < 0 ? code : rig_wait(r);
}

static inline bool rig_ended(struct rig *r, struct machine_look *look)
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
static inline void rig_console(struct rig *r, uint64_t launch, struct buf *ret)
{
	char data[4096];
	ssize_t n;

	buf_clear(ret);
	while ((n = machine_qemu.console_read(
		    r->m, launch, ret->len, data, sizeof(data))) > 0)
		buf_append(ret, data, (size_t)n);
}

static inline bool rig_shows(struct rig *r, const char *text)
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

static inline void rig_type(struct rig *r, const char *keys)
{
	CHECK_INT(
	    machine_qemu.console_write(r->m, keys, strlen(keys)), strlen(keys));
}

/* As a daemon that is killed, and the next one. */
static inline void rig_daemon_dies(struct rig *r)
{
	machine_qemu.close(r->m);
	r->m = NULL;
}

/* Waits for the end of a process that is not watched. */
static inline void wait_pid(struct rig *r, pid_t pid)
{
	uint64_t end = now_mono() + LIMIT;

	/* The first daemon of this test reaps it: the loop must turn. */
	while (kill(pid, 0) == 0 && now_mono() < end)
		loop_turn(r->loop, 10 * USEC_PER_MSEC);
	CHECK(kill(pid, 0) < 0);
}

static inline void rig_free(struct rig *r)
{
	if (r->m) {
		rig_stop(r, true);
		machine_qemu.close(r->m);
	}
	loop_free(r->loop);
	buf_done(&r->log);
	remove_tree(AT_FDCWD, r->dir);
}

#endif
