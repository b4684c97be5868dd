// Takes an export into this cluster: checked whole first, then its content into the archive, then one commit for all
// that names it. A crash before the commit leaves content that nothing names, which garbage collection removes; the
// same import again finds what is there. Garbage collection spares what was touched lately, and waits at the gate while
// it is looked whether all is here and written down.
import Foundation
import JobModel
import OCI

struct ArchiveImporter: Sendable {
    let services: APIServices
    /// How often what is stored already is touched again, so that a slow import outlives its own beginning.
    private static let touchInterval = Duration.seconds(600)

    func take(_ path: String, by caller: Caller, skippingConflicts skips: Bool) async throws -> ArchiveImport {
        let export = try await services.files.runLong { try ExportReader.check(path) }
        try await services.files.runLong {
            do { try store(export) } catch let error as OCIError { throw Problem(error) }
        }
        return try await services.archive.gate.alone {
            let before = try await services.files.run { try Before(export, services.store) }
            var (archive, skipped) = try await services.files.run {
                try prepare(export, by: caller, skippingConflicts: skips)
            }
            archive.runs.removeAll { before.isOwn($0.exported) }
            try await services.archive.keepAlone(archive)
            return try await services.files.run { [archive, skipped] in
                try answer(export, archive, before, skipped)
            }
        }
    }

    // MARK: content

    /// Blobs, runs' files and lists of trees. What is here and whole is not written again; what is damaged is mended.
    private func store(_ export: CheckedExport) throws {
        let content = services.content
        var done: [Digest] = []
        var touched = ContinuousClock.now
        for (index, file) in export.list.files.enumerated() {
            switch export.paths[index] {
            case .tree:
                guard !services.trees.has(file.digest) else { continue }
                let part = try PartReader(path: export.path, offset: export.offsets[index], size: file.size)
                try services.trees.lists.put(file.digest) { try part.next() }
            case .blob, .runFile:
                if try content.isWhole(file.digest) == true {
                    content.touch(file.digest)
                } else {
                    let part = try PartReader(path: export.path, offset: export.offsets[index], size: file.size)
                    let writer = try content.writer()
                    while let piece = try part.next() { try writer.write(piece) }
                    _ = try writer.commit(expecting: file.digest, size: file.size)
                }
                done.append(file.digest)
            case .crate, .readme, .layout, .index, .configuration, .image, .run: continue
            }
            if ContinuousClock.now - touched > Self.touchInterval {
                for digest in done { content.touch(digest) }
                touched = ContinuousClock.now
            }
        }
    }

    // MARK: what is written down

    /// What was here before.
    private struct Before: Sendable {
        let origin: String
        let configurations: Set<Digest>
        let revisions: [String: Int64]
        /// Jobs of this cluster that the file brings back.
        let own: Set<JobID>

        init(_ export: CheckedExport, _ store: Store) throws {
            let origin = try store.origin()
            self.origin = origin
            configurations = Set(
                try export.configurations.map(\.entry.digest).filter { try store.configuration($0) != nil })
            revisions = try store.importedRevisions()
            own = Set(
                try export.runs.filter {
                    try $0.origin == origin && store.record(of: $0.job)?.configuration == $0.record.configuration
                }.map(\.job))
        }

        func isOwn(_ run: ExportedRun) -> Bool { run.origin == origin && own.contains(run.job) }

        func isNew(_ run: ExportedRun) -> Bool {
            !isOwn(run) && revisions["\(run.origin)/\(run.job)"] == nil
        }
    }

    /// - Returns: all rows, and the names of images that are left out.
    /// - Precondition: the caller has the gate.
    private func prepare(_ export: CheckedExport, by caller: Caller, skippingConflicts skips: Bool) throws -> (
        ImportedArchive, [String]
    ) {
        let now = services.clock.now().wall
        for (index, file) in export.list.files.enumerated() {
            switch export.paths[index] {
            case .blob, .runFile:
                guard services.content.size(of: file.digest) == file.size else { throw Self.deleted }
            case .crate, .readme, .layout, .index, .configuration, .image, .run, .tree: continue
            }
        }
        var skipped: [String] = []
        let images = try export.images.map { image in
            let (image, left) = try prepare(image, export, at: now, skippingConflicts: skips)
            skipped += left
            return image
        }
        var files: [String: [ExportList.Member]] = [:]
        for (path, file) in zip(export.paths, export.list.files) {
            guard case .runFile(let origin, let job, let name) = path else { continue }
            files["\(origin)/\(job)", default: []].append(
                ExportList.Member(path: name, digest: file.digest, size: file.size))
        }
        let runs = export.runs.sorted { ($0.run.job.submittedAt, $0.job) < ($1.run.job.submittedAt, $1.job) }
        return (
            ImportedArchive(
                configurations: export.configurations.map {
                    ImportedArchive.Configuration(
                        digest: $0.entry.digest, content: $0.bytes, imageReference: $0.entry.imageReference,
                        createdAt: $0.entry.createdAt, names: $0.entry.names)
                }, images: images,
                runs: runs.map { ImportedArchive.Run(exported: $0, files: files["\($0.origin)/\($0.job)"] ?? []) },
                importedAt: now, importedBy: caller.name, skipsConflicts: skips), skipped
        )
    }

    private static let deleted = Problem(
        .unavailable, "content of the file was deleted while it was imported: try again")

    private func prepare(
        _ exported: ExportedImage, _ export: CheckedExport, at now: Timestamp, skippingConflicts skips: Bool
    ) throws -> (ImportedArchive.Image, skipped: [String]) {
        let (image, tree): (StoredImage, [ManifestFacts])
        do {
            let name = exported.names.first ?? "\(exported.digest)"
            try Manifest(services.content.read(exported.digest, limit: Manifest.sizeLimit), named: name)
                .requireContainerImage(named: name)
            image = try inspectImage(exported.digest, in: services.content)
            tree = try manifestTree(exported.digest, in: services.content)
        } catch {
            throw ExportReader.refusal("\(error)", "\(ExportPath.image(exported.digest))")
        }
        // Complete in the file, not only with what happens to be here.
        let paths = Set(export.paths)
        let isWhole = tree.contains { facts in
            !facts.isIndex && facts.manifest.isContainerImage && paths.contains(.blob(facts.digest))
                && facts.references.allSatisfy { paths.contains(.blob($0.digest)) }
        }
        guard image.isComplete, isWhole else {
            throw ExportReader.refusal("is not whole in the file", "\(ExportPath.image(exported.digest))")
        }
        let pins = export.configurations.flatMap { [$0.value.image] + $0.value.services.values.map(\.image) }
        for pin in pins where pin.digest == exported.digest {
            guard let platform = pin.platform, !image.platforms.contains(platform) else { continue }
            throw ExportReader.refusal("lacks the platform \(platform)", "\(ExportPath.image(exported.digest))")
        }
        let (names, skipped) = try free(exported, skippingConflicts: skips)
        let manifests = names.compactMap { ImageReference($0) }.flatMap { reference in
            tree.map { RegistryManifestRow($0, in: "\(reference.registry)/\(reference.repository)", by: nil, at: now) }
        }
        let row = ImageRow(
            digest: image.digest, mediaType: image.mediaType, size: image.size, platforms: image.platforms,
            layers: image.layers, complete: true, createdAt: now)
        return (
            ImportedArchive.Image(row: row, names: names, manifests: manifests, builds: exported.builds), skipped
        )
    }

    /// The names of an image that mean nothing here yet, and those that mean something else.
    private func free(_ image: ExportedImage, skippingConflicts skips: Bool) throws -> (
        names: [String], taken: [String]
    ) {
        var (names, taken): ([String], [String]) = ([], [])
        for name in image.names {
            guard let here = try services.store.imageDigest(reference: name) else {
                names.append(name)
                continue
            }
            guard here != image.digest else { continue }
            guard skips else { throw Problem.taken("image", configuration: name, here: here, imported: image.digest) }
            taken.append(name)
        }
        return (names, taken)
    }

    // MARK: the answer

    private func answer(_ export: CheckedExport, _ archive: ImportedArchive, _ before: Before, _ skipped: [String])
        throws -> ArchiveImport
    {
        var skipped = skipped
        let configurations = try export.configurations.map { configuration in
            let digest = configuration.entry.digest
            let names = try services.store.configuration(digest)?.names ?? []
            skipped += configuration.entry.names.filter { wanted in !names.contains { $0.name == wanted.name } }
                .map { "\($0)" }
            return ImportedConfiguration(
                digest: digest, names: names.map { "\($0)" }, isNew: !before.configurations.contains(digest))
        }
        return ArchiveImport(
            digest: export.digest, origin: export.list.origin, exportedAt: export.list.exportedAt,
            exportedBy: export.list.exportedBy, configurations: configurations,
            images: archive.images.flatMap(\.names), newRuns: export.runs.filter { before.isNew($0) }.count,
            runs: export.runs.count, skipped: skipped)
    }
}
