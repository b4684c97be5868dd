// Takes a cluster down when the test process that started it has died.
import Foundation

package enum ClusterWatch {
    /// - Parameters:
    ///   - folder: in which `cluster` is the data folder of `jobctl up`; it is removed whole.
    ///   - environment: the cluster's.
    /// - Returns: to be terminated once the cluster is gone.
    package static func start(over folder: String, programs: String, environment: [String: String]) throws -> Process {
        let process = Process()
        process.executableURL = URL(filePath: "/bin/sh")
        let script = """
            trap 'exit 0' TERM
            while kill -0 $1 2>/dev/null; do sleep 0.5; done
            "$2/jobctl" down --data-dir "$FOLDER/cluster"; rm -rf "$FOLDER"
            """
        process.arguments = ["-c", script, "watch", String(getpid()), programs]
        // Not on its command line: by that the cluster's own processes are known.
        process.environment = environment.merging(["PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "FOLDER": folder]) { $1 }
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        return process
    }
}
