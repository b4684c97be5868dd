// Two files side by side: where they begin to differ, and the beginnings of both, from which DifferenceCause+Finding
// tells a likely cause. Read once, in pieces; what is kept is bounded.
import Glibc
import JobModel

struct ContentPair: Sendable {
    /// Bytes of each file that are kept to find a cause.
    static let kept = 4 << 20

    private(set) var first: [UInt8] = []
    private(set) var second: [UInt8] = []
    /// Both are kept whole.
    private(set) var isWhole = true
    /// The first byte that differs; the shorter one's length if it is the beginning of the other. Nil if they are the
    /// same.
    private(set) var offset: Int64?
    /// Of the first file's whole content.
    private(set) var firstDigest: Digest

    /// For contents at hand.
    init(_ first: [UInt8], _ second: [UInt8]) {
        (self.first, self.second) = (first, second)
        firstDigest = Digest(of: first)
        offset = Self.difference(first[...], second[...], at: 0, isEnd: true)
    }

    /// Reads both to the end of the first.
    /// - Throws: ``VolumeError``.
    init(_ first: borrowing Descriptor, _ second: borrowing Descriptor, _ cancelled: () -> Bool) throws(VolumeError) {
        var builder = DigestBuilder()
        var position: Int64 = 0
        firstDigest = Digest(of: "")
        while true {
            guard !cancelled() else { throw VolumeError("the comparison was given up") }
            let a = try Self.read(first, at: position)
            let b = offset == nil || self.second.count < Self.kept ? try Self.read(second, at: position) : []
            builder.update(a)
            if offset == nil { offset = Self.difference(a[...], b[...], at: position, isEnd: a.count != b.count) }
            keep(a, b)
            if a.isEmpty, b.isEmpty || offset != nil { break }
            position += Int64(Self.piece)
        }
        firstDigest = builder.finish()
    }

    private static let piece = 1 << 18

    private mutating func keep(_ a: [UInt8], _ b: [UInt8]) {
        if first.count < Self.kept { first += a } else if !a.isEmpty { isWhole = false }
        if second.count < Self.kept { second += b } else if !b.isEmpty { isWhole = false }
    }

    private static func difference(_ a: ArraySlice<UInt8>, _ b: ArraySlice<UInt8>, at position: Int64, isEnd: Bool)
        -> Int64?
    {
        let place = a.withUnsafeBytes { a in
            b.withUnsafeBytes { b in
                let common = min(a.count, b.count)
                guard common > 0, let x = a.baseAddress, let y = b.baseAddress, memcmp(x, y, common) != 0 else {
                    return Int?.none
                }
                return (0..<common).first { a[$0] != b[$0] }
            }
        }
        if let place { return position + Int64(place) }
        return isEnd && a.count != b.count ? position + Int64(min(a.count, b.count)) : nil
    }

    /// A whole piece, unless the file ends.
    private static func read(_ file: borrowing Descriptor, at position: Int64) throws(VolumeError) -> [UInt8] {
        var (count, failed) = (0, Int32(0))
        let bytes = [UInt8](unsafeUninitializedCapacity: piece) { buffer, initialized in
            while count < buffer.count, let base = buffer.baseAddress {
                let got = pread(file.number, base + count, buffer.count - count, off_t(position) + off_t(count))
                if got < 0, errno == EINTR { continue }
                if got < 0 { failed = errno }
                if got <= 0 { break }
                count += got
            }
            initialized = count
        }
        guard failed == 0 else { throw VolumeError("cannot be read: \(String(cString: strerror(failed)))") }
        return bytes
    }
}
