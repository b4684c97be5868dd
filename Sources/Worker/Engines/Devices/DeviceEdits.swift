// What a GPU needs of its container, by the Container Device Interface: device nodes, variables, mounts, hooks, groups.
// Values only. What of it may go into a container is checked where a specification is read
// (DeviceSpecificationFile.swift); how it gets there stands in AttemptBundle+Devices.swift.

package struct DeviceEdits: Hashable, Sendable {
    package struct Node: Hashable, Sendable {
        /// In the container, below /dev.
        package var path: String
        package var hostPath: String
        /// Of `r` and `w`.
        package var access: String
        package var mode: UInt32?
        package var uid: UInt32?
        package var gid: UInt32?
    }
    package struct Mount: Hashable, Sendable {
        package var hostPath: String
        package var path: String
        package var readOnly: Bool
        /// `bind` or `rbind`.
        package var kind: String
    }
    package struct Hook: Hashable, Sendable {
        /// When: `prestart`, `createRuntime`, …
        package var moment: String
        package var path: String
        package var arguments: [String]
        package var environment: [String]
        /// Seconds.
        package var timeout: Int64?
    }

    /// `vendor.com/class=name`, in the order in which they were asked for.
    package var names: [String] = []
    package var nodes: [Node] = []
    /// `NAME=value`; the last wins.
    package var environment: [String] = []
    package var mounts: [Mount] = []
    package var hooks: [Hook] = []
    package var groups: [UInt32] = []

    package init() {}

    /// Adds what is not there yet: two GPUs share many nodes.
    mutating func merge(_ other: DeviceEdits) {
        for node in other.nodes where !nodes.contains(where: { $0.path == node.path }) { nodes.append(node) }
        environment += other.environment.filter { !environment.contains($0) }
        for mount in other.mounts where !mounts.contains(where: { $0.path == mount.path }) { mounts.append(mount) }
        hooks += other.hooks.filter { !hooks.contains($0) }
        groups += other.groups.filter { !groups.contains($0) }
    }
}
