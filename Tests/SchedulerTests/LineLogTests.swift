// The scheduler's log lines.
import JobModel
import Logging
import Testing

@testable import Scheduler

@Suite struct LineLogTests {
    @Test("a line holds time, level, sentence and what belongs to it, in order of the keys, and is one line")
    func line() {
        let event = LogEvent(
            level: .notice, message: "job changed",
            metadata: ["state": "failed", "job": "42", "reason": "a\nforged line"],
            source: nil, file: "", function: "", line: 1)
        let line = LineLog.line(event, ["request": "7"], at: Timestamp(millisecondsSinceEpoch: 0))
        #expect(
            line
                == "1970-01-01T00:00:00.000Z notice job changed: job=42 reason=a\u{FFFD}forged line request=7 state=failed\n"
        )
    }
}
