/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of topology.svg share: file_topology.c (networks, blocks of
 * nodes), topology_crowd.c (many nodes as small squares).
 */
#ifndef RACKFS_FS_TOPOLOGY_H
#define RACKFS_FS_TOPOLOGY_H

#include "fs/files.h"
#include "fs/svg.h"

#define NETWORKS_DRAWN 32  /* by number; links to others end in their name */
#define NODES_DRAWN    120 /* one by one; more are drawn as a crowd */
#define LEFT           24
#define LINK_PITCH     22 /* from one link of a node to the next */

struct drawn_network {
	const char *name, *colour;
	unsigned bar; /* y of its bar's middle */
	/* In the block that is drawn: where its line is (0: not there), and how
	 * far down it is needed. */
	unsigned x, last;
};

struct topology {
	struct svg svg;
	struct cluster *cluster;
	struct drawn_network networks[NETWORKS_DRAWN];
	size_t n_networks;
	struct buf behind; /* lines, drawn before everything else */
};

/* One end of a line from a box to a network. */
struct topology_link {
	const char *network;
	const char *label;
	const char *style; /* attributes of the line */
	bool cut;          /* a cross on it: the link is down */
};
/* From (x, y); the label begins at x + 8 and stands above the line. */
void topology_link(
    struct topology *t, unsigned x, unsigned y, const struct topology_link *l);
/* Gives each network that is used (bits by index) a line from `x` on; returns
 * where the block ends. */
unsigned topology_begin_block(struct topology *t, unsigned x, uint32_t used);
void topology_end_block(struct topology *t);
/* Index in t->networks; -1: it is not drawn. */
int topology_network(const struct topology *t, const char *name);

/* All nodes, from (LEFT, y) down. */
void topology_crowd(struct topology *t, unsigned y);

#endif
