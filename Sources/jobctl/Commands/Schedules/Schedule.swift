// jobctl schedule add|list|show|pause|resume|run|remove: reruns at times of the calendar.
import ArgumentParser
import JobModel
import SchedulerClient

struct ScheduleCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "schedule", abstract: "Run a configuration again at times of the calendar.",
        discussion: """
            Examples:

              jobctl schedule add yearly --cron '0 0 1 1 *' --rerun annual-temps \\
                  --bind 'input=weather/${year}'
              jobctl schedule list
              jobctl schedule pause yearly

            A run is what 'jobctl rerun' would start: the same configuration, on data
            that may be named by ${year}, ${month}, ${day}, ${hour}, ${minute} and
            ${date} of the time at which it was due. Each time is run once, also across
            a crash.
            """,
        subcommands: [
            ScheduleAdd.self, ScheduleListCommand.self, ScheduleShow.self, SchedulePause.self, ScheduleResume.self,
            ScheduleRun.self, ScheduleRemove.self,
        ])
}

struct ScheduleAdd: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "add", abstract: "Set up a schedule.",
        discussion: """
            Example: jobctl schedule add nightly --cron '30 2 * * *' --rerun qc

            Cron's five fields are minute, hour, day of the month, month and weekday. A
            time that a day has twice, because a clock is set back, is run once; one
            that a day does not have moves on by the hour that is left out: 02:30
            becomes 03:30.

            If the run before has not ended: skip leaves the new one out, queue lets it
            wait, replace cancels the old one. Of runs that were missed while the
            scheduler was down, none, the last or all are started.
            """)
    @Argument(help: "The schedule's name.", transform: Given.schedule) var name: ScheduleName
    @Option(help: "When: '0 0 1 1 *', or @hourly, @daily, @weekly, @monthly, @yearly.") var cron: String
    @Option(help: "A configuration, NAME or NAME@VERSION, or a job id.") var rerun: String
    @Option(help: ArgumentHelp("Bind a slot to data. May be repeated.", valueName: "slot=volume/path"))
    var bind: [String] = []
    @Option(help: ArgumentHelp("Set a parameter. May be repeated.", valueName: "name=value")) var param: [String] = []
    @Option(help: "The queue.") var queue: String?
    @Option(help: "Larger runs first: -1000 to 1000.", transform: Given.priority) var priority: Int?
    @Option(
        help: "If the run before has not ended: skip (default), queue or replace.",
        completion: .list(OverlapPolicy.allCases.map(\.rawValue)), transform: Given.overlap)
    var overlap: OverlapPolicy?
    @Option(
        help: "Of runs that were missed: none, last (default) or all.",
        completion: .list(CatchUpPolicy.allCases.map(\.rawValue)), transform: Given.catchUp)
    var catchUp: CatchUpPolicy?
    @Option(help: "Whose clock: Europe/Berlin. Otherwise UTC.") var timeZone: String?
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let settings = ScheduleSettings(
            cron: cron, timeZone: timeZone, rerun: rerun, bindings: try BindingOptions.pairs(bind, "--bind"),
            parameters: try BindingOptions.pairs(param, "--param"), queue: queue, priority: priority,
            overlap: overlap ?? .skip, catchUp: catchUp ?? .last)
        let schedule = try await global.client().add(name, settings)
        try Render.one(schedule, quiet: schedule.name, global.format) { schedule.page }
    }
}

struct ScheduleListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "All schedules.")
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let list = try await global.client().schedules()
        try Render.list(list.schedules, document: list, global.format)
    }
}

struct ScheduleShow: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "show", abstract: "One schedule.")
    @Argument(help: "The schedule's name.", transform: Given.schedule) var name: ScheduleName
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let schedule = try await global.client().schedule(name)
        try Render.one(schedule, quiet: schedule.name, global.format) { schedule.page }
    }
}

struct SchedulePause: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pause", abstract: "Start nothing until it is resumed; what runs goes on.")
    @Argument(help: "The schedule's name.", transform: Given.schedule) var name: ScheduleName
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let schedule = try await global.client().pause(name, true)
        try Render.one(schedule, quiet: schedule.name, global.format) { "schedule \(schedule.name) is paused" }
    }
}

struct ScheduleResume: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "resume", abstract: "Go on with a paused schedule; what was due meanwhile is left out.")
    @Argument(help: "The schedule's name.", transform: Given.schedule) var name: ScheduleName
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let schedule = try await global.client().pause(name, false)
        try Render.one(schedule, quiet: schedule.name, global.format) {
            "schedule \(schedule.name) goes on: next at \(Render.time(schedule.next))"
        }
    }
}

struct ScheduleRun: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Start a run now, beside those that are due.")
    @Argument(help: "The schedule's name.", transform: Given.schedule) var name: ScheduleName
    @Flag(help: "Wait until the job has ended.") var wait = false
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let client = try global.client()
        let job = try await client.runNow(name)
        try await Submitted.show(job, wait: wait, client, global)
    }
}

struct ScheduleRemove: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove", abstract: "Remove a schedule; its jobs stay.")
    @Argument(help: "The schedule's name.", transform: Given.schedule) var name: ScheduleName
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        try await global.client().remove(name)
        try Render.removed("\(name)", quiet: "\(name)", global.format, page: "schedule \(name) removed")
    }
}

extension ScheduleDocument: Row {
    static var header: [String] { ["SCHEDULE", "CRON", "RUNS", "OWNER", "NEXT", "LAST DUE", "LAST JOB"] }
    var cells: [String] {
        [
            name, settings.cron, settings.rerun, owner, paused ? "paused" : Render.time(next), Render.time(lastDue),
            lastJob?.description ?? "-",
        ]
    }
    var quiet: String { name }

    var page: String {
        Render.page([
            ("schedule", name), ("owner", owner), ("cron", "\(settings.cron) (\(settings.timeZone ?? "UTC"))"),
            ("runs", settings.rerun), ("bindings", Render.pairs(settings.bindings)),
            ("parameters", Render.pairs(settings.parameters)), ("queue", settings.queue),
            ("overlap", settings.overlap.rawValue), ("catch-up", settings.catchUp.rawValue),
            ("next", paused ? "paused" : Render.time(next)), ("last due", lastDue.map { Render.time($0) }),
            ("last job", lastJob?.description), ("note", note),
        ])
    }
}

extension Given {
    static func schedule(_ text: String) throws -> ScheduleName {
        guard let name = ScheduleName(rawValue: text) else { throw ValidationError(ScheduleName.refusal(of: text)) }
        return name
    }

    static func overlap(_ text: String) throws -> OverlapPolicy {
        guard let policy = OverlapPolicy(rawValue: text) else { throw ValidationError("write skip, queue or replace") }
        return policy
    }

    static func catchUp(_ text: String) throws -> CatchUpPolicy {
        guard let policy = CatchUpPolicy(rawValue: text) else { throw ValidationError("write none, last or all") }
        return policy
    }
}
