/* SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0) */
/* For tests of the addon: has a map that counting.bpf.c has too. */
#include "kernel.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, __u64);
} shared SEC(".maps");

struct key_and_value {
	__u64 key;
	__u64 value;
};

SEC("syscall")
int put(struct key_and_value *given)
{
	__u64 key = given->key;
	__u64 value = given->value;

	return bpf_map_update_elem(&shared, &key, &value, BPF_ANY) == 0 ? 7 : 8;
}
