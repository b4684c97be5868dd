// jobctl image lint: what is wrong with an image, and what to do about it.
import ArgumentParser
import JobModel
import SchedulerClient

struct ImageLintCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lint", abstract: "What is wrong with an image, and what to do about it.",
        discussion: """
            Looks at the configuration and all layers of an image in the archive: secrets
            in its environment or history, a VOLUME that hides data, a locale that is not
            there, a base that nothing names by digest or that is out of support,
            set-user-ID files, shell form, root. Examples:

              jobctl image lint lab/stack:1
              jobctl image lint lab/stack:1 --strict && echo 'nothing to mend'

            An 'error' may harm somebody, a 'warning' may change results or keep the image
            from being made again, a 'note' matters elsewhere and not for jobs.
            """)
    @Argument(help: "A name or a digest.") var reference: String
    @Flag(help: "End with 5 if there is an error or a warning.") var strict = false
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let document = try await global.client().lint(reference)
        try Render.list(document.findings, document: document, global.format)
        if global.output == .table, !global.quiet, let note = document.note { printError(note) }
        let grave = document.findings.filter { $0.level != .known(.note) }.count
        guard strict, grave > 0 else { return }
        throw Problem(.refused, "the image \(reference) has \(grave) errors and warnings")
    }
}

extension LintFinding: Row {
    static var header: [String] { ["LEVEL", "RULE", "FOUND", "WHAT TO DO"] }
    var cells: [String] { ["\(level)", "\(rule)", found, advice] }
    var quiet: String { "\(rule)" }
}
