// Each container starts this program twice: as the runner and as the init. Of the second start most would go into the
// beginning of the C library and of Swift's runtime, which the init needs neither of.
#include "CRunnerEntry.h"
#include <Containers.h>

/// RunnerFolder.initPath, with which the runtime starts the init.
static const char init_path[] = "/dev/init";
/// RunnerFolder.witnessPath, with which an engine's daemon starts it.
static const char witness_path[] = "/dev/witness";

__attribute__((no_builtin, no_stack_protector)) static int is_equal(const char *a, const char *b) {
    while (*a && *a == *b) a++, b++;
    return *a == *b;
}

/// - Parameter stack: as the kernel leaves it: the number of arguments, the arguments, NULL, the environment, NULL.
__attribute__((used, no_builtin, no_stack_protector)) static void choose(char **stack) {
    long count = *(long *)stack;
    char **argv = stack + 1;
    if (count < 2) return;
    if (is_equal(argv[0], witness_path)) jc_witness_enter(argv + 1, argv + count + 1);
    // An option is for the init that Swift's part chooses.
    if (is_equal(argv[0], init_path) && argv[1][0] != '-') jc_init_enter(argv + 1, argv + count + 1);
}

#if defined(__x86_64__)
__asm__(
    ".text\n"
    ".globl jc_entry\n"
    ".type jc_entry, @function\n"
    "jc_entry:\n"
    "  xorl %ebp, %ebp\n"
    "  movq %rsp, %rbx\n"
    "  movq %rdx, %r12\n"
    "  movq %rsp, %rdi\n"
    "  andq $-16, %rsp\n"
    "  call choose\n"
    "  movq %rbx, %rsp\n"
    "  movq %r12, %rdx\n"
    "  jmp _start\n");
#elif defined(__aarch64__)
__asm__(
    ".text\n"
    ".globl jc_entry\n"
    ".type jc_entry, %function\n"
    "jc_entry:\n"
    "  mov x19, x0\n"
    "  mov x0, sp\n"
    "  bl choose\n"
    "  mov x0, x19\n"
    "  b _start\n");
#elif defined(__riscv) && __riscv_xlen == 64
__asm__(
    ".text\n"
    ".globl jc_entry\n"
    ".type jc_entry, @function\n"
    "jc_entry:\n"
    "  mv s1, a0\n"
    "  mv a0, sp\n"
    "  call choose\n"
    "  mv a0, s1\n"
    "  tail _start\n");
#endif
