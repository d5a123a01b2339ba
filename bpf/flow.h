/* SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0) */
/* `flows`: counters per dependency, seen from one end, that only grow. Read once a second; rows nobody uses any more are the reader's to
 * delete. */
#ifndef HEADWATER_FLOW_H
#define HEADWATER_FLOW_H

#include "connection.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct hw_flow_key);
	__type(value, struct hw_flow_value);
} flows SEC(".maps");

/* The row of a connection, made when it is not there; null (counted) when the map is full. */
static __always_inline struct hw_flow_value *hw_flow_of(const struct hw_header *header, const struct hw_address *local,
							const struct hw_address *remote)
{
	struct hw_flow_key key = {};
	struct hw_flow_value zero = {};
	struct hw_flow_value *flow;

	key.cgroup = header->cgroup;
	key.tgid = header->tgid;
	key.netns = header->netns;
	key.role = header->role;
	key.transport = header->transport;
	key.local = *local;
	key.remote = *remote;
	if (header->role == HW_ROLE_SERVER)
		key.remote.port = 0;
	else
		key.local.port = 0;
	flow = bpf_map_lookup_elem(&flows, &key);
	if (flow)
		return flow;
	bpf_map_update_elem(&flows, &key, &zero, BPF_NOEXIST);
	flow = bpf_map_lookup_elem(&flows, &key);
	if (!flow)
		hw_lose(HW_LOSS_FLOWS);
	return flow;
}

/*
 * Adds to a row what its connection has moved since it was last asked. The exchange makes it safe against the other processor: a reader's
 * iterator and the end of the connection may meet.
 */
static __always_inline void hw_count_bytes(struct hw_flow_value *flow, struct hw_socket *socket, const struct hw_byte_counts *now)
{
	__u64 sent = __sync_lock_test_and_set(&socket->counted_sent, now->sent);
	__u64 received = __sync_lock_test_and_set(&socket->counted_received, now->received);

	if (now->sent > sent)
		__sync_fetch_and_add(&flow->bytes_sent, now->sent - sent);
	if (now->received > received)
		__sync_fetch_and_add(&flow->bytes_received, now->received - received);
}

static __always_inline void hw_count_round_trip(struct hw_flow_value *flow, __u32 round_trip_us)
{
	if (round_trip_us == 0)
		return;
	__sync_fetch_and_add(&flow->round_trip_us_sum, round_trip_us);
	__sync_fetch_and_add(&flow->round_trip_count, 1);
}

#endif
