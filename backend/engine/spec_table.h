/* SPDX-License-Identifier: Apache-2.0
 *
 * The shape of the key table (spec_keys.c), for the files that fill and walk
 * it: backend/engine/spec_*.c.  Nobody else includes it.
 */
#ifndef RACKFS_SPEC_TABLE_H
#define RACKFS_SPEC_TABLE_H

#include <jansson.h>
#include "spec.h"

enum spec_type {
	T_BOOL,     /* bool */
	T_INT,      /* unsigned */
	T_PORT,     /* uint16_t */
	T_SIZE,     /* uint64_t bytes */
	T_REST,     /* as T_SIZE; "100%" is 0 */
	T_USEC,     /* uint64_t */
	T_WORD,     /* an enum: index into words */
	T_CHOICE,   /* char *, one of words */
	T_TEXT,     /* char *, checked by check() */
	T_CIDR,     /* uint32_t, and an unsigned at `second` */
	T_MAC,      /* uint8_t[6] */
	T_ADDRESS,  /* uint32_t, and an enum address_mode at `second` */
	T_STRINGS,  /* char **, each checked by check() */
	T_FLAGS,    /* unsigned; bit i is word i */
	T_FORWARDS, /* struct forward_spec *, and a size_t at `second` */
	T_OBJECT,   /* a struct within: keys in sub */
	T_MAP,      /* array of sub structs whose first member is char *name */
	T_LIST, /* array of sub structs; a size_t at `second` as for T_MAP */
	T_NODE, /* a partial node spec, checked only */
};

/* Words that a key takes, by the value of the enum; "" is not for users. */
struct spec_word {
	const char *word;
};
struct spec_words {
	const struct spec_word *words;
	size_t n;
};

struct spec_sub;

/* Limits that include/spec.h does not name. */
#define CMDLINE_MAX  1023 /* bytes; the kernel takes 2047 in all */
#define PATH_LIMIT   4095
#define MOUNT_MAX    255
#define DOMAIN_MAX   189 /* DNS takes 253 with "<node>." in front */
#define KEYS_MAX     256
#define PACKAGES_MAX 256
#define ARGS_MAX     256
#define ITEM_MAX     8192 /* bytes of one string in a list */

/* QEMU's user network, 10.0.2.0/24: of the management NIC of every machine. */
#define MANAGEMENT_SUBNET (10U << 24 | 2U << 8)
#define MANAGEMENT_MASK   (UINT32_MAX << 8)

/* Key flags. */
#define REQUIRED (1u << 0) /* in a whole document, where its parent is */
#define SECRET   (1u << 1) /* effective documents show a digest of it */

struct spec_key {
	const char *name;
	enum spec_type type;
	unsigned flags;
	enum spec_effect effect; /* of a node's key */
	/* FIELD() of the struct that the table fills; 0: kept nowhere. */
	unsigned field, second, has;
	uint64_t min, max;    /* value, length of text, or number of entries */
	const char *fallback; /* JSON; NULL: none */
	const char *example;  /* JSON */
	const char *limits;   /* more than min and max say */
	const char *help;
	const struct spec_words *words;
	int (*check)(const char *value, struct err *err);
	int (*check_name)(const char *name, struct err *err); /* of T_MAP */
	const struct spec_sub *sub;
};

#define FIELD(type, member) ((unsigned)offsetof(struct type, member) + 1)

struct spec_sub {
	const struct spec_key *keys;
	size_t n;
	size_t size;      /* of the struct that an entry fills, 0: none */
	const char *each; /* how docs name an entry: "<nic>" */
	/* The key of an entry that defaults to the entry's own name; entries
	 * of a list are part1, part2, ... */
	const char *named;
};

/* The table of a kind. */
const struct spec_sub *spec_keys(enum spec_kind kind);

/* spec_value.c */
extern const struct spec_words spec_link_words, spec_filesystem_words,
    spec_table_words, spec_format_words, spec_from_words, spec_image_words,
    spec_firmware_words, spec_drift_words, spec_identity_words, spec_flag_words;
/* "512M", "100": -EINVAL when it isn't one; -EDOM when only the unit is
 * missing; -ERANGE beyond 64 bits. */
int spec_parse_size(const char *s, uint64_t *ret);
int spec_parse_usec(const char *s, uint64_t *ret);
/* "10.36.0.0/24"; host bits may be set. */
int spec_parse_cidr(const char *s, uint32_t *ret_ip, unsigned *ret_prefix);
/* For sentences: at most 40 characters, control characters as '?'. */
struct spec_shown {
	char text[176];
};
struct spec_shown spec_show(const char *s);
/* "the string "x"", "a list", ... */
struct spec_shown spec_show_json(const json_t *v);
/* "a string", "a number", "a list", ... */
struct spec_shown spec_show_type(const json_t *v);

/* spec_text.c */
/* Loads a document that spec_json_state() calls complete; -EFBIG, -EINVAL. */
int spec_load(const char *text, json_t **ret, struct err *err);
/* RFC 7396 in memory; returns a new reference.  keep_null: a null that has
 * nothing to remove stays. */
json_t *spec_patch(json_t *base, json_t *patch, bool keep_null);
void spec_json_unrefp(json_t **v);
#define _cleanup_json_ _cleanup_(spec_json_unrefp)
/* Appends v pretty-printed with a newline. */
void spec_dump(const json_t *v, struct buf *ret);

/* spec_walk.c */
/* Checks `doc` against the table of `kind`; fills *base (zeroed, the struct of
 * the kind; owned by the caller also on failure) and, unless NULL, *out: a new
 * object with every default.  partial: required keys may be missing. */
int spec_walk(enum spec_kind kind, json_t *doc, bool partial, void *base,
    json_t *out, struct err *err);
void spec_free_fields(const struct spec_sub *sub, void *base);

/* spec_nearest.c: err_set() for a key that isn't in the table. */
int spec_unknown_key(const struct spec_sub *root, const struct spec_sub *sub,
    const char *parent, const char *key, struct err *err);

/* What concerns more than one key: spec_check.c, */
int spec_check_node(struct node_spec *s, bool partial, struct err *err);
int spec_check_cluster(const struct cluster_spec *s, struct err *err);
/* spec_check_disk.c, */
int spec_check_disks(const struct node_spec *s, bool partial, struct err *err);
/* spec_check_image.c. */
int spec_check_image(struct image_spec *s, const json_t *doc, struct err *err);

/* spec_text_checks.c: one value, without the key's path; for the table. */
int check_label(const char *value, struct err *err);
int check_domain(const char *value, struct err *err);
int check_host_name(const char *value, struct err *err);
int check_line(const char *value, struct err *err);
int check_path(const char *value, struct err *err);
int check_mount(const char *value, struct err *err);
int check_partition_name(const char *value, struct err *err);
int check_public_key(const char *value, struct err *err);
int check_package(const char *value, struct err *err);
int check_user(const char *value, struct err *err);
int check_argument(const char *value, struct err *err);
int check_stage(const char *value, struct err *err);
int check_guest_path(const char *value, struct err *err);
int check_mode(const char *value, struct err *err);
int check_owner(const char *value, struct err *err);
int check_unit_name(const char *value, struct err *err);
int check_sha256(const char *value, struct err *err);
int check_check(const char *value, struct err *err);
int check_organization(const char *value, struct err *err);

#endif
