/* SPDX-License-Identifier: Apache-2.0
 *
 * A fuzzer is a file tests/fuzz_<name>.c with one function.  Its inputs begin
 * as the files of tests/corpus/<name>/; an input that once broke it is kept
 * there.
 */
#ifndef RACKFS_FUZZ_H
#define RACKFS_FUZZ_H

#include <stddef.h>

/* Tries one input; data is NUL-terminated as well.  Aborts when something that
 * must hold does not; the sanitizers watch the rest. */
void fuzz_one(const char *data, size_t len);

#endif
