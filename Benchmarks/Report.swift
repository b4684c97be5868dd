// Figures with their baselines and goals, as a table for people and as JSON for programs.
import Foundation

/// One measured number.
struct Figure: Codable {
    struct Baseline: Codable {
        var name: String
        var value: Double
    }

    struct Goal: Codable {
        enum Direction: String, Codable { case atLeast = "at least", below }
        var direction: Direction
        var value: Double

        func isMet(by figure: Double) -> Bool { direction == .atLeast ? figure >= value : figure < value }
    }

    var name: String
    var value: Double
    /// `/s` or `ms` or `MB`.
    var unit: String
    var baseline: Baseline?
    var goal: Goal?
    /// What else is worth knowing, in a few words.
    var note = ""

    /// The figure in baselines.
    var ratio: Double? { baseline.flatMap { $0.value > 0 ? value / $0.value : nil } }
    var verdict: String { goal.map { $0.isMet(by: value) ? "meets the goal" : "misses the goal" } ?? "" }
}

struct Report {
    let machine: Machine
    var figures: [Figure] = []

    init(machine: Machine) { self.machine = machine }

    var table: String {
        var rows = [["figure", "measured", "baseline of the same run", "", "ratio", "goal", ""]]
        for figure in figures {
            rows.append([
                figure.name, Self.text(figure.value, figure.unit), figure.baseline?.name ?? "",
                figure.baseline.map { Self.text($0.value, figure.unit) } ?? "",
                figure.ratio.map { String(format: "%.2f", $0) } ?? "",
                figure.goal.map { "\($0.direction == .below ? "<" : "≥") \(Self.text($0.value, figure.unit))" } ?? "",
                figure.verdict,
            ])
        }
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        let lines = rows.map { row in
            zip(row, widths).map { $0 + String(repeating: " ", count: $1 - $0.count) }.joined(separator: "  ")
        }
        let notes = figures.filter { !$0.note.isEmpty }.map { "  \($0.name): \($0.note)" }
        return (["", machine.description, ""] + lines + [""] + notes).joined(separator: "\n")
    }

    var json: Data {
        get throws {
            struct Document: Encodable {
                struct Line: Encodable {
                    let figure: Figure
                    let ratio: Double?
                    let meetsGoal: Bool?
                }
                let machine: Machine
                let figures: [Line]
            }
            let lines = figures.map { figure in
                Document.Line(figure: figure, ratio: figure.ratio, meetsGoal: figure.goal?.isMet(by: figure.value))
            }
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
            encoder.keyEncodingStrategy = .convertToSnakeCase
            return try encoder.encode(Document(machine: machine, figures: lines))
        }
    }

    /// Three digits that count, thousands apart.
    static func text(_ value: Double, _ unit: String) -> String {
        let decimals = value >= 100 ? 0 : value >= 10 ? 1 : 2
        let digits = String(format: "%.\(decimals)f", value)
        let parts = digits.split(separator: ".", maxSplits: 1)
        var whole = ""
        for (index, digit) in parts[0].enumerated() {
            if index > 0, (parts[0].count - index) % 3 == 0 { whole += "," }
            whole.append(digit)
        }
        return whole + (parts.count > 1 ? "." + parts[1] : "") + (unit.hasPrefix("/") ? unit : " " + unit)
    }
}

extension Array where Element: Comparable {
    /// The value below which `share` of the others lie; of the median, 0.5.
    /// - Precondition: not empty.
    func quantile(_ share: Double) -> Element { sorted()[Swift.min(count - 1, Int(Double(count) * share))] }
    var median: Element { quantile(0.5) }
}
