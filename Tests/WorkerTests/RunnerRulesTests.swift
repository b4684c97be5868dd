// The container rules that only the engine without a daemon must keep by itself: a program that tries to break out, the
// host's view of it, the bounds of its output, and many runners at once.
import Foundation
import Glibc
import JobModel
import RunnerCore
import TestSupport
import Testing

@testable import Worker

@Suite("a container's walls: crun", .serialized, InEngineWorld(.oci(.crun)), .timeLimit(.minutes(20)))
struct RunnerCrunRulesTests {
    @Test("a wall holds", arguments: RunnerRule.all)
    func rule(_ rule: EnginePromise) async throws { try await rule.check(try #require(EngineWorld.current)) }

    @Test("many runners at once take little memory, and leave nothing")
    func many() async throws {
        let world = try #require(EngineWorld.current)
        let count = ProcessInfo.processInfo.environment["JOBCTL_TEST_RUNNERS"].flatMap { Int64($0) } ?? 48
        try await world.withRunners { engine, _ in
            var ids: [String] = []
            for task in 1...count {
                let command = ["sh", "-c", "echo up; sleep 1000"]
                ids.append(try await engine.begin(world.specification(command, task: task, memory: 16 << 20)))
            }
            try await eventually("all have started") {
                try ids.allSatisfy { (readFile(try engine.known($0).folder.stdout, limit: 64)?.count ?? 0) > 0 }
            }
            let shares = try ids.map { try proportionalMemory(of: engine.runner(of: $0)) }
            print(
                "\(count) runners: \(shares.max() ?? 0) KiB at most, \(shares.reduce(0, +) / shares.count) KiB on average"
            )
            #expect(try #require(shares.max()) < 4096)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for id in ids { group.addTask { try await engine.remove(id) } }
                try await group.waitForAll()
            }
            #expect(try engine.leftovers() == [])
        }
    }

    /// The proportional share of memory, in KiB.
    private func proportionalMemory(of process: pid_t) throws -> Int {
        let text = try String(contentsOfFile: "/proc/\(process)/smaps_rollup", encoding: .utf8)
        let line = try #require(text.split(separator: "\n").first { $0.hasPrefix("Pss:") })
        return try #require(line.split(separator: " ").compactMap { Int($0) }.first)
    }
}

@Suite("a container's walls: runc", .serialized, InEngineWorld(.oci(.runc)), .timeLimit(.minutes(20)))
struct RunnerRuncRulesTests {
    @Test("a wall holds", arguments: RunnerRule.all)
    func rule(_ rule: EnginePromise) async throws { try await rule.check(try #require(EngineWorld.current)) }
}

private enum RunnerRule {
    static let all = walls + views + outputs

    private static let walls = [
        EnginePromise("what a program must not do is refused") { world in
            let attempts = [
                "mount -t tmpfs none /tmp", "mount -o remount,rw /", "umount /run", "unshare -U true",
                "unshare -n true",
                "chroot / true", "mknod /tmp/node c 1 3", "hostname other", "dmesg", "swapoff -a",
                "echo 1 > /proc/sys/kernel/panic", "echo b > /proc/sysrq-trigger", "ls /proc/1/fd/",
                "cat /proc/1/environ",
                "echo x > /etc/passwd", "echo x > /dev/init", "echo x > /sys/fs/cgroup/cgroup.procs",
                "chown 0:0 /tmp", "nice -n -5 true", "cat /proc/keys | grep .", "ip link set lo down",
            ]
            try await world.withRunners { engine, _ in
                let script = attempts.map { "(\($0)) >/dev/null 2>&1 && echo '\($0) worked'" }.joined(separator: "\n")
                let (_, record, output) = try await engine.run(world.specification(["sh", "-c", script + "\ntrue"]))
                #expect(record.exitCode == 0 && output.text == "", "\(output)")
            }
        },
        EnginePromise("nobody in the container can end or stop its init") { world in
            try await world.withRunners { engine, _ in
                let script = "kill -9 1; kill -STOP 1; kill -TERM 1; sleep 0.2; echo alive"
                let (_, record, output) = try await engine.run(
                    world.specification(["sh", "-c", "trap '' TERM; " + script]))
                #expect(record.exitCode == 0 && output.text == "alive\n")
            }
        },
        EnginePromise("processes that the program leaves behind end with it") { world in
            try await world.withRunners { engine, _ in
                let script = "(trap '' TERM HUP; sleep 1000) & (setsid sleep 1000 &) ; exit 4"
                let id = try await engine.begin(world.specification(["sh", "-c", script]))
                #expect(try await engine.wait(id).exitCode == 4)
                #expect(engine.members(of: id).isEmpty)
            }
        },
        EnginePromise("the number of processes is limited") { world in
            try await world.withRunners { engine, _ in
                let script = "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null; true"
                let text = try await engine.run(world.specification(["sh", "-c", script])).output.text
                #expect(text == "4096\n")
            }
        },
        EnginePromise("nothing is mounted over the runtime's own folders, and nothing runs as root") { world in
            try await world.withRunners { engine, _ in
                for target in ["/", "/proc", "/proc/1", "/sys/fs", "/dev/init"] {
                    let mount = ContainerMount(source: world.folder, target: target, readOnly: true)
                    await #expect(throws: EngineError.self, "\(target)") {
                        try await engine.create(world.specification(["true"], mounts: [mount]))
                    }
                }
                let found = try await engine.list()
                #expect(found.isEmpty)
                var root = world.specification(["id", "-u"])
                root.user = Identity(name: root.user.name, uid: 0, gid: 0)
                let text = try await engine.run(root).output.text
                #expect(text == "65532\n")
            }
        },
    ]

    private static let views = [
        EnginePromise("the host sees the submitter's process, in its groups, and no mount of its own") { world in
            try await world.withRunners { engine, worker in
                let before = try String(contentsOfFile: "/proc/self/mountinfo", encoding: .utf8)
                let id = try await engine.runningProgram(world.specification(["sh", "-c", "echo up; exec sleep 1000"]))
                let members = engine.members(of: id)
                #expect(members.count == 2)
                for process in members {
                    let status = try String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8)
                    #expect(
                        status.contains("Uid:\t1234\t1234\t1234\t1234\n")
                            && status.contains("Gid:\t5678\t5678\t5678\t5678\n"))
                    #expect(status.contains("CapBnd:\t0000000000000000\n") && status.contains("NoNewPrivs:\t1\n"))
                    #expect(status.contains("Seccomp:\t2\n"))
                    #expect(try String(contentsOfFile: "/proc/\(process)/oom_score_adj", encoding: .utf8) == "0\n")
                    let mounts = try String(contentsOfFile: "/proc/\(process)/mountinfo", encoding: .utf8)
                    for line in mounts.split(separator: "\n") {
                        let fields = line.split(separator: " ")
                        #expect(!fields.contains { $0.hasPrefix("shared:") || $0.hasPrefix("master:") }, "\(line)")
                    }
                }
                let after = try String(contentsOfFile: "/proc/self/mountinfo", encoding: .utf8)
                #expect(!after.contains(engine.setup.folder) && !before.contains(engine.setup.folder))
                let runner = try engine.runner(of: id)
                #expect(try String(contentsOfFile: "/proc/\(runner)/comm", encoding: .utf8) == "jobctl-runner\n")
                #expect(!members.contains(runner))
            }
        },
        EnginePromise("a file in the submitter's volume can be the mount of a file") { world in
            let file = world.folder + "/file\(UInt32.random(in: 0 ... .max))"
            try "content\n".write(toFile: file, atomically: true, encoding: .utf8)
            try await world.withRunners { engine, _ in
                let mount = ContainerMount(source: file, target: "/job/deep/script.sh", readOnly: true)
                let (_, record, output) = try await engine.run(
                    world.specification(["cat", "/job/deep/script.sh"], mounts: [mount]))
                #expect(record.exitCode == 0 && output.text == "content\n")
            }
        },
        EnginePromise("localhost has its name, and the container has its own") { world in
            try await world.withRunners { engine, _ in
                let (_, _, output) = try await engine.run(
                    world.specification([
                        "sh", "-c", "grep -c localhost /etc/hosts; cat /etc/hostname; wc -c < /etc/resolv.conf",
                    ]))
                #expect(output.text == "2\n42.1.2\n0\n")
            }
        },
    ]

    private static let outputs = [
        EnginePromise("output beyond the limit is read and dropped, with a line that says so") { world in
            try await world.withRunners { engine, _ in
                var specification = world.specification(["sh", "-c", "yes | head -c 3000000; echo done >&2"])
                specification.logLimit = ByteCount(bytes: 1 << 20)
                let (_, record, output) = try await engine.run(specification)
                #expect(record.exitCode == 0 && output.errors == "done\n")
                let mark = BoundedOutput.mark(1 << 20)
                #expect(output.stdout.count == 1 << 20 + mark.utf8.count && output.text.hasSuffix(mark))
                let file = try #require(AttemptID("42.1.2").flatMap { engine.logFile($0, .stdout) })
                let isExact = readFile(file, limit: 4 << 20) == output.stdout
                #expect(isExact)
            }
        },
        EnginePromise("a program may open its output by name") { world in
            try await world.withRunners { engine, _ in
                let script = "echo out > /dev/stdout; echo err > /dev/stderr; echo fd > /proc/self/fd/1"
                let output = try await engine.run(world.specification(["sh", "-c", script])).output
                #expect(output.text == "out\nfd\n" && output.errors == "err\n")
            }
        },
        EnginePromise("a program is looked for as shells do, and a script without a first line is the shell's") {
            world in
            let file = world.folder + "/script\(UInt32.random(in: 0 ... .max))"
            try "echo $0 $1\n".write(toFile: file, atomically: true, encoding: .utf8)
            chmod(file, 0o755)
            try await world.withRunners { engine, _ in
                let mount = ContainerMount(source: file, target: "/job/script", readOnly: true)
                let whole = world.specification(["/job/script", "whole"], mounts: [mount])
                let first = try await engine.run(whole).output
                #expect(first.text == "/job/script whole\n")
                let named = world.specification(
                    ["script", "named"], task: 2, environment: ["PATH": "/no/such:/etc/passwd:/job::/bin"],
                    mounts: [mount])
                let second = try await engine.run(named).output
                #expect(second.text == "/job/script named\n")
            }
        },
        EnginePromise("a file that is no program ends with 126 and a sentence") { world in
            try await world.withRunners { engine, _ in
                let record = try await engine.run(world.specification(["/etc/passwd"])).record
                #expect(record.exitCode == 126 && record.message?.contains("Permission denied") == true)
            }
        },
        EnginePromise("a child that the kernel killed for memory is told, whatever the program made of it") { world in
            try await world.withRunners { engine, _ in
                let script = "tail /dev/zero; echo it was $?"
                let record = try await engine.run(world.specification(["sh", "-c", script], memory: 32 << 20)).record
                #expect(record.oomKilled && ExitRecord.Zero(record) == nil)
            }
        },
    ]
}
