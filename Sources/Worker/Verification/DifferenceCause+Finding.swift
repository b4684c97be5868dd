// Why two results are probably not the same: patterns of what makes programs give other bytes on the same data. A
// guess, and said as one; nothing is decided by it.
import JobModel

/// What the two runs were called: programs write such names into their results.
struct RunNames: Sendable {
    let first: AttemptID
    let second: AttemptID
}

extension DifferenceCause {
    /// Nil where nothing fits.
    init?(of pair: ContentPair, runs: RunNames) {
        guard let offset = pair.offset else { return nil }
        let place = Int(clamping: offset)
        if let found = Self.container(pair, place) {
            self = found
        } else if let lines = LinePair(pair), let found = Self.text(lines, runs) {
            self = found
        } else if let found = Self.cut(pair, place) ?? Self.date(pair, place) ?? Self.numbers(pair) {
            self = found
        } else {
            return nil
        }
    }

    // MARK: File formats with a time in them

    private static func container(_ pair: ContentPair, _ place: Int) -> DifferenceCause? {
        func both(_ bytes: [UInt8], at start: Int) -> Bool {
            start >= 0
                && [pair.first, pair.second].allSatisfy {
                    $0.count >= start + bytes.count && Array($0[start..<(start + bytes.count)]) == bytes
                }
        }
        if both([0x1f, 0x8b], at: 0), (4..<8).contains(place) {
            return DifferenceCause(
                .timestamp, "a time stamp in the gzip header: write it with 'gzip -n', or with mtime=0")
        }
        // Local and central headers of a zip: time and date at 10 and 12.
        let isZip =
            (10..<14).contains { both(Array("PK\u{3}\u{4}".utf8), at: place - $0) }
            || (12..<16).contains { both(Array("PK\u{1}\u{2}".utf8), at: place - $0) }
        if isZip {
            return DifferenceCause(
                .timestamp, "the time stamp of a member of a zip archive: set the members' times to a fixed one")
        }
        let block = place / 512 * 512
        if (136..<156).contains(place - block), both(Array("ustar".utf8), at: block + 257) {
            return DifferenceCause(
                .timestamp, "the time stamp of a member of a tar archive: pack with 'tar --mtime=@0 --sort=name'")
        }
        if both([0x0d, 0x0d, 0x0a], at: 1) || both([0x0d, 0x0a], at: 2), (8..<12).contains(place) {
            return DifferenceCause(
                .timestamp,
                "the source's time stamp in compiled Python: set PYTHONDONTWRITEBYTECODE=1, or use "
                    + "'--invalidation-mode unchecked-hash'")
        }
        return nil
    }

    // MARK: Text

    private static func text(_ lines: LinePair, _ runs: RunNames) -> DifferenceCause? {
        if lines.areSameBut(for: { $0.filter { $0 != 0x0d } }) {
            return DifferenceCause(.lineEndings, "only the line endings differ: CR LF in one, LF in the other")
        }
        if lines.areSameLines {
            return lines.areBothSorted
                ? DifferenceCause(
                    .locale, "the same lines, sorted in another way: set LC_ALL where the program sorts")
                : DifferenceCause(
                    .order,
                    "the same lines in another order: sort what comes from a folder's listing, a set, a "
                        + "dictionary or several threads")
        }
        let pairs = lines.differing
        guard !pairs.isEmpty else { return nil }
        func all(_ fits: (TextPair) -> Bool) -> Bool { pairs.allSatisfy(fits) }
        if all({ $0.isSame(but: runs) }) {
            return DifferenceCause(
                .jobID, "it holds the number of its job or attempt: write $JOBCTL_JOB_ID into the log instead")
        }
        if all({ $0.isSameButTime }) {
            return DifferenceCause(
                .timestamp, "it holds the time at which it was written: leave it out, or use SOURCE_DATE_EPOCH")
        }
        if all({ $0.isSameButPoint }) {
            return DifferenceCause(.locale, "decimal commas in one, points in the other: set LC_ALL=C.UTF-8")
        }
        if all({ $0.isSameButRounding }) { return rounding }
        if all({ $0.isSameButRandom }) {
            return DifferenceCause(
                .random, "it holds a random identifier or name: set a seed, or leave it out")
        }
        return nil
    }

    private static let rounding = DifferenceCause(
        .rounding,
        "numbers that differ in their last digits: sums in another order, as several threads make them; set "
            + "OMP_NUM_THREADS=1 or the like")

    // MARK: Binary

    private static func cut(_ pair: ContentPair, _ place: Int) -> DifferenceCause? {
        guard pair.isWhole, pair.first.count != pair.second.count, place == min(pair.first.count, pair.second.count)
        else { return nil }
        return DifferenceCause(
            .truncated,
            "one is the beginning of the other: the \(place == 0 ? "empty" : "shorter") one was not written "
                + "to its end, or the other was appended to")
    }

    /// All that differs are numbers, of 8 or of 4 bytes, that are nearly the same.
    private static func numbers(_ pair: ContentPair) -> DifferenceCause? {
        guard pair.first.count == pair.second.count else { return nil }
        let isDouble = Words(pair, width: 8).areNear { Double(bitPattern: $0) }
        guard isDouble || Words(pair, width: 4).areNear({ Double(Float(bitPattern: UInt32($0))) }) else { return nil }
        return rounding
    }

    /// A date in letters near the first difference, as PDF and many formats of science have it.
    private static func date(_ pair: ContentPair, _ place: Int) -> DifferenceCause? {
        let texts = [pair.first, pair.second].map { bytes in
            let start = max(0, min(place, bytes.count) - 24)
            return String(decoding: bytes[start..<min(bytes.count, start + 48)], as: UTF8.self)
        }
        guard TextPair(first: texts[0], second: texts[1]).isSameButTime else { return nil }
        return DifferenceCause(.timestamp, "a date in the file: leave it out, or use SOURCE_DATE_EPOCH")
    }
}

/// Two contents as little-endian words.
private struct Words {
    let pair: ContentPair
    let width: Int
    init(_ pair: ContentPair, width: Int) { (self.pair, self.width) = (pair, width) }

    /// Whether each word that differs is a plain number that is nearly the same in both.
    func areNear(_ number: (UInt64) -> Double) -> Bool {
        var found = 0
        for start in stride(from: 0, through: pair.first.count - width, by: width) {
            let (a, b) = (word(pair.first, start), word(pair.second, start))
            guard a != b else { continue }
            guard !isText(a) || !isText(b) else { return false }
            guard isNear(number(a), number(b), within: width == 8 ? 1e-6 : 1e-3) else { return false }
            found += 1
        }
        // What follows the last whole word must be the same.
        let rest = pair.first.count - pair.first.count % width
        return found > 0 && pair.first[rest...] == pair.second[rest...]
    }

    /// Letters and digits have the pattern of some number as well.
    private func isText(_ word: UInt64) -> Bool {
        (0..<width).allSatisfy { (0x20..<0x7f).contains(UInt8(truncatingIfNeeded: word >> UInt64(8 * $0))) }
    }

    private func word(_ bytes: [UInt8], _ start: Int) -> UInt64 {
        (0..<width).reduce(0) { $0 | UInt64(bytes[start + $1]) << UInt64(8 * $1) }
    }
}

/// Whether both are numbers of a sensible size that agree within a part of the larger.
func isNear(_ a: Double, _ b: Double, within part: Double) -> Bool {
    guard a.isFinite, b.isFinite else { return false }
    let size = max(abs(a), abs(b))
    guard size > 1e-30, size < 1e30 else { return size == 0 }
    return abs(a - b) <= size * part
}
