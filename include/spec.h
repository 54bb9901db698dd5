/* SPDX-License-Identifier: Apache-2.0
 *
 * Specs: what users write.  One key table in backend/engine/spec_keys.c
 * defines every key (name, type, default, limits, help, and what a change of
 * it asks for); parsing, the nearest-key hint, `status.json`, docs and the man
 * page come from it.  Pure: no I/O, no clock, no log, no other object.
 *
 * Errors: -EINVAL with a sentence that begins with the key's path
 * ("nics.lan.mac: ..."), or with "line 3, column 7: ..." for text that is not
 * JSON; -EFBIG over SPEC_MAX bytes.
 */
#ifndef RACKFS_SPEC_H
#define RACKFS_SPEC_H

#include "err.h"

#define SPEC_MAX       (1 << 20) /* bytes of one document: 1 MiB */
#define SPEC_DEPTH_MAX 32
#define NAME_MAX_LABEL 63 /* RFC 1123 */
#define NICS_MAX       8
#define PARTITIONS_MAX 128
#define FORWARDS_MAX   64
#define CPUS_MAX       256
#define VOLUMES_MAX    16
#define TLS_NAMES_MAX  64
#define NODE_FILES_MAX 1024
#define SERVICES_MAX   64
#define RUNS_MAX       64
#define CHECKS_MAX     256

enum spec_kind {
	SPEC_CLUSTER,
	SPEC_NETWORK,
	SPEC_IMAGE,
	SPEC_NODE,
	SPEC_KINDS
};

/* --- text --- */

/* What a prefix of a document is, for a writer who may not be done yet. */
enum json_state {
	JSON_EMPTY,      /* white space only */
	JSON_INCOMPLETE, /* may become a document with more bytes */
	JSON_COMPLETE,   /* one whole JSON object, white space around it */
	JSON_BROKEN,     /* can't become one; err says where and why */
};
/* Decides it for any JSON value (an object for specs is checked by the
 * parsers; `disk` may be null).  Refuses NUL bytes, invalid UTF-8, nesting
 * beyond SPEC_DEPTH_MAX, duplicate keys, numbers out of range, a second
 * document.  err (may be NULL) is set for JSON_BROKEN, and for
 * JSON_INCOMPLETE ("line 1, column 5: the document is cut off"). */
enum json_state spec_json_state(const char *text, size_t len, struct err *err);
/* RFC 7396: *ret = base patched.  Pretty-printed with two spaces and a final
 * newline; the order of keys is kept. */
int spec_merge(
    const char *base, const char *patch, struct buf *ret, struct err *err);
/* The value of a top-level key, pretty-printed with a newline; "null\n" when
 * it is absent. */
int spec_section_get(
    const char *text, const char *key, struct buf *ret, struct err *err);
/* The document with that section replaced; `null` removes it. */
int spec_section_set(const char *text, const char *key, const char *value,
    struct buf *ret, struct err *err);
/* Are both the same JSON value (order of keys aside)? */
bool spec_same(const char *a, const char *b);

/* --- small values --- */

/* RFC 1123 label: [a-z0-9-], 1-63, no '-' at an end. -EINVAL otherwise. */
int spec_check_name(const char *what, const char *name, struct err *err);
/* How to tell that a service works: "systemd", "tcp:2379", "http:80/health",
 * "exec:COMMAND". */
enum check_kind { CHECK_SYSTEMD, CHECK_TCP, CHECK_HTTP, CHECK_COMMAND };
struct check {
	enum check_kind kind;
	uint16_t port;    /* of tcp and http */
	const char *text; /* within s: "/health" of http (at least "/"), the
			   * shell command of exec; else "" */
};
int parse_check(const char *s, struct check *ret, struct err *err);
/* "1" to "65535"; -EINVAL. */
int parse_port(const char *s, uint16_t *ret);
/* IPv4 addresses are host byte order in uint32_t. */
void format_ip(uint32_t ip, char out[16]);
int parse_ip(const char *s, uint32_t *ret);
void format_mac(const uint8_t mac[6], char out[18]);
int parse_mac(const char *s, uint8_t ret[6]);
void format_size(uint64_t bytes, char out[24]); /* "512M", exact */
void format_usec(uint64_t usec, char out[24]);  /* "90s", "500ms" */

/* --- parsed documents --- */

enum link_state { LINK_UP, LINK_DOWN, LINK_STATES };
enum address_mode { ADDRESS_AUTO, ADDRESS_FIXED, ADDRESS_NONE };
enum filesystem { FS_NONE, FS_VFAT, FS_EXT4, FS_SWAP, FILESYSTEMS };
enum disk_table { TABLE_GPT, TABLE_MBR, DISK_TABLES };
enum disk_format { FORMAT_QCOW2, FORMAT_RAW, DISK_FORMATS };
enum boot_from { BOOT_AUTO, BOOT_IMAGE, BOOT_DISK, BOOT_FROMS };
enum boot_firmware { FIRMWARE_DIRECT, FIRMWARE_UEFI, BOOT_FIRMWARES };
enum drift_mode { DRIFT_REPAIR, DRIFT_REPORT, DRIFT_MODES };
enum image_kind {
	IMAGE_NONE, /* no `kind`: the image is missing */
	IMAGE_NETBOOT,
	IMAGE_ROOTFS,
	IMAGE_DISK,
	IMAGE_CLOSURE,
	IMAGE_KINDS
};
enum identity_mode { IDENTITY_RACKFS, IDENTITY_NONE, IDENTITY_MODES };

#define PARTITION_ESP  (1u << 0)
#define PARTITION_BOOT (1u << 1)

const char *link_state_name(enum link_state v);
const char *filesystem_name(enum filesystem v); /* FS_NONE: "" */
const char *disk_format_name(enum disk_format v);
const char *boot_firmware_name(enum boot_firmware v);
const char *image_kind_name(enum image_kind v); /* IMAGE_NONE: "" */

struct nic_spec {
	char *name;    /* its key */
	char *network; /* default: the key */
	bool has_mac;
	uint8_t mac[6];
	enum address_mode address_mode;
	uint32_t address; /* ADDRESS_FIXED */
	enum link_state link;
};

struct forward_spec {
	uint16_t host, guest; /* 127.0.0.1:host to port `guest` of the node */
};

struct partition_spec {
	char *name;
	uint64_t size; /* bytes; 0: the rest ("100%"), the last one only */
	enum filesystem filesystem;
	char *label; /* or NULL */
	char *mount; /* or NULL */
	unsigned flags;
};

struct disk_spec {
	bool present;
	uint64_t size; /* bytes */
	enum disk_table table;
	enum disk_format format;
	struct partition_spec *partitions;
	size_t n_partitions;
};

struct volume_spec {
	char *name;    /* its key */
	uint64_t size; /* bytes */
	enum filesystem filesystem;
	char *label; /* or NULL */
	char *mount; /* or NULL */
};

struct install_spec {
	bool present;
	char *image; /* an entry of images/ */
	bool cloud_init;
};

struct file_spec {
	char *path;    /* its key: absolute, no . or .. */
	char *content; /* one of these two */
	char *source;  /* host path as written */
	char *mode;    /* "0644" */
	char *owner;   /* "root:root" */
};

struct service_spec {
	char *name;   /* its key; the unit is <name>.service */
	char *unit;   /* its text, or */
	char *source; /* host path as written; neither: the unit is the
		       * system's own */
	char *check;  /* "tcp:2379", ...; NULL: systemd */
	bool required;
	char **uses;  /* paths of `files`, or NULL */
	char **after; /* services, or NULL */
};

struct run_spec {
	char *name; /* its key */
	char **command;
	char **after; /* entries of run, or NULL */
};

struct tls_spec {
	bool present;
	char **names; /* or NULL */
	char *dir, *owner;
};

#define FAKE_CHECK "check" /* beside stages in fake.fail: checks fail */
struct fake_spec {
	uint64_t delay; /* usec a stage takes */
	char **fail;    /* names of stages, or NULL */
	unsigned fail_times;
};

struct node_spec {
	char *driver; /* "qemu", "fake" */
	unsigned cpus;
	uint64_t memory; /* bytes */
	char *boot_image;
	char *boot_cmdline; /* or NULL */
	enum boot_from boot_from;
	enum boot_firmware boot_firmware;
	bool boot_template;
	uint64_t boot_timeout, boot_silence,
	    stop_timeout;      /* usec; 0 as spec.md */
	bool has_boot_silence; /* written, not the default */
	struct nic_spec *nics;
	size_t n_nics;     /* without `nics`: one named "lan" */
	uint16_t ssh_port; /* 0: by the node's number */
	char *ssh_user;
	bool internet;
	struct forward_spec *forwards;
	size_t n_forwards;
	struct disk_spec disk;
	struct volume_spec *volumes;
	size_t n_volumes;
	struct install_spec install;
	struct file_spec *files;
	size_t n_files;
	struct service_spec *services;
	size_t n_services;
	struct run_spec *runs;
	size_t n_runs;
	struct tls_spec tls;
	char **after;     /* nodes that must be up first, or NULL */
	char **qemu_args; /* or NULL */
	struct fake_spec fake;
};

struct network_spec {
	char *driver; /* "vde", "fake" */
	bool has_subnet;
	uint32_t subnet; /* network address */
	unsigned prefix; /* 8..29 */
	bool hub;
	unsigned mtu;
};

struct image_spec {
	enum image_kind kind;
	char *build; /* "debian", or NULL when kernel and initrd are given */
	char **packages;                 /* more of them, or NULL */
	char *kernel, *initrd, *cmdline; /* or NULL; paths as written */
	enum identity_mode identity;
	char *user_key, *host_key; /* or NULL; paths as written */
	char *source;              /* host path as written, or NULL */
	char *sha256;              /* 64 hexadecimal digits, or NULL */
	char *root; /* of a rootfs or closure: folder within, or NULL */
	char *init; /* what it boots with, or NULL */
};

struct check_spec {
	char *name; /* its key */
	char *from; /* a node, or "host" */
	char **command;
	char *tcp;               /* "address-or-node:port" */
	char *http;              /* "http://..." */
	uint64_t every, timeout; /* usec */
};

struct cluster_spec {
	char *name, *domain;
	char **authorized_keys; /* or NULL */
	uint64_t observe_every; /* usec; 0: never by itself */
	enum drift_mode on_drift;
	struct check_spec *checks;
	size_t n_checks;
	unsigned tls_days;
	char *tls_organization; /* or NULL */
};

/* Each parses one whole document in full; on success *ret is owned by the
 * caller.  `defaults` (may be NULL) is a partial node spec that is merged
 * under `text`; its errors are prefixed "defaults: ". */
int node_spec_parse(const char *defaults, const char *text,
    struct node_spec **ret, struct err *err);
int network_spec_parse(
    const char *text, struct network_spec **ret, struct err *err);
int image_spec_parse(
    const char *text, struct image_spec **ret, struct err *err);
/* *ret_defaults: the text of `defaults`, checked as a partial node spec, or
 * NULL; owned by the caller. */
int cluster_spec_parse(const char *text, struct cluster_spec **ret,
    char **ret_defaults, struct err *err);
void node_spec_free(struct node_spec *s);
void network_spec_free(struct network_spec *s);
void image_spec_free(struct image_spec *s);
void cluster_spec_free(struct cluster_spec *s);

/* Appends the document with every default filled in, as one JSON object
 * (keys in the order of the table). */
int spec_effective(enum spec_kind kind, const char *defaults, const char *text,
    struct buf *ret, struct err *err);
/* The same for people: relative host paths begin at cwd. */
int spec_shown_at(const char *cwd, enum spec_kind kind, const char *defaults,
    const char *text, struct buf *ret, struct err *err);

/* What a change of a key of a node spec asks for (column of the table). */
enum spec_effect { EFFECT_LIVE, EFFECT_RESTART, EFFECT_WIPE };
/* Calls fn once for each top-level or dotted key ("memory", "nics.lan.mac",
 * "disk.partitions") whose effective value differs between two effective
 * documents and whose effect is `effect`.  Returns how many. */
int spec_node_diff(const char *a, const char *b, enum spec_effect effect,
    void (*fn)(const char *key, void *userdata), void *userdata);

/* Calls fn for each key of a kind in the table's order, for docs and pages. */
struct spec_key_doc {
	const char *path, *type, *fallback, *limits, *help;
};
void spec_each_key(enum spec_kind kind,
    void (*fn)(const struct spec_key_doc *key, void *userdata), void *userdata);

#endif
