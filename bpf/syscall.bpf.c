// SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0)
/*
 * Syscalls: count, errors and latency per process and call; on request one record per call with its path or arguments. Attached, it makes
 * every syscall of the host slower by some 100 ns, so the agent attaches it for a while at a time or for as long as somebody watches.
 *
 * Nothing that strace shows is missed: exit and exit_group are recorded at their entry; a call that a signal interrupts has its own exit
 * (result -512 to -516) and its restart is a call of its own, as in strace; execve keeps its arguments from the entry, before the memory is
 * replaced; rt_sigreturn loses its number, which is kept from the entry. The child's side of fork is no call.
 */
#include "kernel.h"
#include "event.h"
#include "log2.h"
#include "scope.h"
#include "ring.h"
#include "task.h"
#include "syscall-text.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define HW_TS_COMPAT 2
#define HW_EFAULT 14
#define HW_ERRNO_MAX 4095
#define HW_ERESTART_FIRST 512
#define HW_ERESTART_LAST 516
#define HW_ARGUMENTS_MAX 32
#define HW_NS_PER_SECOND 1000000000ULL

HW_RING(detail_ring, HW_DETAIL_RING_BYTES);

/* `start_ns` is 0 between two calls. The answer of `scope` is kept: asking costs more than all the rest of an entry. */
struct call_state {
	__u64 start_ns;
	__u32 number;
	__u32 generation;
	__u64 scope_cgroup; /* 0: not asked yet */
	__u32 scope_generation;
	__u16 scope_watch_only;
	__u16 observed;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct call_state);
} syscall_states SEC(".maps");

/* Text that was read, behind the record that it becomes the tail of. It has twice the room: the verifier takes a start below HW_TEXT_MAX and
 * a length up to it for independent. */
struct text {
	__u32 length; /* with the NUL behind its last part */
	__u32 truncated;
	__u32 unreadable;
	__u32 unused;
	struct hw_syscall call;
	char bytes[2 * HW_TEXT_MAX];
};

/* Arguments of an execve from its entry to its exit. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct text);
} exec_texts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct text);
} syscall_scratch SEC(".maps");

struct rate {
	__u64 second;
	__u64 count;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct rate);
} detail_rates SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct hw_syscall_key);
	__type(value, struct hw_syscall_value);
} syscalls SEC(".maps");

static const struct hw_syscall_value no_syscall;

static __always_inline __u32 number_of(struct task_struct *task, __s64 id)
{
	__u32 number = (__u64)id < HW_SYSCALLS_MAX ? id : HW_SYSCALLS_MAX - 1;

	return task->thread_info.status & HW_TS_COMPAT ? number | HW_SYSCALL_COMPAT : number;
}

static __always_inline bool same_command(const char *left, const char *right)
{
	for (__u32 index = 0; index < HW_COMMAND_LENGTH; index++) {
		if (left[index] != right[index])
			return false;
		if (left[index] == 0)
			return true;
	}
	return true;
}

static __always_inline bool watched(__u64 cgroup, __u32 tgid)
{
	__u64 key = HW_SCOPE_TGID | tgid;
	__u32 *row = bpf_map_lookup_elem(&scope, &key);

	if (!row)
		row = bpf_map_lookup_elem(&scope, &cgroup);
	return row && *row == HW_SCOPE_WATCH;
}

static __always_inline bool observed(struct call_state *state, __u64 cgroup, __u32 tgid)
{
	if (state->scope_cgroup == cgroup && state->scope_generation == hw_settings.scope_generation &&
	    state->scope_watch_only == hw_settings.scope_watch_only)
		return state->observed;
	state->observed = hw_in_scope(cgroup, tgid);
	state->scope_cgroup = cgroup;
	state->scope_generation = hw_settings.scope_generation;
	state->scope_watch_only = hw_settings.scope_watch_only;
	return state->observed;
}

/* Whether calls of this number are recorded for anybody. */
static __always_inline bool number_wanted(__u32 number)
{
	__u32 index = number & (HW_SYSCALLS_MAX - 1);
	__u8 bits;

	if (hw_settings.detail_on == 0)
		return false;
	bits = number & HW_SYSCALL_COMPAT ? hw_settings.detail_numbers_compat[index >> 3] : hw_settings.detail_numbers[index >> 3];
	return bits & 1 << (index & 7);
}

/* Whether this call is to be recorded, before the limit of its process. */
static __always_inline bool wanted(struct task_struct *task, __u64 cgroup, __u32 number)
{
	if (!number_wanted(number))
		return false;
	if (hw_settings.detail_tgid != 0 && hw_settings.detail_tgid != task->tgid)
		return false;
	if (hw_settings.detail_cgroup != 0 && hw_settings.detail_cgroup != cgroup)
		return false;
	if (hw_settings.detail_command_set) {
		char command[HW_COMMAND_LENGTH] = {};

		bpf_probe_read_kernel(command, sizeof(command), task->group_leader->comm);
		if (!same_command(command, hw_settings.detail_command))
			return false;
	}
	return hw_settings.detail_on != 2 || watched(cgroup, task->tgid);
}

static __always_inline bool over_rate(__u32 tgid, __u64 now)
{
	struct rate fresh = { .second = now / HW_NS_PER_SECOND, .count = 1 };
	struct rate *rate;

	if (hw_settings.detail_per_second == 0)
		return false;
	rate = bpf_map_lookup_elem(&detail_rates, &tgid);
	if (!rate || rate->second != fresh.second) {
		bpf_map_update_elem(&detail_rates, &tgid, &fresh, BPF_ANY);
		return false;
	}
	if (rate->count >= hw_settings.detail_per_second) {
		hw_lose(HW_LOSS_LIMITED);
		return true;
	}
	__sync_fetch_and_add(&rate->count, 1);
	return false;
}

/* Appends one string of user memory and its NUL; false when there is no more to read. */
static __always_inline bool append(struct text *text, __u64 address)
{
	__u32 offset = text->length;
	long length;

	if (address == 0)
		return true;
	if (offset >= HW_TEXT_MAX) {
		text->truncated = 1;
		return false;
	}
	length = bpf_probe_read_user_str(text->bytes + offset, HW_TEXT_MAX, (void *)address);
	if (length < 0) {
		text->unreadable = 1;
		return false;
	}
	text->length = offset + length;
	return true;
}

static __always_inline void clear(struct text *text)
{
	text->length = 0;
	text->truncated = 0;
	text->unreadable = 0;
}

/* The file and the arguments of execve from the second on. */
static __always_inline void read_exec_text(struct text *text, struct pt_regs *regs, __u32 number)
{
	__u32 first = text_kind(number) == TEXT_EXEC_AT ? 1 : 0;
	__u32 pointer_bytes = number & HW_SYSCALL_COMPAT ? 4 : 8;
	__u64 vector = argument(regs, number, first + 1);

	clear(text);
	if (!append(text, argument(regs, number, first)) || vector == 0)
		return;
	for (__u32 index = 1; index < HW_ARGUMENTS_MAX; index++) {
		__u64 address = 0;

		if (bpf_probe_read_user(&address, pointer_bytes, (void *)(vector + index * pointer_bytes)) != 0) {
			text->unreadable = 1;
			return;
		}
		if (address == 0 || !append(text, address))
			return;
	}
	text->truncated = 1;
}

static __always_inline void keep_exec_text(struct task_struct *task, struct pt_regs *regs, __u32 number)
{
	struct text *text = bpf_task_storage_get(&exec_texts, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (text)
		read_exec_text(text, regs, number);
}

static __always_inline void read_paths(struct text *text, struct pt_regs *regs, __u32 number, __u32 kind)
{
	__u64 first = argument(regs, number, kind == TEXT_PATH_1 || kind == TEXT_PATHS_1_3 ? 1 : 0);
	bool more = append(text, first);

	if (!more || kind <= TEXT_PATH_1)
		return;
	append(text, argument(regs, number, kind == TEXT_PATHS_0_1 ? 1 : kind == TEXT_PATHS_0_2 ? 2 : 3));
}

/* The arguments as the new program has them: where the entry was not seen, or its memory could not be read then. */
static __always_inline void read_new_arguments(struct text *text, struct task_struct *task)
{
	__u64 start = BPF_CORE_READ(task, mm, arg_start);
	__u64 there = BPF_CORE_READ(task, mm, arg_end) - start;
	__u32 bytes = there < HW_TEXT_MAX ? there : HW_TEXT_MAX;

	clear(text);
	if (bpf_probe_read_user(text->bytes, bytes, (void *)start) != 0) {
		text->unreadable = 1;
		return;
	}
	text->length = bytes;
	text->truncated = there > HW_TEXT_MAX;
}

static __always_inline void read_text(struct text *text, struct task_struct *task, struct pt_regs *regs, __u32 number, __s64 result)
{
	__u32 kind = text_kind(number);

	if (kind == TEXT_NONE || kind == TEXT_NO_RETURN)
		return;
	if (kind != TEXT_EXEC && kind != TEXT_EXEC_AT) {
		read_paths(text, regs, number, kind);
	} else {
		struct text *kept = bpf_task_storage_get(&exec_texts, task, NULL, 0);

		/* What was not in memory at the entry was read in by the call itself. */
		if (kept && !kept->unreadable)
			bpf_probe_read_kernel(text, sizeof(*text), kept);
		else if (result == 0)
			read_new_arguments(text, task);
		else
			read_exec_text(text, regs, number);
		if (kept)
			bpf_task_storage_delete(&exec_texts, task);
	}
	if (text->unreadable && result != -HW_EFAULT)
		hw_lose(HW_LOSS_UNREADABLE);
}

struct ended_call {
	__u64 now;
	__u64 duration_ns;
	__s64 result;
	__u32 number;
	__u32 flags;
};

static __always_inline void record(struct task_struct *task, struct pt_regs *regs, const struct ended_call *ended)
{
	__u32 zero = 0;
	struct text *text = bpf_map_lookup_elem(&syscall_scratch, &zero);
	struct hw_syscall *call;
	__u32 length;

	if (!text || over_rate(task->tgid, ended->now))
		return;
	clear(text);
	read_text(text, task, regs, ended->number, ended->result);
	length = text->length;
	call = &text->call;
	__builtin_memset(call, 0, sizeof(*call));
	hw_task_header(&call->header, task, HW_SYSCALL, ended->now);
	call->header.flags = ended->flags;
	if (text->truncated || length > HW_TEXT_MAX)
		call->header.flags |= HW_FLAG_TRUNCATED;
	if (length > HW_TEXT_MAX)
		length = HW_TEXT_MAX;
	call->header.tail_length = length;
	call->result = ended->result;
	call->duration_ns = ended->duration_ns;
	call->number = ended->number;
	call->parent_tgid = task->real_parent->tgid;
	bpf_probe_read_kernel(call->command, sizeof(call->command), task->group_leader->comm);
	hw_submit(&detail_ring, call, sizeof(*call) + length, HW_LOSS_DETAIL_RING);
}

static __always_inline bool is_error(__s64 result)
{
	if (result >= 0 || result < -HW_ERRNO_MAX)
		return false;
	return result > -HW_ERESTART_FIRST || result < -HW_ERESTART_LAST;
}

static __always_inline void count(struct task_struct *task, __u64 cgroup, const struct ended_call *ended)
{
	struct hw_syscall_key key = { .tgid = task->tgid, .number = ended->number };
	struct hw_syscall_value *value;

	if (hw_settings.counts_off)
		return;
	value = bpf_map_lookup_elem(&syscalls, &key);
	if (!value) {
		bpf_map_update_elem(&syscalls, &key, &no_syscall, BPF_NOEXIST);
		value = bpf_map_lookup_elem(&syscalls, &key);
	}
	if (!value) {
		hw_lose(HW_LOSS_SYSCALLS);
		return;
	}
	value->cgroup = cgroup;
	value->count += 1;
	value->sum_ns += ended->duration_ns;
	value->buckets[hw_log2_bucket(ended->duration_ns)] += 1;
	if (is_error(ended->result))
		value->errors += 1;
}

SEC("tp_btf/sys_enter")
int BPF_PROG(syscall_enter, struct pt_regs *regs, long id)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u32 number = number_of(task, id);
	struct ended_call ended = {};
	struct call_state *state;
	__u64 cgroup;
	__u32 kind;

	if (hw_settings.counts_off && !number_wanted(number))
		return 0;
	state = bpf_task_storage_get(&syscall_states, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!state) {
		hw_lose(HW_LOSS_SYSCALLS);
		return 0;
	}
	cgroup = hw_task_cgroup(task);
	if (!observed(state, cgroup, task->tgid)) {
		state->start_ns = 0;
		return 0;
	}
	kind = text_kind(number);
	if (kind == TEXT_NO_RETURN) {
		ended.now = bpf_ktime_get_ns();
		ended.number = number;
		count(task, cgroup, &ended);
		if (wanted(task, cgroup, number))
			record(task, regs, &ended);
		return 0;
	}
	if ((kind == TEXT_EXEC || kind == TEXT_EXEC_AT) && wanted(task, cgroup, number))
		keep_exec_text(task, regs, number);
	state->number = number;
	state->generation = hw_settings.generation;
	state->start_ns = bpf_ktime_get_ns();
	return 0;
}

/* The first return of a new process or thread: it did not make the call. */
static __always_inline bool is_new_task(__u32 number, __s64 result)
{
	if (result != 0)
		return false;
	if (number & HW_SYSCALL_COMPAT)
		return number == (HW_SYSCALL_COMPAT | 2) || number == (HW_SYSCALL_COMPAT | 120) || number == (HW_SYSCALL_COMPAT | 190) ||
		       number == (HW_SYSCALL_COMPAT | 435);
	return (number >= 56 && number <= 58) || number == 435;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(syscall_exit, struct pt_regs *regs, long result)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct call_state *state = bpf_task_storage_get(&syscall_states, task, NULL, 0);
	struct ended_call ended = { .result = result };
	bool counted = state && state->generation == hw_settings.generation;
	__u64 cgroup = hw_task_cgroup(task);

	if (counted && state->start_ns != 0) {
		ended.now = bpf_ktime_get_ns();
		ended.number = state->number;
		ended.duration_ns = ended.now - state->start_ns;
		state->start_ns = 0;
	} else {
		if (!counted && hw_settings.detail_on == 0)
			return 0;
		ended.number = number_of(task, regs->orig_ax);
		if ((hw_settings.counts_off || !counted) && !number_wanted(ended.number))
			return 0;
		if (is_new_task(ended.number, result))
			return 0;
		if (state ? !observed(state, cgroup, task->tgid) : !hw_in_scope(cgroup, task->tgid))
			return 0;
		ended.now = bpf_ktime_get_ns();
		ended.flags = HW_FLAG_EXISTING;
	}
	/* Without its entry a call is counted only where the ones before it were seen: then it was refused by seccomp. */
	if (counted)
		count(task, cgroup, &ended);
	if (wanted(task, cgroup, ended.number))
		record(task, regs, &ended);
	return 0;
}
