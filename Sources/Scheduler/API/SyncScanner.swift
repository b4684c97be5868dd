// A sync request straight from its bytes: the hottest body that the scheduler reads, thousands of reports a call. It
// knows only the form in which agents write. Whatever else stands there (a registration, an escape, a fingerprint, an
// unknown key, a mistake) gives nil, and the coder reads the body and finds the words for what is wrong. Invariant:
// what this accepts, the coder accepts with the same value. A test flips bytes to show it.
import JobModel

package struct SyncScanner {
    private let bytes: UnsafeRawBufferPointer
    private var index = 0

    /// Nil where the coder has to read.
    package static func request(_ bytes: UnsafeRawBufferPointer) -> SyncRequest? {
        var scanner = SyncScanner(bytes: bytes)
        guard let request = scanner.request(), scanner.isAtEnd() else { return nil }
        return request
    }

    private init(bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    private static let requestKeys: [StaticString] = [
        "protocol", "incarnation", "sequence", "live", "reports", "wait_seconds", "proof", "registration",
    ]
    private static let reportKeys: [StaticString] = [
        "attempt", "sequence", "state", "reason", "exit_code", "signal", "message", "engine", "started_at",
        "finished_at",
        "inputs", "outputs", "usage", "image_manifest",
    ]
    private static let usageKeys: [StaticString] = ["cpu_seconds", "max_memory_bytes", "wall_seconds"]

    // MARK: documents

    private mutating func request() -> SyncRequest? {
        var request = SyncRequest(
            version: 0, incarnation: "", sequence: 0, registration: nil, live: [], reports: [], wait: .zero)
        let seen = members(of: Self.requestKeys) { scanner, key in
            switch key {
            case 0: scanner.integer().flatMap { Int(exactly: $0) }.map { request.version = $0 } != nil
            case 1: scanner.string().map { request.incarnation = $0 } != nil
            case 2: scanner.integer().map { request.sequence = $0 } != nil
            case 3: scanner.elements { scanner in scanner.attempt().map { request.live.append($0) } != nil }
            case 4: scanner.elements { scanner in scanner.report().map { request.reports.append($0) } != nil }
            case 5: scanner.number().flatMap { TimeSpan(seconds: $0) }.map { request.wait = $0 } != nil
            case 6: scanner.string().map { request.proof = $0 } != nil
            default: scanner.null()
            }
        }
        return seen.map { $0 & 0b11_1111 == 0b11_1111 } == true ? request : nil
    }

    private mutating func report() -> AttemptReport? {
        let nobody = AttemptID(task: TaskID(job: JobID(rawValue: 1), index: 1), number: 1)
        var report = AttemptReport(attempt: nobody, sequence: 0, state: .assigned)
        let seen = members(of: Self.reportKeys) { scanner, key in
            if key > 2, scanner.null() { return true }
            switch key {
            case 0: return scanner.attempt().map { report.attempt = $0 } != nil
            case 1: return scanner.integer().map { report.sequence = $0 } != nil
            case 2: return scanner.string().flatMap { AttemptState(rawValue: $0) }.map { report.state = $0 } != nil
            case 3: return scanner.string().flatMap { EndReason(rawValue: $0) }.map { report.reason = $0 } != nil
            case 4: return scanner.integer().flatMap { Int(exactly: $0) }.map { report.exitCode = $0 } != nil
            case 5: return scanner.integer().flatMap { Int(exactly: $0) }.map { report.signal = $0 } != nil
            case 6: return scanner.string().map { report.message = $0 } != nil
            case 7: return scanner.string().map { report.engine = $0 } != nil
            case 8: return scanner.time().map { report.startedAt = $0 } != nil
            case 9: return scanner.time().map { report.finishedAt = $0 } != nil
            case 10:
                report.inputs = [:]
                return scanner.emptyObject()
            case 11:
                report.outputs = [:]
                return scanner.emptyObject()
            case 12: return scanner.usage().map { report.usage = $0 } != nil
            default: return scanner.string().flatMap { Digest($0) }.map { report.imageManifest = $0 } != nil
            }
        }
        return seen.map { $0 & 0b111 == 0b111 } == true ? report : nil
    }

    private mutating func usage() -> Usage? {
        var usage = Usage(cpuSeconds: 0, maxMemory: ByteCount(bytes: 0), wallSeconds: 0)
        let seen = members(of: Self.usageKeys) { scanner, key in
            switch key {
            case 0: scanner.number().map { usage.cpuSeconds = $0 } != nil
            case 1: scanner.integer().map { usage.maxMemory = ByteCount(bytes: $0) } != nil
            default: scanner.number().map { usage.wallSeconds = $0 } != nil
            }
        }
        return seen == 0b111 ? usage : nil
    }

    // MARK: structure

    /// Reads an object whose members are all among `keys`, each at most once, giving the index of each key to `read`.
    /// One bit for each key that was there; nil if anything is unusual.
    private mutating func members(of keys: [StaticString], _ read: (inout SyncScanner, Int) -> Bool) -> UInt32? {
        guard take("{") else { return nil }
        var seen: UInt32 = 0
        if take("}") { return seen }
        repeat {
            guard let name = text(), let key = keys.firstIndex(where: { Self.equal(name, $0) }), take(":"),
                seen & (1 << key) == 0, read(&self, key)
            else { return nil }
            seen |= 1 << key
        } while take(",")
        return take("}") ? seen : nil
    }

    private static func equal(_ text: Slice<UnsafeRawBufferPointer>, _ key: StaticString) -> Bool {
        guard text.count == key.utf8CodeUnitCount else { return false }
        return key.withUTF8Buffer { text.elementsEqual($0) }
    }

    private mutating func elements(_ read: (inout SyncScanner) -> Bool) -> Bool {
        guard take("[") else { return false }
        if take("]") { return true }
        repeat {
            guard read(&self) else { return false }
        } while take(",")
        return take("]")
    }

    private mutating func emptyObject() -> Bool { take("{") && take("}") }

    private mutating func null() -> Bool {
        skipSpace()
        guard bytes[index...].starts(with: "null".utf8) else { return false }
        index += 4
        return true
    }

    // MARK: leaves

    /// `"42.7.2"`.
    private mutating func attempt() -> AttemptID? {
        guard var rest = text() else { return nil }
        func number() -> Int64? {
            let digits = rest.prefix { Self.isDigit($0) }
            rest = rest.dropFirst(digits.count)
            return Self.natural(digits)
        }
        func dot() -> Bool { rest.popFirst() == UInt8(ascii: ".") }
        guard let job = number(), job > 0, dot(), let index = number(), dot(), let attempt = number(), attempt > 0,
            rest.isEmpty
        else { return nil }
        return AttemptID(task: TaskID(job: JobID(rawValue: job), index: index), number: attempt)
    }

    /// `"2026-11-24T13:30:00.250Z"`, the one form in which we write times.
    private mutating func time() -> Timestamp? {
        guard let text = text(), text.count == 24 else { return nil }
        let at = text.startIndex
        let marks: [(Int, StaticString)] = [(4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":"), (19, "."), (23, "Z")]
        guard marks.allSatisfy({ text[at + $0.0] == $0.1.utf8Start.pointee }) else { return nil }
        func part(_ first: Int, _ count: Int, in range: ClosedRange<Int64>) -> Int64? {
            Self.natural(text[(at + first)..<(at + first + count)]).flatMap { range.contains($0) ? $0 : nil }
        }
        guard let year = part(0, 4, in: 1970...9999), let month = part(5, 2, in: 1...12),
            let day = part(8, 2, in: 1...Self.length(of: month, in: year)),
            let hour = part(11, 2, in: 0...23), let minute = part(14, 2, in: 0...59),
            let second = part(17, 2, in: 0...59),
            let milliseconds = part(20, 3, in: 0...999)
        else { return nil }
        let seconds = Self.days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second
        return Timestamp(millisecondsSinceEpoch: seconds * 1000 + milliseconds)
    }

    /// In days.
    private static func length(of month: Int64, in year: Int64) -> Int64 {
        let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
        return month == 2 ? (isLeap ? 29 : 28) : [4, 6, 9, 11].contains(month) ? 30 : 31
    }

    /// Civil date to days since 1970: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    private static func days(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
        let shifted = month <= 2 ? year - 1 : year
        let era = shifted / 400
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    private mutating func string() -> String? {
        guard let text = text() else { return nil }
        return String(validating: text, as: UTF8.self)
    }

    /// The bytes between quotes, if none of them is a control character or needs an escape.
    private mutating func text() -> Slice<UnsafeRawBufferPointer>? {
        guard take("\"") else { return nil }
        let start = index
        while index < bytes.count, bytes[index] >= 0x20, bytes[index] != UInt8(ascii: "\\") {
            if bytes[index] == UInt8(ascii: "\"") {
                index += 1
                return bytes[start..<(index - 1)]
            }
            index += 1
        }
        return nil
    }

    /// A whole number of at most 18 digits without sign.
    private mutating func integer() -> Int64? {
        let digits = numeral()
        return digits.count == 1 || digits.first != UInt8(ascii: "0") ? Self.natural(digits) : nil
    }

    /// Digits with at most one dot between them, without sign or exponent.
    private mutating func number() -> Double? {
        let numeral = numeral()
        let parts = numeral.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard (1...2).contains(parts.count), parts.allSatisfy({ !$0.isEmpty && $0.count <= 18 }),
            parts[0].count == 1 || parts[0].first != UInt8(ascii: "0")
        else { return nil }
        return Double(String(decoding: numeral, as: UTF8.self))
    }

    private mutating func numeral() -> Slice<UnsafeRawBufferPointer> {
        skipSpace()
        let start = index
        while index < bytes.count, Self.isDigit(bytes[index]) || bytes[index] == UInt8(ascii: ".") { index += 1 }
        return bytes[start..<index]
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

    private static func natural(_ digits: Slice<UnsafeRawBufferPointer>) -> Int64? {
        guard (1...18).contains(digits.count), digits.allSatisfy(isDigit) else { return nil }
        return digits.reduce(0) { $0 * 10 + Int64($1 - UInt8(ascii: "0")) }
    }

    private mutating func take(_ mark: Unicode.Scalar) -> Bool {
        skipSpace()
        guard index < bytes.count, bytes[index] == UInt8(truncatingIfNeeded: mark.value) else { return false }
        index += 1
        return true
    }

    private mutating func skipSpace() {
        while index < bytes.count, bytes[index] == 0x20 || (0x09...0x0d).contains(bytes[index]) {
            guard bytes[index] != 0x0b, bytes[index] != 0x0c else { return }
            index += 1
        }
    }

    private mutating func isAtEnd() -> Bool {
        skipSpace()
        return index == bytes.count
    }
}
