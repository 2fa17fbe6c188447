// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Interfaces, and whose the AF_XDP sockets of their queues are.

#pragma once

#include "forward.h"

INLINE struct interface *interface_of(u32 index)
{
	// Unrolled: the verifier follows what a CPU might do where it guesses branches, and finds no end to a loop.
#pragma clang loop unroll(full)
	for (u32 i = 0; i < INTERFACE_PROBES; i++) {
		u32 key = (index + i) % INTERFACE_PLACES;
		struct interface *interface = bpf_map_lookup_elem(&moor_interfaces, &key);

		if (!interface || interface->index == index)
			return interface;
	}
	return 0;
}

// The interface that a packet came by, if the queue's AF_XDP socket is this shard's.
INLINE struct interface *own_socket(struct xdp_md *ctx, u32 shard)
{
	u32 queue = ctx->rx_queue_index;
	struct interface *interface;

	if (!shard)
		return 0;
	interface = interface_of(ctx->ingress_ifindex);
	if (!interface || queue >= MAX_QUEUES || interface->shards[queue] != shard)
		return 0;
	return interface;
}
