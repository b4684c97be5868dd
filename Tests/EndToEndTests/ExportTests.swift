// The archive's promise: what ran on a cluster that is gone runs on another, which never saw it, and comes to the same.
// And it holds whenever the scheduler is killed.
import Foundation
import JobModel
import Synchronization
import TestSupport
import Testing

extension EndToEnd {
    @Suite("export and import", .serialized, .timeLimit(.minutes(20))) struct ExportTests {
        private static let spec = """
            name: annual
            image: lab/stack:1
            command: [/bin/sh, /job/run.sh]
            files: {/job/run.sh: ./run.sh}
            parameters: {column: 2}
            environment: {COLUMN: "${params.column}"}
            volumes: [input:/data:ro, output:/out:out]
            resources: {cpus: 0.1, memory: 32MiB}
            """
        private static let script = """
            cat /marker > /out/made-by
            cut -d, -f$COLUMN /data/*.csv | sort | uniq -c > /out/counts
            ls /data > /out/files; echo counted

            """

        /// What a job read and came to, by slot.
        private static func digests(_ c: ClusterUnderTest, _ job: String) async throws -> [String: String] {
            let attempt = try #require(try await c.attempts(of: job).last { $0.state == Open(.succeeded) })
            let trees = attempt.inputs.merging(attempt.outputs) { $1 }
            return trees.mapValues { $0.treeDigest.map { "\($0)" } ?? "none" }
        }

        private static func rerun(_ c: ClusterUnderTest, _ source: String = "annual") async throws -> String {
            let result = try await c.jobctl(["rerun", source, "--wait", "-q"])
            guard result.exitCode == 0 else { throw ProcessFailure(description: "jobctl rerun: \(result)") }
            return result.line
        }

        @Test("exported, wiped and imported on a cluster that never saw it, a job comes to the same; and once more")
        func roundTrip() async throws {
            let folder = try temporaryFolder("export")
            defer { removeFolder(folder) }
            // Whoever runs the first job, the others run their own.
            let first = try await Self.first(folder)
            for (number, next) in [(1, 2), (2, 3)] {
                try await ClusterUnderTest.with(engine: .oci) { c in
                    // Only busybox:local is here, which is another image.
                    #expect(try await c.jobctl(["config", "show", "annual"]).exitCode == 4)
                    #expect(try await c.jobctl(["image", "show", "lab/stack:1"]).exitCode == 4)
                    let text = try await c.ok("archive", "import", "\(folder)/\(number).tar")
                    #expect(text.contains("imported annual@1") && text.contains("lab/stack:1"), "\(text)")
                    let history = try await c.ok("history", "annual")
                    #expect(history.split(separator: "\n").count == (number == 1 ? 2 : 4))
                    #expect(history.contains(#/[0-9a-f]{8}/1 +@1 +succeeded, imported/#), "\(history)")
                    let job = try await Self.rerun(c)
                    #expect(job == "1")
                    #expect(try await Self.digests(c, job) == first)
                    #expect(
                        try String(contentsOfFile: "\(c.results)/1/1/made-by", encoding: .utf8) == "exported\n")
                    #expect(try await c.jobctl(["verify", job]).exitCode == 0)
                    try await c.ok("archive", "export", "annual", "-o", "\(folder)/\(next).tar")
                }
            }
        }

        /// The cluster that is gone afterwards.
        private static func first(_ folder: String) async throws -> [String: String] {
            let found = Kept<[String: String]>([:])
            try await ClusterUnderTest.with(engine: .oci) { c in
                let image = try await busyboxArchive(in: c.folder, marker: "exported")
                try await c.ok("image", "import", image, "-t", "lab/stack:1")
                try script.write(toFile: c.folder + "/run.sh", atomically: true, encoding: .utf8)
                try spec.write(toFile: c.folder + "/annual.yaml", atomically: true, encoding: .utf8)
                let job = try await c.ok(
                    "submit", c.folder + "/annual.yaml", "--bind", "input=weather/2014", "--bind", "output=results",
                    "--wait", "-q")
                found.set(try await digests(c, job))
                let file = "\(folder)/1.tar"
                let text = try await c.ok("archive", "export", "annual", "-o", file)
                #expect(text.contains("exported annual to \(file)"))
                let again = try await c.jobctl(["archive", "export", "annual", "-o", file])
                #expect(again.exitCode == 5 && again.errors.contains("--force"), "\(again)")
                let listing = try await runProcess("tar", ["-tf", file]).output
                #expect(listing.hasPrefix("jobctl-export.json\nro-crate-metadata.json\n"))
                #expect(listing.contains("/logs/1.1.stdout") && listing.contains("trees/"))
                // Every tool that reads layouts finds the image in it.
                let layout = folder + "/layout"
                try FileManager.default.createDirectory(atPath: layout, withIntermediateDirectories: true)
                #expect(try await runProcess("tar", ["-xf", file, "-C", layout]).exitCode == 0)
                let inspected = try await runProcess("skopeo", ["inspect", "--raw", "oci:\(layout)"])
                #expect(inspected.exitCode == 0 && inspected.output.contains("layers"), "\(inspected)")
            }
            return found.value
        }

        /// `JOBCTL_EXPORT_KILLS=50 swift test --filter ExportTests/killed` for a longer campaign.
        @Test("kill -9 of the scheduler at random moments of an export and of an import: whole or not there, and again")
        func killed() async throws {
            await ClusterGate.shared.enter()
            let result = await outcome {
                let points = ProcessInfo.processInfo.environment["JOBCTL_EXPORT_KILLS"].flatMap { Int($0) } ?? 4
                let seed = UInt64.random(in: 0 ... .max)
                let programs = (try builtProgram("jobctl") as NSString).deletingLastPathComponent
                let (exports, imports) = try await ExportCampaign(points: points, seed: seed, programs: programs).run()
                #expect(exports.violations == [] && imports.violations == [], "seed \(seed)")
                #expect(exports.points == points && imports.points == points)
                print("exports: \(exports.midway) of \(points) killed midway; imports: \(imports.midway) of \(points)")
            }
            await ClusterGate.shared.leave()
            try result.get()
        }
    }
}

/// A value that a closure leaves behind.
private final class Kept<Value: Sendable>: Sendable {
    private let state: Mutex<Value>
    init(_ value: Value) { state = Mutex(value) }
    func set(_ value: Value) { state.withLock { $0 = value } }
    var value: Value { state.withLock { $0 } }
}
