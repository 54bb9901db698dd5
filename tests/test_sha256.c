/* SPDX-License-Identifier: Apache-2.0
 *
 * SHA-256: the examples of FIPS 180-4, and what reads as a digest.
 */
#include "test.h"

#include "host/sha256.h"

#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define ABC   "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static void known_digests(void)
{
	_cleanup_(sha256_freep) struct sha256 *s = sha256_new();
	char hex[SHA256_HEX];

	sha256_of(NULL, 0, hex);
	CHECK_STR(hex, EMPTY);
	sha256_add(s, "a", 1);
	sha256_add(s, NULL, 0);
	sha256_add(s, "bc", 2);
	sha256_end(s, hex);
	CHECK_STR(hex, ABC);
}

static void what_reads_as_a_digest(void)
{
	CHECK(sha256_valid(ABC " more", SHA256_DIGITS));
	CHECK(!sha256_valid(ABC, SHA256_DIGITS - 1));
	CHECK(!sha256_valid(ABC "0", SHA256_DIGITS + 1));
	CHECK(!sha256_valid("BA" ABC, SHA256_DIGITS));
	CHECK(!sha256_valid("", 0));
}

static const struct test_case cases[] = {
    CASE(known_digests),
    CASE(what_reads_as_a_digest),
};
TEST_MAIN(cases)
