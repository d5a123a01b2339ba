/* SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0) */
/*
 * Rings and the counters of what did not fit. A ring is declared with HW_RING only in an object that writes to it; maps of equal name in
 * two objects are one map (the loader reuses the first). Records are never submitted with the default wake-up: it costs the traced call
 * several microseconds. The reader polls on a timer, or asks to be woken by `hw_settings.wake_bytes`.
 */
#ifndef HEADWATER_RING_H
#define HEADWATER_RING_H

#include "kernel.h"
#include "event.h"
#include "scope.h"

/* Sizes in bytes before the loader sets others: powers of two, multiples of a page. */
#define HW_DATA_RING_BYTES (8 << 20)
#define HW_LIFECYCLE_RING_BYTES (1 << 20)
#define HW_DETAIL_RING_BYTES (4 << 20)

#define HW_RING(name, bytes)                              \
	struct {                                          \
		__uint(type, BPF_MAP_TYPE_RINGBUF);       \
		__uint(max_entries, bytes);               \
	} name SEC(".maps")

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, HW_LOSS_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} losses SEC(".maps");

/* Counts one thing lost at `where` (enum hw_loss). Per-CPU, but a softirq may interrupt a process: the addition is one instruction. */
static __always_inline void hw_lose(__u32 where)
{
	__u64 *count = bpf_map_lookup_elem(&losses, &where);

	if (count)
		__sync_fetch_and_add(count, 1);
}

/*
 * Flags for the submission of `bytes` to `ring`: a wake-up when what waits crosses `wake_bytes` (once, not for each record above it: that
 * makes every submission an interrupt), and again when it crosses twice as much, because two processors can each see the other's crossing
 * as theirs. 0 wakes never.
 */
static __always_inline __u64 hw_wake_flags(void *ring, __u32 bytes)
{
	__u64 threshold = hw_settings.wake_bytes;
	__u64 before, after;

	if (threshold == 0)
		return BPF_RB_NO_WAKEUP;
	before = bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA);
	after = before + bytes + 8;
	if (before < threshold && after >= threshold)
		return BPF_RB_FORCE_WAKEUP;
	if (before < 2 * threshold && after >= 2 * threshold)
		return BPF_RB_FORCE_WAKEUP;
	return BPF_RB_NO_WAKEUP;
}

/* Copies one record to the ring. Counts it at `loss` and answers false when the ring is full. `bytes` must be bounded by the caller. */
static __always_inline bool hw_submit(void *ring, void *record, __u32 bytes, __u32 loss)
{
	if (bpf_ringbuf_output(ring, record, bytes, hw_wake_flags(ring, bytes)) == 0)
		return true;
	hw_lose(loss);
	return false;
}

#endif
