// SPDX-License-Identifier: Apache-2.0
/*
 * What the end of a command in a guest is taken for.
 */
#include <errno.h>

#include "host/guest_command.h"
#include "test.h"

static const struct {
	int code, status;
	const char *errout;
	int want;
	const char *sentence;
} ends[] = {
    {0, 0, "", 0, ""},
    {0, 0, "a warning\n", 0, ""},
    {0, 1, "", -EIO, "look: exit status 1"},
    {0, 127, "sh: no\nsfdisk\n", -EIO, "look: exit status 127: sh: no sfdisk"},
    /* Killed: tried again. */
    {0, 128 + 1, "", -EAGAIN, "look: killed by SIGHUP"},
    {0, 128 + 9, "", -EAGAIN, "look: killed by SIGKILL"},
    {0, 128 + 15, "Terminated\n", -EAGAIN, "look: killed by SIGTERM"},
    /* Programs say such things themselves. */
    {0, 128, "", -EIO, "look: exit status 128"},
    {0, 255, "", -EIO, "look: exit status 255"},
    /* The session. */
    {-ECONNRESET, 0, "", -EAGAIN, "look: why"},
    {-ENOTCONN, 0, "", -EAGAIN, "look: why"},
    {-ETIMEDOUT, 0, "", -EAGAIN, "look: why"},
    {-ECANCELED, 0, "", -ECANCELED, "cancelled"},
    {-E2BIG, 0, "", -E2BIG, "look: why"},
};

static void codes_and_sentences(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		struct err why = ERR_INIT, err = ERR_INIT;

		if (ends[i].code)
			err_set(&why, ends[i].code, "why");
		CHECK_INT(guest_command_code(ends[i].code, ends[i].status,
			      "look", ends[i].errout, &why, &err),
		    ends[i].want);
		CHECK_STR(err.text, ends[i].sentence);
	}
}

static const struct test_case cases[] = {
    CASE(codes_and_sentences),
};
TEST_MAIN(cases)
