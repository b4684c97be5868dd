// The options that commands share, how values on the command line are understood, and which scheduler is meant: --url,
// $JOBCTL_URL, or the context file that `jobctl up` writes.
import ArgumentParser
import Foundation
import JobModel
import SchedulerClient

enum OutputFormat: String, ExpressibleByArgument, CaseIterable { case table, json }

/// How a result is printed.
struct OutputOptions: ParsableArguments {
    @Option(name: [.customShort("o"), .long], help: ArgumentHelp("Print a table or JSON.", valueName: "format"))
    var output: OutputFormat = .table

    @Flag(name: .shortAndLong, help: "Print ids only.")
    var quiet = false
}

/// The options of every command that talks to a scheduler.
struct GlobalOptions: ParsableArguments {
    @OptionGroup var format: OutputOptions

    @Option(help: "The scheduler's URL; otherwise $JOBCTL_URL, or the one of 'jobctl up'.")
    var url: String?

    var output: OutputFormat { format.output }
    var quiet: Bool { format.quiet }

    func client() throws -> SchedulerClient { try Self.client(url: url) }

    /// For commands whose own options stand in the way of these.
    /// - Throws: ``Problem`` if no scheduler is known, or the context file is one that must not be used.
    static func client(url: String?) throws -> SchedulerClient {
        let environment = ProcessInfo.processInfo.environment.filter { !$0.value.isEmpty }
        let (given, token) = (url ?? environment["JOBCTL_URL"], environment["JOBCTL_TOKEN"])
        if let given, let token { return try SchedulerClient(url: given, token: token) }
        let context = try Context.read()
        guard let address = given ?? context?.url else {
            throw Problem(
                .unavailable, "no scheduler is known: start one with 'jobctl up', or give --url or $JOBCTL_URL")
        }
        // The file's token is for the file's scheduler and goes nowhere else.
        let own = context.flatMap { isSame($0.url, address) ? $0.token : nil }
        return try SchedulerClient(url: address, token: token ?? own)
    }

    private static func isSame(_ a: String, _ b: String) -> Bool {
        func plain(_ url: String) -> Substring { url.hasSuffix("/") ? url.dropLast() : url[...] }
        return plain(a) == plain(b)
    }
}

/// Values as they stand on a command line. Each refusal says what is allowed; ArgumentParser puts option and value
/// before it.
enum Given {
    static func job(_ text: String) throws -> JobID {
        guard let id = JobID(text) else { throw ValidationError("write the number of a job, for example 42") }
        return id
    }

    static func subject(_ text: String) throws -> Subject {
        guard let subject = Subject(text) else {
            throw ValidationError("write a job, a task or an attempt: 42, 42.7 or 42.7.2")
        }
        return subject
    }

    static func worker(_ text: String) throws -> WorkerName {
        guard let name = WorkerName(rawValue: text) else { throw ValidationError(WorkerName.refusal(of: text)) }
        return name
    }

    static func user(_ text: String) throws -> UserName {
        guard let name = UserName(rawValue: text) else { throw ValidationError(UserName.refusal(of: text)) }
        return name
    }

    /// The length of a page.
    static func limit(_ text: String) throws -> Int { try integer(text, in: 1...1000) }

    static func priority(_ text: String) throws -> Int {
        try integer(text, in: -SpecLimits.priority...SpecLimits.priority)
    }

    static func keep(_ text: String) throws -> KeepPolicy {
        guard let policy = KeepPolicy(rawValue: text) else {
            throw ValidationError("write always, on-success or never")
        }
        return policy
    }

    static func integer(_ text: String, in range: ClosedRange<Int>) throws -> Int {
        guard let number = Int(text), range.contains(number) else {
            throw ValidationError("write a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    /// A user or group that containers may run as.
    static func identity(_ text: String) throws -> UInt32 {
        guard let number = UInt32(text), number != .max else {
            throw ValidationError("write a number from 0 to \(UInt32.max - 1)")
        }
        return number
    }

    static func time(_ text: String) throws -> TimeSpan {
        guard let span = TimeSpan(text) else { throw ValidationError("write a time such as 90s, 10m or 2h") }
        return span
    }

    /// As it stands in a spec.
    static func moment(_ text: String) throws -> String {
        guard JobSpec.Moment(text) != nil else {
            throw ValidationError("write a time such as 2027-01-01T06:00:00Z, or one from now such as 2h")
        }
        return text
    }

    static func maxRunning(_ text: String) throws -> Int { try integer(text, in: 1...Int(TaskShape.largestCount)) }

    static func cpus(_ text: String) throws -> Double {
        guard let number = Double(text), let amount = CPUAmount(exactly: number), amount.thousandths > 0 else {
            throw ValidationError("write a number of cpus, for example 2 or 0.5")
        }
        return number
    }

    /// What is completed for job ids: the newest jobs.
    static let jobCompletion = CompletionKind.shellCommand("jobctl list --quiet --limit 20 2>/dev/null")
    static let workerCompletion = CompletionKind.shellCommand("jobctl worker list --quiet 2>/dev/null")
}
