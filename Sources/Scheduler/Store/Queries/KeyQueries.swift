// Idempotency keys, read on the writer's connection so that the newest commit counts.
import Foundation
import GRDB
import JobModel

extension Store {
    /// What a key was used for: the request's digest, nil if it cannot be read, and the job.
    /// - Important: only on the loop's thread.
    func submission(with key: IdempotencyKey) throws(StoreFailure) -> (Digest?, JobID)? {
        do {
            return try pool.writeWithoutTransaction { db in
                let statement = try db.cachedStatement(
                    sql: "SELECT request_digest, job FROM idempotency_keys WHERE user = ? AND key = ?")
                guard let row = try Row.fetchOne(statement, arguments: [key.user.rawValue, key.key]) else { return nil }
                return (Digest(row["request_digest"] as String), JobID(rawValue: row["job"]))
            }
        } catch {
            throw StoreFailure(error)
        }
    }
}
