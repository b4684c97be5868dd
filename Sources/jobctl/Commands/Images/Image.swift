// jobctl image import|list|show.
import ArgumentParser
import Foundation
import JobModel
import NIOCore
import SchedulerClient

struct ImageCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "image", abstract: "Images in the archive.",
        discussion: """
            Images come here by themselves when a job needs them; 'import' is for those
            that no registry has. Examples:

              jobctl image
              jobctl image show busybox:1.36
              jobctl image pulls            what is on its way, and how far it is
            """,
        subcommands: [
            ImageImport.self, ImageBuild.self, ImageListCommand.self, ImageShow.self, ImagePulls.self,
            ImageLintCommand.self,
        ], defaultSubcommand: ImageListCommand.self)
}

struct ImageImport: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import", abstract: "Import an image from a file or folder.",
        discussion:
            """
            Takes a 'docker save' archive, an OCI layout (tar or folder), or the tar of a
            root file system. Examples:

              docker save lab/stack:1 | jobctl image import - -t lab/stack:1
              jobctl image import layout/ -t lab/stack:1
              jobctl image import rootfs.tar -t busybox:local

            From then on 'image: lab/stack:1' in a spec means these bytes.
            """
    )

    @Argument(help: "The file, the folder of an OCI layout, or '-' for standard input.", completion: .file())
    var source: String
    @Option(name: [.short, .long], help: "The image's name, for example lab/stack:1.") var tag: String
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        guard ImageReference(tag) != nil else {
            throw Problem(
                .badRequest, "\(quoted(tag)) is not an image reference: \(ImageReference.rule)", field: "--tag")
        }
        let (handle, size, tar) = try open()
        let document = try await global.client().importImage(reference: tag, FilePieces(handle: handle, total: size))
        tar?.waitUntilExit()
        guard (tar?.terminationStatus ?? 0) == 0 else { throw Problem(.refused, "tar could not read \(source)") }
        try Render.one(document, quiet: document.digest.description, global.format) {
            "imported \(tag) = \(document.digest) (\(document.size))"
        }
    }

    /// The bytes of the archive; a folder is packed by tar on the way.
    private func open() throws -> (FileHandle, Int64?, Process?) {
        if source == "-" { return (.standardInput, nil, nil) }
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: source, isDirectory: &isFolder) else {
            throw Problem(.badRequest, "\(quoted(source)) does not exist")
        }
        if isFolder.boolValue {
            let tar = Process()
            tar.executableURL = URL(filePath: "/usr/bin/env")
            tar.arguments = ["tar", "-cf", "-", "-C", source, "."]
            let pipe = Pipe()
            tar.standardOutput = pipe
            try tar.run()
            return (pipe.fileHandleForReading, nil, tar)
        }
        guard let handle = FileHandle(forReadingAtPath: source) else {
            throw Problem(.badRequest, "\(quoted(source)) cannot be read")
        }
        let size = try FileManager.default.attributesOfItem(atPath: source)[.size] as? Int64
        return (handle, size, nil)
    }
}

/// A file in pieces of 1 MiB, with a progress line.
struct FilePieces: AsyncSequence, Sendable {
    let handle: FileHandle
    let total: Int64?

    struct Iterator: AsyncIteratorProtocol {
        let handle: FileHandle
        let total: Int64?
        let progress = ProgressLine()
        let started = ContinuousClock.now
        var sent: Int64 = 0

        mutating func next() async throws -> ByteBuffer? {
            guard let data = try handle.read(upToCount: 1 << 20), !data.isEmpty else {
                progress.clear()
                return nil
            }
            sent += Int64(data.count)
            let seconds = Double((ContinuousClock.now - started).components.seconds) + 0.001
            progress.show(
                "\(ByteCount(bytes: sent))" + (total.map { " of \(ByteCount(bytes: $0))" } ?? "")
                    + ", \(ByteCount(bytes: Int64(Double(sent) / seconds)))/s")
            return ByteBuffer(bytes: data)
        }
    }

    func makeAsyncIterator() -> Iterator { Iterator(handle: handle, total: total) }
}

struct ImagePulls: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pulls", abstract: "Images on their way from their registries, and how far they are.",
        discussion: """
            Each image is fetched once for the whole cluster. What broke off is taken up
            where it ended, also after the scheduler was restarted. A registry that asks
            for patience gets it; NOTE says so.
            """)
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let list = try await global.client().imagePulls()
        try Render.list(list.pulls, document: list, global.format)
    }
}

struct ImageListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "Images of the archive, newest first.")
    @Option(help: "How many at most, 1 to 1000.", transform: Given.limit) var limit = 100
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let list = try await global.client().images(limit: limit)
        try Render.list(list.images, document: list, global.format)
    }
}

struct ImageShow: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "One image.")
    @Argument(help: "A name or a digest.") var reference: String
    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let image = try await global.client().image(reference)
        try Render.one(image, quiet: image.digest.description, global.format) { image.page }
    }
}
