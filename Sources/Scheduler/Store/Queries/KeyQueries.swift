// Idempotency keys, read on the writer's connection so that the newest commit counts.
import Foundation
import GRDB
import JobModel

extension Store {
    /// What a key was used for: the request's digest and the job.
    /// - Important: only on the loop's thread.
    func submission(with key: IdempotencyKey) throws(StoreFailure) -> (Digest, JobID)? {
        do {
            return try pool.writeWithoutTransaction { db in
                let statement = try db.cachedStatement(
                    sql: "SELECT request_digest, job FROM idempotency_keys WHERE user = ? AND key = ?")
                guard let row = try Row.fetchOne(statement, arguments: [key.user.rawValue, key.key]) else { return nil }
                guard let digest = Digest(row["request_digest"] as String) else {
                    throw Unreadable(why: "an idempotency key has no digest")
                }
                return (digest, JobID(rawValue: row["job"]))
            }
        } catch {
            throw StoreFailure(error)
        }
    }
}
