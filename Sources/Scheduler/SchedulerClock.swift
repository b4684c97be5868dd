// Where the scheduler's time comes from: the one place that asks the kernel.
import Glibc
import JobModel
import SchedulingCore

package protocol SchedulerClock: Sendable {
    func now() -> Instant
}

/// CLOCK_BOOTTIME for decisions (it goes on during suspend and never jumps), CLOCK_REALTIME for records.
package struct SystemClock: SchedulerClock {
    package init() {}

    package func now() -> Instant {
        Instant(
            uptime: milliseconds(CLOCK_BOOTTIME), wall: Timestamp(millisecondsSinceEpoch: milliseconds(CLOCK_REALTIME)))
    }

    private func milliseconds(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }
}
