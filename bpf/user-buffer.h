/* SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0) */
/*
 * The bytes of the system call that runs: found through the registers it was called with, read from the memory of its process. Works at the
 * socket's tracepoints and at sys_exit alike. Whatever is not one of the known calls (sendfile, splice, io_uring, 32-bit programs) has bytes
 * but no buffer.
 */
#ifndef HEADWATER_USER_BUFFER_H
#define HEADWATER_USER_BUFFER_H

#include "kernel.h"
#include "event.h"
#include "ring.h"

/* Structures of the user ABI: their layout is fixed and they are read from user memory, so they are not relocated. */
struct hw_iovec {
	__u64 base;
	__u64 length;
};

struct hw_user_msghdr {
	__u64 name;
	__u32 name_length;
	__u32 unused;
	__u64 iov;
	__u64 iov_length;
	__u64 control;
	__u64 control_length;
	__u32 flags;
	__u32 unused2;
};

struct hw_mmsghdr {
	struct hw_user_msghdr header;
	__u32 length;
	__u32 unused;
};

/* The kernel takes no more of them in one call (UIO_MAXIOV). */
#define HW_IOVECS_MAX 1024

enum hw_buffer_kind {
	HW_BUFFER_NONE = 0,
	HW_BUFFER_PLAIN = 1,    /* pointer and length */
	HW_BUFFER_VECTOR = 2,   /* array of iovec */
	HW_BUFFER_MESSAGE = 3,  /* msghdr */
	HW_BUFFER_MESSAGES = 4, /* array of mmsghdr: sendmmsg, recvmmsg */
	HW_BUFFER_NAMED = 5,    /* sendto, recvfrom: plain, with the address as fifth argument */
};

struct hw_call {
	__u32 kind; /* enum hw_buffer_kind */
	__u8 direction;
	__s32 index; /* of the message within MESSAGES; -1: to be found out */
	__u32 descriptor;
	__u64 argument2;
	__u64 argument3;
	__u64 argument4;
	__u64 argument5;
};

/* One transfer: `bytes` were moved, from or to `buffer` (the first of them) or `vectors`. */
struct hw_io {
	__u64 buffer;
	__u64 buffer_length;
	__u64 vectors;
	__u64 name;
	__u32 name_length;
	__u32 vector_count;
	__u32 bytes;
	__u32 skipped; /* bytes of the vectors that were taken before */
	__u8 direction; /* enum hw_direction */
};

/* Sorts a system call by its number. Direction is that of the data. */
static __always_inline void hw_classify_call(struct hw_call *call, __s64 number)
{
	call->direction = HW_SENT;
	call->kind = HW_BUFFER_NONE;
	switch (number) {
#if defined(__TARGET_ARCH_x86)
	case 0: /* read */
		call->direction = HW_RECEIVED;
		call->kind = HW_BUFFER_PLAIN;
		break;
	case 1: /* write */
		call->kind = HW_BUFFER_PLAIN;
		break;
	case 19:  /* readv */
	case 327: /* preadv2 */
		call->direction = HW_RECEIVED;
		call->kind = HW_BUFFER_VECTOR;
		break;
	case 20:  /* writev */
	case 328: /* pwritev2 */
		call->kind = HW_BUFFER_VECTOR;
		break;
	case 44: /* sendto */
		call->kind = HW_BUFFER_NAMED;
		break;
	case 45: /* recvfrom */
		call->direction = HW_RECEIVED;
		call->kind = HW_BUFFER_NAMED;
		break;
	case 46: /* sendmsg */
		call->kind = HW_BUFFER_MESSAGE;
		break;
	case 47: /* recvmsg */
		call->direction = HW_RECEIVED;
		call->kind = HW_BUFFER_MESSAGE;
		break;
	case 299: /* recvmmsg */
		call->direction = HW_RECEIVED;
		call->kind = HW_BUFFER_MESSAGES;
		break;
	case 307: /* sendmmsg */
		call->kind = HW_BUFFER_MESSAGES;
		break;
#elif defined(__TARGET_ARCH_arm64)
	case 63: /* read */
		call->direction = HW_RECEIVED;
		call->kind = HW_BUFFER_PLAIN;
		break;
	case 64: /* write */
		call->kind = HW_BUFFER_PLAIN;
		break;
	case 65:  /* readv */
	case 286: /* preadv2 */
		call->direction = HW_RECEIVED;
		call->kind = HW_BUFFER_VECTOR;
		break;
	case 66:  /* writev */
	case 287: /* pwritev2 */
		call->kind = HW_BUFFER_VECTOR;
		break;
	case 206: /* sendto */
		call->kind = HW_BUFFER_NAMED;
		break;
	case 207: /* recvfrom */
		call->direction = HW_RECEIVED;
		call->kind = HW_BUFFER_NAMED;
		break;
	case 211: /* sendmsg */
		call->kind = HW_BUFFER_MESSAGE;
		break;
	case 212: /* recvmsg */
		call->direction = HW_RECEIVED;
		call->kind = HW_BUFFER_MESSAGE;
		break;
	case 243: /* recvmmsg */
		call->direction = HW_RECEIVED;
		call->kind = HW_BUFFER_MESSAGES;
		break;
	case 269: /* sendmmsg */
		call->kind = HW_BUFFER_MESSAGES;
		break;
#endif
	}
}

#if defined(__TARGET_ARCH_x86)
#define HW_USER_CODE_SEGMENT 0x33
static __always_inline void hw_read_call(struct hw_call *call, const struct pt_regs *regs)
{
	hw_classify_call(call, (__s64)regs->orig_ax);
	/* A 32-bit program has other numbers and other structures. */
	if (regs->cs != HW_USER_CODE_SEGMENT)
		call->kind = HW_BUFFER_NONE;
	call->argument2 = regs->si;
	call->argument3 = regs->dx;
	call->argument4 = regs->r10;
	call->descriptor = regs->di;
	call->index = -1;
	call->argument5 = regs->r8;
}
#elif defined(__TARGET_ARCH_arm64)
#define HW_PSTATE_32BIT 0x10
static __always_inline void hw_read_call(struct hw_call *call, const struct pt_regs *regs)
{
	hw_classify_call(call, regs->syscallno);
	if (regs->pstate & HW_PSTATE_32BIT)
		call->kind = HW_BUFFER_NONE;
	call->argument2 = regs->regs[1];
	call->argument3 = regs->regs[2];
	call->argument4 = regs->regs[3];
	/* x0 holds the result already where this runs at the exit of the call. */
	call->descriptor = regs->orig_x0;
	call->index = -1;
	call->argument5 = regs->regs[4];
}
#endif

/* Fills where the bytes are; `index` is that of the message within sendmmsg and recvmmsg. Leaves buffer 0 where there is none. */
static __always_inline void hw_locate(struct hw_io *io, const struct hw_call *call, __u32 index)
{
	struct hw_iovec first;
	__u64 message = call->argument2;

	if (call->kind == HW_BUFFER_PLAIN || call->kind == HW_BUFFER_NAMED) {
		io->buffer = call->argument2;
		io->buffer_length = call->argument3;
		io->name = call->kind == HW_BUFFER_NAMED ? call->argument5 : 0;
		io->name_length = 28;
		return;
	}
	if (call->kind == HW_BUFFER_NONE)
		return;
	if (call->kind == HW_BUFFER_VECTOR) {
		io->vectors = call->argument2;
		io->vector_count = call->argument3;
	} else {
		struct hw_user_msghdr header;

		if (call->kind == HW_BUFFER_MESSAGES)
			message += index * sizeof(struct hw_mmsghdr);
		if (bpf_probe_read_user(&header, 32, (void *)message) != 0)
			return;
		io->name = header.name;
		io->name_length = header.name_length;
		io->vectors = header.iov;
		io->vector_count = header.iov_length > HW_IOVECS_MAX ? HW_IOVECS_MAX : header.iov_length;
	}
	if (io->vector_count == 0 || bpf_probe_read_user(&first, sizeof(first), (void *)io->vectors) != 0)
		return;
	io->buffer = first.base;
	io->buffer_length = first.length;
}

/* One per processor: the programs that use it run in process context and do not nest. The second half is room for the verifier's proof. */
struct hw_scratch {
	struct hw_chunk chunk;
	__u8 data[2 * HW_CHUNK_MAX];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct hw_scratch);
} request_scratch SEC(".maps");

static __always_inline struct hw_scratch *hw_scratch(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&request_scratch, &zero);
}

struct hw_gathering {
	__u64 vectors;
	__u64 skip;
	__u32 filled;
	__u32 wanted;
	__u32 failed;
};

static long hw_gather_one(__u64 index, struct hw_gathering *gathering)
{
	struct hw_scratch *scratch = hw_scratch();
	struct hw_iovec vector;
	__u32 filled = gathering->filled;
	__u32 left = gathering->wanted - filled;
	__u64 length;

	if (!scratch)
		return 1;
	if (bpf_probe_read_user(&vector, sizeof(vector), (void *)(gathering->vectors + index * sizeof(vector))) != 0) {
		gathering->failed = 1;
		return 1;
	}
	if (vector.length <= gathering->skip) {
		gathering->skip -= vector.length;
		return 0;
	}
	vector.base += gathering->skip;
	vector.length -= gathering->skip;
	gathering->skip = 0;
	length = vector.length < left ? vector.length : left;
	if (length == 0)
		return 0;
	if (filled > HW_CHUNK_MAX)
		return 1;
	length = HW_AT_MOST(length, HW_CHUNK_MAX);
	if (bpf_probe_read_user(scratch->data + HW_AT_MOST(filled, HW_CHUNK_MAX), length, (void *)vector.base) != 0) {
		gathering->failed = 1;
		return 1;
	}
	gathering->filled = filled + length;
	return gathering->filled >= gathering->wanted;
}

/* Copies the first `wanted` bytes behind `io->skipped` of a transfer of several buffers into the scratch, answers how many. */
__noinline int hw_gather(const struct hw_io *io, __u32 wanted)
{
	struct hw_gathering gathering = { .wanted = wanted };
	__u32 count;

	if (!io)
		return 0;
	gathering.vectors = io->vectors;
	gathering.skip = io->skipped;
	count = io->vector_count;

	bpf_loop(count > HW_IOVECS_MAX ? HW_IOVECS_MAX : count, hw_gather_one, &gathering, 0);
	if (gathering.failed)
		hw_lose(HW_LOSS_UNREADABLE);
	return gathering.filled;
}

/*
 * Copies the first bytes of a transfer, at most `limit` and `max` (a constant, for the verifier), answers how many: fewer where the memory could not be read, which is
 * counted, none where there is no buffer.
 */
static __always_inline __u32 hw_fetch(void *to, __u32 limit, const __u32 max, const struct hw_io *io)
{
	__u64 wanted = io->bytes < limit ? io->bytes : limit;

	wanted = HW_AT_MOST(wanted, max);
	if (io->buffer_length < wanted && io->vector_count > 1) {
		struct hw_scratch *scratch = hw_scratch();

		wanted = (__u32)hw_gather(io, wanted);
		wanted = HW_AT_MOST(wanted, max);
		if (!scratch || wanted == 0 || bpf_probe_read_kernel(to, wanted, scratch->data) != 0)
			return 0;
		return wanted;
	}
	if (!io->buffer)
		return 0;
	if (bpf_probe_read_user(to, wanted, (void *)io->buffer) == 0)
		return wanted;
	hw_lose(HW_LOSS_UNREADABLE);
	return 0;
}

/* As hw_fetch, into the scratch itself. */
static __always_inline __u32 hw_fetch_to_scratch(struct hw_scratch *scratch, __u32 limit, const struct hw_io *io)
{
	__u64 wanted = io->bytes < limit ? io->bytes : limit;

	wanted = HW_AT_MOST(wanted, HW_CHUNK_MAX);
	if (io->buffer_length < wanted && io->vector_count > 1)
		return hw_gather(io, wanted);
	if (!io->buffer)
		return 0;
	if (bpf_probe_read_user(scratch->data, wanted, (void *)io->buffer) == 0)
		return wanted;
	hw_lose(HW_LOSS_UNREADABLE);
	return 0;
}

#endif
