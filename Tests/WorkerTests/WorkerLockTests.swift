// One agent a data folder, whatever became of the one before.
import Foundation
import TestSupport
import Testing

@testable import Worker

@Suite("the lock of a worker's data folder", .timeLimit(.minutes(5)))
struct WorkerLockTests {
    @Test("one that is on its way out is waited for, one that stays is named in a sentence")
    func lock() throws {
        let folder = try temporaryFolder("lock")
        defer { removeFolder(folder) }
        let first = HeldForAMoment(try WorkerLock(folder: folder))
        let refusal = #expect(throws: VolumeError.self) { _ = try WorkerLock(folder: folder) }
        #expect(
            refusal?.description
                == "another worker uses the data folder \(folder): stop it first, or choose another folder")
        first.release(after: 300)
        _ = try WorkerLock(folder: folder)
    }
}
