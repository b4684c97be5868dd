// The container rules (DESIGN section 5) through the whole path: what a submitted program sees of itself, and what the
// host sees of it.
import Foundation
import JobModel
import TestSupport
import Testing

extension EndToEnd {
    @Suite("container rules", .serialized, .timeLimit(.minutes(20))) struct ContainerRuleTests {
        private static let look = """
            image: busybox:local
            command:
              - /bin/sh
              - -c
              - |
                echo "ids $(id -u):$(id -g):$(id -G)"
                grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status | tr -d '\\t'
                for f in / /bin /etc; do touch $f/x 2>&1 | grep -c -i 'read-only'; done
                echo "links $(ls /sys/class/net | tr '\\n' ' ')"
                echo "environment $(env | cut -d= -f1 | sort | tr '\\n' ' ')"
                echo "$LANG $TZ"
                echo mine > /out/made
                touch /data/x 2>&1 | grep -c -i 'read-only'
                grep -E ' /(data|out) ' /proc/mounts | grep -c nosuid,nodev
                if [ -e /var/run/docker.sock ]; then echo socket; fi
                exec sleep 600
            volumes: [input:/data:ro, output:/out:out]
            resources: {cpus: 0.1, memory: 32MiB}

            """

        @Test(
            "a job of root runs as 65532, one of a user as that user; nobody gets capabilities, network or the host",
            arguments: EngineUnderTest.Kind.allCases)
        func confined(on kind: EngineUnderTest.Kind) async throws {
            try await ClusterUnderTest.with(engine: kind) { c in
                let token = try await c.ok("user", "add", "ada", "--uid", "1234", "--gid", "5678", "-q")
                let url = try await c.url()
                let ada = ["JOBCTL_URL": url, "JOBCTL_TOKEN": token]
                chmod(c.results, 0o777)
                for (environment, uid, gid) in [([:], 65532, 65532), (ada, 1234, 5678)] {
                    let id = try await c.submit(
                        Self.look, "--bind", "input=weather/2014", "--bind", "output=results", environment: environment)
                    try await eventually("the program sleeps") {
                        try await runProcess("pgrep", ["-u", String(uid), "-f", "^sleep 600"]).exitCode == 0
                    }
                    try await Self.expectOutside(uid: uid, gid: gid)
                    try await eventually("its output is there") {
                        try await c.ok("logs", id).split(separator: "\n").count >= 16
                    }
                    try await Self.expectInside(try await c.ok("logs", id), uid: uid, gid: gid, kind)
                    try await c.ok("cancel", id)
                    #expect(try await c.ended(id).state == .known(.cancelled))
                }
            }
        }

        /// What the host's process table says of the program.
        private static func expectOutside(uid: Int, gid: Int) async throws {
            let found = try await runProcess("pgrep", ["-u", String(uid), "-f", "^sleep 600"])
            let id = try #require(found.output.split(separator: "\n").first)
            let status = try String(contentsOfFile: "/proc/\(id)/status", encoding: .utf8)
            #expect(status.contains("Uid:\t\(uid)\t\(uid)\t\(uid)\t\(uid)\n"))
            #expect(status.contains("Gid:\t\(gid)\t\(gid)\t\(gid)\t\(gid)\n"))
            for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
                #expect(status.contains("\(name):\t0000000000000000\n"), "\(name)")
            }
            #expect(status.contains("NoNewPrivs:\t1\n") && status.contains("Seccomp:\t2\n"))
            for name in ["net", "pid", "mnt", "ipc", "uts"] {
                let (inside, outside) = (namespace(name, of: String(id)), namespace(name, of: "self"))
                #expect(inside != nil && inside != outside, "\(name)")
            }
            let mounts = try String(contentsOfFile: "/proc/\(id)/mounts", encoding: .utf8).split(separator: "\n")
            let root = try #require(mounts.first { $0.split(separator: " ").dropFirst().first == "/" })
            #expect(root.split(separator: " ")[3].split(separator: ",").contains("ro"))
        }

        private static func namespace(_ name: String, of process: String) -> String? {
            try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(process)/ns/\(name)")
        }

        /// What the program saw.
        private static func expectInside(_ log: String, uid: Int, gid: Int, _ kind: EngineUnderTest.Kind) async throws {
            let lines = log.split(separator: "\n").map(String.init)
            #expect(lines.first == "ids \(uid):\(gid):\(gid)")
            for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
                #expect(lines.contains("\(name):0000000000000000"), "\(name)")
            }
            #expect(lines.contains("NoNewPrivs:1") && lines.contains("Seccomp:2"))
            #expect(lines.contains("links lo "))
            #expect(lines.contains("C.UTF-8 UTC"), "\(log)")
            let environment = try #require(lines.first { $0.hasPrefix("environment ") })
            let known: Set<String> = [
                "HOME", "HOSTNAME", "JOBCTL_ATTEMPT", "JOBCTL_CPUS", "JOBCTL_JOB_ID", "JOBCTL_MEMORY_BYTES",
                "JOBCTL_TASK_INDEX", "LANG", "PATH", "PWD", "SHLVL", "TZ", "container", "TERM",
            ]
            let names = Set(environment.split(separator: " ").dropFirst().map(String.init))
            #expect(names.isSubset(of: known), "\(names.subtracting(known))")
            // Three read-only places, a read-only input, and how many of the two mounts are nosuid and nodev: dockerd's
            // runc 1.1 forgets both when it makes a mount read-only.
            #expect(Array(lines[8..<11]) == ["1", "1", "1"], "\(log)")
            #expect(Array(lines[14...]) == ["1", kind == .docker ? "1" : "2"], "\(log)")
        }
    }
}

extension ClusterUnderTest {
    /// The scheduler's URL, from the context file.
    func url() async throws -> String {
        let text = try String(contentsOfFile: folder + "/context.yaml", encoding: .utf8)
        let match = try #require(text.firstMatch(of: #/url: "(.*)"/#))
        return String(match.1)
    }
}
