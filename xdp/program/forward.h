// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What the forwarding program needs of the kernel, and its tables as they are in xdp/abi/src/forward.rs.

#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long s64;

// What is needed of linux/bpf.h, whose values are fixed for ever.
struct xdp_md {
	u32 data;
	u32 data_end;
	u32 data_meta;
	u32 ingress_ifindex;
	u32 rx_queue_index;
	u32 egress_ifindex;
};
struct bpf_map_def {
	u32 type;
	u32 key_size;
	u32 value_size;
	u32 max_entries;
	u32 map_flags;
};
enum { BPF_MAP_TYPE_ARRAY = 2, BPF_MAP_TYPE_PERCPU_ARRAY = 6, BPF_MAP_TYPE_DEVMAP = 14, BPF_MAP_TYPE_XSKMAP = 17 };
enum { BPF_F_MMAPABLE = 1 << 10 };
enum { XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX, XDP_REDIRECT };

static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static u64 (*const bpf_ktime_get_ns)(void) = (void *)5;
static s64 (*const bpf_csum_diff)(void *from, u32 from_size, void *to, u32 to_size, u32 seed) = (void *)28;
static long (*const bpf_xdp_adjust_head)(void *ctx, int delta) = (void *)44;
static long (*const bpf_redirect_map)(void *map, u64 key, u64 flags) = (void *)51;
static u64 (*const bpf_xdp_get_buff_len)(void *ctx) = (void *)188;
static long (*const bpf_xdp_load_bytes)(void *ctx, u32 offset, void *to, u32 length) = (void *)189;

#define SEC(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
// Moves a pointer by a constant, in each path by itself: the compiler may not make one addition of a variable of them.
#define ADVANCE(pointer, by) asm volatile("%0 += %1" : "+r"(pointer) : "i"(by))
// One load or store, here.
#define READ(place) (*(volatile typeof(place) *)&(place))
#define WRITE(place, value) (*(volatile typeof(place) *)&(place) = (value))
#define BE16(value) ((u16)__builtin_bswap16(value))

enum { MAX_RANGES = 16, MAX_HOPS = 65536, MAX_INTERFACES = 16, INTERFACE_PLACES = 64, INTERFACE_PROBES = 4, MAX_QUEUES = 64 };
enum { GRACE_NS = 200000, SETTLE_NS = 10000000, IN_FLIGHT_NS = 1000000000, PAUSE_NS = 500000000, WINDOW_SHIFT = 28, MAX_DROPOUT = 3000, MAX_MISORDER = 100 };
enum { RESIDENCE_BUCKETS = 185, RESIDENCE_EVERY = 16 };
// No media packet is longer; what is may be in more than one buffer.
#define MAX_FRAME 1600
// What is summed at once.
#define SCRATCH 512
#define LEASE_NS 5000000000ll
#define NANOS 1000000000ull
enum { UP, RELAY, LEAVE, DRAIN }; // wishes

// Why a packet goes up.
enum reason {
	OTHER, ELSEWHERE, CLOSED, FLOWLESS, NOT_RTP, LEASE, UNWISHED, HOP,
	SOURCE, SSRC, PAYLOAD_TYPE, MALFORMED, TOO_LONG, CEILING, UNUSUAL, UNARMED, OWN_QUEUE,
	REASONS
};

// As in lookup.bpf.c, but for the VLANs.
struct range {
	u32 prefix[3];
	u32 first;
	u32 addresses;
	u32 first_port;
	u32 ports;
	u32 stride;
	u32 base;
	u32 interface; // 0 for any
	u32 limit;     // packets of one port in one window
	u32 tags;      // of packets of that interface: the outer VLAN in the upper half, the inner or only one in the lower
};
// The process writes `word`; the rest is the program's own. Counts are plain: CPUs that race lose some, and the
// ceiling is coarse.
struct port {
	u32 word; // the flow and 1 in the lower 24 bits, the shard and 1 above
	u16 window;
	u16 packets;
};
struct told {
	u16 wish;
	u16 version;
	u32 armed;
	u32 epoch;
	u32 ssrc;
	u64 payload_types[2];
	u32 source[4];
	u32 to[4];
	u32 from[4];
	u16 source_port;
	u16 max_packets;
	u32 ports;
	u8 tos;
	u8 ttl;
	u16 change;
	u16 header;
	u16 pseudo;
	u16 hop;
	u16 pseudo_after;
	u32 clock_factor;
	u32 max_bytes;
	u32 sequence;
	u32 came;
	u32 timestamp;
	u32 transit;
	u32 jitter;
};
struct seen {
	u32 passed;
	u32 relaying;
	u32 epoch;
	u32 sequence;
	u64 packets;
	u64 bytes;
	u64 last_seen;
	u32 skipped;
	u32 gaps;
	u32 late;
	u32 duplicates;
	u32 came;
	u32 timestamp;
	u32 transit;
	u32 jitter;
	u32 window;
	u32 window_packets;
	u32 window_bytes;
	u32 longest_gap;
	u64 longest_gap_ns;
	u64 up_at;
	u32 last_up[2];
	u32 takeovers;
	u32 length;
	u64 by_kernel_at;
};
struct flow {
	struct told told;
	struct seen seen;
};
struct hop {
	u32 valid;
	u32 interface;
	u32 device;
	u16 mtu;
	u16 vlan;
	u16 outer;
	u16 destination[3];
	u16 source[3];
	u16 padding;
};
struct lease {
	u32 version;
	u32 pid;
	u64 beat;
	u64 second;
	u64 drain_until;
	u32 foreign;
	u32 zero;
	u64 padding[3];
};
struct interface {
	u32 index;
	u32 slot;
	u32 generic;
	u32 padding[13];
	u8 shards[MAX_QUEUES];
};
// Which figure is which.
enum { RELAYED, STEERED, FLOODED, DRAINED, PASSED, RESIDENCE = PASSED + REASONS, FIGURES = RESIDENCE + RESIDENCE_BUCKETS };
_Static_assert(sizeof(struct range) == 48 && sizeof(struct port) == 8, "as in the abi");
_Static_assert(sizeof(struct told) == 128 && sizeof(struct seen) == 128, "as in the abi");
_Static_assert(sizeof(struct hop) == 32 && sizeof(struct lease) == 64, "as in the abi");
_Static_assert(sizeof(struct interface) == 128, "as in the abi");

// Those of one entry are made as large as they have to be when they are loaded.
struct bpf_map_def SEC("maps") moor_ranges = { BPF_MAP_TYPE_ARRAY, sizeof(u32), sizeof(struct range), MAX_RANGES, 0 };
struct bpf_map_def SEC("maps") moor_slots = { BPF_MAP_TYPE_ARRAY, sizeof(u32), sizeof(struct port), 1, BPF_F_MMAPABLE };
struct bpf_map_def SEC("maps") moor_flows = { BPF_MAP_TYPE_ARRAY, sizeof(u32), sizeof(struct flow), 1, BPF_F_MMAPABLE };
struct bpf_map_def SEC("maps") moor_hops = { BPF_MAP_TYPE_ARRAY, sizeof(u32), sizeof(struct hop), MAX_HOPS, BPF_F_MMAPABLE };
struct bpf_map_def SEC("maps") moor_lease = { BPF_MAP_TYPE_ARRAY, sizeof(u32), sizeof(struct lease), 1, BPF_F_MMAPABLE };
struct bpf_map_def SEC("maps") moor_interfaces = { BPF_MAP_TYPE_ARRAY, sizeof(u32), sizeof(struct interface),
						   INTERFACE_PLACES, BPF_F_MMAPABLE };
struct bpf_map_def SEC("maps") moor_devices = { BPF_MAP_TYPE_DEVMAP, sizeof(u32), sizeof(u32), MAX_INTERFACES, 0 };
struct bpf_map_def SEC("maps") moor_xsks = { BPF_MAP_TYPE_XSKMAP, sizeof(u32), sizeof(u32), MAX_INTERFACES * MAX_QUEUES, 0 };
// A part of a packet.
struct scratch {
	u32 words[SCRATCH / 4];
};
struct bpf_map_def SEC("maps") moor_scratch = { BPF_MAP_TYPE_PERCPU_ARRAY, sizeof(u32), sizeof(struct scratch), 1, 0 };
struct bpf_map_def SEC("maps") moor_counts = { BPF_MAP_TYPE_PERCPU_ARRAY, sizeof(u32), sizeof(u64), FIGURES, 0 };
