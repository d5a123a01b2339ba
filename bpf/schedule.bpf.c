// SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0)
/*
 * Processor time, waiting for a processor (run queue or a used-up quota) and sleeping on block devices, by cgroup and process. Kernel
 * threads are left out. Runs at every switch of the host, so it reads the scope before anything else that costs.
 */
#include "kernel.h"
#include "event.h"
#include "log2.h"
#include "scope.h"
#include "ring.h"
#include "task.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Times are 0 where they mean nothing. The answer of `scope` is kept: asking costs more than the rest of a switch. */
struct task_state {
	__u64 runnable_ns; /* since when it wants a processor and has none */
	__u64 arrived_ns;  /* since when it runs */
	__u64 waited_ns;   /* before it ran, to be counted when it leaves */
	__u64 io_sleep_ns; /* since when it sleeps on a device */
	__u64 scope_cgroup; /* 0: not asked yet */
	__u32 generation;
	__u32 scope_generation;
	__u16 scope_watch_only;
	__u16 observed;
	__u32 waited; /* 1: `waited_ns` is to be counted */
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct task_state);
} schedule_states SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct hw_schedule_key);
	__type(value, struct hw_schedule_value);
} schedules SEC(".maps");

static const struct hw_schedule_value no_schedule;

static __always_inline void ask_scope(struct task_state *state, struct task_struct *task)
{
	__u64 cgroup = hw_task_cgroup(task);

	if (state->scope_cgroup == cgroup && state->scope_generation == hw_settings.scope_generation &&
	    state->scope_watch_only == hw_settings.scope_watch_only)
		return;
	state->observed = hw_in_scope(cgroup, task->tgid);
	state->scope_cgroup = cgroup;
	state->scope_generation = hw_settings.scope_generation;
	state->scope_watch_only = hw_settings.scope_watch_only;
}

/* The state of a task, emptied when it is of a time before a pause; NULL for what is not observed. The idle task is a kernel thread. */
static __always_inline struct task_state *state_of(struct task_struct *task)
{
	struct task_state *state;

	if (task->flags & HW_PF_KTHREAD)
		return NULL;
	state = bpf_task_storage_get(&schedule_states, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!state) {
		hw_lose(HW_LOSS_SCHEDULES);
		return NULL;
	}
	if (state->generation != hw_settings.generation) {
		state->runnable_ns = 0;
		state->arrived_ns = 0;
		state->waited = 0;
		state->io_sleep_ns = 0;
		state->generation = hw_settings.generation;
	}
	ask_scope(state, task);
	return state->observed ? state : NULL;
}

static __always_inline struct hw_schedule_value *value_of(struct task_struct *task, struct task_state *state)
{
	struct hw_schedule_key key = { .cgroup = state->scope_cgroup, .tgid = task->tgid };
	struct hw_schedule_value *value = bpf_map_lookup_elem(&schedules, &key);

	if (value)
		return value;
	bpf_map_update_elem(&schedules, &key, &no_schedule, BPF_NOEXIST);
	value = bpf_map_lookup_elem(&schedules, &key);
	if (!value)
		hw_lose(HW_LOSS_SCHEDULES);
	return value;
}

/* Everything about one run is counted at its end, with one look-up. */
static __always_inline void leaves(struct task_struct *task, bool runnable, __u64 now)
{
	struct task_state *state = state_of(task);
	struct hw_schedule_value *value;

	if (!state)
		return;
	value = value_of(task, state);
	if (value && state->arrived_ns != 0) {
		value->switches += 1;
		value->run_ns += now - state->arrived_ns;
		if (state->waited) {
			value->wait_ns += state->waited_ns;
			value->wait_count += 1;
			value->wait_buckets[hw_log2_bucket(state->waited_ns)] += 1;
		}
	}
	state->arrived_ns = 0;
	state->waited = 0;
	state->runnable_ns = runnable ? now : 0;
	state->io_sleep_ns = !runnable && BPF_CORE_READ_BITFIELD(task, in_iowait) ? now : 0;
}

static __always_inline void arrives(struct task_struct *task, __u64 now)
{
	struct task_state *state = state_of(task);

	if (!state)
		return;
	state->arrived_ns = now;
	state->waited = state->runnable_ns != 0;
	state->waited_ns = now - state->runnable_ns;
	state->runnable_ns = 0;
	state->io_sleep_ns = 0;
}

static __always_inline void wakes(struct task_struct *task)
{
	struct task_state *state = state_of(task);
	struct hw_schedule_value *value;

	if (!state)
		return;
	state->runnable_ns = bpf_ktime_get_ns();
	if (state->io_sleep_ns == 0)
		return;
	value = value_of(task, state);
	if (value) {
		value->io_wait_ns += state->runnable_ns - state->io_sleep_ns;
		value->io_wait_count += 1;
	}
	state->io_sleep_ns = 0;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(schedule_switch, bool preempted, struct task_struct *previous, struct task_struct *next, unsigned int state)
{
	__u64 now = bpf_ktime_get_ns();

	leaves(previous, preempted || state == 0, now);
	arrives(next, now);
	return 0;
}

SEC("tp_btf/sched_wakeup")
int BPF_PROG(schedule_wakeup, struct task_struct *task)
{
	wakes(task);
	return 0;
}

SEC("tp_btf/sched_wakeup_new")
int BPF_PROG(schedule_wakeup_new, struct task_struct *task)
{
	wakes(task);
	return 0;
}
