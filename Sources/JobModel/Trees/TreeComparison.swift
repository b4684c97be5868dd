// Two lists side by side: which entries of a tree are not in the other, or are not the same. Both are sorted, so one
// walk through them is enough, and memory grows with the differences that are kept and with nothing else.

/// Entries at one path of two trees that are not the same; nil where there is none.
package struct EntryDifference: Hashable, Sendable {
    package let first: TreeEntry?
    package let second: TreeEntry?

    package init(first: TreeEntry?, second: TreeEntry?) {
        self.first = first
        self.second = second
    }

    /// What is different, the gravest first.
    package var change: FileChange {
        guard let first else { return .added }
        guard let second else { return .removed }
        if first.kind != second.kind { return .type }
        if first.size != second.size || first.content != second.content { return .content }
        return .mode
    }
}

package enum TreeComparison {
    /// Walks through both lists.
    /// - Parameter found: takes each difference, in the order of paths.
    /// - Returns: how many differences there are.
    /// - Throws: what the readers throw.
    package static func compare(
        _ first: TreeManifestReader, _ second: TreeManifestReader, found: (EntryDifference) throws -> Void
    ) throws -> Int64 {
        var (first, second) = (first, second)
        var (a, b) = (try first.next(), try second.next())
        var count: Int64 = 0
        while a != nil || b != nil {
            let difference: EntryDifference
            if let x = a, b.map({ x.path.lexicographicallyPrecedes($0.path) }) ?? true {
                difference = EntryDifference(first: x, second: nil)
                a = try first.next()
            } else if let y = b, a.map({ y.path.lexicographicallyPrecedes($0.path) }) ?? true {
                difference = EntryDifference(first: nil, second: y)
                b = try second.next()
            } else {
                let isSame = a == b
                difference = EntryDifference(first: a, second: b)
                (a, b) = (try first.next(), try second.next())
                if isSame { continue }
            }
            count += 1
            try found(difference)
        }
        return count
    }
}
