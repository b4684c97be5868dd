// The filter of system calls, for Seccomp.c and its tables of numbers.
#pragma once
#include <stddef.h>
#include <stdint.h>

enum verdict { unknown = 0, allowed, denied, check_clone, check_personality, check_socket };
enum { highest_number = 1024 };

/// Fills `verdicts` by system call number.
void jc_native_verdicts(uint8_t verdicts[highest_number]);
/// Of 32-bit programs on a 64-bit processor; returns 0 where there are none.
int jc_compatible_verdicts(uint8_t verdicts[highest_number]);
