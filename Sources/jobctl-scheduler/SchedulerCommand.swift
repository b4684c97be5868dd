// The program: arguments to SchedulerOptions, a failure to one sentence and an exit code. Everything else is in
// Scheduler.
import ArgumentParser
import Foundation
import JobModel
import Logging
import Scheduler

@main
struct SchedulerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "jobctl-scheduler",
        abstract: "The coordinator of a jobctl cluster: API, store, scheduling, image archive.",
        version: SchedulerService.version)

    static func main() async {
        Heaps.share()
        await main(nil)
    }

    @Option(name: .long, help: "The folder for database, archive and logs. One scheduler per folder.")
    var dataDir: String
    @Option(
        name: .long, help: "Where to listen, as HOST:PORT. Port 0: any free one, written to DATA/scheduler.address.")
    var listen = "127.0.0.1:0"
    @Option(name: .long, help: "An administrator that exists from the first start on.")
    var admin = "admin"
    @Option(name: .long, help: "The user id that the administrator's containers run as.")
    var adminUid = Identity.unmapped
    @Option(name: .long, help: "The group id that the administrator's containers run as.")
    var adminGid = Identity.unmapped
    @Option(name: .long, help: "Where the administrator's token is written, mode 0600.")
    var adminTokenFile: String?
    @Option(name: .long, help: "Where the token for workers is written, mode 0600.")
    var workerTokenFile: String?
    @Option(name: .long, help: "A registry, as HOST:PORT, that is spoken to over plain HTTP. May be repeated.")
    var insecureRegistry: [String] = []
    @Option(
        name: .long,
        help: ArgumentHelp(
            "Where else a registry's images can be had, asked before it. May be repeated, in order.",
            valueName: "registry=host[:port][/prefix]"))
    var mirror: [String] = []
    @Option(
        name: .long,
        help: ArgumentHelp(
            "Another host that a registry's password may be sent to when it asks for that. May be repeated.",
            valueName: "registry=host"))
    var tokenService: [String] = []
    @Option(
        name: .long,
        help: ArgumentHelp(
            "How long the archive keeps images for jobs that do not say so: always, on-success or never; for all queues or for one. May be repeated.",
            valueName: "[queue=]policy"))
    var keep: [String] = []
    @Option(
        name: .long,
        help: ArgumentHelp(
            "How long the output of programs is kept after their attempts, for example 90d. (default: for ever)",
            valueName: "time"))
    var keepLogs: String?
    @Option(
        name: .long,
        help: ArgumentHelp(
            "How much output is kept, for example 100GiB; the oldest goes first. (default: all)", valueName: "size"))
    var logBudget: String?
    @Option(
        name: .long,
        help: ArgumentHelp(
            "How long lists of the files behind inputs' and outputs' digests are kept. (default: for ever)",
            valueName: "time"))
    var keepManifests: String?
    @Option(
        name: .long,
        help: ArgumentHelp("How much of these lists is kept; the oldest goes first. (default: all)", valueName: "size"))
    var manifestBudget: String?
    @Option(
        name: .long,
        help: ArgumentHelp(
            "How long each task and attempt of a finished job has a record of its own; then they are summed up, but for those with digests of data. (default: for ever)",
            valueName: "time"))
    var keepTasks: String?
    @Option(
        name: .long,
        help:
            "Where clients reach this scheduler, as https://HOST[:PORT], if a proxy with TLS stands in front: registry clients then use the token flow there."
    )
    var publicUrl: String?
    @Option(name: .long, help: "trace, debug, info, notice, warning, error or critical.")
    var logLevel = Logger.Level.notice.rawValue

    func run() async throws {
        var logger = Logger(label: "jobctl-scheduler", factory: { _ in LineLog() })
        do {
            logger.logLevel = try level()
            try await SchedulerService(options: try options(), logger: logger).run()
        } catch {
            let sentence = (error as? Problem)?.description ?? "\(error)"
            FileHandle.standardError.write(Data("jobctl-scheduler: \(sentence)\n".utf8))
            throw ExitCode.failure
        }
    }

    private func level() throws(Problem) -> Logger.Level {
        guard let level = Logger.Level(rawValue: logLevel) else {
            let allowed = Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")
            throw Problem(.badRequest, "\(quoted(logLevel)) is not a level: use \(allowed)", field: "--log-level")
        }
        return level
    }

    private func options() throws(Problem) -> SchedulerOptions {
        var options = SchedulerOptions(dataDirectory: dataDir)
        (options.host, options.port) = try SchedulerOptions.address(listen)
        options.insecureRegistries = insecureRegistry
        options.mirrors = try SchedulerOptions.mirrors(mirror)
        options.tokenServices = try SchedulerOptions.tokenServices(tokenService)
        options.keep = try SchedulerOptions.keepPolicies(keep)
        options.retention = try SchedulerOptions.retention(
            keepLogs: keepLogs, logBudget: logBudget, keepManifests: keepManifests, manifestBudget: manifestBudget,
            keepTasks: keepTasks)
        if let publicUrl { options.publicURL = try SchedulerOptions.publicURL(publicUrl) }
        if let file = adminTokenFile {
            let user = Caller(
                name: try SchedulerOptions.userName(admin, "--admin"), role: .admin, uid: adminUid, gid: adminGid)
            options.firstUsers.append(.init(user: user, tokenFile: file))
        }
        if let file = workerTokenFile {
            let user = Caller(
                name: try SchedulerOptions.userName("worker", "--worker-token-file"), role: .worker,
                uid: Identity.unmapped,
                gid: Identity.unmapped)
            options.firstUsers.append(.init(user: user, tokenFile: file))
        }
        return options
    }
}
