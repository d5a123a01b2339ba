/* SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0) */
/*
 * What is observed: the settings that the agent writes, and the map of what to watch and what to leave alone. The agent's own process is
 * never observed, or it would observe itself observing.
 */
#ifndef HEADWATER_SCOPE_H
#define HEADWATER_SCOPE_H

#include "kernel.h"
#include "event.h"

/* One per object, in a section of its own: the loader finds it as the map `.data.settings`. All zero (level 0: nothing) until written. */
struct hw_settings hw_settings SEC(".data.settings") = {};

/* enum hw_scope by cgroup v2 id, or by HW_SCOPE_TGID | tgid. Written by the agent only. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, __u32);
} scope SEC(".maps");

/* Whether a process of this cgroup is observed. A row of the process wins over a row of its cgroup. */
static __always_inline bool hw_in_scope(__u64 cgroup, __u32 tgid)
{
	__u64 key = HW_SCOPE_TGID | tgid;
	__u32 *row;

	if (tgid == hw_settings.self_tgid)
		return false;
	row = bpf_map_lookup_elem(&scope, &key);
	if (!row)
		row = bpf_map_lookup_elem(&scope, &cgroup);
	if (row)
		return *row == HW_SCOPE_WATCH;
	return hw_settings.scope_watch_only == 0;
}

#endif
