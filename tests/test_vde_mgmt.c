/* SPDX-License-Identifier: Apache-2.0
 *
 * The management protocol of vde_switch: golden text of the real switch (vde2
 * 2.3.2), garbage, answers cut anywhere, and a switch that falls silent.
 */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/vde_mgmt.h"
#include "test.h"

#define BANNER                                                                 \
	"VDE switch V.2.3.2\n(C) Virtual Square Team (coord. R. Davoli) "      \
	"2005,2006,2007 - GPLv2\n\nvde$ "

static const char ports_answer[] =
    "0000 DATA END WITH '.'\n"
    "Port 0001 untagged_vlan=0000 ACTIVE - Unnamed Allocatable\n"
    " Current User: root Access Control: (User: NONE - Group: NONE)\n"
    " IN:  pkts          1          bytes                   64\n"
    " OUT: pkts         12          bytes          12345678901\n"
    "  -- endpoint ID 0003 module unix prog   : vdeplug: user=root pid=22197\n"
    "Port 0002 untagged_vlan=0000 ACTIVE - Unnamed Allocatable\n"
    " Current User: root Access Control: (User: NONE - Group: NONE)\n"
    " IN:  pkts          1          bytes                   64\n"
    " OUT: pkts          1          bytes                   64\n"
    "  -- endpoint ID 0007 module unix prog   : a pid=7 b pid=22198\n"
    "Port 0003 untagged_vlan=0000 INACTIVE - Unnamed Allocatable\n"
    ".\n"
    "1000 Success\n\nvde$ ";
static const char macs_answer[] =
    "0000 DATA END WITH '.'\n"
    "Hash: 0057 Addr: 52:54:00:00:02:02 VLAN 0000 to port: 002  age 1 secs\n"
    "Hash: 0088 Addr: 52:54:00:00:01:02 VLAN 0000 to port: 001  age 12 secs\n"
    ".\n"
    "1000 Success\n\nvde$ ";
static const char info_answer[] = "0000 DATA END WITH '.'\n"
				  "Numports=34\nHUB=false\ncounters=true\n"
				  ".\n1000 Success\n\nvde$ ";

static char *body_of(const char *answer)
{
	const char *body = NULL;
	size_t len = 0;
	CHECK_INT(vde_answer(answer, strlen(answer), &body, &len, NULL), 1);
	return xstrndup(body ? body : "", len);
}

static void ports(void)
{
	_cleanup_free_ char *body = body_of(ports_answer);
	_cleanup_free_ struct vde_port *p = NULL;
	CHECK_INT(vde_ports_parse(body, &p), 3);
	CHECK_INT(p[0].number, 1);
	CHECK_INT(p[0].pid, 22197);
	CHECK_INT(p[0].packets_in, 1);
	CHECK_INT(p[0].bytes_in, 64);
	CHECK_INT(p[0].packets_out, 12);
	CHECK_INT(p[0].bytes_out, 12345678901);
	CHECK(p[0].plugged);
	CHECK_INT(p[1].pid, 22198); /* the last one: the first is a name's */
	CHECK(!p[2].plugged);
	CHECK_INT(p[2].pid, 0);
}

static void macs(void)
{
	_cleanup_free_ char *body = body_of(macs_answer);
	_cleanup_free_ struct vde_mac *m = NULL;
	CHECK_INT(vde_macs_parse(body, &m), 2);
	CHECK_INT(m[0].port, 2);
	CHECK_INT(m[0].age, 1);
	CHECK(memcmp(m[1].mac, "\x52\x54\x00\x00\x01\x02", 6) == 0);
	CHECK_INT(m[1].age, 12);
}

static void info(void)
{
	_cleanup_free_ char *body = body_of(info_answer);
	unsigned n = 0;
	bool hub = true;
	CHECK(vde_info_parse(body, &n, &hub));
	CHECK_INT(n, 34);
	CHECK(!hub);
	CHECK(!vde_info_parse("Numports=0\nHUB=true\n", &n, &hub));
	CHECK(!vde_info_parse("Numports=5\n", &n, &hub));
	CHECK(!vde_info_parse("", &n, &hub));
}

static void cut_anywhere(void)
{
	const char *body;
	size_t len;
	for (size_t i = 0; i < strlen(ports_answer); i++) {
		/* A copy of that length: ASan sees a read beyond it. */
		_cleanup_free_ char *cut = xmalloc(i ? i : 1);
		memcpy(cut, ports_answer, i);
		CHECK_INT(vde_answer(cut, i, &body, &len, NULL), 0);
	}
}

static void refused(void)
{
	struct err err = ERR_INIT;
	const char *body;
	size_t len;
	const char no[] = "1038 Function not implemented\n\nvde$ ";
	CHECK_INT(vde_answer(no, strlen(no), &body, &len, &err), -EPROTO);
	CHECK(strstr(err.text, "1038 Function not implemented"));
	CHECK_INT(vde_answer("hello\n", 6, &body, &len, &err), -EPROTO);
	CHECK_INT(vde_answer("1000 \0\nvde$ ", 12, &body, &len, &err), -EPROTO);
}

/* Any bytes: no crash, nothing made up. */
static void garbage(void)
{
	static const char *const texts[] = {"Port", "Port 1",
	    "Port 99999999999",
	    "Port 0001 untagged_vlan=0\n IN:  pkts  x bytes\n  -- endpoint ID ",
	    " IN:  pkts 1 bytes 2\n", "Hash: 1 Addr: 1:2:3",
	    "Port 70000 untagged_vlan=0\n  -- endpoint ID 1 pid=5\n",
	    "Port 1 untagged_vlan=0\n  -- endpoint ID 1 pid=-5\n",
	    "Port 1 untagged_vlan=0\n  -- endpoint ID 1 pid=99999999999999\n"};
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_free_ struct vde_port *p = NULL;
		_cleanup_free_ struct vde_mac *m = NULL;
		size_t n = vde_ports_parse(texts[i], &p);
		CHECK(n <= 1);
		CHECK(n == 0 || p[0].pid == 0);
		CHECK_INT(vde_macs_parse(texts[i], &m), 0);
	}
}

/* --- conversations over a socket pair ------------------------------------ */

struct talk {
	struct loop *loop;
	struct vde_mgmt *m;
	int far; /* the switch's end */
	bool ended;
	int code;
	char *answers[2];
	struct err err;
};

static void on_done(
    int code, const struct buf *answers, const struct err *err, void *userdata)
{
	struct talk *t = userdata;
	t->ended = true;
	t->code = code;
	err_copy(&t->err, err);
	for (int i = 0; i < 2; i++)
		t->answers[i] = xstrdup(buf_str(&answers[i]));
}

static void talk_begin(struct talk *t)
{
	static const char *const commands[] = {"port/print", "hash/print"};
	int fds[2];
	*t = (struct talk){0};
	CHECK_INT(loop_new(&t->loop), 0);
	CHECK_INT(socketpair(AF_UNIX,
		      SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds),
	    0);
	t->far = fds[1];
	CHECK_INT(
	    vde_mgmt_ask(t->loop, fds[0], commands, 2, on_done, t, &t->m, NULL),
	    0);
	CHECK(!t->ended);
}

/* Plays the switch: says `text`, byte by byte when `slowly`, then turns the
 * loop until a command came, or it has ended. */
static void say(
    struct talk *t, const char *text, bool slowly, const char *expect)
{
	char got[64] = "";
	size_t n = strlen(text), step = slowly ? 1 : n;
	for (size_t i = 0; i < n; i += step) {
		CHECK_INT(write_all(t->far, text + i, step), 0);
		if (slowly)
			loop_turn(t->loop, 0);
	}
	for (int i = 0; i < 100 && !got[0] && !t->ended; i++) {
		loop_turn(t->loop, 100 * USEC_PER_MSEC);
		(void)!read(t->far, got, sizeof(got) - 1);
	}
	CHECK_STR(got, expect);
}

static void talk_end(struct talk *t)
{
	vde_mgmt_free(t->m);
	loop_free(t->loop);
	close(t->far);
	free(t->answers[0]);
	free(t->answers[1]);
}

static void conversation(void)
{
	for (int slowly = 0; slowly < 2; slowly++) {
		struct talk t;
		talk_begin(&t);
		say(&t, BANNER, slowly, "port/print\n");
		say(&t, ports_answer, slowly, "hash/print\n");
		say(&t, macs_answer, slowly, "");
		CHECK(t.ended);
		CHECK_INT(t.code, 0);
		CHECK(strstr(t.answers[0], "pid=22197"));
		CHECK(strstr(t.answers[1], "52:54:00:00:02:02"));
		talk_end(&t);
	}
}

static void falls_silent(void)
{
	struct talk t;
	talk_begin(&t);
	say(&t, BANNER, false, "port/print\n");
	uint64_t begin = now_mono();
	while (!t.ended && now_mono() < begin + 10 * USEC_PER_SEC)
		loop_turn(t.loop, USEC_PER_SEC);
	CHECK_INT(t.code, -ETIMEDOUT);
	CHECK(now_mono() - begin >= VDE_SILENCE - 100 * USEC_PER_MSEC);
	CHECK(strstr(t.err.text, "says nothing"));
	talk_end(&t);
}

static void hangs_up(void)
{
	struct talk t;
	talk_begin(&t);
	CHECK_INT(shutdown(t.far, SHUT_RDWR), 0);
	for (int i = 0; i < 10 && !t.ended; i++)
		loop_turn(t.loop, USEC_PER_SEC);
	CHECK_INT(t.code, -ECONNRESET);
	talk_end(&t);
}

static const struct test_case cases[] = {CASE(ports), CASE(macs), CASE(info),
    CASE(cut_anywhere), CASE(refused), CASE(garbage), CASE(conversation),
    CASE(falls_silent), CASE(hangs_up)};
TEST_MAIN(cases)
