/* SPDX-License-Identifier: Apache-2.0
 *
 * The small values of specs between text and number: sizes, durations,
 * addresses, MACs, names, and the words of every enum that specs hold.  Used
 * by the parsers and by everything that prints them.  Pure.
 */
#include "engine/spec_table.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

/* --- words ------------------------------------------------------------- */

#define WORDS(name, count, ...)                                                \
	static const struct spec_word name##_list[] = {__VA_ARGS__};           \
	static_assert(                                                         \
	    ARRAY_SIZE(name##_list) == (count), "a word is missing");          \
	const struct spec_words name = {name##_list, count}

/* clang-format off */
WORDS(spec_link_words, LINK_STATES,
	[LINK_UP] = {"up"},
	[LINK_DOWN] = {"down"});
WORDS(spec_filesystem_words, FILESYSTEMS,
	[FS_NONE] = {""},
	[FS_VFAT] = {"vfat"},
	[FS_EXT4] = {"ext4"},
	[FS_SWAP] = {"swap"});
WORDS(spec_table_words, DISK_TABLES,
	[TABLE_GPT] = {"gpt"},
	[TABLE_MBR] = {"mbr"});
WORDS(spec_format_words, DISK_FORMATS,
	[FORMAT_QCOW2] = {"qcow2"},
	[FORMAT_RAW] = {"raw"});
WORDS(spec_from_words, BOOT_FROMS,
	[BOOT_AUTO] = {"auto"},
	[BOOT_IMAGE] = {"image"},
	[BOOT_DISK] = {"disk"});
WORDS(spec_firmware_words, BOOT_FIRMWARES,
	[FIRMWARE_DIRECT] = {"direct"},
	[FIRMWARE_UEFI] = {"uefi"});
WORDS(spec_drift_words, DRIFT_MODES,
	[DRIFT_REPAIR] = {"repair"},
	[DRIFT_REPORT] = {"report"});
WORDS(spec_image_words, IMAGE_KINDS,
	[IMAGE_NONE] = {""},
	[IMAGE_NETBOOT] = {"netboot"},
	[IMAGE_ROOTFS] = {"rootfs"},
	[IMAGE_DISK] = {"disk"},
	[IMAGE_CLOSURE] = {"closure"});
WORDS(spec_identity_words, IDENTITY_MODES,
	[IDENTITY_RACKFS] = {"rackfs"},
	[IDENTITY_NONE] = {"none"});
WORDS(spec_flag_words, 2,
	[0] = {"esp"},
	[1] = {"boot"});
/* clang-format on */
static_assert(PARTITION_ESP == 1u << 0 && PARTITION_BOOT == 1u << 1,
    "the words of flags are in the order of their bits");

static const char *word(const struct spec_words *w, unsigned value)
{
	assert(value < w->n);
	return w->words[value].word;
}

const char *link_state_name(enum link_state v)
{
	return word(&spec_link_words, v);
}

const char *filesystem_name(enum filesystem v)
{
	return word(&spec_filesystem_words, v);
}

const char *disk_format_name(enum disk_format v)
{
	return word(&spec_format_words, v);
}

const char *boot_firmware_name(enum boot_firmware v)
{
	return word(&spec_firmware_words, v);
}

const char *image_kind_name(enum image_kind v)
{
	return word(&spec_image_words, v);
}

/* --- names ---------------------------------------------------------------- */

int spec_check_name(const char *what, const char *name, struct err *err)
{
	size_t len = strlen(name);
	struct spec_shown shown = spec_show(name);

	if (len == 0)
		return err_set(err, -EINVAL, "%s: the name is empty", what);
	if (len > NAME_MAX_LABEL)
		return err_set(err, -EINVAL,
		    "%s: the name has %zu characters, the maximum is %d", what,
		    len, NAME_MAX_LABEL);
	if (strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != len)
		return err_set(err, -EINVAL,
		    "%s: \"%s\" is not a name; it becomes a host name: small "
		    "letters, digits and -, for example node01",
		    what, shown.text);
	if (name[0] == '-' || name[len - 1] == '-')
		return err_set(err, -EINVAL,
		    "%s: \"%s\" is not a name; it can't begin or end with -",
		    what, shown.text);
	return 0;
}

/* --- numbers with a unit --- */

struct unit {
	const char *name;
	uint64_t factor;
};
/* Largest first. */
static const struct unit size_units[] = {
    {"T", 1ULL << 40}, {"G", 1ULL << 30}, {"M", 1ULL << 20}, {"K", 1ULL << 10}};
static const struct unit usec_units[] = {{"h", 3600 * USEC_PER_SEC},
    {"m", 60 * USEC_PER_SEC}, {"s", USEC_PER_SEC}, {"ms", USEC_PER_MSEC}};

static int parse_unit(
    const char *s, const struct unit *units, size_t n, uint64_t *ret)
{
	if (!isdigit((unsigned char)*s))
		return -EINVAL;
	char *end;
	errno = 0;
	uint64_t v = strtoull(s, &end, 10);
	bool over = errno == ERANGE;
	if (*end == '\0')
		return -EDOM;
	for (size_t i = 0; i < n; i++) {
		if (!STREQ(end, units[i].name))
			continue;
		if (over || __builtin_mul_overflow(v, units[i].factor, &v))
			return -ERANGE;
		*ret = v;
		return 0;
	}
	return -EINVAL;
}

int spec_parse_size(const char *s, uint64_t *ret)
{
	return parse_unit(s, size_units, ARRAY_SIZE(size_units), ret);
}

int spec_parse_usec(const char *s, uint64_t *ret)
{
	return parse_unit(s, usec_units, ARRAY_SIZE(usec_units), ret);
}

void format_size(uint64_t bytes, char out[24])
{
	if (bytes == 0) {
		snprintf(out, 24, "0K");
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(size_units); i++) {
		if (bytes % size_units[i].factor)
			continue;
		snprintf(out, 24, "%" PRIu64 "%s", bytes / size_units[i].factor,
		    size_units[i].name);
		return;
	}
	snprintf(out, 24, "%" PRIu64, bytes);
}

/* Seconds are kept up to two minutes, as people write them: "90s". */
void format_usec(uint64_t usec, char out[24])
{
	uint64_t ms = usec / USEC_PER_MSEC;

	if (usec % USEC_PER_MSEC)
		snprintf(out, 24, "%" PRIu64 "us", usec);
	else if (ms % 1000)
		snprintf(out, 24, "%" PRIu64 "ms", ms);
	else if (ms % 60000 || ms < 120000)
		snprintf(out, 24, "%" PRIu64 "s", ms / 1000);
	else if (ms % 3600000)
		snprintf(out, 24, "%" PRIu64 "m", ms / 60000);
	else
		snprintf(out, 24, "%" PRIu64 "h", ms / 3600000);
}

/* --- addresses --- */

void format_ip(uint32_t ip, char out[16])
{
	snprintf(out, 16, "%u.%u.%u.%u", ip >> 24, ip >> 16 & 255,
	    ip >> 8 & 255, ip & 255);
}

/* Four decimal numbers without leading zeros (which some read as octal). */
static int scan_ip(const char *s, uint32_t *ret, const char **ret_end)
{
	uint32_t ip = 0;
	for (int i = 0; i < 4; i++) {
		if (i && *s++ != '.')
			return -EINVAL;
		unsigned v = 0;
		int n = 0;
		for (; isdigit((unsigned char)*s) && n < 3; n++)
			v = v * 10 + (unsigned)(*s++ - '0');
		if (n == 0 || v > 255 || (n > 1 && s[-n] == '0'))
			return -EINVAL;
		ip = ip << 8 | v;
	}
	*ret = ip;
	*ret_end = s;
	return 0;
}

int parse_ip(const char *s, uint32_t *ret)
{
	const char *end;
	uint32_t ip;
	if (scan_ip(s, &ip, &end) < 0 || *end)
		return -EINVAL;
	*ret = ip;
	return 0;
}

int spec_parse_cidr(const char *s, uint32_t *ret_ip, unsigned *ret_prefix)
{
	const char *end;
	uint32_t ip;
	if (scan_ip(s, &ip, &end) < 0 || *end++ != '/')
		return -EINVAL;
	size_t n = strspn(end, "0123456789");
	if (n == 0 || n > 2 || end[n] || (n == 2 && *end == '0'))
		return -EINVAL;
	unsigned prefix = (unsigned)strtoul(end, NULL, 10);
	if (prefix > 32)
		return -EINVAL;
	*ret_ip = ip;
	*ret_prefix = prefix;
	return 0;
}

void format_mac(const uint8_t mac[6], char out[18])
{
	snprintf(out, 18, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1],
	    mac[2], mac[3], mac[4], mac[5]);
}

int parse_mac(const char *s, uint8_t ret[6])
{
	static const char hex[] = "0123456789abcdef";
	uint8_t mac[6] = {0};

	if (strlen(s) != 17)
		return -EINVAL;
	for (int i = 0; i < 17; i++) {
		if (i % 3 == 2) {
			if (s[i] != ':')
				return -EINVAL;
			continue;
		}
		const char *p = strchr(hex, tolower((unsigned char)s[i]));
		if (!p)
			return -EINVAL;
		mac[i / 3] = (uint8_t)(mac[i / 3] << 4 | (p - hex));
	}
	memcpy(ret, mac, sizeof(mac));
	return 0;
}

/* --- for sentences --- */

struct spec_shown spec_show(const char *s)
{
	struct spec_shown r;
	size_t n = 0;
	for (unsigned chars = 0; *s; s++) {
		unsigned char c = (unsigned char)*s;
		/* Names of mkdir(2) need not be UTF-8. */
		bool full = n + 8 > sizeof(r.text);
		if (full || ((c & 0xc0) != 0x80 && chars++ == 40)) {
			memcpy(r.text + n, "...", 3);
			n += 3;
			break;
		}
		r.text[n++] = c < 0x20 || c == 0x7f ? '?' : (char)c;
	}
	r.text[n] = '\0';
	return r;
}

/* Never as a whole number: those are another type. */
static struct spec_shown show_real(double v)
{
	struct spec_shown r;
	char text[32];

	snprintf(text, sizeof(text), "%.15g", v);
	snprintf(r.text, sizeof(r.text), "the number %s%s", text,
	    strpbrk(text, ".en") ? "" : ".0");
	return r;
}

struct spec_shown spec_show_type(const json_t *v)
{
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		return (struct spec_shown){"an object"};
	case JSON_ARRAY:
		return (struct spec_shown){"a list"};
	case JSON_STRING:
		return (struct spec_shown){"a string"};
	case JSON_INTEGER:
	case JSON_REAL:
		return (struct spec_shown){"a number"};
	case JSON_TRUE:
	case JSON_FALSE:
		return (struct spec_shown){"true or false"};
	case JSON_NULL:
		break;
	}
	return (struct spec_shown){"null"};
}

struct spec_shown spec_show_json(const json_t *v)
{
	struct spec_shown r;
	switch (json_typeof(v)) {
	case JSON_OBJECT:
	case JSON_ARRAY:
		return spec_show_type(v);
	case JSON_STRING:
		snprintf(r.text, sizeof(r.text), "the string \"%.*s\"", 160,
		    spec_show(json_string_value(v)).text);
		return r;
	case JSON_INTEGER:
		snprintf(r.text, sizeof(r.text),
		    "the number %" JSON_INTEGER_FORMAT, json_integer_value(v));
		return r;
	case JSON_REAL:
		return show_real(json_real_value(v));
	case JSON_TRUE:
		return (struct spec_shown){"true"};
	case JSON_FALSE:
		return (struct spec_shown){"false"};
	case JSON_NULL:
		break;
	}
	return (struct spec_shown){"null"};
}

int parse_port(const char *s, uint16_t *ret)
{
	size_t n = strspn(s, "0123456789");
	if (n == 0 || n > 5 || s[n] || *s == '0')
		return -EINVAL;
	unsigned long v = strtoul(s, NULL, 10);
	if (v > UINT16_MAX)
		return -EINVAL;
	*ret = (uint16_t)v;
	return 0;
}

/* --- checks of services --- */

static int check_port(const char *s, size_t len, const char *whole,
    uint16_t *ret, struct err *err)
{
	char port[8] = "";
	if (len < sizeof(port))
		memcpy(port, s, len);
	if (parse_port(port, ret) < 0)
		return err_set(err, -EINVAL,
		    "\"%s\" has no port from 1 to 65535, for example "
		    "\"tcp:2379\"",
		    spec_show(whole).text);
	return 0;
}

int parse_check(const char *s, struct check *ret, struct err *err)
{
	*ret = (struct check){.kind = CHECK_SYSTEMD, .text = ""};
	if (STREQ(s, "systemd"))
		return 0;
	if (strncmp(s, "tcp:", 4) == 0) {
		ret->kind = CHECK_TCP;
		return check_port(s + 4, strlen(s + 4), s, &ret->port, err);
	}
	if (strncmp(s, "http:", 5) == 0) {
		size_t n = strcspn(s + 5, "/");
		ret->kind = CHECK_HTTP;
		ret->text = s[5 + n] ? s + 5 + n : "/";
		return check_port(s + 5, n, s, &ret->port, err);
	}
	if (strncmp(s, "exec:", 5) == 0 && s[5]) {
		ret->kind = CHECK_COMMAND;
		ret->text = s + 5;
		return 0;
	}
	return err_set(err, -EINVAL,
	    "\"%s\" is no check: systemd, tcp:PORT, http:PORT/PATH or "
	    "exec:COMMAND",
	    spec_show(s).text);
}
