// A network that only one attempt has: namespaces, a bridge, and wires to it, made by netlink. Nothing here has a name on
// the host: everything is gone when the last process in a namespace is, and the last descriptor of it.
// Each returns a result of 0 or more, or -errno.
#pragma once
#include <stdint.h>

/// The network namespace of this thread, as a descriptor.
int jc_network_current(void);
/// A new network namespace whose loopback works and whose low ports are everybody's, as a descriptor. This thread is in it
/// no longer when this returns.
int jc_network_make(void);
int jc_network_enter(int network);
/// Makes a bridge in this thread's network namespace.
int jc_bridge_make(const char *name);
/// Connects `network` to the bridge of this thread's namespace, where the wire's end is called `name`. There it is `eth0`,
/// with an IPv4 address (in the host's byte order) of a network of `prefix` bits.
int jc_wire_make(const char *bridge, const char *name, int network, uint32_t address, int prefix);
