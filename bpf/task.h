/* SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0) */
/* What a record says about the process that it is of. */
#ifndef HEADWATER_TASK_H
#define HEADWATER_TASK_H

#include "kernel.h"
#include "event.h"

/* Cgroup v2 id of a task that need not be the current one; `task` comes from the kernel with its type. */
static __always_inline __u64 hw_task_cgroup(struct task_struct *task)
{
	return task->cgroups->dfl_cgrp->kn->id;
}

/* Header of a record without a socket. `header` must be all zero. */
static __always_inline void hw_task_header(struct hw_header *header, struct task_struct *task, __u16 type, __u64 at_ns)
{
	header->type = type;
	header->version = HW_EVENT_VERSION;
	header->at_ns = at_ns;
	header->cgroup = hw_task_cgroup(task);
	header->tgid = task->tgid;
	header->tid = task->pid;
	header->netns = task->nsproxy->net_ns->ns.inum;
}

#endif
