// jobctl archive export|import: everything that a configuration needs, in one file, and back.
import ArgumentParser
import Foundation
import JobModel
import SchedulerClient

struct ArchiveExport: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export", abstract: "Write configurations and their runs into one file.",
        discussion: """
            The file holds all that is needed to run them elsewhere: images, files and
            configurations; and what is known of their runs: data and its digests, who,
            when, where, how it ended, logs. It is a tar that is an RO-Crate (Process Run
            Crate 0.5) and an OCI image layout at once. Examples:

              jobctl archive export annual-temps -o annual-temps.tar
              jobctl archive export annual-temps@3 42 43 -o years.tar

            A name means its newest version, with all its runs; a job means its
            configuration, with this run alone. Data on volumes is not in the file. Logs
            and lists of files are, of jobs that are yours; administrators get all.
            The file is there when it is whole, or not at all.
            """)

    @Argument(help: "NAME, NAME@VERSION, a configuration's digest, or a job.") var sources: [String]
    @Option(name: [.customShort("o"), .long], help: "The file to write.", completion: .file()) var output: String
    @Flag(help: "Leave out what the programs printed.") var withoutLogs = false
    @Flag(help: "Leave out the lists of files behind the digests of inputs and outputs.") var withoutLists = false
    @Flag(help: "Replace the file if it exists.") var force = false
    @Flag(name: .shortAndLong, help: "Print the export's digest only.") var quiet = false
    @Option(help: "The scheduler's URL; otherwise $JOBCTL_URL, or the one of 'jobctl up'.") var url: String?

    func run() async throws {
        let request = ExportRequest(
            sources: sources, withoutLogs: withoutLogs ? true : nil, withoutLists: withoutLists ? true : nil)
        let file = try WholeFile(path: output, replacing: force)
        let progress = ProgressLine()
        var size = ByteCount(bytes: 0)
        let digest = try await GlobalOptions.client(url: url).exportArchive(request) { piece, total in
            try file.write(piece)
            size = ByteCount(bytes: size.bytes + Int64(piece.count))
            progress.show("\(size) of \(ByteCount(bytes: total))")
        }
        progress.clear()
        try file.finish()
        print(quiet ? "\(digest)" : "exported \(sources.joined(separator: ", ")) to \(output) (\(size)), \(digest)")
    }
}

struct ArchiveImportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import", abstract: "Take an export into this cluster (administrators only).",
        discussion: """
            Checks every byte of the file first, then takes all of it or nothing. From then
            on its configurations run here:

              jobctl archive import annual-temps.tar
              jobctl rerun annual-temps --bind input=weather/2015
              jobctl history annual-temps

            Runs of the other cluster stand in the history as what they are; they do not
            become jobs of this one. A name that means something else here is refused, or
            with --skip-conflicts left as it is: what is imported then runs by its digest.
            The same import again changes nothing.
            """)

    @Argument(help: "The file, or '-' for standard input.", completion: .file()) var file: String
    @Flag(help: "Leave names that are taken as they are.") var skipConflicts = false
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        var (handle, size) = (FileHandle.standardInput, Int64?.none)
        if file != "-" {
            guard let opened = FileHandle(forReadingAtPath: file) else {
                throw Problem(.badRequest, "\(quoted(file)) cannot be read: does it exist?")
            }
            handle = opened
            size = try FileManager.default.attributesOfItem(atPath: file)[.size] as? Int64
        }
        let result = try await global.client().importArchive(
            FilePieces(handle: handle, total: size), skippingConflicts: skipConflicts)
        try Render.one(result, quiet: "\(result.digest)", global.format) { result.page }
    }
}

extension ArchiveImport {
    fileprivate var page: String {
        var lines = configurations.map { configuration in
            (configuration.isNew ? "imported " : "known    ")
                + (configuration.names.isEmpty
                    ? "\(configuration.digest)" : configuration.names.joined(separator: ", "))
        }
        lines += images.map { "image    \($0)" }
        lines.append("runs     \(newRuns) new of \(runs)")
        lines += skipped.map { "skipped  \($0), which is something else here" }
        lines.append("from     \(origin), exported \(Render.time(exportedAt)) by \(exportedBy), \(digest)")
        return lines.joined(separator: "\n")
    }
}
