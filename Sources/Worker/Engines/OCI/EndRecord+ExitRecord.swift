// What a runner wrote down of a container's end, in the words that all engines share.
import JobModel
import RunnerCore

extension EndRecord {
    var exitRecord: ExitRecord {
        get throws(EngineError) {
            switch verdict {
            case .notStarted(let why): throw EngineError.refused(why)
            case .servicesFailed(let why):
                return ExitRecord(
                    exitCode: 125, oomKilled: false, startedAt: nil,
                    finishedAt: Timestamp(millisecondsSinceEpoch: finishedAt), serviceFailure: why)
            case .exited(let code):
                let reason: EndReason? =
                    switch stopped {
                    case .timeLimit?: .timeLimit
                    case .lease?: .workerLost
                    case .order?, nil: nil
                    }
                return ExitRecord(
                    exitCode: code, oomKilled: outOfMemory,
                    startedAt: startedAt.map { Timestamp(millisecondsSinceEpoch: $0) },
                    finishedAt: Timestamp(millisecondsSinceEpoch: finishedAt), message: message, stoppedFor: reason,
                    note: note)
            }
        }
    }

    var usage: Usage? {
        guard let cpuMicroseconds, let peakMemory else { return nil }
        return Usage(
            cpuSeconds: Double(cpuMicroseconds) / 1e6, maxMemory: ByteCount(bytes: peakMemory),
            wallSeconds: startedAt.map { Double(max(0, finishedAt - $0)) / 1000 } ?? 0)
    }
}
