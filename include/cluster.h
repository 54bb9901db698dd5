/* SPDX-License-Identifier: Apache-2.0
 *
 * The cluster as the face (fs/) sees it: objects, their texts, verbs, what is
 * observed, and what has changed.  backend/engine/ is behind it.  Everything
 * is for the loop's thread.  No call here waits: what must be on disk first
 * answers through a callback.
 */
#ifndef RACKFS_CLUSTER_H
#define RACKFS_CLUSTER_H

#include <time.h>
#include "driver.h"
#include "err.h"
#include "loop.h"
#include "spec.h"
#include "state.h"

struct cluster;
struct object; /* the cluster itself, a network, an image, a node */

enum object_kind {
	OBJECT_CLUSTER,
	OBJECT_NETWORK,
	OBJECT_IMAGE,
	OBJECT_NODE,
	OBJECT_KINDS
};
const char *object_kind_name(enum object_kind k); /* "node" */

/* Aspects of an object that change, as bits: the files table names those that
 * each file shows.  OBSERVED, PROGRESS, PORTS, REACH and LINKS of any object
 * are the cluster's as well. */
enum aspect {
	ASPECT_SPEC = 1 << 0,     /* the document */
	ASPECT_STATE = 1 << 1,    /* the word in `state` */
	ASPECT_OBSERVED = 1 << 2, /* anything in status.json */
	ASPECT_PROGRESS = 1 << 3,
	ASPECT_ERROR = 1 << 4,
	ASPECT_LOG = 1 << 5,     /* growing */
	ASPECT_CONSOLE = 1 << 6, /* growing */
	ASPECT_PORTS = 1 << 7,
	ASPECT_REACH = 1 << 8,
	ASPECT_NAMES = 1 << 9,    /* cluster: hosts, ssh_config, known_hosts */
	ASPECT_EVENTS = 1 << 10,  /* cluster: growing */
	ASPECT_STATUS = 1 << 11,  /* cluster: status, status.json of all */
	ASPECT_SETTLED = 1 << 12, /* may answer a read of wait/ */
	ASPECT_DISK = 1 << 13,    /* the section `disk` of the document */
	ASPECT_LINKS = 1 << 14,  /* what is plugged where; cluster: also states,
				  * names, addresses of all */
	ASPECT_PLAN = 1 << 15,   /* cluster: what would be done next */
	ASPECT_DRIFT = 1 << 16,  /* cluster: what was seen to differ */
	ASPECT_CHECKS = 1 << 17, /* cluster: results of checks */
	ASPECT_TLS = 1 << 18,    /* cluster: ca.crt, client/ */
	ASPECT_BITS = 19
};

struct cluster_options {
	struct loop *loop;
	const char *state_dir, *runtime_dir; /* absolute, exist, 0700 */
	const char *data_dir;                /* scripts and files of rackfs */
	const char *mountpoint; /* of the tree, or NULL; never looked into */
	/* Looks at what runs, and leaves it so until cluster_go(): what users
	 * have written to an earlier daemon is told to this one first. */
	bool hold;
	/* What has changed; called on the loop, coalesced once a round for each
	 * object.  CHANGE_* below for objects that come or go. */
	void (*changed)(struct object *o, unsigned aspects, void *userdata);
	void (*appeared)(struct object *o, void *userdata);
	void (*vanishing)(struct object *o, void *userdata); /* last call */
	void *userdata;
};

/* Loads the store, opens the drivers, begins to observe.  Bad files of the
 * store are kept aside and told in `error` and events, never fatal. */
int cluster_new(const struct cluster_options *options, struct cluster **ret,
    struct err *err);
void cluster_go(struct cluster *c);
/* Leaves machines and switches running. */
void cluster_free(struct cluster *c);

/* --- objects --- */

struct object *cluster_root(struct cluster *c);
struct object *cluster_find(
    struct cluster *c, enum object_kind kind, const char *name);
struct object *cluster_by_number(
    struct cluster *c, enum object_kind kind, uint32_t number);
/* The next object with a number above `after` (0: the first); NULL: none.
 * Numbers begin with 1, are stored, and are not reused while one lives. */
struct object *cluster_next(
    struct cluster *c, enum object_kind kind, uint32_t after);
size_t cluster_count(struct cluster *c, enum object_kind kind);
const char *object_name(const struct object *o);
uint32_t object_number(const struct object *o);
enum object_kind object_kind(const struct object *o);
/* CLOCK_REALTIME usec of the last change of any of these aspects. */
uint64_t object_mtime(const struct object *o, unsigned aspects);
/* Counts changes; for poll(2) and caches. */
uint64_t object_version(const struct object *o, unsigned aspects);

/* Answers a request once what it asked for is on disk (code 0), or was
 * refused.  May be called before the function that took it returns. */
typedef void (*cluster_reply_fn)(
    int code, const struct err *err, void *userdata);

/* mkdir, rmdir.  Also node ids: *_make gives a number.  Every refusal is
 * told by reply; its text goes to the cluster's `error` by cluster_refused().
 */
void cluster_make(struct cluster *c, enum object_kind kind, const char *name,
    cluster_reply_fn reply, void *userdata);
void cluster_remove(struct cluster *c, enum object_kind kind, const char *name,
    cluster_reply_fn reply, void *userdata);

/* --- documents --- */

enum document { DOCUMENT_SPEC, DOCUMENT_DISK };

/* Appends the text as written (for DOCUMENT_DISK: the section). */
int cluster_document(struct object *o, enum document d, struct buf *ret);

/* A document that was checked in full.  prepare(): checks it against
 * everything (as a merge patch when `patch`), then writes it beside the old
 * one and syncs it; reply comes when that is done (0) or refused; then
 * *ret_draft is set.  commit(): puts it in the old one's place, durably, and in
 * force; checks again what may have changed in between.  A draft is freed by
 * commit() or draft_free() (also before prepare has replied: then there is no
 * reply). */
struct draft;
int cluster_prepare(struct object *o, enum document d, bool patch,
    const char *text, size_t len, cluster_reply_fn reply, void *userdata,
    struct draft **ret_draft, struct err *err);
void cluster_commit(struct draft *d, cluster_reply_fn reply, void *userdata);
void draft_free(struct draft *d);

/* A verb word written to `state`; checks that it fits the object. */
void cluster_verb(
    struct object *o, enum verb verb, cluster_reply_fn reply, void *userdata);
/* Bits (1 << enum verb) that fit this kind. */
unsigned cluster_verbs(enum object_kind kind);

/* The last refused write, shown in `error` as "refused: <file>: <sentence>";
 * sentence NULL: a write to that file was accepted.  An event too. */
void cluster_refused(struct object *o, const char *file, const char *sentence);

/* The document with every default filled in, as one JSON object; borrowed until
 * the next call for any object. */
const char *object_effective(struct object *o);

/* --- what is seen --- */

struct stage_view {
	enum stage stage;
	enum stage_state state;
	uint64_t started, ended; /* CLOCK_MONOTONIC usec; 0: not */
	uint64_t started_real;
	unsigned attempts;
	int percent;        /* -1: unknown */
	const char *detail; /* "" when none */
};

struct nic_view {
	const struct nic_spec *spec;
	uint8_t mac[6];
	bool has_address;
	uint32_t address;
	unsigned prefix;
	const char *network;
	bool plugged;
};

struct volume_view {
	const struct volume_spec *spec;
	unsigned number;  /* part of its serial; 0: not made yet */
	const char *uuid; /* of its file system; "" when not made yet */
};

/* Pointers are borrowed until the loop runs again. */
struct node_view {
	const char *name;
	uint32_t number;
	enum node_state state;
	enum power wanted;
	const struct node_spec *spec;
	uint16_t ssh_port;
	struct nic_view nics[NICS_MAX];
	size_t n_nics;
	struct machine_look machine;
	struct guest_look guest;
	struct disk_look disk;
	bool disk_laid_out, disk_used;
	const char *disk_uuid; /* or NULL */
	struct volume_view volumes[VOLUMES_MAX];
	size_t n_volumes;
	const char *installed; /* digest of the system on the disk, or NULL */
	enum image_kind installed_kind;
	bool from_disk;           /* the present run was started from there */
	uint64_t certificate_end; /* CLOCK_REALTIME usec; 0: there is none */
	struct stage_view stages[STAGES]; /* those that the spec asks for */
	size_t n_stages;
	const char *failed_stage; /* NULL: not failed */
	const char *failed_sentence;
	const char *refused;     /* "spec: line 1, ...", or NULL */
	const char *reason;      /* why the present step, or "" */
	const char *waiting_for; /* "" when for nothing */
	uint64_t deadline;       /* CLOCK_MONOTONIC usec; USEC_NEVER: none */
	unsigned restarts;       /* since it was last up */
	bool settled;
	char *const *restart_required, *const *wipe_required; /* NULL: none */
	uint64_t since; /* CLOCK_MONOTONIC usec of the state word */
	const char *template_reason; /* why no template was used */
	const char *host_key; /* public: "ssh-ed25519 AAAA...", or NULL */
	const char *ssh_user;
	const char *key_file; /* private key to log in with, absolute */
	bool virtual;
};
void node_view(struct object *o, struct node_view *ret);
enum node_state node_state(const struct object *o); /* cheap */

struct reach_view {
	const char *from, *to;
	unsigned sent, received;
	double rtt_ms;
	uint64_t measured; /* CLOCK_REALTIME usec; 0: never */
};
struct network_view {
	const char *name;
	uint32_t number;
	enum network_state state;
	const struct network_spec *spec;
	uint32_t subnet;
	unsigned prefix;
	struct network_look look;
	const struct network_port *ports;
	size_t n_ports;
	uint64_t ports_seen; /* CLOCK_REALTIME usec */
	const char *failed_sentence, *refused;
	unsigned users; /* nodes whose spec names it */
	bool reach_pending;
};
void network_view(struct object *o, struct network_view *ret);
/* Calls fn for each measured pair, ordered by node numbers. */
void network_each_reach(struct object *o,
    void (*fn)(const struct reach_view *v, void *userdata), void *userdata);
/* A read of `ports` asks for a newer look; the next read will have it.  The
 * root object: of all networks. */
void network_touch_ports(struct object *o);

struct image_view {
	const char *name;
	uint32_t number;
	enum image_state state;
	const struct image_spec *spec;
	struct image_look look;
	const char *failed_sentence, *refused;
	int percent;
	const char *detail;
};
void image_view(struct object *o, struct image_view *ret);

enum tls_text { TLS_CA, TLS_CERT, TLS_KEY, TLS_TEXTS };

struct cluster_view {
	enum cluster_state state;
	const struct cluster_spec *spec;
	const char *refused, *failed_sentence;
	size_t counts[NODE_STATES]; /* nodes in each state */
	bool settled;
	const char *key_file; /* private key to log in with, absolute */
	const char
	    *known_hosts_file; /* absolute, kept current, for ssh_config */
	uint64_t seq;          /* last event */
	/* PEM: the authority, the operator's certificate and key; "" while no
	 * node asks for one. */
	const char *tls[TLS_TEXTS];
	uint64_t certificate_end; /* of the operator's; CLOCK_REALTIME usec */
	bool repair;              /* on_drift */
};
void cluster_view(struct cluster *c, struct cluster_view *ret);

/* The NIC whose address the node's name stands for; NULL: none has one. */
const struct nic_view *node_first_address(const struct node_view *v);
/* The nodes as lines of /etc/hosts; borrowed until the loop runs again. */
const char *cluster_hosts(struct cluster *c);

/* For wait/: has this node (the root object: everything) settled? */
bool object_settled(const struct object *o);

enum check_state { CHECK_WAITING, CHECK_PASS, CHECK_FAIL };
const char *check_state_name(enum check_state s);
struct check_view {
	const char *name;
	const char *node; /* whose service it is, or NULL */
	enum check_state state;
	uint64_t since, checked; /* CLOCK_REALTIME usec; checked 0: never */
	const char *detail;      /* one line */
};
/* Those of the cluster in the order of its spec, then by node and service. */
void cluster_checks(struct cluster *c,
    void (*fn)(const struct check_view *v, void *userdata), void *userdata);

/* The same of one node's services. */
void node_checks(struct object *o,
    void (*fn)(const struct check_view *v, void *userdata), void *userdata);

/* What differed from the specs when it was last looked at, and what would be
 * done next.  Secrets are named, never shown. */
struct drift_view {
	const char *key, *detail;
};
struct plan_view {
	const char *step;  /* "start", "setup", ...; "" when there is none */
	const char *stage; /* "" when it is about none */
	const char *why;   /* "" when nothing is to be done */
	const char *waiting_for;
};
/* The i-th thing that differed; false: no more.  *ret_seen: when,
 * CLOCK_REALTIME usec; 0: never. */
bool node_drift(const struct object *o, size_t i, struct drift_view *ret,
    uint64_t *ret_seen);
void node_plan_view(const struct object *o, struct plan_view *ret);

/* --- growing texts --- */

enum stream { STREAM_LOG, STREAM_EVENTS, STREAM_CONSOLE };

/* Size so far and the oldest byte kept; `run` tells console logs of different
 * runs apart (0 for others). */
void cluster_stream_stat(struct object *o, enum stream s, uint64_t *ret_run,
    uint64_t *ret_size, uint64_t *ret_oldest);
/* Bytes from `off`; given-back ones read as zeros.  Returns the count, 0 at
 * the end, or a negative errno. */
ssize_t cluster_stream_read(struct object *o, enum stream s, uint64_t run,
    uint64_t off, void *data, size_t len);
/* A keyboard.  -EAGAIN: full for now (ASPECT_CONSOLE will tell), -ENODEV. */
ssize_t cluster_console_write(struct object *o, const void *data, size_t len);

#endif
