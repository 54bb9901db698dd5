/* SPDX-License-Identifier: Apache-2.0
 *
 * One thread with a queue of jobs.  The loop is told by an eventfd of the
 * worker's own: it may be freed while a message is on its way.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "host/worker.h"

struct job {
	struct job *next;
	void (*run)(void *job);
	void (*done)(void *job);
	void *userdata;
	bool ran;
};

struct queue {
	struct job *first, **last;
};

struct worker {
	pthread_t thread;
	pthread_mutex_t lock; /* of all below */
	pthread_cond_t more;
	struct queue todo, ready;
	bool stop;
	int wake; /* the loop looks at `ready` */
	struct loop_source *source;
};

static void push(struct queue *q, struct job *j)
{
	j->next = NULL;
	*q->last = j;
	q->last = &j->next;
}

static struct job *pop(struct queue *q)
{
	struct job *j = q->first;

	if (j) {
		q->first = j->next;
		if (!q->first)
			q->last = &q->first;
	}
	return j;
}

static void *work(void *userdata)
{
	struct worker *w = userdata;
	uint64_t one = 1;

	pthread_mutex_lock(&w->lock);
	for (;;) {
		struct job *j = pop(&w->todo);

		if (!j && w->stop)
			break;
		if (!j) {
			pthread_cond_wait(&w->more, &w->lock);
			continue;
		}
		pthread_mutex_unlock(&w->lock);
		j->run(j->userdata);
		j->ran = true;
		pthread_mutex_lock(&w->lock);
		push(&w->ready, j);
		while (write(w->wake, &one, sizeof(one)) < 0 && errno == EINTR)
			;
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

static struct job *next_ready(struct worker *w)
{
	struct job *j;

	pthread_mutex_lock(&w->lock);
	j = pop(&w->ready);
	pthread_mutex_unlock(&w->lock);
	return j;
}

static void on_wake(int fd, uint32_t events, void *userdata)
{
	struct worker *w = userdata;
	uint64_t n, one = 1;
	struct job *j;
	bool more;

	while (read(fd, &n, sizeof(n)) < 0 && errno == EINTR)
		;
	j = next_ready(w);
	if (!j)
		return;
	pthread_mutex_lock(&w->lock);
	more = w->ready.first;
	pthread_mutex_unlock(&w->lock);
	/* One at a time, and last of all: done may free the worker. */
	while (more && write(fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	j->done(j->userdata);
	free(j);
}

int worker_new(struct loop *l, struct worker **ret)
{
	struct worker *w = xcalloc(1, sizeof(*w));
	sigset_t all, old;
	int rc;

	w->todo.last = &w->todo.first;
	w->ready.last = &w->ready.first;
	w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = w->wake < 0
		 ? -errno
		 : loop_add_io(l, w->wake, EPOLLIN, on_wake, w, &w->source);
	if (!rc) {
		pthread_mutex_init(&w->lock, NULL);
		pthread_cond_init(&w->more, NULL);
		/* Signals are the loop's. */
		sigfillset(&all);
		pthread_sigmask(SIG_SETMASK, &all, &old);
		rc = -pthread_create(&w->thread, NULL, work, w);
		pthread_sigmask(SIG_SETMASK, &old, NULL);
	}
	if (rc) {
		loop_source_free(w->source);
		util_closep(&w->wake);
		free(w);
		return rc;
	}
	*ret = w;
	return 0;
}

void worker_free(struct worker *w)
{
	struct job *j;

	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->stop = true;
	pthread_cond_signal(&w->more);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	/* No thread and no source any more, so nobody else calls done.  What
	 * done adds is done as well. */
	loop_source_free(w->source);
	while ((j = pop(&w->ready)) || (j = pop(&w->todo))) {
		if (!j->ran)
			j->run(j->userdata);
		j->done(j->userdata);
		free(j);
	}
	pthread_cond_destroy(&w->more);
	pthread_mutex_destroy(&w->lock);
	util_closep(&w->wake);
	free(w);
}

void worker_add(struct worker *w, void (*run)(void *job),
    void (*done)(void *job), void *job)
{
	struct job *j = xmalloc(sizeof(*j));

	*j = (struct job){.run = run, .done = done, .userdata = job};
	pthread_mutex_lock(&w->lock);
	push(&w->todo, j);
	pthread_cond_signal(&w->more);
	pthread_mutex_unlock(&w->lock);
}
