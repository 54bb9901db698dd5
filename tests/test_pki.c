/* SPDX-License-Identifier: Apache-2.0
 *
 * The certificate authority: made once, kept, renewed in time, never replaced
 * when damaged; openssl(1) agrees.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "host/pki.h"
#include "test.h"

#define DAY (24LL * 3600)

static char dir[] = "/tmp/test_pki.XXXXXX";
static char ca[64], ca_key[64], crt[64], key[64];

static const uint32_t ips[] = {0x0a24000b, 0x7f000001};
static char *dns[] = {"node01", "node01.cluster.internal", NULL};
static char *more[] = {"node01", "node01.cluster.internal", "api", NULL};

static struct pki_subject subject(char *const *names)
{
	return (struct pki_subject){.common_name = "node01",
	    .organization = "Example",
	    .dns = names,
	    .ips = ips,
	    .n_ips = 2,
	    .days = 30,
	    .server = true};
}

static int issue(char *const *names, int64_t later, struct err *err)
{
	struct pki_subject s = subject(names);

	return pki_issue_ensure(
	    ca, ca_key, crt, key, &s, (int64_t)time(NULL) + later, err);
}

static unsigned mode_of(const char *path)
{
	struct stat st = {0};

	CHECK_INT(stat(path, &st), 0);
	return st.st_mode & 07777;
}

static void the_authority_is_made_once(void)
{
	_cleanup_buf_ struct buf first = {0}, again = {0};
	struct err err = ERR_INIT;

	CHECK_INT(pki_ca_ensure(ca, ca_key, "test CA", NULL, &err), 1);
	CHECK_INT(mode_of(ca_key), 0600);
	CHECK_INT(file_read(AT_FDCWD, ca, 65536, &first), 0);
	CHECK_INT(pki_ca_ensure(ca, ca_key, "test CA", NULL, &err), 0);
	CHECK_INT(file_read(AT_FDCWD, ca, 65536, &again), 0);
	CHECK_STR(buf_str(&first), buf_str(&again));
}

static void a_certificate_is_kept_while_it_is_good(void)
{
	struct err err = ERR_INIT;

	CHECK_INT(issue(dns, 0, &err), 1);
	CHECK_INT(mode_of(key), 0600);
	CHECK_INT(issue(dns, 0, &err), 0);
	CHECK_INT(issue(dns, 19 * DAY, &err), 0);
	CHECK_INT(issue(more, 0, &err), 1); /* another name */
	CHECK_INT(issue(more, 0, &err), 0);
	CHECK_INT(issue(more, 21 * DAY, &err), 1); /* near its end */
	CHECK_INT(issue(more, 21 * DAY, &err), 0);
	CHECK_INT(issue(dns, 0, &err), 1);
	CHECK_STR(err.text, "");
}

static void its_end_can_be_read(void)
{
	_cleanup_buf_ struct buf pem = {0};
	struct err err = ERR_INIT;
	int64_t end = 0;

	CHECK_INT(file_read(AT_FDCWD, crt, 65536, &pem), 0);
	CHECK_INT(pki_not_after(buf_str(&pem), &end, &err), 0);
	CHECK(llabs(end - (int64_t)time(NULL) - 30LL * DAY) < 60);
	CHECK_INT(pki_not_after("nothing", &end, &err), -EINVAL);
}

static void openssl_agrees(void)
{
	_cleanup_free_ char *verify =
	    xasprintf("openssl verify -CAfile %s -verify_hostname node01 "
		      "-purpose sslserver %s >/dev/null 2>&1",
		ca, crt);
	_cleanup_free_ char *address =
	    xasprintf("openssl verify -CAfile %s -verify_ip 10.36.0.11 "
		      "-purpose sslclient %s >/dev/null 2>&1",
		ca, crt);
	_cleanup_free_ char *other =
	    xasprintf("openssl verify -CAfile %s -verify_hostname node02 "
		      "%s >/dev/null 2>&1",
		ca, crt);

	if (system("openssl version >/dev/null 2>&1") != 0)
		SKIP("openssl(1) is not installed");
	CHECK_INT(system(verify), 0);
	CHECK_INT(system(address), 0);
	CHECK(system(other) != 0);
}

static void a_damaged_authority_is_not_replaced(void)
{
	_cleanup_free_ char *expected =
	    xasprintf("the authority in %s and %s is damaged; put it back "
		      "from a copy, or move both away for a new one",
		ca, ca_key);
	struct err err = ERR_INIT;

	CHECK_INT(file_replace(AT_FDCWD, ca_key, "x", 1, 0600), 0);
	CHECK_INT(pki_ca_ensure(ca, ca_key, "test CA", NULL, &err), -EIO);
	CHECK_STR(err.text, expected);
	err = ERR_INIT;
	CHECK_INT(issue(dns, 0, &err), -EIO);
	CHECK_STR(err.text, expected);
}

int main(void)
{
	static const struct test_case cases[] = {
	    CASE(the_authority_is_made_once),
	    CASE(a_certificate_is_kept_while_it_is_good),
	    CASE(its_end_can_be_read),
	    CASE(openssl_agrees),
	    CASE(a_damaged_authority_is_not_replaced),
	};
	int r;

	if (!mkdtemp(dir))
		return 1;
	snprintf(ca, sizeof(ca), "%s/ca.crt", dir);
	snprintf(ca_key, sizeof(ca_key), "%s/ca.key", dir);
	snprintf(crt, sizeof(crt), "%s/node.crt", dir);
	snprintf(key, sizeof(key), "%s/node.key", dir);
	r = test_main(cases, ARRAY_SIZE(cases));
	unlink(ca);
	unlink(ca_key);
	unlink(crt);
	unlink(key);
	rmdir(dir);
	return r;
}
