// SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0)
/* Wrong on purpose: the index into the value of a map is not bounded, so that the verifier refuses it. */
#include "../../bpf/kernel.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct few {
	__u64 numbers[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct few);
} fewest SEC(".maps");

SEC("tp_btf/sys_enter")
int BPF_PROG(beyond_bounds, struct pt_regs *regs, long id)
{
	__u32 zero = 0;
	struct few *few = bpf_map_lookup_elem(&fewest, &zero);

	return few ? (int)few->numbers[(__u32)id] : 0;
}
