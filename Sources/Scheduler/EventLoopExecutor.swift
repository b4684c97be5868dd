// Handlers run on the event loop that read their request, instead of on Swift's own pool of threads: a request that is
// answered at once then costs no change of threads. Both have a thread a processor, so what blocks a thread is as rare
// here as there: BlockingWork takes it. Everything that is not HTTP stays on Swift's pool.
import NIOCore
import ServiceLifecycle

/// Runs the jobs of tasks on the loops of a group, on the one that asks where one asks.
final class EventLoopExecutor: TaskExecutor {
    private let group: any EventLoopGroup

    init(_ group: any EventLoopGroup) { self.group = group }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        group.any().execute { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}

/// A service whose tasks prefer an executor.
struct ServiceOnExecutor<Inner: Service>: Service {
    let service: Inner
    let executor: any TaskExecutor

    func run() async throws {
        try await withTaskExecutorPreference(executor) { try await service.run() }
    }
}
