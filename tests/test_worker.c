/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "host/worker.h"
#include "test.h"

#define LONG (20 * USEC_PER_SEC)
#define JOBS 1000

struct job {
	int number, ran, done;
};

static struct loop *l;
static struct worker *w;
static pthread_t main_thread;
static atomic_int ran;
static int done;

static void run(void *userdata)
{
	struct job *j = userdata;

	CHECK(!pthread_equal(pthread_self(), main_thread));
	j->ran = ++ran;
}

static void on_done(void *userdata)
{
	struct job *j = userdata;

	CHECK(pthread_equal(pthread_self(), main_thread));
	j->done = ++done;
}

static void fresh(void)
{
	main_thread = pthread_self();
	ran = 0;
	done = 0;
	CHECK_INT(loop_new(&l), 0);
	CHECK_INT(worker_new(l, &w), 0);
}

static void until(int n)
{
	uint64_t end = now_mono() + LONG;

	while (done < n && now_mono() < end)
		loop_turn(l, end - now_mono());
	CHECK_INT(done, n);
}

static void test_order(void)
{
	static struct job jobs[JOBS];

	fresh();
	memset(jobs, 0, sizeof(jobs));
	for (int i = 0; i < JOBS; i++)
		worker_add(w, run, on_done, &jobs[i]);
	CHECK_INT(done, 0); /* never from within */
	until(JOBS);
	for (int i = 0; i < JOBS; i++) {
		CHECK_INT(jobs[i].ran, i + 1);
		CHECK_INT(jobs[i].done, i + 1);
	}
	worker_free(w);
	loop_free(l);
}

static void test_free_finishes(void)
{
	static struct job jobs[JOBS];

	fresh();
	memset(jobs, 0, sizeof(jobs));
	for (int i = 0; i < JOBS; i++)
		worker_add(w, run, on_done, &jobs[i]);
	worker_free(w);
	CHECK_INT(done, JOBS);
	CHECK_INT(jobs[JOBS - 1].ran, JOBS);
	CHECK_INT(loop_turn(l, 0), 0);
	worker_free(NULL);
	loop_free(l);
}

static void run_plain(void *userdata)
{
	ran++;
}

static void done_plain(void *userdata)
{
	done++;
}

static void done_adds(void *userdata)
{
	done++;
	worker_add(w, run_plain, done_plain, NULL);
}

/* A store may write again when it hears that it was written. */
static void test_done_adds(void)
{
	fresh();
	worker_add(w, run_plain, done_adds, NULL);
	until(2);
	worker_add(w, run_plain, done_adds, NULL);
	worker_free(w);
	CHECK_INT(done, 4);
	CHECK_INT(ran, 4);
	loop_free(l);
}

static void done_frees(void *userdata)
{
	done++;
	worker_free(w);
	w = NULL;
}

static void test_done_frees(void)
{
	fresh();
	worker_add(w, run_plain, done_frees, NULL);
	worker_add(w, run_plain, done_plain, NULL);
	until(2);
	CHECK(!w);
	loop_free(l);
}

static const struct test_case cases[] = {
    CASE(test_order),
    CASE(test_free_finishes),
    CASE(test_done_adds),
    CASE(test_done_frees),
};
TEST_MAIN(cases)
