// The least that a relay must do: receive, find the flow, check the source, send on. One alternative per run,
// named by `key=value` arguments.
#define _GNU_SOURCE
#include "forward.h"

#include <err.h>
#include <errno.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "calls.h"
#include "checksum.h"
#include "lookup.h"

#ifndef SO_RCVBUFFORCE
#define SO_RCVBUFFORCE 33
#endif

struct trial trial = {
    .ring = 1, .recvmsg = 1, .skip = 1, .defer = 1, .single = 1, .dontwait = 1, .wait = 1, .buffers = 1024, .stride = 1088, .batch = 256,
    .checksum = 1, .raws = 1, .calls = 1000, .rcvbuf = 4 << 20, .sqpoll = -1,
};
struct flow *flows;
uint64_t refused, failed;

static const struct {
    const char *name, *meaning;
    int *value;
} KEYS[] = {
    {"ring", "1: io_uring, 0: epoll, recvmmsg, sendmmsg", &trial.ring},
    {"calls", "calls, each of two flows", &trial.calls},
    {"recvmsg", "1: multishot recvmsg with the source, 0: plain multishot recv (connected sockets only)", &trial.recvmsg},
    {"stamp", "kernel receive timestamps as control data", &trial.stamp},
    {"overflow", "the count of datagrams lost at the socket as control data", &trial.overflow},
    {"pktinfo", "where the datagram was sent to as control data", &trial.pktinfo},
    {"files", "registered files", &trial.files},
    {"skip", "no completion for a send that went well", &trial.skip},
    {"link", "the sends of a batch are linked", &trial.link},
    {"zerocopy", "SEND_ZC", &trial.zerocopy},
    {"fixed_buffers", "SEND_ZC from registered memory", &trial.fixed_buffers},
    {"sqpoll", "a kernel thread on this core takes the submissions", &trial.sqpoll},
    {"defer", "DEFER_TASKRUN", &trial.defer},
    {"coop", "COOP_TASKRUN", &trial.coop},
    {"single", "SINGLE_ISSUER", &trial.single},
    {"split", "submit and wait are two calls", &trial.split},
    {"dontwait", "MSG_DONTWAIT on sends", &trial.dontwait},
    {"bundle", "receive bundles", &trial.bundle},
    {"wait", "completions to wait for", &trial.wait},
    {"timeout", "us to wait for them", &trial.timeout},
    {"minwait", "us to wait at least", &trial.minwait},
    {"nap", "us to sleep when there is nothing, instead of waiting for a packet", &trial.nap},
    {"napi", "us of busy-polling (IORING_REGISTER_NAPI)", &trial.napi},
    {"buffers", "provided buffers, a power of two", &trial.buffers},
    {"stride", "bytes from buffer to buffer", &trial.stride},
    {"batch", "packets handled between two submits", &trial.batch},
    {"checksum", "UDP checksum of raw sends, 0: none", &trial.checksum},
    {"raws", "raw sockets taken in turn by flow", &trial.raws},
    {"port_table", "the lookup program reads a table of open ports", &trial.port_table},
    {"guard", "the lookup program counts packets of each port", &trial.guard},
    {"queueing", "packet sockets send through the interface's queueing discipline", &trial.queueing},
    {"rcvbuf", "bytes of receive buffer of a shared socket", &trial.rcvbuf},
};

static void usage(void) {
    fprintf(stderr, "usage: forward [key=value ...]\n  sockets=port|connected|shared  send=udp|raw|raw_connected|packet  via=send|sendmsg|sendmmsg\n");
    for (size_t key = 0; key < sizeof KEYS / sizeof *KEYS; key++) fprintf(stderr, "  %s: %s (%d)\n", KEYS[key].name, KEYS[key].meaning, *KEYS[key].value);
    exit(2);
}

static int one_of(const char *value, const char *const *names) {
    for (int index = 0; names[index]; index++)
        if (!strcmp(value, names[index])) return index;
    usage();
    return 0;
}

static void parse(const char *argument) {
    const char *value = strchr(argument, '=');
    if (!value++) usage();
    size_t length = (size_t)(value - argument) - 1;
    if (!strncmp(argument, "sockets=", 8)) trial.sockets = (enum sockets)one_of(value, (const char *const[]){"port", "connected", "shared", NULL});
    else if (!strncmp(argument, "send=", 5)) trial.send = (enum send)one_of(value, (const char *const[]){"udp", "raw", "raw_connected", "packet", NULL});
    else if (!strncmp(argument, "via=", 4)) trial.via = (enum via)one_of(value, (const char *const[]){"send", "sendmsg", "sendmmsg", NULL});
    else {
        for (size_t key = 0; key < sizeof KEYS / sizeof *KEYS; key++)
            if (strlen(KEYS[key].name) == length && !strncmp(argument, KEYS[key].name, length)) {
                *KEYS[key].value = atoi(value);
                return;
            }
        usage();
    }
}

static void option(int fd, int level, int name, int value) {
    if (setsockopt(fd, level, name, &value, sizeof value)) err(1, "socket option %d/%d", level, name);
}

static int udp_socket(uint32_t address, uint16_t port) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) err(1, "socket");
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = address};
    // The ring of a process that has just ended may hold its sockets a little longer.
    for (int tries = 0; bind(fd, (struct sockaddr *)&name, sizeof name); tries++) {
        if (errno != EADDRINUSE || tries == 200) err(1, "bind");
        usleep(10000);
    }
    if (trial.stamp) option(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1);
    if (trial.overflow) option(fd, SOL_SOCKET, SO_RXQ_OVFL, 1);
    if (trial.pktinfo) option(fd, IPPROTO_IP, IP_PKTINFO, 1);
    return fd;
}

int shared_socket(void) {
    int fd = udp_socket(INADDR_ANY, htons(FIRST_PORT - 2));
    option(fd, IPPROTO_IP, IP_RECVORIGDSTADDR, 1);
    option(fd, SOL_SOCKET, SO_RCVBUFFORCE, trial.rcvbuf);
    lookup_attach(fd, trial.port_table, trial.guard);
    return fd;
}

#define MAX_RAWS 64
static int packet_socket(void) {
    int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) err(1, "packet socket");
    option(fd, SOL_PACKET, PACKET_QDISC_BYPASS, !trial.queueing);
    option(fd, SOL_SOCKET, SO_SNDBUFFORCE, 4 << 20);
    return fd;
}

int raw_socket_of(unsigned number, int side) {
    static int sockets[2][MAX_RAWS];
    if (trial.send == SEND_PACKET) return sockets[0][0] ? sockets[0][0] : (sockets[0][0] = packet_socket());
    if (trial.send != SEND_RAW_CONNECTED) side = 0;
    int *fd = &sockets[side][number % (unsigned)trial.raws % MAX_RAWS];
    if (*fd) return *fd;
    *fd = socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_RAW);
    if (*fd < 0) err(1, "raw socket");
    option(*fd, SOL_SOCKET, SO_SNDBUFFORCE, 4 << 20);
    if (trial.send == SEND_RAW_CONNECTED) {
        struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr(FAR_ADDRESS[side])};
        if (connect(*fd, (struct sockaddr *)&name, sizeof name)) err(1, "connect");
    }
    return *fd;
}

static const struct sockaddr_ll *next_hop(unsigned side) {
    static struct sockaddr_ll hops[2];
    hops[side] = (struct sockaddr_ll){.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_halen = 6,
                                      .sll_ifindex = (int)if_nametoindex(side ? "right" : "left"), .sll_addr = {2, 0, 0, 0, 1, (uint8_t)(1 + side)}};
    return &hops[side];
}

static void open_flows(void) {
    unsigned calls = (unsigned)trial.calls;
    flows = aligned_alloc(64, 2 * calls * sizeof *flows);
    memset(flows, 0, 2 * calls * sizeof *flows);
    int shared = trial.sockets == SHARED ? shared_socket() : -1;
    for (unsigned side = 0; side < 2; side++)
        for (unsigned call = 0; call < calls; call++) {
            struct flow *flow = &flows[side * calls + call];
            flow->source = inet_addr(FAR_ADDRESS[side]);
            flow->from = inet_addr(RELAY_ADDRESS[1 - side]);
            flow->source_port = flow->local_port = htons(port_of(call));
            flow->to = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = flow->local_port, .sin_addr.s_addr = inet_addr(FAR_ADDRESS[1 - side])};
            flow->next_hop = next_hop(1 - side);
            if (trial.sockets != SHARED || trial.send == SEND_UDP)
                flow->in = udp_socket(inet_addr(RELAY_ADDRESS[side]), flow->local_port);
            if (trial.sockets == CONNECTED) {
                struct sockaddr_in far = {.sin_family = AF_INET, .sin_port = flow->source_port, .sin_addr.s_addr = flow->source};
                if (connect(flow->in, (struct sockaddr *)&far, sizeof far)) err(1, "connect");
            }
        }
    for (unsigned index = 0; index < 2 * calls; index++) {
        unsigned side = index / calls, other = (index + calls) % (2 * calls);
        flows[index].out = trial.send == SEND_UDP ? flows[other].in : raw_socket_of(index, 1 - (int)side);
    }
    if (trial.sockets == SHARED)
        for (unsigned index = 0; index < 2 * calls; index++) flows[index].in = shared;
}

struct flow *flow_to(uint32_t address, uint16_t port) {
    unsigned offset = (unsigned)(ntohs(port) - FIRST_PORT), calls = (unsigned)trial.calls;
    if (offset & 1 || offset / 2 >= calls) return NULL;
    // `from` of the other direction is this side's address.
    struct flow *flow = &flows[offset / 2];
    return flow[calls].from == address ? flow : flow->from == address ? flow + calls : NULL;
}

bool flow_admits(struct flow *flow, uint32_t source, uint16_t source_port, unsigned length) {
    if (flow->source != source || flow->source_port != source_port) {
        refused++;
        return false;
    }
    flow->packets++;
    flow->bytes += length;
    return true;
}

bool original_destination(const uint8_t *control, unsigned length, uint32_t *address, uint16_t *port) {
    while (length >= sizeof(struct cmsghdr)) {
        const struct cmsghdr *header = (const void *)control;
        unsigned step = (unsigned)CMSG_ALIGN(header->cmsg_len);
        if (step < sizeof *header || step > length) return false;
        if (header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_ORIGDSTADDR) {
            const struct sockaddr_in *name = (const void *)(control + sizeof *header);
            *address = name->sin_addr.s_addr;
            *port = name->sin_port;
            return true;
        }
        control += step;
        length -= step;
    }
    return false;
}

void write_headers(const struct flow *flow, uint8_t *payload, unsigned length) {
    // The kernel writes the total length and the checksum of the IP header of a raw send; a header with an
    // identification keeps it from making one up.
    struct iphdr ip = {.version = 4, .ihl = 5, .tos = 46 << 2, .id = htons(1), .frag_off = htons(IP_DF), .ttl = 64, .protocol = IPPROTO_UDP,
                       .tot_len = htons((uint16_t)(HEADERS + length)), .saddr = flow->from, .daddr = flow->to.sin_addr.s_addr};
    if (trial.send == SEND_PACKET) ip.check = (uint16_t)~checksum_fold(checksum_add(0, &ip, sizeof ip));
    struct udphdr udp = {.source = flow->local_port, .dest = flow->to.sin_port, .len = htons((uint16_t)(8 + length))};
    if (trial.checksum) {
        uint64_t sum = checksum_pseudo(ip.saddr, ip.daddr, (uint16_t)(8 + length)) + udp.source + udp.dest + udp.len;
        udp.check = (uint16_t)~checksum_fold(checksum_add(sum, payload, length));
        if (!udp.check) udp.check = 0xffff;
    }
    memcpy(payload - HEADERS, &ip, sizeof ip);
    memcpy(payload - 8, &udp, sizeof udp);
}

const void *name_of(const struct flow *flow, socklen_t *length) {
    bool named = trial.send == SEND_UDP ? trial.sockets != CONNECTED : trial.send != SEND_RAW_CONNECTED;
    *length = !named ? 0 : trial.send == SEND_PACKET ? sizeof *flow->next_hop : sizeof flow->to;
    return !named ? NULL : trial.send == SEND_PACKET ? (const void *)flow->next_hop : &flow->to;
}

static struct {
    struct mmsghdr messages[MAX_BATCH];
    struct iovec pieces[MAX_BATCH];
    unsigned count;
    int socket;
} later;

void later_push(int socket, const struct flow *flow, uint8_t *at, unsigned length) {
    if (later.count == MAX_BATCH || (later.count && later.socket != socket)) later_send();
    later.socket = socket;
    later.pieces[later.count] = (struct iovec){at, length};
    socklen_t name_length;
    const void *name = name_of(flow, &name_length);
    later.messages[later.count] = (struct mmsghdr){.msg_hdr = {
        .msg_iov = &later.pieces[later.count], .msg_iovlen = 1,
        .msg_name = (void *)(uintptr_t)name, .msg_namelen = name_length}};
    later.count++;
}

void later_send(void) {
    for (unsigned done = 0; done < later.count;) {
        int count = sendmmsg(later.socket, later.messages + done, later.count - done, trial.dontwait ? MSG_DONTWAIT : 0);
        if (count <= 0) failed++;
        done += count > 0 ? (unsigned)count : 1;
    }
    later.count = 0;
}

static void report(int signal) {
    (void)signal;
    uint64_t packets = 0;
    for (int index = 0; index < 2 * trial.calls; index++) packets += flows[index].packets;
    printf("forwarded=%llu refused=%llu failed=%llu\n", (unsigned long long)packets, (unsigned long long)refused, (unsigned long long)failed);
    fflush(stdout);
    _exit(0);
}

int main(int argc, char **argv) {
    for (int index = 1; index < argc; index++) parse(argv[index]);
    if (trial.calls < 1 || trial.calls > MAX_CALLS || trial.batch > MAX_BATCH || trial.raws < 1) usage();
    if (!trial.recvmsg && trial.sockets != CONNECTED) errx(2, "recvmsg=0 needs sockets=connected: nothing else tells the source");
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files)) err(1, "open files");
    prctl(PR_SET_TIMERSLACK, 1);
    open_flows();
    signal(SIGTERM, report);
    puts("ready");
    fflush(stdout);
    if (trial.ring) forward_by_ring();
    else forward_by_calls();
}
