// jobctl reservation list|add|remove: workers that are kept from a date on, and maintenance windows.
import ArgumentParser
import Foundation
import JobModel
import SchedulerClient

struct ReservationCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reservation", abstract: "Workers that are kept for some users, or for maintenance.",
        discussion: """
            Examples:

              jobctl reservation add course --start 2027-01-12T08:00:00Z --duration 4h \\
                  --label room=a --groups students
              jobctl reservation add firmware --start 2027-02-01T06:00:00Z \\
                  --duration 1d --workers node1,node2 --reason "new firmware"

            Before it begins, others start there only what ends in time by its time
            limit. Without users and groups it is a maintenance window: for nobody.
            """,
        subcommands: [ReservationListCommand.self, ReservationAdd.self, ReservationRemove.self],
        defaultSubcommand: ReservationListCommand.self)
}

struct ReservationListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "All reservations that are not over.")
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let list = try await global.client().reservations()
        try Render.list(list.reservations, document: list, global.format)
    }
}

struct ReservationAdd: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "add", abstract: "Keep workers from a time on (administrators only).",
        discussion: "Example: jobctl reservation add fw --start 2h --duration 1d --workers node1")
    @Argument(help: "Its name.", transform: Given.reservation) var name: ReservationName
    @Option(
        help: "When it begins: a time such as 2027-01-12T08:00:00Z, a time from now such as 2h, or now.",
        transform: Given.moment)
    var start: Timestamp
    @Option(help: "How long it lasts, such as 4h or 2d.", transform: Given.time) var duration: TimeSpan
    @Option(help: "These workers, with commas between them.", transform: Given.workers) var workers: [WorkerName] = []
    @Option(help: "Workers with this label, KEY=VALUE; repeated: with all of them.", transform: Given.label)
    var label: [Given.Label] = []
    @Option(help: "Who may use them, with commas between.", transform: Given.users) var users: [UserName] = []
    @Option(help: "Whose members may use them, with commas between.", transform: Given.groups)
    var groups: [GroupName] = []
    @Option(help: "Why, in a few words: shown to those who wait.") var reason: String?
    @OptionGroup var global: GlobalOptions

    func validate() throws {
        guard !workers.isEmpty || !label.isEmpty else { throw ValidationError("give --workers or --label") }
        guard duration > .zero else { throw ValidationError("--duration: write more than 0s") }
    }

    func run() async throws {
        let reservation = AdvanceReservation(
            name: name, start: start, end: start.after(duration), workers: workers,
            labels: Dictionary(label.map { ($0.key, $0.value) }, uniquingKeysWith: { $1 }), users: users,
            groups: groups, reason: reason)
        let saved = try await global.client().addReservation(reservation)
        try Render.one(saved, quiet: "\(saved.name)", global.format) {
            "reservation \(saved.name): \(Render.time(saved.start)) to \(Render.time(saved.end)), \(saved.whereText), "
                + "for \(saved.audience)"
        }
    }
}

struct ReservationRemove: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove", abstract: "Let everybody use the workers again (administrators only).")
    @Argument(help: "Its name.", transform: Given.reservation) var name: ReservationName
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        try await global.client().removeReservation(name)
        try Render.removed("\(name)", quiet: "\(name)", global.format, page: "reservation \(name) removed")
    }
}

extension AdvanceReservation: Row {
    static var header: [String] { ["RESERVATION", "START", "END", "WORKERS", "FOR", "REASON"] }
    var cells: [String] {
        [name.rawValue, Render.time(start), Render.time(end), whereText, audience, reason ?? "-"]
    }
    var quiet: String { name.rawValue }

    var whereText: String {
        ([Render.pairs(labels)].compactMap { $0 } + workers.map(\.rawValue)).joined(separator: " ")
    }

    var audience: String {
        let names = users.map(\.rawValue) + groups.map { "group \($0)" }
        return names.isEmpty ? "nobody" : names.joined(separator: ", ")
    }
}

extension Given {
    struct Label: Sendable {
        let key: String
        let value: String
    }

    static func reservation(_ text: String) throws -> ReservationName {
        guard let name = ReservationName(rawValue: text) else {
            throw ValidationError(ReservationName.refusal(of: text))
        }
        return name
    }

    /// `2027-01-12T08:00:00Z`, `2h` from now, `now`.
    static func moment(_ text: String) throws -> Timestamp {
        let now = Timestamp(millisecondsSinceEpoch: Int64(Date().timeIntervalSince1970 * 1000))
        if text == "now" { return now }
        if let span = TimeSpan(text) { return now.after(span) }
        guard let time = Timestamp(text) else {
            throw ValidationError("write a time such as 2027-01-12T08:00:00Z, a time from now such as 2h, or now")
        }
        return time
    }

    static func label(_ text: String) throws -> Label {
        let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2, !parts[0].isEmpty else { throw ValidationError("write KEY=VALUE") }
        return Label(key: parts[0], value: parts[1])
    }

    static func workers(_ text: String) throws -> [WorkerName] { try parts(text).map(worker) }
    static func users(_ text: String) throws -> [UserName] { try parts(text).map(user) }
    static func groups(_ text: String) throws -> [GroupName] { try parts(text).map(group) }

    static func queues(_ text: String) throws -> [QueueName] {
        if text == "none" { return [] }
        return try parts(text).map { part in
            guard let name = QueueName(rawValue: part) else { throw ValidationError(QueueName.refusal(of: part)) }
            return name
        }
    }

    private static func parts(_ text: String) -> [String] {
        text.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
    }
}
