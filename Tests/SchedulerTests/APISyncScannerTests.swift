// The fast reader of sync requests against the coder: it reads what agents write, and accepts nothing that the coder
// would refuse or read otherwise.
import Foundation
import JobModel
import Scheduler
import TestSupport
import Testing

@Suite struct APISyncScannerTests {
    private func scanned(_ bytes: [UInt8]) -> SyncRequest? { bytes.withUnsafeBytes { SyncScanner.request($0) } }

    private func attempt(_ random: inout SeededNumbers) -> AttemptID {
        AttemptID(
            task: TaskID(job: JobID(rawValue: random.next(in: 1...99_999)), index: random.next(in: 0...1_000_000)),
            number: random.next(in: 1...7))
    }

    private func report(_ random: inout SeededNumbers) -> AttemptReport {
        var report = AttemptReport(
            attempt: attempt(&random), sequence: random.next(in: 1...9),
            state: AttemptState.allCases[Int(random.next(in: 0...7))])
        if random.coin() { report.reason = EndReason.allCases[Int(random.next(in: 0...10))] }
        if random.coin() { report.exitCode = Int(random.next(in: 0...255)) }
        if random.coin() { report.signal = 9 }
        if random.coin() { report.message = "the image is gone: é 日本 /path" }
        if random.coin() { report.engine = "docker" }
        let day = 86_400_000 * random.next(in: 0...40_000)
        if random.coin() {
            report.startedAt = Timestamp(millisecondsSinceEpoch: day + random.next(in: 0...86_399_999))
        }
        if random.coin() { report.inputs = [:] }
        if random.coin() {
            report.usage = Usage(
                cpuSeconds: 1.25, maxMemory: ByteCount(bytes: random.next(in: 0...1 << 40)), wallSeconds: 7)
        }
        return report
    }

    private func request(_ random: inout SeededNumbers) -> SyncRequest {
        SyncRequest(
            incarnation: "a1b2-c3", sequence: random.next(in: 1...1 << 50), registration: nil,
            live: (0..<random.next(in: 0...5)).map { _ in attempt(&random) },
            reports: (0..<random.next(in: 0...5)).map { _ in report(&random) },
            wait: TimeSpan(milliseconds: random.next(in: 0...20) * 500), proof: random.coin() ? "a1-17" : nil)
    }

    @Test("what an agent writes is read without the coder, with the same value")
    func agents() throws {
        var random = SeededNumbers(seed: 1)
        for _ in 0..<500 {
            let request = request(&random)
            #expect(scanned(try WireJSON.encode(request)) == request)
            #expect(scanned(try WireJSON.encode(request, pretty: true)) == request)
        }
    }

    @Test("a damaged request is left to the coder, or is read as the coder reads it")
    func damaged() throws {
        var random = SeededNumbers(seed: 2)
        var accepted = 0
        for _ in 0..<4_000 {
            var bytes = try WireJSON.encode(request(&random))
            for _ in 0...random.next(in: 0...2) {
                let place = Int(random.next(in: 0...Int64(bytes.count - 1)))
                switch random.next(in: 0...3) {
                case 0: bytes[place] = UInt8(truncatingIfNeeded: random.next(in: 0...255))
                case 1: bytes[place] = Array("{}[]\",:.0123456789eE+-tfn \\".utf8)[Int(random.next(in: 0...26))]
                case 2: bytes.remove(at: place)
                default: bytes = Array(bytes.prefix(place + 1)) + bytes.suffix(from: min(place, bytes.count - 1))
                }
            }
            guard let fast = scanned(bytes) else { continue }
            accepted += 1
            let slow = try WireJSON.decode(SyncRequest.self, from: bytes)
            #expect(fast == slow, "\(String(decoding: bytes, as: UTF8.self))")
        }
        #expect(accepted > 100)
    }
}
