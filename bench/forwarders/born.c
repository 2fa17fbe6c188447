// Frames born in XDP: they enter the relay's links as frames of a driver, which no socket had to send, and are
// counted, checked in part and dropped by a program where they come back. What relays is then all that is measured.
//
//   born [-n CALLS] [-p PID] [-k PID,PID] [-c CORE] [-w PACKETS/S] [-t TICK_US] NAMESPACE/SIDE NAMESPACE/SIDE
//
// By its input it is told the calls, one a line as `RELAY_ADDRESS:PORT RELAY_ADDRESS:PORT` (with -n they are those
// of calls.h), and then what to do, each answered by a line of figures: `PACKETS/S SECONDS`, where a rate of 0 is all
// that this core can make, or `highest SECONDS`, for the highest rate of which at most 1 % is lost.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <linux/bpf.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "bypass.h"

#include "account.h"
#include "calls.h"
#include "checksum.h"
#include "object.h"
#include "side.h"

static struct born_state *state;
static struct born_frame *frames;
static struct born_back *backs;
static volatile struct born_seen *seen;
static struct side sides[2];
static uint8_t own[2][6];
static unsigned calls;
static int program;
static uint8_t model[BYPASS_FRAME];

static const char *process = NULL, *threads = "";
static int core = 0;
static uint64_t tick_ns = 100000;

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

// The frame of a call that is born at `number`; what changes from one to the next is zero.
static void frame_make(unsigned number, unsigned call, const struct sockaddr_in relay[2]) {
    const struct side *side = &sides[number], *other = &sides[1 - number];
    struct born_frame *frame = &frames[number * MAX_CALLS + call];
    struct born_back *back = &backs[number * MAX_CALLS + call];
    uint16_t source = side->far_port ? side->far_port : relay[number].sin_port;
    uint8_t bytes[BYPASS_FRAME];
    memcpy(bytes, model, sizeof bytes);
    memcpy(bytes, side->hardware, 6);
    memcpy(bytes + 6, own[number], 6);
    bytes[12] = 8, bytes[13] = 0;
    struct ip4 ip = {.version_ihl = 0x45, .tos = 46 << 2, .length = htons(28 + PAYLOAD), .fragment = htons(0x4000), .ttl = 64, .protocol = IPPROTO_UDP,
                     .source = side->far, .destination = relay[number].sin_addr.s_addr};
    ip.check = (uint16_t)~checksum_fold(checksum_add(0, &ip, sizeof ip));
    struct udp4 udp = {.source = source, .destination = relay[number].sin_port, .length = htons(8 + PAYLOAD)};
    memcpy(bytes + 14, &ip, sizeof ip);
    memcpy(bytes + 34, &udp, sizeof udp);
    uint32_t ssrc = htonl(0x51000000 + 2 * call + number);
    memset(bytes + 42, 0, 12);
    bytes[42] = 0x80;
    memcpy(bytes + 50, &ssrc, 4);
    struct label label = {LABEL_MAGIC, call, number, 0, 0};
    memcpy(bytes + 54, &label, sizeof label);
    memcpy(frame->head, bytes, BORN_HEAD);
    frame->sum = checksum_fold(checksum_add(checksum_pseudo(ip.source, ip.destination, 8 + PAYLOAD), bytes + 34, 8 + PAYLOAD));
    *back = (struct born_back){.from = relay[1 - number].sin_addr.s_addr, .to = other->far, .from_port = relay[1 - number].sin_port,
                               .to_port = other->far_port ? other->far_port : relay[1 - number].sin_port, .round = state->round};
}

static bool address_parse(char *text, struct sockaddr_in *address) {
    char *port = text ? strchr(text, ':') : NULL;
    if (!port) return false;
    *port++ = 0;
    address->sin_port = htons((uint16_t)atoi(port));
    return inet_pton(AF_INET, text, &address->sin_addr) == 1;
}

static void call_open(struct sockaddr_in relay[2]) {
    if (calls == MAX_CALLS) errx(1, "more than %d calls", MAX_CALLS);
    frame_make(0, calls, relay);
    frame_make(1, calls, relay);
    state->calls = ++calls;
}

static void nothing(int signal) { (void)signal; }

// Lets frames be born for so long.
static void bear(double rate, double seconds) {
    state->gap = rate > 0 ? (uint64_t)(256e9 / rate) : 0;
    // What gathers meanwhile must find room in the links, each of which holds 256 frames.
    state->behind = 200 * state->gap + (tick_ns << 8);
    state->tick = tick_ns;
    state->next = now_ns() << 8;
    // Again and again, as the first may come before the run has begun.
    struct timeval after = {.tv_sec = (time_t)seconds, .tv_usec = (suseconds_t)((seconds - (double)(time_t)seconds) * 1e6)};
    struct itimerval timer = {.it_value = after, .it_interval = {.tv_usec = 10000}}, never = {0};
    setitimer(ITIMER_REAL, &timer, NULL);
    object_run(program, model, sizeof model);
    setitimer(ITIMER_REAL, &never, NULL);
}

struct sums {
    uint64_t sent, skipped, received, wrong, checked, missed, reordered;
};
static struct sums sum(void) {
    struct sums sums = {.sent = state->sent, .skipped = state->skipped};
    for (unsigned number = 0; number < 2; number++) {
        sums.received += seen[number].received;
        sums.wrong += seen[number].wrong;
        sums.checked += seen[number].checked;
        sums.missed += seen[number].missed;
        sums.reordered += seen[number].reordered;
    }
    return sums;
}

struct figures {
    double us, process, napi, core, sent, back, loss, sleeps;
    double others;  // the part of the relay's core that had nothing to do with it
    struct sums sums;
};

// Until what the run before has left in the relay's buffers is through: nothing has come back for 0.1 s.
static void drain(void) {
    for (uint64_t before = sum().received, rounds = 0, now; rounds < 100; rounds++, before = now) {
        usleep(100000);
        if ((now = sum().received) == before) return;
    }
}

static struct figures run(double rate, double seconds, double warm_rate) {
    // Gently first, so that a relay that must see a call's first packets in its own process can; and at the beginning for
    // so long that it has looked through all calls.
    static bool is_begun;
    if (is_begun) drain();
    if (warm_rate > 0) bear(warm_rate, is_begun ? 0.25 : 2);
    is_begun = true;
    usleep(20000);
    struct account before = account_read(process, threads, core);
    struct sums first = sum();
    uint64_t began = now_ns();
    bear(rate, seconds);
    double elapsed = (double)(now_ns() - began);
    // What is still on its way.
    usleep(20000);
    struct account after = account_read(process, threads, core);
    struct sums last = sum();
    double whole = (double)(now_ns() - began), received = (double)(last.received - first.received), sent = (double)(last.sent - first.sent);
    double each = received > 0 ? 1 / received : 0;
    return (struct figures){
        .us = (double)(after.process_ns - before.process_ns + after.kernel_ns - before.kernel_ns) / 1e3 * each,
        .process = (double)(after.process_ns - before.process_ns) / 1e3 * each,
        .napi = (double)(after.kernel_ns - before.kernel_ns) / 1e3 * each,
        .core = (whole - (double)(after.idle_ns - before.idle_ns)) / 1e3 * each,
        .sent = sent / elapsed * 1e9,
        .back = received / elapsed * 1e9,
        .loss = sent > 0 ? 1 - received / sent : 1,
        .sleeps = (double)(after.slices - before.slices) * each,
        .others = (whole - (double)(after.idle_ns - before.idle_ns + after.process_ns - before.process_ns + after.kernel_ns - before.kernel_ns)) / whole,
        .sums = {.skipped = last.skipped - first.skipped, .wrong = last.wrong - first.wrong, .checked = last.checked - first.checked,
                 .missed = last.missed - first.missed, .reordered = last.reordered - first.reordered},
    };
}

static void tell(const struct figures *figures, double highest, bool is_bounded) {
    printf("us=%.3f process=%.3f napi=%.3f core=%.3f sent=%.0f back=%.0f loss=%.4f wrong=%llu unsent=%llu sleeps=%.3f checked=%llu reordered=%llu missed=%llu",
           figures->us, figures->process, figures->napi, figures->core, figures->sent, figures->back, figures->loss, (unsigned long long)figures->sums.wrong,
           (unsigned long long)figures->sums.skipped, figures->sleeps, (unsigned long long)figures->sums.checked,
           (unsigned long long)figures->sums.reordered, (unsigned long long)figures->sums.missed);
    if (highest > 0) printf(" highest=%.0f bounded=%d", highest, is_bounded);
    puts("");
    fflush(stdout);
}

// Climbs until a rate is not held, and then halves the distance until the limit is known to 3 %. A rate counts as
// missed when it was missed three times, a stall of the machine says nothing, and not while others are on the relay's
// core, unless they stay there. Where the generator brings no more, that is the end.
static void search(double seconds, double warm_rate) {
    double held = 0, missed = 0, rate = 250000;
    struct figures best = {0};
    bool is_bounded = false;
    while (rate > 5000 && !is_bounded && (!missed || missed > held * 1.03)) {
        bool is_held = false, is_offered = false;
        for (unsigned tries = 0, disturbed = 0; tries < 3 && !(is_held && is_offered); tries++) {
            struct figures figures = run(rate, seconds, warm_rate);
            is_offered = figures.sent >= 0.8 * rate;
            if (figures.loss <= 0.01 && !figures.sums.wrong) {
                is_held = true;
                if (figures.back > best.back) best = figures;
            } else if (figures.others > 0.15 && disturbed++ < 5) {
                tries--;
            }
        }
        if (is_held) held = rate;
        else missed = rate;
        is_bounded = is_held && !is_offered;
        rate = missed ? (held ? (held + missed) / 2 : missed * 0.6) : held * 1.4;
    }
    tell(&best, best.back, is_bounded);
}

// Into a named network namespace.
static void enter(const char *name) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "/run/netns/%s", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || setns(fd, CLONE_NEWNET)) err(1, "%s", path);
    close(fd);
}

int main(int argc, char **argv) {
    unsigned known = 0;
    double warm = 50000;
    int option;
    while ((option = getopt(argc, argv, "n:p:k:c:w:t:")) != -1) {
        switch (option) {
            case 'n': known = (unsigned)atoi(optarg); break;
            case 'p': process = optarg; break;
            case 'k': threads = optarg; break;
            case 'c': core = atoi(optarg); break;
            case 't': tick_ns = strtoull(optarg, NULL, 10) * 1000; break;
            case 'w': warm = atof(optarg); break;
            default: errx(2, "usage: born [-n CALLS] [-p PID] [-k PID,PID] [-c CORE] [-w PACKETS/S] [-t TICK_US] NAMESPACE/SIDE NAMESPACE/SIDE");
        }
    }
    if (argc - optind != 2 || known > MAX_CALLS) errx(2, "two sides, %d calls at most", MAX_CALLS);
    object_open("bypass.bpf.o");
    state = object_memory("born_state", sizeof *state);
    frames = object_memory("born_frames", 2 * MAX_CALLS * sizeof *frames);
    backs = object_memory("born_backs", 2 * MAX_CALLS * sizeof *backs);
    seen = object_memory("born_seen", 2 * sizeof *seen);
    static const char *const BACK[2] = {"xdp/back/0", "xdp/back/1"};
    for (unsigned number = 0; number < 2; number++) {
        char *side = strchr(argv[optind + (int)number], '/');
        if (!side) errx(2, "no NAMESPACE/ in %s", argv[optind + (int)number]);
        *side++ = 0;
        sides[number] = side_parse(side);
        enter(argv[optind + (int)number]);
        unsigned link = side_link(&sides[number], own[number]);
        object_set("born_links", number, link);
        object_attach(object_program(BACK[number]), link);
    }
    program = object_program("xdp/born");
    memset(model, 0xd5, sizeof model);
    // It ends a system call, which `signal` would have begun anew.
    struct sigaction alarm = {.sa_handler = nothing};
    sigaction(SIGALRM, &alarm, NULL);
    for (unsigned call = 0; call < known; call++) {
        struct sockaddr_in relay[2] = {{.sin_addr.s_addr = sides[0].relay, .sin_port = htons(port_of(call))}, {.sin_addr.s_addr = sides[1].relay, .sin_port = htons(port_of(call))}};
        call_open(relay);
    }
    char line[256];
    while (fgets(line, sizeof line, stdin)) {
        struct sockaddr_in relay[2] = {0};
        double rate, seconds = 0;
        char *rest = line, *first = strsep(&rest, " \n"), *second = strsep(&rest, " \n");
        if (address_parse(first, &relay[0]) && address_parse(second, &relay[1])) call_open(relay);
        else if (second && calls && (seconds = atof(second)) > 0 && !strcmp(first, "highest")) search(seconds, warm);
        else if (second && calls && (rate = atof(first)) >= 0 && seconds > 0) {
            struct figures figures = run(rate, seconds, warm);
            tell(&figures, 0, false);
        } else errx(2, "neither a call nor a run");
    }
}
