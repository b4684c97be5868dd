// Something that another part of a test waits for, given up by a thread of its own: whoever waits for a lock holds up
// one of the pool's few threads, and a task that would give it up may never get one.
import Foundation
import Synchronization

package final class HeldForAMoment<Value: Sendable>: Sendable {
    private let value: Mutex<Value?>

    package init(_ value: Value) { self.value = Mutex(value) }

    /// Lets go of the value in about `milliseconds`.
    package func release(after milliseconds: UInt32) {
        Thread.detachNewThread { [self] in
            usleep(milliseconds * 1000)
            value.withLock { $0 = nil }
        }
    }
}
