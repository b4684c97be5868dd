// jobctl up and down: a whole cluster on this machine, as two processes of their own, so that each can fail and come
// back alone.
import ArgumentParser
import Foundation
import JobModel
import SchedulerClient

struct Up: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "up", abstract: "Start a scheduler and a worker on this machine.",
        discussion: """
            Examples:

              jobctl up --volume weather=/srv/weather:ro --volume results=/srv/results:rw
              jobctl up --detach --engine podman
              sudo -E jobctl up --detach      as root: containers run as you, not as root

            Without --detach it stops both at Ctrl-C. Called again, it starts what does
            not run, with the options of the first time. It writes the context file, by
            which the other commands find the cluster: ~/.config/jobctl/config.yaml, or
            what $JOBCTL_CONFIG says.
            """)

    @Option(help: "Where everything is kept. (default: ~/.local/share/jobctl)", completion: .directory)
    var dataDir: String?
    @Option(
        help: ArgumentHelp(
            "Where the scheduler listens; port 0: any free one. (default: 127.0.0.1:7070)", valueName: "host:port"))
    var listen: String?
    @Option(
        help: ArgumentHelp("Offer a folder to jobs. May be repeated.", valueName: "name=/path[:ro|rw]"))
    var volume: [String] = []
    @Option(help: ArgumentHelp("A host path that jobs may bind. May be repeated.", valueName: "/path"))
    var allowPath: [String] = []
    @Option(help: ArgumentHelp("A label of the worker. May be repeated.", valueName: "key=value"))
    var label: [String] = []
    @Option(
        help: ArgumentHelp("A registry that is spoken to over plain HTTP. May be repeated.", valueName: "host:port"))
    var insecureRegistry: [String] = []
    @Option(help: "auto, oci, docker or podman. (default: auto)", completion: .list(Self.engines))
    var engine: String?
    private static let engines = ["auto", "oci", "docker", "podman"]

    @Option(
        help: ArgumentHelp(
            "The OCI runtime of the engine oci, instead of crun or else runc.", valueName: "name-or-path"))
    var ociRuntime: String?
    @Option(
        help: ArgumentHelp(
            "How long after a job's end its tasks keep records of their own; then they are summed up. (default: for ever)",
            valueName: "time"))
    var keepTasks: String?
    @Flag(help: "Return when both are ready, and leave them running.") var detach = false
    @OptionGroup var format: OutputOptions

    func validate() throws {
        if let engine, !Self.engines.contains(engine) {
            throw ValidationError("--engine: \(quoted(engine)) is not auto, oci, docker or podman")
        }
        for text in volume where text.firstMatch(of: #/^[^=]+=\/.*$/#) == nil {
            throw ValidationError("--volume: \(quoted(text)) must be NAME=/PATH:ro or NAME=/PATH:rw")
        }
        for text in allowPath where !text.hasPrefix("/") {
            throw ValidationError("--allow-path: \(quoted(text)) must be an absolute path")
        }
        for text in label where text.firstMatch(of: #/^[^=]+=.+$/#) == nil {
            throw ValidationError("--label: \(quoted(text)) must be KEY=VALUE")
        }
        if let listen,
            listen.firstMatch(of: #/^.+:\d+$/#).flatMap({ UInt16($0.0.split(separator: ":").last ?? "") }) == nil
        {
            throw ValidationError("--listen: \(quoted(listen)) must be HOST:PORT, with a port from 0 to 65535")
        }
    }

    func run() async throws {
        let cluster = LocalCluster(folder: dataDir)
        let variables = ProcessInfo.processInfo.environment.filter {
            LocalCluster.Options.remembered.contains($0.key) && !$0.value.isEmpty
        }
        let state = try await cluster.start(
            LocalCluster.Options(
                listen: listen, volumes: volume, allowedPaths: allowPath, labels: label,
                insecureRegistries: insecureRegistry, engine: engine, ociRuntime: ociRuntime,
                keepTasks: keepTasks, environment: variables.isEmpty ? nil : variables))
        try Render.one(state, quiet: state.url, format) {
            "jobctl: the scheduler listens on \(state.url); data in \(state.dataDirectory)"
        }
        if detach { return }
        if format.output == .table, !format.quiet { print("jobctl: press Ctrl-C to stop both") }
        fflush(nil)
        let early = await withTaskGroup(of: String?.self) { group in
            group.addTask {
                await Signals.wait()
                return nil
            }
            group.addTask { await cluster.watch() }
            defer { group.cancelAll() }
            return await group.next() ?? nil
        }
        _ = try await cluster.stop()
        if let early { throw Problem(.unavailable, early) }
    }
}

struct Down: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "down", abstract: "Stop the scheduler, the worker and its containers on this machine.",
        discussion: """
            What runs is stopped, and started again after the next 'jobctl up'. Nothing is
            deleted: jobs, configurations, images and logs stay in the data folder.
            """)
    @Option(help: "Where the cluster keeps its data. (default: ~/.local/share/jobctl)", completion: .directory)
    var dataDir: String?
    @OptionGroup var format: OutputOptions

    private struct Stopped: Encodable {
        let dataDirectory: String
        let stopped: [String]
        private enum CodingKeys: String, CodingKey { case dataDirectory = "data_dir", stopped }
    }

    func run() async throws {
        let cluster = LocalCluster(folder: dataDir)
        let stopped = try await cluster.stop()
        try Render.one(
            Stopped(dataDirectory: cluster.folder, stopped: stopped), quiet: stopped.joined(separator: "\n"), format
        ) {
            stopped.isEmpty
                ? "jobctl: nothing ran in \(cluster.folder)" : "jobctl: stopped \(stopped.joined(separator: " and "))"
        }
    }
}

/// Waits for Ctrl-C or SIGTERM.
enum Signals {
    static func wait() async {
        let (signals, arrived) = AsyncStream.makeStream(of: Void.self)
        var sources: [any DispatchSourceSignal] = []
        for number in [SIGINT, SIGTERM] {
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number)
            source.setEventHandler { arrived.yield() }
            source.activate()
            sources.append(source)
        }
        for await _ in signals { break }
        for source in sources { source.cancel() }
    }
}
