// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What the bare bypasses run in the driver, and what makes and takes their frames. Programs come in pairs: one for
// each side of the relay.
#include "bypass.h"

struct xdp_md {
    u32 data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex;
};
struct bpf_map_def {
    u32 type, key_size, value_size, max_entries, map_flags;
};
enum { BPF_MAP_TYPE_ARRAY = 2, BPF_MAP_TYPE_DEVMAP = 14, BPF_MAP_TYPE_XSKMAP = 17, BPF_F_MMAPABLE = 1 << 10 };
enum { XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX, XDP_REDIRECT };

static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static u64 (*const bpf_ktime_get_ns)(void) = (void *)5;
static long (*const bpf_csum_diff)(const void *from, u32 from_size, const void *to, u32 to_size, u32 seed) = (void *)28;
static long (*const bpf_redirect_map)(void *map, u64 key, u64 flags) = (void *)51;

#define SEC(name) __attribute__((section(name), used))
#define FLOWS (2 * BYPASS_MAX_CALLS)
#define MAP(NAME, TYPE, VALUE, ENTRIES, FLAGS) struct bpf_map_def SEC("maps") NAME = {TYPE, sizeof(u32), VALUE, ENTRIES, FLAGS}

// The bare relay's flows, side 0 first, and the interfaces or sockets of the sides.
MAP(bare_flows, BPF_MAP_TYPE_ARRAY, sizeof(struct bare_flow), FLOWS, BPF_F_MMAPABLE);
MAP(bare_links, BPF_MAP_TYPE_DEVMAP, sizeof(u32), 2, 0);
MAP(bare_sockets, BPF_MAP_TYPE_XSKMAP, sizeof(u32), 2, 0);
// The generator's.
MAP(born_state, BPF_MAP_TYPE_ARRAY, sizeof(struct born_state), 1, BPF_F_MMAPABLE);
MAP(born_frames, BPF_MAP_TYPE_ARRAY, sizeof(struct born_frame), FLOWS, BPF_F_MMAPABLE);
MAP(born_backs, BPF_MAP_TYPE_ARRAY, sizeof(struct born_back), FLOWS, BPF_F_MMAPABLE);
MAP(born_seen, BPF_MAP_TYPE_ARRAY, sizeof(struct born_seen), 2, BPF_F_MMAPABLE);
MAP(born_links, BPF_MAP_TYPE_DEVMAP, sizeof(u32), 2, 0);

// The relay in the driver: find the flow, check the source, rewrite, out at the other side.
ALWAYS int relay(struct xdp_md *ctx, u32 side) {
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    int place = bare_place(data, end, side);
    if (place < 0) return XDP_PASS;
    u32 key = (u32)place;
    struct bare_flow *flow = bpf_map_lookup_elem(&bare_flows, &key);
    if (!flow || !bare_rewrite(data, flow)) return XDP_PASS;
    return (int)bpf_redirect_map(&bare_links, 1 - side, 0);
}
SEC("xdp/relay/0") int relay_0(struct xdp_md *ctx) { return relay(ctx, 0); }
SEC("xdp/relay/1") int relay_1(struct xdp_md *ctx) { return relay(ctx, 1); }

// The way up to the AF_XDP socket of a side.
ALWAYS int up(struct xdp_md *ctx, u32 side) {
    if (bare_place((void *)(long)ctx->data, (void *)(long)ctx->data_end, side) < 0) return XDP_PASS;
    return (int)bpf_redirect_map(&bare_sockets, side, XDP_PASS);
}
SEC("xdp/up/0") int up_0(struct xdp_md *ctx) { return up(ctx, 0); }
SEC("xdp/up/1") int up_1(struct xdp_md *ctx) { return up(ctx, 1); }

// Makes a frame of what it is given, if one is due, and sends it into a side's link. What is in the frame is of no
// account: it may have been through the relay before.
SEC("xdp/born") int born(struct xdp_md *ctx) {
    u8 *data = (u8 *)(long)ctx->data, *end = (u8 *)(long)ctx->data_end;
    u32 key = 0;
    struct born_state *state = bpf_map_lookup_elem(&born_state, &key);
    if (!state || data + BYPASS_FRAME > end) return XDP_ABORTED;
    u64 now = bpf_ktime_get_ns();
    if (state->tick) now -= now % state->tick;
    now <<= 8;
    if (now < state->next) return XDP_DROP;
    state->next += state->gap;
    // A longer pause is not made up for, or the relay would have to hold what gathered.
    if (state->next < now && now - state->next > state->behind) {
        state->skipped++;
        state->next = now;
    }
    u32 side = state->side & 1, round = state->round;
    key = side * BYPASS_MAX_CALLS + state->call;
    state->side = 1 - side;
    if (side) {
        if (++state->call >= state->calls) {
            state->call = 0;
            state->round++;
        }
    }
    struct born_frame *frame = bpf_map_lookup_elem(&born_frames, &key);
    if (!frame) return XDP_ABORTED;
    u64 *head = (u64 *)data;
#pragma clang loop unroll(full)
    for (u32 word = 0; word < BORN_HEAD / 8; word++) head[word] = frame->head[word];
    u32 time = SWAP32(round * 160), sequence = SWAP16(round);
    *(u16 *)(data + 44) = (u16)sequence;
    *(u32 *)(data + 46) = time;
    *(u32 *)(data + 66) = round;
    u32 sum = frame->sum + sequence + (time & 0xffff) + (time >> 16) + (round & 0xffff) + (round >> 16);
    u16 check = (u16)~fold(sum);
    *(u16 *)(data + 40) = check ? check : 0xffff;
    state->sent++;
    return (int)bpf_redirect_map(&born_links, side, 0);
}

// Whether all of a frame is as it must be. One that a socket sent may have a checksum that a card would complete.
ALWAYS int is_right(const u8 *data, const struct born_back *back) {
    const struct ip4 *ip = (const void *)(data + sizeof(struct ether));
    const struct udp4 *udp = (const void *)(ip + 1);
    if (ip->source != back->from || ip->destination != back->to || udp->source != back->from_port || udp->destination != back->to_port) return 0;
    if (fold((u32)bpf_csum_diff(0, 0, ip, sizeof *ip, 0)) != 0xffff) return 0;
    u32 sum = (ip->source & 0xffff) + (ip->source >> 16) + (ip->destination & 0xffff) + (ip->destination >> 16) + SWAP16(17) + udp->length;
    return !udp->check || udp->check == fold(sum) || fold(fold((u32)bpf_csum_diff(0, 0, udp, BYPASS_FRAME - 34, 0)) + sum) == 0xffff;
}

// Counts a frame that came back to a side and drops it.
ALWAYS int back(struct xdp_md *ctx, u32 side) {
    const u8 *data = (const u8 *)(long)ctx->data, *end = (const u8 *)(long)ctx->data_end;
    u32 key = side;
    struct born_seen *seen = bpf_map_lookup_elem(&born_seen, &key);
    if (!seen) return XDP_PASS;
    // The label: magic, call, side, round.
    if (data + BYPASS_FRAME > end || *(const u32 *)(data + 54) != 0x6d6f6f72 || data[23] != 17) {
        seen->foreign++;
        return XDP_PASS;
    }
    u32 call = *(const u32 *)(data + 58), from = *(const u32 *)(data + 62), round = *(const u32 *)(data + 66);
    if (call >= BYPASS_MAX_CALLS || from != 1 - side) {
        seen->wrong++;
        return XDP_DROP;
    }
    seen->received++;
    if (call % BORN_SAMPLE) return XDP_DROP;
    key = from * BYPASS_MAX_CALLS + call;
    struct born_back *back = bpf_map_lookup_elem(&born_backs, &key);
    if (!back) return XDP_DROP;
    seen->checked++;
    if (!is_right(data, back)) seen->wrong++;
    u32 ahead = round - back->round;
    if (ahead >> 31) {
        seen->reordered++;
    } else {
        seen->missed += ahead;
        back->round = round + 1;
    }
    return XDP_DROP;
}
SEC("xdp/back/0") int back_0(struct xdp_md *ctx) { return back(ctx, 0); }
SEC("xdp/back/1") int back_1(struct xdp_md *ctx) { return back(ctx, 1); }

char SEC("license") terms[] = "Dual MIT/GPL";
