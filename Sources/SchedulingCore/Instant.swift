// The time at which an event is applied. It comes in with the event: the core has no clock.
import JobModel

/// A moment, on two clocks: one for decisions, one for records.
package struct Instant: Hashable, Codable, Sendable {
    /// Milliseconds of the scheduler's boot-time clock (it goes on during suspend and never jumps). Every decision uses
    /// this.
    package var uptime: Int64
    /// Civil time: written into rows, and compared once, for the ages of waiting jobs after a restart.
    package var wall: Timestamp

    package init(uptime: Int64, wall: Timestamp) {
        self.uptime = uptime
        self.wall = wall
    }

    /// The uptime after `span`.
    package func uptime(after span: TimeSpan) -> Int64 { uptime + span.milliseconds }
}
