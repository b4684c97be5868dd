// What a host may offer, from what its kernel and driver say.
import JobModel
import TestSupport
import Testing

@testable import Worker

@Suite("capacity")
struct CapacityTests {
    @Test("the smaller of affinity and quota counts")
    func cpus() {
        #expect(Capacity.cpus(affinity: 8, quota: nil) == CPUAmount(cpus: 8))
        #expect(Capacity.cpus(affinity: 8, quota: CPUAmount(thousandths: 2500)) == CPUAmount(thousandths: 2500))
        #expect(Capacity.cpus(affinity: 2, quota: CPUAmount(cpus: 4)) == CPUAmount(cpus: 2))
        #expect(Capacity.cpus(affinity: 0, quota: CPUAmount(thousandths: 1)) == CPUAmount(thousandths: 100))
    }

    @Test("a reserve stays with the host")
    func memory() {
        #expect(Capacity.offered(total: 100 << 30, limit: nil) == ByteCount(bytes: 96 << 30))
        #expect(Capacity.offered(total: 100 << 30, limit: 1 << 30) == ByteCount(bytes: 768 << 20))
        #expect(Capacity.offered(total: 256 << 20, limit: nil) == ByteCount(bytes: 128 << 20))
        #expect(Capacity.offered(total: 0, limit: nil) == ByteCount(bytes: 0))
        #expect(Capacity.offered(total: -5, limit: -7) == ByteCount(bytes: 0))
    }

    @Test("only a sane MemTotal counts")
    func meminfo() {
        #expect(Capacity.hostMemory(meminfo: "MemTotal:       16384 kB\nMemFree: 1 kB\n") == 16_777_216)
        for text in [
            "", "MemFree: 1 kB", "MemTotal: x kB", "MemTotal: 1 MB", "MemTotal: -1 kB",
            "MemTotal: 99999999999999999999 kB", "MemTotal: 9223372036854775807 kB",
        ] {
            #expect(Capacity.hostMemory(meminfo: text) == nil)
        }
    }

    @Test("limits only tighten, and nonsense does not")
    func limits() {
        var limits = GroupLimits()
        for bytes in [nil, 0, -1, Int64.max, 9_223_372_036_854_771_712] as [Int64?] { limits.tighten(memory: bytes) }
        #expect(limits.memory == nil)
        limits.tighten(memory: 500)
        limits.tighten(memory: 700)
        #expect(limits.memory == 500)
        for (quota, period) in [(-1, 100_000), (0, 0), (100, 0), (Int64.max, 1)] as [(Int64, Int64)] {
            limits.tighten(quota: quota, period: period)
        }
        #expect(limits.cpus == nil)
        limits.tighten(quota: 150_000, period: 100_000)
        limits.tighten(quota: 400_000, period: 100_000)
        #expect(limits.cpus == CPUAmount(thousandths: 1500))
    }

    @Test("GPUs are known by their identity, and strange lines are left out and told")
    func gpus() {
        let (gpus, note) = Capacity.parse(
            nvidiaSMI: """
                GPU-5a9c0d2e-1111-2222-3333-444455556666, NVIDIA A100-SXM4-40GB, 40960 MiB
                GPU-0, Tesla T4, 15360 MiB

                """)
        #expect(gpus.map(\.uuid) == ["GPU-5a9c0d2e-1111-2222-3333-444455556666", "GPU-0"] && note == nil)
        #expect(gpus.first?.memory == ByteCount(bytes: 40_960 << 20) && gpus.first?.name == "NVIDIA A100-SXM4-40GB")
        for line in [
            "No devices were found", "GPU-1, x", "GPU-1, x, 5 GiB", "GPU-1, x, -5 MiB",
            "GPU-1, x, 99999999999999999999 MiB", "GPU-a/b, x, 5 MiB",
            "GPU-\(String(repeating: "1", count: 100)), x, 5 MiB", "0, x, 5 MiB", ",,", "GPU-1,x,MiB 5",
        ] {
            let (gpus, note) = Capacity.parse(nvidiaSMI: line)
            #expect(gpus.isEmpty && note != nil, "\(line)")
        }
        #expect(Capacity.parse(nvidiaSMI: "GPU-1, x, 5 MiB\nGPU-1, x, 5 MiB").0.count == 1)
        let many = (0..<2000).map { "GPU-\($0), x, 5 MiB" }.joined(separator: "\n")
        #expect(Capacity.parse(nvidiaSMI: many).0.count == Capacity.largestGPUCount)
    }

    @Test("this host offers something, and not all of its memory")
    func detect() async throws {
        let capacity = await Capacity.detect()
        let total = try #require(Capacity.hostMemory(meminfo: CgroupBook.text("/proc/meminfo") ?? ""))
        #expect(capacity.cpus > CPUAmount(cpus: 0) && capacity.memory.bytes > 0 && capacity.memory.bytes < total)
    }
}
