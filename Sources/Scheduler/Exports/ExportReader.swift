// A file from outside, which may be anything, found to be an export: every header, every byte's digest, every document
// by its own rules, before anything of it is kept. Each refusal names the member and what is wrong with it. What the
// documents say is checked in ExportReader+Documents.swift.
import Foundation
import JobModel
import OCI

/// An export in a file, of which every byte was looked at.
struct CheckedExport: Sendable {
    struct Configuration: Sendable {
        var entry: ExportList.Entry
        var value: JobModel.Configuration
        var bytes: [UInt8]
    }

    var path: String
    var list: ExportList
    /// Of the list.
    var digest: Digest
    /// Where the content of each of the list's files begins.
    var offsets: [Int64] = []
    var paths: [ExportPath]
    var configurations: [Configuration] = []
    var images: [ExportedImage] = []
    /// With records made anew by the rules of submissions.
    var runs: [ExportedRun] = []
}

/// Reads one file. Blocks for as long as hashing all of it takes. For one thread at a time.
struct ExportReader {
    /// In bytes, of the small documents together: they are held until they are written down.
    static let heldLimit: Int64 = 128 << 20
    let path: String
    var export: CheckedExport
    /// Configurations, images and runs as they were read, by their place in the list.
    private(set) var documents: [Int: [UInt8]] = [:]
    private var held: Int64 = 0

    /// - Throws: ``Problem`` of kind `refused`: one sentence that names what is wrong.
    static func check(_ path: String) throws -> CheckedExport {
        var reader = try ExportReader(path)
        try reader.readMembers()
        try reader.checkDocuments()
        return reader.export
    }

    private init(_ path: String) throws {
        self.path = path
        var status = stat()
        guard stat(path, &status) == 0 else { throw Problem(.internal, "the spooled body cannot be read") }
        let header = try Self.header(at: 0, in: path, fileSize: Int64(status.st_size))
        guard let header, header.name == ExportList.path else {
            throw Self.refusal("it does not begin with \(ExportList.path): it is no export of jobctl")
        }
        guard header.size <= ExportList.sizeLimit else {
            throw Self.refusal("is larger than \(ByteCount(bytes: ExportList.sizeLimit))", ExportList.path)
        }
        let bytes = try Self.bytes(in: path, offset: Int64(TarHeader.block), size: header.size)
        let list = try Self.list(bytes)
        let paths = try Self.paths(list)
        let size =
            list.files.reduce(header.extent) { $0 + TarHeader(name: "", size: $1.size).extent }
            + Int64(TarHeader.end.count)
        guard Int64(status.st_size) >= size else {
            throw Self.refusal("it was cut short: it has \(status.st_size) bytes and should have \(size)")
        }
        guard Int64(status.st_size) == size else {
            throw Self.refusal("it has \(Int64(status.st_size) - size) bytes behind its end")
        }
        export = CheckedExport(path: path, list: list, digest: Digest(of: bytes), paths: paths)
    }

    static func refusal(_ why: String, _ member: String? = nil) -> Problem {
        Problem(.refused, why, field: member.map { shown($0) })
    }

    // MARK: the list

    /// What every version of the list has.
    private struct Preface: Decodable {
        var format: String
        var version: Int
    }

    private static func list(_ bytes: [UInt8]) throws(Problem) -> ExportList {
        let list: ExportList
        do throws(Problem) {
            let preface = try WireJSON.decode(Preface.self, from: bytes)
            guard preface.format == ExportList.formatName else {
                throw Problem(.refused, "has the format \(quoted(preface.format)): it is no export of jobctl")
            }
            guard (1...ExportList.newestVersion).contains(preface.version) else {
                throw Problem(
                    .refused,
                    "has the version \(preface.version): this jobctl reads up to \(ExportList.newestVersion), take a newer one"
                )
            }
            list = try WireJSON.decode(ExportList.self, from: bytes)
        } catch {
            throw refusal(error.description, ExportList.path)
        }
        guard ExportPath.isOrigin(list.origin) else {
            throw refusal("$.origin: \(quoted(list.origin)) is not 32 hexadecimal digits", ExportList.path)
        }
        guard list.exportedBy.utf8.count <= 256, list.jobctl.utf8.count <= 64 else {
            throw refusal("$.exported_by: is too long", ExportList.path)
        }
        return list
    }

    private static func paths(_ list: ExportList) throws(Problem) -> [ExportPath] {
        func refusal(_ why: String) -> Problem { Self.refusal(why, ExportList.path) }
        guard list.files.count <= ExportList.mostMembers else {
            throw refusal("names more than \(ExportList.mostMembers) files")
        }
        var seen: Set<ExportPath> = []
        var paths: [ExportPath] = []
        for file in list.files {
            guard let path = ExportPath(file.path) else {
                throw refusal("\(quoted(file.path)) is not a path that an export has")
            }
            guard seen.insert(path).inserted else { throw refusal("\(quoted(file.path)) stands in it twice") }
            guard (0...Int64(1) << 40).contains(file.size) else {
                throw refusal("the size of \(quoted(file.path)) cannot be")
            }
            switch path {
            case .configuration(let digest), .tree(let digest), .blob(let digest):
                guard digest == file.digest else {
                    throw refusal("\(quoted(file.path)) has another digest than its name")
                }
            case .crate, .readme, .layout, .index, .image, .run, .runFile: break
            }
            paths.append(path)
        }
        for path in [ExportPath.crate, .layout, .index] where !seen.contains(path) { throw refusal("lacks \(path)") }
        return paths
    }

    // MARK: members

    private mutating func readMembers() throws {
        var offset = TarHeader(name: "", size: try firstSize()).extent
        for (index, file) in export.list.files.enumerated() {
            let header = try Self.header(at: offset, in: path, fileSize: .max)
            guard let header, header.name == file.path else {
                let found = header.map { quoted($0.name) } ?? "its end"
                throw Self.refusal("the file has \(found) where \(quoted(file.path)) should be")
            }
            guard header.size == file.size else {
                throw Self.refusal("has \(header.size) bytes and should have \(file.size)", file.path)
            }
            let start = offset + Int64(TarHeader.block)
            export.offsets.append(start)
            try read(index, from: start)
            offset += header.extent
        }
        guard try Self.bytes(in: path, offset: offset, size: Int64(TarHeader.end.count)) == TarHeader.end else {
            throw Self.refusal("it has something where its end should be")
        }
    }

    private func firstSize() throws -> Int64 {
        try Self.header(at: 0, in: path, fileSize: .max)?.size ?? 0
    }

    /// Hashes a member, and looks into it.
    private mutating func read(_ index: Int, from start: Int64) throws {
        let file = export.list.files[index]
        let part = try PartReader(path: path, offset: start, size: file.size)
        var (hash, bytes) = (DigestBuilder(), [UInt8]())
        let isHeld = try isDocument(index)
        while let piece = try part.next() {
            hash.update(piece)
            if isHeld { bytes += piece }
        }
        let found = hash.finish()
        guard found == file.digest else {
            throw Self.refusal("is damaged: expected \(file.digest), found \(found)", file.path)
        }
        if isHeld { documents[index] = bytes }
        do {
            switch export.paths[index] {
            case .tree: try checkTree(at: start, size: file.size)
            case .runFile(_, let job, ExportPath.attempts): try checkAttempts(of: job, at: start, size: file.size)
            case .crate, .readme, .layout, .index, .configuration, .image, .run, .runFile, .blob: break
            }
        } catch let problem as Problem {
            throw Self.refusal(problem.description, file.path)
        } catch let mistake as TreeManifestMistake {
            throw Self.refusal("is no list of a tree: \(mistake)", file.path)
        }
    }

    /// Whether the member is a small document, within its limits.
    private mutating func isDocument(_ index: Int) throws -> Bool {
        switch export.paths[index] {
        case .configuration, .image, .run: break
        case .crate, .readme, .layout, .index, .runFile, .tree, .blob: return false
        }
        let file = export.list.files[index]
        guard file.size <= ExportList.documentLimit else {
            throw Self.refusal("is larger than \(ByteCount(bytes: ExportList.documentLimit))", file.path)
        }
        held += file.size
        guard held <= Self.heldLimit else {
            throw Self.refusal("its documents are larger than \(ByteCount(bytes: Self.heldLimit)) together")
        }
        return true
    }

    private func checkTree(at start: Int64, size: Int64) throws {
        guard size <= TreeManifestReader.sizeLimit else {
            throw Problem(.refused, "is larger than \(ByteCount(bytes: TreeManifestReader.sizeLimit))")
        }
        let part = try PartReader(path: path, offset: start, size: size)
        var reader = TreeManifestReader(pieces: { try part.next() })
        while try reader.next() != nil {}
    }

    private func checkAttempts(of job: JobID, at start: Int64, size: Int64) throws {
        let lines = try ExportLines(path: path, offset: start, size: size)
        var number = 0
        while let line = try lines.next() {
            number += 1
            let attempt: AttemptDocument
            do { attempt = try WireJSON.decode(AttemptDocument.self, from: line) } catch {
                throw Problem(.refused, "line \(number): \(error)")
            }
            guard attempt.id.job == job else {
                throw Problem(.refused, "line \(number): the attempt \(attempt.id) is not of job \(job)")
            }
        }
    }

    // MARK: bytes

    private static func header(at offset: Int64, in path: String, fileSize: Int64) throws -> TarHeader? {
        guard fileSize >= Int64(TarHeader.block) else { throw refusal("it is no export of jobctl: it is too short") }
        do {
            return try TarHeader(try bytes(in: path, offset: offset, size: Int64(TarHeader.block)))
        } catch let mistake as TarHeader.Mistake {
            throw refusal("it is no export of jobctl: \(mistake)")
        }
    }

    private static func bytes(in path: String, offset: Int64, size: Int64) throws(Problem) -> [UInt8] {
        let part = try PartReader(path: path, offset: offset, size: size)
        var bytes: [UInt8] = []
        while let piece = try part.next() { bytes += piece }
        return bytes
    }
}
