/* SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0) */
/*
 * Fills the data ring on demand: for the benchmark and the tests of the ring reader, never loaded by the agent. `generate` is run by hand
 * with a `struct hw_generator` as its context. Records are chunks whose `offset` counts up from `first`.
 */
#include "kernel.h"
#include "event.h"
#include "ring.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define HW_GENERATOR_TAIL 64

struct hw_generator {
	__u64 first;    /* number of the first record */
	__u32 count;    /* records to write, at most 8,388,608 */
	__u32 wake;     /* 0: nobody is woken, 1: the kernel's own rule, 2: at every record, 3: every second record is discarded */
	__u64 written;  /* answer: records that are in the ring */
	__u64 lost;     /* answer: records that did not fit */
};

struct hw_generated {
	struct hw_chunk chunk;
	__u8 tail[HW_GENERATOR_TAIL];
};

HW_RING(data_ring, HW_DATA_RING_BYTES);

struct hw_run {
	__u64 next;
	__u64 written;
	__u64 lost;
	__u64 flags;
	__u32 wake;
};

static long write_one(__u32 index, void *context)
{
	struct hw_run *run = context;
	__u64 number = run->next++;
	struct hw_generated *record = bpf_ringbuf_reserve(&data_ring, sizeof(*record), 0);

	if (!record) {
		hw_lose(HW_LOSS_DATA_RING);
		run->lost++;
		return 0;
	}
	__builtin_memset(record, 0, sizeof(*record));
	record->chunk.header.type = HW_CHUNK;
	record->chunk.header.version = HW_EVENT_VERSION;
	record->chunk.header.tail_length = HW_GENERATOR_TAIL;
	record->chunk.header.at_ns = bpf_ktime_get_ns();
	record->chunk.offset = number;
	record->chunk.bytes = HW_GENERATOR_TAIL;
	if (run->wake == 3 && (number & 1)) {
		bpf_ringbuf_discard(record, BPF_RB_NO_WAKEUP);
		return 0;
	}
	bpf_ringbuf_submit(record, run->flags);
	run->written++;
	return 0;
}

SEC("syscall")
int generate(struct hw_generator *context)
{
	struct hw_run run = {
		.next = context->first,
		.flags = context->wake == 1 ? 0 : context->wake == 2 ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP,
		.wake = context->wake,
	};

	bpf_loop(context->count, write_one, &run, 0);
	context->written = run.written;
	context->lost = run.lost;
	return 0;
}
