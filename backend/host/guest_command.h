/* SPDX-License-Identifier: Apache-2.0
 *
 * What the end of a command in a guest means, told the same way by every
 * driver that runs some.
 */
#ifndef RACKFS_GUEST_COMMAND_H
#define RACKFS_GUEST_COMMAND_H

#include "err.h"

/* From what ssh_run's done was given to 0 or the code that an operation ends
 * with: -EAGAIN for a session that broke, a command that took too long or was
 * killed by a signal, -EIO with the last words of one that failed. */
int guest_command_code(int code, int status, const char *what,
    const char *errout, const struct err *why, struct err *err);
/* Appends "$ what", its output (bounded, escaped) and its end, for a log. */
void guest_command_text(struct buf *ret, const char *what, int code, int status,
    const char *out, const char *errout, const struct err *why);

#endif
