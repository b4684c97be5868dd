// A workload: which jobs came when, how large and how long they were. Read from the Standard Workload Format
// (https://www.cs.huji.ac.il/labs/parallel/workload/swf.html) and written in it.
import Foundation

/// One rigid job on a machine that is one pool of processors. Times in seconds.
package struct WorkloadJob: Hashable, Sendable {
    package var number: Int64
    package var submitted: Int64
    package var runTime: Int64
    package var processors: Int64
    /// What its user said that it would take, at least the run time.
    package var requestedTime: Int64
    package var user: Int64
}

package struct Workload: Hashable, Sendable {
    /// In order of submission.
    package var jobs: [WorkloadJob]
    /// Of the machine.
    package var processors: Int64
    /// Lines that describe no job that ran: without processors or run time.
    package var skipped = 0
}

/// Why a file is not a workload: the line, the field, what it says.
package struct WorkloadError: Error, Hashable, Sendable, CustomStringConvertible {
    package let description: String
}

extension Workload {
    package static let longestFile = 256 << 20
    package static let longestLine = 1_000
    package static let mostJobs = 2_000_000
    /// In seconds: a hundred years.
    private static let longestTime: Int64 = 3_153_600_000
    private static let mostProcessors: Int64 = 10_000_000

    private static let fields = [
        "job number", "submit time", "wait time", "run time", "allocated processors", "average cpu time", "used memory",
        "requested processors", "requested time", "requested memory", "status", "user", "group", "executable", "queue",
        "partition", "preceding job", "think time",
    ]

    /// Reads the text of a file.
    /// - Parameters:
    ///   - name: the file's, for messages.
    ///   - processors: of the machine; nil: as the header's `MaxProcs` says.
    package init(swf text: some Sequence<UInt8>, name: String, processors: Int64? = nil) throws(WorkloadError) {
        self.init(jobs: [], processors: processors ?? 0)
        var line: [UInt8] = []
        var (number, size) = (1, 0)
        for byte in text {
            size += 1
            guard size <= Self.longestFile else {
                throw WorkloadError(description: "\(name): is larger than \(Self.longestFile >> 20) MiB")
            }
            if byte == UInt8(ascii: "\n") {
                try read(line, number, name, machineIsGiven: processors != nil)
                line.removeAll(keepingCapacity: true)
                number += 1
            } else {
                line.append(byte)
                guard line.count <= Self.longestLine else {
                    throw WorkloadError(description: "\(name):\(number): is longer than \(Self.longestLine) bytes")
                }
            }
        }
        if !line.isEmpty { try read(line, number, name, machineIsGiven: processors != nil) }
        try finish(name)
    }

    private mutating func finish(_ name: String) throws(WorkloadError) {
        guard !jobs.isEmpty else { throw WorkloadError(description: "\(name): has no job that ran") }
        jobs.sort { ($0.submitted, $0.number) < ($1.submitted, $1.number) }
        let largest = jobs.map(\.processors).max() ?? 1
        if self.processors == 0 { self.processors = largest }
        guard largest <= self.processors else {
            throw WorkloadError(
                description: "\(name): a job takes \(largest) processors and the machine has \(self.processors): "
                    + "use --processors")
        }
    }

    private mutating func read(
        _ bytes: [UInt8], _ line: Int, _ name: String, machineIsGiven: Bool
    ) throws(WorkloadError) {
        let text = String(decoding: bytes, as: UTF8.self)
        if text.hasPrefix(";") {
            let pair = text.dropFirst().split(separator: ":", maxSplits: 1).map(Self.trimmed)
            guard !machineIsGiven, pair.count == 2, pair[0] == "MaxProcs" else { return }
            processors = try Self.number(pair[1], 1...Self.mostProcessors, "\(name):\(line): MaxProcs")
            return
        }
        let words = text.split { $0 == " " || $0 == "\t" || $0 == "\r" || $0 == "\r\n" }
        guard !words.isEmpty else { return }
        guard words.count == Self.fields.count else {
            throw WorkloadError(
                description: "\(name):\(line): has \(words.count) fields, not \(Self.fields.count)")
        }
        func field(_ place: Int, _ range: ClosedRange<Int64>) throws(WorkloadError) -> Int64 {
            try Self.number(
                words[place - 1], range, "\(name):\(line): field \(place) (\(Self.fields[place - 1]))")
        }
        let times = -1...Self.longestTime
        let run = try field(4, times)
        let (allocated, wanted) = (
            try field(5, -1...Self.mostProcessors), try field(8, -1...Self.mostProcessors)
        )
        let job = WorkloadJob(
            number: try field(1, 0...Int64.max), submitted: try field(2, 0...Self.longestTime), runTime: run,
            processors: allocated > 0 ? allocated : wanted, requestedTime: max(run, try field(9, times)),
            user: try field(12, -1...1_000_000))
        guard run > 0, job.processors > 0 else {
            skipped += 1
            return
        }
        guard jobs.count < Self.mostJobs else {
            throw WorkloadError(description: "\(name):\(line): there are more than \(Self.mostJobs) jobs")
        }
        jobs.append(job)
    }

    private static func trimmed(_ text: Substring) -> Substring {
        Substring(text.trimmingCharacters(in: .whitespaces))
    }

    private static func number(
        _ text: Substring, _ range: ClosedRange<Int64>, _ place: String
    ) throws(WorkloadError) -> Int64 {
        guard let number = Int64(text), range.contains(number) else {
            throw WorkloadError(
                description: "\(place): '\(text.prefix(40))' is not a whole number from \(range.lowerBound) to "
                    + "\(range.upperBound)")
        }
        return number
    }

    /// The text of a file that reads as this.
    package var swf: String {
        var lines = ["; Version: 2.2", "; MaxProcs: \(processors)"]
        for job in jobs {
            lines.append(
                "\(job.number) \(job.submitted) -1 \(job.runTime) \(job.processors) -1 -1 \(job.processors) "
                    + "\(job.requestedTime) -1 1 \(job.user) -1 -1 -1 -1 -1 -1")
        }
        return lines.joined(separator: "\n") + "\n"
    }
}
