// Which of a host's CDI devices a GPU is: reads /etc/cdi and /var/run/cdi anew for each container that wants one,
// because NVIDIA's toolkit writes the files again when the driver changes. Invariants: a file that cannot be read is
// told by its name and field, and keeps only its own devices away; of two folders the later wins; two files of one
// folder that have the same device have none.
import Foundation
import JobModel
import RunnerCore

package struct DeviceSpecifications: Sendable {
    /// The later wins over the earlier.
    package var folders: [String]
    /// GPUs by identity, as the driver numbers them: where devices are named after the number.
    package var indices: [String: Int]

    package static let standardFolders = ["/etc/cdi", "/var/run/cdi"]
    package static let gpuKind = "nvidia.com/gpu"
    private static let largestFolder = 256

    package init(folders: [String] = Self.standardFolders, indices: [String: Int] = [:]) {
        self.folders = folders
        self.indices = indices
    }

    /// All that the GPUs need.
    /// - Returns: nil where the host has no CDI devices of this kind: another way must be found.
    /// - Throws: kind `refused` with a sentence, if it has some, or has a file that cannot be read, and a GPU is not
    ///   among them.
    package func edits(for gpus: [String]) throws(EngineError) -> DeviceEdits? {
        guard !gpus.isEmpty else { return nil }
        let (devices, problems) = read()
        if devices.isEmpty, problems.isEmpty { return nil }
        var edits = DeviceEdits()
        for gpu in gpus {
            guard let name = name(of: gpu, in: devices), let device = devices[name] else {
                let known = devices.keys.sorted().joined(separator: ", ")
                let reason = problems.isEmpty ? "known are \(known)" : problems.joined(separator: "; ")
                throw .refused("no CDI specification of this host has the GPU \(gpu) (\(reason))")
            }
            edits.names.append("\(Self.gpuKind)=\(name)")
            edits.merge(device.common)
            edits.merge(device.own)
        }
        return edits
    }

    private func name(of gpu: String, in devices: [String: Device]) -> String? {
        if devices[gpu] != nil { return gpu }
        return indices[gpu].map(String.init).flatMap { devices[$0] == nil ? nil : $0 }
    }

    private struct Device {
        var common: DeviceEdits
        var own: DeviceEdits
        var file: String
    }

    private func read() -> (devices: [String: Device], problems: [String]) {
        var devices: [String: Device] = [:]
        var problems: [String] = []
        for folder in folders {
            var found: [String: Device] = [:]
            var conflicts: Set<String> = []
            for file in files(in: folder) {
                do throws(SpecError) {
                    let specification = try Self.read(file)
                    guard specification.kind == Self.gpuKind else { continue }
                    for (name, own) in specification.devices {
                        if let other = found[name] {
                            problems.append("\(file) and \(other.file) both have the device '\(name)'")
                            conflicts.insert(name)
                        }
                        found[name] = Device(common: specification.common, own: own, file: file)
                    }
                } catch {
                    problems.append("\(error)")
                }
            }
            for name in conflicts { found[name] = nil }
            devices.merge(found) { $1 }
        }
        return (devices, problems)
    }

    private func files(in folder: String) -> [String] {
        // allowed: no folder, no devices
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return names.filter { $0.hasSuffix(".json") || $0.hasSuffix(".yaml") }.sorted().prefix(Self.largestFolder)
            .map { folder + "/" + $0 }
    }

    private static func read(_ file: String) throws(SpecError) -> DeviceSpecificationFile {
        // An administrator's file may be a link.
        let path = realpath(file, nil).map { path in
            defer { free(path) }
            return String(cString: path)
        }
        guard let bytes = path.flatMap({ readFile($0, limit: DeviceSpecificationFile.largestFile) }) else {
            throw SpecError(
                location: SourceLocation(file: file, line: 1), path: "$",
                message: "cannot be read, or has more than \(DeviceSpecificationFile.largestFile) bytes")
        }
        return try DeviceSpecificationFile(bytes, file: file)
    }
}
