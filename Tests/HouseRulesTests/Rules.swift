// The house rules as functions from a file to violations, so that they can be tried on snippets.
import Foundation

/// One line that breaks a rule, printed as `file:line: rule: use X`.
struct Violation: CustomStringConvertible, Equatable {
    let path: String
    let line: Int
    let rule: String
    var description: String { "\(path):\(line): \(rule)" }
}

/// A word that may not stand in code, and what to use instead. A line that ends in `// allowed: reason` is exempt.
struct BannedWord {
    let pattern: String
    let instead: String
    /// Path prefixes in which it is banned.
    let folders: [String]
}

enum Rules {
    static let longestLine = 120
    static let longestFile = 400
    static let longestFunction = 60

    static let bannedWords: [BannedWord] =
        everywhere.map { BannedWord(pattern: $0, instead: $1, folders: ["Sources/", "Benchmarks/", "Migrations/"]) }
        + inTheCore.map { BannedWord(pattern: $0, instead: $1, folders: ["Sources/SchedulingCore/"]) }
        + [BannedWord(pattern: #"\b(FIXME|TODO|XXX)\b"#, instead: "mend it, or file an issue", folders: [""])]

    private static let everywhere: [(String, String)] = [
        (#"\btry!"#, "throw, or handle the error"),
        (#"\bas!"#, "as? with a sentence"),
        (#"\bfatalError\("#, "a typed error; precondition for a programmer's error"),
        (#"@unchecked Sendable"#, "a value, an actor or Mutex"),
        (#"nonisolated\(unsafe\)"#, "Mutex or a task-local"),
        (#"\bTask\.detached\b"#, "a child task or a service"),
        (#"eraseDatabaseOnSchemaChange"#, "a migration"),
    ]

    private static let inTheCore: [(String, String)] = [
        (#"\bDate\b"#, "Instant, which comes with the event"),
        (#"\.now\b"#, "the `now` that comes with the event"),
        (#"\bUUID\("#, "an id that comes with the event"),
        (#"\brandom"#, "a value derived from identity"),
        (#"\bTask\s*[{(.]"#, "an Effect"),
        (#"\basync\b|\bawait\b"#, "an Effect"),
        (#"\bDictionary\b|\bSet<"#, "Table, which iterates in id order"),
        (#"\[[A-Z][A-Za-z.]*\s*:\s*[A-Z\[]"#, "Table, which iterates in id order"),
        (#"\bprint\("#, "a Change, which the loop logs"),
    ]

    /// What each target may import besides Swift itself. A target that stands here may import nothing else.
    static let allowedImports: [String: Set<String>] = [
        "Sources/JobModel": ["Foundation", "Crypto", "Yams"],
        "Sources/SchedulingCore": ["JobModel", "DequeModule", "HeapModule"],
        "Sources/SchedulerClient": [
            "JobModel", "Foundation", "AsyncHTTPClient", "NIOCore", "NIOFoundationCompat", "NIOHTTP1", "NIOPosix",
            "Synchronization", "Glibc", "Logging",
        ],
        "Sources/OCI": [
            "JobModel", "CArchive", "CLinux", "Crypto", "Foundation", "Synchronization", "Glibc", "Dispatch",
        ],
        "Sources/Registry": [
            "JobModel", "OCI", "CCurl", "Logging", "Foundation", "Synchronization", "Glibc", "Dispatch",
        ],
        "Migrations": [],
        "Sources/RunnerCore": ["CLinux", "Glibc"],
        "Sources/jobctl-runner": ["RunnerCore", "CLinux", "Glibc"],
        "Sources/jobctl-scheduler": [
            "Scheduler", "ArgumentParser", "Logging", "JobModel", "Foundation", "Glibc", "SchedulingCore",
        ],
        "Sources/jobctl-worker": ["Worker", "ArgumentParser", "Logging", "JobModel", "Foundation", "Glibc"],
    ]

    static let bannedFileNames = ["Utils", "Utilities", "Helpers", "Helper", "Common", "Misc", "Manager", "Constants"]

    static func bannedText(_ file: SourceFile) -> [Violation] {
        let words = bannedWords.filter { word in word.folders.contains { file.path.hasPrefix($0) } }
        return file.lines.enumerated().flatMap { number, line -> [Violation] in
            guard !line.contains("// allowed:"), !file.path.hasSuffix("HouseRulesTests/Rules.swift") else { return [] }
            let code = line.contains("TODO") || line.contains("FIXME") ? line : withoutComment(line)
            return words.filter { code.range(of: $0.pattern, options: .regularExpression) != nil }.map {
                Violation(path: file.path, line: number + 1, rule: "\($0.pattern) is banned here: use \($0.instead)")
            }
        }
    }

    static func imports(_ file: SourceFile) -> [Violation] {
        guard let allowed = allowedImports[file.target] else { return [] }
        return file.lines.enumerated().compactMap { number, line in
            let words = line.split(separator: " ")
            guard let at = words.firstIndex(of: "import"), at <= 2, words.count > at + 1, !line.hasPrefix("//"),
                !line.hasPrefix(" ")
            else { return nil }
            let module = String(
                words[words.count > at + 2 && words[at + 1] != "//" ? words.count - 1 : at + 1].prefix { $0 != "." })
            return allowed.contains(module)
                ? nil : Violation(path: file.path, line: number + 1, rule: "\(file.target) may not import \(module)")
        }
    }

    static func sizes(_ file: SourceFile) -> [Violation] {
        var found: [Violation] = []
        if file.lines.count > longestFile + 1, !file.isTest {
            found.append(
                Violation(
                    path: file.path, line: longestFile,
                    rule: "the file has \(file.lines.count) lines: split it by reason to change"))
        }
        for (number, line) in file.lines.enumerated() where line.count > longestLine && !line.contains("\"") {
            found.append(
                Violation(
                    path: file.path, line: number + 1,
                    rule: "the line has \(line.count) columns: \(longestLine) at most"))
        }
        return found + longFunctions(file)
    }

    /// Functions by indentation: swift format guarantees that the closing brace stands under the declaration.
    static func longFunctions(_ file: SourceFile) -> [Violation] {
        guard !file.isTest else { return [] }
        var found: [Violation] = []
        for (start, line) in file.lines.enumerated() {
            let indent = line.prefix { $0 == " " }
            guard line.range(of: #"^\s*(?:[a-z@()]+ )*(?:func|init[?(<])"#, options: .regularExpression) != nil,
                !line.hasPrefix("//"), let end = file.lines[start...].firstIndex(where: { $0 == indent + "}" })
            else { continue }
            if end - start + 1 > longestFunction {
                found.append(
                    Violation(
                        path: file.path, line: start + 1,
                        rule: "the function has \(end - start + 1) lines: \(longestFunction) at most"))
            }
        }
        return found
    }

    static func header(_ file: SourceFile) -> [Violation] {
        guard !file.isTest, file.lines.first?.hasPrefix("// ") == false else { return [] }
        return [Violation(path: file.path, line: 1, rule: "the file does not open with what it is for")]
    }

    static func name(_ file: SourceFile) -> [Violation] {
        let name = (file.path as NSString).lastPathComponent.replacing(".swift", with: "")
        return bannedFileNames.contains(name) || name.hasSuffix("Utils") || name.hasSuffix("Helpers")
            ? [Violation(path: file.path, line: 1, rule: "'\(name)' says nothing: name what the file does")] : []
    }

    /// The code of a line without a trailing comment; text in string literals stays.
    private static func withoutComment(_ line: String) -> String {
        guard let range = line.range(of: #"(^|\s)//"#, options: .regularExpression) else { return line }
        return String(line[..<range.lowerBound])
    }
}
