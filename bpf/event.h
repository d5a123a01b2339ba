/* SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0) */
/*
 * What crosses from the kernel to the agent, and the only definition of it: ring records, keys and values of the maps that are read, and
 * the settings that the agent writes. The TypeScript side takes its offsets from the BTF of the compiled objects
 * (`services/agent/event-layout.generated.ts`), never from a copy by hand.
 *
 * Records are 8-byte aligned, begin with `hw_header`, and end with `header.tail_length` bytes of data behind the fixed part. Times are
 * CLOCK_MONOTONIC nanoseconds (`bpf_ktime_get_ns`). Addresses are in network order, IPv4 in the first four bytes, ports in host order.
 */
#ifndef HEADWATER_EVENT_H
#define HEADWATER_EVENT_H

#define HW_EVENT_VERSION 1

/* Bounds of the tails, in bytes. */
#define HW_TURN_REQUEST_MAX 256
#define HW_TURN_RESPONSE_MAX 64
#define HW_CHUNK_MAX 4096
/* Captured of one transfer at most, in chunks of at most HW_CHUNK_MAX. */
#define HW_TRANSFER_MAX 65536
#define HW_TEXT_MAX 512
#define HW_COMMAND_LENGTH 16
#define HW_UNIX_PATH_MAX 108
/* Log2 histograms: bucket b holds values v in ns with 2^b <= v < 2^(b+1); the last one everything above. */
#define HW_LOG2_BUCKETS 36
#define HW_SYSCALLS_MAX 512
/* Set in a syscall's number where it is one of the 32-bit table (int 0x80, 32-bit programs). */
#define HW_SYSCALL_COMPAT 0x10000

enum hw_event_type {
	HW_CONNECTION_OPENED = 1, /* hw_connection: once per connection, before anything else that carries its cookie */
	HW_CONNECTION_CLOSED = 2, /* hw_connection_end: also of one that never was established (`failed`) */
	HW_TURN = 3,              /* hw_turn: one request and the first bytes of its answer, paired in the kernel */
	HW_CHUNK = 4,             /* hw_chunk: bytes of one direction of a stream that is paired by the agent */
	HW_SYSCALL = 5,           /* hw_syscall: one call in detail, with path or arguments as its tail */
	HW_EXEC = 6,              /* hw_process, tail: file name, then NUL, then arguments separated by NUL */
	HW_FORK = 7,              /* hw_process */
	HW_EXIT = 8,              /* hw_process */
	HW_OOM_KILL = 9,          /* hw_process of the victim */
	HW_LISTENER = 10,         /* hw_connection with role server and state listen: from iterators at start and from inet_sock_set_state */
};

enum hw_role { HW_ROLE_UNKNOWN = 0, HW_ROLE_CLIENT = 1, HW_ROLE_SERVER = 2 };
enum hw_direction { HW_RECEIVED = 1, HW_SENT = 2 };
enum hw_family { HW_IPV4 = 2, HW_IPV6 = 10, HW_UNIX = 1 };
enum hw_transport { HW_TCP = 6, HW_UDP = 17, HW_LOCAL = 1 };

/* Flags of a header. */
enum hw_flag {
	HW_FLAG_TRUNCATED = 1,   /* the tail holds less than there was */
	HW_FLAG_EXISTING = 2,    /* the connection was there before the agent: role guessed from listeners, start unknown */
	HW_FLAG_OVERLAP = 4,     /* a second request came before the answer to the first: the stream is sent in chunks from here on */
	HW_FLAG_GAP = 8,         /* bytes before this record were not captured (sendfile, splice, ring full) */
	HW_FLAG_FALLBACK = 16,   /* captured by the fallback programs */
	HW_FLAG_UNANSWERED = 32, /* a turn: the connection closed before an answer, so that response_ns is the time of that */
	HW_FLAG_RESET = 64,      /* an unanswered turn: the connection ended by a reset or an error, of either end */
};

struct hw_header {
	__u16 type;        /* enum hw_event_type */
	__u16 version;     /* HW_EVENT_VERSION */
	__u32 tail_length; /* bytes behind the fixed part */
	__u64 at_ns;
	__u64 cookie;      /* of the socket, 0 where there is none; for AF_UNIX the cookie of this end */
	__u64 cgroup;      /* cgroup v2 id */
	__u32 tgid;
	__u32 tid;
	__u32 netns;       /* inode number of the network namespace */
	__u8 role;         /* enum hw_role, of this end */
	__u8 transport;    /* enum hw_transport */
	__u8 direction;    /* enum hw_direction */
	__u8 flags;        /* enum hw_flag */
};

struct hw_address {
	__u8 ip[16];
	__u16 port;
	__u16 family; /* enum hw_family */
	__u32 peer_tgid; /* AF_UNIX: process at the other end, else 0 */
};

/*
 * A record with a known cookie replaces its addresses (an unconnected UDP socket that asks another server, a socket that connects again).
 * Tail: of HW_UNIX the path (abstract names begin with NUL), else nothing.
 */
struct hw_connection {
	struct hw_header header;
	struct hw_address local;
	struct hw_address remote;
};

/*
 * Also of a listener that closed (role server, remote port 0), and of AF_UNIX when the end of the stream was read. Data of the socket's
 * buffer can still be read after it: turns and chunks of a cookie may follow shortly behind its end.
 */
struct hw_connection_end {
	struct hw_header header;
	struct hw_address local;
	struct hw_address remote;
	__u64 opened_ns;      /* 0 where it is not known */
	__u64 bytes_sent;
	__u64 bytes_received;
	__u32 retransmits;
	__u32 round_trip_us;  /* smoothed */
	__u16 error;          /* errno where it failed or was reset, else 0 */
	__u8 failed;          /* 1: never established */
	__u8 reset;           /* 1: ended by a reset, 2: a reset was sent by this end */
	__u32 unused;
};

/* Tail: `request_length` bytes of the request, then `response_length` bytes of the answer. header.at_ns = response_ns. */
struct hw_turn {
	struct hw_header header;
	__u64 request_ns;    /* first byte of the request */
	__u64 response_ns;   /* first byte of the answer */
	__u32 request_bytes; /* seen until the answer began */
	__u32 response_bytes;
	__u16 request_length;
	__u16 response_length;
	__u32 sequence;      /* of the turn within its connection, from 1 */
};

/* Tail: the first bytes of the chunk. */
struct hw_chunk {
	struct hw_header header;
	__u64 offset;  /* of the chunk's first byte in its direction, since the connection was first seen */
	__u32 bytes;   /* of the chunk; more than the tail holds when it was cut */
	__u32 sequence;/* over both directions of the connection, from 1; a hole is a lost record */
};

/* Tail, its parts separated by NUL: a path, two paths (rename and its kin), or for execve the file and its arguments from the second on.
 * header.at_ns is the end of the call. Calls that do not return (exit, exit_group) have duration 0 and result 0. HW_FLAG_EXISTING: the entry was not seen (in flight at attach,
 * refused by seccomp, or only sys_exit is attached), so the duration is 0. */
struct hw_syscall {
	struct hw_header header;
	__s64 result;
	__u64 duration_ns;
	__u32 number;
	__u32 parent_tgid;
	char command[HW_COMMAND_LENGTH];
};

struct hw_process {
	struct hw_header header;
	__u32 parent_tgid;
	__s32 exit_code;  /* EXIT: 0..255 */
	__u32 exit_signal;/* EXIT: signal that ended it, else 0 */
	__u32 child_tgid; /* FORK: the new process */
	__u64 started_ns; /* monotonic start of the process; FORK: of the new one */
	char command[HW_COMMAND_LENGTH];
};

/* --- maps that are read once a second: per-CPU hashes of counters that only grow ------------------------------------------------------ */

/* `flows`: what a dependency's connections did, seen from this end. Client: remote address and port of the service, local port 0. Server:
 * local port, remote address without port. */
struct hw_flow_key {
	__u64 cgroup;
	__u32 tgid;
	__u32 netns;
	struct hw_address local;
	struct hw_address remote;
	__u8 role;
	__u8 transport;
	__u16 unused;
	__u32 unused2;
};

struct hw_flow_value {
	__u64 opened;
	__u64 closed;
	__u64 failed;
	__u64 reset;
	__u64 bytes_sent;
	__u64 bytes_received;
	__u64 retransmits;
	__u64 round_trip_us_sum;
	__u64 round_trip_count;
};

/* `syscalls` */
struct hw_syscall_key {
	__u32 tgid;
	__u32 number;
};

struct hw_syscall_value {
	__u64 cgroup;
	__u64 count;
	__u64 errors;
	__u64 sum_ns;
	__u64 buckets[HW_LOG2_BUCKETS];
};

/* `schedules`, by cgroup and process: processor time, waiting for a processor. */
struct hw_schedule_key {
	__u64 cgroup;
	__u32 tgid;
	__u32 unused;
};

struct hw_schedule_value {
	__u64 run_ns;
	__u64 wait_ns;
	__u64 wait_count;
	__u64 switches;
	__u64 io_wait_ns; /* asleep until a block device or a throttle of it had answered (`in_iowait`) */
	__u64 io_wait_count;
	__u64 wait_buckets[HW_LOG2_BUCKETS];
};

/* `blocks`, by device and cgroup: the v2 id of the cgroup that is charged, on hybrid hosts the id in the blkio (v1) hierarchy with this bit
 * where a v1 group is charged, else the v2 id of the process that issued it; 0 for work of the kernel itself. */
#define HW_BLOCK_V1 (1ULL << 63)
struct hw_block_key {
	__u64 cgroup;
	__u32 device; /* major << 20 | minor */
	__u8 operation; /* 0 read, 1 write, 2 flush or other */
	__u8 unused[3];
};

struct hw_block_value {
	__u64 count;
	__u64 errors;
	__u64 bytes;
	__u64 sum_ns;
	__u64 buckets[HW_LOG2_BUCKETS];
};

/* `interfaces` */
struct hw_interface_key {
	__u32 netns;
	__u32 interface;
};

struct hw_interface_value {
	__u64 packets_received;
	__u64 bytes_received;
	__u64 packets_sent;
	__u64 bytes_sent;
};

/* `drops`, by reason of kfree_skb (enum skb_drop_reason of this kernel). */
struct hw_drop_key {
	__u32 reason;
	__u32 netns; /* 0 where it is not known */
};

struct hw_drop_value {
	__u64 count;
};

/* `losses`, a per-CPU array: what did not fit, by where. */
enum hw_loss {
	HW_LOSS_DATA_RING = 0,      /* records of turns and chunks */
	HW_LOSS_LIFECYCLE_RING = 1, /* records of connections and processes */
	HW_LOSS_DETAIL_RING = 2,    /* records of syscalls */
	HW_LOSS_FLOWS = 3,          /* map full */
	HW_LOSS_SYSCALLS = 4,
	HW_LOSS_SCHEDULES = 5,
	HW_LOSS_BLOCKS = 6,
	HW_LOSS_INTERFACES = 7,
	HW_LOSS_DROPS = 8,
	HW_LOSS_CONNECTIONS = 9,    /* no socket storage: the connection is not observed */
	HW_LOSS_LIMITED = 10,       /* detail records of a process over its rate */
	HW_LOSS_UNREADABLE = 11,    /* user memory that could not be read (paged out) */
	HW_LOSS_LISTENERS = 12,     /* map full: the role of connections accepted there is guessed, their owner unknown until they speak */
	HW_LOSS_COUNT = 16,
};

/* --- what the agent writes ------------------------------------------------------------------------------------------------------------ */

/* `scope`, a hash by cgroup id or tgid (the high bit tells which). Without rows of `watch` everything is observed. */
#define HW_SCOPE_TGID (1ULL << 63)
enum hw_scope { HW_SCOPE_WATCH = 1, HW_SCOPE_IGNORE = 2 };

/* Settings, one variable per object in section .data.settings, named `hw_settings`. */
struct hw_settings {
	__u32 self_tgid;          /* the agent itself: never observed */
	__u32 scope_watch_only;   /* 1: only what `scope` says to watch */
	__u32 level;              /* 0 nothing, 1 connections, 2 requests, 3 streams, 4 payload in full */
	__u32 chunk_bytes_max;    /* captured of a transfer, at most HW_TRANSFER_MAX: pipelined commands arrive in one read */
	__u32 turn_request_max;   /* captured of a request, at most HW_TURN_REQUEST_MAX */
	__u32 detail_per_second;  /* detail records per process and second; 0 = no limit */
	__u32 detail_command_set; /* 1: only processes whose command is `detail_command` */
	__u32 detail_tgid;        /* 0 = any */
	__u64 detail_cgroup;      /* 0 = any */
	__u32 detail_on;          /* 0: no detail records at all, 1: those of `detail_numbers`, 2: the same, of what `scope` says to watch */
	__u32 wake_bytes;         /* data ring: wake the reader when this much waits; 0 = never */
	char detail_command[HW_COMMAND_LENGTH];
	__u8 detail_numbers[HW_SYSCALLS_MAX / 8]; /* bit per syscall number */
	__u8 detail_numbers_compat[HW_SYSCALLS_MAX / 8]; /* the same for the 32-bit table */
	__u32 generation;         /* add one before programs are attached again after a pause: start times of an earlier one are not believed */
	__u32 scope_generation;   /* raised after `scope` was changed: what a connection or a thread was told of its scope is asked again */
	__u32 counts_off;         /* syscalls: 1 where only detail records are wanted, which spares all other calls most of the cost */
	__u32 unused;
};

#endif
