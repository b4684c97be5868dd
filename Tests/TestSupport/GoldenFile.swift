// A file below Golden/ beside a test: compared, or rewritten with `UPDATE_GOLDEN=1`.
import Foundation

package struct GoldenFile: Sendable {
    package struct Difference: Error, CustomStringConvertible {
        package let description: String
    }

    package let url: URL

    package init(_ name: String, beside file: String = #filePath) {
        url = URL(filePath: file).deletingLastPathComponent().appending(path: "Golden/\(name)")
    }

    /// - Throws: ``Difference`` with the first line that differs.
    package func expect(_ text: String) throws {
        if ProcessInfo.processInfo.environment["UPDATE_GOLDEN"] == "1" {
            try FileManager.default.createDirectory(
                at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: url)
        }
        let golden = try String(contentsOf: url, encoding: .utf8)
        guard golden != text else { return }
        let old = golden.split(separator: "\n", omittingEmptySubsequences: false)
        let new = text.split(separator: "\n", omittingEmptySubsequences: false)
        let line = zip(old, new).enumerated().first { $1.0 != $1.1 }?.offset ?? min(old.count, new.count)
        throw Difference(
            description: """
                \(url.lastPathComponent):\(line + 1) differs
                golden: \(line < old.count ? old[line] : "(end)")
                now:    \(line < new.count ? new[line] : "(end)")
                UPDATE_GOLDEN=1 swift test rewrites it; review the difference
                """)
    }
}
