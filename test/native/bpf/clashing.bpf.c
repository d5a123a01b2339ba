/* SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0) */
/* For tests of the addon: its map `shared` is not the one of the others. */
#include "kernel.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, __u64);
} shared SEC(".maps");

SEC("syscall")
int clash(void *context)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&shared, &key) ? 1 : 0;
}
