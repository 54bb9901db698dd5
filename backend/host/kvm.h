/* SPDX-License-Identifier: Apache-2.0
 *
 * Does KVM work here?  /dev/kvm may exist and not work, so a boot sector is
 * run with the real machine type and CPU: exit status 85 within 2 s means yes.
 */
#ifndef RACKFS_KVM_H
#define RACKFS_KVM_H

#include "err.h"
#include "loop.h"

struct kvm_probe;

/* done once: usable, or why not (a sentence).  `dir`: for the floppy file. */
int kvm_probe_new(struct loop *l, const char *dir,
    void (*done)(bool usable, const char *why, void *userdata), void *userdata,
    struct kvm_probe **ret, struct err *err);
void kvm_probe_free(struct kvm_probe *p);

#endif
