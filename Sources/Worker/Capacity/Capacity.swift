// What this host can give: processors by the agent's affinity and its control group's quota, memory by /proc/meminfo
// and the group's limit, minus a reserve for the host, and GPUs as nvidia-smi names them. Invariant: never more than
// the kernel would let the containers have; a file or program that says nonsense counts as absent, with a note.
import Foundation
import JobModel
import RunnerCore
import Subprocess

/// A GPU that the driver offers.
package struct DetectedGPU: Hashable, Sendable {
    /// `GPU-5a…`: stable over restarts, unlike the index.
    package var uuid: String
    /// As the driver numbers them since its start.
    package var index: Int
    package var name: String
    package var memory: ByteCount
}

/// What a worker may offer.
package struct Capacity: Hashable, Sendable {
    package var cpus: CPUAmount
    package var memory: ByteCount
    package var gpus: [DetectedGPU]
    /// One sentence for each source that could not be used.
    package var notes: [String]
}

extension Capacity {
    /// Looks at this host.
    package static func detect() async -> Capacity {
        let limits = GroupLimits.ofThisProcess()
        var notes: [String] = []
        let memory = hostMemory(meminfo: CgroupBook.text("/proc/meminfo") ?? "")
        if memory == nil { notes.append("/proc/meminfo could not be read: no memory is offered") }
        let (gpus, note) = await gpus()
        if let note { notes.append(note) }
        return Capacity(
            cpus: cpus(affinity: ProcessInfo.processInfo.activeProcessorCount, quota: limits.cpus),
            memory: offered(total: memory ?? 0, limit: limits.memory), gpus: gpus, notes: notes)
    }

    /// The smaller of affinity (Foundation asks sched_getaffinity) and quota, at least a tenth of a processor.
    static func cpus(affinity: Int, quota: CPUAmount?) -> CPUAmount {
        let all = CPUAmount(cpus: max(1, affinity))
        guard let quota else { return all }
        return max(CPUAmount(thousandths: 100), min(all, quota))
    }

    /// What is left of the smaller amount after the reserve: a twentieth, at least 256 MiB and at most 4 GiB, never
    /// more than half.
    static func offered(total: Int64, limit: Int64?) -> ByteCount {
        let usable = max(0, min(total, limit ?? total))
        let reserve = min(max(usable / 20, 256 << 20), 4 << 30, usable / 2)
        return ByteCount(bytes: usable - reserve)
    }

    /// `MemTotal` in bytes.
    static func hostMemory(meminfo: String) -> Int64? {
        for line in meminfo.split(separator: "\n") where line.hasPrefix("MemTotal:") {
            let words = line.split(separator: " ")
            guard words.count == 3, words[2] == "kB", let kibibytes = Int64(words[1]), kibibytes > 0,
                kibibytes < 1 << 42
            else { return nil }
            return kibibytes * 1024
        }
        return nil
    }

    // MARK: GPUs

    static let largestGPUCount = 1024

    /// The driver's numbers by identity.
    package static func gpuIndices() async -> [String: Int] {
        Dictionary(await gpus().0.map { ($0.uuid, $0.index) }, uniquingKeysWith: { first, _ in first })
    }

    private static func gpus() async -> ([DetectedGPU], String?) {
        let query = ["--query-gpu=uuid,name,memory.total", "--format=csv,noheader"]
        do {
            let result = try await withThrowingTaskGroup(of: String?.self) { group in
                group.addTask {
                    let run = try await Subprocess.run(
                        .name("nvidia-smi"), arguments: Arguments(query), output: .string(limit: 1 << 20),
                        error: .discarded)
                    guard case .exited(0) = run.terminationStatus else { return nil }
                    return run.standardOutput
                }
                // A driver that hangs must not hang the agent's start.
                group.addTask {
                    try await Task.sleep(for: .seconds(20))
                    throw CancellationError()
                }
                defer { group.cancelAll() }
                return try await group.next() ?? nil
            }
            guard let result else { return ([], "nvidia-smi failed: no GPU is offered") }
            return parse(nvidiaSMI: result)
        } catch is CancellationError {
            return ([], "nvidia-smi did not answer within 20 s: no GPU is offered")
        } catch {
            // Not installed: a host without such GPUs.
            return ([], nil)
        }
    }

    /// Lines of `GPU-…, NVIDIA A100-SXM4-40GB, 40960 MiB`.
    static func parse(nvidiaSMI text: String) -> ([DetectedGPU], String?) {
        var gpus: [DetectedGPU] = []
        var strange = 0
        for line in text.split(whereSeparator: \.isNewline) where !line.allSatisfy(\.isWhitespace) {
            guard gpus.count < largestGPUCount else {
                return (gpus, "nvidia-smi lists more than \(largestGPUCount) GPUs: the rest is not offered")
            }
            let fields = line.split(separator: ",", omittingEmptySubsequences: false).map {
                $0.trimmingCharacters(in: .whitespaces)
            }
            let uuid = fields[0]
            let amount = fields.count == 3 ? fields[2].split(separator: " ") : []
            guard fields.count == 3, uuid.hasPrefix("GPU-"), (5...80).contains(uuid.utf8.count),
                uuid.utf8.allSatisfy({
                    ($0 >= 0x30 && $0 <= 0x39) || ($0 >= 0x41 && $0 <= 0x5a) || ($0 >= 0x61 && $0 <= 0x7a) || $0 == 0x2d
                }),
                !gpus.contains(where: { $0.uuid == uuid }), amount.count == 2, amount[1] == "MiB",
                let mebibytes = Int64(amount[0]), (1...(1 << 30)).contains(mebibytes)
            else {
                strange += 1
                continue
            }
            gpus.append(
                DetectedGPU(
                    uuid: uuid, index: gpus.count + strange, name: String(fields[1].prefix(200)),
                    memory: ByteCount(bytes: mebibytes << 20)))
        }
        return (
            gpus, strange == 0 ? nil : "nvidia-smi printed \(strange) lines that describe no GPU: they are not offered"
        )
    }
}

/// The limits of the control group that the agent runs in, for an agent in a container or a slice.
struct GroupLimits: Hashable, Sendable {
    var cpus: CPUAmount?
    var memory: Int64?

    static func ofThisProcess() -> GroupLimits {
        let table = CgroupBook.text("/proc/self/cgroup") ?? ""
        var limits = GroupLimits()
        for line in table.split(separator: "\n") {
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false).map(String.init)
            guard fields.count == 3, fields[2].hasPrefix("/"), !fields[2].contains("..") else { continue }
            if ControlGroups.isUnified {
                guard fields[0] == "0" else { continue }
                limits.tighten(unified: fields[2])
            } else if fields[1].split(separator: ",").contains("memory") {
                limits.forEachGroup("memory", fields[2]) { limits, folder in
                    limits.tighten(memory: amount(CgroupBook.text(folder + "/memory.limit_in_bytes")))
                }
            } else if fields[1].split(separator: ",").contains("cpu") {
                limits.forEachGroup("cpu", fields[2]) { limits, folder in
                    guard let quota = amount(CgroupBook.text(folder + "/cpu.cfs_quota_us")),
                        let period = amount(CgroupBook.text(folder + "/cpu.cfs_period_us"))
                    else { return }
                    limits.tighten(quota: quota, period: period)
                }
            }
        }
        return limits
    }

    private mutating func tighten(unified group: String) {
        forEachGroup("", group) { limits, folder in
            limits.tighten(memory: Self.amount(CgroupBook.text(folder + "/memory.max")))
            let words = (CgroupBook.text(folder + "/cpu.max") ?? "").split(whereSeparator: \.isWhitespace)
            if words.count == 2, let quota = Int64(words[0]), let period = Int64(words[1]) {
                limits.tighten(quota: quota, period: period)
            }
        }
    }

    /// The group and all above it: each may limit.
    private mutating func forEachGroup(
        _ controller: String, _ group: String, _ look: (inout GroupLimits, String) -> Void
    ) {
        var parts = group.split(separator: "/").prefix(64)
        let root = ControlGroups.root + (controller.isEmpty ? "" : "/" + controller)
        while true {
            look(&self, parts.isEmpty ? root : root + "/" + parts.joined(separator: "/"))
            guard parts.popLast() != nil else { return }
        }
    }

    mutating func tighten(memory bytes: Int64?) {
        // The kernel writes a number near 2^63 for "none".
        guard let bytes, bytes > 0, bytes < 1 << 60 else { return }
        memory = min(memory ?? bytes, bytes)
    }

    mutating func tighten(quota: Int64, period: Int64) {
        guard quota > 0, period > 0, quota < 1 << 50, period < 1 << 50 else { return }
        let amount = CPUAmount(thousandths: max(1, quota * 1000 / period))
        cpus = min(cpus ?? amount, amount)
    }

    private static func amount(_ text: String?) -> Int64? {
        text.flatMap { Int64($0.trimmingCharacters(in: .whitespacesAndNewlines)) }
    }
}
