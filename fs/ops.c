// SPDX-License-Identifier: Apache-2.0
/*
 * Requests about names and attributes, and who may do what.  It knows no file
 * by name: files.c says what there is.  Only ops*.c and park.c turn codes into
 * answers, once for each request.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>
#include "fs/memory.h"
#include "fs/ops.h"
#include "fs/scratch.h"
#include "fs/tombstone.h"
#include "fs/transaction.h"
#include "fs/wake.h"

#define BLOCK 4096

struct session *ops_session(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* --- requests that the cluster answers --- */

struct request *request_new(fuse_req_t req, const struct named *n)
{
	struct request *q = xcalloc(1, sizeof(*q));
	struct session *s = ops_session(req);

	q->session = s;
	q->req = req;
	q->file = n->file;
	q->inode = named_number(n);
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
	session_rest(q->session);
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

/* --- who may --- */

int ops_allowed(fuse_req_t req, const struct named *n, int mask)
{
	const struct fuse_ctx *who = fuse_req_ctx(req);
	const struct session *s = ops_session(req);
	mode_t mode = n->scratch ? n->scratch->attr.mode : n->file->mode;
	uid_t uid = n->scratch ? n->scratch->attr.uid : s->uid;
	gid_t gid = n->scratch ? n->scratch->attr.gid : s->gid;
	unsigned bits = mode & 7;

	/* As in sysfs: what nobody can write, root can't either. */
	if ((mask & W_OK) && !n->scratch && !(mode & 0222))
		return -EACCES;
	if ((mask & X_OK) && !(mode & 0111))
		return -EACCES;
	if (who->uid == 0)
		return 0;
	if (who->uid == uid)
		bits = mode >> 6 & 7;
	else if (who->gid == gid)
		bits = mode >> 3 & 7;
	return (mask & ~bits & 7) ? -EACCES : 0;
}

bool ops_is_owner(fuse_req_t req)
{
	const struct fuse_ctx *who = fuse_req_ctx(req);

	return who->uid == 0 || who->uid == ops_session(req)->uid;
}

int ops_named(struct session *s, uint64_t number, struct named *ret)
{
	struct scratch *scratch = scratch_get(s->scratches, number);

	if (!scratch)
		return inode_resolve(s->cluster, number, ret);
	*ret = (struct named){.file = &scratch_file, .scratch = scratch};
	return 0;
}

int ops_resolve(fuse_req_t req, fuse_ino_t ino, struct named *ret)
{
	return ops_named(ops_session(req), ino, ret);
}

/* A directory in which the caller may do this. */
int ops_directory(fuse_req_t req, fuse_ino_t ino, int mask, struct named *ret)
{
	int r = ops_resolve(req, ino, ret);

	if (r == 0 && ret->file->kind != FILE_DIRECTORY)
		r = -ENOTDIR;
	return r == 0 ? ops_allowed(req, ret, mask) : r;
}

/* --- attributes --- */

static uint64_t mtime_of(const struct session *s, const struct named *n)
{
	const struct file *each =
	    n->file->kind == FILE_DIRECTORY ? file_each(n->file->leads) : NULL;
	uint64_t usec = 0;

	if (each)
		usec = s->listed[each->each];
	else if (n->file->kind == FILE_DIRECTORY)
		usec = scratch_changed(s->scratches, named_number(n));
	else if (n->file->aspects)
		usec = object_mtime(n->object, n->file->aspects);
	return usec ? usec : s->started;
}

static void attr_of(struct session *s, const struct named *n,
    struct inode *inode, struct stat *ret)
{
	uint64_t usec;

	if (n->scratch) {
		scratch_stat(n->scratch, ret);
		return;
	}
	usec = mtime_of(s, n);
	*ret = (struct stat){
	    .st_ino = inode_number(n->file, n->object),
	    .st_mode = n->file->mode,
	    .st_nlink = 1,
	    .st_uid = s->uid,
	    .st_gid = s->gid,
	    .st_blksize = BLOCK,
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
	attr_of(s, n, inode_find(s->inodes, named_number(n)), ret);
}

/* A document that is being written, by a process or (0) by any. */
static struct handle *pending_of(struct session *s, uint64_t number, pid_t pid)
{
	struct inode *i = inode_find(s->inodes, number);

	for (struct handle *h = i ? i->handles : NULL; h; h = h->next) {
		if (h->transaction && transaction_pending(h->transaction) &&
		    (!pid || h->opener == pid))
			return h;
	}
	return NULL;
}

/* How long the kernel may believe what all see of it. */
static double attr_timeout(struct session *s, const struct named *n)
{
	if (n->file->timed || pending_of(s, named_number(n), 0))
		return 0;
	return OPS_FOR_EVER;
}

/* Who writes a document sees what is written so far (git keeps what fstat(2)
 * says before close(2), to know later whether the file has changed); a reader
 * the size of what it reads; all others see what is in force.  The kernel has
 * one set of attributes for all of them, and must not keep another's. */
void ops_reply_attr(fuse_req_t req, const struct named *n, struct handle *h)
{
	struct session *s = ops_session(req);
	uint64_t number = named_number(n);
	double timeout = attr_timeout(s, n);
	struct stat st;
	off_t size;

	ops_attr(s, n, &st);
	if (!h)
		h = pending_of(s, number, fuse_req_ctx(req)->pid);
	size = h ? (off_t)handle_size(h) : st.st_size;
	if (size != st.st_size)
		timeout = 0;
	st.st_size = size;
	if (h && h->transaction && transaction_pending(h->transaction)) {
		clock_gettime(CLOCK_REALTIME, &st.st_mtim);
		st.st_ctim = st.st_mtim;
	}
	fuse_reply_attr(req, &st, timeout);
}

static void op_getattr(
    fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct inode *i = inode_find(ops_session(req)->inodes, ino);
	struct named n;
	int r = ops_resolve(req, ino, &n);
	bool file = r == 0 && n.file->kind != FILE_DIRECTORY;

	if (i)
		i->arrived = true;
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		ops_reply_attr(req, &n,
		    fi && file ? handle_find(ops_session(req), fi->fh) : NULL);
}

static void op_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
	struct named n;
	int r = ops_resolve(req, ino, &n);

	if (r == 0)
		r = ops_allowed(req, &n, mask);
	fuse_reply_err(req, -r);
}

/* The room that temporary files have: all that anyone can fill. */
static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	size_t used = kept_used(ops_session(req)->kept, KEPT_SCRATCH);
	fsblkcnt_t room = (KEPT_TEXT_LIMIT - used) / BLOCK;
	struct statvfs st = {.f_bsize = BLOCK,
	    .f_frsize = BLOCK,
	    .f_blocks = KEPT_TEXT_LIMIT / BLOCK,
	    .f_bfree = room,
	    .f_bavail = room,
	    .f_namemax = SCRATCH_NAME_MAX,
	    .f_flag = ST_NOSUID | ST_NODEV};

	fuse_reply_statfs(req, &st);
}

/* --- names --- */

int ops_child(struct session *s, const struct named *parent, const char *name,
    struct named *ret)
{
	const struct file *each = file_each(parent->file->leads);

	*ret = (struct named){.file = file_by_name(parent->file->leads, name),
	    .object = parent->object};
	if (ret->file && tombstone_covers(s->tombstones, named_number(ret)))
		return -ENOENT;
	if (!ret->file && each) {
		ret->file = each;
		ret->object = cluster_find(s->cluster, each->each, name);
	}
	if (ret->file)
		return ret->object ? 0 : -ENOENT;
	ret->scratch = scratch_find(s->scratches, named_number(parent), name);
	ret->file = &scratch_file;
	ret->object = NULL;
	return ret->scratch ? 0 : -ENOENT;
}

/* Makes the inode when `count` says that the kernel will know it. */
void ops_entry(struct session *s, const struct named *n, bool count,
    struct fuse_entry_param *ret)
{
	uint64_t number = named_number(n);
	struct inode *i = inode_find(s->inodes, number);

	if (count) {
		i = inode_get(s->inodes, number);
		i->lookups++;
	}
	*ret = (struct fuse_entry_param){.ino = number,
	    .generation = 1,
	    /* An inode that is not there yet can't be told of a change. */
	    .attr_timeout = i && i->arrived ? attr_timeout(s, n) : 0,
	    .entry_timeout = OPS_FOR_EVER};
	if (n->file->kind == FILE_DIRECTORY)
		ret->generation = memory_generation(s->memory, number);
	/* These come and go by what is done elsewhere; and a rename moves a
	 * temporary file's name to the inode of a document, and the reverse,
	 * which the kernel can't know. */
	if ((!n->file->name && n->file->kind != FILE_DIRECTORY) ||
	    file_may_go(n->file))
		ret->entry_timeout = 0;
	attr_of(s, n, i, &ret->attr);
}

void ops_unlook(struct session *s, uint64_t number, uint64_t n)
{
	struct inode *i = inode_find(s->inodes, number);

	if (!i)
		return;
	i->lookups -= MIN(n, i->lookups);
	i->arrived = false;
	inode_trim(s->inodes, i);
}

void ops_reply_entry(fuse_req_t req, const struct named *n)
{
	struct session *s = ops_session(req);
	struct fuse_entry_param e;

	ops_entry(s, n, true, &e);
	if (fuse_reply_entry(req, &e) < 0)
		ops_unlook(s, e.ino, 1); /* the caller went away */
}

bool ops_is_herald(fuse_req_t req)
{
	return wake_is_herald(ops_session(req)->wake, fuse_req_ctx(req)->pid);
}

void ops_reply_ghost(
    fuse_req_t req, const struct named *directory, const char *name)
{
	struct session *s = ops_session(req);
	struct fuse_entry_param e = {.generation = 1};
	struct wake_ghost g;
	bool dir;

	if (!wake_expects(s->wake, named_number(directory), name, &g)) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	dir = g.file->kind == FILE_DIRECTORY;
	e.ino = e.attr.st_ino = g.inode;
	e.attr.st_nlink = dir ? 2 : 1;
	e.attr.st_mode = g.file->mode | (dir ? S_IFDIR : S_IFREG);
	inode_get(s->inodes, e.ino)->lookups++;
	if (fuse_reply_entry(req, &e) < 0)
		ops_unlook(s, e.ino, 1);
}

/* To the herald, what has come is not there yet, and what went still is: only
 * then does the kernel let it make or remove a name.  false: no such name. */
static bool lookup_herald(
    fuse_req_t req, const struct named *dir, const char *name)
{
	struct wake_ghost g;

	if (!ops_is_herald(req) ||
	    !wake_expects(ops_session(req)->wake, named_number(dir), name, &g))
		return false;
	if (g.appeared)
		fuse_reply_err(req, ENOENT);
	else
		ops_reply_ghost(req, dir, name);
	return true;
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct named dir, n;
	int r = ops_directory(req, parent, X_OK, &dir);

	if (r == 0 && lookup_herald(req, &dir, name))
		return;
	if (r >= 0)
		r = ops_child(ops_session(req), &dir, name, &n);
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		ops_reply_entry(req, &n);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	ops_unlook(ops_session(req), ino, n);
	fuse_reply_none(req);
}

static void op_forget_multi(
    fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		ops_unlook(
		    ops_session(req), forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
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
    .readlink = op_readlink,
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
