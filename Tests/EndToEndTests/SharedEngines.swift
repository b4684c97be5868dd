// The container engines of a suite: each kind starts once, when the first test asks for it, and all end after the last.
import TestSupport
import Testing

/// Engines that the tests of a suite share.
actor SharedEngines {
    @TaskLocal static var current: SharedEngines?

    private var starting: [EngineUnderTest.Kind: Task<EngineUnderTest, any Error>] = [:]

    func engine(_ kind: EngineUnderTest.Kind) async throws -> EngineUnderTest {
        if let task = starting[kind] { return try await task.value }
        let task = Task { try await EngineUnderTest.start(kind) }
        starting[kind] = task
        return try await task.value
    }

    func stop() async {
        for task in starting.values { if let engine = try? await task.value { await engine.stop() } }
        starting = [:]
    }
}

/// Two cores carry two clusters at a time: more would only wait for each other.
actor ClusterGate {
    static let shared = ClusterGate(places: 2)
    private var places: Int
    private var waiting: [CheckedContinuation<Void, Never>] = []

    init(places: Int) { self.places = places }

    func enter() async {
        if places > 0 {
            places -= 1
        } else {
            await withCheckedContinuation { waiting.append($0) }
        }
    }

    func leave() {
        if waiting.isEmpty { places += 1 } else { waiting.removeFirst().resume() }
    }
}

/// Around a suite: its engines, and around them one cluster that its tests share, if `cluster` says which.
struct InCluster: SuiteTrait, TestScoping {
    var cluster: EngineUnderTest.Kind?
    var isRecursive: Bool { false }

    func provideScope(for test: Test, testCase: Test.Case?, performing body: @Sendable () async throws -> Void)
        async throws
    {
        if let kind = cluster {
            return try await ClusterUnderTest.with(engine: kind, isShared: true) { c in
                try await ClusterUnderTest.$shared.withValue(c) { try await body() }
            }
        }
        let engines = SharedEngines()
        let result: Result<Void, any Error>
        do {
            result = .success(try await SharedEngines.$current.withValue(engines) { try await body() })
        } catch {
            result = .failure(error)
        }
        await engines.stop()
        try result.get()
    }
}

extension SuiteTrait where Self == InCluster {
    /// Engines for the suites within.
    static var sharedEngines: Self { InCluster(cluster: nil) }
    /// One cluster for the tests within.
    static func sharedCluster(on kind: EngineUnderTest.Kind) -> Self { InCluster(cluster: kind) }
}

/// The whole path, from the command line to a container and back, with nothing replaced.
@Suite("end to end", .sharedEngines) enum EndToEnd {}
