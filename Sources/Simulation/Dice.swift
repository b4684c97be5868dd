// Numbers from a seed: the only source of chance in a simulation. The same seed gives the same numbers on every
// machine.

/// SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", 2014).
package struct Dice: Sendable {
    private var state: UInt64

    package init(seed: UInt64) { state = seed }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// A number in `range`, both ends included.
    package mutating func roll(_ range: ClosedRange<Int64>) -> Int64 {
        range.lowerBound + Int64(next() % UInt64(range.upperBound - range.lowerBound + 1))
    }

    /// True this many times in a thousand.
    package mutating func chance(perMille: Int64) -> Bool { roll(0...999) < perMille }

    /// An element of a list that is not empty.
    package mutating func pick<Element>(_ list: [Element]) -> Element { list[Int(roll(0...Int64(list.count - 1)))] }
}
