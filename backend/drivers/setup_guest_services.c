/* SPDX-License-Identifier: Apache-2.0
 *
 * Services: those that left the spec are stopped, the others enabled and
 * (re)started when their unit or what they use has changed since they were.
 * One starts when those it comes after have: a required one of them must pass
 * its check first.  What can start at once is started by one command.
 *
 * A service, in this ensure: to start -> started -> passed; a required one
 * passes by its check, any other once it is started.  A unit that fails as it
 * starts ends the ensure either way.
 */
#include <errno.h>
#include <stdio.h>

#include "drivers/setup_guest.h"

#define START_TIME  (120 * USEC_PER_SEC)
#define CHECK_TIME  (5 * USEC_PER_SEC)
#define CHECK_EVERY (500 * USEC_PER_MSEC)
#define PASS_TIME   (90 * USEC_PER_SEC) /* from the first try */
#define JOURNAL_MAX 400                 /* bytes of it in an error */

static const char *name_of(const struct setup *s, size_t i)
{
	return s->services[i].s.name;
}

/* setup_take_slice() takes names of plain letters only. */
static void put_unit(const struct setup *s, size_t i, struct buf *b)
{
	buf_printf(b, " %s.service", name_of(s, i));
}

static void begin_program(const struct setup *s, struct buf *b)
{
	buf_puts(b, "{\n");
	setup_put_head(s, b);
	buf_puts(b, "mkdir -p \"$s/services\" || exit\n");
}

static void end_program(struct buf *b)
{
	buf_puts(b, "exit 0\n} </dev/null\n");
}

static void put_stamp(const struct setup *s, size_t i, struct buf *b)
{
	buf_puts(b, "n=");
	setup_quote(b, name_of(s, i));
	buf_printf(b,
	    ";echo %s >\"$s/services/.$n\" && "
	    "mv -f \"$s/services/.$n\" \"$s/services/$n\" || exit\n",
	    s->services[i].digest);
}

/* --- one that failed --------------------------------------------------- */

static void describe(
    const struct setup *s, size_t i, const char *why, struct err *err)
{
	const struct seen_service *v = &s->seen.services[i];

	if (why)
		err_set(err, -ETIME,
		    "services.%s: its check %s did not pass "
		    "within %llu s: %s",
		    name_of(s, i), s->services[i].s.check,
		    PASS_TIME / USEC_PER_SEC, why);
	else
		err_set(err, -EIO, "services.%s: the unit is %s (%s)",
		    name_of(s, i), v->active, v->result);
}

static void on_journal(int code, int status, const char *out, size_t out_len,
    const char *errout, const struct err *err, void *userdata)
{
	struct setup *s = userdata;
	_cleanup_buf_ struct buf shown = {0};
	struct err why = s->call.err;

	s->job = NULL;
	if (!setup_ended_well(s, "journalctl", code, 0, errout, err))
		return;
	while (out_len && out[out_len - 1] == '\n')
		out_len--;
	/* Its end, from where a character begins. */
	while (out_len > JOURNAL_MAX ||
	       (out_len && ((unsigned char)*out & 0xc0) == 0x80)) {
		out++;
		out_len--;
	}
	buf_escaped(&shown, out, out_len);
	for (size_t k = 0; k < shown.len; k++)
		if (shown.data[k] == '\n')
			shown.data[k] = ';';
	s->call.err = why;
	if (shown.len)
		err_set(&s->call.err, why.code, "%s: %s", why.text, shown.data);
	setup_finish(s, why.code);
}

/* What its programs said since the last start; what systemd says of a unit that
 * was tried again and again would fill the lines.  A unit whose programs said
 * nothing has systemd's words. */
static const char journal_code[] =
    "i=$(systemctl show -p InvocationID --value $u) o=\n"
    "j='journalctl -q -n 5 --no-pager -o cat'\n"
    "[ -z \"$i\" ] || o=$($j \"_SYSTEMD_INVOCATION_ID=$i\")\n"
    "if [ -n \"$o\" ]; then printf '%s\\n' \"$o\"; else $j -u $u; fi\n";

/* A unit that fails as it starts, or a check that a required service does not
 * pass: its journal's last lines are asked for. */
static void failed(struct setup *s, size_t i, const char *why)
{
	_cleanup_buf_ struct buf b = {0};

	describe(s, i, why, &s->call.err);
	buf_puts(&b, "{\nu=");
	setup_quote(&b, name_of(s, i));
	buf_printf(&b, ".service\n%s} </dev/null\n", journal_code);
	setup_shell(s, b.data, false, START_TIME, on_journal);
}

/* --- the check of a required one --------------------------------------- */

static void try_check(struct setup *s);

static void check_again(struct setup *s, const char *detail)
{
	const size_t i = s->at;
	const uint64_t waited = now_mono() - s->began;

	if (STREQ(s->seen.services[i].active, "failed")) {
		failed(s, i, NULL);
		return;
	}
	if (waited > PASS_TIME) {
		failed(s, i, detail);
		return;
	}
	op_progress(s->call.op, -1, "waiting for services.%s, %s: %s (%llu s)",
	    name_of(s, i), s->services[i].s.check, detail,
	    waited / USEC_PER_SEC);
	s->on_timer = try_check;
	loop_timer_set(s->timer, now_mono() + CHECK_EVERY);
}

static void passed(struct setup *s)
{
	setup_log(s, "services.%s: %s passes", name_of(s, s->at),
	    s->services[s->at].s.check);
	s->progress[s->at].passed = true;
	setup_next_service(s);
}

static void on_shown(int code, int status, const char *out, size_t out_len,
    const char *errout, const struct err *err, void *userdata)
{
	struct setup *s = userdata;
	const struct seen_service *v = &s->seen.services[s->at];
	struct check c;
	char text[64];
	int r;

	s->job = NULL;
	if (!setup_ended_well(s, "systemctl", code, status, errout, err))
		return;
	r = setup_parse_show(s, out, &s->at, 1, &s->call.err);
	if (r < 0) {
		setup_finish(s, r);
		return;
	}
	if (parse_check(s->services[s->at].s.check, &c, NULL) == 0 &&
	    c.kind == CHECK_SYSTEMD &&
	    (STREQ(v->active, "active") || setup_service_done(v))) {
		passed(s);
		return;
	}
	snprintf(text, sizeof(text), "%s (%s)", v->active, v->sub);
	check_again(s, s->line[0].len ? s->line[0].data : text);
}

static void ask_state(struct setup *s, const char *detail)
{
	_cleanup_buf_ struct buf b = {0};

	buf_clear(&s->line[0]);
	buf_puts(&s->line[0], detail);
	buf_printf(&b, "systemctl show %s", setup_show_properties);
	put_unit(s, s->at, &b);
	buf_puts(&b, " </dev/null\n");
	setup_shell(s, b.data, false, START_TIME, on_shown);
}

static void on_knocked(int code, bool pass, const char *text, void *userdata)
{
	struct setup *s = userdata;
	_cleanup_free_ char *detail = xstrdup(text);

	knock_free(TAKE_PTR(s->knock));
	if (code < 0) {
		err_set(&s->call.err, code, "services.%s: %s",
		    name_of(s, s->at), detail);
		setup_finish(s, code);
	} else if (pass) {
		passed(s);
	} else {
		ask_state(s, detail);
	}
}

static void try_check(struct setup *s)
{
	struct check c;
	int r = parse_check(s->services[s->at].s.check, &c, &s->call.err);
	char *command[] = {"sh", "-c", (char *)c.text, NULL};
	const struct knock_options o = {.guest = s->ssh,
	    .command = c.kind == CHECK_COMMAND ? command : NULL,
	    .address = "127.0.0.1",
	    .port = c.port,
	    .target = c.kind == CHECK_HTTP ? c.text : NULL,
	    .timeout = CHECK_TIME,
	    .done = on_knocked,
	    .userdata = s};

	if (r == 0 && c.kind == CHECK_SYSTEMD) {
		ask_state(s, "");
		return;
	}
	if (r == 0)
		r = knock_start(s->env->loop, &o, &s->knock, &s->call.err);
	if (r < 0)
		setup_finish(s, r);
}

/* --- start ------------------------------------------------------------- */

static void on_started(int code, int status, const char *out, size_t out_len,
    const char *errout, const struct err *err, void *userdata)
{
	struct setup *s = userdata;
	size_t which[SERVICES_MAX], n = 0;
	int r;

	s->job = NULL;
	if (!setup_ended_well(
		s, "starting services", code, status, errout, err))
		return;
	for (size_t i = 0; i < s->n_services; i++) {
		if (!s->progress[i].starting)
			continue;
		s->progress[i].starting = false;
		s->progress[i].started = true;
		which[n++] = i;
	}
	r = setup_parse_show(s, out, which, n, &s->call.err);
	if (r < 0)
		setup_finish(s, r);
	else
		setup_next_service(s);
}

static void put_list(const struct setup *s, const char *command,
    bool (*fits)(const struct seen_service *v, bool current), struct buf *b)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n_services; i++) {
		const struct seen_service *v = &s->seen.services[i];

		if (!s->progress[i].starting ||
		    !fits(v, STREQ(v->stamp, s->services[i].digest)))
			continue;
		if (!n++)
			buf_puts(b, command);
		put_unit(s, i, b);
	}
	if (n)
		buf_puts(b, " || exit\n");
}

static bool is_reloaded(const struct seen_service *v, bool current)
{
	return v->reload;
}

static bool is_disabled(const struct seen_service *v, bool current)
{
	return STREQ(v->file_state, "disabled");
}

static bool has_failed(const struct seen_service *v, bool current)
{
	return STREQ(v->active, "failed");
}

static bool is_to_run(const struct seen_service *v, bool current)
{
	return !current || !setup_service_starting(v);
}

/* A start is told at once (--no-block), since a unit may wait for others of
 * the cluster; but one that fails right away shall be seen to. */
static const char wait_code[] = "i=0; sleep 0.2; while [ $i -lt 10 ]; do\n"
				"	case $(systemctl is-active $u) in\n"
				"	*activating* | *reloading*) ;;\n"
				"	*) break ;;\n"
				"	esac\n"
				"	i=$((i + 1)); sleep 0.2\n"
				"done\n";

static void start_chosen(struct setup *s)
{
	_cleanup_buf_ struct buf b = {0}, names = {0};

	begin_program(s, &b);
	for (size_t i = 0; i < s->n_services; i++)
		if (s->progress[i].starting &&
		    is_reloaded(&s->seen.services[i], false)) {
			buf_puts(&b, "systemctl daemon-reload || exit\n");
			break;
		}
	put_list(s, "systemctl -q enable", is_disabled, &b);
	put_list(s, "systemctl reset-failed", has_failed, &b);
	put_list(s, "systemctl --no-block restart", is_to_run, &b);
	for (size_t i = 0; i < s->n_services; i++) {
		if (!s->progress[i].starting)
			continue;
		put_stamp(s, i, &b);
		put_unit(s, i, &names);
		setup_log(s, "services.%s: started", name_of(s, i));
	}
	buf_printf(&b, "u=\"%s\"\n%s", names.data, wait_code);
	buf_printf(
	    &b, "systemctl show %s%s\n", setup_show_properties, names.data);
	end_program(&b);
	op_progress(s->call.op, -1, "starting%s", names.data);
	setup_shell(s, b.data, true, START_TIME, on_started);
}

/* What it comes after is there, as far as that can be waited for. */
static bool may_start(const struct setup *s, size_t i)
{
	for (char *const *a = s->services[i].s.after; a && *a; a++)
		for (size_t k = 0; k < s->n_services; k++)
			if (STREQ(name_of(s, k), *a) && !s->progress[k].passed)
				return false;
	return true;
}

/* Why it can't be started: its unit. */
static int unit_wrong(struct setup *s, size_t i)
{
	const struct seen_service *v = &s->seen.services[i];

	if (STREQ(v->load, "loaded"))
		return 0;
	if (STREQ(v->load, "not-found"))
		return err_set(&s->call.err, -ENOENT,
		    "services.%s: the guest has no unit %s.service: give its "
		    "text, or install what brings it",
		    name_of(s, i), name_of(s, i));
	return err_set(&s->call.err, -EINVAL, "services.%s: its unit is %s",
	    name_of(s, i), v->load);
}

/* Marks those to be started now: their number, or a negative errno.  One that
 * has failed is tried again. */
static int choose(struct setup *s)
{
	char detail[200];
	int n = 0, r;

	for (size_t i = 0; i < s->n_services; i++) {
		if (s->progress[i].started || !may_start(s, i))
			continue;
		if (!setup_service_differs(s, i, detail) &&
		    !STREQ(s->seen.services[i].active, "failed")) {
			s->progress[i].started = true;
			continue;
		}
		r = unit_wrong(s, i);
		if (r < 0)
			return r;
		s->progress[i].starting = true;
		n++;
	}
	return n;
}

/* Returns whether something is waited for. */
static bool wait_for_one(struct setup *s)
{
	for (size_t i = 0; i < s->n_services; i++) {
		const struct seen_service *v = &s->seen.services[i];

		if (!s->progress[i].started || s->progress[i].passed)
			continue;
		if (STREQ(v->active, "failed")) {
			failed(s, i, NULL);
			return true;
		}
		if (!s->services[i].s.required) {
			s->progress[i].passed = true;
			continue;
		}
		s->at = i;
		s->began = now_mono();
		try_check(s);
		return true;
	}
	return false;
}

static int all_passed(struct setup *s)
{
	for (size_t i = 0; i < s->n_services; i++)
		if (!s->progress[i].passed)
			return err_set(&s->call.err, -ELOOP,
			    "services.%s.after: it waits for itself, over "
			    "others",
			    name_of(s, i));
	return 0;
}

/* --- those that left, and another root --------------------------------- */

static void on_left(int code, int status, const char *out, size_t out_len,
    const char *errout, const struct err *err, void *userdata)
{
	struct setup *s = userdata;

	s->job = NULL;
	if (!setup_ended_well(s, "services", code, status, errout, err))
		return;
	setup_look_again(s);
}

static void put_leave(struct setup *s, struct buf *b)
{
	buf_puts(b, setup_leave_function);
	for (char **l = s->seen.left; l && *l; l++) {
		buf_printf(b, "leave '%s'\n", *l);
		setup_log(s, "services.%s: left the spec: stopped", *l);
	}
}

/* Of a system that does not run: the links that enable them. */
static const char enable_code[] =
    "enable() {\n"
    "	x=$r/etc/systemd/system/$1; [ ! -L \"$x\" ] || return 0\n"
    "	mkdir -p \"${x%/*}\" && ln -sf \"${u#\"$r\"}\" \"$x\" || exit\n"
    "}\n";

static void enable_below(struct setup *s, struct buf *b)
{
	buf_puts(b, setup_unit_functions);
	buf_puts(b, enable_code);
	for (size_t i = 0; i < s->n_services; i++) {
		buf_puts(b, "n=");
		setup_quote(b, name_of(s, i));
		buf_puts(b, ";unit $n || { echo \"there is no unit "
			    "$n.service\" >&2; exit 1; }\nlinks $n enable\n");
		put_stamp(s, i, b);
	}
}

static void change_without_start(struct setup *s)
{
	_cleanup_buf_ struct buf b = {0};

	begin_program(s, &b);
	put_leave(s, &b);
	if (*s->root)
		enable_below(s, &b);
	end_program(&b);
	op_progress(s->call.op, -1,
	    *s->root ? "enabling services" : "stopping services");
	setup_shell(s, b.data, true, START_TIME, on_left);
}

static int refuse(struct setup *s)
{
	if (!s->systemd)
		return err_set(&s->call.err, -EOPNOTSUPP,
		    "services.%s: the system has no systemd",
		    s->n_services ? name_of(s, 0) : s->seen.left[0]);
	return err_set(&s->call.err, -EIO,
	    "services were enabled or stopped, and still differ");
}

void setup_next_service(struct setup *s)
{
	bool below = *s->root && s->look.differs[SETUP_SERVICES];
	int r;

	if (!s->n_services && !s->seen.left) {
		setup_finish(s, 0);
		return;
	}
	if (!s->systemd || ((below || s->seen.left) && s->pushes)) {
		setup_finish(s, refuse(s));
		return;
	}
	if (below || s->seen.left) {
		s->pushes++;
		change_without_start(s);
		return;
	}
	if (*s->root) {
		setup_finish(s, 0);
		return;
	}
	/* One that needs no check passes at once, and lets others start. */
	for (size_t i = 0; i <= s->n_services; i++) {
		r = choose(s);
		if (r < 0) {
			setup_finish(s, r);
			return;
		}
		if (r > 0) {
			start_chosen(s);
			return;
		}
		if (wait_for_one(s))
			return;
	}
	r = all_passed(s);
	if (r < 0) {
		setup_finish(s, r);
		return;
	}
	s->proven = true;
	setup_look_again(s);
}
