// SPDX-License-Identifier: Apache-2.0
/*
 * Requests about names, attributes and directories, and who may do what.  It
 * knows no file by name: files.c says what there is.  Only ops*.c turn codes
 * into answers, once for each request.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "fs/ops.h"

static struct session *session_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* --- requests that the cluster answers --------------------------------------
 */

struct request *request_new(fuse_req_t req, const struct named *n)
{
	struct request *q = xcalloc(1, sizeof(*q));
	struct session *s = session_of(req);

	q->session = s;
	q->req = req;
	q->file = n->file;
	q->inode = inode_number(n->file, n->object);
	q->next = s->requests;
	q->previous = &s->requests;
	if (q->next)
		q->next->previous = &q->next;
	s->requests = q;
	return q;
}

fuse_req_t request_done(struct request *q)
{
	fuse_req_t req = q->req;

	*q->previous = q->next;
	if (q->next)
		q->next->previous = q->previous;
	free(q->name);
	free(q);
	return req;
}

void ops_abandon(struct session *s)
{
	while (s->requests)
		fuse_reply_err(request_done(s->requests), ENOTCONN);
}

void ops_tell(struct session *s, uint64_t inode, const char *file, int code,
    const struct err *err)
{
	struct named n;

	if (inode_resolve(s->cluster, inode, &n) < 0)
		return;
	if (code == 0)
		cluster_refused(n.object, file, NULL);
	else
		cluster_refused(n.object, file,
		    err && err->text[0] ? err->text : strerror(-code));
}

/* --- who may -----------------------------------------------------------------
 */

int ops_allowed(fuse_req_t req, const struct file *f, int mask)
{
	const struct fuse_ctx *who = fuse_req_ctx(req);
	const struct session *s = session_of(req);
	unsigned bits = f->mode & 7;

	/* As in sysfs: what nobody can write, root can't either. */
	if ((mask & W_OK) && !(f->mode & 0222))
		return -EACCES;
	if ((mask & X_OK) && !(f->mode & 0111))
		return -EACCES;
	if (who->uid == 0)
		return 0;
	if (who->uid == s->uid)
		bits = f->mode >> 6 & 7;
	else if (who->gid == s->gid)
		bits = f->mode >> 3 & 7;
	return (mask & ~bits & 7) ? -EACCES : 0;
}

int ops_resolve(fuse_req_t req, fuse_ino_t ino, struct named *ret)
{
	return inode_resolve(session_of(req)->cluster, ino, ret);
}

/* A directory in which the caller may do this. */
static int directory(
    fuse_req_t req, fuse_ino_t ino, int mask, struct named *ret)
{
	int r = ops_resolve(req, ino, ret);

	if (r == 0 && ret->file->kind != FILE_DIRECTORY)
		r = -ENOTDIR;
	return r == 0 ? ops_allowed(req, ret->file, mask) : r;
}

/* --- attributes --------------------------------------------------------------
 */

static uint64_t mtime_of(const struct session *s, const struct named *n)
{
	const struct file *each =
	    n->file->kind == FILE_DIRECTORY ? file_each(n->file->leads) : NULL;
	uint64_t usec = 0;

	if (each)
		usec = s->listed[each->each];
	else if (n->file->aspects)
		usec = object_mtime(n->object, n->file->aspects);
	return usec ? usec : s->started;
}

static void attr_of(struct session *s, const struct named *n,
    struct inode *inode, struct stat *ret)
{
	uint64_t usec = mtime_of(s, n);

	*ret = (struct stat){
	    .st_ino = inode_number(n->file, n->object),
	    .st_mode = n->file->mode,
	    .st_nlink = 1,
	    .st_uid = s->uid,
	    .st_gid = s->gid,
	    .st_blksize = 4096,
	    .st_mtim = {.tv_sec = (time_t)(usec / USEC_PER_SEC),
		.tv_nsec = (long)(usec % USEC_PER_SEC) * 1000},
	};
	ret->st_atim = ret->st_ctim = ret->st_mtim;
	if (n->file->kind == FILE_DIRECTORY) {
		ret->st_mode |= S_IFDIR;
		ret->st_nlink = 2;
		return;
	}
	ret->st_mode |= S_IFREG;
	ret->st_size = (off_t)file_size(s, n->file, n->object, inode);
	ret->st_blocks = (ret->st_size + 511) / 512;
}

void ops_attr(struct session *s, const struct named *n, struct stat *ret)
{
	attr_of(
	    s, n, inode_find(s->inodes, inode_number(n->file, n->object)), ret);
}

static void op_getattr(
    fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct session *s = session_of(req);
	struct handle *h = NULL;
	struct named n;
	struct stat st;
	int r = ops_resolve(req, ino, &n);

	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	ops_attr(s, &n, &st);
	if (fi && n.file->kind != FILE_DIRECTORY &&
	    (h = handle_find(s, fi->fh)))
		st.st_size = (off_t)handle_size(h);
	fuse_reply_attr(req, &st, OPS_FOR_EVER);
}

static void op_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
	struct named n;
	int r = ops_resolve(req, ino, &n);

	if (r == 0)
		r = ops_allowed(req, n.file, mask);
	fuse_reply_err(req, -r);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st = {.f_bsize = 4096,
	    .f_frsize = 4096,
	    .f_namemax = 255,
	    .f_flag = ST_NOSUID | ST_NODEV};

	fuse_reply_statfs(req, &st);
}

/* --- names
 * -------------------------------------------------------------------- */

static int child(struct session *s, const struct named *parent,
    const char *name, struct named *ret)
{
	const struct file *each = file_each(parent->file->leads);

	ret->file = file_by_name(parent->file->leads, name);
	ret->object = parent->object;
	if (!ret->file && each) {
		ret->file = each;
		ret->object = cluster_find(s->cluster, each->each, name);
	}
	return ret->file && ret->object ? 0 : -ENOENT;
}

/* Makes the inode when `count` says that the kernel will know it. */
static void entry_of(struct session *s, const struct named *n, bool count,
    struct fuse_entry_param *ret)
{
	uint64_t number = inode_number(n->file, n->object);
	struct inode *i = count ? inode_get(s->inodes, number)
				: inode_find(s->inodes, number);

	*ret = (struct fuse_entry_param){.ino = number,
	    .generation = i ? i->generation : 1,
	    .attr_timeout = OPS_FOR_EVER,
	    .entry_timeout = OPS_FOR_EVER};
	/* These come and go by what is done elsewhere. */
	if (!n->file->name && n->file->kind != FILE_DIRECTORY)
		ret->entry_timeout = 0;
	attr_of(s, n, i, &ret->attr);
	if (count)
		i->lookups++;
}

static void unlook(struct session *s, uint64_t number, uint64_t n)
{
	struct inode *i = inode_find(s->inodes, number);

	if (!i)
		return;
	i->lookups -= MIN(n, i->lookups);
	inode_trim(s->inodes, i);
}

static void reply_entry(fuse_req_t req, const struct named *n)
{
	struct session *s = session_of(req);
	struct fuse_entry_param e;

	entry_of(s, n, true, &e);
	if (fuse_reply_entry(req, &e) < 0)
		unlook(s, e.ino, 1); /* the caller went away */
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct named dir, n;
	int r = directory(req, parent, X_OK, &dir);

	if (r == 0)
		r = child(session_of(req), &dir, name, &n);
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		reply_entry(req, &n);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	unlook(session_of(req), ino, n);
	fuse_reply_none(req);
}

static void op_forget_multi(
    fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		unlook(session_of(req), forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

/* --- directories
 * ---------------------------------------------------------------- */

/* Offsets: 1 is after ".", 2 after "..", i + 3 after row i of the table,
 * EACH + number after an object: they stay right while objects come and go. */
#define EACH (1ULL << 32)

struct listing {
	fuse_req_t req;
	struct session *session;
	struct named dir;
	bool plus;
	char *data;
	size_t size, used;
	struct buf counted; /* inode numbers that the kernel will know */
};

/* false: it is full. */
static bool list_one(struct listing *l, const char *name, const struct named *n,
    bool dots, uint64_t next)
{
	struct fuse_entry_param e = {.attr.st_mode = S_IFDIR};
	size_t room = l->size - l->used, need;

	if (dots) {
		e.attr.st_ino = inode_number(n->file, n->object);
	} else if (l->plus) {
		entry_of(l->session, n, false, &e);
	} else {
		e.attr.st_ino = inode_number(n->file, n->object);
		if (n->file->kind != FILE_DIRECTORY)
			e.attr.st_mode = S_IFREG;
	}
	if (!l->plus) {
		need = fuse_add_direntry(l->req, l->data + l->used, room, name,
		    &e.attr, (off_t)next);
	} else {
		need = fuse_add_direntry_plus(
		    l->req, l->data + l->used, room, name, &e, (off_t)next);
	}
	if (need > room)
		return false;
	l->used += need;
	if (l->plus && !dots) {
		inode_get(l->session->inodes, e.ino)->lookups++;
		buf_append(&l->counted, &e.ino, sizeof(e.ino));
	}
	return true;
}

static bool list_rows(struct listing *l, uint64_t off)
{
	enum place place = l->dir.file->leads;
	struct named up = {.file = file_of_place(l->dir.file->place)};

	up.object = cluster_root(l->session->cluster);
	if (off < 1 && !list_one(l, ".", &l->dir, true, 1))
		return false;
	if (off < 2 && !list_one(l, "..", &up, true, 2))
		return false;
	for (size_t i = off < 3 ? 0 : off - 2; i < n_files; i++) {
		struct named n = {&files[i], l->dir.object};

		if (files[i].place == place && files[i].name &&
		    !list_one(l, files[i].name, &n, false, i + 3))
			return false;
	}
	return true;
}

static void list(struct listing *l, uint64_t off)
{
	const struct file *each = file_each(l->dir.file->leads);
	uint32_t number = off > EACH ? (uint32_t)(off - EACH) : 0;
	struct named n = {.file = each};

	if (off < EACH && !list_rows(l, off))
		return;
	if (!each)
		return;
	while ((
	    n.object = cluster_next(l->session->cluster, each->each, number))) {
		number = object_number(n.object);
		if (!list_one(
			l, object_name(n.object), &n, false, EACH + number))
			return;
	}
}

static void read_directory(
    fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
	struct listing l = {
	    .req = req, .session = session_of(req), .plus = plus, .size = size};
	_cleanup_free_ char *data = NULL;
	int r = directory(req, ino, 0, &l.dir);

	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	data = l.data = xmalloc(size);
	list(&l, (uint64_t)off);
	r = fuse_reply_buf(req, l.data, l.used);
	for (size_t i = 0; r < 0 && i < l.counted.len; i += sizeof(uint64_t)) {
		uint64_t number;

		memcpy(&number, l.counted.data + i, sizeof(number));
		unlook(l.session, number, 1);
	}
	buf_done(&l.counted);
}

static void op_opendir(
    fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct named n;
	int r = directory(req, ino, R_OK, &n);

	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_open(req, fi);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
    struct fuse_file_info *fi)
{
	read_directory(req, ino, size, off, false);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size,
    off_t off, struct fuse_file_info *fi)
{
	read_directory(req, ino, size, off, true);
}

/* --- objects come and go
 * ----------------------------------------------------------- */

/* In a place that holds one directory for each object, and only there. */
static int holder(fuse_req_t req, fuse_ino_t parent, struct named *ret)
{
	int r = directory(req, parent, W_OK | X_OK, ret);
	const struct file *each = r == 0 ? file_each(ret->file->leads) : NULL;

	if (r == 0 && (!each || each->kind != FILE_DIRECTORY))
		r = -EPERM;
	return r;
}

static void made(int code, const struct err *err, void *userdata)
{
	struct request *q = userdata;
	struct session *s = q->session;
	const struct file *each = file_each(q->file->leads);
	struct named n = {each, NULL};
	struct inode *i;

	ops_tell(s, q->inode, q->file->name, code, err);
	if (code == 0)
		n.object = cluster_find(s->cluster, each->each, q->name);
	if (!n.object) {
		fuse_reply_err(request_done(q), code < 0 ? -code : ENOENT);
		return;
	}
	/* Somebody is still in a removed directory of this number. */
	i = inode_find(s->inodes, inode_number(each, n.object));
	if (i && i->lookups)
		i->generation++;
	reply_entry(request_done(q), &n);
}

/* A file of each node must not get the name of another file of its place. */
static bool name_clashes(enum object_kind kind, const char *name)
{
	for (size_t i = 0; i < n_files; i++) {
		if (!files[i].name && files[i].each == kind &&
		    file_by_name(files[i].place, name))
			return true;
	}
	return false;
}

static struct request *about(
    fuse_req_t req, const struct named *dir, const char *name)
{
	struct request *q = request_new(req, dir);

	q->name = xstrdup(name);
	return q;
}

static void op_mkdir(
    fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct session *s = session_of(req);
	struct err err = ERR_INIT;
	struct named dir;
	enum object_kind kind;
	int r = holder(req, parent, &dir);

	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	kind = file_each(dir.file->leads)->each;
	if (name_clashes(kind, name)) {
		err_set(&err, -EINVAL,
		    "%s: no %s may have this name, another "
		    "file has it",
		    name, object_kind_name(kind));
		ops_tell(s, parent, dir.file->name, err.code, &err);
		fuse_reply_err(req, EINVAL);
		return;
	}
	cluster_make(s->cluster, kind, name, made, about(req, &dir, name));
}

static void removed(int code, const struct err *err, void *userdata)
{
	struct request *q = userdata;

	ops_tell(q->session, q->inode, q->file->name, code, err);
	fuse_reply_err(request_done(q), -code);
}

static void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct session *s = session_of(req);
	struct named dir, n;
	int r = directory(req, parent, W_OK | X_OK, &dir);

	if (r == 0)
		r = child(s, &dir, name, &n);
	if (r == 0 && n.file->kind != FILE_DIRECTORY)
		r = -ENOTDIR;
	if (r == 0 && n.file->name)
		r = -EPERM;
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		cluster_remove(s->cluster, n.file->each, name, removed,
		    about(req, &dir, name));
}

/* --- what belongs nowhere
 * ------------------------------------------------------------ */

static void refuse_in(fuse_req_t req, fuse_ino_t parent)
{
	struct named dir;
	int r = directory(req, parent, W_OK | X_OK, &dir);

	fuse_reply_err(req, r < 0 ? -r : EPERM);
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	refuse_in(req, parent);
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name,
    mode_t mode, dev_t device)
{
	refuse_in(req, parent);
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name,
    mode_t mode, struct fuse_file_info *fi)
{
	refuse_in(req, parent);
}

static void op_symlink(
    fuse_req_t req, const char *to, fuse_ino_t parent, const char *name)
{
	refuse_in(req, parent);
}

static void op_link(
    fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	refuse_in(req, parent);
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
    fuse_ino_t new_parent, const char *new_name, unsigned flags)
{
	refuse_in(req, parent);
}

/* Extended attributes, locks, ioctls and copy_file_range are left out: the
 * kernel answers them by itself then (EOPNOTSUPP, local locks, ENOTTY, read
 * and write). */
const struct fuse_lowlevel_ops ops_table = {
    .lookup = op_lookup,
    .forget = op_forget,
    .forget_multi = op_forget_multi,
    .getattr = op_getattr,
    .setattr = op_setattr,
    .access = op_access,
    .statfs = op_statfs,
    .opendir = op_opendir,
    .readdir = op_readdir,
    .readdirplus = op_readdirplus,
    .mkdir = op_mkdir,
    .rmdir = op_rmdir,
    .unlink = op_unlink,
    .mknod = op_mknod,
    .create = op_create,
    .symlink = op_symlink,
    .link = op_link,
    .rename = op_rename,
    .open = op_open,
    .read = op_read,
    .write = op_write,
    .flush = op_flush,
    .fsync = op_fsync,
    .release = op_release,
    .poll = op_poll,
};
