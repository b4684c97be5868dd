// One agent a data folder, whatever became of the one before.
import Foundation
import Synchronization
import TestSupport
import Testing

@testable import Worker

@Suite("the lock of a worker's data folder", .timeLimit(.minutes(5)))
struct WorkerLockTests {
    @Test("one that is on its way out is waited for, one that stays is named in a sentence")
    func lock() throws {
        let folder = try temporaryFolder("lock")
        defer { removeFolder(folder) }
        let first = Holder(try WorkerLock(folder: folder))
        let refusal = #expect(throws: VolumeError.self) { _ = try WorkerLock(folder: folder) }
        #expect(
            refusal?.description
                == "another worker uses the data folder \(folder): stop it first, or choose another folder")
        // A thread: whoever waits for a lock holds up the pool's.
        Thread.detachNewThread {
            usleep(300_000)
            first.release()
        }
        _ = try WorkerLock(folder: folder)
    }

    private final class Holder: Sendable {
        private let lock: Mutex<WorkerLock?>
        init(_ lock: WorkerLock) { self.lock = Mutex(lock) }
        func release() { lock.withLock { $0 = nil } }
    }
}
