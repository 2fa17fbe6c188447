#include "ring.h"

#include <err.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static void *map(int fd, size_t length, off_t offset) {
    void *at = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, offset);
    if (at == MAP_FAILED) err(1, "mmap of the ring");
    return at;
}

void ring_open(struct ring *ring, unsigned entries, unsigned completions, uint32_t flags, int sqpoll_cpu) {
    struct io_uring_params params = {.flags = flags | IORING_SETUP_CQSIZE | SETUP_NO_SQARRAY, .cq_entries = completions};
    if (flags & IORING_SETUP_SQPOLL) {
        params.flags |= IORING_SETUP_SQ_AFF;
        params.sq_thread_cpu = (uint32_t)sqpoll_cpu;
        params.sq_thread_idle = 1;
    }
    memset(ring, 0, sizeof *ring);
    ring->fd = (int)syscall(SYS_io_uring_setup, entries, &params);
    if (ring->fd < 0) err(1, "io_uring_setup");
    ring->features = params.features;
    ring->polled = flags & IORING_SETUP_SQPOLL;
    ring->deferred = flags & IORING_SETUP_DEFER_TASKRUN;
    uint8_t *queues = map(ring->fd, params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_SQ_RING);
    ring->sqes = map(ring->fd, params.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
    ring->sq_head = (uint32_t *)(queues + params.sq_off.head);
    ring->sq_tail = (uint32_t *)(queues + params.sq_off.tail);
    ring->sq_flags = (uint32_t *)(queues + params.sq_off.flags);
    ring->sq_mask = params.sq_entries - 1;
    ring->sq_entries = params.sq_entries;
    ring->cq_head = (uint32_t *)(queues + params.cq_off.head);
    ring->cq_tail = (uint32_t *)(queues + params.cq_off.tail);
    ring->cq_mask = params.cq_entries - 1;
    ring->cqes = (struct io_uring_cqe *)(queues + params.cq_off.cqes);
}

int ring_register(struct ring *ring, unsigned opcode, const void *arg, unsigned count) {
    return syscall(SYS_io_uring_register, ring->fd, opcode, arg, count) < 0 ? -errno : 0;
}

int ring_enter(struct ring *ring, const struct wait *wait) {
    struct __kernel_timespec timeout = {0};
    struct io_uring_getevents_arg arg = {.sigmask_sz = _NSIG / 8};
    unsigned flags = 0, submit = ring_pending(ring);
    __atomic_store_n(ring->sq_tail, ring->sq_local, __ATOMIC_RELEASE);
    ring->sq_told = ring->sq_local;
    if (ring->polled) {
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (__atomic_load_n(ring->sq_flags, __ATOMIC_RELAXED) & IORING_SQ_NEED_WAKEUP) flags |= IORING_ENTER_SQ_WAKEUP;
        else if (!wait->count) return (int)submit;
    }
    if (wait->count || ring->deferred) flags |= IORING_ENTER_GETEVENTS;
    if (wait->timeout_us || wait->min_wait_us) {
        flags |= IORING_ENTER_EXT_ARG;
        timeout.tv_sec = wait->timeout_us / 1000000;
        timeout.tv_nsec = wait->timeout_us % 1000000 * 1000;
        arg.ts = wait->timeout_us ? (uint64_t)(uintptr_t)&timeout : 0;
        arg.pad = wait->min_wait_us;
        long done = syscall(SYS_io_uring_enter, ring->fd, submit, wait->count, flags, &arg, sizeof arg);
        return done < 0 ? -errno : (int)done;
    }
    long done = syscall(SYS_io_uring_enter, ring->fd, submit, wait->count, flags, NULL, 0);
    return done < 0 ? -errno : (int)done;
}

struct io_uring_sqe *ring_next(struct ring *ring) {
    if (ring->sq_local - __atomic_load_n(ring->sq_head, __ATOMIC_ACQUIRE) == ring->sq_entries) return NULL;
    struct io_uring_sqe *sqe = &ring->sqes[ring->sq_local++ & ring->sq_mask];
    memset(sqe, 0, sizeof *sqe);
    return sqe;
}

void buffers_open(struct buffers *buffers, struct ring *ring, unsigned count, unsigned stride, unsigned headroom) {
    size_t ring_bytes = count * sizeof(struct io_uring_buf);
    memset(buffers, 0, sizeof *buffers);
    buffers->count = count;
    buffers->stride = stride;
    buffers->headroom = headroom;
    buffers->ring = mmap(NULL, ring_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    buffers->memory = mmap(NULL, (size_t)count * stride, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (buffers->ring == MAP_FAILED || buffers->memory == MAP_FAILED) err(1, "mmap of buffers");
    struct io_uring_buf_reg registration = {.ring_addr = (uint64_t)(uintptr_t)buffers->ring, .ring_entries = count};
    int failed = ring_register(ring, IORING_REGISTER_PBUF_RING, &registration, 1);
    if (failed) errx(1, "provided buffers: %s", strerror(-failed));
    for (unsigned index = 0; index < count; index++) buffer_back(buffers, index);
    buffers_publish(buffers);
}
