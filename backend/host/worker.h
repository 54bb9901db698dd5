/* SPDX-License-Identifier: Apache-2.0
 *
 * One thread for what can block on the disk (fsync).  Jobs run in the order
 * they were given; done is called on the loop's thread.
 */
#ifndef RACKFS_WORKER_H
#define RACKFS_WORKER_H

#include "err.h"
#include "loop.h"

struct worker;

int worker_new(struct loop *l, struct worker **ret);
/* Finishes the jobs that were given; their done is called from within. */
void worker_free(struct worker *w);
/* run(job) on the worker's thread, then done(job) on the loop. */
void worker_add(struct worker *w, void (*run)(void *job),
    void (*done)(void *job), void *job);

#endif
