// The project's own sources as text, for the rules to read.
import Foundation

struct SourceFile {
    /// Relative to the package, with `/`.
    let path: String
    let lines: [String]

    /// The target's folder: `Sources/Worker`, `Tests/WorkerTests`, `Benchmarks`, `Migrations`.
    var target: String {
        let parts = path.split(separator: "/")
        return parts.first == "Sources" || parts.first == "Tests"
            ? parts.prefix(2).joined(separator: "/") : String(parts[0])
    }

    var isTest: Bool { path.hasPrefix("Tests/") }
}

enum SourceTree {
    static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    /// Every Swift file of the package, in order of its path.
    static func files() throws -> [SourceFile] {
        try ["Sources", "Tests", "Benchmarks", "Migrations"].flatMap { try files(below: $0) }
    }

    static func text(_ path: String) throws -> String {
        try String(contentsOf: root.appending(path: path), encoding: .utf8)
    }

    private static func files(below folder: String) throws -> [SourceFile] {
        let base = root.appending(path: folder)
        let names = FileManager.default.enumerator(atPath: base.path)?.compactMap { $0 as? String } ?? []
        return try names.filter { $0.hasSuffix(".swift") }.sorted().map { name in
            let text = try String(contentsOf: base.appending(path: name), encoding: .utf8)
            return SourceFile(path: "\(folder)/\(name)", lines: text.components(separatedBy: "\n"))
        }
    }
}
