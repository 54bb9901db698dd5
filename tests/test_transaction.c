// SPDX-License-Identifier: Apache-2.0
/*
 * Write transactions: the rules of fs/transaction.c, each as a table of what a
 * program does with its descriptor and what it is told.  The target answers at
 * once or when the test says so, and refuses what holds the word "bad".
 */
#include <errno.h>
#include "fs/transaction.h"
#include "test.h"

struct draft {
	struct store *store;
	char *text;
	bool patch;
};

struct store {
	char *document;  /* in force */
	struct buf told; /* sentences, one a line; "ok" for accepted */
	unsigned drafts; /* that live */
	unsigned prepared, commits;
	bool patched; /* the last commit was a patch */
	bool late;    /* answers wait for deliver() */
	bool refuse_commit;
	bool over;
	transaction_reply_fn reply;
	void *userdata;
	int code;
	struct err err;
};

static void answer(struct store *s, transaction_reply_fn reply, void *userdata)
{
	if (!s->late) {
		reply(s->code, &s->err, userdata);
		return;
	}
	s->reply = reply;
	s->userdata = userdata;
}

static void deliver(struct store *s)
{
	transaction_reply_fn reply = s->reply;

	s->reply = NULL;
	reply(s->code, &s->err, s->userdata);
}

static void free_draft(struct draft *d)
{
	d->store->drafts--;
	free(d->text);
	free(d);
}

static int store_prepare(void *owner, bool patch, const char *text, size_t len,
    transaction_reply_fn reply, void *userdata, struct draft **ret,
    struct err *err)
{
	struct store *s = owner;
	struct draft *d;

	if (strstr(text, "\"bad\""))
		return err_set(err, -ENOENT, "bad is not there");
	d = xcalloc(1, sizeof(*d));
	d->store = s;
	d->text = xstrndup(text, len);
	d->patch = patch;
	s->drafts++;
	s->prepared++;
	s->code = 0;
	*ret = d;
	answer(s, reply, userdata);
	return 0;
}

static void store_commit(
    struct draft *d, transaction_reply_fn reply, void *userdata)
{
	struct store *s = d->store;

	s->code = 0;
	if (s->refuse_commit) {
		s->code = err_set(&s->err, -EEXIST, "taken by then");
	} else {
		free(s->document);
		s->document = xstrdup(d->text);
		s->patched = d->patch;
		s->commits++;
	}
	free_draft(d);
	answer(s, reply, userdata);
}

static int store_current(void *owner, struct buf *ret)
{
	buf_puts(ret, ((struct store *)owner)->document);
	return 0;
}

static void store_tell(void *owner, const char *sentence)
{
	buf_printf(
	    &((struct store *)owner)->told, "%s\n", sentence ? sentence : "ok");
}

static void store_over(void *owner)
{
	((struct store *)owner)->over = true;
}

static const struct transaction_target target = {
    .prepare = store_prepare,
    .commit = store_commit,
    .drop = free_draft,
    .current = store_current,
    .tell = store_tell,
    .done = store_over,
};

#define NOT_YET 1000
static void set_code(int code, void *userdata)
{
	*(int *)userdata = code;
}

static struct store *store_new(void)
{
	struct store *s = xcalloc(1, sizeof(*s));

	s->document = xstrdup("{\"old\":1}\n");
	return s;
}

static void store_free(struct store *s)
{
	CHECK_INT(s->drafts, 0);
	free(s->document);
	buf_done(&s->told);
	free(s);
}

/* --- rules, as a table --- */

struct step {
	enum {
		END,
		WRITE,    /* text at `off`; AFTER: where the last one ended */
		TRUNCATE, /* to `off` */
		FLUSH,    /* by the opener */
		CHILD,    /* flush by another process */
		RELEASE
	} what;
	const char *text;
	long off;
	int code;
};
#define AFTER (-1)

struct rule {
	const char *name;
	bool patch, truncated;
	struct step steps[12];
	const char *document; /* after it; NULL: the old one */
	const char *told;
};

#define W(text, code)                                                          \
	{                                                                      \
		WRITE, text, AFTER, code                                       \
	}

static const struct rule rules[] = {
    {"echo >", false, true, {{FLUSH}, W("{\"a\":1}\n", 0), {FLUSH}, {RELEASE}},
	"{\"a\":1}\n", "ok\n"},
    {": >", false, true, {{FLUSH}, {RELEASE}}, NULL, ""},
    {"only blanks", false, true, {W("  \n", 0), {FLUSH}, {RELEASE}}, NULL, ""},
    {"opened and closed", false, false, {{FLUSH}, {RELEASE}}, NULL, ""},
    {"truncate -s 0", false, false, {{TRUNCATE, NULL, 0}, {FLUSH}, {RELEASE}},
	NULL, ""},
    {"a newline later", false, true,
	{W("{\"a\":1}", 0), W("\n", 0), {FLUSH}, {RELEASE}}, "{\"a\":1}\n",
	"ok\n"},
    {"echo '{' >", false, true,
	{W("{\n", 0), {FLUSH, NULL, 0, -EINVAL}, {RELEASE}}, NULL,
	"line 1, column 1: the document is cut off\n"},
    {"half by a killed program", false, true, {W("{\"a\":", 0), {RELEASE}},
	NULL, "line 1, column 5: the document is cut off\n"},
    {"several writers, one redirection", false, true,
	{W("{\n", 0), W("\"a\":", 0), {CHILD}, W("3}\n", 0), {FLUSH},
	    {RELEASE}},
	"{\n\"a\":3}\n", "ok\n"},
    {"an opener who goes on", false, true,
	{W("{", 0), {FLUSH, NULL, 0, -EINVAL}, W("}", 0), {FLUSH}, {RELEASE}},
	"{}", "line 1, column 1: the document is cut off\nok\n"},
    {"a flush by the child makes it so", false, true,
	{W("{}", 0), {CHILD}, W("\n", 0), {FLUSH}, {RELEASE}}, "{}\n",
	"ok\nok\n"},
    {"a wrong byte", false, true,
	{W("{x", -EINVAL), W("{}", -EINVAL), {FLUSH, NULL, 0, -EINVAL}, {CHILD},
	    {RELEASE}},
	NULL, NULL},
    {"two documents", false, true,
	{W("{}", 0), W("{}", -EINVAL), {FLUSH, NULL, 0, -EINVAL}, {RELEASE}},
	NULL, NULL},
    {"refused by the cluster", false, true,
	{W("{\"bad\":1}", -ENOENT), W("{}", -ENOENT), {FLUSH, NULL, 0, -ENOENT},
	    {RELEASE}},
	NULL, "bad is not there\n"},
    {"a new beginning", false, true,
	{W("{\"bad\":1}", -ENOENT), {TRUNCATE, NULL, 0}, {WRITE, "{}", 0, 0},
	    {FLUSH}, {RELEASE}},
	"{}", "bad is not there\nok\n"},
    {"a patch", true, false, {{FLUSH}, W("{\"a\":1}\n", 0), {FLUSH}, {RELEASE}},
	"{\"a\":1}\n", "ok\n"},
    {"two patches", true, false,
	{W("{\"a\":1}\n", 0), {FLUSH}, W("{\"b\":2}\n", 0), {FLUSH}, {RELEASE}},
	"{\"b\":2}\n", "ok\nok\n"},
    {"vim", false, false,
	{{TRUNCATE, NULL, 0}, {WRITE, "{}\n", 0, 0}, {FLUSH}, {FLUSH},
	    {RELEASE}},
	"{}\n", "ok\n"},
    {"rsync --inplace, shorter", false, false,
	{{WRITE, "{}\n", 0, 0}, {TRUNCATE, NULL, 3, 0}, {FLUSH}, {RELEASE}},
	"{}\n", "ok\n"},
    {"in the middle", false, false, {{WRITE, "2", 7, 0}, {FLUSH}, {RELEASE}},
	"{\"old\":2}\n", "ok\n"},
    {"in the middle, nonsense", false, false,
	{{WRITE, "}", 7, 0}, {FLUSH, NULL, 0, -EINVAL}, {RELEASE}}, NULL, NULL},
    {"longer by truncate", false, false,
	{{TRUNCATE, NULL, 99, -EINVAL}, {FLUSH}, {RELEASE}}, NULL, ""},
    {"no flush at all", false, true, {W("{}", 0), {RELEASE}}, "{}", "ok\n"},
};

static void run_rule(const struct rule *r)
{
	struct store *s = store_new();
	struct transaction *t =
	    transaction_new(&target, s, r->patch, r->truncated);
	uint64_t end = 0;

	for (const struct step *x = r->steps; x->what != END; x++) {
		int code = NOT_YET;

		switch (x->what) {
		case WRITE:
			if (x->off != AFTER)
				end = (uint64_t)x->off;
			transaction_write(t, 0, end, x->text, strlen(x->text),
			    set_code, &code);
			if (code == 0)
				end += strlen(x->text);
			break;
		case TRUNCATE:
			transaction_truncate(
			    t, (uint64_t)x->off, set_code, &code);
			break;
		case FLUSH:
		case CHILD:
			transaction_flush(t, x->what == FLUSH, set_code, &code);
			break;
		case RELEASE:
			transaction_release(t);
			code = 0;
			break;
		case END:
			break;
		}
		if (code != x->code)
			printf("# %s, step %td: %d, not %d\n", r->name,
			    x - r->steps, code, x->code);
		CHECK_INT(code, x->code);
	}
	CHECK(s->over);
	if (!STREQ(s->document, r->document ? r->document : "{\"old\":1}\n"))
		printf("# %s\n", r->name);
	CHECK_STR(s->document, r->document ? r->document : "{\"old\":1}\n");
	CHECK(s->commits == 0 || s->patched == r->patch);
	if (r->told && !STREQ(buf_str(&s->told), r->told))
		printf("# %s\n", r->name);
	if (r->told)
		CHECK_STR(buf_str(&s->told), r->told);
	store_free(s);
}

static void each_rule(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		run_rule(&rules[i]);
}

/* --- size --- */

static void too_big(void)
{
	struct store *s = store_new();
	struct transaction *t = transaction_new(&target, s, false, true);
	_cleanup_free_ char *blanks = xmalloc(SPEC_MAX);
	int code = NOT_YET;

	memset(blanks, ' ', SPEC_MAX);
	transaction_write(t, 0, 0, blanks, SPEC_MAX - 1, set_code, &code);
	CHECK_INT(code, 0);
	transaction_write(t, 0, SPEC_MAX - 1, "{}", 2, set_code, &code);
	CHECK_INT(code, -EFBIG);
	transaction_write(t, 0, UINT64_MAX, "{}", 2, set_code, &code);
	CHECK_INT(code, -EFBIG);
	transaction_release(t);
	CHECK_STR(s->document, "{\"old\":1}\n");
	store_free(s);
}

static void byte_by_byte(void)
{
	struct store *s = store_new();
	struct transaction *t = transaction_new(&target, s, false, true);
	_cleanup_buf_ struct buf text = {0};
	int code = NOT_YET;

	buf_puts(&text, "{\"a\":[");
	for (int i = 0; i < 20000; i++)
		buf_printf(&text, "%d,", i);
	buf_puts(&text, "0],\"b\":\"}\\\"{\"}");
	for (size_t i = 0; i < text.len; i++) {
		transaction_write(t, 0, i, text.data + i, 1, set_code, &code);
		if (code != 0)
			break;
	}
	CHECK_INT(code, 0);
	CHECK_INT(s->prepared, 1);
	transaction_flush(t, true, set_code, &code);
	CHECK_INT(code, 0);
	CHECK_STR(s->document, buf_str(&text));
	transaction_release(t);
	store_free(s);
}

/* --- answers that come later --- */

static void the_write_waits(void)
{
	struct store *s = store_new();
	struct transaction *t = transaction_new(&target, s, false, true);
	int wrote = NOT_YET, more = NOT_YET, flushed = NOT_YET;

	s->late = true;
	transaction_write(t, 0, 0, "{}", 2, set_code, &wrote);
	CHECK_INT(wrote, NOT_YET);
	/* Others queue. */
	transaction_write(t, 0, 2, "\n", 1, set_code, &more);
	transaction_flush(t, true, set_code, &flushed);
	transaction_release(t);
	deliver(s);
	CHECK_INT(wrote, 0);
	CHECK_INT(more, NOT_YET);
	deliver(s);
	CHECK_INT(more, 0);
	CHECK_INT(flushed, NOT_YET);
	CHECK(!s->over);
	deliver(s);
	CHECK_INT(flushed, 0);
	CHECK(s->over);
	CHECK_STR(s->document, "{}\n");
	CHECK_INT(s->commits, 1);
	store_free(s);
}

static void a_late_refusal(void)
{
	struct store *s = store_new();
	struct transaction *t = transaction_new(&target, s, false, true);
	int wrote = NOT_YET;

	s->late = true;
	transaction_write(t, 0, 0, "{}", 2, set_code, &wrote);
	s->code = err_set(&s->err, -ENOSPC, "the disk is full");
	deliver(s);
	CHECK_INT(wrote, -ENOSPC);
	transaction_release(t);
	CHECK(s->over);
	CHECK_STR(buf_str(&s->told), "the disk is full\n");
	CHECK_STR(s->document, "{\"old\":1}\n");
	store_free(s);
}

static void a_commit_that_fails(void)
{
	struct store *s = store_new();
	struct transaction *t = transaction_new(&target, s, false, true);
	int code = NOT_YET;

	s->refuse_commit = true;
	transaction_write(t, 0, 0, "{}", 2, set_code, &code);
	CHECK_INT(code, 0);
	transaction_flush(t, true, set_code, &code);
	CHECK_INT(code, -EEXIST);
	transaction_release(t);
	CHECK_STR(buf_str(&s->told), "taken by then\n");
	store_free(s);
}

/* The daemon ends while an answer is out. */
static void freed_in_between(void)
{
	struct store *s = store_new();
	struct transaction *t = transaction_new(&target, s, false, true);
	int code = NOT_YET;

	s->late = true;
	transaction_write(t, 0, 0, "{}", 2, set_code, &code);
	transaction_free(t);
	CHECK_INT(s->drafts, 0);
	t = transaction_new(&target, s, false, true);
	transaction_write(t, 0, 0, "{}", 2, set_code, &code);
	deliver(s);
	transaction_flush(t, true, set_code, &code);
	code = NOT_YET;
	transaction_free(t);
	deliver(s); /* of the commit */
	CHECK_INT(code, NOT_YET);
	CHECK(!s->over);
	store_free(s);
}

static void reads_of_the_writer(void)
{
	struct store *s = store_new();
	struct transaction *t = transaction_new(&target, s, false, false);
	int code = NOT_YET;

	CHECK(!transaction_text(t));
	transaction_write(t, 0, 7, "2", 1, set_code, &code);
	CHECK_STR(buf_str(transaction_text(t)), "{\"old\":2}\n");
	transaction_truncate(t, 0, set_code, &code);
	CHECK_INT(transaction_text(t)->len, 0);
	transaction_release(t);
	store_free(s);
}

static const struct test_case cases[] = {
    CASE(each_rule),
    CASE(too_big),
    CASE(byte_by_byte),
    CASE(the_write_waits),
    CASE(a_late_refusal),
    CASE(a_commit_that_fails),
    CASE(freed_in_between),
    CASE(reads_of_the_writer),
};
TEST_MAIN(cases)
