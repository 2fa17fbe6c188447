// The little of io_uring that the forwarders need, by plain system calls: what is newer than the installed
// headers is declared here.
#ifndef RING_H
#define RING_H

#include <linux/io_uring.h>
#include <stdbool.h>
#include <stdint.h>

#ifndef IORING_REGISTER_NAPI
#define IORING_REGISTER_NAPI 27
#endif
// linux 6.9
struct napi_settings {
    uint32_t busy_poll_us;
    uint8_t prefer_busy_poll;
    uint8_t pad[3];
    uint64_t reserved;
};
// linux 6.12: `pad` of struct io_uring_getevents_arg became min_wait_usec.
#define FEAT_MIN_TIMEOUT (1u << 15)
// linux 6.6
#define SETUP_NO_SQARRAY (1u << 16)

struct ring {
    int fd;
    bool polled;  // SQPOLL: a kernel thread takes the submissions
    bool deferred;
    uint32_t features;
    struct io_uring_sqe *sqes;
    uint32_t *sq_head, *sq_tail, *sq_flags, sq_mask, sq_entries, sq_local, sq_told;
    uint32_t *cq_head, *cq_tail, cq_mask;
    struct io_uring_cqe *cqes;
};

// How long ring_enter() waits for completions.
struct wait {
    unsigned count;
    unsigned timeout_us;   // 0: without end
    unsigned min_wait_us;  // wait at least that long, for `count`; then one completion will do
};

void ring_open(struct ring *ring, unsigned entries, unsigned completions, uint32_t flags, int sqpoll_cpu);
int ring_register(struct ring *ring, unsigned opcode, const void *arg, unsigned count);
// Submits what was prepared and waits. Gives back the number submitted, or -errno.
int ring_enter(struct ring *ring, const struct wait *wait);

// The next free submission, cleared; NULL when the queue is full.
struct io_uring_sqe *ring_next(struct ring *ring);

static inline unsigned ring_pending(const struct ring *ring) { return ring->sq_local - ring->sq_told; }

static inline unsigned ring_ready(const struct ring *ring) {
    return __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE) - *ring->cq_head;
}
static inline const struct io_uring_cqe *ring_at(const struct ring *ring, unsigned index) {
    return &ring->cqes[(*ring->cq_head + index) & ring->cq_mask];
}
static inline void ring_seen(struct ring *ring, unsigned count) {
    __atomic_store_n(ring->cq_head, *ring->cq_head + count, __ATOMIC_RELEASE);
}

// A ring of provided buffers, all in one piece of memory.
struct buffers {
    struct io_uring_buf_ring *ring;
    uint8_t *memory;
    unsigned count, stride, headroom;
    uint16_t tail;
};
void buffers_open(struct buffers *buffers, struct ring *ring, unsigned count, unsigned stride, unsigned headroom);

static inline uint8_t *buffer_at(const struct buffers *buffers, unsigned index) {
    return buffers->memory + (uint64_t)index * buffers->stride + buffers->headroom;
}
static inline void buffer_back(struct buffers *buffers, unsigned index) {
    struct io_uring_buf *slot = &buffers->ring->bufs[buffers->tail++ & (buffers->count - 1)];
    slot->addr = (uint64_t)(uintptr_t)buffer_at(buffers, index);
    slot->len = buffers->stride - buffers->headroom;
    slot->bid = (uint16_t)index;
}
static inline void buffers_publish(struct buffers *buffers) {
    __atomic_store_n(&buffers->ring->tail, buffers->tail, __ATOMIC_RELEASE);
}

#endif
