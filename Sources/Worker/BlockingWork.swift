// Work that may block its thread for long (a mount on a file server that does not answer, a tree to hash): on threads
// of its own, so
// that the agent's calls to the scheduler never wait behind it.
import Foundation

struct BlockingWork: Sendable {
    private let queue: OperationQueue

    /// - Parameter width: how many pieces of work may block at the same time; others wait for their turn.
    init(width: Int) {
        queue = OperationQueue()
        queue.maxConcurrentOperationCount = width
    }

    func result<Value: Sendable, Failure: Error>(_ body: @escaping @Sendable () throws(Failure) -> Value) async
        -> Result<Value, Failure>
    {
        await withCheckedContinuation { continuation in
            queue.addOperation {
                do throws(Failure) {
                    continuation.resume(returning: .success(try body()))
                } catch {
                    continuation.resume(returning: .failure(error))
                }
            }
        }
    }

    func run<Value: Sendable, Failure: Error>(_ body: @escaping @Sendable () throws(Failure) -> Value)
        async throws(Failure) -> Value
    {
        try await result(body).get()
    }
}
