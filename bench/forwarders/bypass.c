// A bare relay beside the kernel's stack: wholly in the driver, or by AF_XDP sockets. Says `ready`, relays until
// SIGTERM, and says how many packets.
#define _GNU_SOURCE
#include "bypass.h"

#include <err.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "calls.h"
#include "object.h"
#include "side.h"
#include "xsk.h"

_Static_assert(BYPASS_FIRST_PORT == FIRST_PORT && BYPASS_MAX_CALLS == MAX_CALLS && BYPASS_FRAME == 42 + PAYLOAD, "the calls of calls.h");

static struct bare_flow *flows;
static struct xsk sockets[2];

static uint32_t halves(uint32_t value) { return (value & 0xffff) + (value >> 16); }

// What a checksum changes by when `old` becomes `new`, 32 bits each.
static uint32_t change(uint32_t old, uint32_t new) { return halves(~old) + halves(new); }

static void open_flows(const struct side *sides, uint8_t own[2][6], unsigned calls) {
    flows = object_memory("bare_flows", 2 * MAX_CALLS * sizeof *flows);
    for (unsigned number = 0; number < 2; number++)
        for (unsigned call = 0; call < calls; call++) {
            struct bare_flow *flow = &flows[number * MAX_CALLS + call];
            const struct side *in = &sides[number], *out = &sides[1 - number];
            uint16_t port = htons(port_of(call));
            flow->source = in->far;
            flow->local = in->relay;
            flow->from = out->relay;
            flow->to = out->far;
            flow->source_port = in->far_port ? in->far_port : port;
            flow->from_port = port;
            flow->to_port = out->far_port ? out->far_port : port;
            memcpy(flow->ethernet, out->hardware, 6);
            memcpy((uint8_t *)flow->ethernet + 6, own[1 - number], 6);
            flow->addresses = fold(change(flow->source, flow->from) + change(flow->local, flow->to));
            flow->ports = fold((uint16_t)~flow->source_port + flow->from_port + (uint16_t)~port + flow->to_port);
            flow->is_open = 1;
        }
}

// What came in at a side goes out at the other.
static uint32_t forward(unsigned number) {
    struct xsk *in = &sockets[number], *out = &sockets[1 - number];
    uint8_t *memory = xsk_memory();
    uint32_t count = queue_filled(&in->receive), room = queue_room(&out->send);
    if (count > XSK_BATCH) count = XSK_BATCH;
    for (uint32_t done = 0; done < count; done++) {
        struct xdp_desc frame = ((struct xdp_desc *)in->receive.entries)[in->receive.at++ & in->receive.mask];
        uint8_t *at = memory + frame.addr;
        int place = bare_place(at, at + frame.len, number);
        if (place >= 0 && room && bare_rewrite(at, &flows[place])) {
            ((struct xdp_desc *)out->send.entries)[out->send.at++ & out->send.mask] = (struct xdp_desc){frame.addr, frame.len, 0};
            room--;
        } else {
            xsk_free[xsk_free_count++] = frame.addr - frame.addr % XSK_FRAME;
        }
    }
    if (!count) return 0;
    queue_taken(&in->receive);
    queue_given(&out->send);
    return count;
}

static void forward_by_sockets(void) {
    struct pollfd waits[2] = {{.fd = sockets[0].fd, .events = POLLIN}, {.fd = sockets[1].fd, .events = POLLIN}};
    for (;;) {
        uint32_t count = forward(0) + forward(1);
        int is_left = 0;
        for (unsigned number = 0; number < 2; number++) {
            xsk_kick(&sockets[number]);
            is_left |= !queue_is_empty(&sockets[number].send);
        }
        for (unsigned number = 0; number < 2; number++) xsk_replenish(&sockets[number]);
        if (!count) poll(waits, 2, is_left ? 1 : -1);
    }
}

static void report(int signal) {
    (void)signal;
    unsigned long long packets = 0;
    for (unsigned flow = 0; flow < 2 * MAX_CALLS; flow++) packets += flows[flow].packets;
    printf("forwarded=%llu\n", packets);
    fflush(stdout);
    _exit(0);
}

int main(int argc, char **argv) {
    if (argc != 5 || (strcmp(argv[1], "xdp") && strcmp(argv[1], "af_xdp")) || atoi(argv[2]) < 1 || atoi(argv[2]) > MAX_CALLS)
        errx(2, "usage: bypass xdp|af_xdp CALLS SIDE SIDE, with a SIDE: INTERFACE,OTHER_END_HARDWARE,RELAY_ADDRESS,FAR_ADDRESS[,FAR_PORT]");
    int is_af_xdp = !strcmp(argv[1], "af_xdp");
    struct side sides[2] = {side_parse(argv[3]), side_parse(argv[4])};
    uint8_t own[2][6];
    unsigned links[2];
    for (unsigned number = 0; number < 2; number++) links[number] = side_link(&sides[number], own[number]);
    object_open("bypass.bpf.o");
    open_flows(sides, own, (unsigned)atoi(argv[2]));
    for (unsigned number = 0; number < 2; number++) {
        if (is_af_xdp) {
            xsk_open(&sockets[number], number ? &sockets[0] : NULL, links[number]);
            object_set("bare_sockets", number, (uint32_t)sockets[number].fd);
        } else {
            object_set("bare_links", number, links[number]);
        }
    }
    static const char *const PROGRAMS[2][2] = {{"xdp/relay/0", "xdp/relay/1"}, {"xdp/up/0", "xdp/up/1"}};
    for (unsigned number = 0; number < 2; number++) object_attach(object_program(PROGRAMS[is_af_xdp][number]), links[number]);
    signal(SIGTERM, report);
    puts("ready");
    fflush(stdout);
    if (is_af_xdp) forward_by_sockets();
    for (;;) pause();
}
