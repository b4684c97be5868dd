// The composition root: options in, a group of services out. The loop starts first and stops last, so that what HTTP
// accepted is committed; HTTP stops first, which ends long polls and event streams. Nothing is decided here.
import Foundation
import Hummingbird
import JobModel
import Logging
import NIOCore
import NIOPosix
import OCI
import Registry
import SchedulingCore
import ServiceLifecycle
import UnixSignals

package struct SchedulerOptions: Sendable {
    /// A user that exists from the first start on, and the file that its token is written to.
    package struct FirstUser: Sendable {
        package var user: Caller
        /// Mode 0600.
        package var tokenFile: String
        package init(user: Caller, tokenFile: String) {
            self.user = user
            self.tokenFile = tokenFile
        }
    }

    /// Database, archive, logs. Made if it does not exist.
    package var dataDirectory: String
    package var host = "127.0.0.1"
    /// 0: any free one. The address that was bound stands in `DATA/scheduler.address`, as `HOST:PORT`.
    package var port = 0
    package var firstUsers: [FirstUser] = []
    /// Registries as `HOST:PORT` that are spoken to over plain HTTP. Loopback addresses always are.
    package var insecureRegistries: [String] = []
    /// By registry, in the order in which they are asked before it.
    package var mirrors: [String: [RegistryMirror]] = [:]
    /// By registry, hosts that its password may be sent to besides its own.
    package var tokenServices: [String: [String]] = [:]
    package var registryTimeouts = RegistryTimeouts()
    /// How long images are kept for submissions that do not say so.
    package var keep = KeepPolicies()
    package var retention = RetentionPolicy()
    package var policy = Policy()
    /// The largest image file, and the largest blob that is pushed.
    package var importLimit = ByteCount(bytes: 64 << 30)
    /// Where the scheduler is reached from outside, as `https://HOST[:PORT]`: registry clients then get a token there.
    package var publicURL: String?
    /// What was pushed or used within this time is not garbage yet.
    package var archiveGrace = Duration.seconds(3600)
    /// An upload that nobody went on with for so long is given up.
    package var uploadPatience = Duration.seconds(6 * 3600)
    package var logLimit = LogFiles.standardLimit
    /// How long a worker and a client may take to come to a session.
    package var sessionPatience = Duration.seconds(30)

    package init(dataDirectory: String) { self.dataDirectory = dataDirectory }
}

package struct SchedulerService: Sendable {
    package static let version = "0.1.0"
    /// Connections that wait to be taken: after a restart all agents come back at once. The kernel has its own limit.
    private static let backlog = 4096
    /// So many are taken when the event loop comes by. A few at a time, as is usual, and the queue of a storm is full:
    /// whoever finds it so is let in a second later at best.
    private static let acceptedAtOnce: UInt = 4096
    /// A connection without a call, or one whose body has stopped coming, is closed after this. Long polls are not
    /// idle.
    private static let idleTimeout = TimeAmount.seconds(120)

    package let services: APIServices
    private let options: SchedulerOptions
    private let logger: Logger

    /// Opens everything; nothing runs yet.
    /// - Throws: ``Problem`` with one sentence: the folder cannot be used, another scheduler has it, its schema is
    /// newer.
    package init(options: SchedulerOptions, clock: any SchedulerClock = SystemClock(), logger: Logger) throws(Problem) {
        self.options = options
        self.logger = logger
        do {
            services = try Self.open(options, clock, logger)
        } catch let failure as StoreFailure {
            throw Problem(failure)
        } catch let failure as OCIError {
            throw Problem(failure)
        } catch let problem as Problem {
            throw problem
        } catch {
            throw Problem(
                .internal,
                "the data folder \(quoted(options.dataDirectory)) cannot be used: \(error.localizedDescription)")
        }
    }

    private static func open(_ options: SchedulerOptions, _ clock: any SchedulerClock, _ logger: Logger) throws
        -> APIServices
    {
        let data = options.dataDirectory
        try FileManager.default.createDirectory(
            atPath: data, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        let store = try Store.open(directory: data, logger: logger)
        let events = EventLog(startedAt: clock.now().wall)
        let loop = try SchedulerLoop(
            store: store, policy: options.policy, clock: clock, events: events, logger: logger)
        let content = try ContentStore(directory: data + "/archive")
        let registry = RegistryClient(
            credentials: .standard(environment: ProcessInfo.processInfo.environment),
            insecure: options.insecureRegistries, timeouts: options.registryTimeouts, mirrors: options.mirrors,
            tokenServices: options.tokenServices
        ) { logger.warning("A mirror is passed over", metadata: ["error": "\($0)"]) }
        let files = BlockingWork()
        let archive = ImageArchive(
            store: store, loop: loop, content: content, files: files, clock: clock, publicURL: options.publicURL)
        let puller = ImagePuller(
            store: store, loop: loop, archive: archive, content: content, registry: registry, clock: clock,
            logger: logger)
        let tokens = TokenTable(try store.users())
        let logs = try LogFiles(directory: data + "/logs", limit: options.logLimit)
        let trees = Trees(
            lists: try CompressedStore(directory: data + "/trees"),
            comparisons: try ComparisonFiles(directory: data + "/comparisons"),
            removed: { try store.treeRemoved($0) })
        let submission = Submission(
            store: store, loop: loop, content: content, archive: archive, puller: puller, registry: registry,
            keep: options.keep, files: files, clock: clock)
        return APIServices(
            store: store, loop: loop, events: events, content: content,
            uploads: BlobUploads(content: content, patience: options.uploadPatience),
            uploadLimit: options.importLimit, tokens: tokens,
            registryTokens: RegistryTokens(users: tokens, clock: clock, publicURL: options.publicURL),
            logs: logs, trees: trees,
            linter: ImageLinter(content: content, files: files, clock: clock), archive: archive,
            care: ArchiveCare(
                store: store, content: content, archive: archive, files: files, grace: options.archiveGrace),
            puller: puller,
            retention: Retention(
                store: store, loop: loop, logs: logs, trees: trees, files: files, policy: options.retention,
                clock: clock, logger: logger),
            schedules: Schedules(
                store: store, loop: loop, submission: submission, tokens: tokens, clock: clock, logger: logger),
            submission: submission,
            gateway: SyncGateway(loop: loop, cache: BriefCache(store: store), policy: options.policy),
            spool: try Spool(directory: data + "/spool", limit: options.importLimit, files: files),
            sessions: SessionBroker(patience: options.sessionPatience), files: files,
            clock: clock,
            startedAt: clock.now().wall)
    }

    /// Everything that runs, in order: the loop, the puller, the first users, HTTP.
    package func application() -> Application<RouterResponder<APIContext>> {
        var application = Application(
            router: Routes.router(services),
            server: .http1(configuration: .init(idleTimeout: Self.idleTimeout)),
            configuration: ApplicationConfiguration(
                address: .hostname(options.host, port: options.port), serverName: "jobctl", backlog: Self.backlog),
            services: [
                services.loop, services.uploads,
                ServiceOnExecutor(service: services.puller, executor: globalConcurrentExecutor),
                ServiceOnExecutor(service: services.retention, executor: globalConcurrentExecutor),
                ServiceOnExecutor(service: services.schedules, executor: globalConcurrentExecutor),
            ],
            onServerRunning: { [self] channel in
                channel.setOption(.maxMessagesPerRead, value: Self.acceptedAtOnce).whenFailure { error in
                    logger.warning("Connections are taken a few at a time", metadata: ["error": "\(error)"])
                }
                announce(channel.localAddress)
            },
            logger: logger)
        application.beforeServerStarts { [self] in try await makeFirstUsers() }
        return application
    }

    /// Runs until SIGTERM, SIGINT or a storage failure.
    /// - Throws: what made it stop early.
    package func run(stopOn signals: [UnixSignal] = [.sigterm, .sigint]) async throws {
        OpenFiles.allowAll()
        let http = ServiceOnExecutor(
            service: application(), executor: EventLoopExecutor(NIOSingletons.posixEventLoopGroup))
        var configuration = ServiceGroupConfiguration(
            services: [http], gracefulShutdownSignals: signals, logger: logger)
        configuration.maximumGracefulShutdownDuration = .seconds(8)
        defer { unlink(addressFile) }
        do {
            try await ServiceGroup(configuration: configuration).run()
        } catch let error as IOError {
            let reason = String(cString: strerror(error.errnoCode))
            throw Problem(.refused, "cannot listen on \(options.host):\(options.port): \(reason)", field: "--listen")
        } catch let failure as StoreFailure {
            throw Problem(failure)
        }
    }

    /// The users of the options, with tokens that are good. A token file that is lost or stale gets a new token.
    package func makeFirstUsers() async throws {
        for first in options.firstUsers {
            if try tokenIsGood(first) { continue }
            let token = try await services.issueToken(to: first.user)
            try PrivateFile.write(token.text + "\n", to: first.tokenFile)
            logger.notice(
                "A token was written", metadata: ["user": "\(first.user.name)", "file": "\(first.tokenFile)"])
        }
    }

    private func tokenIsGood(_ first: SchedulerOptions.FirstUser) throws -> Bool {
        guard FileManager.default.fileExists(atPath: first.tokenFile) else { return false }
        let text = try String(contentsOfFile: first.tokenFile, encoding: .utf8).trimmingCharacters(
            in: .whitespacesAndNewlines)
        return services.tokens.caller(with: Token(text: text)) == first.user
    }

    private var addressFile: String { options.dataDirectory + "/scheduler.address" }

    private func announce(_ address: SocketAddress?) {
        guard let port = address?.port else { return }
        let text = options.host.contains(":") ? "[\(options.host)]:\(port)" : "\(options.host):\(port)"
        if !["127.0.0.1", "::1", "localhost"].contains(options.host) {
            logger.warning(
                "Listening beyond this machine without TLS: tokens can be read on the way; put a TLS proxy in front")
        }
        do {
            try PrivateFile.write(text + "\n", to: addressFile)
        } catch {
            logger.error("The address file cannot be written", metadata: ["error": "\(error)"])
        }
        logger.notice("Listening", metadata: ["address": "\(text)"])
    }
}

/// A file that only its owner reads, replaced in one step.
enum PrivateFile {
    static func write(_ text: String, to path: String) throws(Problem) {
        let temporary = path + ".new"
        let file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0 else { throw failure(path) }
        defer { close(file) }
        let bytes = Array(text.utf8)
        guard fchmod(file, 0o600) == 0, Foundation.write(file, bytes, bytes.count) == bytes.count, fsync(file) == 0,
            rename(temporary, path) == 0
        else { throw failure(path) }
    }

    private static func failure(_ path: String) -> Problem {
        Problem(.internal, "\(quoted(path)) cannot be written: \(String(cString: strerror(errno)))")
    }
}

extension SchedulerOptions {
    /// Parses `HOST:PORT` or `[IPv6]:PORT`.
    package static func address(_ text: String) throws(Problem) -> (host: String, port: Int) {
        let rule = "write HOST:PORT, with a port from 0 to 65535"
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else {
            throw Problem(.badRequest, "\(quoted(text)) is not an address: \(rule)", field: "--listen")
        }
        var host = String(text[..<colon])
        if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
        guard !host.isEmpty else {
            throw Problem(.badRequest, "\(quoted(text)) is not an address: \(rule)", field: "--listen")
        }
        return (host, Int(port))
    }

    /// An address as others see it: `http://` or `https://`, a host, perhaps a port, and nothing else.
    package static func publicURL(_ text: String) throws(Problem) -> String {
        let isPlain = text.utf8.allSatisfy { (0x21...0x7e).contains($0) && $0 != UInt8(ascii: "\"") }
        guard isPlain, text.utf8.count <= 255, let parts = URLComponents(string: text), parts.host?.isEmpty == false,
            parts.scheme == "https" || parts.scheme == "http", parts.path.isEmpty || parts.path == "/",
            parts.query == nil, parts.fragment == nil, parts.user == nil
        else {
            throw Problem(
                .badRequest, "\(quoted(text)) is not an address: write https://HOST or https://HOST:PORT",
                field: "--public-url")
        }
        return text.hasSuffix("/") ? String(text.dropLast()) : text
    }

    package static func userName(_ text: String, _ option: String) throws(Problem) -> UserName {
        guard let name = UserName(rawValue: text) else {
            throw Problem(.badRequest, UserName.refusal(of: text), field: option)
        }
        return name
    }
}
