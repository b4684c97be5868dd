// Goal: ranges are the set of indices that they stand for, in order, disjoint and never adjacent. Method: random adds
// and removals beside a plain set.
import JobModel
import TestSupport
import Testing

@Suite struct IndexRangesTests {
    @Test("adding, removing, looking up and cutting agree with a set", arguments: 1...20 as ClosedRange<UInt64>)
    func agrees(seed: UInt64) {
        var dice = SeededGenerator(seed: seed)
        var (ranges, set): ([ClosedRange<Int64>], Set<Int64>) = ([], [])
        for _ in 0..<300 {
            let low = Int64(dice.below(60))
            let range = low...(low + Int64(dice.below(6)))
            if dice.chance(50) {
                ranges.add(range)
                set.formUnion(range)
            } else {
                ranges.remove(range)
                set.subtract(range)
            }
            #expect(ranges.flatMap { Array($0) } == set.sorted() && ranges.indexCount == Int64(set.count))
            #expect(zip(ranges, ranges.dropFirst()).allSatisfy { $0.upperBound + 1 < $1.lowerBound })
            #expect(ranges.part(within: range).flatMap { Array($0) } == set.intersection(range).sorted())
            #expect((0...70).allSatisfy { ranges.holds($0) == set.contains($0) })
        }
    }
}
