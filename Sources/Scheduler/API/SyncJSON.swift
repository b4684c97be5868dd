// The JSON of the worker protocol, read and written at every step of every attempt: orders are written without Codable,
// and what never changes (a job's brief, a configuration) is encoded once and kept as bytes.
import JobModel
import SchedulingCore
import Synchronization

/// The answer to a sync, as bytes.
struct SyncAnswer {
    let orders: SyncOrders
    let policy: Policy
    let cache: BriefCache

    func encoded() throws -> [UInt8] {
        let briefs = orders.jobs.map { cache.brief(of: $0) }
        let configurations = try cache.configurations(of: orders.jobs)
        var writer = JSONWriter(capacity: 256 + 48 * (orders.start.count + orders.forget.count) + 1024 * briefs.count)
        writer.object { writer in
            writer.member("challenge", ifPresent: orders.challenge)
            writer.member("configurations") { writer in
                writer.object { writer in
                    for (digest, json) in configurations { writer.member(named: digest.description) { $0.raw(json) } }
                }
            }
            writer.member("forget") { $0.array(orders.forget) { $0.attempt($1) } }
            writer.member("interval_seconds") { $0.seconds(policy.syncInterval) }
            writer.member("jobs") { $0.array(briefs) { $0.raw($1) } }
            writer.member("lease_seconds") { $0.seconds(policy.lease) }
            if !orders.limits.isEmpty { writer.member("limits") { $0.array(orders.limits) { write($1, &$0) } } }
            writer.member("publish") { $0.array(orders.publish) { $0.attempt($1) } }
            writer.member("registration_wanted") { $0.bool(orders.registrationWanted) }
            if orders.sessions { writer.member("sessions") { $0.bool(true) } }
            writer.member("start") { $0.array(orders.start) { write($1, &$0) } }
            writer.member("stop") { $0.array(orders.stop) { write($1, &$0) } }
        }
        return writer.bytes
    }

    private func write(_ order: StartOrder, _ writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("attempt") { $0.attempt(order.attempt) }
            if let hosts = order.gangHosts { writer.member("gang_hosts") { $0.array(hosts) { $0.string($1) } } }
            writer.member("gpus") { $0.array(order.gpus) { $0.string($1) } }
        }
    }

    private func write(_ order: LimitOrder, _ writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("job", order.job.rawValue)
            writer.member("time_limit_seconds") { $0.seconds(order.timeLimit) }
        }
    }

    private func write(_ order: StopOrder, _ writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("attempt") { $0.attempt(order.attempt) }
            writer.member("reason", order.reason.rawValue)
        }
    }
}

/// The JSON of job briefs and configurations. Both never change, so a copy is never stale.
package final class BriefCache: Sendable {
    /// Beyond this many bytes a table begins anew.
    private static let capacity = 32 << 20
    private let store: Store
    private let briefs = Mutex(Copies<JobID>())
    private let configurations = Mutex(Copies<Digest>())

    private struct Copies<Key: Hashable> {
        private var copies: [Key: [UInt8]] = [:]
        private var size = 0

        subscript(key: Key) -> [UInt8]? { copies[key] }

        mutating func keep(_ copy: [UInt8], for key: Key) {
            if size + copy.count > BriefCache.capacity { self = Copies() }
            if let old = copies.updateValue(copy, forKey: key) { size -= old.count }
            size += copy.count
        }
    }

    package init(store: Store) { self.store = store }

    func brief(of job: JobBrief) -> [UInt8] {
        if let hit = briefs.withLock({ $0[job.id] }) { return hit }
        var writer = JSONWriter(capacity: 1024)
        writer.object { writer in
            writer.member("id", job.id.rawValue)
            writer.member("record") { $0.raw(job.record.json) }
        }
        let json = writer.bytes
        briefs.withLock { $0.keep(json, for: job.id) }
        return json
    }

    /// In order of their digests, each once.
    func configurations(of jobs: [JobBrief]) throws -> [(Digest, [UInt8])] {
        try Set(jobs.map(\.record.configuration)).sorted().compactMap { digest in
            try configuration(digest).map { (digest, $0) }
        }
    }

    private func configuration(_ digest: Digest) throws -> [UInt8]? {
        if let hit = configurations.withLock({ $0[digest] }) { return hit }
        guard let json = try store.configuration(digest)?.configuration.canonicalJSON else { return nil }
        configurations.withLock { $0.keep(json, for: digest) }
        return json
    }
}
