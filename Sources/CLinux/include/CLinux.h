// Linux calls that Glibc's Swift module does not offer. Each returns the call's result, or -errno.
#pragma once
int jc_placeholder(void);
