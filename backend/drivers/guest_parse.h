/* SPDX-License-Identifier: Apache-2.0
 *
 * What guest_ssh asks a guest and how it reads the answers; pure, so that it
 * is tested without a guest.  A guest's text is never trusted: it is bounded,
 * and what has not the expected shape does not count.
 */
#ifndef RACKFS_GUEST_PARSE_H
#define RACKFS_GUEST_PARSE_H

#include "driver.h"
#include "host/sha256.h"

#define FACT_LINKS_MAX 64
#define FACT_ADDRS_MAX 256

struct guest_facts {
	bool whole; /* the last line was there */
	char hostname[65], boot_id[40];
	char hosts_digest[SHA256_HEX]; /* of /etc/hosts */
	char keys_digest[SHA256_HEX];  /* of root's authorized_keys */
	char nics[2048];               /* NICS of etc/rackfs/node.conf */
	struct fact_link {
		char dev[16];
		uint8_t mac[6];
		unsigned mtu;
		bool up;
	} links[FACT_LINKS_MAX];
	size_t n_links;
	struct fact_addr {
		char dev[16];
		uint32_t address;
		unsigned prefix;
	} addrs[FACT_ADDRS_MAX];
	size_t n_addrs;
};

/* For sh -c; its arguments are MACs whose interfaces it waits for a while. */
extern const char guest_facts_script[];
void guest_facts_parse(const char *text, struct guest_facts *ret);

struct guest_fix {
	struct buf wrong;  /* what differs, for people; empty: nothing */
	struct buf script; /* puts it right, for sh -c; may be empty */
	bool hosts, keys;  /* these files must be written */
	bool missing;      /* a NIC is not there: no script can help */
};
void guest_fix_done(struct guest_fix *f);
/* The digests are of the texts that the slice has; keys_digest "": any. */
void guest_compare(const struct guest_slice *slice,
    const struct guest_facts *facts, const char *hosts_digest,
    const char *keys_digest, struct guest_fix *ret);

/* For sh -c; one address a line comes on its stdin. */
extern const char guest_reach_script[];
/* One line a peer: its address, then what ping (busybox or iputils) said. */
void guest_reach_parse(const char *text, const struct guest_peer *peers,
    size_t n, struct guest_reach *ret);

#endif
