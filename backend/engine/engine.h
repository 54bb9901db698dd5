/* SPDX-License-Identifier: Apache-2.0
 *
 * What the engine's files share: the objects and what is known of them.  Only
 * the engine includes it.  One thread owns all of it; there are no locks.
 *
 *   cluster.c    objects: make, remove, free
 *   load.c       the start: the store is read
 *   document.c   specs: prepare, commit
 *   check.c      specs against everything that is there; put in force
 *   verb.c       verbs: desired power, leave, wipe
 *   object.c     tables of objects by number and name
 *   claim.c      what must be unique: MACs, addresses, ports
 *   host_path.c  host paths that specs name
 *   store.c      the state directory: durable writes through the worker
 *   history.c    the runtime directory: what was tried (not synced)
 *   reconcile.c  the queue of dirty objects; nodes: plan -> one step
 *   node_*.c     a node: its drivers, plan, stages, end of a run, node.json
 *   env.c        what drivers are opened with
 *   step.c       carries one step of a node out
 *   step_end.c   what came of it
 *   doubt.c      a step that failed while its guest may be going down
 *   slice.c      what drivers are handed
 *   volumes.c    volumes that come and grow while the machine runs
 *   nics.c       NICs that come, networks that change, forwards: live as well
 *   install.c    the system on a node's disk: what it comes from, what boots it
 *   setup.c      files, commands and services of a node, as one list
 *   step_setup.c the steps that install and set up
 *   checks.c     checks of the cluster and of services
 *   check_memory.c  their results, for the next daemon
 *   tls.c        the authority and certificates
 *   watch.c      host files that specs refer to
 *   after.c      which nodes come before and after which
 *   network.c    networks: ensure, remove, ports
 *   reach.c      who reaches whom
 *   image.c      images
 *   names.c      hosts, known_hosts, keys, the identity archive
 *   event.c      events, logs, change bits
 *   view.c       what the face reads
 */
#ifndef RACKFS_ENGINE_H
#define RACKFS_ENGINE_H

#include "cluster.h"
#include "host/worker.h"
#include "plan.h"

#define NODES_MAX      60000 /* node numbers; ssh ports begin at 2201 */
#define NETWORKS_MAX   1000
#define IMAGES_MAX     1000
#define SSH_PORT_BASE  2200
#define EVENTS_KEPT    10000
#define LOG_MAX        (8 * MIB) /* of one object's `log` */
#define TRIES_MAX      5         /* of a step that passing faults end */
#define REACH_FULL_MAX 32 /* nodes: every pair; with more, the next four */

struct draft;

struct object {
	struct cluster *c;
	enum object_kind kind;
	uint32_t number;
	char *name;
	char *spec_text;
	size_t spec_len;
	uint64_t spec_version;    /* counts documents put in force */
	char *refused;            /* "spec: ...", or NULL */
	struct draft *committing; /* first of the queue: its commit is on */
	unsigned refs;            /* requests under way that point here */
	bool making, removing, gone;
	uint64_t changed_at[ASPECT_BITS]; /* CLOCK_REALTIME usec */
	uint32_t version[ASPECT_BITS];
	unsigned changed; /* aspects not yet told to the face */
	struct object *next_changed;
	uint64_t log_size, log_oldest;
	bool log_known;
	bool dirty; /* in the queue of reconcile.c */
	struct object *next_dirty;
};

/* One NIC of a node, resolved. */
struct nic {
	const struct nic_spec *spec; /* of node->spec */
	struct network *network;
	uint8_t mac[6];
	bool has_address;
	uint32_t address;
};

struct stage_record {
	enum stage_state state;
	uint64_t started, ended, started_real;
	unsigned attempts;
	int percent;
	char *detail;
};

/* What is stored of a node beside its spec (node.json). */
struct node_meta {
	enum power power;
	bool wipe;
	bool disk_used; /* a machine was started on it */
	bool laid_out;
	char *laid_out_spec;    /* {"disk": ..., "install": ...} as it was laid
				 * out, or NULL */
	struct disk_plan *disk; /* planned uuids, or NULL */
	char *installed;        /* digest of the system on the disk, or NULL */
	enum image_kind installed_kind;
	bool own_kernel; /* the kernel that it was installed with is kept */
	struct volume_record {
		char name[NAME_MAX_LABEL + 1];
		unsigned number; /* part of its serial */
		char uuid[37];   /* of its file system */
	} * volumes;             /* those that ever were */
	size_t n_volumes;
};

/* A step that failed; step: STEP_NONE for none. */
struct doubt {
	enum step step;
	enum stage stage;
	char *sentence; /* NULL: the plan's */
	uint64_t until;
};

struct node {
	struct object o;
	struct node_spec *spec;
	const struct node_spec *coming; /* on its way to the disk, or NULL */
	struct node_meta meta;
	const struct node_driver *driver;
	void *machine, *guest, *disk; /* the driver's handles; NULL: not open */
	void *install, *setup;
	const struct install_driver *install_driver; /* of that handle */
	struct driver_env *env; /* what they were opened with */
	struct nic nics[NICS_MAX];
	size_t n_nics;
	uint16_t ssh_port;
	char **claims;
	/* Nodes that come after it, by number; after.c. */
	struct node **followers;
	size_t n_followers;
	char *host_key;      /* public, once it was read */
	char *host_key_path; /* ... from there */
	/* Verbs that are on their way to the disk. */
	unsigned pending;
	enum power pending_power;
	bool pending_wipe;
	struct network *holds[NICS_MAX]; /* networks that it keeps running */
	size_t n_holds;

	/* observed, as the drivers last said */
	struct machine_look machine_look;
	struct guest_look *guest_look; /* NULL until one was open */
	struct disk_look *disk_look;
	enum tri guest_right;
	uint64_t disconnected;
	uint64_t hosts_version; /* of cluster->names_version, in the guest */
	uint64_t hosts_sent;    /* ... by the step under way */
	uint64_t hosts_digest;  /* of the lines in the guest */
	enum tri copied;        /* the system is on the disk, not sealed */
	enum tri offline[SETUP_PARTS]; /* written below the disk's root */
	enum tri parts[SETUP_PARTS];   /* right in the guest */
	bool setup_look;               /* it is time to look again */
	/* Counts when all is to be looked at anew; and what that was when what
	 * is under way began. */
	unsigned due, doing_due;
	unsigned again, doing_again; /* the same of names and the disk */
	bool had_files; /* in this run there were files: some may have to go */
	struct setup_item *drift; /* what differed, as last seen */
	size_t n_drift;
	uint64_t drift_seen;      /* CLOCK_REALTIME usec; 0: never */
	uint64_t certificate_end; /* CLOCK_REALTIME usec; 0: not known */
	bool renewed;             /* the guest has not the certificate yet */

	/* history (runtime directory) */
	struct plan_history tried;
	uint64_t handled; /* run whose end was acted on */
	uint64_t leave;   /* run to be left */
	bool leave_hard;
	uint64_t asking; /* run that a request to power off may have reached */
	char *failed_sentence;
	char *started_spec; /* effective document of run started_launch */
	uint64_t applied; /* spec_version that the machine was last made to fit
			   */
	uint64_t no_plug; /* run that takes no other device; 0: none */
	struct node_spec *started; /* the same, parsed; NULL: not known */
	uint64_t up_launch;        /* the last run that was up */
	bool remembered;           /* ... by a daemon before this one */
	uint64_t started_launch;
	bool started_disk;       /* it was started from the disk */
	bool started_payload;    /* ... with the image on a disk of its own */
	uint64_t spec_digest;    /* that history belongs to */
	uint64_t set_up_digest;  /* of the spec that all was set up for */
	uint64_t history_digest; /* of what was saved last */
	unsigned tries;          /* of the step in a row */

	/* now */
	struct plan plan;
	bool planned;
	uint64_t since; /* of plan.state */
	struct op op;   /* of the step under way */
	enum step doing;
	enum setup_part doing_part; /* of STEP_SETUP */
	bool doing_offline;
	bool cancelling, timed_out;
	uint64_t op_deadline;
	uint64_t hold_until; /* a passing fault: the step is not tried before */
	struct doubt doubt;
	bool periodic;     /* a look that is due, nothing more */
	bool preparing;    /* the worker makes ready what the step needs */
	uint64_t up_since; /* CLOCK_MONOTONIC usec; 0: it was not up */
	struct loop_source *timer;
	struct stage_record *stages; /* STAGES of them, or NULL */
	struct check_item *checks;   /* of its services */
	char **restart_required, **wipe_required;
	struct watch *watches;  /* host files that the spec refers to */
	struct node_spec *laid; /* parsed laid_out_spec */

	/* reach */
	struct op reach_op;
	struct network *reach_network; /* of the measurement under way */
	struct reach_entry *reach;     /* last results, by peer */
	size_t n_reach;
	unsigned reach_tries;          /* ended by passing faults, in a row */
	uint64_t reach_done[NICS_MAX]; /* generation measured, by NIC */
};

struct reach_entry {
	uint32_t network, to; /* numbers */
	unsigned sent, received;
	double rtt_ms;
	uint64_t measured;
};

struct network {
	struct object o;
	struct network_spec *spec;
	uint32_t subnet;
	unsigned prefix;
	const struct network_driver *driver;
	void *handle;
	struct network_look look;
	char endpoint[256];
	char *failed_sentence;
	struct node **users; /* nodes whose spec names it, by number */
	size_t n_users, cap_users;
	unsigned held; /* NICs of nodes that need it now */
	struct driver_env *env;
	uint64_t up_since; /* CLOCK_MONOTONIC usec */
	struct op op;
	enum {
		NET_IDLE,
		NET_OBSERVING,
		NET_ENSURING,
		NET_REMOVING,
		NET_PORTS
	} doing;
	unsigned starts; /* in a row without staying up */
	uint64_t retry_at;
	struct loop_source *timer;
	struct network_port *ports;
	size_t n_ports;
	uint64_t ports_seen;
	bool ports_wanted; /* somebody reads them */
	/* What is plugged has changed so often; the change that the look under
	 * way, and the last one, are of. */
	uint64_t plugs, plugs_asked, plugs_seen;
	uint64_t reach_generation;
	bool reach_stale;
	unsigned measuring; /* nodes that ping now */
};

struct image {
	struct object o;
	struct image_spec *spec;
	const struct image_driver *driver;
	void *handle;
	struct image_look look;
	enum image_state state;
	char *failed_sentence;
	struct op op;
	enum { IMG_IDLE, IMG_OBSERVING, IMG_ENSURING } doing;
	bool wanted; /* a node waits for it */
	bool observed;
	bool stale; /* the spec changed while busy */
	int percent;
	char *detail;
	unsigned users;
	char *kernel, *initrd, *source; /* absolute */
	char *user_key, *host_key_file, *host_key;
	struct watch *watches;
	struct driver_env *env;
};

struct cluster {
	struct object o; /* the root object */
	struct cluster_options options;
	struct loop *loop;
	struct worker *worker;
	struct cluster_spec *spec;
	char *defaults;
	char *cwd; /* where rackfs was first started: base of host paths */
	struct object **by_number[OBJECT_KINDS]; /* [number], may hold NULL */
	size_t size_by_number[OBJECT_KINDS];
	uint32_t top[OBJECT_KINDS];
	size_t count[OBJECT_KINDS];
	void *by_name[OBJECT_KINDS]; /* tsearch(3) */
	void *claims;                /* tsearch(3) */
	size_t in_state[NODE_STATES], unsettled;
	size_t n_after; /* nodes whose spec names others in `after` */
	bool followers_known;
	struct loop_source *tell, *work, *observe_timer, *names_work;
	struct object *changed_first, **changed_last;
	struct object *dirty_first, **dirty_last;
	char *state_dir, *runtime_dir, *key_file, *public_key, *known_hosts;
	uint64_t known_hosts_digest; /* of what is in that file */
	uint64_t names_version;
	uint64_t names_told;  /* that guests must have, at least */
	uint64_t told_digest; /* of its lines */
	uint64_t names_since; /* the first change that waits; 0: none */
	struct buf hosts;     /* of hosts_version */
	uint64_t hosts_version;
	struct buf effective; /* of the last object_effective() */
	int events_fd;
	uint64_t seq, events_size, events_oldest;
	uint64_t *event_offsets;   /* ring of EVENTS_KEPT */
	struct buf events_waiting; /* for room on the disk */
	struct loop_source *events_timer;
	bool loading;
	bool held; /* cluster_go() was not called yet */
	bool tls_wanted;
	struct buf tls[TLS_TEXTS]; /* PEM, "" while there is none */
	uint64_t certificate_end;  /* of the operator's */
	struct loop_source *tls_timer;
	struct check_item *checks;
};

static inline struct node *as_node(const struct object *o)
{
	return (struct node *)o;
}
static inline struct network *as_network(const struct object *o)
{
	return (struct network *)o;
}
static inline struct image *as_image(const struct object *o)
{
	return (struct image *)o;
}

#define EACH_OBJECT(var, c, kind)                                              \
	for (struct object *var = cluster_next((c), (kind), 0); var;           \
	     var = cluster_next((c), (kind), var->number))

/* Answers when something is on disk, or failed. */
typedef void (*store_done_fn)(int code, const struct err *err, void *userdata);

/* object.c */
const char *kind_folder(enum object_kind k); /* "nodes" */
/* DIR/<kind folder>/<name>; owned text. */
char *object_path(const struct object *o, const char *dir);
void object_reserve(struct object *o);  /* takes its number */
void object_show(struct object *o);     /* by name, for everybody */
void object_withdraw(struct object *o); /* out of the tables */
/* The lowest free number up to max; 0: none. */
uint32_t object_free_number(
    struct cluster *c, enum object_kind k, uint32_t max);
/* Requests under way keep what they point to. */
void object_ref(struct object *o);
void object_unref(struct object *o);
void object_set_mtime(struct object *o, unsigned aspects, uint64_t t);
void object_forget(struct object *o); /* takes it */

/* env.c: what the object's drivers are opened with; owned. */
int object_env_open(struct object *o, struct driver_env **ret, struct err *err);
void object_env_close(struct driver_env *env); /* NULL is legal */

/* host_path.c */
char *host_path(struct cluster *c, const char *path); /* absolute; owned */
bool host_path_is_ours(struct cluster *c, const char *absolute);
int host_paths_of_node(
    struct cluster *c, const struct node_spec *s, struct err *err);
int host_paths_of_image(
    struct cluster *c, const struct image_spec *s, struct err *err);

/* cluster.c */
struct object *object_new(
    struct cluster *c, enum object_kind kind, const char *name);
void object_free(struct object *o);
/* Does a subnet overlap that of another network? */
bool network_overlaps(const struct network *net, uint32_t subnet,
    unsigned prefix, const char **ret_other);
uint32_t network_default_subnet(uint32_t number);

/* claim.c: who has what must be unique.  A claim is the path of a key and what
 * is claimed by it, as in "ssh.port: port 2201"; its owner is a node. */
int claims_check(struct node *n, char *const *claims, struct err *err);
void claims_add(struct node *n, char *const *claims);
/* Gives back what `have` claims and `keep` (may be NULL) does not. */
void claims_drop(struct node *n, char *const *have, char *const *keep);
/* For specs of many nodes that come in force together: checks against what is
 * claimed now and against those in *tree, where these are added. */
int claims_gather(
    void **tree, struct node *n, char *const *claims, struct err *err);
void claims_free(void *tree);
/* What a spec of this node claims; err for what can't be had (ENOENT,
 * EINVAL, ENOSPC). */
int node_resolve(struct node *n, const struct node_spec *spec,
    struct nic nics[NICS_MAX], size_t *ret_n, uint16_t *ret_port,
    char ***ret_claims, struct err *err);
void node_set_users(struct node *n, bool in); /* lists of networks, images */

/* after.c */
/* The nodes that n names exist, and none of them comes after n.  specs: what
 * every node will be, by number; NULL: what they are and are about to be. */
int after_check(struct node *n, const struct node_spec *spec,
    struct node_spec *const *specs, struct err *err);
struct plan_observed;
void after_observe(struct node *n, struct plan_observed *ret);
/* Who waited for n is looked at again. */
void after_changed(struct node *n);
/* Nodes came or went, or their `after` changed. */
void after_forget(struct cluster *c);
bool after_named(const struct node *n, const char **ret_by);
/* The first node before n that has failed, or NULL. */
struct node *after_failed(struct node *n);

/* watch.c */
/* Calls fn when the file at path (absolute, borrowed) appears, changes or
 * goes. */
void watch_add(struct watch **list, struct cluster *c, const char *path,
    void (*fn)(const char *path, void *userdata), void *userdata);
void watch_clear(struct watch **list);

/* install.c */
struct image *node_system(const struct node *n); /* to install; or NULL */
enum install_way node_install_way(const struct node *n);
const struct install_driver *node_install_driver(const struct node *n);
bool node_starts_disk(const struct node *n); /* at its next start */
bool node_runs_disk(const struct node *n);   /* its present run */
/* The system on its disk says on the console when SSH listens. */
bool node_marks_disk(const struct node *n);
bool node_installing(const struct node *n); /* its next run is to install */
/* What a kernel is told to run the installed system; owned. */
char *node_disk_cmdline(const struct node *n);
enum image_kind node_system_kind(const struct node *n);
enum boot_firmware node_firmware(const struct node *n);
const char *node_root_uuid(const struct node *n); /* "" when there is none */
struct install_texts {                            /* what a slice borrows */
	char *disk_path, *seed_path, *cmdline;
	char *user_data, *meta_data, *network_config;
};
int slice_install(struct node *n, struct install_slice *ret,
    struct install_texts *texts, struct err *err);
void install_texts_done(struct install_texts *t);
char *node_seed_path(const struct node *n);
/* The kernel and initrd that boot the installed system are kept with the node,
 * so that another image does not leave it without its modules. */
void node_keep_kernel(struct node *n);
void node_drop_kernel(struct node *n);
char *node_kernel_path(const struct node *n, bool initrd);
/* The image against what the spec asks to do with it. */
int install_check(
    struct node *n, const struct node_spec *spec, struct err *err);
/* The kind of an image against what a spec does with it. */
int boot_fits(const char *image, enum image_kind kind, struct err *err);
int install_fits(const struct node_spec *spec, const char *image,
    enum image_kind kind, struct err *err);

/* setup.c */
struct setup_list {
	struct setup_slice slice;
	struct setup_file *files;
	struct setup_run *runs;
	struct setup_service *services;
	size_t cap_files;
	char **texts; /* what the entries borrow */
	size_t n_texts, cap_texts;
	struct buf hosts;
};
/* Everything that is to be in the guest; offline: below the root of the disk
 * that is mounted in the netboot system. */
int setup_make(
    struct node *n, bool offline, struct setup_list *ret, struct err *err);
void setup_done(struct setup_list *l);
bool node_has_setup(const struct node *n, enum setup_part part, bool offline);
/* All of it is to be put right (again). */
void node_setup_due(struct node *n);
void node_look_again(struct node *n);   /* the same, and names and the disk */
void node_look_soon(struct node *n);    /* a look that unsettles nothing */
void node_setup_forget(struct node *n); /* a new run */
void node_watch_sources(struct node *n);
void node_drift_drop(struct node *n);
/* Adds a file; data is copied.  For setup.c and what adds to its list. */
struct setup_file *setup_add(struct setup_list *l, const char *key,
    const char *path, const void *data, size_t len, unsigned mode,
    const char *owner);
char *setup_keep(struct setup_list *l, char *text); /* takes it */

/* checks.c */
struct check_item;
struct check_view;
void checks_start(struct cluster *c); /* with the results of the last daemon */
void checks_follow_cluster(struct cluster *c); /* after a change of its spec */
void checks_follow_node(struct node *n);
void checks_node_changed(struct node *n); /* its state: look soon */
void checks_set_up(struct node *n); /* its services: those required passed */
void node_checks_drop(struct node *n);
void checks_stop(struct cluster *c);
/* Those of n's services; NULL: of the cluster's spec. */
void checks_of(struct cluster *c, struct node *n,
    void (*fn)(const struct check_view *v, void *userdata), void *userdata);

/* check_memory.c: results that outlive a daemon */
void check_memory_save(struct cluster *c, struct node *n);
void check_memory_load(struct cluster *c, struct node *n,
    void (*fn)(const struct check_view *v, void *userdata), void *userdata);

/* tls.c */
void tls_start(struct cluster *c);
void tls_stop(struct cluster *c);
/* There is a node that wants a certificate: the authority is made. */
void tls_want(struct cluster *c);
/* Sees to the node's certificate on the worker, then done. */
void tls_prepare(struct node *n, store_done_fn done, void *userdata);
/* ca.crt, cert.pem and key.pem, when the spec asks for them. */
int tls_add_files(struct node *n, struct setup_list *l, struct err *err);

/* step_setup.c */
void begin_install(struct node *n);
void begin_seal(struct node *n);
void begin_setup(struct node *n, bool look);
void adopted(struct node *n); /* a run of an earlier daemon */
void installed(struct node *n);
void sealed(struct node *n);
void set_up(struct node *n, bool look);

/* store.c */
/* Paths are relative to the state directory.  Writes tmp and syncs it. */
void store_stage(struct cluster *c, const char *tmp, const void *data,
    size_t len, store_done_fn done, void *userdata);
/* tmp takes the place of path, durably, with this time. */
void store_publish(struct cluster *c, const char *tmp, const char *path,
    uint64_t mtime, store_done_fn done, void *userdata);
void store_unstage(struct cluster *c, const char *tmp);
/* Both, through path.new. */
void store_put(struct cluster *c, const char *path, const void *data,
    size_t len, store_done_fn done, void *userdata);
/* Makes a folder with files, whole or not at all. */
struct store_file {
	const char *name, *data;
};
void store_make(struct cluster *c, const char *path,
    const struct store_file *files, size_t n, uint64_t mtime,
    store_done_fn done, void *userdata);
/* At start, before the loop runs. */
int store_make_now(struct cluster *c, const char *path,
    const struct store_file *files, size_t n, struct err *err);
/* Puts many files with two syncs of the whole file system. */
void store_put_many(struct cluster *c, const struct store_file *files, size_t n,
    store_done_fn done, void *userdata);
void store_remove(
    struct cluster *c, const char *path, store_done_fn done, void *userdata);
/* fn(userdata) on the worker, then done; after all that was given before. */
void store_run(struct cluster *c, int (*fn)(void *userdata, struct err *err),
    store_done_fn done, void *userdata);
void node_meta_text(const struct node *n, struct buf *ret);
int node_meta_parse(struct node *n, const char *text, struct err *err);
void node_meta_done(struct node_meta *m);
/* Stores the meta of a node as it is now. */
void node_meta_put(struct node *n, store_done_fn done, void *userdata);

/* history.c */
void history_save(struct node *n);
void history_load(struct node *n);
void history_clear_failure(struct node *n);

/* document.c */
/* Checks a document against everything that is there.  *ret (may be NULL) is
 * what document_force() takes; free with document_done(). */
struct parsed;
int document_check(struct object *o, const char *text, size_t len,
    struct parsed **ret, struct err *err);
void document_done(struct parsed *p);
/* Takes the parsed document and its text: it is in force. */
void document_force(struct object *o, struct parsed *p, char *text, size_t len);
/* restart_required, wipe_required */
void node_compare_specs(struct node *n);

/* reconcile.c */
void mark_dirty(struct object *o);
bool node_active(const struct node *n); /* it needs its networks */
void nodes_mark_network(struct network *net);
void reconcile_start(struct cluster *c);
void reconcile_stop(struct cluster *c);

/* node_driver.c: the handles of the drivers */
void node_open(struct node *n);
void node_close(struct node *n);

/* node_plan.c */
struct plan_desired node_desired(const struct node *n);
/* Plans anew without acting, so that the state word is current. */
void node_refresh(struct node *n);
void node_fail(struct node *n, enum stage stage, const char *sentence);
void node_fail_by_plan(struct node *n); /* with the sentence of plan.fail */

/* doubt.c */
/* A step failed that needs a running machine: to be called a failure later.
 * sentence: NULL for that of the plan. */
void node_doubt(
    struct node *n, enum step step, enum stage stage, const char *sentence);
void node_doubt_drop(struct node *n);
/* Is that awaited, or did it just become the node's failure?  Dropped when the
 * plan asks for something else. */
bool node_in_doubt(struct node *n);

/* node_end.c: acts once on the end of a run */
void node_handle_end(struct node *n);

/* node_stage.c */
unsigned node_stages(const struct node *n); /* wanted: 1 << enum stage */
void node_stages_follow(struct node *n);    /* the plan */
void node_stage_set(struct node *n, enum stage s, enum stage_state state);
void node_stage_detail(
    struct node *n, enum stage stage, int percent, const char *text);

/* step.c */
/* Begins the step of n->plan; the op under way is n->op. */
void step_run(struct node *n);
uint64_t step_time_limit(enum step s); /* usec; or USEC_NEVER */
/* For a new file system: "ABCD-1234" for vfat; text of at most 36. */
void filesystem_uuid(enum filesystem fs, char ret[37]);

/* step_end.c */
/* code: 0 or a negative errno, err its sentence (may be NULL); -ECANCELED says
 * nothing about the node. */
void step_ended(
    struct node *n, enum step step, int code, const struct err *err);
void node_look(struct node *n);        /* copies what the drivers see */
void node_keep_layout(struct node *n); /* what the disk was made for */

/* slice.c: what a driver is handed, made from a node */
const struct node_spec *node_running_spec(const struct node *n);
size_t slice_nics(struct node *n, struct machine_nic nics[NICS_MAX]);
void node_nic_mac(
    const struct node *n, const struct nic_spec *s, size_t i, uint8_t mac[6]);
const struct nic *node_nic(const struct node *n, const char *name);
#define PAYLOAD_DISK "rackfs-payload"
#define SEED_DISK    "rackfs-seed"
/* Arrays and owned texts that the slices of a machine and its disks borrow. */
struct slice_space {
	struct machine_nic nics[NICS_MAX];
	struct machine_disk disks[MACHINE_DISKS_MAX];
	struct disk_volume volumes[VOLUMES_MAX];
	struct disk_spec disk;
	char *texts[2 * MACHINE_DISKS_MAX + 4];
	size_t n_texts;
};
void slice_space_done(struct slice_space *sp);
void slice_disk(struct node *n, struct disk_slice *ret, struct slice_space *sp);
/* Paths alone, for wipe; owned. */
size_t slice_wipe(struct node *n, struct disk_volume **ret);
void slice_wipe_done(struct disk_volume *v, size_t count);
void slice_machine(
    struct node *n, struct machine_slice *ret, struct slice_space *sp);
/* Numbers and uuids for volumes of the spec that have none; true when there
 * were such. */
bool node_number_volumes(struct node *n);
/* Of a volume that ever was, or NULL. */
const struct volume_record *volume_record(
    const struct node *n, const char *name);
char *volume_serial(const struct volume_record *r);
char *volume_path(const struct node *n, const struct volume_record *r);

/* volumes.c: those of a machine that runs */
/* Of the run: its volume of that name, as the spec has it now when that is
 * still the same file system; NULL: the run has none. */
const struct volume_spec *volume_running(
    const struct node *n, const char *name);
/* One of the spec that the run has not, and could have. */
bool volume_pluggable(const struct node *n, const struct volume_spec *v);
bool volumes_fit(const struct node *n);
/* This run takes no more of them: they wait for the next. */
void volumes_refused(struct node *n, const char *why);
/* What was plugged in belongs to the run's document from now on. */
void volumes_plugged(struct node *n, bool all); /* all: no more will come */
/* The run's document with those that will be plugged in. */
void volumes_then(struct node *n, const char *now, struct buf *ret);

/* nics.c: those of a machine that runs, and its forwards */
/* What a NIC that is plugged in there shows as its incarnation. */
uint64_t network_plug(const struct network *net);
/* How many of the spec's last NICs this run has not, and can get. */
size_t nics_coming(const struct node *n);
/* Those that the machine was seen to have belong to the run's document. */
void nics_came(struct node *n);
/* Adds to `then`, the run's document, those that will come. */
void nics_then(struct node *n, const char *now, struct buf *then);
bool forwards_fit(const struct node *n);

void slice_guest(struct node *n, struct guest_slice *ret,
    struct guest_nic *nics, const char *host_key, struct buf *keys);
char *node_disk_path(const struct node *n, enum disk_format *ret);

/* network.c */
void network_open(struct network *net);
void network_close(struct network *net);
void network_reconcile(struct network *net);
void network_hold(struct network *net, int by);
enum network_state network_word(const struct network *net);
/* What is plugged has changed: `ports` is looked at again before the network
 * has settled. */
void network_plugs_changed(struct network *net);
bool network_plugs_known(const struct network *net);
void network_reach_stale(struct network *net);
void network_reach_next(struct network *net);
void node_reach_stale(struct node *n);
void node_reach_cancel(struct node *n);
void network_forget_failure(struct network *net);

/* image.c */
void image_open(struct image *img);
void image_close(struct image *img);
void image_reconcile(struct image *img);
void image_want(struct image *img);
void image_spec_changed(struct image *img);
/* A document came; `same`: with the same words. */
void image_spec_written(struct image *img, bool same);
void image_forget_failure(struct image *img);
struct image *node_image(const struct node *n);
const char *node_key_file(struct node *n); /* to log in with; borrowed */
/* The image that runs (or would at the next start) when it can't take an
 * identity from us; else NULL. */
const struct image *node_foreign_image(const struct node *n);

/* names.c */
void names_changed(struct cluster *c);
const char *names_hosts(struct cluster *c);
void node_has_hosts(struct node *n); /* those of hosts_sent */
/* Its guest was set up by a daemon before this one: with the same lines? */
void node_had_hosts(struct node *n);
/* Who may log in: the daemon, and those of the cluster's spec. */
void names_keys(struct cluster *c, struct buf *ret);
/* The NIC whose address the node's name stands for; NULL: none has one. */
const struct nic *node_first_nic(const struct node *n);
int names_identity(struct node *n, struct buf *ret, struct err *err);
char *node_key_path(const struct node *n);
int node_host_key(struct node *n, char **ret, struct err *err);
void names_start(struct cluster *c);

/* event.c */
void touch(struct object *o, unsigned aspects);
void tell_changes(void *cluster);
PRINTF(6, 7)
void event(struct object *o, const char *change, const char *from,
    const char *to, const char *file, const char *why_fmt, ...);
int events_open(struct cluster *c, struct err *err);
void object_log(struct object *o, const char *text, size_t len);
PRINTF(2, 3) void object_logf(struct object *o, const char *fmt, ...);

#endif
