// What this host can offer: processors that the agent may use, memory less a reserve for the system, GPUs by nvidia-smi.
import Foundation
import JobModel

package struct Capacity: Hashable, Sendable {
    package var cpus: CPUAmount
    package var memory: ByteCount
    package var gpus: [String]

    /// Detects what is there.
    package static func detect() -> Capacity {
        Capacity(cpus: CPUAmount(cpus: processors()), memory: memory(), gpus: gpus())
    }

    /// Foundation asks sched_getaffinity, so a pinned agent offers what it may use.
    private static func processors() -> Int { max(1, ProcessInfo.processInfo.activeProcessorCount) }

    /// Nine tenths of the host's memory, or of the agent's own limit where that is smaller.
    private static func memory() -> ByteCount {
        let total = Int64(clamping: ProcessInfo.processInfo.physicalMemory)
        let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"].compactMap { path in
            FileManager.default.contents(atPath: path).flatMap { Int64(String(decoding: $0, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)) }
        }
        return ByteCount(bytes: limits.reduce(total, min) / 10 * 9)
    }

    private static func gpus() -> [String] {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
        let output = Pipe()
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        guard (try? process.run()) != nil else { return [] }  // allowed: no nvidia-smi, no NVIDIA GPU
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return process.terminationStatus == 0 ? identities(text) : []
    }

    /// One `GPU-…` a line; anything else is no identity.
    package static func identities(_ text: String) -> [String] {
        text.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
            .filter { $0.hasPrefix("GPU-") && $0.utf8.count <= 64 && $0.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-") } }
            .prefix(1024).map { $0 }
    }
}
