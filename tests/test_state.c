/* SPDX-License-Identifier: Apache-2.0
 *
 * Every word is there, differs from its neighbours, and reads back.
 */
#include "state.h"

#include <errno.h>
#include "test.h"

#define CHECK_TABLE(name_fn, type, count)                                      \
	do {                                                                   \
		for (int i_ = 0; i_ < (count); i_++) {                         \
			const char *w_ = name_fn((type)i_);                    \
			CHECK(w_ &&*w_);                                       \
			for (int j_ = 0; w_ && j_ < i_; j_++)                  \
				CHECK(strcmp(w_, name_fn((type)j_)));          \
		}                                                              \
	} while (0)

static void every_word_is_its_own(void)
{
	CHECK_TABLE(node_state_name, enum node_state, NODE_STATES);
	CHECK_TABLE(network_state_name, enum network_state, NETWORK_STATES);
	CHECK_TABLE(image_state_name, enum image_state, IMAGE_STATES);
	CHECK_TABLE(cluster_state_name, enum cluster_state, CLUSTER_STATES);
	CHECK_TABLE(stage_name, enum stage, STAGES);
	CHECK_TABLE(stage_state_name, enum stage_state, STAGE_STATES);
	CHECK_TABLE(verb_name, enum verb, VERBS);
	CHECK_TABLE(power_name, enum power, POWERS);
}

static void words_read_back(void)
{
	for (int i = 0; i < STAGES; i++) {
		enum stage s = STAGES;
		CHECK_INT(stage_parse(stage_name((enum stage)i), &s), 0);
		CHECK_INT(s, i);
	}
	for (int i = 0; i < VERBS; i++) {
		enum verb v = VERBS;
		CHECK_INT(verb_parse(verb_name((enum verb)i), &v), 0);
		CHECK_INT(v, i);
	}
	for (int i = 0; i < POWERS; i++) {
		enum power p = POWERS;
		CHECK_INT(power_parse(power_name((enum power)i), &p), 0);
		CHECK_INT(p, i);
	}
}

static void other_words_are_refused(void)
{
	static const char *const bad[] = {"", "Up", "up ", "upp", "booted"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		enum stage s = STAGE_RUN;
		enum verb v = VERB_WIPE;
		enum power p = POWER_OFF;
		CHECK_INT(stage_parse(bad[i], &s), -EINVAL);
		CHECK_INT(verb_parse(bad[i], &v), -EINVAL);
		CHECK_INT(power_parse(bad[i], &p), -EINVAL);
		CHECK(s == STAGE_RUN && v == VERB_WIPE && p == POWER_OFF);
	}
}

/* The stages are in order, so the words of a node on its way up are too. */
static void stages_show_the_words_of_the_contract(void)
{
	static const char *const words[STAGES] = {"starting", "starting",
	    "starting", "booting", "booting", "partitioning", "installing",
	    "configuring", "configuring", "configuring"};

	for (int i = 0; i < STAGES; i++)
		CHECK_STR(
		    node_state_name(stage_shows((enum stage)i)), words[i]);
	CHECK_STR(stage_name(STAGE_IMAGE), "image");
	CHECK_STR(stage_name(STAGE_SERVICES), "services");
}

static const struct test_case cases[] = {
    CASE(every_word_is_its_own),
    CASE(words_read_back),
    CASE(other_words_are_refused),
    CASE(stages_show_the_words_of_the_contract),
};
TEST_MAIN(cases)
