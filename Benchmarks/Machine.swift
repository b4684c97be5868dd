// What the figures were measured on: they mean nothing without it.
import Foundation

struct Machine: Codable, CustomStringConvertible {
    var cores: Int
    var processor: String
    var kernel: String
    var memoryGiB: Double
    /// The load of the last minute when the run began: above 0.5, something else runs here too.
    var loadBefore: Double
    /// The median time to append 4 KiB and have it on the disk.
    var fsyncMilliseconds: Double

    var description: String {
        let load = String(format: "%.1f", loadBefore)
        return String(
            format: "%d cores (%@), %.0f GiB, Linux %@, fdatasync of 4 KiB %.2f ms, load before the run %@", cores,
            processor, memoryGiB, kernel, fsyncMilliseconds, load)
    }

    static func describe(diskOf folder: String) throws -> Machine {
        let model = text("/proc/cpuinfo").split(separator: "\n").first { $0.hasPrefix("model name") }?
            .split(separator: ":").last.map { $0.trimmingCharacters(in: .whitespaces) }
        let load = text("/proc/loadavg").split(separator: " ").first.flatMap { Double($0) }
        return Machine(
            cores: ProcessInfo.processInfo.activeProcessorCount, processor: model ?? "unknown",
            kernel: text("/proc/sys/kernel/osrelease").trimmingCharacters(in: .whitespacesAndNewlines),
            memoryGiB: Double(ProcessInfo.processInfo.physicalMemory) / Double(1 << 30), loadBefore: load ?? 0,
            fsyncMilliseconds: try fsyncTime(folder))
    }

    private static func text(_ path: String) -> String {
        FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }

    private static func fsyncTime(_ folder: String) throws -> Double {
        let path = folder + "/fsync"
        let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw BenchFailure("\(path) cannot be written") }
        defer {
            close(file)
            unlink(path)
        }
        let page = [UInt8](repeating: 1, count: 4096)
        let times = try (0..<100).map { _ -> Double in
            let start = ContinuousClock.now
            guard write(file, page, page.count) == page.count, fdatasync(file) == 0 else {
                throw BenchFailure("\(path) cannot be written")
            }
            return (ContinuousClock.now - start) / .milliseconds(1)
        }
        return times.median
    }
}
