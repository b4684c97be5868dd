// The time limit of an attempt: the job's own, or the one that it was given since, which the scheduler says in each of
// its answers. Engines whose runners outlive the agent enforce it themselves, too.
import CLinux
import JobModel

extension AttemptRunner {
    /// The one in force.
    var timeLimit: TimeSpan? { record.progress.timeLimit ?? record.job.record.timeLimit }

    /// For an adopted attempt whose limit is over: an extension that was given while no agent was here comes with the
    /// first answer.
    private static let adoptionPatience: Duration = .seconds(3)

    /// The attempt's limit is another from now on, counted from its start. May be said again and again.
    func limit(to limit: TimeSpan) async {
        guard !isSilent, !hasEnded, record.progress.exit == nil else { return }
        if record.progress.timeLimit != limit {
            record.progress.timeLimit = limit
            try? journal()  // allowed: the scheduler says it again
            if limiting != nil { keepLimit() }
        }
        guard let container = record.progress.container, limitToldToEngine != limit else { return }
        do throws(EngineError) {
            try await services.engine.limitChanged(container, to: limit)
            limitToldToEngine = limit
        } catch {
            return  // the next answer says it again
        }
    }

    /// Begins to wait for the limit.
    func keepLimit() {
        limiting?.cancel()
        limiting = Task { await enforce() }
    }

    func dropLimit() {
        limiting?.cancel()
        limiting = nil
    }

    /// On the boot-time clock, from the first start: an agent that starts again gives no new time.
    private func enforce() async {
        guard let limit = timeLimit, let started = record.progress.startedAt, record.progress.boot == Journal.boot
        else { return }
        var mayWait = isAdopted
        while !Task.isCancelled {
            let left = started + limit.milliseconds - jc_boot_milliseconds()
            if left <= 0, !mayWait { return stop(.timeLimit) }
            let pause = left <= 0 ? Self.adoptionPatience : .milliseconds(left)
            mayWait = false
            do { try await Task.sleep(for: pause) } catch { return }
        }
    }
}
