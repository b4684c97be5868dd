// Rows of queues, groups and users: what was set up, and what was used. Part of the one commit of Store+Commit.
import GRDB
import JobModel
import SchedulingCore

extension Store {
    func writeAccounts(_ rows: NewestRows, _ db: Database) throws {
        for (id, row) in rows.accounts {
            if let row {
                try db.cachedStatement(sql: "INSERT OR REPLACE INTO accounts (kind, name, settings) VALUES (?, ?, ?)")
                    .execute(arguments: [id.kind.rawValue, id.name, try Column.json(row.settings)])
            } else {
                try db.cachedStatement(sql: "DELETE FROM accounts WHERE kind = ? AND name = ?")
                    .execute(arguments: [id.kind.rawValue, id.name])
            }
        }
        for row in rows.usage {
            try db.cachedStatement(
                sql: "INSERT OR REPLACE INTO account_usage (kind, name, amount, epoch, time) VALUES (?, ?, ?, ?, ?)"
            ).execute(arguments: [row.id.kind.rawValue, row.id.name, row.amount, row.epoch, row.time])
        }
    }

    static func accountID(_ row: Row) throws -> AccountID {
        AccountID(kind: try Column.known(AccountKind.self, row["kind"]), name: row["name"])
    }

    static func accountRow(_ row: Row) throws -> AccountRow {
        AccountRow(id: try accountID(row), settings: try Column.value(AccountSettings.self, row["settings"]))
    }

    static func usageRow(_ row: Row) throws -> UsageRow {
        UsageRow(id: try accountID(row), amount: row["amount"], epoch: row["epoch"], time: row["time"])
    }
}
