// Numbers that the scheduler gives: job 42, task 42.7, attempt 42.7.2. They order as numbers and print with dots.

/// One submission. A small positive integer, given in order of submission; in JSON a number.
package struct JobID: RawRepresentable, Hashable, Comparable, Codable, Sendable, CustomStringConvertible {
    package let rawValue: Int64
    package init(rawValue: Int64) { self.rawValue = rawValue }

    /// Parses `42`; nil for anything but a positive decimal number that fits.
    package init?(_ text: some StringProtocol) {
        guard let number = positiveNumber(text) else { return nil }
        rawValue = number
    }

    package var description: String { String(rawValue) }
    package static func < (a: JobID, b: JobID) -> Bool { a.rawValue < b.rawValue }
}

/// One element of a job's array: `42.7`. A job without an array has the task with index 1.
package struct TaskID: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let job: JobID
    package let index: Int64

    package init(job: JobID, index: Int64) {
        self.job = job
        self.index = index
    }

    package init?(_ text: some StringProtocol) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, let job = JobID(parts[0]), let index = naturalNumber(parts[1]) else { return nil }
        self.init(job: job, index: index)
    }

    package var description: String { "\(job).\(index)" }
    package static func < (a: TaskID, b: TaskID) -> Bool { (a.job, a.index) < (b.job, b.index) }
}

/// One execution of a task on a worker: `42.7.2`. The number is the fencing token: it rises with each attempt of a
/// task.
package struct AttemptID: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let task: TaskID
    package let number: Int64
    package var job: JobID { task.job }

    package init(task: TaskID, number: Int64) {
        self.task = task
        self.number = number
    }

    package init?(_ text: some StringProtocol) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, let job = JobID(parts[0]), let index = naturalNumber(parts[1]),
            let number = positiveNumber(parts[2])
        else { return nil }
        self.init(task: TaskID(job: job, index: index), number: number)
    }

    package var description: String { "\(task).\(number)" }
    package static func < (a: AttemptID, b: AttemptID) -> Bool { (a.task, a.number) < (b.task, b.number) }
}

extension TaskID: Codable {
    package init(from decoder: any Decoder) throws {
        self = try decodeText(decoder, "a task id such as 42.7") { TaskID($0) }
    }
    package func encode(to encoder: any Encoder) throws { try encodeText(description, encoder) }
}

extension AttemptID: Codable {
    package init(from decoder: any Decoder) throws {
        self = try decodeText(decoder, "an attempt id such as 42.7.2") { AttemptID($0) }
    }
    package func encode(to encoder: any Encoder) throws { try encodeText(description, encoder) }
}

private func naturalNumber(_ text: some StringProtocol) -> Int64? {
    guard text.utf8.count <= 19, text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else {
        return nil
    }
    return Int64(text)
}

private func positiveNumber(_ text: some StringProtocol) -> Int64? {
    naturalNumber(text).flatMap { $0 > 0 ? $0 : nil }
}

/// Decodes a value from its text form; the error names what was expected.
package func decodeText<Value>(_ decoder: any Decoder, _ expected: String, _ parse: (String) -> Value?) throws -> Value
{
    let text = try decoder.singleValueContainer().decode(String.self)
    guard let value = parse(text) else {
        throw DecodingError.dataCorrupted(
            .init(codingPath: decoder.codingPath, debugDescription: "\(quoted(text)) is not \(expected)"))
    }
    return value
}

package func encodeText(_ text: String, _ encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(text)
}
