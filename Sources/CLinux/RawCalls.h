// System calls without the C library, for the container's init: it may begin where the C library has not begun, because the
// library's own start asks the processor for its features, which takes a quarter of a millisecond in a virtual machine. So its
// code calls no function of the library, and the compiler may put none in: no thread-local errno, no copying, no guard.
#pragma once
#include <stddef.h>
#include <sys/syscall.h>

/// To put around the functions of such a file.
#define BEGIN_RAW _Pragma("clang attribute push(__attribute__((no_builtin, no_stack_protector)), apply_to = function)")
#define END_RAW _Pragma("clang attribute pop")

BEGIN_RAW

/// Returns the result, or -errno.
static inline long raw_call(long number, long a, long b, long c, long d, long e, long f) {
#if defined(__x86_64__)
    long result;
    register long fourth __asm__("r10") = d;
    register long fifth __asm__("r8") = e;
    register long sixth __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth), "r"(fifth), "r"(sixth)
                     : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long call __asm__("x8") = number;
    register long first __asm__("x0") = a;
    register long second __asm__("x1") = b;
    register long third __asm__("x2") = c;
    register long fourth __asm__("x3") = d;
    register long fifth __asm__("x4") = e;
    register long sixth __asm__("x5") = f;
    __asm__ volatile("svc 0"
                     : "+r"(first)
                     : "r"(call), "r"(second), "r"(third), "r"(fourth), "r"(fifth), "r"(sixth)
                     : "memory");
    return first;
#elif defined(__riscv) && __riscv_xlen == 64
    register long call __asm__("a7") = number;
    register long first __asm__("a0") = a;
    register long second __asm__("a1") = b;
    register long third __asm__("a2") = c;
    register long fourth __asm__("a3") = d;
    register long fifth __asm__("a4") = e;
    register long sixth __asm__("a5") = f;
    __asm__ volatile("ecall"
                     : "+r"(first)
                     : "r"(call), "r"(second), "r"(third), "r"(fourth), "r"(fifth), "r"(sixth)
                     : "memory");
    return first;
#else
#error "system calls are not written for this architecture"
#endif
}

#define raw0(number) raw_call(number, 0, 0, 0, 0, 0, 0)
#define raw1(number, a) raw_call(number, (long)(a), 0, 0, 0, 0, 0)
#define raw2(number, a, b) raw_call(number, (long)(a), (long)(b), 0, 0, 0, 0)
#define raw3(number, a, b, c) raw_call(number, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define raw4(number, a, b, c, d) raw_call(number, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define raw5(number, a, b, c, d, e) raw_call(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)

/// Ends the process.
static inline void __attribute__((noreturn)) raw_exit(int status) {
    for (;;) raw1(SYS_exit_group, status);
}

END_RAW
