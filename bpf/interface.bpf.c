// SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0)
/* Interfaces: packets and bytes of both directions, and packets that the kernel dropped, with its reason. */
#include "kernel.h"
#include "event.h"
#include "scope.h"
#include "ring.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct hw_interface_key);
	__type(value, struct hw_interface_value);
} interfaces SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct hw_drop_key);
	__type(value, struct hw_drop_value);
} drops SEC(".maps");

static __always_inline struct hw_interface_value *value_of(const struct net_device *device)
{
	struct hw_interface_value none = {};
	struct hw_interface_value *value;
	struct hw_interface_key key;

	key.netns = device->nd_net.net->ns.inum;
	key.interface = device->ifindex;
	value = bpf_map_lookup_elem(&interfaces, &key);
	if (value)
		return value;
	bpf_map_update_elem(&interfaces, &key, &none, BPF_NOEXIST);
	value = bpf_map_lookup_elem(&interfaces, &key);
	if (!value)
		hw_lose(HW_LOSS_INTERFACES);
	return value;
}

/* The header of the link is off a received packet already; it is added, so that both directions count the same bytes. */
SEC("tp_btf/netif_receive_skb")
int BPF_PROG(interface_receive, struct sk_buff *packet)
{
	struct net_device *device = packet->dev;
	struct hw_interface_value *value;

	if (!device)
		return 0;
	value = value_of(device);
	if (value) {
		value->packets_received += 1;
		value->bytes_received += packet->len + device->hard_header_len;
	}
	return 0;
}

SEC("tp_btf/net_dev_start_xmit")
int BPF_PROG(interface_send, const struct sk_buff *packet, const struct net_device *device)
{
	struct hw_interface_value *value = value_of(device);

	if (value) {
		value->packets_sent += 1;
		value->bytes_sent += packet->len;
	}
	return 0;
}

/* Frees that are no drop, or of which the kernel does not say why, are left out. */
static __always_inline bool is_drop(__u32 reason)
{
	if (reason <= SKB_NOT_DROPPED_YET)
		return false;
	if (bpf_core_enum_value_exists(enum skb_drop_reason, SKB_CONSUMED) &&
	    reason == bpf_core_enum_value(enum skb_drop_reason, SKB_CONSUMED))
		return false;
	return reason != bpf_core_enum_value(enum skb_drop_reason, SKB_DROP_REASON_NOT_SPECIFIED);
}

SEC("tp_btf/kfree_skb")
int BPF_PROG(interface_drop, struct sk_buff *packet, void *location, __u32 reason)
{
	struct hw_drop_value none = {};
	struct hw_drop_value *value;
	struct hw_drop_key key = {};

	if (!is_drop(reason))
		return 0;
	key.reason = reason;
	key.netns = BPF_CORE_READ(packet, sk, __sk_common.skc_net.net, ns.inum);
	if (key.netns == 0)
		key.netns = BPF_CORE_READ(packet, dev, nd_net.net, ns.inum);
	value = bpf_map_lookup_elem(&drops, &key);
	if (!value) {
		bpf_map_update_elem(&drops, &key, &none, BPF_NOEXIST);
		value = bpf_map_lookup_elem(&drops, &key);
	}
	if (value)
		value->count += 1;
	else
		hw_lose(HW_LOSS_DROPS);
	return 0;
}
