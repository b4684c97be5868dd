// The options that queues, groups and users have in common, and how their rows are printed.
import ArgumentParser
import JobModel
import SchedulerClient

/// What is given replaces what was set; `none` takes a limit away.
struct LimitOptions: ParsableArguments {
    @Option(help: "1 to 1000; 100 is the standard.", transform: Given.weight) var weight: Int?
    @Option(help: "The most tasks that run at a time, or none.", transform: Given.count) var maxRunning: Limit<Int64>?
    @Option(help: "The most tasks that wait at a time, or none.", transform: Given.count)
    var maxPending: Limit<Int64>?
    @Option(help: "The most cpus in use at a time, or none.", transform: Given.cpuLimit)
    var maxCpus: Limit<CPUAmount>?
    @Option(help: "The most memory in use at a time, such as 64GiB, or none.", transform: Given.memoryLimit)
    var maxMemory: Limit<ByteCount>?
    @Option(help: "The most GPUs in use at a time, or none.", transform: Given.count) var maxGpus: Limit<Int64>?

    func apply(to settings: inout AccountSettings) {
        if let weight { settings.weight = weight }
        if let maxRunning { settings.limits.running = maxRunning.value }
        if let maxPending { settings.limits.pending = maxPending.value }
        if let maxCpus { settings.limits.cpus = maxCpus.value }
        if let maxMemory { settings.limits.memory = maxMemory.value }
        if let maxGpus { settings.limits.gpus = maxGpus.value.map { Int($0) } }
    }
}

/// A limit on a command line: an amount, or `none`.
struct Limit<Value: Sendable>: Sendable { let value: Value? }

extension PlacementStrategy: ExpressibleByArgument {}

extension Given {
    static func weight(_ text: String) throws -> Int { try integer(text, in: AccountSettings.weights) }

    static func count(_ text: String) throws -> Limit<Int64> {
        if text == "none" { return Limit(value: nil) }
        guard let number = Int64(text), (0...1_000_000_000).contains(number) else {
            throw ValidationError("write a number from 0 to 1000000000, or none")
        }
        return Limit(value: number)
    }

    static func cpuLimit(_ text: String) throws -> Limit<CPUAmount> {
        if text == "none" { return Limit(value: nil) }
        guard let amount = Double(text).flatMap({ CPUAmount(exactly: $0) }) else {
            throw ValidationError("write a number of cpus, for example 200 or 0.5, or none")
        }
        return Limit(value: amount)
    }

    static func memoryLimit(_ text: String) throws -> Limit<ByteCount> {
        if text == "none" { return Limit(value: nil) }
        guard let amount = ByteCount(text) else {
            throw ValidationError("write an amount of memory such as 512MiB or 64GiB, or none")
        }
        return Limit(value: amount)
    }

    static func queue(_ text: String) throws -> AccountID {
        guard let name = QueueName(rawValue: text) else { throw ValidationError(QueueName.refusal(of: text)) }
        return .queue(name)
    }

    static func group(_ text: String) throws -> GroupName {
        guard let name = GroupName(rawValue: text) else { throw ValidationError(GroupName.refusal(of: text)) }
        return name
    }

    /// `group/physics` or `user/ada`.
    static func share(_ text: String) throws -> AccountID {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2, parts[0] == "group" || parts[0] == "user" else {
            throw ValidationError("write group/NAME or user/NAME")
        }
        return parts[0] == "group" ? .group(try group(parts[1])) : .user(try user(parts[1]))
    }
}

extension AccountDocument {
    var limitText: String {
        let limits = settings.limits
        let parts = [
            limits.running.map { "\($0) running" }, limits.pending.map { "\($0) pending" },
            limits.cpus.map { "\($0) cpus" }, limits.memory.map { "\($0)" }, limits.gpus.map { "\($0) gpus" },
        ].compactMap { $0 }
        return parts.isEmpty ? "none" : parts.joined(separator: ", ")
    }

    var page: String {
        Render.page([
            (kind.description, name), ("set up", configured ? "yes" : "no: the standard settings"),
            ("weight", String(settings.weight)), ("group", settings.group?.rawValue),
            ("expected time", settings.expectedTime?.description), ("placement", settings.placement?.rawValue),
            ("preempts", settings.preempts.isEmpty ? nil : settings.preempts.map(\.rawValue).joined(separator: ", ")),
            ("limits", limitText),
            ("tasks", "\(pending) pending, \(running) running"), ("in use", "\(cpus) cpus, \(memory), \(gpus) gpus"),
            ("entitled to", entitled.map(Self.percent)), ("has used", used.map(Self.percent)),
        ])
    }

    static func percent(_ part: Double) -> String { "\(Double(Int64((part * 1000).rounded())) / 10) %" }
}

/// A queue in a list.
struct QueueRow: Row {
    static let header = ["QUEUE", "WEIGHT", "PENDING", "RUNNING", "CPUS", "LIMITS"]
    let document: AccountDocument
    var cells: [String] {
        [
            document.name, String(document.settings.weight), String(document.pending), String(document.running),
            document.cpus.description, document.limitText,
        ]
    }
    var quiet: String { document.name }
}

/// A group or user in a list.
struct ShareRow: Row {
    static let header = ["SHARE", "GROUP", "WEIGHT", "ENTITLED", "USED", "PENDING", "RUNNING", "LIMITS"]
    let document: AccountDocument
    var cells: [String] {
        [
            quiet, document.kind == Open(.user) ? document.settings.group?.rawValue ?? "default" : "-",
            String(document.settings.weight), document.entitled.map(AccountDocument.percent) ?? "-",
            document.used.map(AccountDocument.percent) ?? "-", String(document.pending), String(document.running),
            document.limitText,
        ]
    }
    var quiet: String { "\(document.kind)/\(document.name)" }
}
