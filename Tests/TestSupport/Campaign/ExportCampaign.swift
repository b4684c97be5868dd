// kill -9 of a scheduler at random moments of an export and of an import. Whatever the moment: the command line's file
// is whole or not there, an import is there whole or not at all, nothing that is pinned is damaged, and the same again
// succeeds. The schedulers are bare programs without workers: it is files and rows that are looked at.
import Foundation
import JobModel

package struct ExportCampaign: Sendable {
    package struct Report: Sendable {
        package var violations: [String] = []
        /// Moments at which the scheduler was killed while the command was still under way.
        package var midway = 0
        package var points = 0
        /// What had come about in spite of the kill.
        package var completed = 0
    }

    package let points: Int
    package let seed: UInt64
    package let programs: String
    /// Of the random part of the image, in MiB: how long an export takes.
    package let size: Int

    package init(points: Int, seed: UInt64, programs: String, size: Int = 48) {
        self.points = points
        self.seed = seed
        self.programs = programs
        self.size = size
    }

    package func run() async throws -> (exports: Report, imports: Report) {
        let folder = try temporaryFolder("exports")
        let watch = try ClusterWatch.start(over: folder, programs: programs, environment: ["HOME": folder])
        let result: Result<(Report, Report), any Error>
        do { result = .success(try await run(in: folder)) } catch { result = .failure(error) }
        await sweep(folder)
        watch.terminate()
        return try result.get()
    }

    private func run(in folder: String) async throws -> (Report, Report) {
        var dice = SeededNumbers(seed: seed)
        let source = BareScheduler(folder: folder + "/source", programs: programs)
        try await source.start()
        let image = folder + "/image.tar"
        let made = try await runProcess(
            "sh",
            [
                "-c",
                "cd \"$1\" && mkdir -p rootfs/bin && cp /bin/busybox rootfs/bin/ && head -c \"$2\" /dev/urandom > rootfs/noise && tar -C rootfs -cf image.tar . && rm -r rootfs",
                "make", folder, String(size << 20),
            ])
        guard made.exitCode == 0 else { throw ProcessFailure(description: "\(made)") }
        try await source.ok("image", "import", image, "-t", "lab/noise:1")
        try await source.ok(
            "submit", "-",
            input: "name: noise\nimage: lab/noise:1\ncommand: [/bin/busybox, \"true\"]\nvolumes: [output:/out:out]\n")
        let whole = folder + "/whole.tar"
        let exportTime = try await time { try await source.ok("archive", "export", "noise", "-o", whole) }
        var exports = Report()
        for _ in 0..<points {
            try await export(from: source, in: folder, within: exportTime, &dice, &exports)
        }
        source.kill()

        var imports = Report()
        let trial = BareScheduler(folder: folder + "/trial", programs: programs)
        try await trial.start()
        let importTime = try await time { try await trial.ok("archive", "import", whole) }
        trial.kill()
        for point in 0..<points {
            try await importOnce(whole, in: folder + "/target-\(point)", within: importTime, &dice, &imports)
        }
        return (exports, imports)
    }

    private func time(_ body: () async throws -> Void) async throws -> Duration {
        let start = ContinuousClock.now
        try await body()
        return ContinuousClock.now - start
    }

    /// A moment of a call that takes about so long, sometimes just after it.
    private func moment(within duration: Duration, _ dice: inout SeededNumbers) -> Duration {
        let most = max(20, Int(duration / .milliseconds(1)) * 11 / 10)
        return .milliseconds(Int.random(in: 0...most, using: &dice))
    }

    // MARK: exports

    private func export(
        from source: BareScheduler, in folder: String, within duration: Duration, _ dice: inout SeededNumbers,
        _ report: inout Report
    ) async throws {
        let file = folder + "/killed.tar"
        unlink(file)
        let moment = moment(within: duration, &dice)
        let result = try await source.killing(after: moment, ["archive", "export", "noise", "-o", file])
        report.points += 1
        let isThere = FileManager.default.fileExists(atPath: file)
        if result.exitCode == 0 { report.completed += 1 } else { report.midway += 1 }
        if isThere != (result.exitCode == 0) {
            report.violations.append("export, \(moment): exit \(result.exitCode), but the file is there: \(isThere)")
        }
        if isThere, try await runProcess("tar", ["-tf", file]).exitCode != 0 {
            report.violations.append("export, \(moment): a file that is not whole")
        }
        let rest = try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.contains(".part-") }
        if !rest.isEmpty { report.violations.append("export, \(moment): left \(rest)") }
        try await source.start()
        report.violations += try await damage(source, "export, \(moment)")
        let spool = try FileManager.default.contentsOfDirectory(atPath: source.folder + "/spool")
        if !spool.isEmpty { report.violations.append("export, \(moment): the spool keeps \(spool)") }
        unlink(file)
        let again = try await source.jobctl(["archive", "export", "noise", "-o", file])
        if again.exitCode != 0 { report.violations.append("export, \(moment): the next fails: \(again)") }
    }

    // MARK: imports

    private func importOnce(
        _ file: String, in folder: String, within duration: Duration, _ dice: inout SeededNumbers,
        _ report: inout Report
    ) async throws {
        let target = BareScheduler(folder: folder, programs: programs)
        try await target.start()
        let moment = moment(within: duration, &dice)
        let result = try await target.killing(after: moment, ["archive", "import", file])
        report.points += 1
        if result.exitCode != 0 { report.midway += 1 }
        try await target.start()
        report.violations += try await damage(target, "import, \(moment)")
        let isThere = try await target.jobctl(["config", "show", "noise"]).exitCode == 0
        if isThere { report.completed += 1 }
        if result.exitCode == 0, !isThere { report.violations.append("import, \(moment): answered, and gone") }
        let images = try await target.ok("image", "-q")
        let runs = try await target.jobctl(["history", "noise", "-q"]).line
        if isThere != !images.isEmpty || isThere != !runs.isEmpty {
            report.violations.append("import, \(moment): half of it is there: \(isThere) '\(images)' '\(runs)'")
        }
        let again = try await target.jobctl(["archive", "import", file])
        if again.exitCode != 0 { report.violations.append("import, \(moment): the next fails: \(again)") }
        let rerun = try await target.jobctl(["rerun", "noise", "-q"])
        if rerun.exitCode != 0 || rerun.line != "1" {
            report.violations.append("import, \(moment): it does not run: \(rerun)")
        }
        report.violations += try await damage(target, "import, \(moment), again")
        target.kill()
        try FileManager.default.removeItem(atPath: folder)
    }

    private func damage(_ scheduler: BareScheduler, _ when: String) async throws -> [String] {
        let result = try await scheduler.jobctl(["archive", "verify"])
        return result.exitCode == 0 ? [] : ["\(when): \(result)"]
    }
}

/// A scheduler without anything else, and the command line of its administrator.
package final class BareScheduler: Sendable {
    package let folder: String
    private let programs: String

    package init(folder: String, programs: String) {
        self.folder = folder
        self.programs = programs
    }

    private var process: pid_t? {
        let text = (try? String(contentsOfFile: folder + ".pid", encoding: .utf8)) ?? ""
        return pid_t(text.trimmingCharacters(in: .whitespacesAndNewlines))
    }

    /// Starts it, and waits until it answers. It ends with this process.
    package func start() async throws {
        if let process {
            try await eventually("the scheduler that was killed is gone") { Foundation.kill(process, 0) != 0 }
        }
        unlink(folder + "/scheduler.address")
        // Its shell stays with it: what is inherited from Foundation would let a shell that ended seem to run.
        let line = """
            "$1" --data-dir "$2" --admin-token-file "$2.token" & s=$!; echo $s > "$2.pid"
            while kill -0 $s && kill -0 $3; do sleep 0.2; done; kill -0 $3 || kill -9 $s
            """
        let shell = Process()
        shell.executableURL = URL(filePath: "/bin/sh")
        shell.arguments = ["-c", line, "start", programs + "/jobctl-scheduler", folder, "\(getpid())"]
        shell.environment = ["PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": folder]
        shell.standardOutput = FileHandle.nullDevice
        shell.standardError = FileHandle.nullDevice
        try shell.run()
        try await eventually("the scheduler of \(folder) answers") { try await self.jobctl(["status"]).exitCode == 0 }
    }

    package func kill() {
        if let process { Foundation.kill(process, SIGKILL) }
    }

    package func jobctl(_ arguments: [String], input: String = "") async throws -> ProcessResult {
        func word(_ path: String) -> String {
            ((try? String(contentsOfFile: path, encoding: .utf8)) ?? "").trimmingCharacters(in: .whitespacesAndNewlines)
        }
        let environment = [
            "HOME": folder, "JOBCTL_URL": "http://" + word(folder + "/scheduler.address"),
            "JOBCTL_TOKEN": word(folder + ".token"),
        ]
        return try await runProcess(programs + "/jobctl", arguments, environment: environment, input: input)
    }

    @discardableResult
    package func ok(_ arguments: String..., input: String = "") async throws -> String {
        let result = try await jobctl(arguments, input: input)
        guard result.exitCode == 0 else {
            throw ProcessFailure(description: "jobctl \(arguments.joined(separator: " ")): \(result)")
        }
        return result.line
    }

    /// Runs a command, and kills the scheduler after a while, whether the command has ended or not.
    package func killing(after moment: Duration, _ arguments: [String]) async throws -> ProcessResult {
        async let result = jobctl(arguments)
        try await Task.sleep(for: moment)
        kill()
        return try await result
    }
}
