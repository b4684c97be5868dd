// The host folders that this worker offers, and which it must never offer. Names and rules only; opening stands in
// VolumeAccess.swift.
import CLinux
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
    let allowedPaths: [AllowedPath]

    /// A host path that jobs may bind, as it was given and as it is.
    struct AllowedPath: Hashable, Sendable {
        let given: String
        let root: String
    }

    /// Folders of the system and of engines: no volume may be one of them, nor contain an engine's.
    private static let forbidden = [
        "/", "/boot", "/dev", "/etc", "/proc", "/sys", "/usr", "/bin", "/sbin", "/run", "/var/run", "/root",
    ]
    private static let forbiddenBelow = [
        "/boot", "/dev", "/etc", "/proc", "/sys", "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32",
        "/run",
    ]
    private static let engineFolders = [
        "/var/lib/docker", "/var/lib/containers", "/var/lib/containerd", "/run/docker.sock", "/run/podman",
    ]

    /// Checks every root, with its symbolic links resolved.
    /// - Parameter ownFolder: the worker's data folder: it and what lies in it cannot be offered.
    /// - Throws: ``VolumeError`` that names the volume.
    package init(volumes: [Volume], allowedPaths: [String], ownFolder: String? = nil) throws(VolumeError) {
        let ownFolder = ownFolder.flatMap { Self.resolved($0) }
        var table: [VolumeName: Volume] = [:]
        for volume in volumes {
            guard table[volume.name] == nil else { throw VolumeError("the volume '\(volume.name)' is given twice") }
            table[volume.name] = Volume(
                name: volume.name, root: try Self.checked(volume.root, "the volume '\(volume.name)'", ownFolder),
                writable: volume.writable)
        }
        self.volumes = table
        var paths: [AllowedPath] = []
        for path in allowedPaths {
            guard path.hasPrefix("/") else { throw VolumeError("the allowed path \(quoted(path)) must be absolute") }
            let root = try Self.checked(path, "the allowed path \(quoted(path))", ownFolder)
            let given = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
            paths.append(AllowedPath(given: given, root: root))
        }
        self.allowedPaths = paths.sorted { $0.given.count > $1.given.count }
    }

    private static func resolved(_ path: String) -> String? {
        guard let resolved = realpath(path, nil) else { return nil }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    private static func checked(_ path: String, _ what: String, _ ownFolder: String?) throws(VolumeError) -> String {
        guard let root = resolved(path) else { throw VolumeError("\(what): \(path) does not exist") }
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
        if let ownFolder, root == ownFolder || root.hasPrefix(ownFolder + "/") {
            throw VolumeError("\(what) may not be \(root): it belongs to this worker")
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
            let allowed = allowedPaths.first {
                binding.path == $0.given || binding.path.hasPrefix($0.given + "/")
            }
            guard let allowed else {
                throw VolumeError("slot '\(slot)': this worker does not allow the path \(binding.path)")
            }
            return (allowed.root, String(binding.path.dropFirst(allowed.given.count).drop { $0 == "/" }), true)
        }
    }

    /// What the registration says.
    package var offers: [VolumeName: VolumeOffer] {
        volumes.mapValues {
            VolumeOffer(writable: $0.writable, network: jc_is_network_folder($0.root) == 1 ? true : nil)
        }
    }
}
