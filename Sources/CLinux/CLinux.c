#include "CLinux.h"
int jc_placeholder(void) { return 0; }
