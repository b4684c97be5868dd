// The runner's one loop: the container's output, its init's messages, children that end, orders, time. Invariant: it
// ends only when nothing of the container is left, or when the container was never started.
import CLinux
import Glibc
import RunnerCore

struct Watch {
    private let folder: RunnerFolder
    private let description: AttemptDescription
    private let groups: ControlGroups
    private let runtimeIsSealed: Bool
    private let signals: Int32
    private let timer: Int32
    private var supervision: Supervision
    private var output: [Stream] = []
    private var company: Company?
    private var container: Int32 = -1
    private var runtime = Runtime()
    private var story = Story()
    private var buffer = [UInt8](repeating: 0, count: 60_000)

    private struct Stream {
        var pipe: Int32
        var file: OutputFile
    }
    /// A reference, because arrays hold no noncopyable values.
    private final class OutputFile {
        var output: BoundedOutput
        init(_ output: consuming BoundedOutput) { self.output = output }
    }
    private struct Runtime {
        var process: pid_t = 0
        var status: Int32?
        /// Since when it works, by the boot-time clock.
        var since: Int64 = 0
    }
    /// What is known of the container.
    private struct Story {
        /// Its init, in the host's numbers; 0 before the runtime said.
        var process: pid_t = 0
        var isGone = false
        var startedAt: Int64?
        var failure: Int32?
        /// What kept the init itself from its work.
        var breakage: Int32?
        /// Of wait(2), as the init told.
        var programStatus: Int32?
        /// Ended children that are not the runtime: the container may end before the runtime says which it is.
        var ended: [pid_t] = []
        var peak: Int64 = 0
        /// What its processes used, where no control group counts.
        var usage: ControlGroups.Figures?
        /// Signals that the container has not got yet.
        var pending: [Supervision.Action] = []

        /// An ended child's, with all that it waited for: the container's init waits for the whole container.
        mutating func add(_ used: rusage) {
            let times = [used.ru_utime, used.ru_stime].map { Int64($0.tv_sec) * 1_000_000 + Int64($0.tv_usec) }
            let before = usage ?? ControlGroups.Figures(cpuMicroseconds: 0, peakMemory: 0)
            usage = ControlGroups.Figures(
                cpuMicroseconds: before.cpuMicroseconds + times.reduce(0, +),
                peakMemory: max(before.peakMemory, Int64(used.ru_maxrss) * 1024))
        }
    }

    /// How long a runtime may take to start a container, in milliseconds.
    private static let runtimePatience: Int64 = 60_000

    init(
        _ folder: RunnerFolder, _ description: AttemptDescription, _ groups: ControlGroups, runtimeIsSealed: Bool
    ) throws(FileFailure) {
        self.runtimeIsSealed = runtimeIsSealed
        self.folder = folder
        self.description = description
        self.groups = groups
        signals = jc_signal_open()
        timer = jc_timer_open()
        guard signals >= 0, timer >= 0 else { throw FileFailure("the runner's signals", errno) }
        try check(jc_adopt_orphans(), "the container's parent")
        supervision = Supervision(
            timeLimit: description.timeLimit, grace: description.grace,
            leaseEnd: description.leaseFile.flatMap(Lease.read))
        for path in [folder.stdout, folder.stderr] {
            output.append(
                Stream(pipe: -1, file: OutputFile(BoundedOutput(path: path, limit: description.logLimit))))
        }
        if let others = description.company, !others.isService {
            supervision.started(at: jc_boot_milliseconds())
            company = try Company(folder, others, runtimeIsSealed: runtimeIsSealed)
        } else {
            try begin()
        }
    }

    // MARK: Start

    private mutating func begin() throws(FileFailure) {
        try Scene(folder: folder, description: description).set()
        try launch()
    }

    private mutating func launch() throws(FileFailure) {
        var pair: [Int32] = [-1, -1]
        try check(jc_socket_pair(&pair), "the container's channel")
        var ends: [Int32] = []
        for place in output.indices {
            var pipe: [Int32] = [-1, -1]
            try check(jc_pipe(&pipe), "the container's output")
            // The program may open /dev/stdout by its name.
            fchown(pipe[1], description.user, description.group)
            output[place].pipe = pipe[0]
            ends.append(pipe[1])
        }
        let null = open("/dev/null", O_RDONLY | O_CLOEXEC)
        let arguments = runtimeArguments.map { strdup($0) } + [nil]
        let environment = RuntimeOptions.environment(description.runtimeKind).map { strdup($0) } + [nil]
        let program = runtimeIsSealed ? "/proc/self/fd/\(runtimeFile)" : description.runtime
        let process = jc_spawn_with(program, arguments, environment, null, ends[0], ends[1], pair[1])
        for pointer in arguments + environment { free(pointer) }
        for file in ends + [pair[1], null] { close(file) }
        container = pair[0]
        try check(process, description.runtime)
        runtime.process = process
        runtime.since = jc_boot_milliseconds()
    }

    private var log: String { folder.scratch + "/log" }

    private var runtimeArguments: [String] {
        var arguments = [
            description.runtime, "--root", folder.scratch + "/state", "--log", log,
        ]
        arguments += RuntimeOptions.groups(description.runtimeKind, isRootless: description.rootless != nil)
        arguments += ["run", "--detach", "--bundle", folder.scratch, "--pid-file", folder.scratch + "/pid"]
        arguments += ["--preserve-fds", "1"]
        if description.runtimeKind != .youki { arguments.append("--no-new-keyring") }
        return arguments + [description.attempt]
    }

    // MARK: The loop

    /// - Returns: how it ended.
    mutating func run() throws(FileFailure) -> EndRecord {
        readOrders()
        if let end = try gather() { return disperse(end) }
        while !isOver {
            setTimer()
            wait()
            reap()
            hear()
            copyOutput()
            keepTime()
            deliver()
            giveUpOnRuntime()
            hearServices()
        }
        hear()
        copyOutput()
        hearServices()
        return disperse(verdict())
    }

    /// The files of the lease and of the limit are read when what is known of them ends, and only then.
    private mutating func keepTime() {
        let now = jc_boot_milliseconds()
        guard let moment = supervision.nextMoment, now >= moment else { return }
        readLimit()
        story.pending += supervision.advanced(to: now, lease: description.leaseFile.flatMap(Lease.read))
    }

    private var isOver: Bool {
        guard let status = runtime.status else { return false }
        return story.isGone || status != 0 && story.process == 0
    }

    private func wait() {
        var wanted = ([signals, timer, container] + output.map(\.pipe) + (company?.notices ?? [])).map {
            pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
        }
        // Where the kernel does not remember the peak, it is looked for.
        guard poll(&wanted, nfds_t(wanted.count), groups.remembersPeak ? -1 : 250) > 0 else { return }
        var ticks: UInt64 = 0
        _ = read(timer, &ticks, 8)
    }

    private func setTimer() {
        var moments = [supervision.nextMoment].compactMap(\.self)
        if runtime.process > 0, runtime.status == nil { moments.append(runtime.since + Self.runtimePatience) }
        _ = jc_timer_set(timer, moments.min() ?? -1)
    }

    private mutating func reap() {
        while case let signal = jc_signal_next(signals), signal != 0 {
            guard signal != SIGCHLD else { continue }
            guard signal != SIGHUP else {
                readLimit()
                continue
            }
            story.pending += supervision.ordered(grace: StopOrder.read(folder.stop), at: jc_boot_milliseconds())
        }
        var status: Int32 = 0
        var used = rusage()
        while case let process = wait4(-1, &status, WNOHANG, &used), process > 0 {
            if description.rootless != nil, process != runtime.process { story.add(used) }
            if process == runtime.process {
                runtime.status = status
                learnContainer()
            } else {
                story.ended.append(process)
            }
        }
        if story.process > 0, story.ended.contains(story.process) || kill(story.process, 0) != 0 { story.isGone = true }
        if !groups.remembersPeak, let figures = groups.figures { story.peak = max(story.peak, figures.peakMemory) }
    }

    /// The runtime has done its work: which process is the container?
    private mutating func learnContainer() {
        let text = readFile(folder.scratch + "/pid", limit: 32) ?? []
        story.process = pid_t(String(decoding: text.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)) ?? 0
        // A runtime that failed may have left a container that runs.
        if runtime.status != 0 { story.pending.append(.kill) }
    }

    /// The init's messages.
    private mutating func hear() {
        while container >= 0 {
            var message = jc_init_message()
            let result = jc_init_receive(container, &message)
            if result == -EAGAIN { return }
            guard result == 0 else {
                close(container)
                container = -1
                return
            }
            switch message.kind {
            case Int32(jc_init_ready) where story.startedAt == nil:
                story.startedAt = wallMilliseconds()
                supervision.started(at: jc_boot_milliseconds())
            case Int32(jc_init_broken): story.breakage = message.value
            case Int32(jc_init_failed) where story.programStatus == nil: story.failure = message.value
            case Int32(jc_init_ended) where story.failure == nil: story.programStatus = message.value
            case Int32(jc_init_healthy), Int32(jc_init_unhealthy):
                // Whoever started this service waits for it. A pipe takes eight bytes whole.
                _ = write(noticeFile, &message, MemoryLayout<jc_init_message>.size)
            default: break
            }
        }
    }

    private mutating func copyOutput() {
        for index in output.indices where output[index].pipe >= 0 {
            while true {
                let count = read(output[index].pipe, &buffer, buffer.count)
                if count > 0 {
                    buffer.withUnsafeBytes {
                        output[index].file.output.append(UnsafeRawBufferPointer(rebasing: $0[..<count]))
                    }
                    // A program that never stops writing must not keep the loop from everything else.
                    if count < buffer.count || !story.isGone { break }
                } else if count < 0, errno == EINTR {
                    continue
                } else {
                    if count == 0 || errno != EAGAIN {
                        close(output[index].pipe)
                        output[index].pipe = -1
                    }
                    break
                }
            }
        }
    }

    // MARK: Services

    /// Waits until all services can be used, and starts the program.
    /// - Returns: how the attempt ends if that is not to be.
    private mutating func gather() throws(FileFailure) -> EndRecord? {
        while company != nil {
            hearServices()
            if let failure = company?.failure { return unstarted(failure) }
            if !story.pending.isEmpty { return unstarted(.exited(code: 137)) }
            if company?.areReady == true {
                company?.programRuns = true
                try begin()
                break
            }
            setTimer()
            wait()
            reap()
            keepTime()
        }
        return nil
    }

    private func unstarted(_ verdict: EndRecord.Verdict) -> EndRecord {
        EndRecord(
            attempt: description.attempt, verdict: verdict, startedAt: nil, finishedAt: wallMilliseconds(),
            stopped: supervision.cause)
    }

    /// What failed services wrote last stands in the task's own output.
    private mutating func hearServices() {
        company?.hear()
        guard var words = company?.lastWords, !words.isEmpty else { return }
        company?.lastWords = ""
        words.withUTF8 { output[1].file.output.append(UnsafeRawBufferPointer($0)) }
    }

    /// Ends the services, with the grace of the order to stop, or of the attempt.
    private mutating func disperse(_ end: EndRecord) -> EndRecord {
        var (deadline, isWanted) = (Int64?.none, true)
        while let company, !company.isGone {
            if isWanted {
                let grace = max(0, StopOrder.read(folder.stop) ?? description.grace)
                self.company?.leave(grace: grace)
                let moment = jc_boot_milliseconds() + min(grace, 1 << 40) + Self.servicesPatience
                deadline = min(deadline ?? moment, moment)
                isWanted = false
            }
            _ = jc_timer_set(timer, deadline ?? -1)
            wait()
            // A second order may be more urgent.
            while case let signal = jc_signal_next(signals), signal != 0 {
                if signal != SIGCHLD, signal != SIGHUP { isWanted = true }
            }
            self.company?.hear()
            if let moment = deadline, jc_boot_milliseconds() >= moment { company.kill() }
        }
        return end
    }

    /// How much longer than its grace a service may take, in milliseconds.
    private static let servicesPatience: Int64 = 10_000

    // MARK: Orders

    private mutating func readLimit() {
        if let limit = TimeLimitOrder.read(folder.limit) { supervision.limited(to: limit) }
    }

    private mutating func readOrders() {
        readLimit()
        guard let grace = StopOrder.read(folder.stop) else { return }
        story.pending += supervision.ordered(grace: grace, at: jc_boot_milliseconds())
    }

    /// Passes signals on to the init once it can take them: it hands SIGTERM to the program, and its own death ends
    /// everything in its namespace.
    private mutating func deliver() {
        guard story.process > 0, !story.isGone else { return }
        if story.pending.contains(.kill) {
            kill(story.process, SIGKILL)
            story.pending = []
        } else if story.pending.contains(.terminate), story.startedAt != nil {
            kill(story.process, SIGTERM)
            story.pending = []
        }
    }

    private mutating func giveUpOnRuntime() {
        guard runtime.status == nil, jc_boot_milliseconds() - runtime.since >= Self.runtimePatience else { return }
        kill(runtime.process, SIGKILL)
        _ = groups.killAll()
    }

    // MARK: The end

    private func verdict() -> EndRecord {
        let figures = groups.figures ?? story.usage
        var end = EndRecord(
            attempt: description.attempt, verdict: .notStarted(""), outOfMemory: groups.wasOutOfMemory,
            startedAt: story.startedAt, finishedAt: wallMilliseconds(), stopped: supervision.cause,
            note: company?.note, cpuMicroseconds: figures?.cpuMicroseconds,
            peakMemory: figures.map { max($0.peakMemory, story.peak) })
        if let number = story.breakage {
            end.verdict = .notStarted("the container's init could not work: \(String(cString: strerror(number)))")
        } else if let number = story.failure {
            end.verdict = .exited(code: number == ENOENT ? 127 : 126)
            end.message =
                number == ENOENT
                ? "the command was not found in the image"
                : "the command could not be started: \(String(cString: strerror(number)))"
        } else if let status = story.programStatus {
            // As wait(2) packs it.
            let signal = status & 0x7f
            end.verdict = .exited(code: Int(signal == 0 ? status >> 8 & 0xff : 128 + signal))
        } else if story.startedAt != nil {
            // The init was killed before it could tell: by this runner, by the kernel for memory, or by somebody else.
            end.verdict = .exited(code: 137)
        } else if supervision.cause != nil, runtime.status == 0 {
            end.verdict = .exited(code: 137)
        } else {
            let complaint = String(decoding: (readFile(log, limit: 1 << 20) ?? []).suffix(2000), as: UTF8.self)
            let reason = complaint.split(separator: "\n").last.map(String.init) ?? "it gives no reason"
            end.verdict = .notStarted("\(description.runtimeKind) could not start the container: \(reason)")
        }
        return end
    }
}
