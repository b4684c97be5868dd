// How results are printed: a small protocol for rows, and one exhaustive switch over the format. JSON is exactly the
// wire document.
import Foundation
import JobModel

/// Something that stands in a list.
protocol Row {
    static var header: [String] { get }
    var cells: [String] { get }
    /// What `--quiet` prints.
    var quiet: String { get }
}

enum Render {
    static var isTerminal: Bool { isatty(STDOUT_FILENO) == 1 }

    /// A list: a table of its rows, or the document as JSON.
    static func list<Item: Row>(_ rows: [Item], document: some Encodable, _ options: OutputOptions) throws {
        if options.quiet {
            for row in rows { print(row.quiet) }
            return
        }
        switch options.output {
        case .json: try json(document)
        case .table: table(header: Item.header, rows.map(\.cells))
        }
    }

    /// One thing: its page, or the document as JSON.
    static func one(_ document: some Encodable, quiet: String, _ options: OutputOptions, page: () -> String) throws {
        if options.quiet { return print(quiet) }
        switch options.output {
        case .json: try json(document)
        case .table: print(page())
        }
    }

    /// Something that is no more; as JSON, `{"removed": name}`.
    static func removed(_ name: String, quiet: String, _ options: OutputOptions, page: String) throws {
        try one(["removed": name], quiet: quiet, options) { page }
    }

    static func json(_ document: some Encodable) throws {
        print(String(decoding: try WireJSON.encode(document, pretty: isTerminal), as: UTF8.self))
    }

    static func table(header: [String], _ rows: [[String]]) {
        print(text(header: header, rows))
    }

    /// Columns by their widest cell, two spaces apart.
    static func text(header: [String], _ rows: [[String]]) -> String {
        let lines = (header.isEmpty ? [] : [header]) + rows
        let count = lines.map(\.count).max() ?? 0
        let widths = (0..<count).map { column in lines.map { $0.count > column ? $0[column].count : 0 }.max() ?? 0 }
        return lines.map { line in
            line.enumerated().map { column, cell in
                column == line.count - 1 ? cell : cell + String(repeating: " ", count: widths[column] - cell.count + 2)
            }.joined()
        }.joined(separator: "\n")
    }

    /// `name: value` lines with aligned values; nil values are left out.
    /// - Parameter fields: without a name, a value goes on with the field above.
    static func page(_ fields: [(String, String?)]) -> String {
        text(header: [], fields.compactMap { name, value in value.map { [name.isEmpty ? "" : name + ":", $0] } })
    }

    static func time(_ time: Timestamp?) -> String {
        time.map { String($0.description.prefix(19)).replacing("T", with: " ") + "Z" } ?? "-"
    }

    static func pairs(_ map: [String: String]) -> String? {
        map.isEmpty ? nil : map.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: " ")
    }
}

/// A line on stderr that is written over and over, if stderr is a terminal.
struct ProgressLine {
    let isShown = isatty(STDERR_FILENO) == 1

    func show(_ text: String) {
        if isShown { FileHandle.standardError.write(Data("\r\u{1b}[Kjobctl: \(text)".utf8)) }
    }

    func clear() {
        if isShown { FileHandle.standardError.write(Data("\r\u{1b}[K".utf8)) }
    }
}

func printError(_ text: String) { FileHandle.standardError.write(Data("jobctl: \(text)\n".utf8)) }
