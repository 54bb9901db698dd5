/* SPDX-License-Identifier: Apache-2.0
 *
 * What a driver is.  Each kind is a struct that begins with name, help and
 * available(), and stands as one static struct at the end of its file;
 * backend/engine/registry.c is the table of all.  Drivers hold mechanism;
 * retry, timeouts, order and policy are the engine's.
 *
 * The contract of every call that takes an op:
 *   - 0 means accepted: op->done fires exactly once, later, on the loop's
 *     thread, never from within the call.
 *   - negative means rejected (err says why): done never fires.
 *   - op_cancel() asks an accepted call to end soon; done still fires, with
 *     -ECANCELED unless it had just finished.
 *   - slices and text are borrowed for the duration of the call only.
 * One operation at a time for each object, but cancel.
 * done's code: 0, or a negative errno with a sentence.  -EAGAIN means: a
 * passing fault (a connection that broke), worth another try by itself; any
 * other code is a failure that a person must look at.
 *
 * Objects: `open` makes the driver's handle for one node (network) and starts
 * nothing; `close` frees it, cancels what is under way (done does not fire
 * any more) and leaves machines and switches running.
 */
#ifndef RACKFS_DRIVER_H
#define RACKFS_DRIVER_H

#include "err.h"
#include "loop.h"
#include "spec.h"

struct ssh; /* backend/host/ssh.h: one SSH session */

/* --- one accepted call --- */

struct op {
	const char *what; /* "start": for logs; static */
	/* Set by the caller. */
	void (*done)(struct op *op, int code, const struct err *err);
	/* percent -1: unknown.  May be NULL. */
	void (*progress)(struct op *op, int percent, const char *text);
	void *owner;
	/* Set by the driver while it is accepted. */
	void (*cancel)(struct op *op);
	void *driver_data;
	/* Kept by driver.c. */
	bool pending;
};
/* For drivers: ends op; it may be freed by done. err may be NULL with 0. */
void op_done(struct op *op, int code, const struct err *err);
void op_progress(struct op *op, int percent, const char *fmt, ...) PRINTF(3, 4);
/* For the engine. */
void op_cancel(struct op *op);

/* What every handle is opened with; borrowed while it is open. */
struct driver_env {
	struct loop *loop;
	const char *name;      /* of the node, network or image */
	uint32_t number;       /* of it */
	const char *state_dir; /* private to this object, exists: disks, logs */
	const char
	    *runtime_dir; /* private to this object, exists: sockets,
			   * launch records; may be emptied by a reboot */
	/* What the driver saw has changed: the engine calls look() soon. */
	void (*changed)(void *owner);
	/* One line (or several) into the object's `log`; never a secret. */
	void (*log)(void *owner, const char *text, size_t len);
	void *owner;
};

/* --- machine --- */

struct machine_nic {
	const char *name;
	uint8_t mac[6];
	const char *endpoint; /* where to plug it: network look().endpoint;
			       * NULL: not plugged */
	uint64_t incarnation; /* of that network; a change asks to plug again */
	enum link_state link;
	unsigned mtu;
};

struct machine_disk {
	const char *name; /* "disk"; part of its serial (DISK_SERIAL) */
	const char *path; /* file; made by start when missing */
	enum disk_format format;
	uint64_t size; /* bytes; a smaller file is grown */
};

struct machine_slice {
	unsigned cpus;
	uint64_t memory;                       /* bytes */
	const char *kernel, *initrd, *cmdline; /* cmdline: the image's or NULL:
						* ours */
	const char *cmdline_extra;             /* appended, or NULL */
	bool identity; /* hand over what identity() gives */
	const struct machine_nic *nics;
	size_t n_nics;
	const struct machine_disk *disks;
	size_t n_disks;
	uint16_t ssh_port; /* 127.0.0.1:ssh_port to port 22 */
	const struct forward_spec *forwards;
	size_t n_forwards;
	bool internet;
	char *const *extra_args; /* or NULL */
	const struct fake_spec *fake;
};

enum machine_state { MACHINE_UNKNOWN, MACHINE_NONE, MACHINE_RUNNING };
/* How the last run ended. */
enum machine_end {
	END_NONE,     /* not known, or it has not ended */
	END_POWEROFF, /* the guest powered itself off */
	END_REBOOT,   /* the guest asked for a reboot */
	END_PANIC,    /* the guest panicked */
	END_STOPPED,  /* stop() ended it */
	END_CRASHED,  /* anything else: killed, aborted */
	MACHINE_ENDS
};

struct machine_look { /* what is really there, as last seen */
	enum machine_state state;
	uint64_t launch;  /* number of the run that is on, or the last; 0
			   * when none is known; grows with each start */
	uint64_t started; /* CLOCK_MONOTONIC usec */
	pid_t pid;
	enum machine_end end; /* of run `launch`, when not running */
	char end_text[256];   /* "signal 9", QEMU's last words */
	bool marked;          /* the console showed MARK_READY in this run */
	uint64_t
	    last_output;   /* CLOCK_MONOTONIC usec of the console's last byte */
	const char *accel; /* "kvm", "tcg", "" */
	char accel_why[160]; /* why no KVM */
	/* As plugged now, by index of the started slice's nics. */
	size_t n_nics;
	struct {
		uint64_t incarnation;
		enum link_state link;
	} nics[NICS_MAX];
	uint64_t disk_size;  /* bytes that the guest sees of disk 0; 0: none */
	char last_line[160]; /* of the console, escaped; "" when none */
};

struct machine_driver {
	const char *name, *help;
	/* 0, or a negative errno and what to install.  Does not block. */
	int (*available)(struct err *err);
	int (*open)(const struct driver_env *env,
	    /* Gives the identity archive; called when the guest asks. */
	    int (*identity)(void *owner, struct buf *ret, struct err *err),
	    /* The console grew or a new run's log began. */
	    void (*console)(void *owner), void **ret, struct err *err);
	void (*close)(void *self);
	/* Finds out what is there: adopts a machine that runs. */
	int (*observe)(void *self, struct op *op, struct err *err);
	void (*look)(void *self, struct machine_look *ret);
	/* -EBUSY when one runs already.  Done when the machine executes. */
	int (*start)(void *self, const struct machine_slice *slice,
	    struct op *op, struct err *err);
	/* hard: pull the plug; else the power button.  Done when a hard stop
	 * has ended it; a soft one when the button was pressed. */
	int (*stop)(void *self, bool hard, struct op *op, struct err *err);
	/* Live: links, plugs (incarnation), disk size of the running machine
	 * become those of the slice. */
	int (*apply)(void *self, const struct machine_slice *slice,
	    struct op *op, struct err *err);
	/* Console: bytes of run `launch` (0: the last) from offset `off`;
	 * bytes given back to the file system read as zeros.  Returns the
	 * count, 0 at the end, or a negative errno.  Never blocks long. */
	ssize_t (*console_read)(
	    void *self, uint64_t launch, uint64_t off, void *data, size_t len);
	/* Of the last run: number, size so far, oldest byte kept. */
	void (*console_stat)(void *self, uint64_t *ret_launch,
	    uint64_t *ret_size, uint64_t *ret_oldest);
	/* Types; takes at most len.  -EAGAIN: full; -ENODEV: nothing runs. */
	ssize_t (*console_write)(void *self, const void *data, size_t len);
};

/* --- network --- */

struct network_slice {
	unsigned ports; /* at least so many */
	bool hub;
	unsigned mtu;
};

struct network_port {
	unsigned port;
	char node[64]; /* or "" when it is not known */
	uint32_t node_number;
	pid_t pid;    /* of the process plugged there, 0: unknown */
	char mac[18]; /* or "" */
	uint64_t frames_in, bytes_in, frames_out, bytes_out;
};

enum network_presence { NETWORK_UNKNOWN, NETWORK_NONE, NETWORK_RUNNING };
struct network_look {
	enum network_presence state;
	uint64_t incarnation; /* another number after each (re)start */
	const char *endpoint; /* for machine_nic; valid until the next look */
	pid_t pid;
	unsigned ports;     /* capacity */
	char end_text[256]; /* why it ended */
};

struct network_driver {
	const char *name, *help;
	int (*available)(struct err *err);
	int (*open)(const struct driver_env *env, void **ret, struct err *err);
	void (*close)(void *self);
	int (*observe)(void *self, struct op *op, struct err *err);
	void (*look)(void *self, struct network_look *ret);
	int (*ensure)(void *self, const struct network_slice *slice,
	    struct op *op, struct err *err);
	int (*remove)(void *self, struct op *op, struct err *err);
	/* Reads the table of ports; after done, ports() has it. */
	int (*query_ports)(void *self, struct op *op, struct err *err);
	size_t (*ports)(void *self, const struct network_port **ret);
};

/* --- image --- */

struct image_slice {
	enum image_kind kind;
	const char *build;
	char *const *packages;
	const char *kernel, *initrd; /* absolute host paths or NULL */
	const char *cache_dir;       /* shared by all images, exists */
	const char *data_dir;        /* scripts and files of rackfs */
};

struct image_look {
	bool ready;
	char kernel[4096], initrd[4096]; /* absolute, when ready */
	char version[96]; /* digest or package version, for people */
};

struct image_driver {
	const char *name, *help;
	int (*available)(struct err *err);
	int (*open)(const struct driver_env *env, void **ret, struct err *err);
	void (*close)(void *self);
	/* Ready already (right inputs in the cache)?  After done, look(). */
	int (*observe)(void *self, const struct image_slice *slice,
	    struct op *op, struct err *err);
	void (*look)(void *self, struct image_look *ret);
	int (*ensure)(void *self, const struct image_slice *slice,
	    struct op *op, struct err *err);
};

/* --- guest --- */

struct guest_nic {
	uint8_t mac[6];
	bool has_address;
	uint32_t address;
	unsigned prefix;
	unsigned mtu;
};

struct guest_slice {
	const char *host; /* "127.0.0.1" */
	uint16_t port;
	const char *user;
	const char *key_file; /* private key to log in with */
	const char *host_key; /* pinned: "ssh-ed25519 AAAA..." */
	const char *hostname; /* as it must be */
	bool netboot; /* a guest of ours: names, addresses, hosts are looked at
		       */
	const struct guest_nic *nics;
	size_t n_nics;
	const char *hosts; /* whole /etc/hosts as it must be */
	const struct fake_spec *fake;
};

struct guest_peer {
	const char *name;
	uint32_t address;
};

struct guest_reach { /* one pair: from this guest to the peer */
	char name[64];
	unsigned sent, received;
	double rtt_ms; /* average; < 0 when nothing came back */
};

struct guest_look {
	bool connected;
	bool right;      /* names, addresses, hosts were seen to be right */
	char wrong[256]; /* what was not */
	char boot_id[40];
};

struct guest_driver {
	const char *name, *help;
	int (*available)(struct err *err);
	int (*open)(const struct driver_env *env, void **ret, struct err *err);
	void (*close)(void *self);
	/* Probes until the SSH banner was seen, then logs in, once; tries again
	 * by itself until cancelled.  A wrong host key or refused user key
	 * ends it with -EACCES.  changed() is called when a session breaks. */
	int (*connect)(void *self, const struct guest_slice *slice,
	    struct op *op, struct err *err);
	void (*disconnect)(void *self);
	void (*look)(void *self, struct guest_look *ret);
	/* Looks at names and addresses and puts right what differs (also
	 * /etc/hosts, again whenever a node comes or goes). */
	int (*configure)(void *self, const struct guest_slice *slice,
	    struct op *op, struct err *err);
	/* Asks the guest to power off cleanly; done when it was told. */
	int (*poweroff)(void *self, struct op *op, struct err *err);
	/* Pings each peer; after done, reached() has one entry a peer. */
	int (*reach)(void *self, const struct guest_peer *peers, size_t n,
	    struct op *op, struct err *err);
	size_t (*reached)(void *self, const struct guest_reach **ret);
	/* The session for disk and install drivers; NULL for fake ones. */
	struct ssh *(*session)(void *self);
};

/* --- disk --- */

/* Planned before the first byte is written and stored (crash safety). */
struct disk_plan {
	char uuid[37]; /* of the table (label-id); MBR: "0x" + 8 hex digits */
	char partition_uuid[PARTITIONS_MAX][37]; /* of the file systems; vfat:
						  * "ABCD-1234" */
};

struct disk_slice {
	struct ssh *guest; /* NULL for fake */
	const char *serial;
	const struct disk_spec *spec;
	const struct disk_plan *plan; /* NULL: none yet: only observe */
	bool laid_out;    /* our mark: the layout was once seen whole */
	const char *path; /* of the host's file, for wipe */
	const struct fake_spec *fake;
};

enum disk_content {
	DISK_UNKNOWN,
	DISK_BLANK,
	DISK_OURS_PARTIAL, /* our uuid, layout or file systems not complete */
	DISK_OURS,         /* our uuid and the layout of the spec, whole */
	DISK_OURS_GROWN,   /* the same, and the disk has room to grow into */
	DISK_OURS_OTHER,   /* our uuid, whole, but not the layout of the spec */
	DISK_FOREIGN,      /* anything else */
	DISK_CONTENTS
};
const char *disk_content_name(enum disk_content c);

struct disk_look {
	enum disk_content content;
	bool mounted;    /* all mounts of the spec are there, below /mnt */
	char found[256]; /* for people: "a DOS partition table with 2 ..." */
	uint64_t size;   /* bytes as the guest sees */
};

struct disk_driver {
	const char *name, *help;
	int (*available)(struct err *err);
	int (*open)(const struct driver_env *env, void **ret, struct err *err);
	void (*close)(void *self);
	int (*observe)(void *self, const struct disk_slice *slice,
	    struct op *op, struct err *err);
	void (*look)(void *self, struct disk_look *ret);
	/* Makes the layout and mounts it: a blank disk, or one of ours.  It
	 * looks first and refuses a foreign one with -EEXIST. */
	int (*ensure)(void *self, const struct disk_slice *slice, struct op *op,
	    struct err *err);
	/* Throws the content away; the node is down. */
	int (*wipe)(void *self, const struct disk_slice *slice, struct op *op,
	    struct err *err);
};

/* --- install: the kind that puts an operating system on a disk --- */

/* --- registry --- */

/* What a node's `driver` names. */
struct node_driver {
	const char *name;
	const struct machine_driver *machine;
	const struct guest_driver *guest;
	const struct disk_driver *disk;
	bool virtual; /* asks for neither image nor running network */
};

const struct node_driver *registry_node(const char *name); /* or NULL */
const struct network_driver *registry_network(const char *name);
const struct image_driver *registry_image(const struct image_spec *spec);
/* Lists each driver of each kind, for --help, docs, doctor and tests. */
void registry_each(
    void (*fn)(const char *kind, const char *name, const char *help,
	int (*available)(struct err *err), void *userdata),
    void *userdata);

/* --- checked calls: what the engine uses (backend/engine/driver.c) --- */

int machine_observe(
    const struct machine_driver *d, void *self, struct op *op, struct err *err);
int machine_start(const struct machine_driver *d, void *self,
    const struct machine_slice *slice, struct op *op, struct err *err);
int machine_stop(const struct machine_driver *d, void *self, bool hard,
    struct op *op, struct err *err);
int machine_apply(const struct machine_driver *d, void *self,
    const struct machine_slice *slice, struct op *op, struct err *err);
int network_observe(
    const struct network_driver *d, void *self, struct op *op, struct err *err);
int network_ensure(const struct network_driver *d, void *self,
    const struct network_slice *slice, struct op *op, struct err *err);
int network_remove(
    const struct network_driver *d, void *self, struct op *op, struct err *err);
int network_query_ports(
    const struct network_driver *d, void *self, struct op *op, struct err *err);
int image_observe(const struct image_driver *d, void *self,
    const struct image_slice *slice, struct op *op, struct err *err);
int image_ensure(const struct image_driver *d, void *self,
    const struct image_slice *slice, struct op *op, struct err *err);
int guest_connect(const struct guest_driver *d, void *self,
    const struct guest_slice *slice, struct op *op, struct err *err);
int guest_configure(const struct guest_driver *d, void *self,
    const struct guest_slice *slice, struct op *op, struct err *err);
int guest_poweroff(
    const struct guest_driver *d, void *self, struct op *op, struct err *err);
int guest_reach(const struct guest_driver *d, void *self,
    const struct guest_peer *peers, size_t n, struct op *op, struct err *err);
int disk_observe(const struct disk_driver *d, void *self,
    const struct disk_slice *slice, struct op *op, struct err *err);
int disk_ensure(const struct disk_driver *d, void *self,
    const struct disk_slice *slice, struct op *op, struct err *err);
int disk_wipe(const struct disk_driver *d, void *self,
    const struct disk_slice *slice, struct op *op, struct err *err);

#endif
