// The agent as a program: options to WorkerOptions, one sentence on stderr when it cannot start.
import ArgumentParser
import Foundation
import JobModel
import Logging
import Worker

@main
struct WorkerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "jobctl-worker", abstract: "The agent of a host: runs containers for a jobctl scheduler.",
        version: WorkerService.version)

    @Option(help: "The scheduler, for example http://scheduler:7070.") var url = ""
    @Option(help: "The file that holds the worker's token.") var tokenFile = ""
    @Option(help: "This worker's name.") var name =
        ProcessInfo.processInfo.hostName.split(separator: ".").first.map(String.init) ?? "worker"
    @Option(help: "Where the worker keeps its journal, logs and mounts.") var dataDir: String
    @Option(help: "A folder to offer: NAME=/PATH:ro or NAME=/PATH:rw.") var volume: [String] = []
    @Option(help: "A host path that jobs may bind.") var allowPath: [String] = []
    @Option(help: "A label for constraints: KEY=VALUE.") var label: [String] = []
    @Option(help: "auto, oci (containers without a daemon), docker or podman.") var engine = "auto"
    @Option(help: "The OCI runtime of the engine oci, instead of crun or else runc: a name or a path.")
    var ociRuntime: String?
    @Option(help: "Processors to offer, instead of all.") var cpus: Double?
    @Option(help: "Memory to offer, for example 64GiB, instead of nine tenths.") var memory: String?
    @Option(help: "Scratch space to offer, for example 500GiB, instead of nine tenths of the data folder's disk.")
    var disk: String?
    @Option(help: "Something else that this host has a number of: NAME=COUNT.") var resource: [String] = []
    @Option(
        help: "The host name or IP address at which the members of a gang find this host, instead of its host name.")
    var address: String?
    @Flag(help: "Stop and remove everything that this worker runs, then end. The agent must not be running.")
    var cleanup = false

    func run() async throws {
        LoggingSystem.bootstrap(StreamLogHandler.standardError)
        let logger = Logger(label: "worker")
        guard let engine = EngineChoice(rawValue: engine) else {
            throw ValidationError("--engine: '\(engine)' is not \(EngineChoice.list)")
        }
        do {
            let volumes = try volume.map { try Volume($0) }
            if cleanup {
                return try await WorkerService.cleanUp(
                    dataFolder: dataDir, engine: engine, volumes: volumes, logger: logger)
            }
            try await WorkerService.run(options(engine, volumes), logger: logger)
        } catch let error where !(error is ValidationError) {
            FileHandle.standardError.write(Data("jobctl-worker: \(error)\n".utf8))
            throw ExitCode.failure
        }
    }

    private func options(_ engine: EngineChoice, _ volumes: [Volume]) throws -> WorkerOptions {
        guard let workerName = WorkerName(rawValue: name) else {
            throw ValidationError("--name: \(WorkerName.refusal(of: name))")
        }
        guard let token = try? String(contentsOfFile: tokenFile, encoding: .utf8) else {  // allowed: said in the error
            throw ValidationError("--token-file: '\(tokenFile)' cannot be read")
        }
        var labels: [String: String] = [:]
        for text in label {
            let parts = text.split(separator: "=", maxSplits: 1).map(String.init)
            guard parts.count == 2 else { throw ValidationError("--label: '\(text)' is not KEY=VALUE") }
            labels[parts[0]] = parts[1]
        }
        let cpus = try cpus.map { value in
            guard let amount = CPUAmount(exactly: value), amount.thousandths > 0 else {
                throw ValidationError("--cpus: \(value) is not a number of cpus")
            }
            return amount
        }
        func amount(_ text: String?, _ option: String) throws -> ByteCount? {
            try text.map { text in
                guard let amount = ByteCount(text), amount.bytes <= 1 << 50 else {
                    throw ValidationError("\(option): '\(text)' is not an amount such as 64GiB")
                }
                return amount
            }
        }
        return WorkerOptions(
            schedulerURL: url, token: token.trimmingCharacters(in: .whitespacesAndNewlines), name: workerName,
            dataFolder: dataDir,
            volumes: volumes, allowedPaths: allowPath, labels: labels, engine: engine, ociRuntime: ociRuntime,
            cpus: cpus, memory: try amount(memory, "--memory"), disk: try amount(disk, "--disk"),
            custom: try customResources(), address: try checkedAddress())
    }

    private func checkedAddress() throws -> String? {
        if let address, !WorkerRegistration.isAddress(address) {
            throw ValidationError("--address: '\(address)' is not \(WorkerRegistration.addressRule)")
        }
        return address
    }

    private func customResources() throws -> ResourceCounts {
        var counts: [ResourceName: Int64] = [:]
        for text in resource {
            let parts = text.split(separator: "=", maxSplits: 1).map(String.init)
            guard parts.count == 2, let name = ResourceName(rawValue: parts[0]), let count = Int64(parts[1]),
                (0...ResourceCounts.largest).contains(count)
            else { throw ValidationError("--resource: '\(text)' is not NAME=COUNT, for example fpga=2") }
            counts[name] = count
        }
        return ResourceCounts(counts)
    }
}
