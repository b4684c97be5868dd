// The small process beside each container: `jobctl-runner FOLDER` runs the attempt that is described in the folder and
// writes down how it ended. It lives on when the agent dies. No Foundation, no network, no concurrency. The same
// program, bind-mounted read-only into the container, is the container's process 1 (`jobctl-init PROGRAM ARGUMENT…`):
// it is linked statically.
import CLinux
import Glibc
import RunnerCore

@main
struct JobctlRunner {
    static func main() {
        let name = CommandLine.argc > 0 ? CommandLine.unsafeArgv[0].map { String(cString: $0) } ?? "" : ""
        if name == RunnerFolder.initPath {
            beInit()
        }
        guard CommandLine.argc == 2, CommandLine.arguments[1].hasPrefix("/") else {
            say("usage: jobctl-runner FOLDER, which the worker's agent does")
            exit(2)
        }
        run(RunnerFolder(path: CommandLine.arguments[1]))
    }

    /// Process 1 of a container, or a second program in one.
    private static func beInit() -> Never {
        let arguments = CommandLine.arguments
        let first = arguments.count > 3 && arguments[1] == RunnerFolder.become ? 3 : 1
        guard arguments.count > first else { exit(126) }
        if arguments[first] == RunnerFolder.check { exit(Confinement.isComplete ? 0 : 1) }
        let rest = CommandLine.unsafeArgv + first
        guard first == 3 else {
            join(arguments[first...], rest, nil)
            if arguments[first] == RunnerFolder.health { beInitOfService() }
            jc_init_main(rest, nil, nil)
        }
        let numbers = arguments[2].split(separator: ":").compactMap { UInt32($0) }
        guard numbers.count == 2 else { exit(126) }
        var user = jc_user(uid: numbers[0], gid: numbers[1], processes: processLimit)
        join(arguments[first...], rest, &user)
        jc_init_main(rest, nil, &user)
    }

    /// Returns if that is not what the words ask for.
    private static func join(
        _ words: ArraySlice<String>, _ argv: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>,
        _ user: UnsafePointer<jc_user>?
    ) {
        if words.first == RunnerFolder.join, words.count > 1 { jc_join_main(argv + 1, user, nil) }
        guard words.first == RunnerFolder.joinOnTerminal, words.count > 2 else { return }
        let size = words[words.startIndex + 1].split(separator: ":").compactMap { UInt16($0) }
        guard size.count == 2 else { exit(126) }
        var window = jc_window(rows: size[0], columns: size[1])
        jc_join_main(argv + 2, user, &window)
    }

    /// With a health check or without; see ``RunnerFolder/health``.
    private static func beInitOfService() -> Never {
        let words = CommandLine.arguments
        guard words.count > 6, let interval = Int64(words[2]), let timeout = Int64(words[3]),
            let retries = Int32(words[4]), let count = Int(words[5]), count >= 0, words.count > 6 + count
        else { exit(126) }
        let check = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>.allocate(capacity: count + 1)
        check.initialize(repeating: nil, count: count + 1)
        for place in 0..<count { check[place] = CommandLine.unsafeArgv[6 + place] }
        var health = jc_health(
            argv: count > 0 ? UnsafePointer(check) : nil, interval: interval, timeout: timeout, retries: retries)
        jc_init_main(CommandLine.unsafeArgv + 6 + count, &health, nil)
    }

    /// Where no control group limits it; DESIGN section 5.
    private static let processLimit: UInt64 = 4096

    /// 1. lock · 2. read the description · 3. mark the start · 4. mount · 5. start the runtime · 6. watch · 7. write
    /// down the end ·
    /// 8. clean up. Another runner that holds the lock, or has, is left alone.
    private static func run(_ folder: RunnerFolder) -> Never {
        let isSealed = jc_take_sealed(runtimeFile) != 0
        let lock = open(folder.description, O_RDWR | O_CLOEXEC | O_NOFOLLOW)
        guard lock >= 0, jc_lock(lock) == 0, let text = readAll(lock, limit: RecordText.sizeLimit), begin(lock)
        else { exit(3) }
        let description: AttemptDescription
        do throws(RecordText.Malformed) {
            description = try AttemptDescription(text)
        } catch {
            complain("\(error)", folder)
            exit(4)
        }
        guard description.boot == bootIdentity() else { exit(3) }
        if description.company?.isService == true, jc_die_with_parent(noticeFile) != 0 { exit(3) }
        jc_set_process_name("jobctl-runner")
        protectFromOutOfMemory()
        let groups = ControlGroups(path: description.controlGroup)
        do throws(FileFailure) {
            try description.rootless?.enter()
            var watch = try Watch(folder, description, groups, runtimeIsSealed: isSealed)
            let end = try watch.run()
            // Without the record the attempt is lost, which is what a full disk for minutes means.
            record(end, folder)
        } catch {
            complain("\(error)", folder)
            record(
                EndRecord(
                    attempt: description.attempt,
                    verdict: .notStarted("the worker could not set up the container: \(error)"),
                    startedAt: nil, finishedAt: wallMilliseconds()), folder)
        }
        if description.rootless?.rootForm == .links { removeTree(folder) }
        removeGroups(groups)
        exit(0)
    }

    /// - Returns: whether this runner is the first.
    private static func begin(_ description: Int32) -> Bool {
        var status = stat()
        return fstat(description, &status) == 0 && !RunnerFolder.isBegun(status.st_mode)
            && fchmod(description, RunnerFolder.begunMode) == 0
    }

    private static func record(_ end: EndRecord, _ folder: RunnerFolder) {
        for _ in 0..<300 {
            do throws(FileFailure) {
                return try replaceFile(folder.end, with: end.text, durable: true)
            } catch {
                // Only a full disk may pass; what fsync once refused is never asked again.
                guard error.number == ENOSPC || error.number == EDQUOT else { return complain("\(error)", folder) }
                sleep(1)
            }
        }
    }

    private static func removeTree(_ folder: RunnerFolder) {
        let parent = jc_open_folder(folder.path)
        guard parent >= 0 else { return }
        _ = jc_remove_tree(parent, RunnerFolder.treeName)
        close(parent)
    }

    /// The last process may be on its way out for a moment.
    private static func removeGroups(_ groups: ControlGroups) {
        for round in 0..<200 {
            if groups.remove() { return }
            if round > 2 { _ = groups.killAll() }
            usleep(round < 20 ? 500 : 10_000)
        }
    }
}

/// Where a service's runner finds the pipe to the runner of its attempt.
let noticeFile: Int32 = 3

/// Where a runner may find its runtime, as jc_sealed_copy makes it.
let runtimeFile: Int32 = 4

/// When memory is short the kernel shall not choose the witness.
private func protectFromOutOfMemory() {
    let file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC)
    guard file >= 0 else { return }
    _ = write(file, "-900", 4)
    close(file)
}

func complain(_ sentence: String, _ folder: RunnerFolder) {
    let file = open(folder.complaints, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
    guard file >= 0 else { return }
    _ = sentence.withCString { write(file, $0, strlen($0)) }
    _ = write(file, "\n", 1)
    close(file)
}

private func say(_ sentence: String) {
    _ = sentence.withCString { write(2, $0, strlen($0)) }
    _ = write(2, "\n", 1)
}

func wallMilliseconds() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
}

extension RootlessAttempt {
    /// Into a user namespace, in which this process may mount.
    fileprivate func enter() throws(FileFailure) {
        let none = jc_id_range(start: 0, count: 0)
        let users = subordinate.map { jc_id_range(start: $0.users.start, count: $0.users.count) } ?? none
        let groups = subordinate.map { jc_id_range(start: $0.groups.start, count: $0.groups.count) } ?? none
        try check(
            jc_enter_user_namespace(subordinate?.userMapper ?? "", subordinate?.groupMapper ?? "", users, groups),
            "a user namespace")
    }
}
