// Work that blocks a thread, away from the event loops and from Swift's own pool.
import Foundation
import NIOPosix

package struct BlockingWork: Sendable {
    private let pool: NIOThreadPool

    package init(pool: NIOThreadPool = .singleton) { self.pool = pool }

    /// Short work: a read, a write.
    func run<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await pool.runIfActive(body)
    }

    /// Work of minutes, on a thread of its own.
    func runLong<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread { continuation.resume(with: Result(catching: body)) }
        }
    }
}
