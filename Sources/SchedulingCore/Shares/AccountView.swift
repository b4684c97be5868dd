// What a reader may see of a queue, a group or a user. A copy: looking at it changes nothing.
import JobModel

package struct AccountView: Hashable, Sendable {
    package var row: AccountRow
    /// An administrator set it up.
    package var isStored: Bool
    package var pending: Int64
    package var running: Int64
    package var held: WorkerResourceCounts
    /// What it is entitled to of its parent, and what it has used of it, in thousandths; nil of a queue.
    package var entitled: Int64?
    package var used: Int64?
}

/// Like ``JobModel/WorkerResources``, with a number of GPUs.
package struct WorkerResourceCounts: Hashable, Sendable {
    package var cpus: CPUAmount
    package var memory: ByteCount
    package var gpus: Int
}

extension Cluster {
    /// All queues, groups and users that are set up or in use, in order of their kinds and names.
    package func accountViews(at now: Instant) -> [AccountView] {
        let time = accounts.time(at: now)
        let all = accounts.groups.reduce(0) { $0 + accounts.used(by: $1, policy, at: time) }
        return accounts.ids.compactMap { accounts.place(of: $0) }.map { place in
            let account = accounts[place]
            var view = AccountView(
                row: account.row, isStored: account.isStored, pending: account.pending, running: account.running,
                held: WorkerResourceCounts(
                    cpus: CPUAmount(thousandths: account.held.cpus), memory: ByteCount(bytes: account.held.memory),
                    gpus: account.held.gpus))
            guard account.id.kind != .queue else { return view }
            let weights = account.group.map { accounts[$0].weights } ?? accounts.groupWeights
            let total = account.group.map { accounts.used(by: $0, policy, at: time) } ?? all
            view.entitled = weights > 0 ? Int64(account.settings.weight) * 1000 / weights : 0
            view.used = total > 0 ? Int64(Int128(accounts.used(by: place, policy, at: time)) * 1000 / Int128(total)) : 0
            return view
        }
    }
}
