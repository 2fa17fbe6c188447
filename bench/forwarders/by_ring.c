// Receiving by multishot receives into provided buffers, sending by submissions of the same ring.
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <stdlib.h>
#include <time.h>

#include "calls.h"
#include "forward.h"
#include "ring.h"

#define NAME_ROOM 16
#define ENTRIES 2048
// In user_data: above, what it is; below, a flow or a buffer.
#define RECEIVE 1ull
#define SEND 2ull
#define KIND 32

static struct ring ring;
static struct buffers buffers;
static struct msghdr shape;
static unsigned used[MAX_BATCH], used_count;
static struct msghdr heads[ENTRIES];
static struct iovec pieces[ENTRIES];
static unsigned next_head, control_room;
static bool returns_late;  // a buffer comes back by the completion of its send

static void must_submit(const struct wait *wait) {
    int done = ring_enter(&ring, wait);
    if (done < 0 && done != -ETIME && done != -EINTR && done != -EBUSY && done != -EAGAIN) errx(1, "io_uring_enter: %s", strerror(-done));
}

static struct io_uring_sqe *submission(void) {
    struct io_uring_sqe *sqe;
    while (!(sqe = ring_next(&ring))) must_submit(&(struct wait){0});
    return sqe;
}

static void arm(unsigned index) {
    struct io_uring_sqe *sqe = submission();
    sqe->fd = flows[index].in;
    sqe->flags = IOSQE_BUFFER_SELECT | (trial.files ? IOSQE_FIXED_FILE : 0);
    sqe->ioprio = IORING_RECV_MULTISHOT | (trial.bundle ? 1u << 4 : 0);
    sqe->user_data = RECEIVE << KIND | index;
    if (trial.recvmsg) {
        sqe->opcode = IORING_OP_RECVMSG;
        sqe->addr = (uint64_t)(uintptr_t)&shape;
        sqe->len = 1;
    } else {
        sqe->opcode = IORING_OP_RECV;
    }
}

static void send_on(struct flow *flow, uint8_t *payload, unsigned length, unsigned buffer) {
    if (trial.send != SEND_UDP) {
        write_headers(flow, payload, length);
        payload -= HEADERS;
        length += HEADERS;
    }
    if (trial.via == VIA_SENDMMSG) {
        used[used_count++] = buffer;
        later_push(flow->out, flow, payload, length);
        return;
    }
    socklen_t name_length;
    const void *name = name_of(flow, &name_length);
    struct io_uring_sqe *sqe = submission();
    sqe->fd = flow->out;
    sqe->user_data = SEND << KIND | buffer;
    sqe->msg_flags = trial.dontwait ? MSG_DONTWAIT : 0;
    sqe->flags = (uint8_t)((trial.files ? IOSQE_FIXED_FILE : 0) | (trial.skip && !trial.zerocopy ? IOSQE_CQE_SKIP_SUCCESS : 0) | (trial.link ? IOSQE_IO_LINK : 0));
    if (trial.via == VIA_SENDMSG) {
        unsigned slot = next_head++ % ENTRIES;
        pieces[slot] = (struct iovec){payload, length};
        heads[slot] = (struct msghdr){.msg_iov = &pieces[slot], .msg_iovlen = 1, .msg_name = (void *)(uintptr_t)name, .msg_namelen = name_length};
        sqe->opcode = IORING_OP_SENDMSG;
        sqe->addr = (uint64_t)(uintptr_t)&heads[slot];
        sqe->len = 1;
    } else {
        sqe->opcode = trial.zerocopy ? IORING_OP_SEND_ZC : IORING_OP_SEND;
        sqe->addr = (uint64_t)(uintptr_t)payload;
        sqe->len = length;
        if (name) {
            sqe->addr2 = (uint64_t)(uintptr_t)name;
            sqe->addr_len = (uint16_t)name_length;
        }
        if (trial.fixed_buffers) {
            sqe->ioprio = IORING_RECVSEND_FIXED_BUF;
            sqe->buf_index = 0;
        }
    }
    if (!returns_late) used[used_count++] = buffer;
}

static void received(const struct io_uring_cqe *cqe) {
    unsigned index = (uint32_t)cqe->user_data;
    if (!(cqe->flags & IORING_CQE_F_MORE)) {
        if (cqe->res < 0 && cqe->res != -ENOBUFS) errx(1, "receive: %s", strerror(-cqe->res));
        arm(index);
    }
    if (!(cqe->flags & IORING_CQE_F_BUFFER)) return;
    unsigned buffer = cqe->flags >> IORING_CQE_BUFFER_SHIFT, length = (unsigned)cqe->res;
    uint8_t *at = buffer_at(&buffers, buffer), *payload = at;
    struct flow *flow = &flows[index];
    bool admitted = false;
    if (!trial.recvmsg) {
        // The kernel gives a connected socket nothing from elsewhere.
        flow->packets++;
        flow->bytes += length;
        admitted = true;
    } else if (cqe->res > 0) {
        struct io_uring_recvmsg_out *out = (void *)at;
        struct sockaddr_in *from = (void *)(at + sizeof *out);
        payload = at + sizeof *out + NAME_ROOM + control_room;
        length = out->payloadlen;
        uint32_t address;
        uint16_t port;
        if (trial.sockets == SHARED)
            flow = original_destination(at + sizeof *out + NAME_ROOM, out->controllen, &address, &port) ? flow_to(address, port) : NULL;
        admitted = flow && flow_admits(flow, from->sin_addr.s_addr, from->sin_port, length);
    }
    if (admitted) send_on(flow, payload, length, buffer);
    else used[used_count++] = buffer;
}

static void completed(const struct io_uring_cqe *cqe) {
    if (cqe->res < 0) failed++;
    // Of SEND_ZC the second completion says that the memory is free again.
    if (returns_late && !(cqe->flags & IORING_CQE_F_MORE)) buffer_back(&buffers, (uint32_t)cqe->user_data);
}

static void register_files(void) {
    unsigned count = 2 * (unsigned)trial.calls;
    int *table = calloc(2 * count, sizeof *table);
    for (unsigned index = 0; index < count; index++) {
        table[index] = flows[index].in;
        table[count + index] = flows[index].out;
        flows[index].in = (int)index;
        flows[index].out = (int)(count + index);
    }
    // Sends by per-port sockets use the very place that the receive does: the file is touched once.
    if (trial.send == SEND_UDP)
        for (unsigned index = 0; index < count; index++) flows[index].out = (int)((index + count / 2) % count);
    else if (trial.raws == 1)
        for (unsigned index = 0; index < count; index++) flows[index].out = (int)count;
    int refused_by = ring_register(&ring, IORING_REGISTER_FILES, table, 2 * count);
    if (refused_by) errx(1, "registered files: %s", strerror(-refused_by));
    free(table);
}

static void open_ring(void) {
    uint32_t flags = 0;
    if (trial.sqpoll >= 0) flags |= IORING_SETUP_SQPOLL;
    else if (trial.defer) flags |= IORING_SETUP_DEFER_TASKRUN;
    else if (trial.coop) flags |= IORING_SETUP_COOP_TASKRUN;
    if (trial.single) flags |= IORING_SETUP_SINGLE_ISSUER;
    ring_open(&ring, ENTRIES, 4 * ENTRIES + 2 * (unsigned)trial.buffers, flags, trial.sqpoll);
    if (trial.minwait && !(ring.features & FEAT_MIN_TIMEOUT)) errx(1, "this kernel has no min_wait_usec");
    if (trial.napi) {
        struct napi_settings settings = {.busy_poll_us = (uint32_t)trial.napi, .prefer_busy_poll = 1};
        int refused_by = ring_register(&ring, IORING_REGISTER_NAPI, &settings, 1);
        if (refused_by) errx(1, "NAPI busy-polling: %s", strerror(-refused_by));
    }
    // A raw send needs its headers' room; what the kernel puts before the payload of recvmsg gives it.
    buffers_open(&buffers, &ring, (unsigned)trial.buffers, (unsigned)trial.stride, trial.recvmsg ? 0 : 64);
    if (trial.fixed_buffers) {
        struct iovec all = {buffers.memory, (size_t)buffers.count * buffers.stride};
        int refused_by = ring_register(&ring, IORING_REGISTER_BUFFERS, &all, 1);
        if (refused_by) errx(1, "registered buffers: %s", strerror(-refused_by));
    }
}

void forward_by_ring(void) {
    control_room = (trial.sockets == SHARED ? 32 : 0) + (trial.stamp ? 32 : 0) + (trial.overflow ? 24 : 0) + (trial.pktinfo ? 32 : 0);
    shape = (struct msghdr){.msg_namelen = NAME_ROOM, .msg_controllen = control_room};
    returns_late = trial.zerocopy || trial.sqpoll >= 0 || !trial.skip;
    if (trial.sqpoll >= 0) trial.skip = 0;
    open_ring();
    if (trial.files) register_files();
    unsigned armed = trial.sockets == SHARED ? 1 : 2 * (unsigned)trial.calls;
    for (unsigned index = 0; index < armed; index++) arm(index);
    const struct wait none = {0}, wait = {(unsigned)trial.wait, (unsigned)trial.timeout, (unsigned)trial.minwait};
    for (;;) {
        unsigned ready = ring_ready(&ring);
        if (ready > (unsigned)trial.batch) ready = (unsigned)trial.batch;
        for (unsigned index = 0; index < ready; index++) {
            const struct io_uring_cqe *cqe = ring_at(&ring, index);
            if (cqe->user_data >> KIND == RECEIVE) received(cqe);
            else completed(cqe);
        }
        ring_seen(&ring, ready);
        if (trial.via == VIA_SENDMMSG) later_send();
        bool last_linked = trial.link && ring_pending(&ring);
        if (last_linked) ring.sqes[(ring.sq_local - 1) & ring.sq_mask].flags &= (uint8_t)~IOSQE_IO_LINK;
        if (trial.nap) {
            struct timespec pause = {.tv_nsec = trial.nap * 1000};
            must_submit(&none);
            if (!ready) clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
        } else if (trial.split) {
            must_submit(&none);
            if (!ring_ready(&ring)) must_submit(&wait);
        } else {
            must_submit(&wait);
        }
        // The call has carried out what was submitted: nothing reads those buffers any more.
        for (unsigned index = 0; index < used_count; index++) buffer_back(&buffers, used[index]);
        used_count = 0;
        buffers_publish(&buffers);
    }
}
