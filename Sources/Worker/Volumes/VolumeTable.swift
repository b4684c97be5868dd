// The host folders that this worker offers, and which it must never offer. Names and rules only; opening stands in
// VolumeAccess.swift.
import Foundation
import JobModel

/// A named host folder.
package struct Volume: Hashable, Sendable {
    package var name: VolumeName
    package var root: String
    package var writable: Bool
    package init(name: VolumeName, root: String, writable: Bool) {
        self.name = name
        self.root = root
        self.writable = writable
    }

    /// Parses `NAME=PATH[:ro|rw]`; read-only where no mode is given.
    /// - Throws: ``VolumeError`` with a sentence.
    package init(_ text: String) throws(VolumeError) {
        let parts = text.split(separator: "=", maxSplits: 1).map(String.init)
        guard parts.count == 2, let name = VolumeName(rawValue: parts[0]) else {
            throw VolumeError("\(quoted(text)) is not a volume: write NAME=/PATH:ro or NAME=/PATH:rw")
        }
        let isWritable = parts[1].hasSuffix(":rw")
        let path = isWritable || parts[1].hasSuffix(":ro") ? String(parts[1].dropLast(3)) : parts[1]
        guard path.hasPrefix("/") else {
            throw VolumeError("the volume '\(name)' needs an absolute path, not \(quoted(path))")
        }
        self.init(name: name, root: path, writable: isWritable)
    }
}

/// Data that cannot be mapped, with a sentence for the user.
package struct VolumeError: Error, Hashable, Sendable, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = description }
}

package struct VolumeTable: Sendable {
    let volumes: [VolumeName: Volume]
    let allowedPaths: [String]

    /// Folders of the system and of engines: no volume may be one of them, nor contain an engine's.
    private static let forbidden = [
        "/", "/boot", "/dev", "/etc", "/proc", "/sys", "/usr", "/bin", "/sbin", "/run", "/var/run", "/root",
    ]
    private static let forbiddenBelow = [
        "/boot", "/dev", "/etc", "/proc", "/sys", "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/run",
    ]
    private static let engineFolders = [
        "/var/lib/docker", "/var/lib/containers", "/var/lib/containerd", "/run/docker.sock", "/run/podman",
    ]

    /// Checks every root, with its symbolic links resolved.
    /// - Throws: ``VolumeError`` that names the volume.
    package init(volumes: [Volume], allowedPaths: [String]) throws(VolumeError) {
        var table: [VolumeName: Volume] = [:]
        for volume in volumes {
            guard table[volume.name] == nil else { throw VolumeError("the volume '\(volume.name)' is given twice") }
            table[volume.name] = Volume(
                name: volume.name, root: try Self.checked(volume.root, "the volume '\(volume.name)'"),
                writable: volume.writable)
        }
        self.volumes = table
        var paths: [String] = []
        for path in allowedPaths {
            guard path.hasPrefix("/") else { throw VolumeError("the allowed path \(quoted(path)) must be absolute") }
            paths.append(try Self.checked(path, "the allowed path \(quoted(path))"))
        }
        self.allowedPaths = paths.sorted { $0.count > $1.count }
    }

    private static func checked(_ path: String, _ what: String) throws(VolumeError) -> String {
        guard let resolved = realpath(path, nil) else { throw VolumeError("\(what): \(path) does not exist") }
        defer { free(resolved) }
        let root = String(cString: resolved)
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: root, isDirectory: &isFolder), isFolder.boolValue else {
            throw VolumeError("\(what): \(path) is no folder")
        }
        let isForbidden =
            forbidden.contains(root) || forbiddenBelow.contains { root == $0 || root.hasPrefix($0 + "/") }
            || engineFolders.contains { root == $0 || root.hasPrefix($0 + "/") || $0.hasPrefix(root + "/") }
        guard !isForbidden else {
            throw VolumeError("\(what) may not be \(root): it belongs to the system or to a container engine")
        }
        return root
    }

    /// The root folder, the path below it and whether it may be written, for a binding.
    func resolve(_ binding: Binding, _ slot: SlotName) throws(VolumeError) -> (
        root: String, path: String, writable: Bool
    ) {
        guard !binding.path.split(separator: "/").contains(".jobctl") else {
            throw VolumeError("slot '\(slot)': '.jobctl' is the worker's own folder and cannot be bound")
        }
        switch binding.root {
        case .volume(let name):
            guard let volume = volumes[name] else {
                throw VolumeError("slot '\(slot)': this worker offers no volume '\(name)'")
            }
            return (volume.root, binding.path, volume.writable)
        case .host:
            guard let root = allowedPaths.first(where: { binding.path == $0 || binding.path.hasPrefix($0 + "/") })
            else {
                throw VolumeError("slot '\(slot)': this worker does not allow the path \(binding.path)")
            }
            return (root, String(binding.path.dropFirst(root.count).drop { $0 == "/" }), true)
        }
    }

    /// What the registration says.
    package var offers: [VolumeName: VolumeOffer] { volumes.mapValues { VolumeOffer(writable: $0.writable) } }
}
