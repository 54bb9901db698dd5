/* SPDX-License-Identifier: Apache-2.0
 *
 * Text of specs: what a prefix of a document is, exact positions, merge
 * patches, sections, comparing.
 */
#include "spec.h"

#include <errno.h>
#include "test.h"

static enum json_state state_of(const char *text, struct err *err)
{
	return spec_json_state(text, strlen(text), err);
}

/* --- states ------------------------------------------------------------- */

#define BAD(at, why) JSON_BROKEN, at ": " why
#define CUT(at)      JSON_INCOMPLETE, at ": the document is cut off"

static void texts_are_what_they_are(void)
{
	static const struct {
		const char *text;
		enum json_state state;
		const char *sentence;
	} rows[] = {
	    {"", JSON_EMPTY, ""},
	    {" \t\r\n", JSON_EMPTY, ""},
	    {"{}", JSON_COMPLETE, ""},
	    {" {\"a\":[1,-2.5e3,true,false,null,\"x\"]}\n\n", JSON_COMPLETE,
		""},
	    {"null", JSON_COMPLETE, ""},
	    {"12", JSON_COMPLETE, ""},
	    {"-0", JSON_COMPLETE, ""},
	    {"\"\\u00e9\\ud83d\\ude00\\/\"", JSON_COMPLETE, ""},
	    {"0e999", JSON_COMPLETE, ""},
	    {"1e-999", JSON_COMPLETE, ""},
	    {"[9223372036854775807,-9223372036854775808]", JSON_COMPLETE, ""},
	    /* cut off */
	    {"{", CUT("line 1, column 1")},
	    {"{\"a\":", CUT("line 1, column 5")},
	    {"{\n  \"a\": 1,\n", CUT("line 2, column 9")},
	    {"nul", CUT("line 1, column 3")},
	    {"-", CUT("line 1, column 1")},
	    {"[1.", CUT("line 1, column 3")},
	    {"[1e", CUT("line 1, column 3")},
	    {"[1e+", CUT("line 1, column 4")},
	    {"\"\\ud83d", CUT("line 1, column 7")},
	    {"\"\\ud83d\\u", CUT("line 1, column 9")},
	    {"\"\xc3", CUT("line 1, column 2")},
	    {"[99999999999999999999", CUT("line 1, column 21")},
	    {"{\"a\":1,\"a", CUT("line 1, column 9")},
	    /* broken */
	    {"{\"memory\": 512M}",
		BAD("line 1, column 15", "a , or } is missing; found M")},
	    {"{\n\"cpus\": 2,\n\"memory\" \"1G\" }",
		BAD("line 3, column 10",
		    "a : is missing after the key; found \"")},
	    {"{} {}", BAD("line 1, column 4", "a second document begins")},
	    {"{}\n1",
		BAD("line 2, column 1",
		    "there is text after the end of the document; found 1")},
	    {"{\"a\":1,}", BAD("line 1, column 8",
			       "a key in double quotes is missing; found }")},
	    {"[1,]", BAD("line 1, column 4", "a value is missing; found ]")},
	    {"{a:1}", BAD("line 1, column 2",
			  "a key in double quotes or } is missing; found a")},
	    {"[tru,",
		BAD("line 1, column 2",
		    "a word that JSON does not know; text stands in double "
		    "quotes")},
	    {"{\"cpus\":1,\"cpus\":2}",
		BAD("line 1, column 11", "the key \"cpus\" is there twice")},
	    {"{\"a\":1,\"\\u0061\"",
		BAD("line 1, column 8", "the key \"a\" is there twice")},
	    {"{\"a\":1,\"a\":{\"b\":1,\"b\":2}}",
		BAD("line 1, column 8", "the key \"a\" is there twice")},
	    {"{\"a\":{\"b\":1},\"b\":{\"a\":1}}", JSON_COMPLETE, ""},
	    {"[1e999]", BAD("line 1, column 2", "a number that is too large")},
	    {"[1e999", BAD("line 1, column 2", "a number that is too large")},
	    {"[9223372036854775808]",
		BAD("line 1, column 2", "a whole number beyond 64 bits")},
	    {"[-9223372036854775809]",
		BAD("line 1, column 2", "a whole number beyond 64 bits")},
	    {"[01]", BAD("line 1, column 2", "a number with a leading zero")},
	    {"[-x]", BAD("line 1, column 3", "a digit is missing after \"-\"")},
	    {"[1.]", BAD("line 1, column 4", "a digit is missing after \".\"")},
	    {"\"\\ud83dx",
		BAD("line 1, column 2",
		    "half of a surrogate pair; the second half (\\uDC00 to "
		    "\\uDFFF) must follow")},
	    {"\"\\ud83d\\u00",
		BAD("line 1, column 2",
		    "half of a surrogate pair; the second half (\\uDC00 to "
		    "\\uDFFF) must follow")},
	    {"\"\\udc",
		BAD("line 1, column 2",
		    "the second half of a surrogate pair without the first")},
	    {"\"\\u0000",
		BAD("line 1, column 2", "\\u0000 (NUL) is not allowed")},
	    {"\"\\x41",
		BAD("line 1, column 2",
		    "unknown escape in a string; a backslash is written "
		    "\\\\")},
	    {"\"a\nb\"",
		BAD("line 1, column 3",
		    "a string ends before its line does: a \" is missing, or "
		    "\\n is meant")},
	    {"\"a\tb\"",
		BAD("line 1, column 3",
		    "control character 0x09 in a string: write \\u0009")},
	    {"\"\xff", BAD("line 1, column 2", "byte 0xff is not UTF-8")},
	    {"\"\xed\xa0", BAD("line 1, column 2", "byte 0xed is not UTF-8")},
	    {"\"\xc3\xa9\xc0",
		BAD("line 1, column 3", "byte 0xc0 is not UTF-8")},
	    {"\xef\xbb\xbf{}",
		BAD("line 1, column 1",
		    "a byte order mark; write the text without one")},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = ERR_INIT;
		enum json_state s = state_of(rows[i].text, &err);
		CHECK_INT(s, rows[i].state);
		CHECK_STR(err.text, rows[i].sentence);
		if (s != rows[i].state)
			printf("# text: %s\n", rows[i].text);
	}
}

static void nul_bytes_are_refused(void)
{
	struct err err = ERR_INIT;

	CHECK_INT(spec_json_state("{\"a\":\0", 6, &err), JSON_BROKEN);
	CHECK_STR(err.text, "line 1, column 6: a NUL byte");
	CHECK_INT(spec_json_state("\"\0", 2, &err), JSON_BROKEN);
	CHECK_STR(err.text, "line 1, column 2: a NUL byte");
	CHECK_INT(spec_json_state("{}\0", 3, &err), JSON_BROKEN);
	CHECK_INT(spec_json_state("\0", 1, &err), JSON_BROKEN);
}

/* Every prefix of a document can still become one. */
static void prefixes_are_never_broken(void)
{
	static const char *const docs[] = {
	    "{\"memory\":\"512M\",\"nics\":{\"lan\":{\"address\":null}},"
	    "\"cpus\":12,\"x\":[-1.5e+10,0.25,true,false,[],{}]}",
	    "{\n\t\"k\\u00e9\\ud83d\\ude00\\n\": \"\xc3\xa9\xe2\x82\xac"
	    "\xf0\x9f\x98\x80\"\n}\n",
	    "[1e308,1e-400,9223372036854775807,-0,0.0]",
	    "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\ufffd\"",
	    "null",
	};

	for (size_t i = 0; i < ARRAY_SIZE(docs); i++) {
		size_t len = strlen(docs[i]);
		for (size_t n = 0; n <= len; n++) {
			struct err err = ERR_INIT;
			/* A copy of its own: reads beyond it are found. */
			char *part = xmalloc(n + 1);
			memcpy(part, docs[i], n);
			enum json_state s = spec_json_state(part, n, &err);
			CHECK(s != JSON_BROKEN);
			if (s == JSON_BROKEN)
				printf("# %.*s: %s\n", (int)n, part, err.text);
			if (n == len)
				CHECK_INT(s, JSON_COMPLETE);
			free(part);
		}
	}
}

static void fill(struct buf *b, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		buf_puts(b, s);
}

static void depth_has_a_limit(void)
{
	struct err err = ERR_INIT;
	_cleanup_buf_ struct buf b = {0};

	fill(&b, "[", SPEC_DEPTH_MAX);
	fill(&b, "]", SPEC_DEPTH_MAX);
	CHECK_INT(spec_json_state(b.data, b.len, &err), JSON_COMPLETE);
	buf_clear(&b);
	fill(&b, "{\"a\":", SPEC_DEPTH_MAX);
	buf_putc(&b, '[');
	CHECK_INT(spec_json_state(b.data, b.len, &err), JSON_BROKEN);
	CHECK_STR(err.text, "line 1, column 161: nested deeper than 32");
	buf_clear(&b);
	fill(&b, "[", 20000);
	CHECK_INT(spec_json_state(b.data, b.len, &err), JSON_BROKEN);
	CHECK_STR(err.text, "line 1, column 33: nested deeper than 32");
}

static void size_has_a_limit(void)
{
	struct node_spec *s = NULL;
	struct err err = ERR_INIT;
	_cleanup_buf_ struct buf b = {0};

	buf_puts(&b, "{");
	fill(&b, " ", SPEC_MAX - 2);
	buf_puts(&b, "}");
	CHECK_INT(node_spec_parse(NULL, b.data, &s, &err), 0);
	node_spec_free(s);
	s = NULL;
	buf_puts(&b, " ");
	CHECK_INT(node_spec_parse(NULL, b.data, &s, &err), -EFBIG);
	CHECK_STR(
	    err.text, "the document has 1048577 bytes, the maximum is 1048576");
	CHECK(!s);
}

/* Sixty thousand keys, alike to their end: sorted, not searched. */
static void many_keys_are_fast(void)
{
	_cleanup_buf_ struct buf b = {0};
	uint64_t start = now_mono();

	buf_putc(&b, '{');
	for (unsigned i = 0; i < 60000; i++)
		buf_printf(&b, "\"key%08u\":1,", i);
	buf_puts(&b, "\"key00000000\":2");
	struct err err = ERR_INIT;
	CHECK_INT(spec_json_state(b.data, b.len, &err), JSON_BROKEN);
	CHECK(strstr(err.text, "the key \"key00000000\" is there twice"));
	CHECK(now_mono() - start < 20 * USEC_PER_SEC);
}

/* --- merge patches ----------------------------------------------------- */

/* RFC 7396, appendix A. */
static void patches_merge_as_the_rfc_says(void)
{
	static const char *const rows[][3] = {
	    {"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
	    {"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
	    {"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
	    {"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
	    {"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
	    {"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"},
	    {"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}",
		"{\"a\":{\"b\":\"d\"}}"},
	    {"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
	    {"[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]"},
	    {"{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]"},
	    {"{\"a\":\"foo\"}", "null", "null"},
	    {"{\"a\":\"foo\"}", "\"bar\"", "\"bar\""},
	    {"{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}"},
	    {"[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}"},
	    {"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_buf_ struct buf got = {0};
		struct err err = ERR_INIT;
		CHECK_INT(spec_merge(rows[i][0], rows[i][1], &got, &err), 0);
		CHECK(spec_same(buf_str(&got), rows[i][2]));
	}
}

static void patched_documents_keep_their_shape(void)
{
	_cleanup_buf_ struct buf got = {0};
	struct err err = ERR_INIT;

	CHECK_INT(spec_merge("{\"z\":1,\"a\":{\"y\":\"\xc3\xa9\"},\"m\":[]}",
		      "{\"a\":{\"b\":true},\"z\":2}", &got, &err),
	    0);
	CHECK_STR(buf_str(&got),
	    "{\n  \"z\": 2,\n  \"a\": {\n    \"y\": \"\xc3\xa9\",\n"
	    "    \"b\": true\n  },\n  \"m\": []\n}\n");
	CHECK_INT(spec_merge("{}", "{", &got, &err), -EINVAL);
	CHECK_STR(err.text, "line 1, column 1: the document is cut off");
	CHECK_INT(spec_merge("{}", " ", &got, &err), -EINVAL);
}

static void a_patched_document_has_a_limit(void)
{
	_cleanup_buf_ struct buf a = {0}, b = {0}, got = {0};
	struct err err = ERR_INIT;

	buf_puts(&a, "{\"a\":\"");
	fill(&a, "x", SPEC_MAX / 2);
	buf_puts(&a, "\"}");
	buf_puts(&b, "{\"b\":\"");
	fill(&b, "x", SPEC_MAX / 2);
	buf_puts(&b, "\"}");
	CHECK_INT(spec_merge(a.data, b.data, &got, &err), -EFBIG);
	CHECK_INT(got.len, 0);
}

static void sections_are_read_and_replaced(void)
{
	_cleanup_buf_ struct buf got = {0};
	struct err err = ERR_INIT;

	CHECK_INT(spec_section_get(
		      "{\"disk\":{\"size\":\"1G\"}}", "disk", &got, &err),
	    0);
	CHECK_STR(buf_str(&got), "{\n  \"size\": \"1G\"\n}\n");
	buf_clear(&got);
	CHECK_INT(spec_section_get("{}", "disk", &got, &err), 0);
	CHECK_STR(buf_str(&got), "null\n");
	buf_clear(&got);
	CHECK_INT(spec_section_set("{\"a\":1,\"disk\":2,\"b\":3}", "disk",
		      "{\"size\":\"2G\"}", &got, &err),
	    0);
	CHECK_STR(buf_str(&got),
	    "{\n  \"a\": 1,\n  \"disk\": {\n    \"size\": \"2G\"\n  },\n"
	    "  \"b\": 3\n}\n");
	buf_clear(&got);
	CHECK_INT(spec_section_set(
		      "{\"a\":1,\"disk\":2}", "disk", "null\n", &got, &err),
	    0);
	CHECK(spec_same(buf_str(&got), "{\"a\":1}"));
	CHECK_INT(spec_section_set("{}", "disk", "{", &got, &err), -EINVAL);
	CHECK_INT(spec_section_get("[]", "disk", &got, &err), -EINVAL);
	CHECK_STR(err.text,
	    "the document: found a list, wanted an object, for example {}");
}

static void same_values_are_the_same(void)
{
	CHECK(spec_same("{\"a\":1,\"b\":[1,2]}", " {\"b\":[1,2],\n\"a\":1}"));
	CHECK(!spec_same("{\"a\":1}", "{\"a\":\"1\"}"));
	CHECK(!spec_same("{\"a\":[1,2]}", "{\"a\":[2,1]}"));
	CHECK(!spec_same("{", "{}"));
	CHECK(spec_same("null", "null\n"));
}

static const struct test_case cases[] = {
    CASE(texts_are_what_they_are),
    CASE(nul_bytes_are_refused),
    CASE(prefixes_are_never_broken),
    CASE(depth_has_a_limit),
    CASE(size_has_a_limit),
    CASE(many_keys_are_fast),
    CASE(patches_merge_as_the_rfc_says),
    CASE(patched_documents_keep_their_shape),
    CASE(a_patched_document_has_a_limit),
    CASE(sections_are_read_and_replaced),
    CASE(same_values_are_the_same),
};
TEST_MAIN(cases)
