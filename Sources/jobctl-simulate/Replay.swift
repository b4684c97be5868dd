// `jobctl-simulate replay`: a trace, or a generated workload, under several policies side by side.
import ArgumentParser
import Foundation
import Simulation

struct Replay: ParsableCommand {
    private static let policies = ReplayPolicy.allCases.map(\.rawValue).joined(separator: ", ")

    static let configuration = CommandConfiguration(
        commandName: "replay",
        abstract: "Replay a workload under several policies and compare waits, slowdown and utilisation.",
        discussion: """
            Reads the Standard Workload Format. The machine is one pool of processors; jobs are rigid. fcfs and easy
            are references that share nothing with the scheduler's core.

              jobctl-simulate replay trace.swf
              jobctl-simulate replay --generate 5000 --processors 128 --load 0.9 --write made.swf
            """)

    @Argument(help: "A file in the Standard Workload Format.") var file: String?
    @Option(help: "Instead of a file: so many jobs after Lublin and Feitelson.") var generate: Int?
    @Option(help: "The seed of a generated workload.") var seed: UInt64 = 1
    @Option(help: "Processors of the machine; of a file: instead of what its MaxProcs says.") var processors: Int64?
    @Option(help: "Of a generated workload: arriving work, as a part of what the machine can do.") var load = 0.85
    @Option(help: "Write the workload to this file.") var write: String?
    @Option(help: "Which policies, separated by commas: \(Self.policies).") var policies = Self.policies

    func validate() throws {
        guard (file == nil) != (generate == nil) else {
            throw ValidationError("give a file or --generate, and not both")
        }
        guard (1...1_000_000).contains(generate ?? 1) else {
            throw ValidationError("--generate: \(generate ?? 0) is not between 1 and 1000000")
        }
        guard (1...10_000_000).contains(processors ?? 1) else {
            throw ValidationError("--processors: \(processors ?? 0) is not between 1 and 10000000")
        }
        guard (0.01...2).contains(load) else { throw ValidationError("--load: \(load) is not between 0.01 and 2") }
        guard chosen != nil else { throw ValidationError("--policies: use some of \(Self.policies)") }
    }

    private var chosen: [ReplayPolicy]? {
        let names = policies.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }
        let known = names.compactMap(ReplayPolicy.init(rawValue:))
        return known.count == names.count && !known.isEmpty ? known : nil
    }

    func run() throws {
        let workload = try workload()
        if let write { try Data(workload.swf.utf8).write(to: URL(fileURLWithPath: write)) }
        let days = Double((workload.jobs.last?.submitted ?? 0) - (workload.jobs.first?.submitted ?? 0)) / 86_400
        print(
            "\(workload.jobs.count) jobs over \(String(format: "%.1f", days)) days on \(workload.processors) processors"
                + (workload.skipped > 0 ? "; \(workload.skipped) lines are of jobs that never ran" : ""))
        print("policy         wait mean [s]  median [s]     p95 [s]  bounded slowdown  utilisation")
        for policy in chosen ?? [] {
            let report = try workload.replay(under: policy)
            print(
                policy.rawValue.padding(toLength: 15, withPad: " ", startingAt: 0)
                    + String(
                        format: "%13.0f %11lld %11lld %17.2f %11.1f %%", report.meanWait, report.medianWait,
                        report.p95Wait, report.boundedSlowdown, report.utilisation * 100))
        }
    }

    private func workload() throws -> Workload {
        if let generate {
            return .generate(
                jobs: generate, processors: processors ?? 128, load: Int64((load * 1000).rounded()), seed: seed)
        }
        let path = file ?? ""
        do {
            let handle = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
            let content = try handle.read(upToCount: Workload.longestFile + 1) ?? Data()
            return try Workload(swf: content, name: path, processors: processors)
        } catch let error as WorkloadError {
            throw ValidationError(error.description)
        } catch {
            throw ValidationError("\(path): cannot be read: \(error.localizedDescription)")
        }
    }
}
