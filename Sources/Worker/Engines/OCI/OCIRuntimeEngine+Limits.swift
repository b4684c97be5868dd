// A time limit that was changed: the runner enforces it, so it is told through a file, which it also reads by itself
// when it begins and when the limit that it knows is reached.
import Glibc
import JobModel
import RunnerCore

extension OCIRuntimeEngine {
    package func limitChanged(_ id: String, to limit: TimeSpan) async throws(EngineError) {
        guard let (attempt, folder) = try? known(id), access(folder.end, F_OK) != 0 else { return }  // allowed: gone
        do throws(FileFailure) {
            try TimeLimitOrder.write(max(0, limit.milliseconds), to: folder.limit)
        } catch {
            throw .unavailable("the worker's disk cannot take the time limit: \(error)")
        }
        // One that has not begun yet, or is of an earlier version, is not told.
        guard description(attempt)?.takesLimits == true, hasBegun(folder) else { return }
        if processes.adopt(attempt, folder: folder) { processes.signal(attempt, SIGHUP) }
    }
}
