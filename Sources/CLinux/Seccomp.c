// Compiles the table of system calls into a BPF program and installs it. The OCI runtimes could do this through libseccomp, which
// takes 15 ms of processor time for each container; this takes 0.1. The container's init does it before it starts the program.
#define _GNU_SOURCE
#include "Seccomp.h"
#include "Containers.h"
#include "RawCalls.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <stddef.h>

#if defined(__x86_64__)
#define NATIVE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE AUDIT_ARCH_AARCH64
#elif defined(__riscv) && __riscv_xlen == 64
#define NATIVE AUDIT_ARCH_RISCV64
#else
#error "the filter of system calls is not written for this architecture"
#endif

BEGIN_RAW

enum { longest_program = 4096 };

struct program {
    struct sock_filter code[longest_program];
    size_t length;
    int is_too_long;
};

static void emit(struct program *program, uint16_t code, uint8_t if_true, uint8_t if_false, uint32_t value) {
    if (program->length >= longest_program) {
        program->is_too_long = 1;
        return;
    }
    program->code[program->length++] = (struct sock_filter){code, if_true, if_false, value};
}

static void load(struct program *program, size_t offset) { emit(program, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)offset); }
static void answer(struct program *program, uint32_t value) { emit(program, BPF_RET | BPF_K, 0, 0, value); }

// The lower half of an argument; every argument that is looked at is an int to the kernel.
static size_t argument(int index) { return offsetof(struct seccomp_data, args) + (size_t)index * 8; }

static void decide(struct program *program, uint8_t verdict) {
    const uint32_t no = SECCOMP_RET_ERRNO | EPERM;
    static const uint32_t personalities[] = {0, 8, 0x20000, 0x20008, 0xffffffff};
    switch (verdict) {
    case allowed: answer(program, SECCOMP_RET_ALLOW); break;
    case denied: answer(program, no); break;
    case check_clone:
        load(program, argument(0));
        // CLONE_NEW…: only processes and threads, no namespaces.
        emit(program, BPF_JMP | BPF_JSET | BPF_K, 0, 1, CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC
            | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET);
        answer(program, no);
        answer(program, SECCOMP_RET_ALLOW);
        break;
    case check_personality:
        load(program, argument(0));
        for (size_t index = 0; index < sizeof personalities / sizeof *personalities; index++) {
            emit(program, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, personalities[index]);
            answer(program, SECCOMP_RET_ALLOW);
        }
        answer(program, no);
        break;
    case check_socket:
        load(program, argument(0));
        // AF_VSOCK reaches the host of a virtual machine, past every network namespace.
        emit(program, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 40);
        answer(program, no);
        answer(program, SECCOMP_RET_ALLOW);
        break;
    default: answer(program, SECCOMP_RET_ERRNO | ENOSYS);
    }
}

struct segment {
    uint32_t start;
    uint8_t verdict;
};

/// A search tree over the segments `first` to `last`; the number is in the accumulator.
static void search(struct program *program, const struct segment *segments, size_t first, size_t last) {
    if (first == last) {
        decide(program, segments[first].verdict);
        return;
    }
    size_t middle = (first + last + 1) / 2;
    emit(program, BPF_JMP | BPF_JGE | BPF_K, 0, 1, segments[middle].start);
    // A conditional jump reaches 255 instructions only, this one all.
    size_t jump = program->length;
    emit(program, BPF_JMP | BPF_JA, 0, 0, 0);
    search(program, segments, first, middle - 1);
    if (program->is_too_long) return;
    program->code[jump].k = (uint32_t)(program->length - jump - 1);
    search(program, segments, middle, last);
}

static void filter(struct program *program, const uint8_t verdicts[highest_number]) {
    struct segment segments[highest_number + 1];
    size_t count = 0;
    for (uint32_t number = 0; number < highest_number; number++) {
        if (count > 0 && segments[count - 1].verdict == verdicts[number]) continue;
        segments[count].start = number;
        segments[count++].verdict = verdicts[number];
    }
    if (segments[count - 1].verdict != unknown) {
        segments[count].start = highest_number;
        segments[count++].verdict = unknown;
    }
    load(program, offsetof(struct seccomp_data, nr));
    search(program, segments, 0, count - 1);
}

/// `if architecture` + the filter for it, skipped as a whole for others.
static void part(struct program *program, uint32_t architecture, const uint8_t verdicts[highest_number]) {
    emit(program, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, architecture);
    size_t jump = program->length;
    emit(program, BPF_JMP | BPF_JA, 0, 0, 0);
    filter(program, verdicts);
    if (!program->is_too_long) program->code[jump].k = (uint32_t)(program->length - jump - 1);
}

int jc_filter_calls(void) {
    static struct program program;
    static uint8_t native[highest_number], compatible[highest_number];
    program.length = 0;
    load(&program, offsetof(struct seccomp_data, arch));
    jc_native_verdicts(native);
    part(&program, NATIVE, native);
    if (jc_compatible_verdicts(compatible)) part(&program, AUDIT_ARCH_I386, compatible);
    answer(&program, SECCOMP_RET_KILL_PROCESS);
    if (program.is_too_long) return -E2BIG;
    struct sock_fprog filter;
    filter.len = (unsigned short)program.length;
    filter.filter = program.code;
    long result = raw5(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (result == 0) result = raw3(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter);
    return result == 0 ? (int)program.length : (int)result;
}

END_RAW
