// An ordinary user without sudo, on the engine oci: a whole cluster of their own, the main job on it, and nothing left
// but its data. What the host gives the user (subordinate ids, the programs that map them) is what the test says, in a
// mount namespace of its own.
import Foundation
import JobModel
import TestSupport
import Testing

extension EndToEnd {
    @Suite("a cluster without root", .serialized, .timeLimit(.minutes(20))) struct RootlessTests {
        @Test("the main job runs, and what it made belongs to the user", arguments: OrdinaryUser.Host.allCases)
        func mainJob(_ host: OrdinaryUser.Host) async throws {
            try await OrdinaryUser.with(host) { user in
                let first = try await user.jobctl(
                    "submit", user.examples + "/yearly.yaml", "--bind", "input=weather/2014", "--bind",
                    "output=results", "--wait", "-q")
                let second = try await user.jobctl(
                    "rerun", "yearly-weather", "--bind", "input=weather/2015", "--wait", "-q")
                for (id, mean, rain) in [(first, "16.9959", "1232.8"), (second, "17.4279", "1139.2")] {
                    let text = "station=seattle days=365 mean_temp_max=\(mean) total_precipitation=\(rain)"
                    #expect(try await user.jobctl("logs", id) == text)
                    #expect(
                        try String(contentsOfFile: "\(user.results)/\(id)/1/yearly.txt", encoding: .utf8) == text + "\n"
                    )
                }
                try await expectWeaknesses(user, host)
                try await expectSession(user)
                try await expectRefusal(user)
                _ = try await user.jobctl("down")
                try await expectNothingLeft(user)
            }
        }

        private func expectWeaknesses(_ user: OrdinaryUser, _ host: OrdinaryUser.Host) async throws {
            let name = try await user.jobctl("worker", "-q")
            let page = try await user.jobctl("worker", "show", name)
            #expect(page.contains(#/weaknesses: +the worker runs without root/#), "\(page)")
            let worker = try WireJSON.decode(
                WorkerDocument.self, from: try await user.jobctl("worker", "show", name, "-o", "json").utf8)
            let sentences = try #require(worker.weaknesses)
            #expect(worker.engines == ["oci"] && sentences.contains { $0.contains("limits are not enforced") })
            // Only with ids to give away can groups be given up.
            #expect(sentences.contains { $0.contains("supplementary groups") } == (host == .bare))
        }

        private func expectSession(_ user: OrdinaryUser) async throws {
            try "image: busybox:local\nshell: echo up; exec sleep 600\n".write(
                toFile: user.folder + "/long.yaml", atomically: true, encoding: .utf8)
            let id = try await user.jobctl("submit", user.folder + "/long.yaml", "-q")
            try await eventually("it has printed something") { try await user.jobctl("logs", id) == "up" }
            let seen = try await user.jobctl(
                "exec", id, "--", "sh", "-c", "id -u; pidof sleep | wc -w; echo $HOSTNAME")
            #expect(seen == "\(OrdinaryUser.uid)\n1\n\(id).1.1")
            _ = try await user.jobctl("cancel", id)
            try await eventually("it has ended") {
                try WireJSON.decode(JobDocument.self, from: try await user.jobctl("show", id, "-o", "json").utf8).state
                    == .known(.cancelled)
            }
        }

        private func expectRefusal(_ user: OrdinaryUser) async throws {
            let token = try await user.jobctl("user", "add", "bob", "--uid", "77", "--gid", "77", "-q")
            let id = try await user.jobctl(
                "submit", user.examples + "/yearly.yaml", "--bind", "input=weather/2014", "--bind", "output=results",
                "-q", environment: ["JOBCTL_TOKEN": token])
            try await eventually("the worker has refused it") {
                try await user.jobctl("show", id).contains("runs that user's jobs only: bob is 77:77")
            }
            _ = try await user.jobctl("cancel", id)
        }

        private func expectNothingLeft(_ user: OrdinaryUser) async throws {
            let left = try await runProcess("pgrep", ["-f", user.folder + "/"])
            #expect(left.output.isEmpty)
            let mounts = try String(contentsOfFile: "/proc/self/mountinfo", encoding: .utf8)
            #expect(!mounts.contains(user.folder))
            let strangers = try await runProcess("find", [user.home, user.results, "!", "-uid", "\(OrdinaryUser.uid)"])
            #expect(strangers.output.isEmpty, "\(strangers)")
            let files = try await runProcess(
                "find",
                [
                    user.home, "-type", "f", "!", "-path", user.home + "/.local/share/jobctl/*", "!", "-path",
                    user.examples + "/*",
                ])
            #expect(files.line == user.home + "/.config/jobctl/config.yaml")
            let removed = try await user.run("rm", "-rf", user.home + "/.local")
            #expect(removed.exitCode == 0, "\(removed)")
        }
    }
}

/// A user with a home, programs and nothing else.
struct OrdinaryUser: Sendable {
    /// What the host has for them.
    enum Host: String, Sendable, CaseIterable {
        /// No subordinate ids, and no program to map them.
        case bare
        case subordinateIDs
    }
    static let uid = 4321

    let host: Host
    let folder: String
    var home: String { folder + "/home" }
    var results: String { folder + "/results" }
    var examples: String { home + "/weather" }

    /// With a cluster that is up, and the image `busybox:local` in its archive.
    static func with(_ host: Host, _ body: (OrdinaryUser) async throws -> Void) async throws {
        let user = OrdinaryUser(host: host, folder: try temporaryFolder("user"))
        await ClusterGate.shared.enter()
        let result: Result<Void, any Error>
        do {
            try await user.prepare()
            let runtime = host == .bare ? ["--oci-runtime", "crun"] : ["--engine", "oci", "--oci-runtime", "runc"]
            let options = ["weather=\(user.examples):ro", "results=\(user.results):rw"].flatMap { ["--volume", $0] }
            _ = try await user.jobctl(["up", "--detach", "--listen", "127.0.0.1:0"] + runtime + options)
            _ = try await user.jobctl("image", "import", user.folder + "/first.tar", "-t", "busybox:local")
            result = .success(try await body(user))
        } catch {
            result = .failure(error)
        }
        _ = try? await user.jobctl("down")
        await sweep(user.folder)
        await ClusterGate.shared.leave()
        try result.get()
    }

    private func prepare() async throws {
        _ = try await busyboxArchive(in: folder)
        let programs = (try builtProgram("jobctl") as NSString).deletingLastPathComponent
        let script = """
            set -e
            cd "$1"; mkdir bin home results
            for name in jobctl jobctl-scheduler jobctl-worker jobctl-runner; do cp "$2/$name" bin/; done
            cp -r "$3" home/weather
            cp /etc/passwd passwd; echo "jobctl-user:x:\(Self.uid):\(Self.uid)::$1/home:/bin/sh" >> passwd
            : > nothing; echo "jobctl-user:2000000:65536" > ids
            chown -R \(Self.uid):\(Self.uid) home results
            """
        let made = try await runProcess(
            "sh", ["-c", script, "prepare", folder, programs, repositoryFolder + "/Examples/weather"])
        guard made.exitCode == 0 else { throw ProcessFailure(description: "no home: \(made)") }
    }

    /// Runs a program as the user, who stands in a folder of nobody's.
    func run(_ words: String..., environment: [String: String] = [:]) async throws -> ProcessResult {
        try await run(words, environment)
    }

    private func run(_ words: [String], _ environment: [String: String]) async throws -> ProcessResult {
        let ids = host == .bare ? "nothing" : "ids"
        var script = """
            set -e
            mount --bind "$0/passwd" /etc/passwd
            for file in /etc/subuid /etc/subgid; do [ ! -e $file ] || mount --bind "$0/\(ids)" $file; done

            """
        if host == .bare {
            script += """
                for program in /usr/bin/newuidmap /usr/bin/newgidmap; do
                    [ ! -e $program ] || mount --bind "$0/nothing" $program
                done

                """
        }
        script += "exec setpriv --reuid \(Self.uid) --regid \(Self.uid) --groups \(Self.uid),1234567 \"$@\""
        return try await runProcess(
            "unshare", ["--mount", "sh", "-c", script, folder] + words,
            environment: ["HOME": home].merging(environment) { $1 }, folder: "/")
    }

    /// Runs jobctl as the user; it must succeed.
    /// - Returns: standard output without the last line break.
    func jobctl(_ arguments: String..., environment: [String: String] = [:]) async throws -> String {
        try await jobctl(arguments, environment)
    }

    private func jobctl(_ arguments: [String], _ environment: [String: String] = [:]) async throws -> String {
        let result = try await run([folder + "/bin/jobctl"] + arguments, environment)
        guard result.exitCode == 0 else {
            let log = home + "/.local/share/jobctl/worker.log"
            let words = (try? String(contentsOfFile: log, encoding: .utf8)) ?? ""
            throw ProcessFailure(description: "\(arguments): \(result)\(words.suffix(1500))")
        }
        return result.line
    }
}
