// Two texts, line by line: whether all that differs is of one kind.
import JobModel

struct LinePair {
    private let first: [ArraySlice<UInt8>]
    private let second: [ArraySlice<UInt8>]
    private let pair: ContentPair
    /// Lines that are looked at.
    private static let most = 2_000

    /// Nil unless both are whole and text.
    init?(_ pair: ContentPair) {
        guard pair.isWhole, !pair.first.contains(0), !pair.second.contains(0),
            String(validating: pair.first, as: UTF8.self) != nil, String(validating: pair.second, as: UTF8.self) != nil
        else { return nil }
        self.pair = pair
        first = pair.first.split(separator: 0x0a, omittingEmptySubsequences: false)
        second = pair.second.split(separator: 0x0a, omittingEmptySubsequences: false)
    }

    func areSameBut(for change: ([UInt8]) -> [UInt8]) -> Bool { change(pair.first) == change(pair.second) }

    /// The same lines, each as often, in whatever order.
    var areSameLines: Bool {
        guard first.count == second.count, pair.first.count == pair.second.count else { return false }
        return Self.sorted(first).elementsEqual(Self.sorted(second))
    }

    /// One is sorted by bytes and the other by letters, as languages do it.
    var areBothSorted: Bool {
        let (a, b) = (Self.isSorted(first), Self.isSorted(second))
        return a != b && Self.isSorted((a ? second : first).map { Self.letters($0)[...] })
    }

    /// What a language's rules look at first: letters without their case, and digits.
    private static func letters(_ line: ArraySlice<UInt8>) -> [UInt8] {
        Array(String(decoding: line, as: UTF8.self).lowercased().filter { $0.isLetter || $0.isNumber }.utf8)
    }

    private static func sorted(_ lines: [ArraySlice<UInt8>]) -> [ArraySlice<UInt8>] {
        lines.sorted { $0.lexicographicallyPrecedes($1) }
    }

    private static func isSorted(_ lines: [ArraySlice<UInt8>]) -> Bool {
        let lines = lines.filter { !$0.isEmpty }
        return lines.count > 1 && zip(lines, lines.dropFirst()).allSatisfy { !$1.lexicographicallyPrecedes($0) }
    }

    /// The lines that are not the same, side by side; none if the two have not as many.
    var differing: [TextPair] {
        guard first.count == second.count else { return [] }
        var found: [TextPair] = []
        for (a, b) in zip(first, second) where a != b && found.count < Self.most {
            found.append(
                TextPair(first: String(decoding: a, as: UTF8.self), second: String(decoding: b, as: UTF8.self)))
        }
        return found
    }
}

/// Two lines that are not the same.
struct TextPair {
    let first: String
    let second: String

    /// Runs of digits that are the numbers of the runs stand for each other.
    func isSame(but runs: RunNames) -> Bool {
        func plain(_ text: String, _ attempt: AttemptID) -> String {
            let job = attempt.job.description
            return text.replacing(#/[0-9]+/#) { $0.output == job ? "JOB" : String($0.output) }
                .replacing("JOB.\(attempt.task.index).\(attempt.number)", with: "ATTEMPT")
        }
        return plain(first, runs.first) == plain(second, runs.second)
    }

    var isSameButTime: Bool {
        let (a, b) = (Self.withoutTime(first), Self.withoutTime(second))
        return a == b && a != first && b != second
    }

    /// `2026-11-26`, `20261126`, `10:31:07.5`, `T103107`, `Nov 26`, `26 Nov`, seconds since 1970.
    private static func withoutTime(_ text: String) -> String {
        text.replacing(#/(19|20)[0-9]{2}[-\/.]?[01][0-9][-\/.]?[0-3][0-9]/#, with: "DATE")
            .replacing(#/[0-2][0-9]:[0-5][0-9](:[0-6][0-9])?([.,][0-9]+)?/#, with: "TIME")
            .replacing(#/DATET?[0-2][0-9][0-5][0-9][0-5][0-9]/#, with: "DATETIME")
            .replacing(#/\b1[0-9]{9}(\.[0-9]+)?\b/#, with: "TIME")
            .replacing(#/\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*\b/#, with: "DAY")
            .replacing(#/\b(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]* +[0-3]?[0-9]\b/#, with: "DATE")
            .replacing(#/\b[0-3]?[0-9] (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\b/#, with: "DATE")
    }

    var isSameButPoint: Bool { first.replacing(",", with: ".") == second.replacing(",", with: ".") }

    var isSameButRounding: Bool {
        let number = #/[-+]?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?/#
        guard first.replacing(number, with: "0") == second.replacing(number, with: "0") else { return false }
        return zip(first.matches(of: number), second.matches(of: number)).allSatisfy { a, b in
            if a.output.0 == b.output.0 { return true }
            // Whole numbers are counted, not rounded.
            guard let x = Double(a.output.0), let y = Double(b.output.0),
                a.output.0.contains(where: { ".eE".contains($0) })
            else { return false }
            return isNear(x, y, within: 1e-3)
        }
    }

    /// UUIDs, long hexadecimal numbers, addresses, and names below /tmp.
    var isSameButRandom: Bool {
        func plain(_ text: String) -> String {
            text.replacing(#/[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}/#, with: "ID")
                .replacing(#/\b(0x)?[0-9a-fA-F]{8,}\b/#, with: "ID").replacing(#/\/tmp\/[^ "',;:]+/#, with: "/tmp/ID")
        }
        return plain(first) == plain(second)
    }
}
