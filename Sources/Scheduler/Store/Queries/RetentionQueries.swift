// What the retention policy asks: whether an attempt has ended, which lists are still new somewhere, which keys are
// old; and what it removed. From the pool's snapshots.
import Foundation
import GRDB
import JobModel

extension Store {
    /// Whether the attempt ended before this second; of one that was summed up, whether its job did. One that is not on
    /// record has not.
    func hasEnded(_ id: AttemptID, before: Int64) throws -> Bool {
        try reading { db in
            try Bool.fetchOne(
                db.cachedStatement(
                    sql: """
                        SELECT COALESCE(ended_at, finished_at) < ? FROM attempts
                        WHERE job = ? AND task = ? AND number = ? AND reason IS NOT NULL
                        """),
                arguments: [before * 1000, id.job.rawValue, id.task.index, id.number])
                ?? Bool.fetchOne(
                    db.cachedStatement(
                        sql: """
                            SELECT j.finished_at < ? FROM jobs j JOIN compacted_tasks t ON t.job = j.id
                            WHERE j.id = ? AND t.first <= ? AND t.last >= ?
                            """), arguments: [before * 1000, id.job.rawValue, id.task.index, id.task.index]) ?? false
        }
    }

    /// Those of `digests` that no attempt has reported since this second. Reads every attempt since then, and keeps
    /// none.
    func treesUnused(_ digests: [Digest], since: Int64) throws -> Set<Digest> {
        var unused = Set(digests)
        guard !unused.isEmpty else { return unused }
        try reading { db in
            let rows = try Row.fetchCursor(
                db,
                sql: """
                    SELECT inputs, outputs FROM attempts
                    WHERE (inputs IS NOT NULL OR outputs IS NOT NULL) AND (ended_at IS NULL OR ended_at >= ?)
                    """, arguments: [since * 1000])
            while let row = try rows.next() {
                for column in ["inputs", "outputs"] {
                    guard let text = row[column] as String? else { continue }
                    for tree in try Column.value([SlotName: TreeFingerprint].self, text).values {
                        if let digest = tree.treeDigest { unused.remove(digest) }
                    }
                }
            }
        }
        return unused
    }

    /// When the logs of an attempt were removed; nil if they were not.
    func logsRemoved(of id: AttemptID) throws -> Timestamp? {
        try reading { db in
            try Int64.fetchOne(
                db.cachedStatement(
                    sql: "SELECT removed_at FROM log_removals WHERE job = ? AND task = ? AND number = ?"),
                arguments: [id.job.rawValue, id.task.index, id.number])
        }.map { Timestamp(column: $0) }
    }

    /// When the list behind a tree digest was removed; nil if it was not.
    func treeRemoved(_ digest: Digest) throws -> Timestamp? {
        try reading { db in
            try Int64.fetchOne(
                db.cachedStatement(sql: "SELECT removed_at FROM tree_removals WHERE digest = ?"),
                arguments: [digest.description])
        }.map { Timestamp(column: $0) }
    }

    /// Keys of jobs that were submitted before a time, and have ended.
    func keys(of limit: Timestamp, limit count: Int) throws -> [SubmissionKey] {
        try reading { db in
            try Row.fetchAll(
                db,
                sql: """
                    SELECT k.user, k.key FROM idempotency_keys k JOIN jobs j ON j.id = k.job
                    WHERE j.submitted_at < ? AND j.finished_at IS NOT NULL LIMIT ?
                    """, arguments: [limit.column, count]
            ).map { SubmissionKey(user: UserName(unchecked: $0["user"]), key: $0["key"]) }
        }
    }

    func writeRemovals(_ entry: BookEntry, _ db: Database) throws {
        switch entry {
        case .logsRemoved(let attempts, let time):
            let statement = try db.cachedStatement(
                sql: "INSERT OR REPLACE INTO log_removals (job, task, number, removed_at) VALUES (?, ?, ?, ?)")
            for id in attempts {
                try statement.execute(arguments: [id.job.rawValue, id.task.index, id.number, time.column])
            }
        case .treesRemoved(let digests, let time):
            let statement = try db.cachedStatement(
                sql: "INSERT OR REPLACE INTO tree_removals (digest, removed_at) VALUES (?, ?)")
            for digest in digests { try statement.execute(arguments: [digest.description, time.column]) }
        case .keysForgotten(let keys):
            let statement = try db.cachedStatement(sql: "DELETE FROM idempotency_keys WHERE user = ? AND key = ?")
            for key in keys { try statement.execute(arguments: [key.user.rawValue, key.key]) }
        case .userSaved, .userRemoved, .imageKept, .imageUnnamed, .imageBuilt, .manifestRemoved, .imagesForgotten,
            .archiveImported, .tasksCompacted, .schedule:
            return
        }
    }
}
