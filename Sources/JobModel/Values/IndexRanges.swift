// Sets of task indices as ascending, disjoint, non-adjacent ranges: a million tasks are one range. A look-up costs the
// logarithm of the number of ranges. What the indices mean does not belong here.

extension [ClosedRange<Int64>] {
    package func holds(_ index: Int64) -> Bool {
        let place = firstPlace(endingAtOrAfter: index)
        return place < count && self[place].lowerBound <= index
    }

    /// How many indices there are.
    package var indexCount: Int64 { reduce(0) { $0 + $1.upperBound - $1.lowerBound + 1 } }

    /// What lies within `range`.
    package func part(within range: ClosedRange<Int64>) -> [ClosedRange<Int64>] {
        var place = firstPlace(endingAtOrAfter: range.lowerBound)
        var parts: [ClosedRange<Int64>] = []
        while place < count, self[place].lowerBound <= range.upperBound {
            parts.append(self[place].clamped(to: range))
            place += 1
        }
        return parts
    }

    package mutating func add(_ range: ClosedRange<Int64>) {
        // Adjacent ranges are one. Indices are never negative.
        let first = firstPlace(endingAtOrAfter: range.lowerBound - 1)
        var (low, high, end) = (range.lowerBound, range.upperBound, first)
        while end < count, self[end].lowerBound - 1 <= high {
            low = Swift.min(low, self[end].lowerBound)
            high = Swift.max(high, self[end].upperBound)
            end += 1
        }
        replaceSubrange(first..<end, with: CollectionOfOne(low...high))
    }

    package mutating func remove(_ range: ClosedRange<Int64>) {
        let first = firstPlace(endingAtOrAfter: range.lowerBound)
        var end = first
        var rest: [ClosedRange<Int64>] = []
        while end < count, self[end].lowerBound <= range.upperBound {
            let old = self[end]
            if old.lowerBound < range.lowerBound { rest.append(old.lowerBound...(range.lowerBound - 1)) }
            if old.upperBound > range.upperBound { rest.append((range.upperBound + 1)...old.upperBound) }
            end += 1
        }
        replaceSubrange(first..<end, with: rest)
    }

    package func removing(_ others: [ClosedRange<Int64>]) -> Self {
        var rest = self
        for range in others { rest.remove(range) }
        return rest
    }

    private func firstPlace(endingAtOrAfter index: Int64) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = low + (high - low) / 2
            if self[middle].upperBound < index { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
