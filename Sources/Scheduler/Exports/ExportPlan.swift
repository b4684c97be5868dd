// What an export holds: every member with its digest and its size, before the first byte is sent. So the answer has a
// length, a reader knows from the first member on what must follow, and what does not fit or is not whole is refused
// at once. Documents that are made for the export lie in one scratch file; nothing large is in memory.
import Foundation
import JobModel
import OCI

/// A member and where its bytes are.
struct ExportMember: Sendable {
    enum Source: Sendable {
        /// A part of the scratch file.
        case scratch(offset: Int64)
        case blob
        case tree
        case log(LogKey)
    }

    var path: ExportPath
    var digest: Digest
    var size: Int64
    var source: Source
}

/// An export that can be sent.
struct ExportPlan: Sendable {
    /// The list itself.
    var list: [UInt8]
    var members: [ExportMember]
    var scratch: Spool.Held
    var time: Timestamp

    /// Of the whole file, in bytes.
    var size: Int64 {
        members.reduce(TarHeader(name: ExportList.path, size: Int64(list.count)).extent) {
            $0 + TarHeader(name: "", size: $1.size).extent
        } + Int64(TarHeader.end.count)
    }
}

/// Makes plans. Functions block for as long as reading the provenance takes.
struct ExportPlanner {
    let store: Store
    let content: ContentStore
    let logs: LogFiles
    let trees: Trees
    let request: ExportRequest
    let caller: Caller
    let scratch: ScratchFile
    let time: Timestamp
    let origin: String
    private(set) var members: [ExportMember] = []
    private var paths: Set<ExportPath> = []
    private(set) var configurations: [ConfigurationDocument] = []
    private var runCount = 0
    private var runBytes: Int64 = 0
    private(set) var crate = ExportCrate()

    init(_ services: APIServices, _ request: ExportRequest, by caller: Caller, scratch: ScratchFile) throws {
        store = services.store
        content = services.content
        logs = services.logs
        trees = services.trees
        self.request = request
        self.caller = caller
        self.scratch = scratch
        time = services.clock.now().wall
        origin = try services.store.origin()
    }

    mutating func plan(in held: Spool.Held) throws -> ExportPlan {
        for (index, source) in request.sources.enumerated() { try add(source, field: "$.sources[\(index)]") }
        try addLayout()
        try add(.readme, scratch: Array(ExportCrate.readme(configurations, time).utf8))
        let metadata = crate.document(
            configurations: configurations, members: members, origin: origin, by: caller.name, at: time)
        try add(.crate, scratch: WireJSON.encode(metadata, pretty: true))
        guard members.count <= ExportList.mostMembers else { throw tooMuch("\(members.count) files") }
        members = members.enumerated().sorted {
            (Self.rank($0.element.path), $0.offset) < (Self.rank($1.element.path), $1.offset)
        }.map(\.element)
        let list = ExportList(
            jobctl: SchedulerService.version, origin: origin, exportedAt: time, exportedBy: caller.name.rawValue,
            configurations: configurations.map {
                ExportList.Entry(
                    digest: $0.digest, imageReference: $0.imageReference, createdAt: $0.createdAt, names: $0.names)
            }, files: members.map { ExportList.Member(path: "\($0.path)", digest: $0.digest, size: $0.size) })
        let bytes = try WireJSON.encode(list, pretty: true)
        try scratch.flush()
        guard bytes.count <= ExportList.sizeLimit else { throw tooMuch("a list of its files of \(bytes.count) bytes") }
        return ExportPlan(list: bytes, members: members, scratch: held, time: time)
    }

    /// Small documents first, layers last; otherwise as they were added.
    private static func rank(_ path: ExportPath) -> Int {
        switch path {
        case .crate: 0
        case .readme, .layout, .index: 1
        case .configuration, .image: 2
        case .run, .runFile: 3
        case .tree: 4
        case .blob: 5
        }
    }

    private func tooMuch(_ what: String) -> Problem {
        Problem(
            .refused,
            "an export with \(what) would be too large to be taken back: name fewer jobs, or leave out lists and logs (--without-lists, --without-logs)",
            field: "$.sources")
    }

    // MARK: members

    private mutating func add(_ path: ExportPath, digest: Digest, size: Int64, _ source: ExportMember.Source) {
        guard paths.insert(path).inserted else { return }
        members.append(ExportMember(path: path, digest: digest, size: size, source: source))
    }

    private mutating func add(_ path: ExportPath, scratch bytes: [UInt8]) throws {
        guard !paths.contains(path) else { return }
        let offset = try scratch.append(bytes)
        add(path, digest: Digest(of: bytes), size: Int64(bytes.count), .scratch(offset: offset))
    }

    // MARK: sources

    private mutating func add(_ text: String, field: String) throws {
        if let id = JobID(text) {
            guard let record = try store.record(of: id) else {
                throw Problem(.notFound, "there is no job \(id)", field: field)
            }
            try add(configuration: record.configuration, field: field)
            return try add(job: id)
        }
        guard let source = ConfigurationSource(text) else {
            throw Problem(.badRequest, "\(quoted(text)) is not a job id, NAME, NAME@VERSION or digest", field: field)
        }
        guard let digest = try store.configurationDigest(of: source) else {
            throw Problem(.notFound, "there is no configuration \(quoted(text))", field: field)
        }
        try add(configuration: digest, field: field)
        var before: Int64?
        while true {
            let page = try store.jobs(of: digest, before: before, limit: 100)
            for job in page { try add(job: job) }
            guard page.count == 100, let last = page.last else { break }
            before = last.rawValue
        }
        before = nil
        while true {
            let page = try store.importedRuns(of: digest, before: before, limit: 100)
            for run in page { try add(imported: run.exported) }
            guard page.count == 100, let last = page.last else { return }
            before = last.id
        }
    }

    private mutating func add(configuration digest: Digest, field: String) throws {
        guard !configurations.contains(where: { $0.digest == digest }) else { return }
        guard let document = try store.configuration(digest) else {
            throw Problem(.notFound, "there is no configuration \(digest)", field: field)
        }
        guard configurations.count < ExportList.mostConfigurations else {
            throw tooMuch("more than \(ExportList.mostConfigurations) configurations")
        }
        configurations.append(document)
        let configuration = document.configuration
        try add(.configuration(digest), scratch: configuration.canonicalJSON)
        for file in configuration.files.values.sorted(by: { $0.digest < $1.digest }) {
            guard let size = content.size(of: file.digest) else { throw missing(file.digest, document) }
            add(.blob(file.digest), digest: file.digest, size: size, .blob)
        }
        for image in [configuration.image] + configuration.services.sorted(by: { $0.key < $1.key }).map(\.value.image) {
            try add(image: image.digest, of: document, field: field)
        }
    }

    private func missing(_ digest: Digest, _ document: ConfigurationDocument) -> Problem {
        let name = document.names.first.map { "\($0)" } ?? "\(document.digest)"
        return Problem(
            .refused,
            "the archive lacks \(digest), which the configuration \(name) needs: an export of it could not run; see 'jobctl archive verify'",
            field: "$.sources")
    }

    /// The manifest or index as pinned, and everything of it that is here.
    private mutating func add(image digest: Digest, of document: ConfigurationDocument, field: String) throws {
        guard !paths.contains(.image(digest)) else { return }
        guard content.size(of: digest) != nil else { throw missing(digest, document) }
        let (image, tree): (StoredImage, [ManifestFacts])
        do {
            image = try inspectImage(digest, in: content)
            tree = try manifestTree(digest, in: content)
        } catch {
            throw Problem(.refused, "the image \(digest) cannot be exported: \(error)", field: field)
        }
        guard image.isComplete else { throw missing(digest, document) }
        for facts in tree {
            add(.blob(facts.digest), digest: facts.digest, size: facts.size, .blob)
            for part in facts.references where content.size(of: part.digest) == part.size {
                add(.blob(part.digest), digest: part.digest, size: part.size, .blob)
            }
        }
        let known = try store.image(digest)
        let exported = ExportedImage(digest: digest, names: known?.references ?? [], builds: known?.builds ?? [])
        try add(.image(digest), scratch: WireJSON.encode(exported, pretty: true))
        crate.add(exported, mediaType: image.mediaType)
    }

    // MARK: runs

    private mutating func add(run: ExportedRun) throws {
        let bytes = try WireJSON.encode(run, pretty: true)
        (runCount, runBytes) = (runCount + 1, runBytes + Int64(bytes.count))
        guard runCount <= ExportList.mostRuns, runBytes <= ExportList.runsLimit else { throw tooMuch("so many runs") }
        try add(.run(origin: run.origin, run.job), scratch: bytes)
    }

    /// Lists of files and logs belong to the owner, as everywhere.
    private mutating func add(job: JobID) throws {
        guard !paths.contains(.run(origin: origin, job)) else { return }
        guard let run = try store.run(of: job), let record = try store.record(of: job) else { return }
        let exported = ExportedRun(origin: origin, record: record, run: run)
        try add(run: exported)
        let isReadable = caller.role == .admin || record.owner.name == caller.name
        let start = try scratch.end
        var (hash, size) = (DigestBuilder(), Int64(0))
        var page = AttemptList(attempts: [], next: nil)
        repeat {
            page = try store.attempts(AttemptQuery(job: job, limit: 1000, cursor: page.next, task: nil))
            for attempt in page.attempts {
                let line = try WireJSON.encode(attempt) + [UInt8(ascii: "\n")]
                hash.update(line)
                size += Int64(line.count)
                _ = try scratch.append(line)
                if isReadable {
                    try addLists(of: attempt)
                    try addLogs(of: attempt)
                }
                crate.add(attempt, of: exported)
            }
            guard members.count <= ExportList.mostMembers else { throw tooMuch("so many logs and lists") }
        } while page.next != nil
        add(
            .runFile(origin: origin, job, ExportPath.attempts), digest: hash.finish(), size: size,
            .scratch(offset: start))
    }

    private mutating func addLists(of attempt: AttemptDocument) throws {
        guard request.withoutLists != true else { return }
        for fingerprint in attempt.inputs.values.map({ $0 }) + attempt.outputs.values.map({ $0 }) {
            guard let digest = fingerprint.treeDigest, !paths.contains(.tree(digest)), trees.has(digest) else {
                continue
            }
            var (size, hash) = (Int64(0), DigestBuilder())
            do {
                let reader = try trees.lists.reader(digest)
                while let piece = try reader.next() {
                    size += Int64(piece.count)
                    hash.update(piece)
                }
            } catch { continue }
            // A list that the disk has spoiled proves nothing any more.
            guard hash.finish() == digest else { continue }
            add(.tree(digest), digest: digest, size: size, .tree)
        }
    }

    private mutating func addLogs(of attempt: AttemptDocument) throws {
        guard request.withoutLogs != true, attempt.state.value?.isTerminal == true else { return }
        for stream in LogStream.allCases {
            let key = LogKey(attempt: attempt.id, stream: stream)
            guard let extent = try logs.extent(of: key), extent.size > 0 else { continue }
            var (offset, hash) = (Int64(0), DigestBuilder())
            while offset < extent.size {
                let piece = try logs.read(key, from: offset, count: Int(min(1 << 20, extent.size - offset)))
                guard !piece.isEmpty else { break }
                hash.update(piece)
                offset += Int64(piece.count)
            }
            guard offset == extent.size else { continue }
            add(
                .runFile(origin: origin, attempt.id.job, ExportPath.log(key)), digest: hash.finish(), size: offset,
                .log(key))
        }
    }

    /// A run of another cluster goes on as it came. What it is not known who may read, administrators may.
    private mutating func add(imported run: ExportedRun) throws {
        guard !paths.contains(.run(origin: run.origin, run.job)) else { return }
        try add(run: run)
        for file in try store.importedFiles(origin: run.origin, job: run.job) {
            let isLog = file.path != ExportPath.attempts
            guard !isLog || (caller.role == .admin && request.withoutLogs != true) else { continue }
            guard content.size(of: file.digest) == file.size else { continue }
            add(.runFile(origin: run.origin, run.job, file.path), digest: file.digest, size: file.size, .blob)
            guard !isLog else { continue }
            let attempts = try ExportLines(path: content.path(of: file.digest), offset: 0, size: file.size)
            while let line = try attempts.next() {
                let attempt = try WireJSON.decode(AttemptDocument.self, from: line)
                if caller.role == .admin { try addLists(of: attempt) }
                crate.add(attempt, of: run)
            }
        }
    }

    // MARK: the layout

    private mutating func addLayout() throws {
        var descriptors: [JSONValue] = []
        for member in members {
            guard case .image(let digest) = member.path, let size = content.size(of: digest) else { continue }
            let manifest = try Manifest(content.read(digest, limit: Manifest.sizeLimit), named: "\(digest)")
            descriptors.append(
                .object([
                    ("mediaType", .string(manifest.mediaType)), ("digest", .string("\(digest)")),
                    ("size", .number(Double(size))),
                ]))
        }
        let index = JSONValue.object([
            ("schemaVersion", .number(2)), ("mediaType", .string(MediaType.index)), ("manifests", .array(descriptors)),
        ])
        try add(.index, scratch: index.canonical)
        try add(.layout, scratch: Array(#"{"imageLayoutVersion":"1.0.0"}"#.utf8))
    }
}
