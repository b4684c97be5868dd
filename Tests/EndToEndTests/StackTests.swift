// Two labs on one cluster: a Python stack and an R stack, from Debian's packages, side by side on the same real data.
// Each is shown to give the same bytes every time, and a small change that makes either of them differ is caught.
import Foundation
import JobModel
import TestSupport
import Testing

extension EndToEnd {
    @Suite("real stacks", .sharedCluster(on: .oci), .serialized, .timeLimit(.minutes(20))) struct StackTests {
        private var c: ClusterUnderTest {
            get throws { try #require(ClusterUnderTest.shared) }
        }

        /// A stack, its example, and what its example prints of the four years.
        private struct Stack: Sendable {
            let name: String
            let spec: String
            let printed: String
            let files: [String]
            /// The word that makes it write a file that differs each time, and that file.
            let option: String
            let differing: String
        }

        private static let stacks = [
            Stack(
                name: "python", spec: "python.yaml", printed: "days=1461 months=48 degrees_per_year=0.6164",
                files: ["fit.npy", "monthly.csv"], option: "--compress", differing: "monthly.csv.gz"),
            Stack(
                name: "r", spec: "r.yaml", printed: "days=1461 years=4 warm=211",
                files: ["station.geojson", "utm.csv", "years.csv"], option: "--geopackage", differing: "station.gpkg"),
        ]

        @Test("a Python stack and an R stack run side by side, and each is reproduced bit for bit three times")
        func sideBySide() async throws {
            let c = try c
            try await Self.prepare(c)
            let jobs = try await Self.both { try await Self.submit($0, c) }
            for (stack, job) in zip(Self.stacks, jobs) {
                #expect(try await c.ended(job).state == .known(.succeeded))
                #expect(try await c.ok("logs", job) == stack.printed)
                let published = try FileManager.default.contentsOfDirectory(atPath: "\(c.results)/\(job)/1").sorted()
                #expect(published == stack.files)
            }
            let images = try await Self.both { stack in
                try await c.job(jobs[stack.name == "python" ? 0 : 1]).image.digest
            }
            #expect(images[0] != images[1])
            let results = try await Self.both { stack in
                try await c.jobctl(["verify", jobs[stack.name == "python" ? 0 : 1], "--times", "3", "-o", "json"])
            }
            for (stack, result) in zip(Self.stacks, results) {
                #expect(result.exitCode == 0, "\(stack.name): \(result)")
                let document = try #require(
                    try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any])
                #expect(document["reproduced"] as? Bool == true, "\(stack.name)")
                #expect((document["runs"] as? [Any])?.count == 3, "\(stack.name)")
            }
        }

        @Test("a time stamp in a compressed table, and one in a GeoPackage, are caught: the file that differs is named")
        func caught() async throws {
            let c = try c
            try await Self.prepare(c)
            let results = try await Self.both { stack in
                let job = try await Self.submit(stack, c, with: stack.option)
                #expect(try await c.ended(job).state == .known(.succeeded))
                return try await c.jobctl(["verify", job])
            }
            for (stack, result) in zip(Self.stacks, results) {
                #expect(result.exitCode == 1, "\(stack.name): \(result)")
                #expect(result.output.contains("output/\(stack.differing)"), "\(stack.name): \(result)")
                for file in stack.files { #expect(!result.output.contains("output/\(file) "), "\(result)") }
            }
            #expect(results[0].output.contains("time stamp in the gzip header"), "\(results[0])")
        }

        // MARK: Leaves

        private static func both<Value: Sendable>(
            _ body: @Sendable (Stack) async throws -> Value
        ) async throws -> [Value] {
            async let first = body(stacks[0])
            async let second = body(stacks[1])
            return try await [first, second]
        }

        /// Both images are in the archive. Building them takes a minute once on a host.
        private static func prepare(_ c: ClusterUnderTest) async throws {
            for stack in stacks {
                let name = "lab/\(stack.name):1"
                if try await c.jobctl(["image", "show", name]).exitCode == 0 { continue }
                let file = "\(c.folder)/\(stack.name).tar"
                let built = try await runProcess(
                    repositoryFolder + "/Scripts/stack", [stack.name, file], limit: 600)
                guard built.exitCode == 0 else { throw ProcessFailure(description: "Scripts/stack: \(built)") }
                try await c.ok("image", "import", file, "-t", name)
                try FileManager.default.removeItem(atPath: file)
            }
        }

        /// - Parameter option: added to the example's command.
        private static func submit(_ stack: Stack, _ c: ClusterUnderTest, with option: String? = nil) async throws
            -> String
        {
            let folder = repositoryFolder + "/Examples/stacks"
            var spec = try String(contentsOfFile: "\(folder)/\(stack.spec)", encoding: .utf8)
            spec = spec.replacing(": ./", with: ": \(folder)/")
            if let option { spec = spec.replacing("\"]\n", with: "\", \"\(option)\"]\n") }
            return try await c.submit(spec, "--bind", "input=weather", "--bind", "output=results")
        }
    }
}
