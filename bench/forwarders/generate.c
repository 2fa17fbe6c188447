// Sends the calls' packets into both sides, checks every packet that comes back, and reads the accounts of the
// processes and kernel threads that worked for it: one line of figures.
//
// Frames go in and out by packet sockets beside the stack, so that two cores are enough: one for this, one for
// the forwarder. The addresses of the far side exist in the relay's neighbour table only.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "account.h"
#include "calls.h"
#include "checksum.h"

#define SLOTS 16384
#define SLOT_BYTES 512
#define BATCH 64
#define FRAME (ETH_HLEN + 20 + 8 + PAYLOAD)
// Latencies by microsecond, the last one for all above.
#define BUCKETS 20000

struct frame {
    struct virtio_net_hdr offload;
    uint8_t bytes[FRAME];
} __attribute__((packed));

static struct side {
    int in, out;
    uint8_t *slots;
    unsigned next;
    struct frame *frames;
    uint32_t local, relay;  // addresses, network order
} sides[2];

static unsigned calls = 1000;
static bool is_summed;  // packets leave with whole checksums
static uint64_t sent, unsent, received, wrong, late[BUCKETS];

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int packet_socket(const char *interface, int protocol) {
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (fd < 0) err(1, "packet socket");
    struct sockaddr_ll name = {.sll_family = AF_PACKET, .sll_protocol = htons((uint16_t)protocol), .sll_ifindex = (int)if_nametoindex(interface)};
    int on = 1, version = TPACKET_V2;
    if (protocol) {
        struct tpacket_req ring = {.tp_block_size = 1 << 20, .tp_block_nr = SLOTS * SLOT_BYTES >> 20, .tp_frame_size = SLOT_BYTES, .tp_frame_nr = SLOTS};
        if (setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof version)) err(1, "PACKET_VERSION");
        if (setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on)) err(1, "PACKET_IGNORE_OUTGOING");
        if (setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &ring, sizeof ring)) err(1, "PACKET_RX_RING");
    } else {
        if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on)) err(1, "PACKET_VNET_HDR");
        if (setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on)) err(1, "PACKET_QDISC_BYPASS");
    }
    if (bind(fd, (struct sockaddr *)&name, sizeof name)) err(1, "bind to %s", interface);
    return fd;
}

static void hardware_address(int fd, const char *interface, uint8_t *address) {
    struct ifreq request = {0};
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", interface);
    if (ioctl(fd, SIOCGIFHWADDR, &request)) err(1, "address of %s", interface);
    memcpy(address, request.ifr_hwaddr.sa_data, ETH_ALEN);
}

static void side_open(unsigned number, const char *interface, const uint8_t *relay_hardware) {
    struct side *side = &sides[number];
    side->in = packet_socket(interface, ETH_P_IP);
    side->out = packet_socket(interface, 0);
    side->slots = mmap(NULL, SLOTS * SLOT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, side->in, 0);
    if (side->slots == MAP_FAILED) err(1, "mmap of %s", interface);
    side->local = inet_addr(FAR_ADDRESS[number]);
    side->relay = inet_addr(RELAY_ADDRESS[number]);
    side->frames = calloc(calls, sizeof *side->frames);
    for (unsigned call = 0; call < calls; call++) {
        struct frame *frame = &side->frames[call];
        // The checksum is left to the link, as a socket of a neighbouring host on this veth would leave it.
        frame->offload = (struct virtio_net_hdr){.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = ETH_HLEN + 20, .csum_offset = 6};
        struct ether_header *ether = (void *)frame->bytes;
        memcpy(ether->ether_dhost, relay_hardware, ETH_ALEN);
        hardware_address(side->out, interface, ether->ether_shost);
        ether->ether_type = htons(ETH_P_IP);
        struct iphdr ip = {.version = 4, .ihl = 5, .tot_len = htons(28 + PAYLOAD), .frag_off = htons(IP_DF), .ttl = 64,
                           .protocol = IPPROTO_UDP, .saddr = side->local, .daddr = side->relay};
        ip.check = (uint16_t)~checksum_fold(checksum_add(0, &ip, sizeof ip));
        struct udphdr udp = {.source = htons(port_of(call)), .dest = htons(port_of(call)), .len = htons(8 + PAYLOAD)};
        udp.check = checksum_fold(checksum_pseudo(ip.saddr, ip.daddr, 8 + PAYLOAD));
        memcpy(frame->bytes + ETH_HLEN, &ip, sizeof ip);
        memcpy(frame->bytes + ETH_HLEN + 20, &udp, sizeof udp);
        uint8_t *payload = frame->bytes + ETH_HLEN + 28;
        memset(payload, 0xd5, PAYLOAD);
        payload[0] = 0x80;
        payload[1] = 8;
    }
}

// Checks one packet of the relay: from where, to where, whose, and whole.
static bool right(const struct side *side, unsigned number, const uint8_t *at, unsigned length, bool summed, struct label *label) {
    struct iphdr ip;
    struct udphdr udp;
    if (length != FRAME) return false;
    memcpy(&ip, at + ETH_HLEN, sizeof ip);
    memcpy(&udp, at + ETH_HLEN + 20, sizeof udp);
    memcpy(label, at + ETH_HLEN + 28 + LABEL_OFFSET, sizeof *label);
    if (ip.saddr != side->relay || ip.daddr != side->local || ip.protocol != IPPROTO_UDP) return false;
    if (checksum_fold(checksum_add(0, at + ETH_HLEN, 20)) != 0xffff) return false;
    // A sum of zero says that there is none (RFC 768): one alternative leaves it out to show its price.
    if (summed && udp.check && (checksum_fold(checksum_add(checksum_pseudo(ip.saddr, ip.daddr, 8 + PAYLOAD), at + ETH_HLEN + 20, 8 + PAYLOAD)) != 0xffff))
        return false;
    uint16_t port = htons(port_of(label->call));
    return label->magic == LABEL_MAGIC && label->call < calls && label->from_side == 1 - number && udp.source == port && udp.dest == port
        && at[FRAME - 1] == 0xd5;
}

static void take(unsigned number) {
    struct side *side = &sides[number];
    for (unsigned count = 0; count < 256; count++) {
        struct tpacket2_hdr *slot = (void *)(side->slots + (size_t)side->next * SLOT_BYTES);
        uint32_t status = __atomic_load_n(&slot->tp_status, __ATOMIC_ACQUIRE);
        if (!(status & TP_STATUS_USER)) return;
        struct label label;
        if (right(side, number, (uint8_t *)slot + slot->tp_mac, slot->tp_snaplen, !(status & TP_STATUS_CSUMNOTREADY), &label)) {
            uint64_t at = (uint64_t)slot->tp_sec * 1000000000u + slot->tp_nsec;
            uint64_t us = at > label.sent_ns ? (at - label.sent_ns) / 1000 : 0;
            received++;
            late[us < BUCKETS ? us : BUCKETS - 1]++;
        } else {
            wrong++;
        }
        __atomic_store_n(&slot->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
        side->next = (side->next + 1) % SLOTS;
    }
}

static void frame_sum(struct frame *frame) {
    struct iphdr ip;
    uint16_t none = 0, check;
    memcpy(&ip, frame->bytes + ETH_HLEN, sizeof ip);
    memcpy(frame->bytes + ETH_HLEN + 26, &none, 2);
    check = (uint16_t)~checksum_fold(checksum_add(checksum_pseudo(ip.saddr, ip.daddr, 8 + PAYLOAD), frame->bytes + ETH_HLEN + 20, 8 + PAYLOAD));
    if (!check) check = 0xffff;
    memcpy(frame->bytes + ETH_HLEN + 26, &check, 2);
    frame->offload = (struct virtio_net_hdr){0};
}

static void send_due(uint64_t first, uint64_t end) {
    // Packet k belongs to side k % 2: each side's packets leave in one call.
    for (unsigned number = 0; number < 2; number++) {
        struct mmsghdr messages[BATCH];
        struct iovec pieces[BATCH];
        unsigned count = 0;
        uint64_t at = now_ns();
        for (uint64_t k = first + ((first & 1) != number); k < end; k += 2) {
            unsigned call = (unsigned)(k / 2 % calls);
            struct frame *frame = &sides[number].frames[call];
            struct label label = {LABEL_MAGIC, call, number, (uint32_t)(k / 2 / calls), at};
            memcpy(frame->bytes + ETH_HLEN + 28 + LABEL_OFFSET, &label, sizeof label);
            if (is_summed) frame_sum(frame);
            pieces[count] = (struct iovec){frame, sizeof *frame};
            messages[count] = (struct mmsghdr){.msg_hdr = {.msg_iov = &pieces[count], .msg_iovlen = 1}};
            count++;
        }
        if (!count) continue;
        int done = sendmmsg(sides[number].out, messages, count, MSG_DONTWAIT);
        if (done < 0) done = 0;
        sent += (unsigned)done;
        unsent += count - (unsigned)done;
    }
}

// Drives the calls for so long, at `gap_ns` between packets, all that fall due in a tick together.
static void drive(uint64_t duration_ns, uint64_t gap_ns, uint64_t tick_ns) {
    uint64_t start = now_ns(), next = 0;
    static uint64_t position;
    for (;;) {
        uint64_t passed = now_ns() - start;
        if (passed >= duration_ns) break;
        if (tick_ns) passed -= passed % tick_ns;
        uint64_t due = passed / gap_ns;
        if (due > next) {
            uint64_t count = due - next < BATCH ? due - next : BATCH;
            send_due(position, position + count);
            position += count;
            next += count;
        }
        take(0);
        take(1);
    }
}

static unsigned quantile(double share) {
    uint64_t total = 0, below = 0;
    for (unsigned us = 0; us < BUCKETS; us++) total += late[us];
    for (unsigned us = 0; us < BUCKETS; us++)
        if ((below += late[us]) > share * (double)total) return us;
    return 0;
}

int main(int argc, char **argv) {
    double rate = 100000, seconds = 1.5, warm = 0.3;
    unsigned tick_us = 0;
    int core = 0, option;
    const char *process = NULL, *threads = "", *hardware[2] = {"02:00:00:00:00:01", "02:00:00:00:00:02"}, *links[2] = {"a", "b"};
    while ((option = getopt(argc, argv, "n:r:d:w:t:c:p:k:a:b:s")) != -1) {
        switch (option) {
            case 'n': calls = (unsigned)atoi(optarg); break;
            case 'r': rate = atof(optarg); break;
            case 'd': seconds = atof(optarg); break;
            case 'w': warm = atof(optarg); break;
            case 't': tick_us = (unsigned)atoi(optarg); break;
            case 'c': core = atoi(optarg); break;
            case 'p': process = optarg; break;
            case 'k': threads = optarg; break;
            case 's': is_summed = true; break;
            case 'a': links[0] = optarg; break;
            case 'b': links[1] = optarg; break;
            default: errx(2, "usage: generate -p PID [-k PID,PID] [-n calls] [-r packets/s] [-d s] [-w s] [-t tick us] [-c relay core] [-s]");
        }
    }
    if (!calls || calls > MAX_CALLS) errx(2, "-n: 1 to %d calls", MAX_CALLS);
    for (unsigned number = 0; number < 2; number++) {
        uint8_t address[ETH_ALEN];
        if (sscanf(hardware[number], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &address[0], &address[1], &address[2], &address[3], &address[4], &address[5]) != 6) errx(1, "hardware address");
        side_open(number, links[number], address);
    }
    uint64_t gap = (uint64_t)(1e9 / rate);
    drive((uint64_t)(warm * 1e9), gap, tick_us * 1000u);
    sent = unsent = received = wrong = 0;
    memset(late, 0, sizeof late);
    struct account before = account_read(process, threads, core);
    uint64_t began = now_ns();
    drive((uint64_t)(seconds * 1e9), gap, tick_us * 1000u);
    struct account after = account_read(process, threads, core);
    double elapsed = (double)(now_ns() - began);
    // What is still on its way.
    uint64_t until = now_ns() + 20000000;
    while (now_ns() < until) take(0), take(1);

    double each = received ? 1.0 / (double)received : 0;
    printf("us=%.3f process=%.3f napi=%.3f core=%.3f sent=%.0f loss=%.4f wrong=%llu unsent=%llu p50=%u p99=%u p999=%u sleeps=%.3f\n",
           (double)(after.process_ns - before.process_ns + after.kernel_ns - before.kernel_ns) / 1e3 * each,
           (double)(after.process_ns - before.process_ns) / 1e3 * each, (double)(after.kernel_ns - before.kernel_ns) / 1e3 * each,
           (elapsed - (double)(after.idle_ns - before.idle_ns)) / 1e3 * each, (double)sent / elapsed * 1e9,
           sent ? 1 - (double)received / (double)sent : 1, (unsigned long long)wrong, (unsigned long long)unsent, quantile(0.5),
           quantile(0.99), quantile(0.999), (double)(after.slices - before.slices) * each);
    return 0;
}
