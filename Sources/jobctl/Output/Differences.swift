// Files that are not the same, as people read them: a line a file, with where it begins to differ and probably why.
import JobModel

extension AttemptDifferences {
    /// The cells of each line.
    var lines: [[String]] { Self.lines(inputs) + Self.lines(outputs) }

    /// As a table without a header.
    var text: String { Render.text(header: ["FILE", "CHANGE", "SIZE", "WHERE AND WHY"], lines) }

    private static func lines(_ slots: [String: TreeDifference]) -> [[String]] {
        slots.sorted { $0.key < $1.key }.flatMap { slot, difference in
            var lines = difference.files.map { $0.cells(in: slot) }
            let more = (difference.total ?? 0) - Int64(difference.files.count)
            if more > 0 { lines.append(["\(slot)/…", "", "", "and \(more) more"]) }
            if let note = difference.note { lines.append([slot, "", "", note]) }
            return lines
        }
    }
}

extension FileDifference {
    fileprivate func cells(in slot: String) -> [String] {
        let kind: String
        switch change.value {
        case .added?: kind = "only in the second"
        case .removed?: kind = "only in the first"
        case .mode?: kind = "mode \(first?.mode ?? "?"), \(second?.mode ?? "?")"
        case .type?: kind = "\(first?.type.description ?? "?"), \(second?.type.description ?? "?")"
        case .content?, nil: kind = change.description
        }
        return [path == "." ? slot : "\(slot)/\(shown(path))", kind, sizes, reason]
    }

    private var sizes: String {
        switch (first?.size, second?.size) {
        case (let a?, let b?): a == b ? "\(a)" : "\(a), \(b)"
        case (let one?, nil), (nil, let one?): "\(one)"
        case (nil, nil): ""
        }
    }

    private var reason: String {
        guard let firstDifference else { return "" }
        return "from byte \(firstDifference)" + (cause.map { ": probably \($0.sentence)" } ?? "")
    }
}
