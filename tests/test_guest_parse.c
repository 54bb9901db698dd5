/* SPDX-License-Identifier: Apache-2.0
 *
 * What a guest says about itself and about its peers: real text of busybox
 * and iputils, garbage, and what is made of a difference.
 */
#include "drivers/guest_parse.h"
#include "test.h"

static const char facts_text[] =
    "hostname node01\n"
    "boot_id 0f8fad5b-d9cb-469f-a165-70867728950e\n"
    "hosts 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae  "
    "-\n"
    "nics 525400000102=10.36.0.11/24,1500\n"
    "link eth0 52:54:00:00:00:fe 1500 0x1003 \n"
    "link eth1 52:54:00:00:01:02 1500 0x1003 \n"
    "link lo 00:00:00:00:00:00 65536 0x9 \n"
    "addr 1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever\n"
    "addr 2: eth0    inet 10.0.2.15/24 brd 10.0.2.255 scope global eth0\n"
    "addr 3: eth1    inet 10.36.0.11/24 brd 10.36.0.255 scope global eth1\n"
    "end\n";
#define DIGEST                                                                 \
	"2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"

static struct guest_nic nic = {.mac = {0x52, 0x54, 0, 0, 1, 2},
    .has_address = true,
    .address = 0x0a24000b,
    .prefix = 24,
    .mtu = 1500};
static struct guest_slice slice = {
    .hostname = "node01", .nics = &nic, .n_nics = 1};

static void facts(void)
{
	struct guest_facts f;
	guest_facts_parse(facts_text, &f);
	CHECK(f.whole);
	CHECK_STR(f.hostname, "node01");
	CHECK_STR(f.boot_id, "0f8fad5b-d9cb-469f-a165-70867728950e");
	CHECK_STR(f.hosts_digest, DIGEST);
	CHECK_INT(f.n_links, 3);
	CHECK_STR(f.links[1].dev, "eth1");
	CHECK_INT(f.links[1].mtu, 1500);
	CHECK(f.links[1].up);
	CHECK_INT(f.n_addrs, 3);
	CHECK_INT(f.addrs[2].address, 0x0a24000b);
	CHECK_INT(f.addrs[2].prefix, 24);
}

/* Texts that are cut, too long, or mean mischief. */
static void facts_garbage(void)
{
	struct guest_facts f;
	for (size_t i = 0; i < sizeof(facts_text) - 2; i++) {
		_cleanup_free_ char *cut = xstrndup(facts_text, i);
		guest_facts_parse(cut, &f);
		CHECK(!f.whole || i >= sizeof(facts_text) - 2);
	}
	_cleanup_buf_ struct buf b = {0};
	for (int i = 0; i < 5000; i++)
		buf_printf(&b,
		    "link eth%d 52:54:00:00:01:02 1500 0x1\n"
		    "addr 1: eth%d inet 10.0.0.%d/24\n",
		    i, i, i & 255);
	buf_puts(&b, "hostname ");
	for (int i = 0; i < 5000; i++)
		buf_putc(&b, 'x');
	buf_puts(&b,
	    "\nlink $(reboot) 52:54:00:00:01:02 1500 0x1\n"
	    "link ../../x 52:54:00:00:01:02 1500 0x1\n"
	    "addr 9: e`x inet 1.2.3.4/99\nlink\naddr\nnics\n\x1b[2J\n");
	guest_facts_parse(b.data, &f);
	CHECK_INT(f.n_links, FACT_LINKS_MAX);
	CHECK_INT(f.n_addrs, FACT_ADDRS_MAX);
	CHECK_STR(f.hostname, "");
	guest_facts_parse("link $(reboot) 52:54:00:00:01:02 1500 0x1\n"
			  "addr 9: eth0 inet 1.2.3.4/99\n",
	    &f);
	CHECK_INT(f.n_links, 0);
	CHECK_INT(f.n_addrs, 0);
}

static void compare(const char *text, const char *digest, struct guest_fix *ret)
{
	struct guest_facts f;
	guest_facts_parse(text, &f);
	guest_compare(&slice, &f, digest, "", ret);
}

static void nothing_differs(void)
{
	_cleanup_(guest_fix_done) struct guest_fix fix = {0};
	compare(facts_text, DIGEST, &fix);
	CHECK_STR(buf_str(&fix.wrong), "");
	CHECK_INT(fix.script.len, 0);
	CHECK(!fix.hosts);
	CHECK(!fix.missing);
}

static void keys_differ(void)
{
	struct guest_facts f = {.keys_digest = "old"};
	struct guest_slice s = {.hostname = ""};
	struct guest_fix fix;

	guest_compare(&s, &f, "", "", &fix);
	CHECK(!fix.keys);
	guest_fix_done(&fix);
	guest_compare(&s, &f, "", "new", &fix);
	CHECK_STR(buf_str(&fix.wrong), "authorized_keys are old");
	CHECK(fix.keys && !fix.hosts && !fix.script.len);
	guest_fix_done(&fix);
}

static void hosts_differ(void)
{
	_cleanup_(guest_fix_done) struct guest_fix fix = {0};
	compare(facts_text, "other", &fix);
	CHECK_STR(buf_str(&fix.wrong), "/etc/hosts is old");
	CHECK(fix.hosts);
	CHECK_INT(fix.script.len, 0);
}

static void address_differs(void)
{
	_cleanup_(guest_fix_done) struct guest_fix fix = {0};
	nic.address = 0x0a24000c;
	compare(facts_text, DIGEST, &fix);
	nic.address = 0x0a24000b;
	CHECK_STR(buf_str(&fix.wrong),
	    "eth1 has the address 10.36.0.11/24; "
	    "eth1 has not the address 10.36.0.12/24; "
	    "NICS in /etc/rackfs/node.conf is old");
	const char *del = strstr(fix.script.data, "10.36.0.11/24");
	const char *add = strstr(fix.script.data, "10.36.0.12/24");
	CHECK(del && add && del < add);
	CHECK(strstr(fix.script.data, "525400000102=10.36.0.12/24,1500"));
}

/* An address that we gave once goes; one that a user added stays. */
static void address_none(void)
{
	_cleanup_(guest_fix_done) struct guest_fix fix = {0};
	_cleanup_free_ char *text =
	    xasprintf("addr 3: eth1 inet 192.168.7.7/24 scope global eth1\n%s",
		facts_text);
	nic.has_address = false;
	compare(text, DIGEST, &fix);
	nic.has_address = true;
	CHECK(strstr(buf_str(&fix.script), "10.36.0.11/24"));
	CHECK(!strstr(buf_str(&fix.script), "192.168.7.7"));
	CHECK(strstr(buf_str(&fix.script), "525400000102=-,1500"));
}

static void names_and_links_differ(void)
{
	_cleanup_(guest_fix_done) struct guest_fix fix = {0};
	slice.hostname = "node'9";
	nic.mtu = 1400;
	compare(facts_text, DIGEST, &fix);
	slice.hostname = "node01";
	nic.mtu = 1500;
	CHECK(strstr(buf_str(&fix.wrong), "the hostname is \"node01\""));
	CHECK(strstr(buf_str(&fix.wrong), "the MTU of eth1 is 1500, not 1400"));
	CHECK(!strstr(buf_str(&fix.script), "hostname node'9"));
}

static void nic_is_missing(void)
{
	_cleanup_(guest_fix_done) struct guest_fix fix = {0};
	compare("end\n", DIGEST, &fix);
	CHECK(fix.missing);
	CHECK(strstr(
	    buf_str(&fix.wrong), "no interface has the MAC 52:54:00:00:01:02"));
}

static void many_differences(void)
{
	_cleanup_(guest_fix_done) struct guest_fix fix = {0};
	_cleanup_buf_ struct buf b = {0};
	buf_puts(&b, facts_text);
	for (int i = 20; i < 200; i++)
		buf_printf(&b, "addr 3: eth1 inet 10.36.0.%d/24\n", i);
	compare(b.data, DIGEST, &fix);
	CHECK(fix.wrong.len < 400);
	CHECK(strstr(fix.wrong.data, "and more"));
}

/* --- reach --------------------------------------------------------------- */

static const struct guest_peer peers[] = {{"node02", 0x0a24000c},
    {"node03", 0x0a24000d}, {"node04", 0x0a24000e}, {"node05", 0x0a24000f}};
static struct guest_reach reached[4];

static void reach(void)
{
	guest_reach_parse(
	    "10.36.0.12 PING 10.36.0.12 (10.36.0.12): 56 data bytes  --- "
	    "10.36.0.12 ping statistics --- 3 packets transmitted, 3 packets "
	    "received, 0% packet loss round-trip min/avg/max = "
	    "0.079/0.221/0.364 ms \n"
	    "10.36.0.14 ping: sendto: Network is unreachable \n"
	    "10.36.0.13 PING 10.36.0.13 (10.36.0.13) 56(84) bytes of data.  "
	    "--- "
	    "10.36.0.13 ping statistics --- 3 packets transmitted, 2 received, "
	    "33% packet loss, time 402ms rtt min/avg/max/mdev = "
	    "1.031/2.500/4.000/0.100 ms \n",
	    peers, 4, reached);
	CHECK_STR(reached[0].name, "node02");
	CHECK_INT(reached[0].sent, 3);
	CHECK_INT(reached[0].received, 3);
	CHECK(reached[0].rtt_ms > 0.220 && reached[0].rtt_ms < 0.222);
	CHECK_INT(reached[1].received, 2);
	CHECK(reached[1].rtt_ms > 2.49 && reached[1].rtt_ms < 2.51);
	CHECK_INT(reached[2].sent, 3); /* tried, nothing came back */
	CHECK_INT(reached[2].received, 0);
	CHECK(reached[2].rtt_ms < 0);
	CHECK_INT(reached[3].sent, 0); /* the answer was cut: not tried */
}

static void reach_garbage(void)
{
	static const char *const texts[] = {"", "\n\n", "10.36.0.12",
	    "10.36.0.12 packets transmitted, 5",
	    "10.36.0.12 99999 packets transmitted, 99999 received min/avg/max "
	    "= ",
	    "10.36.0.12 -3 packets transmitted, -3 received",
	    "10.36.0.12 3 packets transmitted, 3 received min/avg/max = "
	    "nan/nan",
	    "10.36.0.12 3 packets transmitted, 9 received min/avg/max = 1/-4/",
	    "999.1.1.1 3 packets transmitted, 3 received"};
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		guest_reach_parse(texts[i], peers, 4, reached);
		CHECK(reached[0].sent <= 3);
		CHECK(reached[0].received <= reached[0].sent);
		CHECK(reached[0].rtt_ms < 0);
		CHECK_INT(reached[1].sent, 0);
	}
}

static const struct test_case cases[] = {CASE(facts), CASE(facts_garbage),
    CASE(nothing_differs), CASE(hosts_differ), CASE(keys_differ),
    CASE(address_differs), CASE(address_none), CASE(names_and_links_differ),
    CASE(nic_is_missing), CASE(many_differences), CASE(reach),
    CASE(reach_garbage)};
TEST_MAIN(cases)
