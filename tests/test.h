/* SPDX-License-Identifier: Apache-2.0
 *
 * Unit tests: a test program lists its cases with CASE() and runs them with
 * test_main().  Output is one line a case ("ok name", "not ok name: ...",
 * "skip name: ..."), which the runner (tests/run) counts; exit 0 or 1.
 */
#ifndef RACKFS_TEST_H
#define RACKFS_TEST_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct test_case {
	const char *name;
	void (*run)(void);
};

static int test_failed;           /* of the case that runs */
static const char *test_skip_why; /* set by SKIP() */

#define CHECK(cond)                                                            \
	do {                                                                   \
		if (!(cond)) {                                                 \
			test_failed++;                                         \
			printf("# %s:%d: not true: %s\n", __FILE__, __LINE__,  \
			    #cond);                                            \
		}                                                              \
	} while (0)
#define CHECK_INT(a, b)                                                        \
	do {                                                                   \
		long long a_ = (a), b_ = (b);                                  \
		if (a_ != b_) {                                                \
			test_failed++;                                         \
			printf("# %s:%d: %s is %lld, not %lld\n", __FILE__,    \
			    __LINE__, #a, a_, b_);                             \
		}                                                              \
	} while (0)
#define CHECK_STR(a, b)                                                        \
	do {                                                                   \
		const char *a_ = (a), *b_ = (b);                               \
		if (!a_ || !b_ || strcmp(a_, b_) != 0) {                       \
			test_failed++;                                         \
			printf("# %s:%d: %s is \"%s\", not \"%s\"\n",          \
			    __FILE__, __LINE__, #a, a_ ? a_ : "(null)",        \
			    b_ ? b_ : "(null)");                               \
		}                                                              \
	} while (0)
#define SKIP(why)                                                              \
	do {                                                                   \
		test_skip_why = (why);                                         \
		return;                                                        \
	} while (0)
#define CASE(fn)                                                               \
	{                                                                      \
#fn, fn                                                        \
	}

static inline int test_main(const struct test_case *cases, size_t n)
{
	int bad = 0;
	for (size_t i = 0; i < n; i++) {
		test_failed = 0;
		test_skip_why = NULL;
		cases[i].run();
		if (test_failed) {
			bad = 1;
			printf("not ok %s: %d checks failed\n", cases[i].name,
			    test_failed);
		} else if (test_skip_why) {
			printf("skip %s: %s\n", cases[i].name, test_skip_why);
		} else {
			printf("ok %s\n", cases[i].name);
		}
		fflush(stdout);
	}
	return bad;
}
#define TEST_MAIN(cases)                                                       \
	int main(void)                                                         \
	{                                                                      \
		return test_main(cases, sizeof(cases) / sizeof((cases)[0]));   \
	}

#endif
