// Until when this worker may run what it was given.
import CLinux
import Synchronization

/// When the worker must have stopped everything unless the scheduler answers again. The agent moves it; its runners
/// start nothing after it, because by then somebody else may.
final class WorkerLease: Sendable {
    private let moment = Mutex<Int64?>(nil)

    /// In milliseconds of the boot-time clock, which goes on while the host sleeps. Nil before the first answer.
    var end: Int64? {
        get { moment.withLock { $0 } }
        set { moment.withLock { $0 = newValue } }
    }

    /// False before the first answer: until then nothing new has been given to this worker.
    var isOver: Bool { end.map { jc_boot_milliseconds() > $0 } ?? false }
}
