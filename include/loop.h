/* SPDX-License-Identifier: Apache-2.0
 *
 * The event loop: one thread owns all state.  backend/host/loop.c is the only
 * user of sd-event.  Every function is for the loop's thread; other threads
 * wake it by an eventfd of their own (backend/host/worker.c).
 */
#ifndef RACKFS_LOOP_H
#define RACKFS_LOOP_H

#include <signal.h>
#include <sys/inotify.h>
#include "util.h"

struct loop;
struct loop_source;

typedef void (*loop_fn)(void *userdata);
typedef void (*loop_io_fn)(int fd, uint32_t epoll_events, void *userdata);
/* status as waitid(2): code CLD_EXITED, CLD_KILLED or CLD_DUMPED. */
typedef void (*loop_child_fn)(pid_t pid, int code, int status, void *userdata);
typedef void (*loop_signal_fn)(int signal, void *userdata);
typedef void (*loop_inotify_fn)(
    const struct inotify_event *event, void *userdata);

int loop_new(struct loop **ret);
void loop_free(struct loop *l);
/* Runs until loop_exit(); returns the code given there, or a negative errno. */
int loop_run(struct loop *l);
void loop_exit(struct loop *l, int code);
/* One round: waits at most timeout_usec (USEC_NEVER: for ever) and serves what
 * is ready.  For tests.  Returns 1 when something was served, 0 when not. */
int loop_turn(struct loop *l, uint64_t timeout_usec);
/* CLOCK_MONOTONIC in microseconds, read once a round. */
uint64_t loop_now(struct loop *l);

/* Each gives a source that stays until loop_source_free() (NULL is legal;
 * legal from within its own callback too).  events: EPOLLIN, EPOLLOUT.
 * fd is borrowed: free its source before it is closed. */
int loop_add_io(struct loop *l, int fd, uint32_t events, loop_io_fn fn,
    void *userdata, struct loop_source **ret);
int loop_io_events(struct loop_source *s, uint32_t events);
/* Fires once at `at` (loop_now() clock; USEC_NEVER: not until set again). */
int loop_add_timer(struct loop *l, uint64_t at, loop_fn fn, void *userdata,
    struct loop_source **ret);
int loop_timer_set(struct loop_source *s, uint64_t at);
/* A child of this process, by pidfd; reaps it; fires once. */
int loop_add_child(struct loop *l, pid_t pid, loop_child_fn fn, void *userdata,
    struct loop_source **ret);
/* A process that need not be our child, by its pidfd (borrowed until the
 * source is freed); fires once when it has ended.  Nothing is reaped. */
int loop_add_pidfd(struct loop *l, int pidfd, loop_fn fn, void *userdata,
    struct loop_source **ret);
/* Reaps a child whose end nobody waits for any more. */
int loop_reap(struct loop *l, pid_t pid);
/* Blocks the signal for this thread: call it before other threads start. */
int loop_add_signal(struct loop *l, int signal, loop_signal_fn fn,
    void *userdata, struct loop_source **ret);
int loop_add_inotify(struct loop *l, const char *path, uint32_t mask,
    loop_inotify_fn fn, void *userdata, struct loop_source **ret);
/* Deferred work: runs in this or the next round each time loop_kick() was
 * called since; many kicks before that run it once. */
int loop_add_deferred(
    struct loop *l, loop_fn fn, void *userdata, struct loop_source **ret);
void loop_kick(struct loop_source *deferred);
/* As deferred work, and it runs after everything else that is ready. */
int loop_add_idle(
    struct loop *l, loop_fn fn, void *userdata, struct loop_source **ret);
void loop_source_free(struct loop_source *s);

#endif
