// Numbers from a seed (SplitMix64): a test that mutates or chooses does the same each time.

package struct SeededNumbers: RandomNumberGenerator, Sendable {
    private var state: UInt64
    package init(seed: UInt64) { state = seed }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var word = state
        word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
        return word ^ (word >> 31)
    }

    package mutating func next(in range: ClosedRange<Int64>) -> Int64 {
        range.lowerBound + Int64(next() % UInt64(range.upperBound - range.lowerBound + 1))
    }

    package mutating func coin() -> Bool { next() % 2 == 0 }

    /// The bytes with one to three of them changed, lost, doubled or replaced by what documents are made of.
    package mutating func damaged(_ bytes: [UInt8]) -> [UInt8] {
        var bytes = bytes
        for _ in 0...next(in: 0...2) {
            guard !bytes.isEmpty else { return [UInt8(truncatingIfNeeded: next())] }
            let place = Int(next(in: 0...Int64(bytes.count - 1)))
            switch next(in: 0...5) {
            case 0: bytes[place] = UInt8(truncatingIfNeeded: next())
            case 1: bytes[place] = Array("{}[]\",:.0123456789eE+-tfn \\\n&*!|>?#%$".utf8)[Int(next(in: 0...36))]
            case 2: bytes.remove(at: place)
            case 3: bytes = Array(bytes.prefix(place))
            case 4: bytes.insert(contentsOf: bytes[place..<min(bytes.count, place + 9)], at: place)
            default: bytes.insert(contentsOf: "99999999999999999999".utf8.prefix(Int(next(in: 1...20))), at: place)
            }
        }
        return bytes
    }
}
