// The product proves it: a job that is the same each time is said to be, one that is not is caught with the file, the
// byte and the cause, and data that has changed is not taken for a program that has.
import Foundation
import JobModel
import TestSupport
import Testing

extension EndToEnd {
    @Suite("verify, diff, history, lint and build", .sharedCluster(on: .oci), .timeLimit(.minutes(20)))
    struct VerifyTests {
        private var c: ClusterUnderTest {
            get throws { try #require(ClusterUnderTest.shared) }
        }

        private func spec(_ shell: String, name: String, more: String = "") -> String {
            """
            name: \(name)
            image: busybox:local
            shell: |
              \(shell)
            volumes: [input:/data:ro, output:/out:out]
            resources: {cpus: 0.1, memory: 32MiB}
            \(more)
            """
        }

        /// Submits it on the weather of 2014, and waits.
        private func run(_ shell: String, name: String, input: String = "weather/2014", more: String = "") async throws
            -> String
        {
            let c = try c
            return try await c.submit(
                spec(shell, name: name, more: more), "--bind", "input=\(input)", "--bind", "output=results", "--wait")
        }

        private func verification(_ result: ProcessResult) throws -> [String: Any] {
            try #require(try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any])
        }

        @Test("a deterministic job is reproduced three times, and publishes nothing more")
        func reproduced() async throws {
            let c = try c
            let job = try await run(
                "sort /data/seattle.csv > /out/sorted; mkdir /out/d; wc -l /data/* > /out/d/lines", name: "good")
            let result = try await c.jobctl(["verify", job, "--times", "3", "-o", "json"])
            #expect(result.exitCode == 0, "\(result)")
            let document = try verification(result)
            #expect(document["reproduced"] as? Bool == true)
            let runs = try #require(document["runs"] as? [[String: Any]])
            #expect(runs.count == 3 && runs.allSatisfy { $0["equal_tasks"] as? Int == 1 })
            for run in runs {
                let id = "\(try #require(run["job"] as? Int))"
                #expect(!FileManager.default.fileExists(atPath: "\(c.results)/\(id)"))
                #expect("\(try #require(try await c.job(id).verifies))" == job)
            }
            #expect(try await c.ok("verify", job).contains(#/1 +\d+ +succeeded +yes +1 of 1/#))
            // Where the job published at a place of its own name, a verification does not get in its way.
            let c2 = try await c.submit(
                spec("cp /data/seattle.csv /out/", name: "place"), "--bind", "input=weather/2014", "--bind",
                "output=results/${job.name}", "--wait")
            #expect(try await c.jobctl(["verify", c2]).exitCode == 0)
            #expect(try FileManager.default.contentsOfDirectory(atPath: c.results + "/place") == ["seattle.csv"])
        }

        @Test("a job that is not deterministic is caught: the file, the first byte and the cause are named")
        func caught() async throws {
            let c = try c
            let shell = """
                printf '\\037\\213\\010\\000%s\\000\\003same' \
                $(cut -c1-8 /proc/sys/kernel/random/uuid | cut -c1-4) > /out/data.gz; \
                echo "job $JOBCTL_JOB_ID" > /out/id; echo same > /out/same; \
                cat /proc/sys/kernel/random/uuid > /out/uuid; date +%s > /out/when; sleep 1.1
                """
            let job = try await run(shell, name: "bad")
            let result = try await c.jobctl(["verify", job, "-o", "json"])
            #expect(result.exitCode == 1 && result.errors.contains("job \(job) was not reproduced"), "\(result)")
            let run = try #require((try verification(result)["runs"] as? [[String: Any]])?.first)
            let bytes = try JSONSerialization.data(withJSONObject: try #require(run["differences"]))
            let differences = try WireJSON.decode([AttemptDifferences].self, from: bytes)
            let output = try #require(differences.first?.outputs["output"])
            let files = Dictionary(uniqueKeysWithValues: output.files.map { ($0.path, $0) })
            #expect(Set(files.keys) == ["data.gz", "id", "uuid", "when"] && output.total == 4)
            #expect(files["data.gz"]?.cause?.kind.value == .timestamp)
            #expect((4..<8).contains(files["data.gz"]?.firstDifference ?? 0))
            #expect(files["id"]?.cause?.kind.value == .jobID)
            // 'job 13' and 'job 14' begin to differ in the second digit.
            #expect((4..<8).contains(files["id"]?.firstDifference ?? 0))
            #expect(files["uuid"]?.cause?.kind.value == .random)
            #expect(files["when"]?.cause?.kind.value == .timestamp)
            #expect(differences.first?.inputs["input"]?.equal == true)
            let table = try await c.jobctl(["verify", job]).output
            #expect(
                table.contains(
                    #/output/data.gz +content +14 B +from byte \d: probably a time stamp in the gzip header/#))
            // The same between the job and its verification.
            let again = "\(try #require(run["job"] as? Int))"
            let diff = try await c.ok("diff", job, again)
            #expect(diff.contains(#/output output +NO/#) && diff.contains("output/uuid"))
            #expect(diff.contains("probably it holds the number of its job"))
        }

        @Test("one task of an array is verified alone; a failing verification says why")
        func arrays() async throws {
            let c = try c
            let job = try await run(
                "echo ${params.year} > /out/year; if [ ${task.index} = 2 ]; then date +%s > /out/now; sleep 1.1; fi",
                name: "array",
                more: "matrix: {year: [2012, 2013, 2014]}")
            let one = try await c.jobctl(["verify", job + ".1"])
            #expect(one.exitCode == 0, "\(one)")
            let all = try await c.jobctl(["verify", job])
            #expect(all.exitCode == 1 && all.output.contains("2 of 3") && all.output.contains("output/now"), "\(all)")
            #expect(try await c.jobctl(["verify", job + ".9"]).exitCode == 5)
        }

        @Test("when an input has changed, nothing is run and the changed files are named")
        func changedInput() async throws {
            let c = try c
            let folder = c.scratch + "/in-\(UInt32.random(in: 0 ... .max))"
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            try Data("1".utf8).write(to: URL(filePath: folder + "/stays"))
            try Data("2".utf8).write(to: URL(filePath: folder + "/changes"))
            let binding = "scratch/" + (folder as NSString).lastPathComponent
            let job = try await run("cat /data/* > /out/all", name: "changing", input: binding)
            try Data("3".utf8).write(to: URL(filePath: folder + "/changes"))
            try Data("4".utf8).write(to: URL(filePath: folder + "/new"))
            let result = try await c.jobctl(["verify", job, "--times", "2"])
            #expect(result.exitCode == 5, "\(result)")
            #expect(result.errors.contains("the input 'input' changed since attempt \(job).1.1"), "\(result)")
            #expect(result.output.contains(#/input/changes +content/#) && result.output.contains("input/new"))
            #expect(!result.output.contains("input/stays"))
        }

        @Test("history lists every run of a configuration with its data and results")
        func history() async throws {
            let c = try c
            let first = try await run("wc -l < /data/seattle.csv > /out/lines; sleep 0.1", name: "counted")
            let second = try await c.ok("rerun", "counted", "--bind", "input=weather/2012", "--wait", "-q")
            let third = try await c.ok("rerun", first, "--wait", "-q")
            let text = try await c.ok("history", "counted", "-o", "json")
            let runs = try WireJSON.decode(RunList.self, from: text.utf8).runs
            #expect(runs.map { "\($0.job.id)" } == [third, second, first])
            #expect(runs[0].inputs == runs[2].inputs && runs[0].outputs == runs[2].outputs)
            #expect(runs[0].outputs["output"]?.treeDigest != runs[1].outputs["output"]?.treeDigest)
            #expect(
                runs.allSatisfy { $0.workers.count == 1 && $0.outputs["output"]?.files == 1 && $0.wallSeconds > 0 },
                "\(runs)")
            let page = try await c.jobctl(["history", "counted", "--limit", "1", "--before", third])
            #expect(page.output.contains("input=weather/2012") && page.errors.contains("--before \(second)"), "\(page)")
        }

        @Test("a Dockerfile becomes an image that runs, and that says how it was made; lint names its faults")
        func build() async throws {
            let c = try c
            let folder = c.folder + "/stack-\(UInt32.random(in: 0 ... .max))"
            try FileManager.default.createDirectory(atPath: folder + "/bin", withIntermediateDirectories: true)
            try FileManager.default.copyItem(atPath: "/bin/busybox", toPath: folder + "/bin/busybox")
            let dockerfile = "FROM scratch\nARG WHO=nobody\nCOPY bin /bin\nENV WHO=$WHO API_TOKEN=abcdef\nVOLUME /bin\n"
            try dockerfile.write(toFile: folder + "/Dockerfile", atomically: true, encoding: .utf8)
            let storage = "[storage]\ndriver = \"vfs\"\ngraphroot = \"\(folder)-store\"\nrunroot = \"\(folder)-run\"\n"
            try storage.write(toFile: folder + "-storage.conf", atomically: true, encoding: .utf8)
            let environment = ["CONTAINERS_STORAGE_CONF": folder + "-storage.conf", "BUILDAH_ISOLATION": "chroot"]
            let words = [
                "image", "build", folder, "-t", "lab/stack:1", "--build-arg", "WHO=ada", "--tool", "buildah", "-q",
            ]
            let first = try await c.jobctl(words, environment: environment)
            #expect(first.exitCode == 0, "\(first)")
            // Without times in it, the same context is the same image.
            #expect(try await c.jobctl(words, environment: environment).line == first.line)
            let page = try await c.ok("image", "show", "lab/stack:1")
            #expect(page.contains(#/with: +buildah [0-9.]+/#) && page.contains(#/base: +scratch/#), "\(page)")
            #expect(page.contains("    COPY bin /bin") && page.contains(#/arguments: +WHO=ada/#))
            let run = try await c.jobctl([
                "run", "--image", "lab/stack:1", "--memory", "32MiB", "--", "/bin/busybox", "echo", "it runs",
            ])
            #expect(
                run.exitCode == 0 && run.output == "it runs\n" && run.errors.contains("looks like a secret"), "\(run)")
            let lint = try await c.jobctl(["image", "lint", "lab/stack:1", "--strict"])
            #expect(lint.exitCode == 5 && lint.output.contains(#/error +secret/#), "\(lint)")
            #expect(lint.output.contains("which hides 1 files") && !lint.output.contains("abcdef"))
            #expect(!lint.output.contains("base-not-pinned"))
            #expect(try await c.jobctl(["image", "build", c.scratch, "-t", "x:1"]).errors.contains("no Dockerfile"))
        }

        @Test("what has no output, or has not succeeded, is refused with the reason")
        func refused() async throws {
            let c = try c
            let none = try await c.submit(shell: "true")
            try await c.ok("wait", none)
            let result = try await c.jobctl(["verify", none])
            #expect(result.exitCode == 5 && result.errors.contains("no 'out' slot"))
            let failed = try await c.jobctl(
                ["submit", "-", "--bind", "input=weather/2014", "--bind", "output=results", "--wait", "-q"],
                input: spec("exit 3", name: "failing"))
            #expect(failed.exitCode == 1)
            let refused = try await c.jobctl(["verify", failed.line])
            #expect(refused.exitCode == 5 && refused.errors.contains("is failed"), "\(refused)")
            #expect(try await c.jobctl(["verify", "999999"]).exitCode == 4)
        }
    }
}
