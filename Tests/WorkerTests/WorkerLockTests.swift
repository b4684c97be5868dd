// One agent a data folder, whatever became of the one before.
import Foundation
import TestSupport
import Testing

@testable import Worker

@Suite("the lock of a worker's data folder", .timeLimit(.minutes(5)))
struct WorkerLockTests {
    @Test("one that is on its way out is waited for, one that stays is named in a sentence")
    func lock() async throws {
        let folder = try temporaryFolder("lock")
        defer { removeFolder(folder) }
        var first: WorkerLock? = try WorkerLock(folder: folder)
        let refusal = #expect(throws: VolumeError.self) { _ = try WorkerLock(folder: folder) }
        #expect(
            refusal?.description
                == "another worker uses the data folder \(folder): stop it first, or choose another folder")
        #expect(first != nil)
        async let second = WorkerLock(folder: folder)
        try await Task.sleep(for: .milliseconds(300))
        first = nil
        _ = try await second
    }
}
