// What jobs came to that others depend on. Read at a submission, by the loop.
import GRDB
import JobModel
import SchedulingCore

extension Store {
    /// Nil if there is no such job, or none that can be read.
    /// - Parameter withTasks: which tasks have succeeded is read as well, which costs a look at each started one.
    package func endedJob(_ id: JobID, withTasks: Bool) throws(StoreFailure) -> EndedJob? {
        do {
            return try pool.read { db in
                let sql = "SELECT record, state FROM jobs WHERE id = ?"
                guard let row = try Row.fetchOne(db, sql: sql, arguments: [id.rawValue]) else { return nil }
                let record = try Column.value(JobRecord.self, row["record"])
                return EndedJob(
                    id: id, owner: record.owner.name, indices: record.shape.indices,
                    state: try Column.known(JobState.self, row["state"]),
                    succeeded: withTasks ? try Self.succeededTasks(of: id, db) : nil)
            }
        } catch is Unreadable {
            return nil
        } catch {
            throw StoreFailure(error)
        }
    }

    private static func succeededTasks(of id: JobID, _ db: Database) throws -> [ClosedRange<Int64>] {
        var ranges: [ClosedRange<Int64>] = []
        let sql = "SELECT task FROM tasks WHERE job = ? AND state = 'succeeded' ORDER BY task"
        let cursor = try Int64.fetchCursor(db, sql: sql, arguments: [id.rawValue])
        while let index = try cursor.next() { ranges.add(index...index) }
        return ranges
    }
}
