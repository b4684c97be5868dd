// The verdicts by the numbers of 32-bit x86, for such programs on x86-64.
#include "RawCalls.h"
#include "Seccomp.h"

#ifdef __x86_64__
#include <asm/unistd_32.h>

BEGIN_RAW

#define ALLOW(number) if ((number) < highest_number) verdicts[number] = allowed;
#define DENY(number) if ((number) < highest_number) verdicts[number] = denied;

int jc_compatible_verdicts(uint8_t verdicts[highest_number]) {
#include "Syscalls.inc"
    verdicts[__NR_clone] = check_clone;
    verdicts[__NR_personality] = check_personality;
    verdicts[__NR_socket] = check_socket;
    return 1;
}

END_RAW
#else
BEGIN_RAW

int jc_compatible_verdicts(uint8_t verdicts[highest_number]) {
    (void)verdicts;
    return 0;
}

END_RAW
#endif
