// jobctl image build: a Dockerfile becomes an image of the archive, with a record of how it was made.
import ArgumentParser
import Foundation
import JobModel
import SchedulerClient

struct ImageBuild: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "build", abstract: "Build an image from a Dockerfile, and record how it was made.",
        discussion: """
            Builds with buildah, podman or docker, whichever is on this machine, and brings
            the image into the archive. Dockerfile, digest of the context, bases by digest
            and the tool are recorded: 'jobctl image show' answers how it was made.
            Examples:

              jobctl image build . -t lab/stack:1
              jobctl image build stack/ -t lab/stack:2 --build-arg R=4.3 --tool podman

            Give an argument to no secret: arguments are recorded.
            """)
    @Argument(help: "The folder with the Dockerfile and what it copies.", completion: .directory) var folder: String
    @Option(name: [.short, .long], help: "The image's name, for example lab/stack:1.") var tag: String
    @Option(name: [.short, .long], help: "The Dockerfile, if it is not DIR/Dockerfile or DIR/Containerfile.")
    var file: String?
    @Option(
        help: ArgumentHelp("Set an ARG of the Dockerfile. May be repeated.", valueName: "name=value"))
    var buildArg: [String] = []
    @Option(help: "buildah, podman or docker; otherwise the first of them that is here.") var tool: BuildTool?
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        guard let reference = ImageReference(tag), reference.digest == nil else {
            throw Problem(.badRequest, "\(quoted(tag)) is not an image name: write NAME:TAG", field: "--tag")
        }
        let client = try global.client()
        let build = try Build(
            folder: folder, file: file, arguments: try BindingOptions.pairs(buildArg, "--build-arg"),
            tool: try tool ?? BuildTool.first())
        let (archive, record) = try build.run()
        defer { build.removeTraces() }
        guard let handle = FileHandle(forReadingAtPath: archive) else {
            throw Problem(.refused, "the tool wrote no image that can be read")
        }
        _ = try await client.importImage(reference: tag, FilePieces(handle: handle, total: nil))
        let document = try await client.recordBuild(reference: tag, record)
        try Render.one(document, quiet: document.digest.description, global.format) {
            "built \(tag) = \(document.digest) (\(document.size)) with \(record.tool)"
        }
    }
}

/// A program that understands Dockerfiles.
enum BuildTool: String, CaseIterable, ExpressibleByArgument {
    case buildah, podman, docker

    static func first() throws(Problem) -> BuildTool {
        for tool in allCases where CommandRun.exists(tool.rawValue) { return tool }
        throw Problem(
            .refused, "none of buildah, podman and docker is on this machine: install one, or import an image")
    }
}
