// The main job: last year's configuration on this year's data, through the command line, on each engine.
import Foundation
import JobModel
import TestSupport
import Testing

extension EndToEnd {
    @Suite("the main job", .serialized, .timeLimit(.minutes(20))) struct MainJobTests {
        private static let year2014 = "station=seattle days=365 mean_temp_max=16.9959 total_precipitation=1232.8"
        private static let year2015 = "station=seattle days=365 mean_temp_max=17.4279 total_precipitation=1139.2"

        @Test(
            "a configuration that ran on 2014 runs on 2015, and the results are the published files of its submitter",
            arguments: EngineUnderTest.Kind.allCases)
        func mainJob(on kind: EngineUnderTest.Kind) async throws {
            try await ClusterUnderTest.with(engine: kind, submitter: 1234) { c in
                let spec = repositoryFolder + "/Examples/weather/yearly.yaml"
                let first = try await c.ok(
                    "submit", spec, "--bind", "input=weather/2014", "--bind", "output=results", "-q")
                try await c.ok("wait", first)
                #expect(try await c.ok("logs", first) == Self.year2014)

                let second = try await c.ok("rerun", "yearly-weather", "--bind", "input=weather/2015", "-q")
                try await c.ok("wait", second)
                #expect(try await c.ok("logs", second) == Self.year2015)

                let (a, b) = (try await c.job(first), try await c.job(second))
                #expect(a.configuration.digest == b.configuration.digest && a.image.digest == b.image.digest)
                #expect(a.state == .known(.succeeded) && b.state == .known(.succeeded))
                #expect(a.owner == "ada" && b.rerunOf == a.id)
                try Self.expect(Self.year2014, at: "\(c.results)/\(first)/1/yearly.txt")
                try Self.expect(Self.year2015, at: "\(c.results)/\(second)/1/yearly.txt")

                let differences = try await c.ok("diff", first, second)
                #expect(differences.contains(#/configuration +yes/#) && differences.contains(#/input input +NO/#))
                let (x, y) = (try #require(try await c.attempts(of: first).last), try await c.attempts(of: second))
                #expect(x.exitCode == 0 && x.reason == .known(.exitCode) && x.engine == kind.rawValue)
                #expect(x.inputs["input"]?.treeDigest != nil && x.inputs["input"]?.files == 1)
                #expect(x.outputs["output"]?.files == 1)
                #expect(x.inputs["input"]?.treeDigest != y.last?.inputs["input"]?.treeDigest)
                #expect(try #require(x.usage).maxMemory.bytes > 0)
            }
        }

        private static func expect(_ text: String, at path: String) throws {
            #expect(try String(contentsOfFile: path, encoding: .utf8) == text + "\n")
            var (file, folder) = (stat(), stat())
            #expect(stat(path, &file) == 0 && file.st_uid == 1234 && file.st_gid == 1234)
            #expect(stat((path as NSString).deletingLastPathComponent, &folder) == 0 && folder.st_uid == 1234)
        }

        @Test("a configuration runs again by job id, name, name and version, and digest; with --bind and --param")
        func reruns() async throws {
            try await ClusterUnderTest.with(engine: .oci) { c in
                let spec = """
                    name: count
                    image: busybox:local
                    command: ["/bin/sh", "-c", "wc -l < /data/seattle.csv; echo $1", "count", "${params.word}"]
                    volumes: [input:/data:ro]
                    resources: {cpus: 0.1, memory: 32MiB}
                    parameters: {word: first}
                    """
                let first = try await c.submit(spec, "--bind", "input=weather/2014", "--wait")
                let digest = try await c.job(first).configuration.digest
                #expect(try await c.ok("logs", first) == "366\nfirst")
                for (source, word) in [(first, "by-id"), ("count", "by-name"), ("count@1", "v1"), ("\(digest)", "d")] {
                    let again = try await c.ok(
                        "rerun", source, "--bind", "input=weather/2012", "--param", "word=\(word)", "--wait", "-q")
                    #expect(try await c.ok("logs", again) == "367\n\(word)", "rerun \(source)")
                    let job = try await c.job(again)
                    #expect(job.configuration.digest == digest && job.bindings == ["input": "weather/2012"])
                }
                // One byte more is another version; the first stays what it was.
                let changed = spec.replacing("echo $1", with: "echo $1 $1")
                let second = try await c.submit(changed, "--bind", "input=weather/2014", "--wait")
                #expect(try await c.job(second).configuration.version == 2)
                let old = try await c.ok("rerun", "count@1", "--wait", "-q")
                #expect(try await c.job(old).configuration.digest == digest)
                let new = try await c.ok("rerun", "count", "--wait", "-q")
                #expect(try await c.ok("logs", new) == "366\nfirst first")
                let versions = try await c.ok("config", "list", "count", "-q")
                #expect(versions.split(separator: "\n").count == 2 && versions.contains("\(digest)"))
            }
        }

        @Test("the matrix example gives one task and one output folder for each year")
        func matrix() async throws {
            try await ClusterUnderTest.with(engine: .oci) { c in
                let spec = repositoryFolder + "/Examples/weather/yearly-matrix.yaml"
                let id = try await c.ok(
                    "submit", spec, "--bind", "input=weather", "--bind", "output=results/${params.year}", "--wait", "-q"
                )
                for (year, mean) in [(2012, 15.2768), (2013, 16.0589), (2014, 16.9959), (2015, 17.4279)] {
                    let text = try String(contentsOfFile: "\(c.results)/\(year)/mean.txt", encoding: .utf8)
                    #expect(text.hasPrefix("\(year) ") && Double(text.dropFirst(5).dropLast()) == mean, "\(text)")
                }
                let job = try await c.job(id)
                #expect(job.tasks.total == 4 && job.tasks.succeeded == 4)
                let listed = try await c.ok("show", id, "--tasks")
                #expect(listed.contains("year=2012") && listed.contains("year=2015"))
            }
        }
    }
}
