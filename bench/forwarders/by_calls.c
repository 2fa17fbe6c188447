// Receiving by epoll and recvmsg, or by recvmmsg from one shared socket.
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include "calls.h"
#include "forward.h"

#define EVENTS 256
#define VECTOR 64
#define CONTROL 128
// A payload may be as large as the link carries; where it lies in the buffer leaves room for headers.
#define DATAGRAM 1472

static uint8_t memory[VECTOR][64 + DATAGRAM + 64];
static uint8_t controls[VECTOR][CONTROL] __attribute__((aligned(8)));
static struct sockaddr_in names[VECTOR];

static void forward(struct flow *flow, uint8_t *payload, unsigned length, const struct sockaddr_in *from) {
    if (!flow || !flow_admits(flow, from->sin_addr.s_addr, from->sin_port, length)) return;
    if (trial.send != SEND_UDP) {
        write_headers(flow, payload, length);
        payload -= HEADERS;
        length += HEADERS;
    }
    later_push(flow->out, flow, payload, length);
}

static void pause_us(int us) {
    struct timespec pause = {.tv_nsec = us * 1000};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
}

static void by_epoll(void) {
    int poll = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned index = 0; index < 2 * (unsigned)trial.calls; index++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = index};
        if (epoll_ctl(poll, EPOLL_CTL_ADD, flows[index].in, &event)) err(1, "epoll_ctl");
    }
    for (;;) {
        struct epoll_event events[EVENTS];
        if (trial.nap) pause_us(trial.nap);
        int count = epoll_wait(poll, events, VECTOR < EVENTS ? VECTOR : EVENTS, trial.nap ? 0 : -1);
        for (int index = 0; index < count; index++) {
            struct flow *flow = &flows[events[index].data.u32];
            struct iovec piece = {memory[index] + 64, DATAGRAM};
            struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1, .msg_name = &names[index], .msg_namelen = sizeof *names,
                                     .msg_control = trial.stamp || trial.overflow ? controls[index] : NULL,
                                     .msg_controllen = trial.stamp || trial.overflow ? CONTROL : 0};
            ssize_t length = recvmsg(flow->in, &message, MSG_DONTWAIT);
            if (length >= 0) forward(flow, memory[index] + 64, (unsigned)length, &names[index]);
        }
        later_send();
    }
}

static void by_recvmmsg(void) {
    struct mmsghdr messages[VECTOR];
    struct iovec pieces[VECTOR];
    int socket = flows[0].in, poll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    if (epoll_ctl(poll, EPOLL_CTL_ADD, socket, &event)) err(1, "epoll_ctl");
    bool more = false;
    for (;;) {
        if (trial.nap) pause_us(trial.nap);
        else if (!more) epoll_wait(poll, &event, 1, -1);
        for (unsigned index = 0; index < VECTOR; index++) {
            pieces[index] = (struct iovec){memory[index] + 64, DATAGRAM};
            messages[index] = (struct mmsghdr){.msg_hdr = {.msg_iov = &pieces[index], .msg_iovlen = 1, .msg_name = &names[index], .msg_namelen = sizeof *names,
                                                           .msg_control = controls[index], .msg_controllen = CONTROL}};
        }
        int count = recvmmsg(socket, messages, VECTOR, MSG_DONTWAIT, NULL);
        more = count == VECTOR;
        for (int index = 0; index < count; index++) {
            uint32_t address;
            uint16_t port;
            if (original_destination(controls[index], (unsigned)messages[index].msg_hdr.msg_controllen, &address, &port))
                forward(flow_to(address, port), memory[index] + 64, messages[index].msg_len, &names[index]);
        }
        later_send();
    }
}

void forward_by_calls(void) {
    if (trial.sockets == SHARED) by_recvmmsg();
    else by_epoll();
}
