// SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0)
/* Life and death of processes: exec with its arguments, fork, exit with code or signal, OOM kills. Threads are no processes. */
#include "kernel.h"
#include "event.h"
#include "scope.h"
#include "ring.h"
#include "task.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

HW_RING(lifecycle_ring, HW_LIFECYCLE_RING_BYTES);

#define HW_SIGNAL_GROUP_EXIT 4

/* Twice the text: the verifier takes a start below HW_TEXT_MAX and a length up to HW_TEXT_MAX for independent. */
struct exec_record {
	struct hw_process process;
	char text[2 * HW_TEXT_MAX];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct exec_record);
} exec_scratch SEC(".maps");

/* Processes whose end is on record: two last threads that end at once would both take themselves for the last one. */
struct exit_key {
	__u64 started_ns;
	__u64 tgid;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct exit_key);
	__type(value, __u8);
} exited SEC(".maps");

static __always_inline void fill(struct hw_process *record, struct task_struct *task, __u16 type)
{
	__builtin_memset(record, 0, sizeof(*record));
	hw_task_header(&record->header, task, type, bpf_ktime_get_ns());
	record->parent_tgid = task->real_parent->tgid;
	record->started_ns = task->group_leader->start_time;
	bpf_probe_read_kernel(record->command, sizeof(record->command), task->group_leader->comm);
}

/* File, NUL, then the arguments as they lie at the top of the new stack, separated by NUL. */
static __always_inline void read_exec_text(struct exec_record *record, struct task_struct *task, const char *filename)
{
	__u64 start = BPF_CORE_READ(task, mm, arg_start);
	__u64 there = BPF_CORE_READ(task, mm, arg_end) - start;
	__u32 wanted = there < HW_TEXT_MAX ? there : HW_TEXT_MAX;
	long file_length = bpf_probe_read_kernel_str(record->text, HW_TEXT_MAX, filename);
	__u32 offset = file_length > 0 ? file_length : 0;
	__u32 total;

	if (offset >= HW_TEXT_MAX) {
		record->process.header.flags |= HW_FLAG_TRUNCATED;
		record->process.header.tail_length = HW_TEXT_MAX;
		return;
	}
	if (bpf_probe_read_user(record->text + offset, wanted, (void *)start) != 0) {
		hw_lose(HW_LOSS_UNREADABLE);
		wanted = 0;
	}
	total = offset + wanted;
	if (total > HW_TEXT_MAX || there > HW_TEXT_MAX) {
		record->process.header.flags |= HW_FLAG_TRUNCATED;
		total = total < HW_TEXT_MAX ? total : HW_TEXT_MAX;
	}
	record->process.header.tail_length = total;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(process_exec, struct task_struct *task, int old_pid, struct linux_binprm *program)
{
	__u32 zero = 0;
	struct exec_record *record = bpf_map_lookup_elem(&exec_scratch, &zero);
	__u32 length;

	if (!record || !hw_in_scope(hw_task_cgroup(task), task->tgid))
		return 0;
	fill(&record->process, task, HW_EXEC);
	read_exec_text(record, task, program->filename);
	length = record->process.header.tail_length;
	if (length > HW_TEXT_MAX)
		return 0;
	hw_submit(&lifecycle_ring, record, sizeof(record->process) + length, HW_LOSS_LIFECYCLE_RING);
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(process_fork, struct task_struct *parent, struct task_struct *child)
{
	struct hw_process record;

	if (child->tgid != child->pid || !hw_in_scope(hw_task_cgroup(parent), parent->tgid))
		return 0;
	fill(&record, parent, HW_FORK);
	record.child_tgid = child->tgid;
	record.started_ns = child->start_time;
	hw_submit(&lifecycle_ring, &record, sizeof(record), HW_LOSS_LIFECYCLE_RING);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(process_exit, struct task_struct *task)
{
	struct signal_struct *signal = task->signal;
	struct hw_process record;
	struct exit_key key = {};
	__u8 there = 1;
	int code;

	if (signal->live.counter > 0 || !hw_in_scope(hw_task_cgroup(task), task->tgid))
		return 0;
	fill(&record, task, HW_EXIT);
	key.started_ns = record.started_ns;
	key.tgid = record.header.tgid;
	if (bpf_map_update_elem(&exited, &key, &there, BPF_NOEXIST) != 0)
		return 0;
	if (signal->flags & HW_SIGNAL_GROUP_EXIT)
		code = signal->group_exit_code;
	else
		code = task->group_leader->exit_code;
	record.exit_code = (code >> 8) & 0xff;
	record.exit_signal = code & 0x7f;
	hw_submit(&lifecycle_ring, &record, sizeof(record), HW_LOSS_LIFECYCLE_RING);
	return 0;
}

SEC("tp_btf/mark_victim")
int BPF_PROG(process_oom_kill, struct task_struct *victim)
{
	struct hw_process record;

	if (!hw_in_scope(hw_task_cgroup(victim), victim->tgid))
		return 0;
	fill(&record, victim, HW_OOM_KILL);
	hw_submit(&lifecycle_ring, &record, sizeof(record), HW_LOSS_LIFECYCLE_RING);
	return 0;
}
