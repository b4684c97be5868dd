// A host with both versions of control groups: crun refuses it unless it does not see version 2. The runner hides that
// from the runtime in each attempt's mount namespace; here it is hidden once from everything, so that the bare loop
// pays nothing for it.
import Foundation
import RunnerCore

enum MixedHost {
    private static let unified = ControlGroups.root + "/unified"
    private static let mark = "JOBCTL_BENCH_MOUNTS"

    /// Starts this program again in a mount namespace of its own, once, where that is needed.
    /// - Throws: ``BenchFailure`` if it cannot be started.
    static func hideUnifiedGroups() throws {
        guard !ControlGroups.isUnified, access(unified, F_OK) == 0, getenv(mark) == nil else { return }
        setenv(mark, "own", 1)
        let script = "mount -t tmpfs -o mode=755 jobctl \(unified) && exec \"$0\" \"$@\""
        let words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
        let program = Settings.programs + "/jobctl-bench"
        var arguments = (words + [program] + CommandLine.arguments.dropFirst()).map { strdup($0) }
        arguments.append(nil)
        execvp("unshare", arguments)
        throw BenchFailure("unshare cannot be started: \(String(cString: strerror(errno)))")
    }
}
