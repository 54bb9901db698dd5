/* SPDX-License-Identifier: Apache-2.0
 *
 * Specs: every limit below, at and above it, every sentence, defaults,
 * effective documents, differences, small values.
 */
#include "spec.h"

#include <errno.h>
#include "test.h"

/* --- documents and their sentences ---------------------------------------- */

struct row {
	const char *text;
	const char *sentence; /* NULL: it is taken */
};

static int parse(enum spec_kind kind, const char *text, struct err *err)
{
	_cleanup_buf_ struct buf b = {0};
	return spec_effective(kind, NULL, text, &b, err);
}

static void check_rows_(
    enum spec_kind kind, const struct row *rows, size_t n, int code)
{
	for (size_t i = 0; i < n; i++) {
		struct err err = ERR_INIT;
		int r = parse(kind, rows[i].text, &err);
		const char *want = rows[i].sentence;
		CHECK_INT(r, want ? code : 0);
		CHECK_STR(err.text, want ? want : "");
		if (r != (want ? code : 0))
			printf("# text: %s\n", rows[i].text);
	}
}
#define CHECK_ROWS(kind, rows)                                                 \
	check_rows_(kind, rows, ARRAY_SIZE(rows), -EINVAL)

static void unknown_keys_name_the_nearest(void)
{
	static const struct row rows[] = {
	    {"{\"memroy\":1}",
		"memroy: unknown key; the nearest known key is memory"},
	    {"{\"mem\":\"1G\"}",
		"mem: unknown key; the nearest known key is memory"},
	    {"{\"Memory\":1}",
		"Memory: unknown key; the nearest known key is memory"},
	    {"{\"image\":\"x\"}",
		"image: unknown key; the nearest known key is boot.image"},
	    {"{\"nics\":{\"lan\":{\"linc\":1}}}",
		"nics.lan.linc: unknown key; the nearest known key is "
		"nics.lan.link"},
	    {"{\"link\":1}", "link: unknown key; the nearest known key is "
			     "nics.<nic>.link"},
	    {"{\"disk\":{\"size\":\"1G\",\"partitions\":[{\"size\":\"100%\","
	     "\"lable\":1}]}}",
		"disk.partitions[0].lable: unknown key; the nearest known "
		"key is disk.partitions[0].label"},
	    {"{\"\":1}", "\"\": unknown key; the nearest known key is cpus"},
	    {"{\"a\\nb\":1}",
		"a?b: unknown key; the nearest known key is nics"},
	};
	struct err err = ERR_INIT;

	/* The nearest of a key that is like none is of no interest. */
	for (size_t i = 0; i < ARRAY_SIZE(rows) - 2; i++)
		CHECK_ROWS(SPEC_NODE, ((struct row[]){rows[i]}));
	for (size_t i = ARRAY_SIZE(rows) - 2; i < ARRAY_SIZE(rows); i++) {
		size_t n =
		    (size_t)(strchr(rows[i].sentence, ';') - rows[i].sentence);
		CHECK_INT(parse(SPEC_NODE, rows[i].text, &err), -EINVAL);
		CHECK(strncmp(err.text, rows[i].sentence, n) == 0);
	}
	CHECK_INT(parse(SPEC_CLUSTER, "{\"memory\":\"1G\"}", &err), -EINVAL);
	CHECK_STR(err.text,
	    "memory: unknown key; the nearest known key is defaults.memory");
}

static void long_keys_fit_the_sentence(void)
{
	_cleanup_buf_ struct buf b = {0};
	struct err err = ERR_INIT;

	buf_puts(&b, "{\"");
	for (int i = 0; i < 100000; i++)
		buf_puts(&b, "\xf0\x9f\x98\x80");
	buf_puts(&b, "\":1}");
	CHECK_INT(parse(SPEC_NODE, b.data, &err), -EINVAL);
	CHECK(strstr(err.text, "...: unknown key; "));
}

static void wrong_types_say_what_was_found(void)
{
	static const struct row rows[] = {
	    {"[]", "the document: found a list, wanted an object, for example "
		   "{}"},
	    {"null",
		"the document: found null, wanted an object, for example {}"},
	    {"{\"cpus\":\"two\"}",
		"cpus: found the string \"two\", wanted a whole number, for "
		"example 2"},
	    {"{\"cpus\":0.5}",
		"cpus: found the number 0.5, wanted a whole number, for "
		"example 2"},
	    {"{\"memory\":512}",
		"memory: 512 has no unit; wanted a size, for example "
		"\"512M\""},
	    {"{\"memory\":\"512\"}",
		"memory: \"512\" has no unit (K, M, G, T); wanted a size, "
		"for example \"512M\""},
	    {"{\"memory\":\"512MB\"}",
		"memory: \"512MB\" is not a size: a whole number and one of "
		"K, M, G, T, for example \"512M\""},
	    {"{\"memory\":\"1.5G\"}",
		"memory: \"1.5G\" is not a size: a whole number and one of "
		"K, M, G, T, for example \"512M\""},
	    {"{\"memory\":\"-1G\"}",
		"memory: \"-1G\" is not a size: a whole number and one of "
		"K, M, G, T, for example \"512M\""},
	    {"{\"memory\":\"\"}",
		"memory: \"\" is not a size: a whole number and one of "
		"K, M, G, T, for example \"512M\""},
	    {"{\"memory\":[]}",
		"memory: found a list, wanted a size, for example \"512M\""},
	    {"{\"boot_timeout\":\"30\"}",
		"boot_timeout: \"30\" has no unit (ms, s, m, h); wanted a "
		"duration, for example \"10m\""},
	    {"{\"boot_timeout\":30}",
		"boot_timeout: 30 has no unit; wanted a duration, for "
		"example \"10m\""},
	    {"{\"internet\":\"yes\"}",
		"internet: found the string \"yes\", wanted true or false, "
		"for example true"},
	    {"{\"boot\":\"netboot\"}",
		"boot: found the string \"netboot\", wanted an object, for "
		"example {\"image\":\"netboot\"}"},
	    {"{\"nics\":[]}",
		"nics: found a list, wanted an object of named entries, for "
		"example {\"lan\":{}}"},
	    {"{\"nics\":{\"lan\":null}}",
		"nics.lan: found null, wanted an object, for example {}"},
	    {"{\"nics\":{\"lan\":{\"address\":5}}}",
		"nics.lan.address: found the number 5, wanted an IPv4 "
		"address or null, for example \"10.36.0.11\""},
	    {"{\"driver\":\"vax\"}",
		"driver: \"vax\" is not one of: \"qemu\", \"fake\""},
	    {"{\"nics\":{\"lan\":{\"link\":\"sideways\"}}}",
		"nics.lan.link: \"sideways\" is not one of: \"up\", "
		"\"down\""},
	    {"{\"qemu\":{\"args\":\"-s\"}}",
		"qemu.args: found a string, wanted a list of strings, for "
		"example [\"-device\",\"virtio-balloon-pci\"]"},
	    {"{\"qemu\":{\"args\":[\"-s\",7]}}",
		"qemu.args[1]: found a number, wanted a string"},
	    {"{\"ssh\":{\"user\":\"\"}}",
		"ssh.user: is empty, for example \"root\""},
	    {"{\"fake\":{\"fail\":[\"bot\"]}}",
		"fake.fail[0]: \"bot\" is not a stage: image, network, "
		"machine, boot, ssh, partition, install, configure, run, "
		"services; or check"},
	};

	CHECK_ROWS(SPEC_NODE, rows);
}

/* In the wrong place or of the wrong type they are no less secret. */
static void secrets_are_not_repeated(void)
{
	static const char *const texts[] = {
	    "{\"files\":\"HUSH\"}",
	    "{\"files\":{\"/e\":\"HUSH\"}}",
	    "{\"files\":{\"/e\":{\"content\":4711}}}",
	    "{\"files\":{\"/e\":{\"content\":47.11}}}",
	    "{\"run\":\"HUSH\"}",
	    "{\"run\":{\"a\":\"HUSH\"}}",
	    "{\"run\":{\"a\":4711}}",
	    "{\"run\":{\"a\":{\"command\":\"HUSH\"}}}",
	    "{\"run\":{\"a\":{\"command\":[\"login\",4711]}}}",
	    "{\"run\":{\"a\":{\"command\":[\"HUSH\\u0001\"]}}}",
	    "{\"services\":{\"s\":\"HUSH\"}}",
	    "{\"services\":{\"s\":{\"unit\":4711}}}",
	    "{\"qemu\":\"HUSH\"}",
	    "{\"qemu\":{\"args\":\"HUSH\"}}",
	    "{\"qemu\":{\"args\":4711}}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct err err = ERR_INIT;
		CHECK_INT(parse(SPEC_NODE, texts[i], &err), -EINVAL);
		CHECK(err.text[0] && !strstr(err.text, "HUSH") &&
		      !strstr(err.text, "47"));
	}
}

static void limits_hold_below_at_and_above(void)
{
	static const struct row rows[] = {
	    {"{\"cpus\":0}", "cpus: 0 is below the minimum of 1"},
	    {"{\"cpus\":-1}", "cpus: -1 is below the minimum of 1"},
	    {"{\"cpus\":1}", NULL},
	    {"{\"cpus\":256}", NULL},
	    {"{\"cpus\":257}", "cpus: 257 is above the maximum of 256"},
	    {"{\"memory\":\"65535K\"}",
		"memory: 65535K is below the minimum of 64M"},
	    {"{\"memory\":\"64M\"}", NULL},
	    {"{\"memory\":\"1T\"}", NULL},
	    {"{\"memory\":\"1025G\"}",
		"memory: 1025G is above the maximum of 1T"},
	    {"{\"memory\":\"99999999999999999999T\"}",
		"memory: 99999999999999999999T is above the maximum of 1T"},
	    {"{\"memory\":\"17179869184G\"}", /* 2^64 bytes */
		"memory: 17179869184G is above the maximum of 1T"},
	    {"{\"boot_timeout\":\"999ms\"}",
		"boot_timeout: 999ms is below the minimum of 1s"},
	    {"{\"boot_timeout\":\"1s\"}", NULL},
	    {"{\"boot_timeout\":\"1h\"}", NULL},
	    {"{\"boot_timeout\":\"61m\"}",
		"boot_timeout: 61m is above the maximum of 1h"},
	    {"{\"boot_silence\":\"0s\"}", NULL},
	    {"{\"boot_silence\":\"3600s\"}", NULL},
	    {"{\"boot_silence\":\"3600001ms\"}",
		"boot_silence: 3600001ms is above the maximum of 1h"},
	    {"{\"stop_timeout\":\"0s\"}", NULL},
	    {"{\"stop_timeout\":\"3601s\"}",
		"stop_timeout: 3601s is above the maximum of 1h"},
	    {"{\"ssh\":{\"port\":1023}}",
		"ssh.port: 1023 is below the minimum of 1024"},
	    {"{\"ssh\":{\"port\":1024}}", NULL},
	    {"{\"ssh\":{\"port\":65535}}", NULL},
	    {"{\"ssh\":{\"port\":65536}}",
		"ssh.port: 65536 is above the maximum of 65535"},
	    {"{\"forwards\":{\"1\":1,\"65535\":65535}}", NULL},
	    {"{\"forwards\":{\"0\":80}}",
		"forwards.0: \"0\" is not a port of the host: 1 to 65535, "
		"for example {\"8080\":80}"},
	    {"{\"forwards\":{\"080\":80}}",
		"forwards.080: \"080\" is not a port of the host: 1 to "
		"65535, for example {\"8080\":80}"},
	    {"{\"forwards\":{\"65536\":80}}",
		"forwards.65536: \"65536\" is not a port of the host: 1 to "
		"65535, for example {\"8080\":80}"},
	    {"{\"forwards\":{\"8080\":0}}",
		"forwards.8080: 0 is not a port of the node: 1 to 65535"},
	    {"{\"forwards\":{\"8080\":65536}}",
		"forwards.8080: 65536 is not a port of the node: 1 to "
		"65535"},
	    {"{\"fake\":{\"fail_times\":1000001}}",
		"fake.fail_times: 1000001 is above the maximum of 1000000"},
	    {"{\"disk\":{\"size\":\"16383K\"}}",
		"disk.size: 16383K is below the minimum of 16M"},
	    {"{\"disk\":{\"size\":\"16M\"}}", NULL},
	    {"{\"disk\":{\"size\":\"64T\"}}", NULL},
	    {"{\"disk\":{\"size\":\"65T\"}}",
		"disk.size: 65T is above the maximum of 64T"},
	};

	CHECK_ROWS(SPEC_NODE, rows);
}

/* n things, joined by commas between two texts. */
static void many(struct buf *b, const char *before, const char *fmt, int n,
    const char *after)
{
	buf_clear(b);
	buf_puts(b, before);
	for (int i = 0; i < n; i++) {
		char text[160];
		if (i)
			buf_putc(b, ',');
		snprintf(text, sizeof(text), "%.*s%d%s",
		    (int)(strchr(fmt, '#') - fmt), fmt, 1000 + i,
		    strchr(fmt, '#') + 1);
		buf_puts(b, text);
	}
	buf_puts(b, after);
}

static void counts_have_limits(void)
{
	static const struct {
		const char *before, *each, *after, *sentence;
		int max;
	} rows[] = {
	    {"{\"nics\":{", "\"n#\":{}", "}}",
		"nics: 9 entries, the maximum is 8", NICS_MAX},
	    {"{\"forwards\":{", "\"#\":80", "}}",
		"forwards: 65 forwards, the maximum is 64", FORWARDS_MAX},
	    {"{\"disk\":{\"size\":\"1G\",\"partitions\":[",
		"{\"name\":\"p#\",\"size\":\"1M\"}", "]}}",
		"disk.partitions: 129 entries, the maximum is 128",
		PARTITIONS_MAX},
	    {"{\"qemu\":{\"args\":[", "\"#\"", "]}}",
		"qemu.args: 257 entries, the maximum is 256", 256},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_buf_ struct buf b = {0};
		struct err err = ERR_INIT;
		many(&b, rows[i].before, rows[i].each, rows[i].max,
		    rows[i].after);
		CHECK_INT(parse(SPEC_NODE, b.data, &err), 0);
		CHECK_STR(err.text, "");
		many(&b, rows[i].before, rows[i].each, rows[i].max + 1,
		    rows[i].after);
		CHECK_INT(parse(SPEC_NODE, b.data, &err), -EINVAL);
		CHECK_STR(err.text, rows[i].sentence);
	}
}

#define A_DISK "\"disk\":{\"size\":\"4G\"}"
#define INST   A_DISK ",\"install\":{\"image\":\"debian\"}"

static void what_is_put_into_guests_is_checked(void)
{
	static const struct row node[] = {
	    {"{\"install\":{\"image\":\"debian\"}}",
		"install: asks for a disk, for example "
		"\"disk\":{\"size\":\"4G\"}"},
	    {"{" A_DISK ",\"install\":{}}",
		"install.image: is required, for example \"debian\""},
	    {"{" INST ",\"boot\":{\"firmware\":\"uefi\",\"from\":\"disk\"}}",
		NULL},
	    {"{\"boot\":{\"from\":\"disk\"}}",
		"boot.from: there is no disk to boot from"},
	    {"{\"volumes\":{\"a\":{\"size\":\"1G\",\"mount\":\"/a\"},"
	     "\"b\":{\"size\":\"1G\",\"mount\":\"/a\"}}}",
		"volumes.b.mount: \"/a\" is that of volumes.a as well"},
	    {"{\"volumes\":{\"a\":{}}}",
		"volumes.a.size: is required, for example \"1G\""},
	    {"{\"volumes\":{\"a\":{\"size\":\"1G\",\"filesystem\":\"swap\","
	     "\"mount\":\"/a\"}}}",
		"volumes.a.mount: swap is not mounted; leave it out"},
	    {"{\"files\":{\"/etc/motd\":{\"content\":\"x\"}}}", NULL},
	    {"{\"files\":{\"/etc/motd\":{}}}",
		"files./etc/motd: content or source is required, for example "
		"\"content\":\"hello\\n\""},
	    {"{\"files\":{\"/etc/motd\":{\"content\":\"x\",\"source\":\"y\"}}}",
		"files./etc/motd.source: can't stand beside content"},
	    {"{\"files\":{\"/etc/../x\":{\"content\":\"x\"}}}",
		"files./etc/../x: \"/etc/../x\" is not an absolute path "
		"without . and .."},
	    {"{\"files\":{\"/\":{\"content\":\"x\"}}}",
		"files./: \"/\" is the root of the guest; take a path below "
		"it"},
	    {"{\"files\":{\"/x\":{\"content\":\"x\",\"mode\":\"0888\"}}}",
		"files./x.mode: \"0888\" is not a mode: three or four octal "
		"digits, for example \"0644\""},
	    {"{\"files\":{\"/x\":{\"content\":\"x\",\"owner\":\"root\"}}}",
		"files./x.owner: \"root\" is not a user and a group, for "
		"example \"root:root\""},
	    {"{\"services\":{\"web\":{}}}",
		"services: ask for install; the netboot system has no "
		"systemd"},
	    {"{" INST ",\"services\":{\"web.service\":{}}}",
		"services.web.service: \"web.service\": leave .service out of "
		"the name"},
	    {"{" INST ",\"services\":{\"web\":{\"unit\":\"x\","
	     "\"source\":\"y\"}}}",
		"services.web.source: can't stand beside unit"},
	    {"{" INST ",\"services\":{\"web\":{\"check\":\"tcp:0\"}}}",
		"services.web.check: \"tcp:0\" has no port from 1 to 65535, "
		"for example \"tcp:2379\""},
	    {"{" INST ",\"services\":{\"web\":{\"check\":\"ping\"}}}",
		"services.web.check: \"ping\" is no check: systemd, tcp:PORT, "
		"http:PORT/PATH or exec:COMMAND"},
	    {"{" INST ",\"services\":{\"web\":{\"uses\":[\"/x\"]}}}",
		"services.web.uses: \"/x\" is not one of files, and not "
		"tls.dir"},
	    {"{" INST ",\"tls\":{},\"services\":{\"web\":{\"uses\":"
	     "[\"/etc/rackfs/tls\"]}}}",
		NULL},
	    {"{" INST ",\"services\":{\"a\":{\"after\":[\"b\"]},"
	     "\"b\":{\"after\":[\"a\"]},\"c\":{}}}",
		"services.a.after: it goes in a circle; each would wait for "
		"another"},
	    {"{" INST ",\"services\":{\"a\":{\"after\":[\"x\"]}}}",
		"services.a.after: \"x\" is not one of services"},
	    {"{\"run\":{\"a\":{\"command\":[\"/bin/true\"],"
	     "\"after\":[\"a\"]}}}",
		"run.a.after: it goes in a circle; each would wait for "
		"another"},
	    {"{\"run\":{\"a\":{}}}",
		"run.a.command: is required, for example [\"/bin/true\"]"},
	    {"{\"tls\":{\"names\":[\"a b\"]}}",
		"tls.names[0]: \"a b\" is not a DNS name: labels of small "
		"letters, digits and -, with dots between them"},
	};
	static const struct row image[] = {
	    {"{\"kind\":\"rootfs\"}", NULL},
	    {"{\"kind\":\"rootfs\",\"source\":\"x.tar\","
	     "\"packages\":[\"etcd\"]}",
		"packages: are for images with \"build\":\"debian\""},
	    {"{\"kind\":\"closure\"}",
		"source: is required with kind closure, for example "
		"\"debian.tar.zst\""},
	    {"{\"kind\":\"disk\",\"build\":\"debian\"}",
		"build: an image of kind disk is made elsewhere; name it with "
		"source"},
	    {"{\"kind\":\"disk\",\"source\":\"x\",\"init\":\"/x\"}",
		"init: a disk image boots by its own boot loader"},
	    {"{\"kind\":\"disk\",\"source\":\"x\",\"sha256\":\"12\"}",
		"sha256: 2 bytes, the minimum is 64"},
	    {"{\"kind\":\"netboot\",\"source\":\"x\"}",
		"source: is for images of kind rootfs, disk and closure"},
	};
	static const struct row cluster[] = {
	    {"{\"on_drift\":\"report\",\"tls\":{\"days\":30}}", NULL},
	    {"{\"checks\":{\"a\":{}}}",
		"checks.a: one of command, tcp and http is wanted"},
	    {"{\"checks\":{\"a\":{\"tcp\":\"b:1\",\"http\":\"http://b\"}}}",
		"checks.a: only one of command, tcp and http is wanted"},
	    {"{\"checks\":{\"a\":{\"tcp\":\"b\"}}}",
		"checks.a.tcp: \"b\" is not a node or an address and a port, "
		"for example \"node02:80\""},
	    {"{\"checks\":{\"a\":{\"http\":\"b\"}}}",
		"checks.a.http: \"b\" does not begin with http://"},
	};

	CHECK_ROWS(SPEC_NODE, node);
	CHECK_ROWS(SPEC_IMAGE, image);
	CHECK_ROWS(SPEC_CLUSTER, cluster);
}

static void network_cards_are_checked(void)
{
	static const struct row rows[] = {
	    {"{\"nics\":{\"Lan\":{}}}",
		"nics.Lan: \"Lan\" is not a name; it becomes a host name: "
		"small letters, digits and -, for example node01"},
	    {"{\"nics\":{\"lan-\":{}}}",
		"nics.lan-: \"lan-\" is not a name; it can't begin or end "
		"with -"},
	    {"{\"nics\":{\"lan\":{\"mac\":\"52:54\"}}}",
		"nics.lan.mac: \"52:54\" is not a MAC address, for example "
		"\"52:54:00:12:34:56\""},
	    {"{\"nics\":{\"lan\":{\"mac\":\"01:00:5e:00:00:01\"}}}",
		"nics.lan.mac: 01:00:5e:00:00:01 is not a unicast address, "
		"for example \"52:54:00:12:34:56\""},
	    {"{\"nics\":{\"lan\":{\"mac\":\"52:54:00:00:00:fe\"}}}",
		"nics.lan.mac: 52:54:00:00:00:fe is that of the management "
		"NIC"},
	    {"{\"nics\":{\"lan\":{\"address\":\"10.0.2.15\"}}}",
		"nics.lan.address: 10.0.2.15: in 10.0.2.0/24 every machine has "
		"its management NIC; take another"},
	    {"{\"nics\":{\"lan\":{\"mac\":\"00:00:00:00:00:00\"}}}",
		"nics.lan.mac: 00:00:00:00:00:00 is not a unicast address, "
		"for example \"52:54:00:12:34:56\""},
	    {"{\"nics\":{\"lan\":{\"mac\":\"52:54:00:00:00:FE\"}}}",
		"nics.lan.mac: 52:54:00:00:00:fe is that of the management "
		"NIC"},
	    {"{\"nics\":{\"lan\":{\"address\":\"10.36.0\"}}}",
		"nics.lan.address: \"10.36.0\" is not an IPv4 address, for "
		"example \"10.36.0.11\""},
	    {"{\"nics\":{\"lan\":{\"address\":\"10.36.0.011\"}}}",
		"nics.lan.address: \"10.36.0.011\" is not an IPv4 address, "
		"for example \"10.36.0.11\""},
	    {"{\"nics\":{\"lan\":{\"address\":null}}}", NULL},
	    {"{\"nics\":{}}", NULL},
	};
	static const struct row twice[] = {
	    {"{\"nics\":{\"a\":{\"mac\":\"52:54:00:aa:00:01\"},"
	     "\"b\":{\"mac\":\"52:54:00:AA:00:01\"}}}",
		"nics.b.mac: 52:54:00:aa:00:01 is the MAC of nics.a as "
		"well"},
	    {"{\"nics\":{\"a\":{\"address\":\"10.0.0.9\"},"
	     "\"b\":{\"address\":\"10.0.0.9\"}}}",
		"nics.b.address: 10.0.0.9 is the address of nics.a as well"},
	    {"{\"ssh\":{\"port\":2999},\"forwards\":{\"2999\":80}}",
		"forwards.2999: the port is that of ssh.port as well"},
	};

	CHECK_ROWS(SPEC_NODE, rows);
	check_rows_(SPEC_NODE, twice, ARRAY_SIZE(twice), -EEXIST);
}

/* --- disks --------------------------------------------------------------- */

#define DISK(size, table, parts)                                               \
	"{\"disk\":{\"size\":\"" size "\",\"table\":\"" table                  \
	"\",\"partitions\":[" parts "]}}"
#define GPT(size, parts) DISK(size, "gpt", parts)
#define PART(size, more) "{\"size\":\"" size "\"" more "}"
#define FS(fs)           ",\"filesystem\":\"" fs "\""
#define LABEL(l)         ",\"label\":\"" l "\""
#define MOUNT(m)         ",\"mount\":\"" m "\""
#define FLAG(f)          ",\"flags\":[\"" f "\"]"

static void partitions_fit_their_disk(void)
{
	static const struct row rows[] = {
	    {"{\"disk\":{}}", "disk.size: is required, for example \"4G\""},
	    {"{\"disk\":{\"size\":\"1G\",\"partitions\":[{}]}}",
		"disk.partitions[0].size: is required, for example "
		"\"511M\""},
	    /* 1M in front, 33 sectors behind */
	    {GPT("64M", PART("62M", "")), NULL},
	    {GPT("64M", PART("63M", "")),
		"disk.partitions[0].size: 63M does not fit: the disk has "
		"64M, 62M are left for this partition"},
	    {GPT("64M", PART("64495K", "")), NULL}, /* to the last sectors */
	    {GPT("64M", PART("64496K", "")),
		"disk.partitions[0].size: 64496K does not fit: the disk has "
		"64M, 62M are left for this partition"},
	    {DISK("64M", "mbr", PART("63M", "")), NULL},
	    {DISK("64M", "mbr", PART("64513K", "")),
		"disk.partitions[0].size: 64513K does not fit: the disk has "
		"64M, 63M are left for this partition"},
	    /* the second begins at a whole MiB */
	    {GPT("64M", PART("1025K", "") "," PART("60M", "")), NULL},
	    {GPT("64M", PART("2049K", "") "," PART("60M", "")),
		"disk.partitions[1].size: 60M does not fit: the disk has "
		"64M, 59M are left for this partition"},
	    {GPT("64M", PART("62M", "") "," PART("100%", "")),
		"disk.partitions[1].size: \"100%\" does not fit: the disk "
		"has 64M, 0K are left for this partition"},
	    {GPT("64M", PART("61M", "") "," PART("100%", "")), NULL},
	    {GPT("64M", PART("100%", "") "," PART("1M", "")),
		"disk.partitions[0].size: only the last partition can be "
		"\"100%\""},
	    {GPT("64M", PART("1023K", "")),
		"disk.partitions[0].size: 1023K is below the minimum of 1M"},
	    {GPT("64M", PART("50%", "")),
		"disk.partitions[0].size: \"50%\" is not a size: a whole "
		"number and one of K, M, G, T, for example \"511M\""},
	    {DISK("4T", "mbr", PART("2T", "")),
		"disk.partitions[0].size: 2T does not fit: the disk has 4T, "
		"2097151M are left for this partition (an mbr table reaches "
		"2T)"},
	    {DISK("64M", "mbr",
		 PART("1M", "") "," PART("1M", "") "," PART("1M", "") "," PART(
		     "1M", "") "," PART("1M", "")),
		"disk.partitions: 5 partitions, an mbr table holds 4; take "
		"\"table\":\"gpt\""},
	};

	CHECK_ROWS(SPEC_NODE, rows);
}

static void file_systems_are_checked(void)
{
	static const struct row rows[] = {
	    {GPT("64M", PART("100%", FS("ntfs"))),
		"disk.partitions[0].filesystem: \"ntfs\" is not one of: "
		"\"vfat\", \"ext4\", \"swap\""},
	    {GPT("64M", PART("100%", FS("vfat") LABEL("eleven-char"))), NULL},
	    {GPT("64M", PART("100%", FS("vfat") LABEL("twelve-chars"))),
		"disk.partitions[0].label: \"twelve-chars\" has 12 "
		"characters, the maximum for vfat is 11"},
	    {GPT("64M", PART("100%", FS("swap") LABEL("sixteen-letters."))),
		"disk.partitions[0].label: \"sixteen-letters.\" has 16 "
		"characters, the maximum for swap is 15"},
	    {GPT("64M", PART("100%", FS("ext4") LABEL("sixteen-letters."))),
		NULL},
	    {GPT("64M", PART("100%", FS("ext4") LABEL("seventeen-letters"))),
		"disk.partitions[0].label: 17 bytes, the maximum is 16"},
	    {GPT("64M", PART("100%", FS("vfat") LABEL("a:b"))),
		"disk.partitions[0].label: \"a:b\" has a character that "
		"vfat does not take"},
	    {GPT("64M", PART("100%", FS("ext4") LABEL("$(x)"))),
		"disk.partitions[0].label: \"$(x)\" is not a label: ASCII "
		"without \" \\ / ` $"},
	    {GPT("64M", PART("100%", LABEL("x"))),
		"disk.partitions[0].label: there is no filesystem; add one, "
		"for example \"filesystem\":\"ext4\""},
	    {GPT("64M", PART("100%", FS("swap") MOUNT("/swap"))),
		"disk.partitions[0].mount: swap is not mounted; leave it "
		"out"},
	    {GPT("64M", PART("8M", FS("ext4") LABEL("x")) "," PART(
			    "8M", FS("ext4") LABEL("X"))),
		NULL},
	    {GPT("64M", PART("8M", FS("vfat") LABEL("x")) "," PART(
			    "8M", FS("ext4") LABEL("X"))),
		"disk.partitions[1].label: \"X\" is that of "
		"disk.partitions[0] as well"},
	    {GPT("64M", PART("8M", FS("ext4") MOUNT("/a")) "," PART(
			    "8M", FS("ext4") MOUNT("/a"))),
		"disk.partitions[1].mount: \"/a\" is that of "
		"disk.partitions[0] as well"},
	    {GPT("64M", "{\"name\":\"a\",\"size\":\"1M\"},"
			"{\"name\":\"a\",\"size\":\"1M\"}"),
		"disk.partitions[1].name: \"a\" is that of "
		"disk.partitions[0] as well"},
	    {GPT("64M", PART("100%", FS("ext4") FLAG("esp"))),
		"disk.partitions[0].flags: esp asks for "
		"\"filesystem\":\"vfat\""},
	    {GPT("64M", PART("100%", FLAG("raid"))),
		"disk.partitions[0].flags[0]: \"raid\" is not one of: "
		"\"esp\", \"boot\""},
	    {GPT("64M", PART("100%", ",\"flags\":[\"boot\",\"boot\"]")),
		"disk.partitions[0].flags[1]: \"boot\" is there twice"},
	    {GPT("64M", PART("8M", FS("vfat") FLAG("esp")) "," PART(
			    "8M", FS("vfat") FLAG("esp"))),
		"disk.partitions[1].flags: \"esp\" is that of "
		"disk.partitions[0] as well"},
	};
	static const char *const mounts[] = {
	    "boot", "", "/a/../b", "/./a", "//a", "/a/", "/a b"};

	CHECK_ROWS(SPEC_NODE, rows);
	for (size_t i = 0; i < ARRAY_SIZE(mounts); i++) {
		_cleanup_free_ char *text = xasprintf(
		    "{\"disk\":{\"size\":\"64M\",\"partitions\":[{\"size\":"
		    "\"100%%\",\"filesystem\":\"ext4\",\"mount\":\"%s\"}]}}",
		    mounts[i]);
		struct err err = ERR_INIT;
		CHECK_INT(parse(SPEC_NODE, text, &err), -EINVAL);
		CHECK(strncmp(err.text, "disk.partitions[0].mount: ", 26) == 0);
	}
}

/* --- the other kinds ----------------------------------------------------- */

static void networks_are_checked(void)
{
	static const struct row rows[] = {
	    {"{}", NULL},
	    {"{\"mtu\":575}", "mtu: 575 is below the minimum of 576"},
	    {"{\"mtu\":576}", NULL},
	    {"{\"mtu\":9000}", NULL},
	    {"{\"mtu\":9001}", "mtu: 9001 is above the maximum of 9000"},
	    {"{\"subnet\":\"10.0.0.0/8\"}", NULL},
	    {"{\"subnet\":\"10.0.0.0/7\"}",
		"subnet: /7 is not allowed: from /8 to /29"},
	    {"{\"subnet\":\"10.36.0.8/29\"}", NULL},
	    {"{\"subnet\":\"10.36.0.0/30\"}",
		"subnet: /30 is not allowed: from /8 to /29"},
	    {"{\"subnet\":\"10.36.0.1/24\"}",
		"subnet: 10.36.0.1/24 has host bits set; the subnet is "
		"10.36.0.0/24"},
	    {"{\"subnet\":\"10.36.0.0\"}",
		"subnet: \"10.36.0.0\" is not an IPv4 subnet, for example "
		"\"10.36.0.0/24\""},
	    {"{\"subnet\":\"127.0.0.0/8\"}",
		"subnet: 127.0.0.0/8 is reserved (RFC 6890); take one of "
		"10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16"},
	    {"{\"subnet\":\"10.0.0.0/16\"}", NULL},
	    {"{\"subnet\":\"10.0.3.0/24\"}", NULL},
	    {"{\"subnet\":\"10.0.2.0/23\"}",
		"subnet: 10.0.2.0/23: in 10.0.2.0/24 every machine has its "
		"management NIC; take another"},
	    {"{\"subnet\":\"10.0.2.64/26\"}",
		"subnet: 10.0.2.64/26: in 10.0.2.0/24 every machine has its "
		"management NIC; take another"},
	    {"{\"driver\":\"token-ring\"}",
		"driver: \"token-ring\" is not one of: \"vde\", \"fake\""},
	};

	CHECK_ROWS(SPEC_NETWORK, rows);
}

static void images_are_checked(void)
{
	static const struct row rows[] = {
	    {"{}", NULL},
	    {"{\"kind\":\"netboot\"}", NULL},
	    {"{\"kind\":\"netboot\",\"packages\":[\"tcpdump\",\"g++\"]}", NULL},
	    {"{\"kind\":\"netboot\",\"packages\":[\"Tcp dump\"]}",
		"packages[0]: \"Tcp dump\" is not the name of a Debian "
		"package"},
	    {"{\"kind\":\"floppy\"}",
		"kind: \"floppy\" is not one of: \"netboot\", \"rootfs\", "
		"\"disk\", \"closure\""},
	    {"{\"kernel\":\"/k\",\"initrd\":\"/i\"}",
		"kind: is required with kernel, for example \"netboot\""},
	    {"{\"kind\":\"netboot\",\"kernel\":\"/k\"}",
		"initrd: is required with kernel, for example "
		"\"/boot/initrd.img\""},
	    {"{\"kind\":\"netboot\",\"initrd\":\"/i\"}",
		"kernel: is required with initrd, for example "
		"\"/boot/vmlinuz\""},
	    {"{\"kind\":\"netboot\",\"kernel\":\"/k\",\"initrd\":\"i\"}", NULL},
	    {"{\"kind\":\"netboot\",\"kernel\":\"/k\",\"initrd\":\"/i\","
	     "\"build\":\"debian\"}",
		"build: can't stand beside kernel and initrd"},
	    {"{\"kind\":\"netboot\",\"kernel\":\"/k\",\"initrd\":\"/i\","
	     "\"identity\":\"none\"}",
		"user_key: is required with \"identity\":\"none\", for "
		"example \"id_ed25519\""},
	    {"{\"kind\":\"netboot\",\"kernel\":\"/k\",\"initrd\":\"/i\","
	     "\"identity\":\"none\",\"user_key\":\"k\"}",
		"host_key: is required with \"identity\":\"none\", for "
		"example \"ssh_host_ed25519_key.pub\""},
	    {"{\"kind\":\"netboot\",\"kernel\":\"/k\",\"initrd\":\"/i\","
	     "\"identity\":\"none\",\"user_key\":\"k\","
	     "\"host_key\":\"h\"}",
		NULL},
	    {"{\"kind\":\"netboot\",\"user_key\":\"k\"}",
		"user_key: is for images with \"identity\":\"none\""},
	    {"{\"kind\":\"netboot\",\"identity\":\"none\","
	     "\"user_key\":\"k\",\"host_key\":\"h\"}",
		"identity: \"none\" is for a kernel and initrd of your own; "
		"an image with build takes the node's identity"},
	    {"{\"kind\":\"netboot\",\"identity\":\"maybe\"}",
		"identity: \"maybe\" is not one of: \"rackfs\", \"none\""},
	    {"{\"kind\":\"netboot\",\"kernel\":7}",
		"kernel: found the number 7, wanted a string, for example "
		"\"/boot/vmlinuz\""},
	    {"{\"kind\":\"netboot\",\"kernel\":\"\",\"initrd\":\"\"}",
		"kernel: is empty, for example \"/boot/vmlinuz\""},
	    {"{\"kind\":\"netboot\",\"cmdline\":\"a\\nb\"}",
		"cmdline: \"a?b\" is not one line of ASCII"},
	};

	CHECK_ROWS(SPEC_IMAGE, rows);
}

static void clusters_are_checked(void)
{
	static const struct row rows[] = {
	    {"{}", NULL},
	    {"{\"name\":\"Big Rack\"}",
		"name: \"Big Rack\" is not a name; it becomes a host name: "
		"small letters, digits and -, for example node01"},
	    {"{\"domain\":\"a..b\"}",
		"domain: \"a..b\" is not a DNS name: labels of small "
		"letters, digits and -, with dots between them"},
	    {"{\"domain\":\"rack.example\"}", NULL},
	    {"{\"authorized_keys\":[\"not a key\"]}",
		"authorized_keys[0]: \"not a key\" is not an OpenSSH public "
		"key, for example \"ssh-ed25519 AAAA... me\""},
	    {"{\"authorized_keys\":[\"-----BEGIN OPENSSH PRIVATE KEY-----"
	     "\"]}",
		"authorized_keys[0]: \"-----BEGIN OPENSSH PRIVATE KEY-----\" "
		"is not an OpenSSH public key, for example \"ssh-ed25519 "
		"AAAA... me\" (this is a private one)"},
	    {"{\"authorized_keys\":[\"ssh-ed25519 AAAAC3Nz me\","
	     "\"restrict ssh-rsa AAAAB3 x\"]}",
		NULL},
	    {"{\"authorized_keys\":[\"ssh-rsa AAAA x\\nssh-rsa AAAA y\"]}",
		"authorized_keys[0]: a public key is one line without "
		"control characters"},
	    {"{\"observe_every\":\"0s\"}", NULL},
	    {"{\"observe_every\":\"1s\"}", NULL},
	    {"{\"observe_every\":\"999ms\"}",
		"observe_every: 999ms is below the minimum of 1s (0s: only at "
		"boot and when up is written)"},
	    {"{\"observe_every\":\"25h\"}",
		"observe_every: 25h is above the maximum of 24h"},
	    {"{\"defaults\":{\"memory\":\"1M\"}}",
		"defaults.memory: 1M is below the minimum of 64M"},
	    {"{\"defaults\":{\"cpu\":2}}",
		"defaults.cpu: unknown key; the nearest known key is "
		"defaults.cpus"},
	    {"{\"defaults\":[]}",
		"defaults: found a list, wanted a partial node spec, for "
		"example {\"memory\":\"1G\"}"},
	    {"{\"defaults\":{\"disk\":{\"format\":\"raw\"}}}", NULL},
	};

	CHECK_ROWS(SPEC_CLUSTER, rows);
}

static void a_name_has_63_characters(void)
{
	char name[66];
	struct err err = ERR_INIT;

	memset(name, 'a', sizeof(name));
	name[63] = '\0';
	CHECK_INT(spec_check_name("nodes", name, &err), 0);
	name[63] = 'a';
	name[64] = '\0';
	CHECK_INT(spec_check_name("nodes", name, &err), -EINVAL);
	CHECK_STR(
	    err.text, "nodes: the name has 64 characters, the maximum is 63");
	CHECK_INT(spec_check_name("nodes", "", &err), -EINVAL);
	CHECK_STR(err.text, "nodes: the name is empty");
	CHECK_INT(spec_check_name("nodes", "\x80\x80\xff\xff", &err), -EINVAL);
	memset(name, 0x80, 63);
	name[63] = '\0';
	CHECK_INT(spec_check_name("nodes", name, NULL), -EINVAL);
	CHECK_INT(spec_check_name("nodes", "0", &err), 0);
	CHECK_INT(spec_check_name("nodes", "a.b", &err), -EINVAL);
}

/* --- what is filled in --------------------------------------------------- */

static void a_node_gets_its_defaults(void)
{
	struct node_spec *s = NULL;
	struct err err = ERR_INIT;

	CHECK_INT(node_spec_parse(NULL, "{}", &s, &err), 0);
	if (!s)
		return;
	CHECK_STR(s->driver, "qemu");
	CHECK_INT(s->cpus, 1);
	CHECK_INT(s->memory, 512 * MIB);
	CHECK_STR(s->boot_image, "netboot");
	CHECK(!s->boot_cmdline && s->boot_template && !s->internet);
	CHECK_INT(s->boot_from, BOOT_AUTO);
	CHECK_INT(s->boot_timeout, 600 * USEC_PER_SEC);
	CHECK_INT(s->boot_silence, 60 * USEC_PER_SEC);
	CHECK(!s->has_boot_silence);
	CHECK_INT(s->stop_timeout, 30 * USEC_PER_SEC);
	CHECK_INT(s->n_nics, 1);
	CHECK_STR(s->nics[0].name, "lan");
	CHECK_STR(s->nics[0].network, "lan");
	CHECK(!s->nics[0].has_mac);
	CHECK_INT(s->nics[0].address_mode, ADDRESS_AUTO);
	CHECK_INT(s->nics[0].link, LINK_UP);
	CHECK_INT(s->ssh_port, 0);
	CHECK_STR(s->ssh_user, "root");
	CHECK(!s->forwards && !s->n_forwards && !s->qemu_args);
	CHECK(!s->disk.present);
	CHECK_INT(s->fake.fail_times, 1);
	node_spec_free(s);
}

#define FULL                                                                   \
	"{\"driver\":\"fake\",\"cpus\":3,\"memory\":\"1024M\",\"boot\":{"      \
	"\"image\":\"own\",\"cmdline\":\"debug\",\"from\":\"image\","          \
	"\"template\":false},\"boot_timeout\":\"90s\",\"boot_silence\":"       \
	"\"0s\",\"stop_timeout\":\"500ms\",\"nics\":{\"a\":{\"network\":"      \
	"\"lan\",\"mac\":\"52:54:00:AB:CD:EF\",\"address\":\"10.36.0.77\","    \
	"\"link\":\"down\"},\"lan\":{\"address\":null}},\"ssh\":{\"port\":"    \
	"2222,\"user\":\"admin\"},\"internet\":true,\"forwards\":{\"8080\":"   \
	"80,\"8443\":443},\"disk\":{\"size\":\"4G\",\"table\":\"mbr\","        \
	"\"format\":\"raw\",\"partitions\":[{\"name\":\"ESP\",\"size\":"       \
	"\"511M\",\"filesystem\":\"vfat\",\"label\":\"boot\",\"mount\":"       \
	"\"/boot\",\"flags\":[\"esp\",\"boot\"]},{\"size\":\"100%\","          \
	"\"filesystem\":\"ext4\",\"mount\":\"/\"}]},\"qemu\":{\"args\":["      \
	"\"-s\"]},\"fake\":{\"delay\":\"5ms\",\"fail\":[\"boot\",\"ssh\"],"    \
	"\"fail_times\":2}}"

static void every_key_of_a_node_arrives(void)
{
	static const uint8_t mac[6] = {0x52, 0x54, 0, 0xab, 0xcd, 0xef};
	struct node_spec *s = NULL;
	struct err err = ERR_INIT;

	CHECK_INT(node_spec_parse(NULL, FULL, &s, &err), 0);
	CHECK_STR(err.text, "");
	if (!s)
		return;
	CHECK_STR(s->driver, "fake");
	CHECK_INT(s->cpus, 3);
	CHECK_INT(s->memory, GIB);
	CHECK_STR(s->boot_image, "own");
	CHECK_STR(s->boot_cmdline, "debug");
	CHECK_INT(s->boot_from, BOOT_IMAGE);
	CHECK(!s->boot_template && s->internet);
	CHECK_INT(s->boot_timeout, 90 * USEC_PER_SEC);
	CHECK(s->boot_silence == 0 && s->has_boot_silence);
	CHECK_INT(s->stop_timeout, 500 * USEC_PER_MSEC);
	CHECK_INT(s->n_nics, 2);
	CHECK_STR(s->nics[0].name, "a");
	CHECK_STR(s->nics[0].network, "lan");
	CHECK(s->nics[0].has_mac && !memcmp(s->nics[0].mac, mac, 6));
	CHECK_INT(s->nics[0].address_mode, ADDRESS_FIXED);
	CHECK_INT(s->nics[0].address, 0x0a24004d);
	CHECK_INT(s->nics[0].link, LINK_DOWN);
	CHECK_INT(s->nics[1].address_mode, ADDRESS_NONE);
	CHECK_INT(s->ssh_port, 2222);
	CHECK_STR(s->ssh_user, "admin");
	CHECK_INT(s->n_forwards, 2);
	CHECK(s->forwards[1].host == 8443 && s->forwards[1].guest == 443);
	CHECK(s->disk.present);
	CHECK_INT(s->disk.size, 4 * GIB);
	CHECK_INT(s->disk.table, TABLE_MBR);
	CHECK_INT(s->disk.format, FORMAT_RAW);
	CHECK_INT(s->disk.n_partitions, 2);
	const struct partition_spec *p = s->disk.partitions;
	CHECK_STR(p[0].name, "ESP");
	CHECK_INT(p[0].size, 511 * MIB);
	CHECK_INT(p[0].filesystem, FS_VFAT);
	CHECK_STR(p[0].label, "boot");
	CHECK_STR(p[0].mount, "/boot");
	CHECK_INT(p[0].flags, PARTITION_ESP | PARTITION_BOOT);
	CHECK_STR(p[1].name, "part2");
	CHECK_INT(p[1].size, 0);
	CHECK(!p[1].label && p[1].flags == 0);
	CHECK_STR(p[1].mount, "/");
	CHECK_STR(s->qemu_args[0], "-s");
	CHECK_INT(s->fake.delay, 5 * USEC_PER_MSEC);
	CHECK_INT(strv_len(s->fake.fail), 2);
	CHECK_INT(s->fake.fail_times, 2);
	node_spec_free(s);
}

static void the_other_kinds_arrive(void)
{
	struct network_spec *n = NULL;
	struct image_spec *i = NULL;
	struct cluster_spec *c = NULL;
	char *defaults = NULL;

	CHECK_INT(network_spec_parse("{\"driver\":\"fake\",\"subnet\":"
				     "\"10.36.8.0/21\",\"hub\":true,"
				     "\"mtu\":1400}",
		      &n, NULL),
	    0);
	if (n) {
		CHECK_STR(n->driver, "fake");
		CHECK(n->has_subnet && n->hub);
		CHECK_INT(n->subnet, 0x0a240800);
		CHECK_INT(n->prefix, 21);
		CHECK_INT(n->mtu, 1400);
	}
	network_spec_free(n);
	n = NULL;
	CHECK_INT(network_spec_parse("{}", &n, NULL), 0);
	CHECK(n && !n->has_subnet && !n->hub && n->mtu == 1500);
	network_spec_free(n);

	CHECK_INT(image_spec_parse("{}", &i, NULL), 0);
	CHECK(i && i->kind == IMAGE_NONE && !i->build);
	image_spec_free(i);
	i = NULL;
	CHECK_INT(image_spec_parse("{\"kind\":\"netboot\",\"packages\":["
				   "\"vim\"]}",
		      &i, NULL),
	    0);
	CHECK(i && i->kind == IMAGE_NETBOOT && i->build && !i->kernel);
	CHECK(i && STREQ(i->build, "debian") && STREQ(i->packages[0], "vim"));
	image_spec_free(i);

	CHECK_INT(cluster_spec_parse("{\"name\":\"rack\",\"defaults\":{"
				     "\"cpus\":2},\"authorized_keys\":["
				     "\"ssh-rsa AAAA x\"]}",
		      &c, &defaults, NULL),
	    0);
	if (c) {
		CHECK_STR(c->name, "rack");
		CHECK_STR(c->domain, "cluster.internal");
		CHECK_INT(strv_len(c->authorized_keys), 1);
		CHECK_INT(c->observe_every, 60 * USEC_PER_SEC);
		CHECK(spec_same(defaults, "{\"cpus\":2}"));
	}
	cluster_spec_free(c);
	free(defaults);
	c = NULL;
	defaults = NULL;
	CHECK_INT(cluster_spec_parse("{}", &c, &defaults, NULL), 0);
	CHECK(c && !defaults);
	cluster_spec_free(c);
}

static void defaults_lie_under_every_node(void)
{
	static const char defaults[] =
	    "{\"cpus\":4,\"nics\":{\"san\":{}},"
	    "\"disk\":{\"size\":\"1G\"},\"memory\":\"2G\"}";
	struct node_spec *s = NULL;
	struct err err = ERR_INIT;

	CHECK_INT(node_spec_parse(defaults,
		      "{\"cpus\":2,\"nics\":{\"lan\":{\"address\":null}},"
		      "\"disk\":null}",
		      &s, &err),
	    0);
	if (s) {
		CHECK_INT(s->cpus, 2);
		CHECK_INT(s->memory, 2 * GIB);
		CHECK_INT(s->n_nics, 2);
		CHECK_STR(s->nics[0].name, "san");
		CHECK_INT(s->nics[1].address_mode, ADDRESS_NONE);
		CHECK(!s->disk.present);
	}
	node_spec_free(s);
	s = NULL;
	CHECK_INT(
	    node_spec_parse(defaults, "{\"nics\":{\"san\":null}}", &s, &err),
	    0);
	CHECK(s && s->n_nics == 0 && s->disk.present);
	node_spec_free(s);
	s = NULL;
	CHECK_INT(node_spec_parse("{\"cpus\":0}", "{}", &s, &err), -EINVAL);
	CHECK_STR(err.text, "defaults: cpus: 0 is below the minimum of 1");
	CHECK_INT(
	    node_spec_parse("{\"cpus\":2}", "{\"cpus\":0}", &s, &err), -EINVAL);
	CHECK_STR(err.text, "cpus: 0 is below the minimum of 1");
	CHECK(!s);
}

static void effective_documents_are_complete(void)
{
	_cleanup_buf_ struct buf b = {0}, again = {0};
	struct err err = ERR_INIT;

	CHECK_INT(spec_effective(SPEC_NODE, NULL, "{}", &b, &err), 0);
	CHECK(spec_same(buf_str(&b),
	    "{\"driver\":\"qemu\",\"cpus\":1,\"memory\":\"512M\",\"boot\":{"
	    "\"image\":\"netboot\",\"from\":\"auto\",\"firmware\":"
	    "\"direct\",\"template\":true},\"boot_timeout\":\"10m\","
	    "\"boot_silence\":\"60s\",\"stop_timeout\":\"30s\",\"nics\":{"
	    "\"lan\":{\"network\":\"lan\",\"link\":\"up\"}},\"ssh\":{"
	    "\"user\":\"root\"},\"internet\":false,\"forwards\":{}}"));
	CHECK(strncmp(buf_str(&b), "{\n  \"driver\"", 12) == 0);
	/* It is a document itself, and then nothing changes any more. */
	CHECK_INT(spec_effective(SPEC_NODE, NULL, b.data, &again, &err), 0);
	CHECK_STR(buf_str(&again), buf_str(&b));
	buf_clear(&b);
	buf_clear(&again);
	CHECK_INT(spec_effective(SPEC_NODE, NULL, FULL, &b, &err), 0);
	CHECK(strstr(b.data, "\"memory\": \"1G\""));
	CHECK(strstr(b.data, "52:54:00:ab:cd:ef"));
	CHECK(strstr(b.data, "\"name\": \"part2\""));
	CHECK_INT(spec_effective(SPEC_NODE, NULL, b.data, &again, &err), 0);
	buf_clear(&b);
	CHECK_INT(spec_effective(
		      SPEC_IMAGE, NULL, "{\"kind\":\"netboot\"}", &b, &err),
	    0);
	CHECK(spec_same(buf_str(&b),
	    "{\"kind\":\"netboot\",\"build\":\"debian\",\"identity\":"
	    "\"rackfs\"}"));
}

static void host_paths_are_shown_absolute(void)
{
	_cleanup_buf_ struct buf b = {0}, image = {0}, same = {0};

	CHECK_INT(spec_shown_at("/home/me", SPEC_NODE,
		      "{\"files\":{\"/b\":{\"source\":\"d\"}}}",
		      "{\"files\":{\"/a\":{\"source\":\"/x\"},\"/e\":{"
		      "\"source\":\"sub/f\"}},\"disk\":{\"size\":\"64M\","
		      "\"partitions\":[{\"size\":\"100%\"}]}}",
		      &b, NULL),
	    0);
	CHECK(strstr(b.data, "\"source\": \"/x\"") != NULL);
	CHECK(strstr(b.data, "\"source\": \"/home/me/sub/f\"") != NULL);
	CHECK(strstr(b.data, "\"source\": \"/home/me/d\"") != NULL);
	CHECK_INT(spec_shown_at("/home/me", SPEC_IMAGE, NULL,
		      "{\"kind\":\"netboot\",\"kernel\":\"k\","
		      "\"initrd\":\"i\"}",
		      &image, NULL),
	    0);
	CHECK(strstr(image.data, "\"kernel\": \"/home/me/k\"") != NULL);
	CHECK(strstr(image.data, "\"initrd\": \"/home/me/i\"") != NULL);
	CHECK_INT(spec_effective(SPEC_IMAGE, NULL,
		      "{\"kind\":\"netboot\",\"kernel\":\"k\","
		      "\"initrd\":\"i\"}",
		      &same, NULL),
	    0);
	CHECK(strstr(same.data, "\"kernel\": \"k\"") != NULL);
}

static void secrets_are_digests(void)
{
	_cleanup_buf_ struct buf b = {0};
	struct err err = ERR_INIT;

	CHECK_INT(spec_effective(SPEC_NODE, NULL,
		      "{\"qemu\":{\"args\":[\"hunter2\"]}}", &b, &err),
	    0);
	CHECK(!strstr(b.data, "hunter2"));
	CHECK(strstr(b.data, "digest "));
}

/* --- differences --------------------------------------------------------- */

static void add_key(const char *key, void *userdata)
{
	struct buf *b = userdata;
	buf_printf(b, "%s%s", b->len ? " " : "", key);
}

static void differences_know_what_they_ask_for(void)
{
	static const struct {
		const char *a, *b, *live, *restart, *wipe;
	} rows[] = {
	    {"{}", "{}", "", "", ""},
	    {"{\"memory\":\"1024M\"}", "{\"memory\":\"1G\"}", "", "", ""},
	    {"{}", "{\"memory\":\"1G\",\"cpus\":2,\"stop_timeout\":\"1s\"}",
		"stop_timeout", "cpus memory", ""},
	    {"{}", "{\"nics\":{\"lan\":{\"link\":\"down\"}}}", "nics.lan.link",
		"", ""},
	    {"{}", "{\"nics\":{\"lan\":{\"address\":null},\"san\":{}}}",
		"nics.lan.address", "nics.san", ""},
	    {"{\"nics\":{\"lan\":{},\"san\":{}}}", "{}", "", "nics.san", ""},
	    {"{}", "{\"disk\":{\"size\":\"1G\"}}", "", "disk", ""},
	    {"{\"disk\":{\"size\":\"1G\"}}",
		"{\"disk\":{\"size\":\"2G\",\"partitions\":[{\"size\":"
		"\"100%\"}]}}",
		"disk.size", "", "disk.partitions"},
	    {"{\"disk\":{\"size\":\"1G\"}}",
		"{\"disk\":{\"size\":\"1G\",\"table\":\"mbr\",\"format\":"
		"\"raw\"}}",
		"", "", "disk.table disk.format"},
	    {"{}", "{\"forwards\":{\"8080\":80},\"internet\":true}", "forwards",
		"internet", ""},
	    {"{}", "{\"nics\":{\"lan\":{\"network\":\"san\"}}}",
		"nics.lan.network", "", ""},
	    {"{\"qemu\":{\"args\":[\"-s\"]}}", "{\"qemu\":{\"args\":[\"-S\"]}}",
		"", "qemu.args", ""},
	    {"{\"ssh\":{\"port\":2301}}", "{\"boot\":{\"cmdline\":\"x\"}}",
		"ssh.port", "boot.cmdline", ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *const wants[] = {
		    [EFFECT_LIVE] = rows[i].live,
		    [EFFECT_RESTART] = rows[i].restart,
		    [EFFECT_WIPE] = rows[i].wipe,
		};
		_cleanup_buf_ struct buf a = {0}, b = {0};
		CHECK_INT(
		    spec_effective(SPEC_NODE, NULL, rows[i].a, &a, NULL), 0);
		CHECK_INT(
		    spec_effective(SPEC_NODE, NULL, rows[i].b, &b, NULL), 0);
		for (int e = EFFECT_LIVE; e <= EFFECT_WIPE; e++) {
			_cleanup_buf_ struct buf keys = {0};
			int n = spec_node_diff(buf_str(&a), buf_str(&b),
			    (enum spec_effect)e, add_key, &keys);
			CHECK_STR(buf_str(&keys), wants[e]);
			CHECK_INT(n > 0, *wants[e] != '\0');
		}
	}
}

/* --- small values ------------------------------------------------------ */

static void small_values_read_and_write(void)
{
	char text[24], ip_text[16], mac_text[18];
	uint32_t ip = 1;
	uint8_t mac[6];
	static const char *const bad_ips[] = {"", "1.2.3", "1.2.3.4.5",
	    "256.1.1.1", "1.2.3.04", "1.2.3.4 ", " 1.2.3.4", "1..2.3", "a"};
	static const char *const bad_macs[] = {"", "52:54:00:12:34",
	    "52-54-00-12-34-56", "52:54:00:12:34:5g", "52:54:00:12:34:567"};

	CHECK_INT(parse_ip("10.36.0.11", &ip), 0);
	CHECK_INT(ip, 0x0a24000b);
	format_ip(ip, ip_text);
	CHECK_STR(ip_text, "10.36.0.11");
	format_ip(UINT32_MAX, ip_text);
	CHECK_STR(ip_text, "255.255.255.255");
	for (size_t i = 0; i < ARRAY_SIZE(bad_ips); i++)
		CHECK_INT(parse_ip(bad_ips[i], &ip), -EINVAL);
	CHECK_INT(parse_mac("52:54:00:12:34:5F", mac), 0);
	format_mac(mac, mac_text);
	CHECK_STR(mac_text, "52:54:00:12:34:5f");
	for (size_t i = 0; i < ARRAY_SIZE(bad_macs); i++)
		CHECK_INT(parse_mac(bad_macs[i], mac), -EINVAL);
	format_size(512 * MIB, text);
	CHECK_STR(text, "512M");
	format_size(1ULL << 40, text);
	CHECK_STR(text, "1T");
	format_size(1536 * MIB, text);
	CHECK_STR(text, "1536M");
	format_size(UINT64_MAX, text);
	CHECK_STR(text, "18446744073709551615");
	format_usec(90 * USEC_PER_SEC, text);
	CHECK_STR(text, "90s");
	format_usec(500 * USEC_PER_MSEC, text);
	CHECK_STR(text, "500ms");
	format_usec(600 * USEC_PER_SEC, text);
	CHECK_STR(text, "10m");
	format_usec(0, text);
	CHECK_STR(text, "0s");
	CHECK_STR(filesystem_name(FS_NONE), "");
	CHECK_STR(filesystem_name(FS_EXT4), "ext4");
	CHECK_STR(image_kind_name(IMAGE_CLOSURE), "closure");
	CHECK_STR(link_state_name(LINK_DOWN), "down");
	CHECK_STR(disk_format_name(FORMAT_RAW), "raw");
}

/* --- the table --------------------------------------------------------- */

static void look_at_row(const struct spec_key_doc *k, void *userdata)
{
	int *count = userdata;
	size_t n = strlen(k->help);

	(*count)++;
	CHECK(*k->path && *k->type && n > 10);
	CHECK(n && k->help[n - 1] == '.');
	if (!n || k->help[n - 1] != '.')
		printf("# %s\n", k->path);
}

static void every_key_has_its_help(void)
{
	static const int at_least[SPEC_KINDS] = {
	    [SPEC_CLUSTER] = 14,
	    [SPEC_NETWORK] = 4,
	    [SPEC_IMAGE] = 13,
	    [SPEC_NODE] = 55,
	};
	for (int kind = 0; kind < SPEC_KINDS; kind++) {
		int count = 0;
		spec_each_key((enum spec_kind)kind, look_at_row, &count);
		CHECK(count >= at_least[kind]);
	}
}

static const struct test_case cases[] = {
    CASE(unknown_keys_name_the_nearest),
    CASE(long_keys_fit_the_sentence),
    CASE(wrong_types_say_what_was_found),
    CASE(secrets_are_not_repeated),
    CASE(limits_hold_below_at_and_above),
    CASE(counts_have_limits),
    CASE(what_is_put_into_guests_is_checked),
    CASE(network_cards_are_checked),
    CASE(partitions_fit_their_disk),
    CASE(file_systems_are_checked),
    CASE(networks_are_checked),
    CASE(images_are_checked),
    CASE(clusters_are_checked),
    CASE(a_name_has_63_characters),
    CASE(a_node_gets_its_defaults),
    CASE(every_key_of_a_node_arrives),
    CASE(the_other_kinds_arrive),
    CASE(defaults_lie_under_every_node),
    CASE(effective_documents_are_complete),
    CASE(host_paths_are_shown_absolute),
    CASE(secrets_are_digests),
    CASE(differences_know_what_they_ask_for),
    CASE(small_values_read_and_write),
    CASE(every_key_has_its_help),
};
TEST_MAIN(cases)
