// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Which socket gets a datagram: those of open media ports go to the one socket of their shard. Runs in the
// kernel's socket lookup, after connected sockets and before bound ones, once for each datagram that is not
// a connected socket's. Whatever it does not know it passes, and the kernel goes on as without it.
//
// Layouts are those of xdp/abi/src/lookup.rs. `make bpf` compiles this; the object is checked in.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

// What is needed of linux/bpf.h, whose values are fixed for ever.
struct bpf_sock;
struct bpf_sk_lookup {
	u64 sk;
	u32 family;
	u32 protocol;
	u32 remote_ip4;
	u32 remote_ip6[4];
	u32 remote_port;
	u32 local_ip4;
	u32 local_ip6[4];
	u32 local_port; // in host byte order
	u32 ingress_ifindex;
};
struct bpf_map_def {
	u32 type;
	u32 key_size;
	u32 value_size;
	u32 max_entries;
	u32 map_flags;
};
enum { BPF_MAP_TYPE_ARRAY = 2, BPF_MAP_TYPE_SOCKMAP = 15, BPF_F_MMAPABLE = 1 << 10 };
enum { BPF_SK_LOOKUP_F_NO_REUSEPORT = 2 };
enum { SK_PASS = 1 };
enum { AF_INET = 2, AF_INET6 = 10, IPPROTO_UDP = 17 };

static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*const bpf_sk_release)(void *sk) = (void *)86;
static long (*const bpf_sk_assign)(void *ctx, void *sk, u64 flags) = (void *)124;
static u64 (*const bpf_ktime_get_coarse_ns)(void) = (void *)160;

#define SEC(name) __attribute__((section(name), used))

enum { MAX_RANGES = 16, MAX_SHARDS = 64, PORTS_PER_LINE = 16, WINDOW_SHIFT = 28 };

// Addresses in network byte order, except for the last word; IPv4 in its mapped form. One without addresses ends
// the list.
struct range {
	u32 prefix[3];
	u32 first;
	u32 addresses;
	u32 first_port;
	u32 ports;
	u32 stride;    // entries from one address to the next
	u32 base;      // the entry of the first port of the first address
	u32 interface; // 0 for any
	u32 limit;     // packets of one port in one window
	u32 padding;
};
// The process writes `shard`; the rest is the program's own. Counts are plain: CPUs that race lose some, and
// the ceiling is coarse.
struct port {
	u8 shard; // 0: closed, else its number and 1
	u8 window;
	u16 packets;
};
struct line {
	struct port port[PORTS_PER_LINE];
};
struct figures {
	u64 flooded;
	u64 padding[7]; // a cache line for each shard
};

struct bpf_map_def SEC("maps") moor_ranges = { BPF_MAP_TYPE_ARRAY, sizeof(u32), sizeof(struct range), MAX_RANGES, 0 };
struct bpf_map_def SEC("maps") moor_ports = { BPF_MAP_TYPE_ARRAY, sizeof(u32), sizeof(struct line), 1, BPF_F_MMAPABLE };
struct bpf_map_def SEC("maps") moor_figures = { BPF_MAP_TYPE_ARRAY, sizeof(u32), sizeof(struct figures), MAX_SHARDS,
						BPF_F_MMAPABLE };
// The sockets that flooded ports' packets go to, one for each family, which keep nothing; then two for each shard.
struct bpf_map_def SEC("maps") moor_sockets = { BPF_MAP_TYPE_SOCKMAP, sizeof(u32), sizeof(u32), 2 + 2 * MAX_SHARDS, 0 };

SEC("sk_lookup") int moor_lookup(struct bpf_sk_lookup *ctx)
{
	u32 a, b, c, d, v6, port, index, key;
	struct range *range;
	struct port *entry;
	struct line *line;
	void *socket;
	u8 window;

	if (ctx->protocol != IPPROTO_UDP)
		return SK_PASS;
	if (ctx->family == AF_INET) {
		a = b = v6 = 0;
		c = __builtin_bswap32(0xffff);
		d = __builtin_bswap32(ctx->local_ip4);
		// Keeps the compiler from making one load at a computed place of both branches': the verifier refuses it.
		asm volatile("" : "+r"(d));
	} else {
		a = ctx->local_ip6[0];
		b = ctx->local_ip6[1];
		c = ctx->local_ip6[2];
		d = __builtin_bswap32(ctx->local_ip6[3]);
		v6 = 1;
	}
	port = ctx->local_port;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < MAX_RANGES; i++) {
		// Looked up one by one: the verifier lets a process without CAP_PERFMON walk no array by a pointer.
		key = i;
		range = bpf_map_lookup_elem(&moor_ranges, &key);
		if (!range || !range->addresses)
			return SK_PASS;
		if (d - range->first < range->addresses && port - range->first_port < range->ports &&
		    c == range->prefix[2] && b == range->prefix[1] && a == range->prefix[0])
			goto found;
	}
	return SK_PASS;
found:
	if (range->interface && range->interface != ctx->ingress_ifindex)
		return SK_PASS;
	index = range->base + (d - range->first) * range->stride + (port - range->first_port);
	key = index / PORTS_PER_LINE;
	line = bpf_map_lookup_elem(&moor_ports, &key);
	if (!line)
		return SK_PASS;
	entry = &line->port[index % PORTS_PER_LINE];
	key = entry->shard;
	if (!key)
		return SK_PASS;
	window = bpf_ktime_get_coarse_ns() >> WINDOW_SHIFT;
	if (entry->window != window) {
		entry->window = window;
		entry->packets = 1;
		key = 2 * key + v6;
	} else if (entry->packets < range->limit) {
		entry->packets++;
		key = 2 * key + v6;
	} else {
		struct figures *figures;

		key--;
		figures = bpf_map_lookup_elem(&moor_figures, &key);
		if (figures)
			__sync_fetch_and_add(&figures->flooded, 1);
		// Not SK_DROP: the kernel would answer that the port is unreachable.
		key = v6;
	}
	socket = bpf_map_lookup_elem(&moor_sockets, &key);
	if (!socket)
		return SK_PASS;
	bpf_sk_assign(ctx, socket, BPF_SK_LOOKUP_F_NO_REUSEPORT);
	bpf_sk_release(socket);
	return SK_PASS;
}

char SEC("license") terms[] = "Dual MIT/GPL";
