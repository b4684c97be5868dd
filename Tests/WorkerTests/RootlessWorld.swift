// Runners that an ordinary user starts, with nothing of an agent around them: the folder, the image's layers and the
// description are written by hand, the runner and the runtime are real. What the host says of the user (/etc/subuid,
// /etc/passwd) is what the test says, in a mount namespace of its own. Invariant: nothing is left.
import Foundation
import Glibc
import JobModel
import RunnerCore
import TestSupport
import Testing

@testable import Worker

struct RootlessWorld: Sendable {
    static let uid: UInt32 = 4321
    /// Of a group that the user is in besides its own.
    static let otherGroup: UInt32 = 1_234_567
    private static let range = IDRange(start: 2_000_000, count: 65_536)

    /// One way in which a user without root can run containers.
    struct Way: Sendable, CustomTestStringConvertible {
        var kind: RuntimeKind
        var form: RootForm
        var hasRange: Bool
        var testDescription: String { "\(kind), \(form), \(hasRange ? "with" : "without") subordinate ids" }

        static let all = [RuntimeKind.crun, .runc].flatMap { kind in
            RootForm.allCases.flatMap { form in
                [true, false].map { Way(kind: kind, form: form, hasRange: $0) }
            }
        }

        var host: RootlessHost {
            let subordinate = SubordinateIDs(
                users: RootlessWorld.range, groups: RootlessWorld.range, userMapper: "/usr/bin/newuidmap",
                groupMapper: "/usr/bin/newgidmap")
            return RootlessHost(
                uid: RootlessWorld.uid, gid: RootlessWorld.uid, subordinate: hasRange ? subordinate : nil,
                rootForm: form)
        }
    }

    let folder: String
    private let way: Way
    private var containers: String { folder + "/containers" }
    private var runner: String { folder + "/jobctl-runner" }
    var volume: String { folder + "/volume" }
    var attempt: RunnerFolder { RunnerFolder(path: containers + "/42.1.2") }

    static func with(_ way: Way, _ body: (RootlessWorld) async throws -> Void) async throws {
        let world = RootlessWorld(folder: try temporaryFolder("rootless"), way: way)
        let result: Result<Void, any Error>
        do {
            try await world.build()
            result = .success(try await body(world))
        } catch {
            result = .failure(error)
        }
        await sweep(world.folder)
        try result.get()
    }

    /// Two layers: the upper one hides a file, a folder, and what a folder holds below.
    private func build() async throws {
        try FileManager.default.copyItem(atPath: try builtProgram("jobctl-runner"), toPath: runner)
        let script = """
            set -e
            cd "$1"; mkdir -p containers/scratch containers/42.1.2 volume/in volume/out outside low/bin low/etc low/tmp low/opaque low/gone low/closed top/opaque
            cp /bin/busybox low/bin/; for name in $(busybox --list); do [ "$name" = busybox ] || ln -s busybox low/bin/$name; done
            echo low > low/opaque/low; echo gone > low/hidden; echo both > low/both; echo shut > low/closed/file
            chmod 400 low/closed/file; chmod 555 low/closed
            mknod top/hidden c 0 0; mknod top/gone c 0 0; setfattr -n user.overlay.opaque -v y top/opaque
            echo top > top/opaque/top; echo top > top/both
            echo data > volume/in/data; echo secret > outside/data
            cp /etc/passwd passwd; echo "jobctl-rootless:x:$2:$2::/nowhere:/bin/sh" >> passwd
            echo "jobctl-rootless:\(Self.range.start):\(Self.range.count)" > subids
            chown -R -h $2:$2 containers low top volume
            """
        let made = try await runProcess("sh", ["-c", script, "build", folder, String(Self.uid)])
        guard made.exitCode == 0 else { throw ProcessFailure(description: "the image cannot be built: \(made)") }
    }

    /// Writes the attempt's description.
    func describe(
        _ script: String, mounts: [ContainerMount] = [], network: NetworkMode = .none, timeLimit: TimeSpan? = nil
    ) throws {
        let resources = Resources(
            cpus: CPUAmount(thousandths: 1000), memory: ByteCount(bytes: 64 << 20), gpus: 0)
        let specification = ContainerSpecification(
            attempt: AttemptID(task: TaskID(job: JobID(rawValue: 42), index: 1), number: 2),
            image: PinnedImage(digest: Digest(of: "image"), platform: nil), command: ["/bin/sh", "-c", script],
            environment: [:], workingDirectory: "/",
            user: Identity(name: UserName(unchecked: "ada"), uid: Self.uid, gid: Self.uid), mounts: mounts,
            network: network, resources: resources, gpus: [], logLimit: ByteCount(bytes: 1 << 20))
        var host = BundleHost(
            limitsSwap: false, openFiles: 1024, initProgram: runner, scratch: attempt.scratch, gpuHook: nil)
        host.rootless = way.host
        let bundle = AttemptBundle(
            specification: specification, imageEnvironment: ["PATH=/bin"], workingDirectory: "/work",
            controlGroup: "/jobctl-none/42.1.2", host: host)
        var description = AttemptDescription(
            attempt: "42.1.2", boot: bootIdentity(), runtime: way.kind == .crun ? "/usr/bin/crun" : "/usr/sbin/runc",
            runtimeKind: way.kind, controlGroup: "/jobctl-none/42.1.2", layers: [folder + "/top", folder + "/low"],
            usesUserAttributes: true, holds: [], workingDirectory: "/work", user: Self.uid, group: Self.uid,
            memory: 64 << 20, usesHostNetwork: network == .host, logLimit: 1 << 20,
            timeLimit: (timeLimit ?? .seconds(60)).milliseconds, grace: 1000, leaseFile: nil,
            bundle: try bundle.json())
        description.rootless = bundle.rootlessAttempt
        try description.text.withUnsafeBytes { try Data($0).write(to: URL(filePath: attempt.description)) }
        chown(attempt.description, Self.uid, Self.uid)
    }

    /// Starts the runner as the user, to its end.
    func run() async throws -> (end: EndRecord, output: String, errors: String) {
        let script = """
            mount --bind "$1/passwd" /etc/passwd && mount --bind "$1/subids" /etc/subuid &&
            mount --bind "$1/subids" /etc/subgid &&
            exec setpriv --reuid \(Self.uid) --regid \(Self.uid) --groups \(Self.uid),\(Self.otherGroup) "$2" "$3"
            """
        let ran = try await runProcess(
            "unshare", ["--mount", "sh", "-c", script, "run", folder, runner, attempt.path], folder: "/")
        guard let text = readFile(attempt.end, limit: 1 << 20) else {
            let complaint = String(decoding: readFile(attempt.complaints, limit: 1 << 20) ?? [], as: UTF8.self)
            throw ProcessFailure(description: "the runner wrote no end: \(ran)\(complaint)")
        }
        func output(_ path: String) -> String { String(decoding: readFile(path, limit: 1 << 20) ?? [], as: UTF8.self) }
        return (try EndRecord(text), output(attempt.stdout), output(attempt.stderr))
    }
}
