/* SPDX-License-Identifier: Apache-2.0
 *
 * Prints the manual page rackfs-spec(5), in the format of man(7), from the
 * table of keys.
 */
#include <stdio.h>

#include "spec.h"

/* Text in which roff(7) reads no command of its own. */
static void text(const char *s)
{
	for (; *s; s++) {
		if (*s == '\\')
			fputs("\\e", stdout);
		else if (*s == '-')
			fputs("\\-", stdout);
		else if (*s == '\'')
			fputs("\\(aq", stdout);
		else if (*s == '"')
			fputs("\\(dq", stdout);
		else
			putchar(*s);
	}
}

static void paragraph(const char *s)
{
	puts(".PP");
	text(s);
	putchar('\n');
}

static void on_key(const struct spec_key_doc *key, void *userdata)
{
	puts(".TP");
	fputs("\\fB", stdout);
	text(key->path);
	fputs("\\fR: ", stdout);
	text(key->type);
	putchar('\n');
	text(key->help);
	putchar('\n');
	if (*key->fallback || *key->limits)
		puts(".br");
	if (*key->fallback) {
		fputs("Default: ", stdout);
		text(key->fallback);
		puts(".");
	}
	if (*key->limits) {
		fputs("Limits: ", stdout);
		text(key->limits);
		puts(".");
	}
}

static void section(enum spec_kind kind, const char *title, const char *about)
{
	printf(".SH %s\n", title);
	text(about);
	putchar('\n');
	spec_each_key(kind, on_key, NULL);
}

static void head(void)
{
	puts(".\\\" SPDX-License-Identifier: Apache-2.0");
	puts(
	    ".\\\" Made by docs/gen/spec_page.c from the table of keys: change "
	    "that, then make docs.");
	puts(".TH RACKFS\\-SPEC 5 \"\" rackfs \"File formats\"");
	puts(".SH NAME");
	puts("rackfs\\-spec \\- what a cluster, its networks, images and nodes "
	     "are to be");
	puts(".SH DESCRIPTION");
	text("A spec is one JSON object (RFC 8259) of at most 1 MiB and 32 "
	     "levels. Every key may be left out unless it says required; the "
	     "spec of a new object is {}. An unknown key is refused, and so "
	     "are duplicate keys. Writing with > replaces a spec; with >> it "
	     "is patched as a JSON merge patch (RFC 7396), where null removes "
	     "a key.");
	putchar('\n');
	paragraph(
	    "Sizes are a whole number and one of K, M, G, T (binary), for "
	    "example \"512M\". Durations are a whole number and one of "
	    "ms, s, m, h, for example \"30s\". Names are host names: "
	    "small letters, digits and -, at most 63. Paths of the host "
	    "are absolute, or begin where rackfs was started.");
	paragraph(
	    "In the paths below <nic> and <name> stand for the name of an "
	    "entry, [] for an entry of a list. In a node's spec null "
	    "takes back what the cluster's defaults say.");
}

int main(void)
{
	head();
	section(SPEC_NODE, "NODE", "The file nodes/<node>/spec.");
	section(SPEC_NETWORK, "NETWORK", "The file networks/<network>/spec.");
	section(SPEC_IMAGE, "IMAGE", "The file images/<image>/spec.");
	section(SPEC_CLUSTER, "CLUSTER", "The file spec in the mount point.");
	puts(".SH SEE ALSO");
	puts(".BR rackfs (8)");
	return ferror(stdout) ? 1 : 0;
}
