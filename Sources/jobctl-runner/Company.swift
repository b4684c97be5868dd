// An attempt's services: the network that they share with the task, and a runner for each, which is a child of the
// task's runner and dies with it. Invariant: the bridge between them lies in a namespace that only this process holds,
// so nothing of the network outlives it.
import CLinux
import Glibc
import RunnerCore

struct Company {
    private struct Member {
        let name: String
        let folder: RunnerFolder
        let process: pid_t
        /// What its runner tells; -1 after its end.
        var notice: Int32
        var isReady = false
    }

    private var members: [Member] = []
    private let hub: Int32
    private var isLeaving = false
    /// Why the task cannot be started.
    private(set) var failure: EndRecord.Verdict?
    /// What happened to a service while the task ran.
    private(set) var note: String?
    /// Of services that failed, the last lines of their output; taken by whoever shows them.
    var lastWords = ""
    var programRuns = false

    private static let bridge = "jobctl0"

    /// Makes the network, starts the services' runners in it, and takes this process into the task's part of it.
    init(
        _ folder: RunnerFolder, _ company: AttemptDescription.Company, runtimeIsSealed: Bool
    ) throws(FileFailure) {
        hub = jc_network_make()
        try check(hub, "the private network")
        try check(jc_network_enter(hub), "the private network")
        try check(jc_bridge_make(Self.bridge), "the private network's bridge")
        let task = try network("task", company.address)
        for (place, name) in company.services.enumerated() {
            let network = try network("service\(place)", PrivateNetwork.hidden.service(place))
            try check(jc_network_enter(network), "the private network")
            members.append(try Self.member(name, folder.service(name), runtime: runtimeIsSealed ? runtimeFile : -1))
            try check(jc_network_enter(hub), "the private network")
            close(network)
        }
        try check(jc_network_enter(task), "the private network")
        close(task)
    }

    private func network(_ wire: String, _ address: UInt32) throws(FileFailure) -> Int32 {
        let network = jc_network_make()
        try check(network, "the private network")
        try check(
            jc_wire_make(Self.bridge, wire, network, address, Int32(PrivateNetwork.prefix)), "the private network")
        return network
    }

    private static func member(
        _ name: String, _ folder: RunnerFolder, runtime: Int32
    ) throws(FileFailure) -> Member {
        var pipe: [Int32] = [-1, -1]
        try check(jc_pipe(&pipe), "the service '\(name)'")
        var arguments = [strdup("jobctl-runner"), strdup(folder.path), nil]
        defer { for pointer in arguments { free(pointer) } }
        let process = jc_spawn_companion("/proc/self/exe", &arguments, pipe[1], runtime)
        close(pipe[1])
        try check(process, "the service '\(name)'")
        return Member(name: name, folder: folder, process: process, notice: pipe[0])
    }

    // MARK: Messages

    var notices: [Int32] { members.map(\.notice) }
    var areReady: Bool { members.allSatisfy(\.isReady) }
    var isGone: Bool { members.allSatisfy { $0.notice < 0 } }

    mutating func hear() {
        for place in members.indices {
            while members[place].notice >= 0 {
                var message = jc_init_message()
                let count = read(members[place].notice, &message, MemoryLayout<jc_init_message>.size)
                if count < 0, errno == EINTR { continue }
                if count < 0, errno == EAGAIN { break }
                guard count == MemoryLayout<jc_init_message>.size else {
                    close(members[place].notice)
                    members[place].notice = -1
                    ended(members[place])
                    break
                }
                if message.kind == Int32(jc_init_healthy) { members[place].isReady = true }
                if message.kind == Int32(jc_init_unhealthy) { gaveUp(members[place], message.value) }
            }
        }
    }

    private mutating func gaveUp(_ member: Member, _ status: Int32) {
        let how =
            status < 0
            ? "took too long" : status & 0x7f == 0 ? "ended with exit code \(status >> 8 & 0xff)" : "was killed"
        fail("the service '\(member.name)' was not ready in time: its last health check \(how)", member)
    }

    private mutating func ended(_ member: Member) {
        guard !isLeaving else { return }
        let text = readFile(member.folder.end, limit: RecordText.sizeLimit) ?? []
        // allowed: what cannot be read proves nothing, which is said
        guard let end = try? EndRecord(text) else {
            return fail(
                "the runner of the service '\(member.name)' ended without a record", isInfrastructure: true, member)
        }
        switch end.verdict {
        case .notStarted(let why), .servicesFailed(let why):
            fail("the service '\(member.name)': \(why)", isInfrastructure: true, member)
        case .exited(let code):
            let how = end.outOfMemory ? "used more memory than it asked for" : "ended with exit code \(code)"
            let why = end.message.map { ": \($0)" } ?? ""
            let when = programRuns ? "while the task ran" : "before the task was started"
            fail("the service '\(member.name)' \(how) \(when)\(why)", member)
        }
    }

    /// Before the program was started, this ends the attempt; afterwards it is told beside whatever the program does.
    private mutating func fail(_ sentence: String, isInfrastructure: Bool = false, _ member: Member) {
        lastWords += Self.tail(of: member)
        guard programRuns else {
            failure = failure ?? (isInfrastructure ? .notStarted(sentence) : .servicesFailed(sentence))
            return
        }
        lastWords += "[jobctl: \(sentence)]\n"
        note = note ?? sentence
    }

    // MARK: The end

    /// Asks every service to end.
    /// - Parameter grace: milliseconds to SIGKILL.
    mutating func leave(grace: Int64) {
        isLeaving = true
        for member in members where member.notice >= 0 {
            // allowed: without the order, the service's own grace counts
            try? replaceFile(member.folder.stop, with: Array("\(max(0, grace))\n".utf8), durable: false)
            kill(member.process, SIGTERM)
        }
    }

    /// A service's container ends with its runner.
    func kill() {
        for member in members where member.notice >= 0 { Glibc.kill(member.process, SIGKILL) }
    }

    private func kill(_ process: pid_t, _ signal: Int32) { _ = Glibc.kill(process, signal) }

    // MARK: Output

    private static let tailBytes = 4096
    private static let tailLines = 20

    /// The last lines of a service's output, each with its name.
    private static func tail(of member: Member) -> String {
        [member.folder.stdout, member.folder.stderr].reduce(into: "") { text, path in
            let file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
            guard file >= 0 else { return }
            defer { close(file) }
            let size = lseek(file, 0, SEEK_END)
            lseek(file, max(0, size - off_t(tailBytes)), SEEK_SET)
            let bytes = readAll(file, limit: tailBytes * 2) ?? []
            for line in bytes.split(separator: UInt8(ascii: "\n")).suffix(tailLines) {
                text += "[\(member.name)] \(String(decoding: line, as: UTF8.self))\n"
            }
        }
    }
}
