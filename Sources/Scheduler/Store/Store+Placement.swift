// Rows of licenses and reservations: written as part of the one commit of Store+Commit, read back at start.
import GRDB
import JobModel
import SchedulingCore

extension Store {
    func writePlacement(_ rows: NewestRows, _ db: Database) throws {
        for (name, row) in rows.licenses {
            if let row {
                try db.cachedStatement(sql: "INSERT OR REPLACE INTO licenses (name, total) VALUES (?, ?)")
                    .execute(arguments: [name.rawValue, row.total])
            } else {
                try db.cachedStatement(sql: "DELETE FROM licenses WHERE name = ?").execute(arguments: [name.rawValue])
            }
        }
        for (name, row) in rows.reservations {
            if let row {
                try db.cachedStatement(sql: "INSERT OR REPLACE INTO reservations (name, content) VALUES (?, ?)")
                    .execute(arguments: [name.rawValue, try Column.json(row)])
            } else {
                try db.cachedStatement(sql: "DELETE FROM reservations WHERE name = ?")
                    .execute(arguments: [name.rawValue])
            }
        }
    }

    static func licenseRow(_ row: Row) -> LicenseRow {
        LicenseRow(name: ResourceName(unchecked: row["name"]), total: row["total"])
    }
}

extension Loader {
    mutating func readLicenses(_ db: Database) throws {
        image.licenses = try Row.fetchAll(db, sql: "SELECT * FROM licenses ORDER BY name").map(Store.licenseRow)
    }

    mutating func readReservations(_ db: Database) throws {
        for row in try Row.fetchAll(db, sql: "SELECT * FROM reservations ORDER BY name") {
            try read("reservation", row["name"]) { loader in
                loader.image.reservations.append(try Column.value(AdvanceReservation.self, row["content"]))
            }
        }
    }
}
