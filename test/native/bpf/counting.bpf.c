/* SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0) */
/* For tests of the addon: counts and tells system calls of one process, lists processes, walks a map; one of its programs is broken on purpose. */
#include "kernel.h"
#include "event.h"
#include "ring.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

HW_RING(data_ring, HW_DATA_RING_BYTES);

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, __u64);
} shared SEC(".maps");

/* Counts system calls of the process that the settings call `detail_tgid`, by number. */
SEC("tp_btf/sys_enter")
int BPF_PROG(count_calls, struct pt_regs *registers, long number)
{
	__u32 key = number;
	__u64 one = 1;
	__u64 *count;

	if (bpf_get_current_pid_tgid() >> 32 != hw_settings.detail_tgid)
		return 0;
	count = bpf_map_lookup_elem(&counts, &key);
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&counts, &key, &one, BPF_ANY);
	return 0;
}

/* Tells each end of a call as a record that holds nothing but its header. */
SEC("tp_btf/sys_exit")
int BPF_PROG(tell_calls, struct pt_regs *registers, long result)
{
	struct hw_header header = {};

	if (bpf_get_current_pid_tgid() >> 32 != hw_settings.detail_tgid)
		return 0;
	header.type = HW_SYSCALL;
	header.at_ns = bpf_ktime_get_ns();
	header.tgid = bpf_get_current_pid_tgid() >> 32;
	hw_submit(&data_ring, &header, sizeof(header), HW_LOSS_DATA_RING);
	return 0;
}

struct bpf_iter_meta___test {
	struct seq_file *seq;
} __attribute__((preserve_access_index));

struct bpf_iter__task___test {
	struct bpf_iter_meta___test *meta;
	struct task_struct *task;
} __attribute__((preserve_access_index));

/* Writes one word for each thread there is. */
SEC("iter/task")
int list_tasks(struct bpf_iter__task___test *context)
{
	struct seq_file *seq = context->meta->seq;
	__u64 word = 0x68656164;

	if (context->task)
		bpf_seq_write(seq, &word, sizeof(word));
	return 0;
}

struct bpf_iter__bpf_map_elem___test {
	struct bpf_iter_meta___test *meta;
	void *key;
	void *value;
} __attribute__((preserve_access_index));

/* Walks `shared`: each value becomes a count of its key. */
SEC("iter/bpf_map_elem")
int count_shared(struct bpf_iter__bpf_map_elem___test *context)
{
	__u64 *key = context->key;
	__u64 *value = context->value;
	__u64 count;
	__u32 number;

	if (!key || !value)
		return 0;
	number = *key;
	count = *value;
	bpf_map_update_elem(&counts, &number, &count, BPF_ANY);
	return 0;
}

/* The verifier refuses it: nothing bounds the index. */
SEC("tp_btf/sys_exit")
int BPF_PROG(broken, struct pt_regs *registers, long result)
{
	return hw_settings.detail_numbers[bpf_ktime_get_ns()];
}

/* There is no such tracepoint. */
SEC("tp_btf/headwater_is_not_a_tracepoint")
int BPF_PROG(nowhere, void *anything)
{
	return 0;
}
