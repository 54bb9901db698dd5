/* SPDX-License-Identifier: Apache-2.0
 *
 * Values of specs that hold no keys of their own: each is checked by its row of
 * the key table and put where that says.  Called by spec_walk.c alone.  Pure.
 */
#include "engine/spec_walk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

/* --- one value -------------------------------------------------------- */

static int set_bool(
    struct walk *w, const struct spec_key *key, json_t *v, void *base)
{
	if (!json_is_boolean(v))
		return walk_wrong_type(w, key, v, "true or false");
	bool *p = walk_at(base, key->field);
	if (p)
		*p = json_is_true(v);
	return 0;
}

static int set_int(
    struct walk *w, const struct spec_key *key, json_t *v, void *base)
{
	if (!json_is_integer(v))
		return walk_wrong_type(w, key, v, "a whole number");
	json_int_t n = json_integer_value(v);
	if (n < (json_int_t)key->min)
		return walk_refuse(w,
		    "%" JSON_INTEGER_FORMAT " is below the minimum of %" PRIu64,
		    n, key->min);
	if (n > (json_int_t)key->max)
		return walk_refuse(w,
		    "%" JSON_INTEGER_FORMAT " is above the maximum of %" PRIu64,
		    n, key->max);
	void *p = walk_at(base, key->field);
	if (p && key->type == T_PORT)
		*(uint16_t *)p = (uint16_t)n;
	else if (p)
		*(unsigned *)p = (unsigned)n;
	return 0;
}

static int set_united(struct walk *w, const struct spec_key *key, json_t *v,
    void *base, json_t **ret_norm)
{
	bool usec = key->type == T_USEC;
	const char *what = usec ? "a duration" : "a size";
	const char *units = usec ? "ms, s, m, h" : "K, M, G, T";

	if (json_is_integer(v))
		return walk_refuse(w,
		    "%" JSON_INTEGER_FORMAT " has no unit; wanted %s, for "
		    "example %s",
		    json_integer_value(v), what, key->example);
	if (!json_is_string(v))
		return walk_wrong_type(w, key, v, what);

	const char *s = json_string_value(v);
	struct spec_shown shown = spec_show(s);
	uint64_t n = 0;
	char low[24], high[24];
	int r = 0;
	if (key->type != T_REST || !STREQ(s, "100%"))
		r = usec ? spec_parse_usec(s, &n) : spec_parse_size(s, &n);
	if (r == -EDOM)
		return walk_refuse(w,
		    "\"%s\" has no unit (%s); wanted %s, for example %s",
		    shown.text, units, what, key->example);
	if (r == -EINVAL)
		return walk_refuse(w,
		    "\"%s\" is not %s: a whole number and one of %s, for "
		    "example %s",
		    shown.text, what, units, key->example);
	void (*format)(uint64_t, char[24]) = usec ? format_usec : format_size;
	format(key->min, low);
	format(key->max, high);
	bool rest = key->type == T_REST && STREQ(s, "100%");
	if (r == 0 && !rest && n < key->min)
		return walk_refuse(
		    w, "%s is below the minimum of %s", shown.text, low);
	if (r == -ERANGE || n > key->max)
		return walk_refuse(
		    w, "%s is above the maximum of %s", shown.text, high);
	uint64_t *p = walk_at(base, key->field);
	if (p)
		*p = n;
	if (w->want_out && !rest) {
		format(n, low);
		*ret_norm = json_string(low);
	}
	return 0;
}

/* Finds a string among the words of the key; refuses it otherwise. */
static int find_word(
    struct walk *w, const struct spec_key *key, const char *s, unsigned *ret)
{
	char list[256] = "";
	size_t len = 0;
	for (size_t i = 0; i < key->words->n; i++) {
		const struct spec_word *word = &key->words->words[i];
		if (!*word->word)
			continue;
		if (STREQ(word->word, s)) {
			*ret = (unsigned)i;
			return 0;
		}
		if (len >= sizeof(list))
			continue;
		len += (size_t)snprintf(list + len, sizeof(list) - len,
		    "%s\"%s\"", len ? ", " : "", word->word);
	}
	return walk_refuse(
	    w, "\"%s\" is not one of: %s", spec_show(s).text, list);
}

static int set_word(
    struct walk *w, const struct spec_key *key, json_t *v, void *base)
{
	unsigned i = 0;
	if (!json_is_string(v))
		return walk_wrong_type(w, key, v, "a word");
	int r = find_word(w, key, json_string_value(v), &i);
	if (r < 0)
		return r;
	void *p = walk_at(base, key->field);
	if (p && key->type == T_CHOICE)
		*(char **)p = xstrdup(json_string_value(v));
	else if (p)
		*(unsigned *)p = i;
	return 0;
}

/* One string by the limits and the check of its key. */
static int check_text(struct walk *w, const struct spec_key *key, const char *s,
    size_t min, size_t max)
{
	struct err why = ERR_INIT;
	size_t len = strlen(s);
	if (len < min && len == 0)
		return walk_refuse(w, "is empty, for example %s", key->example);
	if (len < min)
		return walk_refuse(
		    w, "%zu bytes, the minimum is %zu", len, min);
	if (len > max)
		return walk_refuse(
		    w, "%zu bytes, the maximum is %zu", len, max);
	if (key->check && key->check(s, &why) < 0)
		return walk_refuse(w, "%s", why.text);
	return 0;
}

static int set_text(
    struct walk *w, const struct spec_key *key, json_t *v, void *base)
{
	if (!json_is_string(v))
		return walk_wrong_type(w, key, v, "a string");
	const char *s = json_string_value(v);
	int r = check_text(w, key, s, key->min, key->max);
	if (r < 0)
		return r;
	char **p = walk_at(base, key->field);
	if (p)
		*p = xstrdup(s);
	return 0;
}

static int set_cidr(
    struct walk *w, const struct spec_key *key, json_t *v, void *base)
{
	if (!json_is_string(v))
		return walk_wrong_type(w, key, v, "an IPv4 subnet");
	const char *s = json_string_value(v);
	uint32_t ip;
	unsigned prefix;
	char right[16];
	if (spec_parse_cidr(s, &ip, &prefix) < 0)
		return walk_refuse(w,
		    "\"%s\" is not an IPv4 subnet, for example %s",
		    spec_show(s).text, key->example);
	if (prefix < key->min || prefix > key->max)
		return walk_refuse(w,
		    "/%u is not allowed: from /%" PRIu64 " to /%" PRIu64,
		    prefix, key->min, key->max);
	uint32_t mask = UINT32_MAX << (32 - prefix);
	if (ip & ~mask) {
		format_ip(ip & mask, right);
		return walk_refuse(w,
		    "%s has host bits set; the subnet is %s/%u", s, right,
		    prefix);
	}
	unsigned first = ip >> 24;
	if (first == 0 || first == 127 || first >= 224)
		return walk_refuse(w,
		    "%s is reserved (RFC 6890); take one of "
		    "10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16",
		    s);
	if ((ip & mask & MANAGEMENT_MASK) == MANAGEMENT_SUBNET)
		return walk_refuse(w,
		    "%s: in 10.0.2.0/24 every machine has its management NIC; "
		    "take another",
		    s);
	uint32_t *p = walk_at(base, key->field);
	unsigned *q = walk_at(base, key->second);
	if (p)
		*p = ip;
	if (q)
		*q = prefix;
	return 0;
}

static int set_mac(struct walk *w, const struct spec_key *key, json_t *v,
    void *base, json_t **ret_norm)
{
	static const uint8_t zero[6];
	uint8_t mac[6];
	char text[18];
	if (!json_is_string(v))
		return walk_wrong_type(w, key, v, "a MAC address");
	const char *s = json_string_value(v);
	if (parse_mac(s, mac) < 0)
		return walk_refuse(w,
		    "\"%s\" is not a MAC address, for example %s",
		    spec_show(s).text, key->example);
	if (mac[0] & 1 || memcmp(mac, zero, 6) == 0)
		return walk_refuse(w,
		    "%s is not a unicast address, for example %s", s,
		    key->example);
	uint8_t *p = walk_at(base, key->field);
	if (p)
		memcpy(p, mac, sizeof(mac));
	if (w->want_out) {
		format_mac(mac, text);
		*ret_norm = json_string(text);
	}
	return 0;
}

static int set_address(
    struct walk *w, const struct spec_key *key, json_t *v, void *base)
{
	uint32_t ip = 0;
	if (!json_is_string(v) && !json_is_null(v))
		return walk_wrong_type(w, key, v, "an IPv4 address or null");
	if (json_is_string(v) && parse_ip(json_string_value(v), &ip) < 0)
		return walk_refuse(w,
		    "\"%s\" is not an IPv4 address, for example %s",
		    spec_show(json_string_value(v)).text, key->example);
	uint32_t *p = walk_at(base, key->field);
	unsigned *mode = walk_at(base, key->second);
	if (p)
		*p = ip;
	if (mode)
		*mode = json_is_null(v) ? ADDRESS_NONE : ADDRESS_FIXED;
	return 0;
}

/* --- several of them --------------------------------------------------- */

static int set_strings(
    struct walk *w, const struct spec_key *key, json_t *v, void *base)
{
	if (!json_is_array(v))
		return walk_wrong_type(w, key, v, "a list of strings");
	int r = walk_check_count(w, key, json_array_size(v), "entries");
	if (r == 0 && json_array_size(v) < key->min)
		r = walk_refuse(
		    w, "the list is empty, for example %s", key->example);
	_cleanup_strv_ char **strings = NULL;
	size_t i;
	json_t *item;
	json_array_foreach (v, i, item) {
		if (r < 0)
			break;
		size_t before = walk_enter_index(w, i);
		if (json_is_string(item)) {
			r = check_text(
			    w, key, json_string_value(item), 0, ITEM_MAX);
			strv_push(&strings, json_string_value(item));
		} else {
			r = walk_refuse(w, "found %s, wanted a string",
			    walk_found(key, item).text);
		}
		walk_leave(w, before);
	}
	char ***p = walk_at(base, key->field);
	if (r == 0 && p)
		*p = TAKE_PTR(strings);
	return r;
}

static int set_flags(
    struct walk *w, const struct spec_key *key, json_t *v, void *base)
{
	unsigned flags = 0, bit = 0;
	size_t i;
	json_t *item;
	if (!json_is_array(v))
		return walk_wrong_type(w, key, v, "a list of words");
	json_array_foreach (v, i, item) {
		size_t before = walk_enter_index(w, i);
		int r;
		if (!json_is_string(item))
			r = walk_refuse(w, "found %s, wanted a word",
			    spec_show_json(item).text);
		else
			r = find_word(w, key, json_string_value(item), &bit);
		if (r == 0 && flags & 1u << bit)
			r = walk_refuse(w, "\"%s\" is there twice",
			    json_string_value(item));
		walk_leave(w, before);
		if (r < 0)
			return r;
		flags |= 1u << bit;
	}
	unsigned *p = walk_at(base, key->field);
	if (p)
		*p = flags;
	return 0;
}

static int set_forward(struct walk *w, const struct spec_key *key,
    const char *host, const json_t *guest, struct forward_spec *ret)
{
	if (parse_port(host, &ret->host) < 0)
		return walk_refuse(w,
		    "\"%s\" is not a port of the host: 1 to 65535, for "
		    "example %s",
		    spec_show(host).text, key->example);
	if (!json_is_integer(guest))
		return walk_wrong_type(w, key, guest, "a port of the node");
	json_int_t port = json_integer_value(guest);
	if (port < 1 || port > UINT16_MAX)
		return walk_refuse(w,
		    "%" JSON_INTEGER_FORMAT
		    " is not a port of the node: 1 to 65535",
		    port);
	ret->guest = (uint16_t)port;
	return 0;
}

static int set_forwards(
    struct walk *w, const struct spec_key *key, json_t *v, void *base)
{
	if (!json_is_object(v))
		return walk_wrong_type(w, key, v, "an object of ports");
	int r = walk_check_count(w, key, json_object_size(v), "forwards");
	if (r < 0)
		return r;
	_cleanup_free_ struct forward_spec *list =
	    xcalloc(MAX(json_object_size(v), (size_t)1), sizeof(*list));
	size_t n = 0;
	const char *host;
	json_t *guest;
	json_object_foreach (v, host, guest) {
		size_t before = walk_enter(w, ".", host);
		r = set_forward(w, key, host, guest, &list[n++]);
		walk_leave(w, before);
		if (r < 0)
			return r;
	}
	struct forward_spec **p = walk_at(base, key->field);
	size_t *count = walk_at(base, key->second);
	if (p && n)
		*p = TAKE_PTR(list);
	if (count)
		*count = n;
	return 0;
}

int walk_scalar(struct walk *w, const struct spec_key *key, json_t *v,
    void *base, json_t **ret_norm)
{
	switch (key->type) {
	case T_BOOL:
		return set_bool(w, key, v, base);
	case T_INT:
	case T_PORT:
		return set_int(w, key, v, base);
	case T_SIZE:
	case T_REST:
	case T_USEC:
		return set_united(w, key, v, base, ret_norm);
	case T_WORD:
	case T_CHOICE:
		return set_word(w, key, v, base);
	case T_TEXT:
		return set_text(w, key, v, base);
	case T_CIDR:
		return set_cidr(w, key, v, base);
	case T_MAC:
		return set_mac(w, key, v, base, ret_norm);
	case T_ADDRESS:
		return set_address(w, key, v, base);
	case T_STRINGS:
		return set_strings(w, key, v, base);
	case T_FLAGS:
		return set_flags(w, key, v, base);
	case T_FORWARDS:
		return set_forwards(w, key, v, base);
	case T_OBJECT:
	case T_MAP:
	case T_LIST:
	case T_NODE:
		break;
	}
	abort();
}
