// jobctl archive status|gc|verify: what the archive holds and why, and whether it is whole. Administrators only.
// Exports and imports have a file of their own.
import ArgumentParser
import JobModel
import SchedulerClient

struct ArchiveCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "archive", abstract: "Look after the archive; export from it, import into it.",
        discussion: """
            The archive keeps what every configuration needs for ever. Images that were
            pushed or imported stay while a name or repository has them. Examples:

              jobctl archive
              jobctl archive gc --dry-run
              jobctl archive verify
              jobctl archive export annual-temps -o annual-temps.tar
              jobctl archive import annual-temps.tar

            All but 'export' are for administrators.
            """,
        subcommands: [
            ArchiveStatusCommand.self, ArchiveCollect.self, ArchiveVerify.self, ArchiveExport.self,
            ArchiveImportCommand.self,
        ],
        defaultSubcommand: ArchiveStatusCommand.self)
}

struct ArchiveStatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "How much the archive holds, and for what.")
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let status = try await global.client().archiveStatus()
        try Render.one(status, quiet: status.unneeded.size.description, global.format) {
            Render.text(
                header: ["WHAT", "BLOBS", "SIZE"],
                [
                    ("needed by configurations", status.pinned), ("needed by names and repositories", status.named),
                    ("not needed, but recent", status.recent),
                    ("not needed ('archive gc' deletes it)", status.unneeded),
                ].map { [$0, String($1.blobs), $1.size.description] }
                    + (status.partial.map { [["begun, to be taken up", String($0.blobs), $0.size.description]] } ?? []))
                + [("logs", status.logs), ("lists of files", status.manifests)]
                .compactMap { name, share in share.map { "\n\(name): \($0.sentence)" } }.joined()
        }
    }
}

struct ArchiveCollect: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gc", abstract: "Delete what nothing needs.",
        discussion: """
            Never deletes what a configuration, a name or a repository needs, nor what was
            pushed or used within the last hour. Pushes and pulls may go on meanwhile. Logs
            and lists of files go by the scheduler's retention policy (--keep-logs and so
            on), which is applied every ten minutes and now.
            """)
    @Flag(help: "Only say what would be deleted.") var dryRun = false
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let result = try await global.client().collectArchive(dryRun: dryRun)
        try Render.one(result, quiet: String(result.deleted.blobs), global.format) {
            let verb = dryRun ? "would delete" : "deleted"
            let blobs = "\(verb) \(result.deleted.blobs) blobs, \(result.deleted.size)"
            let others = [("logs", result.logs), ("lists of files", result.manifests)].compactMap { name, share in
                share.flatMap {
                    $0.blobs == 0 ? nil : "\(verb) \($0.blobs) \(name), \($0.size), by the retention policy"
                }
            }
            return ([blobs] + others).joined(separator: "\n")
        }
    }
}

struct ArchiveVerify: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Hash everything again and name what is damaged.",
        discussion: """
            Ends with 5 if anything is damaged or missing, and names the configurations and
            images that it hurts.
            """)
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let client = try global.client()
        let progress = ProgressLine()
        var whole = ArchiveVerification(checked: ArchiveShare(), damaged: [], next: nil)
        repeat {
            let step = try await client.verifyArchive(after: whole.next)
            whole.checked.blobs += step.checked.blobs
            whole.checked.size = ByteCount(bytes: whole.checked.size.bytes + step.checked.size.bytes)
            whole.damaged += step.damaged
            whole.next = step.next
            progress.show("\(whole.checked.blobs) blobs, \(whole.checked.size) hashed")
        } while whole.next != nil
        progress.clear()
        let result = whole
        try Render.one(result, quiet: String(result.damaged.count), global.format) { result.page }
        guard result.damaged.isEmpty else { throw ExitCode(ProblemKind.refused.exitCode) }
    }
}

extension RetainedShare {
    fileprivate var sentence: String {
        let limits = [keep.map { "kept for \($0)" }, budget.map { "at most \($0)" }].compactMap(\.self)
        let since = oldest.map { ", the oldest of \($0.day)" } ?? ""
        return "\(files) files, \(size)\(since); " + (limits.isEmpty ? "kept for ever" : limits.joined(separator: ", "))
    }
}

extension ArchiveVerification {
    fileprivate var page: String {
        let summary = "hashed \(checked.blobs) blobs, \(checked.size): "
        guard !damaged.isEmpty else { return summary + "all whole" }
        let lines = damaged.map { damage in
            let hurt = damage.configurations.map { "configuration \($0)" } + damage.images.map { "image \($0)" }
            return "\(damage.digest) is \(damage.problem.rawValue); "
                + (hurt.isEmpty ? "nothing needs it" : "hurts " + hurt.joined(separator: ", "))
        }
        return ([summary + "\(damaged.count) damaged"] + lines).joined(separator: "\n")
    }
}
