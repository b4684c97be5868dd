// A cron expression: minute, hour, day of the month, month, day of the week; and the next time that it names. Pure: the
// time of day of a zone comes in as offsets.

package struct CronExpression: Hashable, Sendable, CustomStringConvertible {
    package static let rule =
        "write five fields, minute hour day month weekday, as in '0 6 * * 1-5', or @hourly, @daily, @weekly, @monthly, "
        + "@yearly"

    /// As written.
    package let description: String
    // One bit a value.
    private let minutes: UInt64
    private let hours: UInt64
    private let days: UInt64
    private let months: UInt64
    private let weekdays: UInt64
    /// Both are restricted: a day counts that is named by either, as cron has it.
    private let isEither: Bool

    private static let macros = [
        "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0",
        "@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
    ]
    private static let monthNames = [
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ]
    private static let weekdayNames = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]

    /// Nil for what is no expression, or names no time at all.
    package init?(_ text: String) {
        guard text.utf8.count <= 200 else { return nil }
        let fields = (Self.macros[text] ?? text).split(separator: " ").map { $0.lowercased() }
        guard fields.count == 5, let minutes = Self.bits(fields[0], 0...59), let hours = Self.bits(fields[1], 0...23),
            let days = Self.bits(fields[2], 1...31),
            let months = Self.bits(fields[3], 1...12, Self.monthNames, from: 1),
            var weekdays = Self.bits(fields[4], 0...7, Self.weekdayNames, from: 0)
        else { return nil }
        // Sunday is 0 and 7.
        if weekdays & (1 << 7) != 0 { weekdays = (weekdays | 1) & ~(1 << 7) }
        description = text
        (self.minutes, self.hours, self.days, self.months, self.weekdays) = (minutes, hours, days, months, weekdays)
        isEither = !fields[2].hasPrefix("*") && !fields[4].hasPrefix("*")
        guard next(after: Timestamp(millisecondsSinceEpoch: 1_767_225_600_000), in: .utc) != nil else { return nil }
    }

    /// `*`, `5`, `1-5`, `*/15`, `10-20/2`, names, and lists of these.
    private static func bits(
        _ field: String, _ range: ClosedRange<Int>, _ names: [String] = [], from first: Int = 0
    ) -> UInt64? {
        func number(_ text: Substring) -> Int? {
            if let place = names.firstIndex(of: String(text)) { return place + first }
            guard (1...2).contains(text.utf8.count), text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
                return nil
            }
            return Int(text).flatMap { range.contains($0) ? $0 : nil }
        }
        var bits: UInt64 = 0
        for part in field.split(separator: ",", omittingEmptySubsequences: false) {
            let step = part.split(separator: "/", omittingEmptySubsequences: false)
            guard (1...2).contains(step.count), !step[0].isEmpty else { return nil }
            let bounds = step[0].split(separator: "-", omittingEmptySubsequences: false)
            let values: ClosedRange<Int>
            if step[0] == "*" {
                values = range
            } else if bounds.count == 1, let one = number(bounds[0]) {
                values = one...(step.count == 2 ? range.upperBound : one)
            } else if bounds.count == 2, let low = number(bounds[0]), let high = number(bounds[1]), low <= high {
                values = low...high
            } else {
                return nil
            }
            var width = 1
            if step.count == 2 {
                guard let given = Int(step[1]), (1...59).contains(given), !step[1].hasPrefix("+") else { return nil }
                width = given
            }
            for value in stride(from: values.lowerBound, through: values.upperBound, by: width) { bits |= 1 << value }
        }
        return bits
    }

    // MARK: times

    /// The first time after `time`; nil if there is none within nine years, in which every day of the calendar comes.
    ///
    /// A time that a day has twice, because a clock is set back, counts once: the first. One that a day does not have,
    /// because a clock is set forward, moves on by as much: 02:30 becomes 03:30.
    package func next(after time: Timestamp, in zone: CivilZone) -> Timestamp? {
        let seconds = floorDivided(time.millisecondsSinceEpoch, by: 1000)
        let local = seconds + zone.offset(seconds)
        // A day earlier, because what the clock shows may have been shown before.
        let today = floorDivided(local, by: 86_400)
        for day in (today - 1)...(today + 9 * 366) where names(CivilDay(daysSinceEpoch: day)) {
            for hour in 0..<24 as Range<Int64> where hours & (1 << UInt64(hour)) != 0 {
                for minute in 0..<60 as Range<Int64> where minutes & (1 << UInt64(minute)) != 0 {
                    let moment = zone.moment(ofLocal: day * 86_400 + hour * 3600 + minute * 60)
                    if moment > seconds { return Timestamp(millisecondsSinceEpoch: moment * 1000) }
                }
            }
        }
        return nil
    }

    private func names(_ day: CivilDay) -> Bool {
        guard months & (1 << UInt64(day.month)) != 0 else { return false }
        let byDay = days & (1 << UInt64(day.day)) != 0
        let byWeekday = weekdays & (1 << UInt64(day.weekday)) != 0
        return isEither ? byDay || byWeekday : byDay && byWeekday
    }
}

/// How far the clocks of a place are from UTC.
package struct CivilZone: Sendable {
    /// Seconds to add to UTC, at a time in seconds since 1970.
    package let offset: @Sendable (Int64) -> Int64

    package init(offset: @escaping @Sendable (Int64) -> Int64) { self.offset = offset }

    package static let utc = CivilZone { _ in 0 }

    /// When clocks show this time, in seconds as if it were UTC.
    func moment(ofLocal local: Int64) -> Int64 {
        let (before, after) = (offset(local - 86_400), offset(local + 86_400))
        // Before the change first: that is the earlier of two, and moves on what is left out.
        for candidate in [local - before, local - after] where candidate + offset(candidate) == local {
            return candidate
        }
        return local - before
    }
}

/// A day of the calendar (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
package struct CivilDay: Hashable, Sendable {
    package let year: Int64
    package let month: Int64
    package let day: Int64
    /// 0 is Sunday.
    package let weekday: Int64

    package init(daysSinceEpoch days: Int64) {
        let z = days + 719_468
        let era = floorDivided(z, by: 146_097)
        let dayOfEra = z - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shifted = (5 * dayOfYear + 2) / 153
        day = dayOfYear - (153 * shifted + 2) / 5 + 1
        month = shifted < 10 ? shifted + 3 : shifted - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        weekday = ((days + 4) % 7 + 7) % 7
    }
}

func floorDivided(_ a: Int64, by b: Int64) -> Int64 { a >= 0 || a % b == 0 ? a / b : a / b - 1 }
