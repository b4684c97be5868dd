// jobctl up and down: a whole cluster on this machine, as two processes of their own, so that each can fail and come
// back alone.
import ArgumentParser
import Foundation
import JobModel
import SchedulerClient

struct Up: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Start a scheduler and a worker on this machine.",
        discussion:
            "Example: jobctl up --detach --volume weather=/srv/weather:ro --volume results=/srv/results:rw\nRun again, it starts only what does not run, with the options of the first time."
    )

    @Option(help: "Where everything is kept.") var dataDir = LocalCluster.standardFolder
    @Option(help: "Where the scheduler listens, as HOST:PORT; port 0: any free one.") var listen: String?
    @Option(help: "A folder to offer: NAME=/PATH:ro or NAME=/PATH:rw.") var volume: [String] = []
    @Option(help: "A host path that jobs may bind.") var allowPath: [String] = []
    @Option(help: "A label of the worker: KEY=VALUE.") var label: [String] = []
    @Option(help: "A registry, as HOST:PORT, that is spoken to over plain HTTP.") var insecureRegistry: [String] = []
    @Option(help: "auto, oci (containers without a daemon), docker or podman.") var engine: String?
    @Option(help: "The OCI runtime of the engine oci, instead of crun or else runc: a name or a path.")
    var ociRuntime: String?
    @Flag(help: "Return when both are ready, and leave them running.") var detach = false

    func validate() throws {
        if let engine, !["auto", "oci", "docker", "podman"].contains(engine) {
            throw ValidationError("--engine: \(quoted(engine)) is not auto, oci, docker or podman")
        }
        for text in volume where !text.contains("=/") {
            throw ValidationError("--volume: \(quoted(text)) must be NAME=/PATH:ro or NAME=/PATH:rw")
        }
    }

    func run() async throws {
        let cluster = try LocalCluster(folder: dataDir)
        let options = try cluster.remember(
            LocalCluster.Options(
                listen: listen, volumes: volume, allowedPaths: allowPath, labels: label,
                insecureRegistries: insecureRegistry, engine: engine, ociRuntime: ociRuntime))
        let context = try await cluster.start(options)
        print("jobctl: the scheduler listens on \(context.url); data in \(cluster.folder)")
        if detach { return }
        print("jobctl: press Ctrl-C to stop both")
        fflush(nil)
        await Signals.wait()
        try await cluster.stop()
    }
}

struct Down: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Stop the scheduler, the worker and its containers on this machine.")
    @Option(help: "Where the cluster keeps its data.") var dataDir = LocalCluster.standardFolder

    func run() async throws {
        try await LocalCluster(folder: dataDir).stop()
    }
}

/// Waits for Ctrl-C or SIGTERM.
enum Signals {
    static func wait() async {
        await withCheckedContinuation { continuation in
            let once = OnceContinuation(continuation)
            for number in [SIGINT, SIGTERM] {
                signal(number, SIG_IGN)
                let source = DispatchSource.makeSignalSource(signal: number)
                source.setEventHandler {
                    source.cancel()
                    once.resume()
                }
                source.activate()
            }
        }
    }
}
