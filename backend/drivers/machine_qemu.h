/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the machine driver "qemu" share.
 *
 *   machine_qemu.c           the handle, its operations, observe
 *   machine_qemu_start.c     start: checks, accelerator, disks, launch
 *   machine_qemu_run.c       a running QEMU: sockets, end
 *   machine_qemu_live.c      apply: plugs, links, disk sizes
 *   machine_qemu_plug.c      ... and disks that came
 *   machine_qemu_forward.c   ... and ports that lead into the guest
 *   machine_qemu_argv.c      slice -> command line (pure)
 *   machine_qemu_slice.c     a slice that outlives its call
 *   machine_qemu_check.c     what is wrong before anything starts
 *   machine_qemu_accel.c     KVM or not, asked once for all machines
 *   machine_qemu_disk.c      disk files: made, grown
 *   machine_qemu_firmware.c  UEFI: where it is, its variables
 *   machine_qemu_console.c   the console's log and its socket
 *   machine_qemu_identity.c  the second serial port
 *   machine_qemu_record.c    what is remembered in the launch folder
 */
#ifndef RACKFS_MACHINE_QEMU_H
#define RACKFS_MACHINE_QEMU_H

#include "driver.h"
#include "host/child.h"
#include "host/launch.h"
#include "host/qmp.h"

extern const struct machine_driver machine_qemu;

#define QEMU_PROGRAM "qemu-system-x86_64"
#define DISKS_MAX    MACHINE_DISKS_MAX
#define SERIAL_MAX   DISK_NAME_MAX
/* libvdeplug puts its own socket beside the switch's: "/.<pid>-<number>", cut
 * off at sockaddr_un's 108 bytes without a word. */
#define ENDPOINT_MAX 91

/* --- pure: machine_qemu_argv.c, machine_qemu_slice.c ------------------- */

struct qemu_argv {
	const char *name; /* of the node */
	char uuid[37];
	bool kvm;
};
/* The command line but for slice->extra_args; owned. */
char **qemu_argv(const struct machine_slice *s, const struct qemu_argv *o);
/* QMP's arguments, owned: of device_add for NIC number i; of blockdev-add for
 * disk number i; of device_add for it, at the slot-th of QEMU_PLUG_SLOTS places
 * that no start uses. */
#define QEMU_PLUG_SLOTS 8
char *qemu_nic_device(const struct machine_nic *n, unsigned i);
char *qemu_blockdev(const struct machine_disk *d, unsigned i);
char *qemu_plug_device(const struct machine_disk *d, unsigned i, unsigned slot);
/* A uuid that stays the same for the same node: machine-id, DHCP. */
void qemu_uuid(const char *state_dir, const char *name, char ret[37]);
/* The virtio serial of a disk; borrowed. */
const char *qemu_disk_serial(const char *disk_name);
/* Does UEFI boot it?  A kernel that is given needs no firmware but ours. */
bool qemu_boots_uefi(const struct machine_slice *s);

struct machine_slice *qemu_slice_copy(const struct machine_slice *s);
void qemu_slice_free(struct machine_slice *s);

/* --- checks: machine_qemu_check.c -------------------------------------- */

/* Kernel and initrd are readable, ports free, endpoints short enough. */
int qemu_check(const struct machine_slice *s, struct err *err);
/* key: of the spec, for the sentence. */
int qemu_check_port(uint16_t port, const char *key, struct err *err);

/* --- accelerator: machine_qemu_accel.c --------------------------------- */

struct qemu_accel;
/* One answer for all handles of a loop, kept while one of them is open. */
struct qemu_accel *qemu_accel_ref(struct loop *l);
void qemu_accel_unref(struct qemu_accel *a);
struct qemu_accel_wait;
/* fn once, not from within; `dir` is for the probe's file.  Freed by the
 * caller, also after fn. */
int qemu_accel_ask(struct qemu_accel *a, const char *dir,
    void (*fn)(bool kvm, const char *why, void *userdata), void *userdata,
    struct qemu_accel_wait **ret, struct err *err);
void qemu_accel_wait_free(struct qemu_accel_wait *w);

/* --- disk files: machine_qemu_disk.c ----------------------------------- */

struct qemu_disk_job;
/* Makes the file when it is missing, grows a smaller one.  done is not called
 * from within; *ret_size of it: bytes that a guest will see. */
int qemu_disk_ensure(struct loop *l, const struct machine_disk *d,
    void (*done)(
	int code, uint64_t size, const struct err *err, void *userdata),
    void (*log)(const char *text, void *userdata), void *userdata,
    struct qemu_disk_job **ret, struct err *err);
void qemu_disk_job_free(struct qemu_disk_job *j);
/* Virtual size of an existing file; -ENOENT; -EINVAL when it is not of that
 * format. */
int qemu_disk_size(
    const char *path, enum disk_format format, uint64_t *ret, struct err *err);

/* --- firmware: machine_qemu_firmware.c --------------------------------- */

#define UEFI_VARS "vars.fd" /* in the launch folder */
/* The code of UEFI; it is shared and never written to. */
const char *qemu_uefi_code(void);
int qemu_uefi_check(struct err *err);
/* Puts a fresh copy of its variables into the launch folder. */
int qemu_uefi_prepare(int folder, struct err *err);

/* --- console: machine_qemu_console.c ----------------------------------- */

struct qemu_console;
struct qemu_console_callbacks {
	void (*grew)(void *userdata);  /* also: room to type again */
	void (*asked)(void *userdata); /* MARK_WAITING in new output */
	void (*caught_up)(
	    void *userdata); /* first look at an old log is done */
};
int qemu_console_new(struct loop *l, const char *state_dir,
    const struct qemu_console_callbacks *cb, void *userdata,
    struct qemu_console **ret, struct err *err);
void qemu_console_free(struct qemu_console *c);
/* The log file of a run, owned path. */
char *qemu_console_path(const char *state_dir, uint64_t launch);
/* Number of the newest log in state_dir, 0: none. */
uint64_t qemu_console_newest(const char *state_dir);
/* Removes all logs but those of the newest `keep` runs. */
void qemu_console_prune(const char *state_dir, unsigned keep);
/* This run's log is the last one from now on.  adopted: what is there is not
 * new, so a question in it is not answered. */
int qemu_console_begin(
    struct qemu_console *c, uint64_t launch, bool adopted, struct err *err);
/* Opens what is typed into. */
int qemu_console_attach(struct qemu_console *c, int folder);
bool qemu_console_attached(const struct qemu_console *c);
bool qemu_console_caught_up(const struct qemu_console *c);
/* The machine has ended: reads what is left. */
void qemu_console_end(struct qemu_console *c);
/* Fills marked, last_output and last_line. */
void qemu_console_look(struct qemu_console *c, struct machine_look *ret);
ssize_t qemu_console_read(struct qemu_console *c, uint64_t launch, uint64_t off,
    void *data, size_t len);
void qemu_console_stat(struct qemu_console *c, uint64_t *ret_launch,
    uint64_t *ret_size, uint64_t *ret_oldest);
/* -EAGAIN: full or not connected. */
ssize_t qemu_console_write(
    struct qemu_console *c, const void *data, size_t len);

/* --- record: machine_qemu_record.c ------------------------------------- */

/* Between commands that plug: neither the old nor a new network. */
#define PLUG_UNKNOWN UINT64_MAX

struct qemu_record {
	char accel[8], accel_why[160];
	bool identity;
	size_t n_nics;
	struct {
		uint64_t incarnation; /* 0: not plugged; PLUG_UNKNOWN */
		enum link_state link;
	} nics[NICS_MAX];
	uint64_t said; /* bytes of stderr that are in the log */
};
int qemu_record_save(int folder, const struct qemu_record *r);
int qemu_record_load(int folder, struct qemu_record *ret);
/* stop() is about to end it. */
int qemu_record_stopped(int folder);
/* Makes what QEMU writes its events to: events.out, and the FIFO events.in
 * with the command in it that starts them; *ret_fifo must stay open until
 * QEMU has opened it. */
int qemu_record_events(int folder, int *ret_fifo, struct err *err);
/* Starts the events of an adopted QEMU whose daemon died before that. */
void qemu_record_events_again(int folder);
/* How the run of this folder ended; code and status as launch_watch(). */
enum machine_end qemu_record_end(
    int folder, int code, int status, char *text, size_t size);
/* QEMU's last words: a line of `stderr` without its program's name. */
void qemu_record_words(int folder, struct buf *ret);

/* Keeps the words of qemu.args in the folder; NULL: there are none. */
int qemu_hide_save(int folder, char *const *args);
/* Appends what QEMU wrote, without the values of those. */
void qemu_hide(int folder, const char *text, size_t len, struct buf *ret);

/* --- the handle -------------------------------------------------------- */

enum qemu_doing { IDLE, OBSERVING, STARTING, PRESSING, KILLING, APPLYING };

struct qemu_call; /* a QMP command under way */

struct qemu {
	struct driver_env env;
	int (*identity)(void *owner, struct buf *ret, struct err *err);
	void (*console_changed)(void *owner);
	struct qemu_accel *accel;
	struct qemu_console *console;
	struct machine_look look;

	/* the operation under way */
	struct op *op;
	enum qemu_doing doing;
	unsigned
	    generation; /* of operations: answers to old ones are dropped */
	struct machine_slice *slice;
	struct loop_source *finish, *op_timer;
	bool finished, cancelled;
	int finish_code;
	struct err finish_err;

	/* start */
	struct qemu_accel_wait *accel_wait;
	struct qemu_disk_job *disk_job;
	size_t disk; /* next to be made */
	int events_fifo;
	bool launched; /* this operation started a QEMU */

	/* the running machine */
	struct launch *launch;
	struct qmp *qmp;
	struct qemu_call *calls;
	struct qemu_identity *id;
	struct qemu_record record;
	struct loop_source *connect, *kill_timer, *said;
	uint64_t attached; /* when, CLOCK_MONOTONIC */
	bool ready;        /* QMP is */
	bool status_known, running, sizes_known;
	bool out_of_space; /* paused by QEMU until the host has room */
	bool live;         /* a start has come to links and sizes */
	unsigned kills;    /* steps taken to end it */
	struct {
		char name[SERIAL_MAX + 1]; /* "" where there is none */
		uint64_t size;             /* that the guest sees */
	} disks[DISKS_MAX];
	size_t n_disks;
	unsigned live_step, plug_step, plug_slot;
	uint64_t plug_size;
};

/* machine_qemu.c */
void qemu_finish(struct qemu *q, int code, const struct err *err);
void qemu_log(struct qemu *q, const char *fmt, ...) PRINTF(2, 3);
void qemu_changed(struct qemu *q);
/* Called whenever something became known: may end observe, go on with start. */
void qemu_progressed(struct qemu *q);
/* The machine has ended; look is filled. */
void qemu_gone(struct qemu *q);

/* machine_qemu_start.c */
int qemu_start(struct qemu *q, struct err *err);
void qemu_start_drop(struct qemu *q); /* frees what start made */

/* machine_qemu_run.c */
int qemu_attach(struct qemu *q, bool adopted, struct err *err);
void qemu_detach(struct qemu *q); /* the machine goes on */
void qemu_kill(struct qemu *q);   /* quit, then SIGKILL */
void qemu_ask_status(struct qemu *q);
/* One QMP command; fn is dropped when the operation that asked is over.
 * arguments: JSON text or NULL. */
int qemu_ask(struct qemu *q, const char *command, const char *arguments,
    void (*fn)(
	struct qemu *q, int code, const char *result, const struct err *err));
/* The same for what is no part of an operation: fn is called in any case. */
int qemu_ask_always(struct qemu *q, const char *command, const char *arguments,
    void (*fn)(
	struct qemu *q, int code, const char *result, const struct err *err));
void qemu_plugs_to_look(struct qemu *q);

/* machine_qemu_live.c */
void qemu_live_next(struct qemu *q);
/* Lets NIC i send when its switch is dead; once more does no harm. */
void qemu_hub_open(struct qemu *q, size_t i);

/* machine_qemu_forward.c */
/* What `info usernet` says of the management NIC; returns the count. */
size_t qemu_forwards_parse(
    const char *text, struct forward_spec *ret, size_t max);
void qemu_ask_forwards(struct qemu *q);
bool qemu_forwards_differ(const struct qemu *q);
int qemu_forward_next(struct qemu *q); /* then qemu_live_next() again */

/* machine_qemu_plug.c */
/* A live disk of the slice that the machine has not, or NULL. */
const struct machine_disk *qemu_disk_to_plug(const struct qemu *q);
void qemu_plug_disk(struct qemu *q); /* then qemu_live_next() again */
void qemu_disks_to_look(struct qemu *q);

/* machine_qemu_identity.c */
struct qemu_identity;
int qemu_identity_new(struct loop *l, int fd, void (*closed)(void *userdata),
    void *userdata, struct qemu_identity **ret);
void qemu_identity_free(struct qemu_identity *i);
/* Sends what identity() gives; no more than once a second, and not while the
 * last frame is on its way.  1: sent; 0: not now; negative: err says why. */
int qemu_identity_send(struct qemu_identity *i,
    int (*identity)(void *owner, struct buf *ret, struct err *err), void *owner,
    struct err *err);

#endif
