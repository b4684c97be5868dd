// Amounts with units: memory in bytes, processors in thousandths, time in milliseconds. JSON shows what people write:
// bytes, cpus and seconds as numbers.
import Foundation

/// An amount of memory or storage. In JSON a number of bytes; in a spec `512MiB`.
package struct ByteCount: Hashable, Comparable, Sendable {
    package var bytes: Int64
    package init(bytes: Int64) { self.bytes = bytes }
    package static func < (a: ByteCount, b: ByteCount) -> Bool { a.bytes < b.bytes }

    private static let units: [(name: String, bytes: Int64)] = [
        ("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40),
        ("KB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("TB", 1_000_000_000_000),
    ]

    /// Parses `512MiB`, `1.5GB` or a bare number of bytes; nil if the unit is unknown, the number negative or the
    /// amount too large.
    package init?(_ text: String) {
        let digits = text.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
        let unitName = text.dropFirst(digits.count).drop { $0 == " " }
        guard let unit = unitName.isEmpty ? 1 : Self.units.first(where: { $0.name == unitName })?.bytes else {
            return nil
        }
        guard let amount = Decimal(string: String(digits)), digits.filter({ $0 == "." }).count <= 1, digits.first != "."
        else { return nil }
        let bytes = NSDecimalNumber(decimal: amount * Decimal(unit)).doubleValue
        guard bytes >= 0, bytes <= 9_000_000_000_000_000 else { return nil }
        self.bytes = Int64(bytes.rounded(.down))
    }
}

extension ByteCount: CustomStringConvertible {
    /// `512 MiB`, with one decimal where the amount is not whole.
    package var description: String {
        let units = ["B", "KiB", "MiB", "GiB", "TiB"]
        var value = Double(bytes)
        var unit = 0
        while value >= 1024, unit < units.count - 1 {
            value /= 1024
            unit += 1
        }
        let number = value == value.rounded() ? String(Int64(value)) : String(format: "%.1f", value)
        return "\(number) \(units[unit])"
    }
}

extension ByteCount: Codable {
    package init(from decoder: any Decoder) throws { bytes = try decoder.singleValueContainer().decode(Int64.self) }
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(bytes)
    }
}

/// An amount of processors, in thousandths. In JSON and specs a decimal: `1.5`.
package struct CPUAmount: Hashable, Comparable, Sendable {
    package var thousandths: Int64
    package init(thousandths: Int64) { self.thousandths = thousandths }
    package init(cpus: Int) { thousandths = Int64(cpus) * 1000 }
    package static func < (a: CPUAmount, b: CPUAmount) -> Bool { a.thousandths < b.thousandths }

    /// The amount as a decimal number of processors.
    package var cpus: Double { Double(thousandths) / 1000 }

    /// Nil unless `cpus` is a whole number of thousandths between 0 and 1,000,000 processors.
    package init?(exactly cpus: Double) {
        guard cpus.isFinite, cpus >= 0, cpus <= 1_000_000 else { return nil }
        let scaled = (cpus * 1000).rounded()
        guard abs(cpus * 1000 - scaled) < 1e-6 else { return nil }
        thousandths = Int64(scaled)
    }
}

extension CPUAmount: CustomStringConvertible, Codable {
    package var description: String {
        thousandths % 1000 == 0 ? String(thousandths / 1000) : String(cpus)
    }
    package init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer().decode(Double.self)
        guard let amount = CPUAmount(exactly: value) else {
            throw DecodingError.dataCorrupted(
                .init(
                    codingPath: decoder.codingPath, debugDescription: "\(value) is not a number of cpus in thousandths")
            )
        }
        self = amount
    }
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        if thousandths % 1000 == 0 { try container.encode(thousandths / 1000) } else { try container.encode(cpus) }
    }
}

/// A length of time in milliseconds. In JSON a number of seconds; in a spec `90s`, `10m`, `1h30m`, `2d`.
package struct TimeSpan: Hashable, Comparable, Sendable {
    package var milliseconds: Int64
    package init(milliseconds: Int64) { self.milliseconds = milliseconds }
    package static func seconds(_ seconds: Int64) -> TimeSpan { TimeSpan(milliseconds: seconds * 1000) }
    package static func minutes(_ minutes: Int64) -> TimeSpan { .seconds(minutes * 60) }
    package static let zero = TimeSpan(milliseconds: 0)
    package static func < (a: TimeSpan, b: TimeSpan) -> Bool { a.milliseconds < b.milliseconds }
    package static func + (a: TimeSpan, b: TimeSpan) -> TimeSpan {
        TimeSpan(milliseconds: a.milliseconds + b.milliseconds)
    }

    /// The span in seconds, with milliseconds as decimals.
    package var seconds: Double { Double(milliseconds) / 1000 }

    /// The longest span that is accepted from outside: ten years.
    package static let longest = TimeSpan.seconds(10 * 366 * 86_400)

    /// Parses one or more `<number><s|m|h|d|ms>` parts, at most ten years in sum; nil for anything else.
    package init?(_ text: String) {
        let units: [(String, Int64)] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)]
        var rest = Substring(text)
        var total: Int64 = 0
        guard !rest.isEmpty else { return nil }
        while !rest.isEmpty {
            let digits = rest.prefix { $0.isASCII && $0.isNumber }
            rest = rest.dropFirst(digits.count)
            let name = rest.prefix { $0.isLetter }
            rest = rest.dropFirst(name.count)
            guard digits.count <= 12, let number = Int64(digits), let unit = units.first(where: { $0.0 == name })?.1
            else { return nil }
            let (part, overflowed) = number.multipliedReportingOverflow(by: unit)
            guard !overflowed, part <= Self.longest.milliseconds else { return nil }
            total += part
            guard total <= Self.longest.milliseconds else { return nil }
        }
        milliseconds = total
    }

    /// Nil unless `seconds` is between 0 and ten years.
    package init?(seconds: Double) {
        guard seconds.isFinite, seconds >= 0, seconds <= Self.longest.seconds else { return nil }
        milliseconds = Int64((seconds * 1000).rounded())
    }
}

extension TimeSpan: CustomStringConvertible, Codable {
    /// `1h30m`, `45s`, `0.25s`.
    package var description: String {
        guard milliseconds >= 1000 else { return milliseconds == 0 ? "0s" : "\(seconds)s" }
        var rest = milliseconds / 1000
        var text = ""
        for (name, size) in [("d", Int64(86_400)), ("h", 3600), ("m", 60), ("s", 1)] where rest >= size {
            text += "\(rest / size)\(name)"
            rest %= size
        }
        return text
    }
    package init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer().decode(Double.self)
        guard let span = TimeSpan(seconds: value) else {
            throw DecodingError.dataCorrupted(
                .init(
                    codingPath: decoder.codingPath,
                    debugDescription: "\(value) is not a number of seconds between 0 and ten years"))
        }
        self = span
    }
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        if milliseconds % 1000 == 0 { try container.encode(milliseconds / 1000) } else { try container.encode(seconds) }
    }
}

/// A moment of civil time, in milliseconds since 1970 UTC. For records, and for what people bound to the calendar
/// (``RunRules``, reservations); no other decision may depend on it.
/// In JSON RFC 3339 in UTC: `2026-11-24T13:30:00.250Z`.
package struct Timestamp: Hashable, Comparable, Sendable {
    package var millisecondsSinceEpoch: Int64
    package init(millisecondsSinceEpoch: Int64) { self.millisecondsSinceEpoch = millisecondsSinceEpoch }
    package static func < (a: Timestamp, b: Timestamp) -> Bool { a.millisecondsSinceEpoch < b.millisecondsSinceEpoch }
    /// The beginning of a day, in UTC.
    package init(daysSinceEpoch days: Int64) { self.init(millisecondsSinceEpoch: days * 86_400_000) }
    /// Whole days since 1970-01-01, in UTC.
    package var daysSinceEpoch: Int64 { floorDivide(millisecondsSinceEpoch, 86_400_000).0 }
    /// `2026-11-26`, in UTC.
    package var day: String { String(description.prefix(10)) }

    /// Later by a span.
    package func after(_ span: TimeSpan) -> Timestamp {
        Timestamp(millisecondsSinceEpoch: millisecondsSinceEpoch + span.milliseconds)
    }
    package static func - (a: Timestamp, b: Timestamp) -> TimeSpan {
        TimeSpan(milliseconds: a.millisecondsSinceEpoch - b.millisecondsSinceEpoch)
    }
}

extension Timestamp: CustomStringConvertible, Codable {
    package var description: String {
        // Days to civil date: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
        let (days, dayMilliseconds) = floorDivide(millisecondsSinceEpoch, 86_400_000)
        let z = days + 719_468
        let (era, dayOfEra) = floorDivide(z, 146_097)
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shifted = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * shifted + 2) / 5 + 1
        let month = shifted < 10 ? shifted + 3 : shifted - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        let seconds = dayMilliseconds / 1000
        return padded(year, 4) + "-" + padded(month, 2) + "-" + padded(day, 2) + "T" + padded(seconds / 3600, 2) + ":"
            + padded(seconds / 60 % 60, 2) + ":" + padded(seconds % 60, 2) + "." + padded(dayMilliseconds % 1000, 3)
            + "Z"
    }

    /// Parses RFC 3339; nil for anything else.
    package init?(_ text: String) {
        let style = Date.ISO8601FormatStyle(includingFractionalSeconds: true)
        guard let date = (try? style.parse(text)) ?? (try? Date.ISO8601FormatStyle().parse(text)) else { return nil }
        let milliseconds = (date.timeIntervalSince1970 * 1000).rounded()
        // Before 1583 calendars differ.
        guard (-12_212_553_600_000...253_402_300_799_999).contains(milliseconds) else { return nil }
        millisecondsSinceEpoch = Int64(milliseconds)
    }

    package init(from decoder: any Decoder) throws {
        self = try decodeText(decoder, "an RFC 3339 time") { Timestamp($0) }
    }
    package func encode(to encoder: any Encoder) throws { try encodeText(description, encoder) }
}

private func floorDivide(_ a: Int64, _ b: Int64) -> (Int64, Int64) {
    let remainder = ((a % b) + b) % b
    return ((a - remainder) / b, remainder)
}

private func padded(_ number: Int64, _ width: Int) -> String {
    let digits = String(number)
    return String(repeating: "0", count: max(0, width - digits.count)) + digits
}
