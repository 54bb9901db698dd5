/* SPDX-License-Identifier: Apache-2.0
 *
 * Is a volume blank, ours or somebody else's?  Ours is one whose file system
 * has the planned uuid.  Its claim (disk_layout.h) says that mkfs has not
 * ended: then it is made again, since nobody has used it.  Everything else that
 * is not blank is never written to.  Called by disk_judge().
 */
#include <stdio.h>
#include <strings.h>

#include "drivers/disk_layout.h"

struct judge {
	const struct disk_layout *l;
	const struct disk_facts *f;
	struct disk_verdict *v;
	size_t part;
	const struct volume_facts *volume;
	struct buf holds;
	bool note; /* `holds` is worth telling although it is ours */
};

static bool claimed(const struct judge *j)
{
	const struct layout_part *p = &j->l->parts[j->part];
	char claim[CLAIM_MAX];

	disk_layout_claim(p, claim);
	return p->uuid[0] && STREQ(j->volume->claim, claim);
}

static void put_content(struct judge *j)
{
	const struct disk_signature *s = &j->volume->signature;

	if (s->type[0] || s->status == 8)
		disk_judge_put(&j->holds, s);
	else if (s->table[0])
		buf_printf(&j->holds, "a %s partition table", s->table);
	else
		buf_puts(&j->holds, "data in no format that is known");
}

static bool same_label(
    const struct partition_spec *spec, const struct disk_signature *s)
{
	const char *want = spec->label ? spec->label : "";

	return spec->filesystem == FS_VFAT ? strcasecmp(want, s->label) == 0
					   : STREQ(want, s->label);
}

static enum disk_content judge_ours(struct judge *j)
{
	const struct partition_spec *spec = j->l->parts[j->part].spec;
	const struct volume_facts *volume = j->volume;

	put_content(j);
	if (!same_label(spec, &volume->signature)) {
		buf_printf(&j->holds, ", labelled otherwise than \"%s\"",
		    spec->label ? spec->label : "");
		j->note = true;
	}
	if (spec->filesystem != FS_EXT4 || !volume->fs_bytes ||
	    volume->sectors * SECTOR < volume->fs_bytes + EXT4_SLACK)
		return DISK_OURS;
	j->note = true;
	if (disk_facts_lack(j->f, "resize2fs")) {
		buf_puts(&j->holds,
		    ", which could grow, but the guest has no resize2fs");
		return DISK_OURS;
	}
	buf_puts(&j->holds, ", which can grow");
	j->v->grow_fs[j->part] = true;
	return DISK_OURS_GROWN;
}

static enum disk_content judge_volume(struct judge *j)
{
	const struct layout_part *p = &j->l->parts[j->part];
	const struct volume_facts *volume = j->volume;
	const struct disk_signature *s = &volume->signature;
	_cleanup_free_ char *dev = disk_facts_device(j->f, j->l, j->part);

	if (p->spec->filesystem == FS_NONE) {
		buf_puts(&j->holds, "what is left to its user");
		return DISK_OURS;
	}
	if (disk_facts_blind(j->f, s)) { /* and in use: disk_judge_able() */
		j->note = true;
		buf_printf(&j->holds, "what wasn't looked at: %s",
		    disk_facts_blind(j->f, s));
		return DISK_OURS;
	}
	if (claimed(j) && !disk_facts_in_use(j->f, dev)) {
		buf_puts(&j->holds, "half of a file system of ours");
		j->v->mkfs[j->part] = true;
		return DISK_OURS_PARTIAL;
	}
	if (s->status == 2 && volume->edges_zero) {
		buf_puts(&j->holds, "nothing: it is blank");
		j->v->mkfs[j->part] = true;
		return DISK_BLANK;
	}
	if (p->uuid[0] &&
	    STREQ(s->type, filesystem_name(p->spec->filesystem)) &&
	    strcasecmp(s->uuid, p->uuid) == 0)
		return judge_ours(j);
	put_content(j);
	return DISK_FOREIGN;
}

/* Among several, what is still to be done counts more than what is whole, and
 * what must not be touched counts most. */
static int rank(enum disk_content c)
{
	switch (c) {
	case DISK_OURS:
		return 0;
	case DISK_OURS_GROWN:
		return 1;
	case DISK_OURS_PARTIAL:
	case DISK_BLANK:
		return 2;
	case DISK_UNKNOWN:
		return 3;
	case DISK_OURS_OTHER:
		return 4;
	case DISK_FOREIGN:
	case DISK_CONTENTS:
		break;
	}
	return 5;
}

enum disk_content disk_content_join(enum disk_content a, enum disk_content b)
{
	if (a == b)
		return a;
	if (MAX(rank(a), rank(b)) == rank(DISK_BLANK))
		return DISK_OURS_PARTIAL;
	return rank(a) > rank(b) ? a : b;
}

/* Adds what was judged of one volume. */
static void join(struct judge *j, enum disk_content c, bool first)
{
	struct disk_verdict *v = j->v;
	const char *name = j->l->parts[j->part].spec->name;
	_cleanup_buf_ struct buf found = {0};

	if (first || rank(c) > rank(v->content)) {
		snprintf(v->where, sizeof(v->where), "volume %s (/dev/%s)",
		    name, j->volume->dev);
		snprintf(v->holds, sizeof(v->holds), "%s", buf_str(&j->holds));
	}
	v->content = first ? c : disk_content_join(v->content, c);
	if (c == DISK_OURS && !j->note && j->l->disk)
		return;
	buf_printf(&found, "%s%svolume %s: %s", v->found,
	    v->found[0] ? "; " : "", name, buf_str(&j->holds));
	snprintf(v->found, sizeof(v->found), "%s", buf_str(&found));
}

void disk_judge_volumes(const struct disk_layout *l, const struct disk_facts *f,
    struct disk_verdict *v)
{
	for (size_t i = 0; i < l->n_volumes; i++) {
		struct judge j = {.l = l,
		    .f = f,
		    .v = v,
		    .part = l->n + i,
		    .volume = &f->volumes[i]};
		enum disk_content c = judge_volume(&j);
		disk_judge_mount(l, f, j.part, v);
		join(&j, c, i == 0 && !l->disk);
		buf_done(&j.holds);
	}
}
