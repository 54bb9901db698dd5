/* SPDX-License-Identifier: Apache-2.0
 *
 * `rackfs doctor`: what this host can do, one line each, with the command that
 * mends what is missing.
 */
#ifndef RACKFS_DOCTOR_H
#define RACKFS_DOCTOR_H

#include <stdio.h>

/* Prints "ok", "warn" or "missing", what, and how it is.  Returns the exit
 * status: 0; 1 when three machines could not be brought up. */
int doctor_run(FILE *out);

#endif
