// The container rules (DESIGN section 5), looked at from inside a real container, and what real engines do to output
// and images.
import Foundation
import Glibc
import JobModel
import TestSupport
import Testing

@testable import Worker

extension EnginePromise {
    /// For real engines only.
    static let rules = confinement + surroundings + exactness + pulling
}

extension EngineWorld {
    /// Runs a script and returns what it printed.
    fileprivate func probe(
        _ script: String, memory: Int64 = 64 << 20, environment: [String: String] = [:], mounts: [ContainerMount] = [],
        workingDirectory: String? = nil, network: NetworkMode = .none
    ) async throws -> String {
        var text = ""
        try await withEngine { engine, _ in
            let specification = specification(
                ["sh", "-c", script], memory: memory, environment: environment, mounts: mounts,
                workingDirectory: workingDirectory,
                network: network)
            let (_, record, output) = try await engine.run(specification)
            #expect(record.exitCode == 0, "\(output.errors)")
            text = output.text
        }
        return text
    }
}

extension EngineWorld {
    /// Runs a script that shall print exactly `text`.
    fileprivate func expect(
        _ text: String, _ script: String, mounts: [ContainerMount] = [], workingDirectory: String? = nil,
        network: NetworkMode = .none
    ) async throws {
        let printed = try await probe(script, mounts: mounts, workingDirectory: workingDirectory, network: network)
        #expect(printed == text)
    }
}

// MARK: Confinement

extension EnginePromise {
    private static let confinement = [
        EnginePromise("the submitter's numbers, and no other group") { world in
            try await world.expect("1234\n5678\n5678\n", "id -u; id -g; id -G")
        },
        EnginePromise("no capabilities, no new privileges, a seccomp filter") { world in
            let status = try await world.probe("grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status | tr -d '\\t'")
            for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
                #expect(status.contains("\(name):0000000000000000\n"))
            }
            #expect(status.contains("NoNewPrivs:1\n") && status.contains("Seccomp:2\n"))
        },
        EnginePromise("the image is read-only, its VOLUME too") { world in
            let script = """
                for f in / /bin /etc /volume /data /out; do touch $f/x 2>&1 | grep -c -i 'read-only'; done
                cat /volume/file
                """
            try await world.expect("1\n1\n1\n1\n1\n1\nfrom the image\n", script)
        },
        EnginePromise("/tmp and /run are tmpfs of the container's own, writable, nosuid and nodev") { world in
            try await world.withEngine { engine, _ in
                for folder in ["/tmp", "/run"] {
                    let script = """
                        f=\(folder); grep " $f " /proc/mounts | cut -d' ' -f3,4 | grep -c '^tmpfs rw,.*nosuid.*nodev'
                        echo '#!/bin/sh' > $f/x && echo 'echo ran' >> $f/x && chmod 755 $f/x && $f/x
                        """
                    let task: Int64 = folder == "/tmp" ? 1 : 2
                    let output = try await engine.run(world.specification(["sh", "-c", script], task: task)).output
                    let keepsMode = engine.weaknesses.contains { $0.contains(folder) }
                    #expect(output.text == (keepsMode && folder == "/run" ? "1\n" : "1\nran\n"))
                }
            }
        },
        EnginePromise("no core dumps, 4096 processes, the memory that was asked for and no swap") { world in
            let script = """
                ulimit -c; ulimit -Hc
                cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null
                cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null
                cat /sys/fs/cgroup/memory/memory.memsw.limit_in_bytes /sys/fs/cgroup/memory.swap.max 2>/dev/null; true
                """
            let lines = try await world.probe(script, memory: 48 << 20).split(separator: "\n")
            #expect(lines.prefix(4) == ["0", "0", "4096", "50331648"])
            #expect(lines.last == "50331648" || lines.last == "0")
        },
        EnginePromise("half a processor is half a processor") { world in
            let script = """
                cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_period_us 2>/dev/null ||
                tr ' ' '\\n' < /sys/fs/cgroup/cpu.max
                """
            let numbers = try await world.probe(script).split(separator: "\n").compactMap { Int($0) }
            #expect(numbers.count == 2 && numbers[0] * 2 == numbers[1])
        },
        EnginePromise("namespaces of its own, with an init as process 1") { world in
            let script = """
                for n in ipc mnt net pid uts; do readlink /proc/self/ns/$n; done
                cat /proc/1/comm; hostname; ls /sys/class/net
                """
            let lines = try await world.probe(script).split(separator: "\n").map(String.init)
            let own = try ["ipc", "mnt", "net", "pid", "uts"].map {
                try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/ns/\($0)")
            }
            #expect(lines.count == 8)
            #expect(Set(lines.prefix(5)).isDisjoint(with: own))
            #expect(["docker-init", "tini", "podman-init", "catatonit", "jobctl-init"].contains(lines[5]))
            #expect(lines.suffix(2) == ["42.1.2", "lo"])
        },
        EnginePromise("no device of the host") { world in
            let names = try await world.probe("ls /dev").split(separator: "\n").map(String.init)
            let allowed: Set = [
                "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout",
                "tty", "urandom",
                "zero", "console", "init", "witness",
            ]
            #expect(Set(names).subtracting(allowed).isEmpty)
        },
        EnginePromise("the host's network only where it was asked for") { world in
            let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/ns/net")
            try await world.expect(own + "\n", "readlink /proc/self/ns/net", network: .host)
        },
    ]
}

// MARK: Surroundings

extension EnginePromise {
    private static let surroundings = [
        EnginePromise("the environment is the image's, the defaults and what was given") { world in
            let text = try await world.probe("env | sort", environment: ["MINE": "a b=c", "TZ": "Asia/Tokyo"])
            let own = ["SHLVL=", "PWD=", "_="]
            let variables = text.split(separator: "\n").filter { line in !own.contains { line.hasPrefix($0) } }
            #expect(
                variables == [
                    "FROM_IMAGE=yes", "HOME=/tmp", "HOSTNAME=42.1.2", "LANG=en_GB.UTF-8", "MINE=a b=c", "PATH=/bin",
                    "TZ=Asia/Tokyo",
                ])
        },
        EnginePromise("the image's working directory, or the one that was asked for, even if it is missing") { world in
            try await world.expect("/data\n", "pwd")
            try await world.expect("/out\n", "pwd", workingDirectory: "/out")
            try await world.expect("/new/folder\n", "pwd", workingDirectory: "/new/folder")
        },
        EnginePromise("mounts are read-only or not as asked, and private") { world in
            let folder = world.folder + "/mount\(UInt32.random(in: 0 ... .max))"
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            try FileManager.default.setAttributes([.posixPermissions: 0o777], ofItemAtPath: folder)
            try "input\n".write(toFile: folder + "/input", atomically: true, encoding: .utf8)
            let mounts = [
                ContainerMount(source: folder, target: "/data", readOnly: true),
                ContainerMount(source: folder, target: "/out", readOnly: false),
            ]
            let script = """
                cat /data/input; touch /data/x 2>/dev/null || echo refused; echo result > /out/result
                grep -E ' /(data|out) ' /proc/self/mountinfo | grep -c -E 'shared:|master:'; true
                """
            try await world.expect("input\nrefused\n0\n", script, mounts: mounts)
            #expect(try String(contentsOfFile: folder + "/result", encoding: .utf8) == "result\n")
            var status = stat()
            #expect(stat(folder + "/result", &status) == 0 && status.st_uid == 1234 && status.st_gid == 5678)
        },
        EnginePromise("the command alone runs: no ENTRYPOINT, no CMD of the image") { world in
            try await world.withEngine { engine, _ in
                let (_, record, output) = try await engine.run(world.specification(["echo", "mine"]))
                #expect(record.exitCode == 0 && output.text == "mine\n")
            }
        },
        EnginePromise("what an attempt leaves on the host goes with its container") { world in
            try await world.withEngine { engine, worker in
                let id = try await engine.begin(world.specification(["true"]))
                _ = try await engine.wait(id)
                try await engine.remove(id)
                for hierarchy in ["memory", "pids", "systemd", ""] {
                    #expect(
                        !FileManager.default.fileExists(atPath: "/sys/fs/cgroup/\(hierarchy)/jobctl-\(worker)/42.1.2"))
                }
                guard let socket = world.daemon?.socketPath else { return }
                let volumes = try await runProcess("curl", ["-s", "--unix-socket", socket, "http://e/v1.41/volumes"])
                #expect(volumes.exitCode == 0 && !volumes.output.contains(worker))
            }
        },
    ]
}

// MARK: Exactness

extension EnginePromise {
    /// Runs `script` on a file with `content`, which it shall print.
    private static func exact(_ content: [UInt8], _ script: String, _ world: EngineWorld) async throws {
        let folder = world.folder + "/exact\(UInt32.random(in: 0 ... .max))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try Data(content).write(to: URL(filePath: folder + "/content"))
        try await world.withEngine { engine, _ in
            let mount = ContainerMount(source: folder, target: "/data", readOnly: true)
            let (_, record, output) = try await engine.run(world.specification(["sh", "-c", script], mounts: [mount]))
            #expect(record.exitCode == 0)
            #expect(output.stdout.count == content.count)
            let isExact = output.stdout == content
            #expect(isExact)
        }
    }

    private static let exactness = [
        EnginePromise("binary output comes out exactly") { world in
            try await exact((0..<500_000).map { _ in UInt8.random(in: 0...255) }, "cat /data/content", world)
        },
        EnginePromise("long lines, and lines of exactly the engines' buffers, come out exactly") { world in
            var content: [UInt8] = []
            for length in [65_537, 16_384, 0, 16_383, 16_385, 32_768, 8_192, 0, 0, 8_191, 49_152, 200_000, 1] {
                content +=
                    [UInt8](repeating: UInt8(ascii: "a") + UInt8(length % 26), count: length) + [UInt8(ascii: "\n")]
            }
            let tail = [UInt8](repeating: UInt8(ascii: "x"), count: 16_384)
            try await exact(content, "cat /data/content", world)
            try await exact(content + tail, "cat /data/content", world)
            try await exact(content + tail + [UInt8(ascii: "\n")], "dd if=/data/content bs=1000 2>/dev/null", world)
        },
    ]
}

// MARK: Pulling

extension EnginePromise {
    private static let pulling = [
        EnginePromise("an image that is wanted for another platform is refused") { world in
            try await world.withEngine { engine, _ in
                let foreign = PinnedImage(digest: world.image.digest, platform: "linux/s390x")
                await #expect { try await engine.ensureImage(foreign) } throws: { error in
                    if case .image? = error as? EngineError { true } else { false }
                }
                try await engine.ensureImage(world.image)
            }
        },
        EnginePromise("an image that was removed behind the agent's back is pulled again") { world in
            guard let daemon = world.daemon else { return }
            let digest = try await EngineTestImage.push(to: try #require(world.registry).port, marker: "removed")
            let image = PinnedImage(digest: digest, platform: nil)
            try await world.withEngine { engine, _ in
                try await engine.ensureImage(image)
                let socket = daemon.socketPath
                let list = try await runProcess(
                    "curl", ["-s", "--unix-socket", socket, "http://e/v1.41/images/json?all=1"])
                let entries = try JSONSerialization.jsonObject(with: Data(list.output.utf8)) as? [[String: Any]] ?? []
                let entry = entries.first { "\($0["RepoDigests"] ?? "")".contains(digest.description) }
                let id = try #require(entry?["Id"] as? String)
                _ = try await runProcess(
                    "curl", ["-s", "-X", "DELETE", "--unix-socket", socket, "http://e/v1.41/images/\(id)?force=1"])
                try await engine.ensureImage(image)
                var specification = world.specification(["cat", "/volume/file"])
                specification.image = image
                #expect(try await engine.run(specification).output.text == "from the imageremoved\n")
            }
        },
    ]
}
