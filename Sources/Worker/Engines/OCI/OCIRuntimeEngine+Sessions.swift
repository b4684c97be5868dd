// A second program beside an attempt: the runtime's `exec`, in the mount namespace of the attempt's runner, where the
// runtime's state lies. The program is the container's process in all but command, streams and two variables, and goes
// through the container's init, so that the filter of system calls holds for it as well.
import CLinux
import Foundation
import Glibc
import JobModel
import RunnerCore
import Synchronization

extension OCIRuntimeEngine {
    package func session(in id: String, _ launch: SessionLaunch) async throws(EngineError) -> any ContainerSession {
        let (attempt, folder) = try known(id)
        let files = SessionFiles(folder: folder, id: launch.id)
        let namespace = try await mountNamespace(of: folder, attempt)
        let arguments =
            ["nsenter"] + entrance(namespace) + [
                "--", setup.runtime, "--root", setup.host.scratch + "/state", "--log", files.log,
            ]
            + RuntimeOptions.groups(setup.kind, isRootless: setup.host.rootless != nil)
            + ["exec"] + (launch.request.tty ? ["--preserve-fds", "1"] : [])
            + ["--process", files.process, attempt.description]
        do throws(EngineError) {
            try files.write(try process(of: attempt, launch))
            return try await RuntimeSession(arguments, launch, files, namespace: namespace)
        } catch {
            namespace.close()
            files.remove()
            throw error
        }
    }

    /// Of a runner without root, its user namespace is the first to enter: it owns the others.
    private func entrance(_ namespaces: Namespaces) -> [String] {
        let folder = "/proc/\(getpid())/fd"
        let user = namespaces.user.map { ["--user=\(folder)/\($0)", "--preserve-credentials"] } ?? []
        return user + ["--mount=\(folder)/\(namespaces.mount)"]
    }

    /// The runner's, once the container's init works in it: an attempt counts as running from a moment before.
    private func mountNamespace(of folder: RunnerFolder, _ attempt: AttemptID) async throws(EngineError) -> Namespaces {
        // With services, their start comes first.
        for _ in 0..<(hasServices(attempt) ? 60_000 : 1000) {
            guard access(folder.end, F_OK) != 0 else { break }
            if let namespace = currentNamespace(of: folder) { return namespace }
            // Who has begun and has no runner any more has ended.
            if hasBegun(folder), !processes.adopt(attempt, folder: folder) { break }
            do { try await Task.sleep(for: .milliseconds(10)) } catch { break }
        }
        throw .refused("the container of \(attempt) does not run")
    }

    /// Proven to be that of the process that holds the attempt's lock.
    private func currentNamespace(of folder: RunnerFolder) -> Namespaces? {
        let lock = open(folder.description, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        defer { if lock >= 0 { close(lock) } }
        let runner = lock < 0 ? 0 : jc_lock_holder(lock)
        guard runner > 0, initWorks(in: "/proc/\(runner)/root\(setup.host.scratch)/pid") else { return nil }
        guard let namespaces = Namespaces(of: runner, withUser: setup.host.rootless != nil) else { return nil }
        if jc_lock_holder(lock) == runner { return namespaces }
        namespaces.close()
        return nil
    }

    /// Whether the process in this file, as the runtime wrote it, has become the container's init.
    private func initWorks(in file: String) -> Bool {
        func word(_ path: String) -> String? {
            readFile(path, limit: 64).map { String(decoding: $0.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self) }
        }
        guard let process = word(file).flatMap({ pid_t($0) }) else { return false }
        return word("/proc/\(process)/comm") == RunnerFolder.initName
    }

    /// The container's own process with another command.
    private func process(of attempt: AttemptID, _ launch: SessionLaunch) throws(EngineError) -> [UInt8] {
        guard let text = bundle(of: attempt), let bundle = try? WireJSON.decode(JSONValue.self, from: text.utf8),
            case .object(let members)? = bundle[key: "process"]
        else { throw .refused("the description of \(attempt) cannot be read") }  // allowed: said here
        var words = [RunnerFolder.initPath]
        // Each program becomes the user in a namespace of its own: of the container's own it could not become a part.
        if case .array(let own)? = bundle[key: "process"]?[key: "args"], setup.host.rootless != nil {
            words = own.prefix(3).compactMap { if case .string(let word) = $0 { word } else { nil } }
        }
        let size = "\(launch.rows):\(launch.columns)"
        words +=
            (launch.request.tty ? [RunnerFolder.joinOnTerminal, size] : [RunnerFolder.join]) + launch.request.command
        let changes: [String: JSONValue] = [
            "args": .array(words.map { .string($0) }), "terminal": false,
            "env": .array(environment(bundle[key: "process"], launch).map { .string($0) }),
        ]
        let kept = members.filter { changes[$0.key] == nil }
        return JSONValue.object(kept + changes.map { ($0.key, $0.value) }).canonical
    }

    private func environment(_ process: JSONValue?, _ launch: SessionLaunch) -> [String] {
        guard case .array(let entries)? = process?[key: "env"] else { return launch.environment }
        let names = launch.environment.map { $0.prefix { $0 != "=" } + "=" }
        let kept = entries.compactMap { entry -> String? in
            guard case .string(let text) = entry, !names.contains(where: { text.hasPrefix($0) }) else { return nil }
            return text
        }
        return kept + launch.environment
    }
}

/// Those of a runner, as open files.
private struct Namespaces {
    let mount: Int32
    /// Only of one without root.
    let user: Int32?

    init?(of process: pid_t, withUser: Bool) {
        let mount = open("/proc/\(process)/ns/mnt", O_RDONLY | O_CLOEXEC)
        guard mount >= 0 else { return nil }
        let user = withUser ? open("/proc/\(process)/ns/user", O_RDONLY | O_CLOEXEC) : nil
        if let user, user < 0 {
            Glibc.close(mount)
            return nil
        }
        self.mount = mount
        self.user = user
    }

    func close() {
        Glibc.close(mount)
        if let user { Glibc.close(user) }
    }
}

/// What an `exec` needs for a moment, in the attempt's folder.
private struct SessionFiles: Sendable {
    let process: String
    let log: String

    init(folder: RunnerFolder, id: String) {
        process = folder.path + "/" + SessionLaunch.file(id)
        log = "\(folder.path)/session-\(id).log"
    }

    func write(_ document: [UInt8]) throws(EngineError) {
        do throws(FileFailure) {
            try replaceFile(process, with: document, durable: false)
        } catch {
            throw .refused("the worker's disk cannot take the session: \(error)")
        }
    }

    /// What the runtime complained of last.
    var complaint: String? {
        let text = String(decoding: readFile(log, limit: 1 << 20) ?? [], as: UTF8.self)
        return text.split(separator: "\n").last.map { String($0.suffix(2000)) }
    }

    func remove() {
        unlink(process)
        unlink(log)
    }
}

/// A runtime that runs `exec`, with pipes or a terminal.
private final class RuntimeSession: ContainerSession {
    private let streams: SessionStreams
    private let files: SessionFiles
    private let terminal: Int32?
    private let status: Mutex<Int32?> = Mutex(nil)
    private let end: Task<Int32, Never>

    /// Takes `namespace` over, unless it throws: nsenter opens it by its number, a moment after it was started.
    init(
        _ arguments: [String], _ launch: SessionLaunch, _ files: SessionFiles, namespace: Namespaces
    ) async throws(EngineError) {
        self.files = files
        let started =
            try launch.request.tty ? await Self.onTerminal(arguments, files) : Self.onPipes(arguments)
        streams = started.streams
        terminal = started.terminal
        let process = started.process
        let streams = started.streams
        end = Task {
            let status = await onThread {
                var status: Int32 = 0
                while waitpid(process, &status, 0) < 0, errno == EINTR {}
                namespace.close()
                return status
            }
            streams.drain()
            return status
        }
        Task { [weak self, end] in
            let value = await end.value
            self?.status.withLock { $0 = value }
        }
    }

    private struct Started {
        var streams: SessionStreams
        var terminal: Int32?
        var process: pid_t
    }

    /// How long a runtime may take to begin with a second program, in milliseconds.
    private static let patience: Int32 = 60_000

    /// The terminal is made in the container (``RunnerFolder/joinOnTerminal``): nobody stands between it and us.
    private static func onTerminal(_ arguments: [String], _ files: SessionFiles) async throws(EngineError) -> Started {
        var pair: [Int32] = [-1, -1]
        let result = jc_socket_pair(&pair)
        guard result >= 0 else { throw failure("a socket", result) }
        let (ours, theirs) = (pair[0], pair[1])
        defer { Glibc.close(ours) }
        // What a runtime makes of the streams of a second program differs, what it makes of further files does not.
        let null = open("/dev/null", O_RDWR | O_CLOEXEC)
        let process = withArguments(arguments) {
            jc_spawn_leader("/usr/bin/nsenter", $0, $1, null, null, null, theirs)
        }
        for file in [theirs, null] { Glibc.close(file) }
        guard process > 0 else { throw failure("nsenter", process) }
        let terminal = await onThread { () -> Int32 in
            let terminal = jc_terminal_receive(ours, patience)
            guard terminal < 0 else { return terminal }
            kill(process, SIGKILL)
            while waitpid(process, nil, 0) < 0, errno == EINTR {}
            return terminal
        }
        guard terminal >= 0 else {
            throw files.complaint.map { .refused("the program could not be started: \($0)") }
                ?? failure("a terminal", terminal)
        }
        return Started(
            streams: SessionStreams(input: terminal, outputs: [(.stdout, terminal)], isConnection: false),
            terminal: terminal, process: process)
    }

    private static func onPipes(_ arguments: [String]) throws(EngineError) -> Started {
        var pipes: [[Int32]] = []
        for isInput in [true, false, false] {
            var ends: [Int32] = [-1, -1]
            let result = jc_pipe_for(&ends, isInput ? 1 : 0)
            pipes.append(ends)
            if result < 0 {
                for file in pipes.joined() where file >= 0 { Glibc.close(file) }
                throw failure("a pipe", result)
            }
        }
        let process = withArguments(arguments) {
            jc_spawn_leader("/usr/bin/nsenter", $0, $1, pipes[0][0], pipes[1][1], pipes[2][1], -1)
        }
        for file in [pipes[0][0], pipes[1][1], pipes[2][1]] { Glibc.close(file) }
        guard process > 0 else {
            for file in [pipes[0][1], pipes[1][0], pipes[2][0]] { Glibc.close(file) }
            throw failure("nsenter", process)
        }
        return Started(
            streams: SessionStreams(
                input: pipes[0][1], outputs: [(.stdout, pipes[1][0]), (.stderr, pipes[2][0])], isConnection: false),
            terminal: nil, process: process)
    }

    private static func withArguments(
        _ arguments: [String],
        _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>, UnsafePointer<UnsafeMutablePointer<CChar>?>) -> pid_t
    ) -> pid_t {
        let words = arguments.map { strdup($0) } + [nil]
        let environment = [strdup("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), nil]
        defer { for pointer in words + environment { free(pointer) } }
        return body(words, environment)
    }

    private static func failure(_ what: String, _ result: Int32) -> EngineError {
        .refused("\(what) could not be had for the session: \(String(cString: strerror(-result)))")
    }

    // MARK: ContainerSession

    func read() async throws(EngineError) -> LogPiece? { await streams.read() }

    func write(_ bytes: [UInt8]) async { await streams.write(bytes) }

    func endInput() async {
        // A terminal's user ends the input with Ctrl-D.
        if terminal == nil { streams.endInput() } else { await streams.write([4]) }
    }

    func resize(rows: UInt16, columns: UInt16) async {
        guard let terminal else { return }
        streams.whileOpen { _ = jc_terminal_resize(terminal, rows, columns) }
    }

    func exitCode() async throws(EngineError) -> UInt8 {
        let status = await end.value
        let signal = status & 0x7f
        let code = signal == 0 ? UInt8(status >> 8 & 0xff) : UInt8(128 + signal)
        // What the runtime could not start, it complains of; a program's own code has no such line.
        if code != 0, let complaint = files.complaint {
            throw .refused("the program could not be started: \(complaint)")
        }
        return code
    }

    func isRunning() async -> Bool { status.withLock { $0 == nil } }

    func close() async {
        streams.close()
        files.remove()
    }
}
