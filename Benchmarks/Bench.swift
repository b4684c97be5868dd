// The benchmarks as a program: which to run, where to keep their files, how to print. Each benchmark has a file; each
// figure stands beside a baseline that was taken in the same run, because a figure alone says more of the machine than
// of the program.
import ArgumentParser
import Foundation

@main
struct Bench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "jobctl-bench", abstract: "Measure jobctl, and try what it withstands.",
        subcommands: [MeasureCommand.self, CampaignCommand.self], defaultSubcommand: MeasureCommand.self)
}

struct MeasureCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "measure", abstract: "Measure jobctl, each figure beside a baseline of the same run.")

    enum Part: String, CaseIterable, ExpressibleByArgument {
        case submit, dispatch, size, status, placement, events, restart, reconnect, containers, layers, archive
    }

    @Argument(
        help:
            "submit, dispatch, size, status, placement, events, restart, reconnect, containers, layers, archive; all if none is given."
    )
    var parts: [Part] = []
    @Option(help: "How long each measurement takes, in seconds.") var seconds = 4.0
    @Option(help: "How often an image goes in and out of the archive.") var rounds = 3
    @Option(help: "Where databases are kept while they are measured: the disk that counts.") var folder = "/tmp"
    @Option(help: "What runs containers, separated by commas: docker, crun, runc.") var engines = "docker,crun,runc"
    @Option(help: "Write the figures to this file as well, as JSON.") var json: String?

    func validate() throws {
        guard (0.1...600).contains(seconds) else { throw ValidationError("--seconds: use 0.1 to 600") }
        guard (1...100).contains(rounds) else { throw ValidationError("--rounds: use 1 to 100") }
    }

    func run() async throws {
        try MixedHost.hideUnifiedGroups()
        Interruption.watch()
        let scratch = try Scratch(below: folder)
        defer { scratch.remove() }
        var report = Report(machine: try Machine.describe(diskOf: scratch.path))
        let settings = Settings(
            scratch: scratch, seconds: seconds, rounds: rounds, engines: engines.split(separator: ",").map(String.init))
        for part in parts.isEmpty ? Part.allCases : parts {
            Progress.say("== \(part.rawValue)")
            report.figures += try await figures(of: part, settings)
            try Interruption.check()
        }
        print(report.table)
        if let json { try report.json.write(to: URL(filePath: json)) }
    }

    private func figures(of part: Part, _ settings: Settings) async throws -> [Figure] {
        switch part {
        case .submit: try await SubmitBenchmark(settings: settings).run()
        case .dispatch: try await DispatchBenchmark(settings: settings).run()
        case .size: try await ArraySizeBenchmark(settings: settings).run()
        case .status: try await StatusBenchmark(settings: settings).run()
        case .placement: try PlacementBenchmark(settings: settings).run()
        case .events: try EventsBenchmark(settings: settings).run()
        case .restart: try await RestartBenchmark(settings: settings).run()
        case .reconnect: try await ReconnectBenchmark(settings: settings).run()
        case .containers: try await ContainerBenchmark(settings: settings).run()
        case .layers: try await LayerBenchmark(settings: settings).run()
        case .archive: try await ArchiveBenchmark(settings: settings).run()
        }
    }
}

/// What every benchmark needs to know.
struct Settings: Sendable {
    let scratch: Scratch
    /// The length of one measurement.
    let seconds: Double
    let rounds: Int
    let engines: [String]

    /// The folder of this program: the others lie beside it.
    static let programs = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent().path
}

/// A folder that is gone at the end.
struct Scratch: Sendable {
    let path: String

    init(below folder: String) throws {
        path = "\(folder)/jobctl-bench-\(UInt32.random(in: 0 ... .max))"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    func folder(_ name: String) throws -> String {
        let folder = path + "/" + name
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        return folder
    }

    func remove() {
        do { try FileManager.default.removeItem(atPath: path) } catch {
            Progress.say("\(path) is left behind: \(error)")
        }
    }
}

/// What goes on, for whoever waits.
enum Progress {
    static func say(_ text: String) { FileHandle.standardError.write(Data((text + "\n").utf8)) }
}

/// A measurement that cannot be trusted, in one sentence.
struct BenchFailure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// How long `body` takes.
func timed<Value>(_ body: () async throws -> Value) async rethrows -> (Value, seconds: Double) {
    let start = ContinuousClock.now
    let value = try await body()
    return (value, (ContinuousClock.now - start) / .seconds(1))
}
