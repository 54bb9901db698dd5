/* SPDX-License-Identifier: Apache-2.0
 *
 * What doctor.c and doctor_places.c share.
 */
#ifndef RACKFS_DOCTOR_INTERNAL_H
#define RACKFS_DOCTOR_INTERNAL_H

#include "doctor.h"
#include "loop.h"
#include "util.h"

enum verdict { OK, WARN, MISSING };

struct doctor {
	FILE *out;
	struct loop *loop;
	bool lacks; /* something is missing */
	/* Of the one child or probe that is under way. */
	bool over, usable;
	int status;
	struct buf words;
};

/* One line; mend (may be NULL) is the command that helps. */
void doctor_report(struct doctor *d, enum verdict v, const char *what,
    const char *mend, const char *fmt, ...) PRINTF(5, 6);

/* doctor_places.c */
void doctor_check_lists(struct doctor *d);
void doctor_check_paths(struct doctor *d);
void doctor_check_disk(struct doctor *d);
void doctor_check_memory(struct doctor *d);
void doctor_check_subuid(struct doctor *d);
void doctor_check_linger(struct doctor *d);

#endif
