// Sends the lists of an attempt's trees to the scheduler before its end is reported, so that whoever sees the end can
// see the files. A list is named by its digest, and one that the scheduler has is not sent again.
import JobModel
import Synchronization

/// What this agent knows to be on the scheduler's disk.
final class SentTrees: Sendable {
    private let digests = Mutex<Set<Digest>>([])
    private static let most = 100_000

    func has(_ digest: Digest) -> Bool { digests.withLock { $0.contains(digest) } }
    func add(_ digest: Digest) {
        digests.withLock { digests in
            if digests.count >= Self.most { digests.removeAll() }
            digests.insert(digest)
        }
    }
}

struct TreeShipper: Sendable {
    let lists: TreeLists
    let sent: SentTrees
    let scheduler: any SchedulerConnection

    /// Sends every list of `trees`. Tries while the scheduler is away, until `isOver`; a list that the scheduler
    /// refuses for good is given up: the digest stands all the same.
    func ship(_ trees: [SlotName: TreeFingerprint], unless isOver: @Sendable () async -> Bool) async {
        for (slot, tree) in trees.sorted(by: { $0.key < $1.key }) {
            guard let digest = tree.treeDigest, lists.exists(slot) else { continue }
            var pause = 100
            while !sent.has(digest) {
                if await isOver() { return }
                do throws(Problem) {
                    try await scheduler.keepTree(digest, list: lists.path(slot))
                    sent.add(digest)
                } catch {
                    guard error.retryable || error.kind == .unavailable else { break }
                    try? await Task.sleep(for: .milliseconds(pause))  // allowed: nobody cancels a runner
                    pause = min(pause * 2, 5_000)
                }
            }
            lists.remove(slot)
        }
    }
}
