/* SPDX-License-Identifier: Apache-2.0
 *
 * The words of include/state.h: one string table for each enum, and the way
 * back from a word that a user wrote.  Pure.
 */
#include "state.h"

#include <assert.h>
#include <errno.h>

#define TABLE_OF(table, count)                                                 \
	static_assert(ARRAY_SIZE(table) == (count), "a word is missing")

static const char *const node_states[] = {
    [STATE_DOWN] = "down",
    [STATE_STARTING] = "starting",
    [STATE_BOOTING] = "booting",
    [STATE_PARTITIONING] = "partitioning",
    [STATE_INSTALLING] = "installing",
    [STATE_CONFIGURING] = "configuring",
    [STATE_UP] = "up",
    [STATE_STOPPING] = "stopping",
    [STATE_FAILED] = "failed",
};
TABLE_OF(node_states, NODE_STATES);

static const char *const network_states[] = {
    [NET_DOWN] = "down",
    [NET_STARTING] = "starting",
    [NET_UP] = "up",
    [NET_FAILED] = "failed",
};
TABLE_OF(network_states, NETWORK_STATES);

static const char *const image_states[] = {
    [IMAGE_MISSING] = "missing",
    [IMAGE_BUILDING] = "building",
    [IMAGE_READY] = "ready",
    [IMAGE_FAILED] = "failed",
};
TABLE_OF(image_states, IMAGE_STATES);

static const char *const cluster_states[] = {
    [CLUSTER_UP] = "up",
    [CLUSTER_CONVERGING] = "converging",
    [CLUSTER_FAILED] = "failed",
    [CLUSTER_DOWN] = "down",
};
TABLE_OF(cluster_states, CLUSTER_STATES);

static const char *const stages[] = {
    [STAGE_IMAGE] = "image",
    [STAGE_NETWORK] = "network",
    [STAGE_MACHINE] = "machine",
    [STAGE_BOOT] = "boot",
    [STAGE_SSH] = "ssh",
    [STAGE_PARTITION] = "partition",
    [STAGE_INSTALL] = "install",
    [STAGE_CONFIGURE] = "configure",
    [STAGE_RUN] = "run",
    [STAGE_SERVICES] = "services",
};
TABLE_OF(stages, STAGES);

static const enum node_state stage_words[] = {
    [STAGE_IMAGE] = STATE_STARTING,
    [STAGE_NETWORK] = STATE_STARTING,
    [STAGE_MACHINE] = STATE_STARTING,
    [STAGE_BOOT] = STATE_BOOTING,
    [STAGE_SSH] = STATE_BOOTING,
    [STAGE_PARTITION] = STATE_PARTITIONING,
    [STAGE_INSTALL] = STATE_INSTALLING,
    [STAGE_CONFIGURE] = STATE_CONFIGURING,
    [STAGE_RUN] = STATE_CONFIGURING,
    [STAGE_SERVICES] = STATE_CONFIGURING,
};
TABLE_OF(stage_words, STAGES);

static const char *const stage_states[] = {
    [STAGE_WAITING] = "waiting",
    [STAGE_RUNNING] = "running",
    [STAGE_DONE] = "done",
    [STAGE_FAILED] = "failed",
};
TABLE_OF(stage_states, STAGE_STATES);

static const char *const verbs[] = {
    [VERB_UP] = "up",
    [VERB_DOWN] = "down",
    [VERB_OFF] = "off",
    [VERB_REBOOT] = "reboot",
    [VERB_RESET] = "reset",
    [VERB_WIPE] = "wipe",
    [VERB_CHECK] = "check",
};
TABLE_OF(verbs, VERBS);

static const char *const powers[] = {
    [POWER_DOWN] = "down",
    [POWER_OFF] = "off",
    [POWER_UP] = "up",
};
TABLE_OF(powers, POWERS);

static const char *word(const char *const *table, size_t n, unsigned value)
{
	assert(value < n);
	return table[value];
}
#define WORD(table, value) word(table, ARRAY_SIZE(table), (unsigned)(value))

static int find(const char *const *table, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (STREQ(table[i], name))
			return (int)i;
	return -EINVAL;
}
#define FIND(table, name) find(table, ARRAY_SIZE(table), name)

const char *node_state_name(enum node_state s)
{
	return WORD(node_states, s);
}

const char *network_state_name(enum network_state s)
{
	return WORD(network_states, s);
}

const char *image_state_name(enum image_state s)
{
	return WORD(image_states, s);
}

const char *cluster_state_name(enum cluster_state s)
{
	return WORD(cluster_states, s);
}

const char *stage_name(enum stage s)
{
	return WORD(stages, s);
}

const char *stage_state_name(enum stage_state s)
{
	return WORD(stage_states, s);
}

const char *verb_name(enum verb v)
{
	return WORD(verbs, v);
}

const char *power_name(enum power p)
{
	return WORD(powers, p);
}

int stage_parse(const char *name, enum stage *ret)
{
	int i = FIND(stages, name);
	if (i < 0)
		return i;
	*ret = (enum stage)i;
	return 0;
}

int verb_parse(const char *name, enum verb *ret)
{
	int i = FIND(verbs, name);
	if (i < 0)
		return i;
	*ret = (enum verb)i;
	return 0;
}

int power_parse(const char *name, enum power *ret)
{
	int i = FIND(powers, name);
	if (i < 0)
		return i;
	*ret = (enum power)i;
	return 0;
}

enum node_state stage_shows(enum stage s)
{
	assert((unsigned)s < STAGES);
	return stage_words[s];
}
