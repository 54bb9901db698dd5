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

#include "loop.h"
#include "op.h"
#include "spec.h"

struct ssh; /* backend/host/ssh.h: one SSH session */

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
	bool readonly; /* it must be there; it is neither made nor grown */
	bool live;     /* apply() plugs it into a machine that runs without */
};
#define MACHINE_DISKS_MAX (VOLUMES_MAX + 3) /* disk, payload, seed */
#define DISK_NAME_MAX     20                /* a serial of virtio-blk */

struct machine_slice {
	unsigned cpus;
	uint64_t memory;                       /* bytes */
	const char *kernel, *initrd, *cmdline; /* cmdline: the image's or NULL:
						* ours */
	const char *cmdline_extra;             /* appended, or NULL */
	bool identity; /* hand over what identity() gives */
	const struct machine_nic *nics;
	size_t n_nics;
	/* The first is the one to boot from; each has a serial of its own:
	 * DISK_SERIAL for "disk", else its name. */
	const struct machine_disk *disks;
	size_t n_disks;
	/* From disks[0]: with kernel and initrd when they are given (cmdline is
	 * then whole), else by the firmware (direct: the BIOS). */
	bool from_disk;
	/* Of a run that installs: what the system it makes boots by. */
	enum boot_firmware firmware;
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

#define SSH_GUEST_PORT 22 /* what ssh.port of a spec leads to */

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
	uint64_t disk_size; /* bytes that the guest sees of disk 0; 0: none */
	/* As plugged now; disks_known: they were asked for. */
	bool disks_known;
	size_t n_disks;
	struct {
		char name[DISK_NAME_MAX + 1]; /* "": nothing */
		uint64_t size;                /* that the guest sees */
	} disks[MACHINE_DISKS_MAX];
	/* That lead into the guest now, that to its SSH among them;
	 * forwards_known: they were asked for. */
	bool forwards_known;
	size_t n_forwards;
	struct forward_spec forwards[FORWARDS_MAX + 1];
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
	/* Live: links, plugs (incarnation), forwards, disk sizes, NICs that
	 * stand after those it has and disks (those that are `live`) of the
	 * running machine become those of the slice; no device is taken out.
	 * -ENOTSUP: this run takes no other device. */
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
	const char *source;          /* absolute host path or NULL */
	const char *sha256;          /* that source must have, or NULL */
	const char *init;            /* as the spec has it, or NULL */
	const char *cache_dir;       /* shared by all images, exists */
	const char *data_dir;        /* scripts and files of rackfs */
};

struct image_look {
	bool ready;
	char version[96]; /* digest or package version, for people */
	/* netboot: absolute, when ready.  disk_initrd mounts the root file
	 * system that root= names and goes over into it; modules is a tar of
	 * lib/modules/<release> for systems that have no kernel of their own;
	 * "" when the image has none. */
	char kernel[4096], initrd[4096];
	char disk_initrd[4096], modules[4096];
	/* rootfs, closure: a plain tar; disk: raw or qcow2.  Verified. */
	char source[4096];
	enum disk_format format; /* of a disk */
	uint64_t size;   /* bytes unpacked; of a disk what a guest sees */
	char digest[65]; /* sha256 of what is installed, hexadecimal */
	char init[4096]; /* what it boots with, as the image says; or "" */
	char registration[4096]; /* closure: host file for nix-store
				  * --load-db, or "" */
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
	const char *keys;  /* root's authorized_keys; NULL: not looked at */
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

struct disk_volume { /* one more disk, one file system on the whole of it */
	const struct volume_spec *spec;
	const char *serial;
	const char *uuid; /* of its file system; NULL: none yet: only observe */
	const char *path; /* of the host's file, for wipe */
};

struct disk_slice {
	struct ssh *guest; /* NULL for fake */
	/* Where mounts are: "/mnt"; "" in a system that runs from this disk:
	 * its layout is not made there, only seen, grown and mounted. */
	const char *root;
	const struct disk_volume *volumes;
	size_t n_volumes;
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
	enum disk_content content; /* of the disk and the volumes: the worst */
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
	/* Throws the content away: the files at the path of the slice and at
	 * those of its volumes, of which nothing else is set.  The node is
	 * down. */
	int (*wipe)(void *self, const struct disk_slice *slice, struct op *op,
	    struct err *err);
};

/* --- install: puts an operating system on a disk --- */

struct install_slice {
	struct ssh *guest; /* of the netboot system; NULL for fake and disk */
	const char *root;  /* where the disk is mounted there: "/mnt" */
	const struct image_look *image;
	/* Serial of a read-only disk that has image->source on it as it is;
	 * NULL: it goes over SSH. */
	const char *payload_serial;
	/* What boots it. */
	enum boot_firmware firmware;
	const char *kernel, *initrd; /* host files for the ESP; NULL: the
				      * image's own or none needed */
	const char *modules;         /* tar of lib/modules, or NULL */
	const char *cmdline;         /* whole */
	const char *esp;             /* mount of the ESP: "/boot", or NULL */
	/* kind disk: the host's file that becomes the disk. */
	const char *disk_path;
	enum disk_format disk_format;
	uint64_t disk_size;
	/* NoCloud disk (ISO 9660, label cidata) to be made, or NULL. */
	const char *seed_path;
	const char *user_data, *meta_data, *network_config;
	const struct fake_spec *fake;
};

struct install_look {
	/* Digest of the image whose files are whole on the disk; "" none. */
	char copied[65];
	/* Digest in the marker that is written last; "" none. */
	char installed[65];
};

/* In order: ensure (copy; the boot entry), whatever the engine configures
 * below root, seal (the marker, sync).  kind disk: the machine is off, and
 * ensure does all. */
struct install_driver {
	const char *name, *help;
	int (*available)(struct err *err);
	int (*open)(const struct driver_env *env, void **ret, struct err *err);
	void (*close)(void *self);
	int (*observe)(void *self, const struct install_slice *slice,
	    struct op *op, struct err *err);
	void (*look)(void *self, struct install_look *ret);
	/* Idempotent: what is whole already is not copied again. */
	int (*ensure)(void *self, const struct install_slice *slice,
	    struct op *op, struct err *err);
	int (*seal)(void *self, const struct install_slice *slice,
	    struct op *op, struct err *err);
};

/* --- setup: files, commands and services in a guest --- */

enum setup_part { SETUP_FILES, SETUP_RUN, SETUP_SERVICES, SETUP_PARTS };

struct setup_file {
	const char *key;  /* for people, in `drift`: "files./etc/motd",
			   * "services.web.unit", "hostname" */
	const char *path; /* absolute in the guest */
	const void *data; /* or */
	size_t len;
	const char *source; /* absolute host path, read when it is looked at
			     * and when it is sent */
	bool link;          /* a symbolic link to data */
	unsigned mode;
	const char *owner; /* "root:root" by name or number */
	/* Shell command that tells the running system of a change, or NULL:
	 * "networkctl reload". */
	const char *apply;
};

struct setup_service {
	const char *name;  /* <name>.service */
	const char *check; /* as in the spec, or NULL: systemd */
	bool required;
	char *const *uses;  /* paths of files, or NULL; its unit always
			     * counts */
	char *const *after; /* services, or NULL */
};

struct setup_run {
	const char *name;
	char *const *command, *const *after;
};

struct setup_slice {
	struct ssh *guest; /* NULL for fake */
	/* "": the running system; "/mnt": one that has not booted yet: files
	 * and links that enable services only. */
	const char *root;
	bool systemd; /* it has one: services can be */
	const struct setup_file *files;
	size_t n_files;
	const struct setup_run *runs;
	size_t n_runs;
	const struct setup_service *services;
	size_t n_services;
	const struct fake_spec *fake;
};

struct setup_item { /* something that differs */
	enum setup_part part;
	char key[160];
	char detail[200]; /* "content differs", "missing", "not active" */
};

struct setup_look { /* of the last observe or ensure */
	bool known;
	const struct setup_item *items; /* what differs; valid until the next
					 * call */
	size_t n_items;
	bool differs[SETUP_PARTS];
};

struct setup_driver {
	const char *name, *help;
	int (*available)(struct err *err);
	int (*open)(const struct driver_env *env, void **ret, struct err *err);
	void (*close)(void *self);
	/* Changes nothing; one round trip however much there is. */
	int (*observe)(void *self, const struct setup_slice *slice,
	    struct op *op, struct err *err);
	void (*look)(void *self, struct setup_look *ret);
	/* Puts one part right: looks, changes what differs, looks again.
	 * Files that rackfs put there and that are no longer in the slice go;
	 * services that left it are stopped and disabled.  A run entry runs
	 * once for each content.  A service restarts when its unit or what it
	 * uses has changed since its start; a required one is waited for until
	 * its check passes. */
	int (*ensure)(void *self, enum setup_part part,
	    const struct setup_slice *slice, struct op *op, struct err *err);
};

/* --- probe: does something answer? --- */

struct probe_slice {
	struct ssh *guest; /* from there; NULL: from this host */
	/* One of these. */
	enum check_kind kind;
	char *const *command;
	const char *address; /* dotted quad, or "" for the guest itself */
	uint16_t port;
	const char *target; /* of HTTP: "/health"; with host_header */
	const char *host_header;
	const char *unit;   /* CHECK_SYSTEMD: "etcd.service" */
	const char *folder; /* of a command on this host */
	uint64_t timeout;   /* usec */
	const struct fake_spec *fake;
};

struct probe_look {
	bool pass;
	char detail[256]; /* one line: "HTTP 200", "connection refused" */
};

struct probe_driver {
	const char *name, *help;
	int (*available)(struct err *err);
	int (*open)(const struct driver_env *env, void **ret, struct err *err);
	void (*close)(void *self);
	/* done's code is 0 whether it passed or not. */
	int (*run)(void *self, const struct probe_slice *slice, struct op *op,
	    struct err *err);
	void (*look)(void *self, struct probe_look *ret);
};

/* --- registry --- */

/* What a node's `driver` names. */
struct node_driver {
	const char *name;
	const struct machine_driver *machine;
	const struct guest_driver *guest;
	const struct disk_driver *disk;
	const struct install_driver *install[IMAGE_KINDS]; /* or NULL */
	const struct setup_driver *setup;
	const struct probe_driver *probe;
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
int install_observe(const struct install_driver *d, void *self,
    const struct install_slice *slice, struct op *op, struct err *err);
int install_ensure(const struct install_driver *d, void *self,
    const struct install_slice *slice, struct op *op, struct err *err);
int install_seal(const struct install_driver *d, void *self,
    const struct install_slice *slice, struct op *op, struct err *err);
int setup_observe(const struct setup_driver *d, void *self,
    const struct setup_slice *slice, struct op *op, struct err *err);
int setup_ensure(const struct setup_driver *d, void *self, enum setup_part part,
    const struct setup_slice *slice, struct op *op, struct err *err);
int probe_run(const struct probe_driver *d, void *self,
    const struct probe_slice *slice, struct op *op, struct err *err);

#endif
