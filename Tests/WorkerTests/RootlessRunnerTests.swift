// A container that an ordinary user's runner starts: the same walls as root's, in every way that a host may allow.
import Foundation
import Glibc
import JobModel
import RunnerCore
import TestSupport
import Testing

@testable import Worker

@Suite("a runner without root", .serialized, .timeLimit(.minutes(20)))
struct RootlessRunnerTests {
    @Test("what a program must not do is refused, and it is nobody's root", arguments: RootlessWorld.Way.all)
    func walls(_ way: RootlessWorld.Way) async throws {
        let attempts = [
            "mount -t tmpfs none /tmp", "mount -o remount,rw /", "umount /run", "unshare -U true", "unshare -n true",
            "chroot / true", "mknod /tmp/node c 1 3", "hostname other", "dmesg", "swapoff -a",
            "echo 1 > /proc/sys/kernel/panic", "echo b > /proc/sysrq-trigger", "cat /proc/1/environ",
            "cat /proc/1/root/both", "ls /proc/1/cwd/", "echo x > /both", "echo x > /closed/file", "mkdir /new",
            "echo x > /dev/init", "echo x > /sys/fs/cgroup/cgroup.procs", "chown 0:0 /tmp", "nice -n -5 true",
            "cat /proc/keys | grep .", "ip link set lo down", "echo 0 0 1 > /proc/self/uid_map",
            "grep -v '^ *4321 ' /proc/self/uid_map", "grep -v '^ *4321 ' /proc/self/gid_map",
        ]
        let script = attempts.map { "(\($0)) >/dev/null 2>&1 && echo '\($0) worked'" }.joined(separator: "\n")
        let facts = """

            id -u; id -g; ulimit -u; ls /sys/class/net
            grep -E '^(Cap(Eff|Prm|Bnd)|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t'
            kill -9 1; kill -STOP 1; echo alive
            """
        try await RootlessWorld.with(way) { world in
            try world.describe(script + facts)
            let (end, output, errors) = try await world.run()
            let expected = """
                4321
                4321
                4096
                lo
                CapPrm:0000000000000000
                CapEff:0000000000000000
                CapBnd:0000000000000000
                NoNewPrivs:1
                Seccomp:2
                alive

                """
            #expect(end.verdict == .exited(code: 0) && output == expected, "\(end)\n\(output)\(errors)")
            #expect(try #require(end.cpuMicroseconds) > 0 && end.peakMemory ?? 0 > 0)
            try expectNothingLeft(world)
        }
    }

    @Test(
        "the root shows the layers as an overlay does, and volumes as they are bound", arguments: RootlessWorld.Way.all)
    func root(_ way: RootlessWorld.Way) async throws {
        try await RootlessWorld.with(way) { world in
            let script = """
                cat /both /opaque/*; ls -d /hidden /gone /work 2>/dev/null; cat /closed/file; cat /data/data
                echo no 2>/dev/null > /data/data || echo ro; echo yes > /out/file; id -G | tr ' ' '\\n' | grep -c 65534
                grep -cE ' (shared|master):' /proc/self/mountinfo
                """
            try world.describe(
                script,
                mounts: [
                    ContainerMount(
                        source: world.volume + "/in", target: "/data", readOnly: true, volumeRoot: world.volume),
                    ContainerMount(
                        source: world.volume + "/out", target: "/out", readOnly: false, volumeRoot: world.volume),
                ])
            let (end, output, errors) = try await world.run()
            // A group that cannot be given up shows as one that the namespace does not know.
            let groups = way.hasRange ? 0 : 1
            #expect(output == "top\ntop\n/work\nshut\ndata\nro\n\(groups)\n0\n", "\(end)\n\(errors)")
            var file = stat()
            #expect(stat(world.volume + "/out/file", &file) == 0 && file.st_uid == RootlessWorld.uid)
            #expect(file.st_gid == RootlessWorld.uid)
            try expectNothingLeft(world)
        }
    }

    private static let one = RootlessWorld.Way(kind: .crun, form: .overlay, hasRange: false)

    @Test("a folder of a volume that became a link after it was checked is not mounted")
    func swappedFolder() async throws {
        try await RootlessWorld.with(Self.one) { world in
            let mount = ContainerMount(
                source: world.volume + "/in", target: "/data", readOnly: true, volumeRoot: world.volume)
            try world.describe("cat /data/data", mounts: [mount])
            try FileManager.default.removeItem(atPath: world.volume + "/in")
            try FileManager.default.createSymbolicLink(
                atPath: world.volume + "/in", withDestinationPath: world.folder + "/outside")
            let (end, output, _) = try await world.run()
            guard case .notStarted(let why) = end.verdict else { throw ProcessFailure(description: "\(end) \(output)") }
            #expect(why.contains("\(world.volume)/in") && output.isEmpty)
            try expectNothingLeft(world)
        }
    }

    @Test("processes beyond the limit are refused, and those outside of the container are not counted")
    func manyProcesses() async throws {
        try await RootlessWorld.with(Self.one) { world in
            try world.describe("while true; do sleep 1000 & echo; done")
            let (end, output, errors) = try await world.run()
            #expect(errors.contains("Resource temporarily unavailable"), "\(end)")
            #expect((4000...4096).contains(output.count))
            try expectNothingLeft(world)
        }
    }

    @Test("with the host's network the host's groups stay hidden", arguments: [RuntimeKind.crun, .runc])
    func hostNetwork(_ kind: RuntimeKind) async throws {
        try await RootlessWorld.with(RootlessWorld.Way(kind: kind, form: .overlay, hasRange: false)) { world in
            try world.describe("cat /proc/net/dev | wc -l; ls /sys/fs/cgroup", network: .host)
            let (end, output, errors) = try await world.run()
            let lines = try String(contentsOfFile: "/proc/net/dev", encoding: .utf8).split(separator: "\n").count
            #expect(end.verdict == .exited(code: 0) && output == "\(lines)\n", "\(end)\n\(output)\(errors)")
        }
    }

    @Test("the time limit ends it, with all that it started")
    func timeLimit() async throws {
        try await RootlessWorld.with(Self.one) { world in
            try world.describe("trap '' TERM; sleep 1000 & sleep 1000", timeLimit: TimeSpan(milliseconds: 300))
            let end = try await world.run().end
            #expect(end.stopped == .timeLimit && end.verdict == .exited(code: 137))
            try expectNothingLeft(world)
        }
    }

    @Test("ranges are those of the user's name or number, and nonsense counts for nothing")
    func ranges() {
        func range(_ table: String) -> IDRange? { SubordinateIDs.range(in: table, uid: 1000, name: "ada", own: 1000) }
        #expect(range("bob:100000:65536\nada:200000:65536\n") == IDRange(start: 200_000, count: 65_536))
        #expect(range("1000:300000:10\nada:200000:65536\n") == IDRange(start: 200_000, count: 65_536))
        for line in [
            "", "ada", "ada:1", "ada:x:1", "ada:0:65536", "ada:500:10000", "ada:4294967295:2", "ada:-1:5", "ada:5000:0",
            "ada:99999999999:1", "adas:200000:65536", "ada:200000:65536:1",
        ] { #expect(range(line) == nil, "\(line)") }
    }

    @Test("jobs of anybody else are refused with a sentence that names both")
    func otherSubmitter() throws {
        let host = Self.one.host
        try host.check(Identity(name: UserName(unchecked: "ada"), uid: RootlessWorld.uid, gid: RootlessWorld.uid))
        let error = try #require(throws: EngineError.self) {
            try host.check(Identity(name: UserName(unchecked: "bob"), uid: 77, gid: 78))
        }
        #expect("\(error)".contains("4321:4321") && "\(error)".contains("bob is 77:78"))
    }

    private func expectNothingLeft(_ world: RootlessWorld) throws {
        let scratch = try FileManager.default.contentsOfDirectory(atPath: world.attempt.scratch)
        #expect(scratch.isEmpty && !FileManager.default.fileExists(atPath: world.attempt.tree))
        let mounts = try String(contentsOfFile: "/proc/self/mountinfo", encoding: .utf8)
        #expect(!mounts.contains(world.folder))
        for entry in try FileManager.default.contentsOfDirectory(atPath: "/proc") {
            guard let process = pid_t(entry), process != getpid() else { continue }
            let command = String(decoding: readFile("/proc/\(process)/cmdline", limit: 1 << 20) ?? [], as: UTF8.self)
            #expect(!command.contains(world.folder), "\(command)")
        }
    }
}
