/* SPDX-License-Identifier: Apache-2.0
 *
 * The sentence about a key that isn't in the table: it names the nearest one
 * that is, by edit distance, beside it first and elsewhere in the same spec
 * second ("image" -> boot.image).  Pure.
 */
#include "engine/spec_table.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#define SHORT_MIN 3  /* letters of a beginning that says something */
#define WORD_MAX  48 /* characters of a key that are compared */

/* Optimal string alignment: insert, delete, change, swap neighbours; without
 * regard to case. */
static unsigned distance(const char *a, const char *b)
{
	unsigned rows[3][WORD_MAX + 1];
	unsigned *before = rows[0], *last = rows[1], *now = rows[2];
	size_t n = strnlen(a, WORD_MAX), m = strnlen(b, WORD_MAX);

	for (size_t j = 0; j <= m; j++)
		last[j] = (unsigned)j;
	for (size_t i = 1; i <= n; i++) {
		now[0] = (unsigned)i;
		for (size_t j = 1; j <= m; j++) {
			int x = tolower((unsigned char)a[i - 1]);
			int y = tolower((unsigned char)b[j - 1]);
			unsigned best = last[j - 1] + (x != y);
			best = MIN(best, last[j] + 1);
			best = MIN(best, now[j - 1] + 1);
			if (i > 1 && j > 1 &&
			    x == tolower((unsigned char)b[j - 2]) &&
			    y == tolower((unsigned char)a[i - 2]))
				best = MIN(best, before[j - 2] + 1);
			now[j] = best;
		}
		unsigned *spare = before;
		before = last;
		last = now;
		now = spare;
	}
	return last[m];
}

struct nearest {
	const char *key;
	unsigned best;
	char path[160];
};

static void consider(struct nearest *n, const char *parent,
    const struct spec_key *key, unsigned more)
{
	size_t len = strlen(n->key);
	unsigned d = distance(n->key, key->name);
	/* What was cut short is as near as a slip of one letter. */
	if (d > 1 && len >= SHORT_MIN &&
	    strncasecmp(n->key, key->name, len) == 0)
		d = 1;
	d += more;
	if (d >= n->best)
		return;
	n->best = d;
	snprintf(n->path, sizeof(n->path), "%s%s%s", parent, *parent ? "." : "",
	    key->name);
}

/* Recursion ends with the table, three levels deep. */
static void search(
    struct nearest *n, const char *parent, const struct spec_sub *sub)
{
	for (size_t i = 0; i < sub->n; i++) {
		const struct spec_key *k = &sub->keys[i];
		consider(n, parent, k, 1);
		const struct spec_sub *below =
		    k->type == T_NODE ? spec_keys(SPEC_NODE) : k->sub;
		if (!below)
			continue;
		char path[128];
		snprintf(path, sizeof(path), "%s%s%s%s%s", parent,
		    *parent ? "." : "", k->name, k->type == T_MAP ? "." : "",
		    below->each ? below->each : "");
		search(n, path, below);
	}
}

int spec_unknown_key(const struct spec_sub *root, const struct spec_sub *sub,
    const char *parent, const char *key, struct err *err)
{
	struct nearest n = {.key = key, .best = UINT32_MAX};
	for (size_t i = 0; i < sub->n; i++)
		consider(&n, parent, &sub->keys[i], 0);
	search(&n, "", root);
	return err_set(err, -EINVAL,
	    "%s%s%s: unknown key; the nearest known key is %s", parent,
	    *parent ? "." : "", *key ? spec_show(key).text : "\"\"", n.path);
}
