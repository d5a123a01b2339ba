// SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0)
/* Block devices: requests from the driver's start to their end, by device, cgroup and operation. */
#include "kernel.h"
#include "event.h"
#include "log2.h"
#include "scope.h"
#include "ring.h"
#include "task.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define HW_REQUEST_OPERATION_MASK 0xff
#define HW_REQUEST_READ 0
#define HW_REQUEST_WRITE 1

struct block_start {
	__u64 start_ns;
	__u64 cgroup;
	__u64 bytes;
	__u32 generation;
	__u32 unused;
};

/* Requests at the driver, by the address of their structure: as many as the queues of the host hold, which is what bounds it. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, __u64);
	__type(value, struct block_start);
} block_starts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct hw_block_key);
	__type(value, struct hw_block_value);
} blocks SEC(".maps");

static const struct hw_block_value no_block;

/* Who is charged: see the comment of `blocks` in event.h. Hierarchy 0 is cgroup v2. */
static __always_inline __u64 charged_cgroup(struct request *request)
{
	struct cgroup *cgroup = request->bio->bi_blkg->blkcg->css.cgroup;
	struct task_struct *task = bpf_get_current_task_btf();

	if (cgroup && cgroup->level > 0)
		return cgroup->root->hierarchy_id == 0 ? cgroup->kn->id : cgroup->kn->id | HW_BLOCK_V1;
	return task->flags & HW_PF_KTHREAD ? 0 : hw_task_cgroup(task);
}

SEC("tp_btf/block_rq_issue")
int BPF_PROG(block_issue, struct request *request)
{
	struct block_start start = {};
	__u64 key = (__u64)request;

	start.start_ns = bpf_ktime_get_ns();
	start.cgroup = charged_cgroup(request);
	start.generation = hw_settings.generation;
	if (bpf_map_update_elem(&block_starts, &key, &start, BPF_ANY) != 0)
		hw_lose(HW_LOSS_BLOCKS);
	return 0;
}

static __always_inline struct hw_block_value *value_of(struct hw_block_key *key)
{
	struct hw_block_value *value = bpf_map_lookup_elem(&blocks, key);

	if (value)
		return value;
	bpf_map_update_elem(&blocks, key, &no_block, BPF_NOEXIST);
	value = bpf_map_lookup_elem(&blocks, key);
	if (!value)
		hw_lose(HW_LOSS_BLOCKS);
	return value;
}

SEC("tp_btf/block_rq_complete")
int BPF_PROG(block_complete, struct request *request, __u8 error, unsigned int bytes)
{
	__u64 address = (__u64)request;
	struct block_start *start = bpf_map_lookup_elem(&block_starts, &address);
	struct gendisk *disk = request->q->disk;
	__u32 operation = request->cmd_flags & HW_REQUEST_OPERATION_MASK;
	struct hw_block_key key = {};
	struct hw_block_value *value;
	__u64 took;

	if (!start || start->generation != hw_settings.generation)
		goto done;
	start->bytes += bytes;
	/* A request may end in parts; the last one takes what is left. */
	if (error == 0 && bytes < request->__data_len)
		return 0;
	key.cgroup = start->cgroup;
	key.device = disk->major << 20 | disk->first_minor;
	key.operation = operation == HW_REQUEST_READ ? 0 : operation == HW_REQUEST_WRITE ? 1 : 2;
	value = value_of(&key);
	if (!value)
		goto done;
	took = bpf_ktime_get_ns() - start->start_ns;
	value->count += 1;
	value->bytes += start->bytes;
	value->sum_ns += took;
	value->buckets[hw_log2_bucket(took)] += 1;
	if (error != 0)
		value->errors += 1;
done:
	bpf_map_delete_elem(&block_starts, &address);
	return 0;
}
