/* SPDX-License-Identifier: Apache-2.0
 *
 * Fuzzes every parser of specs, and merge patches: what is taken must be taken
 * again in the form with all defaults; what is refused must have a sentence.
 */
#include <assert.h>

#include "spec.h"
#include "tests/fuzz.h"

static void check_node(const char *text)
{
	_cleanup_buf_ struct buf full = {0}, merged = {0};
	struct node_spec *spec = NULL;
	struct err err = ERR_INIT;

	if (node_spec_parse(NULL, text, &spec, &err) < 0) {
		assert(err.text[0]);
		return;
	}
	node_spec_free(spec);
	spec = NULL;
	assert(spec_effective(SPEC_NODE, NULL, text, &full, &err) == 0);
	assert(node_spec_parse(NULL, full.data, &spec, &err) == 0);
	node_spec_free(spec);
	/* An empty patch changes nothing. */
	assert(spec_merge(text, "{}", &merged, &err) == 0);
	assert(spec_same(text, merged.data));
}

static void check_others(const char *text)
{
	struct network_spec *network = NULL;
	struct image_spec *image = NULL;
	struct cluster_spec *cluster = NULL;
	_cleanup_free_ char *defaults = NULL;
	struct err err = ERR_INIT;

	if (network_spec_parse(text, &network, &err) < 0)
		assert(err.text[0]);
	else
		network_spec_free(network);
	if (image_spec_parse(text, &image, &err) < 0)
		assert(err.text[0]);
	else
		image_spec_free(image);
	if (cluster_spec_parse(text, &cluster, &defaults, &err) < 0)
		assert(err.text[0]);
	else
		cluster_spec_free(cluster);
}

void fuzz_one(const char *data, size_t len)
{
	_cleanup_buf_ struct buf out = {0}, section = {0};
	struct err err = ERR_INIT;
	enum json_state json = spec_json_state(data, len, &err);

	/* A document that may still become one has not been refused. */
	if (json == JSON_BROKEN)
		assert(err.text[0]);
	/* The parsers take text: what comes after a NUL is not theirs. */
	if (strlen(data) != len) {
		assert(json == JSON_BROKEN);
		return;
	}
	if (json != JSON_COMPLETE) {
		struct node_spec *spec = NULL;
		assert(node_spec_parse(NULL, data, &spec, NULL) < 0);
		return;
	}
	check_node(data);
	check_others(data);
	(void)spec_merge("{\"nics\":{\"lan\":{}}}", data, &out, &err);
	(void)spec_section_get(data, "disk", &section, &err);
}
