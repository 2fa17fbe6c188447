#include "lookup.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "calls.h"

#define OP(CODE, DST, SRC, OFF, IMM) \
    ((struct bpf_insn){.code = (CODE), .dst_reg = (DST), .src_reg = (SRC), .off = (OFF), .imm = (IMM)})
#define MOVE(DST, SRC) OP(BPF_ALU64 | BPF_MOV | BPF_X, DST, SRC, 0, 0)
#define SET(DST, IMM) OP(BPF_ALU64 | BPF_MOV | BPF_K, DST, 0, 0, IMM)
#define MATH(HOW, DST, IMM) OP(BPF_ALU64 | (HOW) | BPF_K, DST, 0, 0, IMM)
#define MATH_REG(HOW, DST, SRC) OP(BPF_ALU64 | (HOW) | BPF_X, DST, SRC, 0, 0)
#define LOAD(SIZE, DST, SRC, OFF) OP(BPF_LDX | BPF_MEM | (SIZE), DST, SRC, OFF, 0)
#define STORE(SIZE, DST, OFF, SRC) OP(BPF_STX | BPF_MEM | (SIZE), DST, SRC, OFF, 0)
#define STORE_IMM(SIZE, DST, OFF, IMM) OP(BPF_ST | BPF_MEM | (SIZE), DST, 0, OFF, IMM)
// Jumps over N instructions.
#define SKIP(HOW, DST, IMM, N) OP(BPF_JMP | (HOW) | BPF_K, DST, 0, N, IMM)
#define CALL(FUNCTION) OP(BPF_JMP | BPF_CALL, 0, 0, 0, FUNCTION)
#define EXIT OP(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

// A port in the table: is it open, and the packets of its current window.
struct port {
    uint32_t open;
    uint32_t count;
    uint64_t window;
};
#define WINDOW_SHIFT 26  // 67 ms
#define PER_WINDOW 335   // 5,000 packets/s

static int bpf(int command, union bpf_attr *attr) { return (int)syscall(SYS_bpf, command, attr, sizeof *attr); }

static int map_new(uint32_t type, uint32_t value_size, uint32_t entries) {
    union bpf_attr attr = {.map_type = type, .key_size = 4, .value_size = value_size, .max_entries = entries};
    int fd = bpf(BPF_MAP_CREATE, &attr);
    if (fd < 0) err(1, "bpf map");
    return fd;
}

static void map_set(int map, uint32_t key, const void *value) {
    union bpf_attr attr = {.map_fd = (uint32_t)map, .key = (uint64_t)(uintptr_t)&key, .value = (uint64_t)(uintptr_t)value};
    if (bpf(BPF_MAP_UPDATE_ELEM, &attr)) err(1, "bpf map update");
}

void lookup_attach(int socket, int ports, int guard) {
    static char log[65536];
    struct bpf_insn code[96];
    int n = 0, entries = 2 * MAX_CALLS;
    int sockets = map_new(BPF_MAP_TYPE_SOCKMAP, 8, 1);
    uint64_t value = (uint64_t)socket;
    map_set(sockets, 0, &value);

    code[n++] = MOVE(BPF_REG_6, BPF_REG_1);
    code[n++] = LOAD(BPF_W, BPF_REG_2, BPF_REG_6, offsetof(struct bpf_sk_lookup, protocol));
    code[n++] = LOAD(BPF_W, BPF_REG_7, BPF_REG_6, offsetof(struct bpf_sk_lookup, local_port));
    code[n++] = SET(BPF_REG_0, SK_PASS);
    code[n++] = SKIP(BPF_JEQ, BPF_REG_2, IPPROTO_UDP, 1);
    code[n++] = EXIT;
    code[n++] = MATH(BPF_SUB, BPF_REG_7, FIRST_PORT);
    code[n++] = SKIP(BPF_JLT, BPF_REG_7, entries, 1);
    code[n++] = EXIT;
    if (ports || guard) {
        int table = map_new(BPF_MAP_TYPE_ARRAY, sizeof(struct port), (uint32_t)entries);
        struct port open = {.open = 1};
        for (int port = 0; port < entries; port += 2) map_set(table, (uint32_t)port, &open);
        // r8 = the port's entry, by its address: an array needs no call.
        code[n++] = OP(BPF_LD | BPF_DW | BPF_IMM, BPF_REG_8, BPF_PSEUDO_MAP_FD, 0, table);
        code[n++] = OP(0, 0, 0, 0, 0);
        code[n++] = STORE(BPF_W, BPF_REG_10, -8, BPF_REG_7);
        code[n++] = MOVE(BPF_REG_2, BPF_REG_10);
        code[n++] = MATH(BPF_ADD, BPF_REG_2, -8);
        code[n++] = MOVE(BPF_REG_1, BPF_REG_8);
        code[n++] = CALL(BPF_FUNC_map_lookup_elem);
        code[n++] = MOVE(BPF_REG_8, BPF_REG_0);
        code[n++] = SET(BPF_REG_0, SK_PASS);
        code[n++] = SKIP(BPF_JNE, BPF_REG_8, 0, 1);
        code[n++] = EXIT;
        code[n++] = LOAD(BPF_W, BPF_REG_1, BPF_REG_8, offsetof(struct port, open));
        code[n++] = SKIP(BPF_JNE, BPF_REG_1, 0, 1);
        code[n++] = EXIT;
    }
    if (guard) {
        code[n++] = CALL(BPF_FUNC_ktime_get_ns);
        code[n++] = MATH(BPF_RSH, BPF_REG_0, WINDOW_SHIFT);
        code[n++] = LOAD(BPF_DW, BPF_REG_1, BPF_REG_8, offsetof(struct port, window));
        code[n++] = LOAD(BPF_W, BPF_REG_2, BPF_REG_8, offsetof(struct port, count));
        code[n++] = OP(BPF_JMP | BPF_JEQ | BPF_X, BPF_REG_1, BPF_REG_0, 2, 0);
        code[n++] = STORE(BPF_DW, BPF_REG_8, offsetof(struct port, window), BPF_REG_0);
        code[n++] = SET(BPF_REG_2, 0);
        code[n++] = MATH(BPF_ADD, BPF_REG_2, 1);
        code[n++] = STORE(BPF_W, BPF_REG_8, offsetof(struct port, count), BPF_REG_2);
        code[n++] = SKIP(BPF_JLE, BPF_REG_2, PER_WINDOW, 2);
        code[n++] = SET(BPF_REG_0, SK_DROP);
        code[n++] = EXIT;
    }
    code[n++] = STORE_IMM(BPF_W, BPF_REG_10, -4, 0);
    code[n++] = MOVE(BPF_REG_2, BPF_REG_10);
    code[n++] = MATH(BPF_ADD, BPF_REG_2, -4);
    code[n++] = OP(BPF_LD | BPF_DW | BPF_IMM, BPF_REG_1, BPF_PSEUDO_MAP_FD, 0, sockets);
    code[n++] = OP(0, 0, 0, 0, 0);
    code[n++] = CALL(BPF_FUNC_map_lookup_elem);
    code[n++] = SKIP(BPF_JNE, BPF_REG_0, 0, 2);
    code[n++] = SET(BPF_REG_0, SK_PASS);
    code[n++] = EXIT;
    code[n++] = MOVE(BPF_REG_7, BPF_REG_0);
    code[n++] = MOVE(BPF_REG_1, BPF_REG_6);
    code[n++] = MOVE(BPF_REG_2, BPF_REG_0);
    code[n++] = SET(BPF_REG_3, 0);
    code[n++] = CALL(BPF_FUNC_sk_assign);
    code[n++] = MOVE(BPF_REG_1, BPF_REG_7);
    code[n++] = CALL(BPF_FUNC_sk_release);
    code[n++] = SET(BPF_REG_0, SK_PASS);
    code[n++] = EXIT;

    union bpf_attr load = {
        .prog_type = BPF_PROG_TYPE_SK_LOOKUP,
        .expected_attach_type = BPF_SK_LOOKUP,
        .insns = (uint64_t)(uintptr_t)code,
        .insn_cnt = (uint32_t)n,
        .license = (uint64_t)(uintptr_t) "GPL",
        .log_buf = (uint64_t)(uintptr_t)log,
        .log_size = sizeof log,
        .log_level = 1,
    };
    int program = bpf(BPF_PROG_LOAD, &load);
    if (program < 0) err(1, "sk_lookup program: %s", log);
    int namespace = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    union bpf_attr link = {.link_create = {
                               .prog_fd = (uint32_t)program,
                               .target_fd = (uint32_t)namespace,
                               .attach_type = BPF_SK_LOOKUP,
                           }};
    // The link's descriptor stays open, and so the program attached, until the process ends.
    if (bpf(BPF_LINK_CREATE, &link) < 0) err(1, "bpf link");
    close(namespace);
}
