// The verdicts by the numbers of this architecture.
#include "RawCalls.h"
#include "Seccomp.h"

#include <asm/unistd.h>
#include <linux/audit.h>

BEGIN_RAW

#define ALLOW(number) if ((number) < highest_number) verdicts[number] = allowed;
#define DENY(number) if ((number) < highest_number) verdicts[number] = denied;

void jc_native_verdicts(uint8_t verdicts[highest_number]) {
#include "Syscalls.inc"
    verdicts[__NR_clone] = check_clone;
    verdicts[__NR_personality] = check_personality;
    verdicts[__NR_socket] = check_socket;
}

END_RAW
