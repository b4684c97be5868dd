// GPUs in an OCI bundle: by the Container Device Interface where the host has it, else by NVIDIA's hook. Invariant: a
// container gets the nodes of the GPUs that were scheduled for it, and no other.
import Foundation
import Glibc
import JobModel

extension AttemptBundle {
    /// Which GPUs a container sees was scheduled, and is not for an image or a job to say: the last word.
    func addGPUs(to variables: inout [String: String]) {
        guard !specification.gpus.isEmpty else { return }
        guard let devices else {
            variables["NVIDIA_VISIBLE_DEVICES"] = specification.gpus.joined(separator: ",")
            variables["NVIDIA_DRIVER_CAPABILITIES"] = variables["NVIDIA_DRIVER_CAPABILITIES"] ?? "compute,utility"
            return
        }
        // For a hook that is configured in the runtime itself: nothing is left to do.
        variables["NVIDIA_VISIBLE_DEVICES"] = "void"
        for entry in devices.environment {
            guard let equals = entry.firstIndex(of: "=") else { continue }
            variables[String(entry[..<equals])] = String(entry[entry.index(after: equals)...])
        }
    }

    /// A device as the host has it.
    struct HostNode {
        let node: DeviceEdits.Node
        /// `c` or `b`.
        let type: String
        let major: UInt32
        let minor: UInt32
        let mode: UInt32
    }

    /// - Throws: kind `refused` for a path that is no device.
    func hostNodes() throws(EngineError) -> [HostNode] {
        var found: [HostNode] = []
        for node in devices?.nodes ?? [] {
            var status = stat()
            guard stat(node.hostPath, &status) == 0 else {
                throw .refused("the GPU's device \(node.hostPath) is not there: \(String(cString: strerror(errno)))")
            }
            let type: String
            switch status.st_mode & S_IFMT {
            case S_IFCHR: type = "c"
            case S_IFBLK: type = "b"
            default: throw .refused("the GPU's device \(node.hostPath) is no device")
            }
            let (major, minor) = Self.numbers(UInt64(status.st_rdev))
            found.append(
                HostNode(node: node, type: type, major: major, minor: minor, mode: status.st_mode & 0o777))
        }
        return found
    }

    /// As gnu_dev_major and gnu_dev_minor.
    private static func numbers(_ device: UInt64) -> (major: UInt32, minor: UInt32) {
        let major = device >> 8 & 0xfff | device >> 32 & ~UInt64(0xfff)
        let minor = device & 0xff | device >> 12 & ~UInt64(0xff)
        return (UInt32(truncatingIfNeeded: major), UInt32(truncatingIfNeeded: minor))
    }

    /// `linux.devices`. They belong to the user, as the specification wants it for those who are not root.
    func nodeEntries(_ nodes: [HostNode]) -> [JSONValue] {
        nodes.map { host in
            [
                "path": .string(host.node.path), "type": .string(host.type), "major": .number(Double(host.major)),
                "minor": .number(Double(host.minor)), "fileMode": .number(Double(host.node.mode ?? host.mode)),
                "uid": .number(Double(host.node.uid ?? specification.user.uid)),
                "gid": .number(Double(host.node.gid ?? specification.user.gid)),
            ]
        }
    }

    /// Rules of the control group, after the one that forbids all.
    func nodeRules(_ nodes: [HostNode]) -> [JSONValue] {
        nodes.map { host in
            [
                "allow": true, "type": .string(host.type), "major": .number(Double(host.major)),
                "minor": .number(Double(host.minor)), "access": .string(host.node.access),
            ]
        }
    }

    /// The specification's mounts, and its nodes where nobody may make any: without root they are bound.
    func deviceMounts(_ nodes: [HostNode]) -> [JSONValue] {
        let files = (devices?.mounts ?? []).map { mount in
            Self.mount(
                mount.path, mount.hostPath,
                [mount.kind, "rprivate", mount.readOnly ? "ro" : "rw", "nosuid", "nodev"])
        }
        guard host.rootless != nil else { return files }
        return files
            + nodes.map { Self.mount($0.node.path, $0.node.hostPath, ["bind", "rprivate", "nosuid", "noexec"]) }
    }

    private static func mount(_ target: String, _ source: String, _ options: [String]) -> JSONValue {
        [
            "destination": .string(target), "type": "bind", "source": .string(source),
            "options": .array(options.map { .string($0) }),
        ]
    }

    /// - Throws: kind `refused` where the host has neither specifications nor a hook.
    func hooks() throws(EngineError) -> JSONValue? {
        guard !specification.gpus.isEmpty else { return nil }
        guard let devices else {
            guard let hook = host.gpuHook else {
                throw .refused(
                    "GPUs need NVIDIA's container toolkit or CDI specifications on this host: it has neither")
            }
            let entry: JSONValue = [
                "path": .string(hook), "args": [.string((hook as NSString).lastPathComponent), "prestart"],
            ]
            return ["prestart": [entry]]
        }
        guard !devices.hooks.isEmpty else { return nil }
        var moments: [(key: String, value: JSONValue)] = []
        for hook in devices.hooks where !moments.contains(where: { $0.key == hook.moment }) {
            let entries = devices.hooks.filter { $0.moment == hook.moment }.map(Self.entry)
            moments.append((hook.moment, .array(entries)))
        }
        return .object(moments)
    }

    private static func entry(_ hook: DeviceEdits.Hook) -> JSONValue {
        var members: [(key: String, value: JSONValue)] = [("path", .string(hook.path))]
        if !hook.arguments.isEmpty { members.append(("args", .array(hook.arguments.map { .string($0) }))) }
        if !hook.environment.isEmpty { members.append(("env", .array(hook.environment.map { .string($0) }))) }
        if let timeout = hook.timeout { members.append(("timeout", .number(Double(timeout)))) }
        return .object(members)
    }
}
