/* SPDX-License-Identifier: Apache-2.0
 *
 * The checked calls: a driver that breaks the contract is stopped at an
 * assert, and what it leaves out is filled in.
 */
#include "driver.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "test.h"

static int answer; /* of the driver below */
static bool fires_inside;
static struct op *taken;

static int observe(void *self, struct op *op, struct err *err)
{
	taken = op;
	if (fires_inside)
		op_done(op, 0, NULL);
	return answer;
}

static const struct network_driver odd = {.name = "odd", .observe = observe};

static int fired, code;
static char sentence[768];
static int percent;
static char detail[300];

static void on_done(struct op *op, int c, const struct err *err)
{
	fired++;
	code = c;
	CHECK((c == 0) == (err == NULL));
	snprintf(sentence, sizeof(sentence), "%s", err ? err->text : "");
}

static void on_progress(struct op *op, int p, const char *text)
{
	percent = p;
	snprintf(detail, sizeof(detail), "%s", text);
}

static struct op new_op(void)
{
	return (struct op){
	    .what = "observe", .done = on_done, .progress = on_progress};
}

static int begin(struct op *op)
{
	fired = 0;
	return network_observe(&odd, NULL, op, NULL);
}

static void refused_calls_can_be_made_again(void)
{
	struct op op = new_op();

	answer = -EBUSY;
	CHECK_INT(begin(&op), -EBUSY);
	CHECK(!op.pending && !fired);
	op_cancel(&op);
	answer = 0;
	CHECK_INT(begin(&op), 0);
	CHECK(op.pending);
	op_done(taken, 0, NULL);
	CHECK(!op.pending && fired == 1 && code == 0);
}

static void failures_have_a_sentence(void)
{
	struct op op = new_op();
	struct err err = ERR_INIT;

	answer = 0;
	CHECK_INT(begin(&op), 0);
	op_done(taken, -ENOSPC, NULL);
	CHECK_INT(code, -ENOSPC);
	CHECK_STR(sentence, "observe: No space left on device");
	CHECK_INT(begin(&op), 0);
	err_set(&err, -EIO, "the switch ended");
	op_done(taken, -EIO, &err);
	CHECK_STR(sentence, "the switch ended");
	CHECK_INT(begin(&op), 0);
	op_done(taken, 0, &err); /* nothing failed */
	CHECK_STR(sentence, "");
}

static int cancels;

static void on_cancel(struct op *op)
{
	cancels++;
}

static void cancel_and_progress_reach_the_other_side(void)
{
	struct op op = new_op();

	answer = 0;
	CHECK_INT(begin(&op), 0);
	op_cancel(&op); /* a driver that can't yet */
	op.cancel = on_cancel;
	op_cancel(&op);
	CHECK_INT(cancels, 1);
	op_progress(taken, 40, "%s", "mkfs");
	CHECK_INT(percent, 40);
	CHECK_STR(detail, "mkfs");
	op.progress = NULL;
	op_progress(taken, -1, "nobody listens");
	op_done(taken, 0, NULL);
	op_cancel(&op);
	CHECK_INT(cancels, 1);
}

static void a_slot_ends_its_call_once_and_from_the_loop(void)
{
	struct op_slot slot = {0};
	struct op op = new_op();
	struct loop *l;

	CHECK_INT(loop_new(&l), 0);
	CHECK_INT(op_slot_open(&slot, l), 0);
	CHECK(!op_end(&slot, 0)); /* nothing is under way */
	answer = 0;
	CHECK_INT(begin(&op), 0);
	op_begin(&slot, taken, on_cancel, &slot);
	CHECK(op_waits(&slot) && op.driver_data == &slot);
	err_set(&slot.err, -EIO, "the switch ended");
	CHECK(op_end(&slot, -EIO));
	CHECK(!op_waits(&slot) && !fired);
	CHECK(!op_end(&slot, 0)); /* the first counts */
	while (!fired && loop_turn(l, USEC_NEVER) >= 0)
		;
	CHECK_INT(code, -EIO);
	CHECK_STR(sentence, "the switch ended");
	/* Free again; of the last call nothing is left. */
	CHECK_INT(begin(&op), 0);
	op_begin(&slot, taken, on_cancel, &slot);
	CHECK_STR(slot.err.text, "");
	op_drop(&slot);
	CHECK(!op_end(&slot, 0));
	op_slot_close(&slot);
	loop_free(l);
}

/* In a child, whose last words are nobody's. */
static bool aborts(void (*fn)(void))
{
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		const struct rlimit none = {0, 0};
		int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
		setrlimit(RLIMIT_CORE, &none);
		dup2(null, 1);
		dup2(null, 2);
		signal(SIGABRT, SIG_DFL);
		fn();
		_exit(0);
	}
	int status = 0;
	waitpid(pid, &status, 0);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void done_inside(void)
{
	struct op op = new_op();
	fires_inside = true;
	answer = 0;
	(void)begin(&op);
}

static void done_and_refused(void)
{
	struct op op = new_op();
	fires_inside = true;
	answer = -EBUSY;
	(void)begin(&op);
}

static void done_twice(void)
{
	struct op op = new_op();
	answer = 0;
	(void)begin(&op);
	op_done(taken, 0, NULL);
	op_done(taken, 0, NULL);
}

static void two_at_a_time(void)
{
	struct op op = new_op();
	answer = 0;
	(void)begin(&op);
	(void)begin(&op);
}

static void positive_answer(void)
{
	struct op op = new_op();
	answer = 1;
	(void)begin(&op);
}

static void positive_code(void)
{
	struct op op = new_op();
	answer = 0;
	(void)begin(&op);
	op_done(taken, EIO, NULL);
}

static void nothing(void)
{
}

static void breaches_end_at_an_assert(void)
{
	CHECK(!aborts(nothing));
	CHECK(aborts(done_inside));
	CHECK(aborts(done_and_refused));
	CHECK(aborts(done_twice));
	CHECK(aborts(two_at_a_time));
	CHECK(aborts(positive_answer));
	CHECK(aborts(positive_code));
}

static void contents_have_words(void)
{
	for (int i = 0; i < DISK_CONTENTS; i++)
		CHECK(*disk_content_name((enum disk_content)i));
}

static const struct test_case cases[] = {
    CASE(refused_calls_can_be_made_again),
    CASE(failures_have_a_sentence),
    CASE(cancel_and_progress_reach_the_other_side),
    CASE(a_slot_ends_its_call_once_and_from_the_loop),
    CASE(breaches_end_at_an_assert),
    CASE(contents_have_words),
};
TEST_MAIN(cases)
