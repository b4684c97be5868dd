// The scheduler's log on stderr: a line an event, a system call a line, because each transition of each attempt is one.
// Whatever a value holds, a line stays a line.
import Glibc
import JobModel
import Logging

/// `2026-11-26T07:47:44.250Z info attempt changed: attempt=42.7.1 state=assigned worker=node1`
package struct LineLog: LogHandler {
    package var logLevel = Logger.Level.notice
    package var metadata: Logger.Metadata = [:]

    package init() {}

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        var line = Self.line(event, metadata, at: SystemClock().now().wall)
        // A line that cannot be written is lost: there is nowhere to say so.
        _ = line.withUTF8 { write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }

    static func line(_ event: LogEvent, _ metadata: Logger.Metadata, at time: Timestamp) -> String {
        var line = time.description
        line.reserveCapacity(160)
        line += " "
        line += event.level.rawValue
        line += " "
        line += event.message.description
        var separator = ": "
        let all = metadata.merging(event.metadata ?? [:]) { $1 }
        for (key, value) in all.sorted(by: { $0.key < $1.key }) {
            line += separator
            line += key
            line += "="
            line += value.description
            separator = " "
        }
        if let error = event.error { line += separator + "error=\(error)" }
        if line.utf8.contains(where: { $0 < 0x20 || $0 == 0x7f }) {
            line = String(
                line.unicodeScalars.map { $0.properties.generalCategory == .control ? "\u{FFFD}" : Character($0) })
        }
        return line + "\n"
    }
}
