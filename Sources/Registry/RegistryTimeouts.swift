// How long registries may take, in one place: what the product uses stands here, and tests have less patience.

/// How long the outside world may take.
package struct RegistryTimeouts: Hashable, Sendable {
    /// Seconds to connect, TLS included.
    package var connect = 15
    /// Seconds in which less than ``slowest`` a second may come before the transfer is given up.
    package var stall = 30
    /// Bytes a second.
    package var slowest = 512
    /// Seconds for the whole of a manifest or a token.
    package var small = 60
    /// Seconds that a call waits in sum where a registry asks for it, or between tries.
    package var patience = 60.0
    package init() {}
}
