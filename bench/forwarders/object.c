#define _GNU_SOURCE
#include "object.h"

#include <elf.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct map_plan {
    uint32_t type, key_size, value_size, max_entries, map_flags;
};

#define MAX_MAPS 16
static uint8_t *image;
static Elf64_Shdr *sections;
static unsigned section_count, maps_section;
static const char *section_names, *symbol_names;
static Elf64_Sym *symbols;
static size_t symbol_count;
static int maps[MAX_MAPS];

static int bpf(int command, union bpf_attr *attr) { return (int)syscall(SYS_bpf, command, attr, sizeof *attr); }

static const char *name_of(unsigned section) { return section_names + sections[section].sh_name; }

void object_open(const char *name) {
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 64);
    if (length < 0) err(1, "/proc/self/exe");
    path[length] = 0;
    snprintf(strrchr(path, '/') + 1, 64, "%s", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat stat;
    if (fd < 0 || fstat(fd, &stat)) err(1, "%s", path);
    image = mmap(NULL, (size_t)stat.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (image == MAP_FAILED) err(1, "%s", path);
    close(fd);
    const Elf64_Ehdr *header = (const void *)image;
    if (memcmp(header->e_ident, ELFMAG, SELFMAG) || header->e_machine != EM_BPF) errx(1, "%s: no BPF object", path);
    sections = (void *)(image + header->e_shoff);
    section_count = header->e_shnum;
    section_names = (const char *)image + sections[header->e_shstrndx].sh_offset;
    for (unsigned number = 0; number < section_count; number++) {
        if (!strcmp(name_of(number), "maps")) maps_section = number;
        if (sections[number].sh_type != SHT_SYMTAB) continue;
        symbols = (void *)(image + sections[number].sh_offset);
        symbol_count = sections[number].sh_size / sizeof *symbols;
        symbol_names = (const char *)image + sections[sections[number].sh_link].sh_offset;
    }
    if (!maps_section || !symbols) errx(1, "%s: no maps", path);
    const struct map_plan *plans = (const void *)(image + sections[maps_section].sh_offset);
    size_t count = sections[maps_section].sh_size / sizeof *plans;
    if (count > MAX_MAPS) errx(1, "%s: %zu maps", path, count);
    for (size_t number = 0; number < count; number++) {
        const struct map_plan *plan = &plans[number];
        union bpf_attr attr = {.map_type = plan->type, .key_size = plan->key_size, .value_size = plan->value_size, .max_entries = plan->max_entries, .map_flags = plan->map_flags};
        maps[number] = bpf(BPF_MAP_CREATE, &attr);
        if (maps[number] < 0) err(1, "bpf map %zu", number);
    }
}

int object_map(const char *name) {
    for (size_t number = 0; number < symbol_count; number++)
        if (symbols[number].st_shndx == maps_section && !strcmp(symbol_names + symbols[number].st_name, name))
            return maps[symbols[number].st_value / sizeof(struct map_plan)];
    errx(1, "no map %s", name);
}

void *object_memory(const char *name, size_t bytes) {
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, object_map(name), 0);
    if (at == MAP_FAILED) err(1, "memory of %s", name);
    return at;
}

void object_set(const char *map, uint32_t key, uint32_t value) {
    union bpf_attr attr = {.map_fd = (uint32_t)object_map(map), .key = (uint64_t)(uintptr_t)&key, .value = (uint64_t)(uintptr_t)&value};
    if (bpf(BPF_MAP_UPDATE_ELEM, &attr)) err(1, "%s", map);
}

// Puts the maps into the instructions that name them.
static void relocate(unsigned section, struct bpf_insn *code) {
    for (unsigned number = 0; number < section_count; number++) {
        if (sections[number].sh_type != SHT_REL || sections[number].sh_info != section) continue;
        const Elf64_Rel *places = (const void *)(image + sections[number].sh_offset);
        for (size_t place = 0; place < sections[number].sh_size / sizeof *places; place++) {
            const Elf64_Sym *symbol = &symbols[ELF64_R_SYM(places[place].r_info)];
            if (symbol->st_shndx != maps_section) errx(1, "%s: what is in %u?", name_of(section), symbol->st_shndx);
            struct bpf_insn *load = &code[places[place].r_offset / sizeof *code];
            load->src_reg = BPF_PSEUDO_MAP_FD;
            load->imm = maps[symbol->st_value / sizeof(struct map_plan)];
        }
    }
}

int object_program(const char *section) {
    static char log[1 << 20];
    for (unsigned number = 0; number < section_count; number++) {
        if (strcmp(name_of(number), section)) continue;
        struct bpf_insn *code = (void *)(image + sections[number].sh_offset);
        relocate(number, code);
        union bpf_attr attr = {
            .prog_type = BPF_PROG_TYPE_XDP,
            .expected_attach_type = BPF_XDP,
            .insns = (uint64_t)(uintptr_t)code,
            .insn_cnt = (uint32_t)(sections[number].sh_size / sizeof *code),
            .license = (uint64_t)(uintptr_t) "Dual MIT/GPL",
            .log_buf = (uint64_t)(uintptr_t)log,
            .log_size = sizeof log,
            .log_level = 1,
        };
        int program = bpf(BPF_PROG_LOAD, &attr);
        if (program < 0) err(1, "%s: %s", section, log);
        return program;
    }
    errx(1, "no program %s", section);
}

void object_attach(int program, unsigned interface) {
    union bpf_attr attr = {.link_create = {.prog_fd = (uint32_t)program, .target_ifindex = interface, .attach_type = BPF_XDP, .flags = XDP_FLAGS_DRV_MODE}};
    // The link's descriptor stays open, and so the program attached, until the process ends.
    if (bpf(BPF_LINK_CREATE, &attr) < 0) err(1, "XDP program on interface %u", interface);
}

void object_run(int program, const void *frame, uint32_t length) {
    union bpf_attr attr = {.test = {
                               .prog_fd = (uint32_t)program,
                               .data_in = (uint64_t)(uintptr_t)frame,
                               .data_size_in = length,
                               .repeat = 1 << 30,
                               .flags = BPF_F_TEST_XDP_LIVE_FRAMES,
                               .batch_size = 64,
                           }};
    if (bpf(BPF_PROG_TEST_RUN, &attr) && errno != EINTR) err(1, "frames born in XDP");
}
