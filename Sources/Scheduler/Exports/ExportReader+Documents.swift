// What the documents of an export say, held to the rules that submissions, pushes and workers are held to. The digest
// of a document only proves that it is what the file's author wrote.
import Foundation
import JobModel
import OCI

extension ExportReader {
    private static let mostNames = 1_000
    private static let largestVersion = 1_000_000_000

    mutating func checkDocuments() throws {
        let paths = Set(export.paths)
        for (index, path) in export.paths.enumerated() {
            guard let bytes = documents[index] else { continue }
            do {
                switch path {
                case .configuration(let digest): try take(configuration: digest, bytes, paths)
                case .image(let digest): try take(image: digest, bytes)
                case .crate, .readme, .layout, .index, .run, .runFile, .tree, .blob: break
                }
            } catch { throw Self.named(error, "\(path)") }
        }
        try checkEntries()
        let configurations = Dictionary(
            export.configurations.map { ($0.entry.digest, $0.value) }, uniquingKeysWith: { first, _ in first })
        for (index, path) in export.paths.enumerated() {
            do {
                if case .run(let origin, let job) = path, let bytes = documents[index] {
                    export.runs.append(try run(bytes, origin, job, configurations))
                }
                if case .runFile(let origin, let job, _) = path, !paths.contains(.run(origin: origin, job)) {
                    throw Problem(.refused, "belongs to no run in the file")
                }
            } catch { throw Self.named(error, "\(path)") }
        }
        guard export.runs.count <= ExportList.mostRuns else {
            throw Self.refusal("it has more than \(ExportList.mostRuns) runs")
        }
        try checkNames()
    }

    private static func named(_ error: any Error, _ path: String) -> Problem {
        switch error {
        case let problem as Problem: refusal(problem.description, path)
        case let error as SpecError: refusal(error.description, path)
        default: Problem(.internal, "\(path) cannot be read: \(error)")
        }
    }

    // MARK: configurations

    private mutating func take(configuration digest: Digest, _ bytes: [UInt8], _ paths: Set<ExportPath>) throws {
        let value = try WireJSON.decode(JobModel.Configuration.self, from: bytes)
        guard value.canonicalJSON == bytes else {
            throw Problem(
                .refused, "is not in canonical form, or has fields that this jobctl does not know: take a newer one")
        }
        try value.checkAsSubmitted()
        for file in value.files.values where !paths.contains(.blob(file.digest)) {
            throw Problem(.refused, "needs the file \(file.digest), which is not there")
        }
        for image in [value.image] + value.services.values.map(\.image) where !paths.contains(.image(image.digest)) {
            throw Problem(.refused, "needs the image \(image.digest), which is not there")
        }
        guard let entry = export.list.configurations.first(where: { $0.digest == digest }) else {
            throw Problem(.refused, "is not named in $.configurations of \(ExportList.path)")
        }
        export.configurations.append(.init(entry: entry, value: value, bytes: bytes))
    }

    private func checkEntries() throws {
        func refusal(_ why: String) -> Problem { Self.refusal(why, ExportList.path) }
        let entries = export.list.configurations
        guard (1...ExportList.mostConfigurations).contains(entries.count) else {
            throw refusal("$.configurations: needs 1 to \(ExportList.mostConfigurations) entries")
        }
        guard Set(entries.map(\.digest)).count == entries.count else {
            throw refusal("$.configurations: one stands twice")
        }
        for entry in entries where !export.configurations.contains(where: { $0.entry.digest == entry.digest }) {
            throw refusal("$.configurations: \(ExportPath.configuration(entry.digest)) is missing")
        }
        for entry in entries {
            guard ImageReference(entry.imageReference) != nil else {
                throw refusal("$.configurations: \(quoted(entry.imageReference)) is not an image")
            }
            guard entry.names.count <= Self.mostNames, Set(entry.names.map(\.name)).count == entry.names.count,
                entry.names.allSatisfy({ (1...Self.largestVersion).contains($0.version) })
            else { throw refusal("$.configurations: the names of \(entry.digest) cannot be") }
        }
        let versions = entries.flatMap(\.names)
        guard Set(versions).count == versions.count else {
            throw refusal("$.configurations: two have the same name and version")
        }
    }

    // MARK: images

    private mutating func take(image digest: Digest, _ bytes: [UInt8]) throws {
        let image = try WireJSON.decode(ExportedImage.self, from: bytes)
        guard image.digest == digest else { throw Problem(.refused, "is about another image") }
        guard export.paths.contains(.blob(digest)) else { throw Problem(.refused, "its manifest is not there") }
        guard image.names.count <= Self.mostNames, image.builds.count <= Self.mostNames else {
            throw Problem(.refused, "has more than \(Self.mostNames) names or builds")
        }
        for name in image.names {
            guard let reference = ImageReference(name), reference.digest == nil || reference.digest == digest,
                name == reference.name || name == reference.description || name == "\(reference.name)@\(digest)"
            else { throw Problem(.refused, "\(quoted(name)) is not a name of this image") }
        }
        for build in image.builds {
            try ImageReportRoutes.check(build)
            guard build.builtBy.map({ $0.utf8.count <= 256 }) ?? true, build.arguments.count <= Self.mostNames else {
                throw Problem(.refused, "$.builds: a record cannot be")
            }
        }
        export.images.append(image)
    }

    private func checkNames() throws {
        let names = export.images.flatMap(\.names)
        guard Set(names).count == names.count else { throw Self.refusal("two images have the same name") }
    }

    // MARK: runs

    private func run(
        _ bytes: [UInt8], _ origin: String, _ job: JobID, _ configurations: [Digest: JobModel.Configuration]
    ) throws -> ExportedRun {
        var run = try WireJSON.decode(ExportedRun.self, from: bytes)
        guard run.origin == origin, run.job == job else { throw Problem(.refused, "is about another job") }
        guard let configuration = configurations[run.record.configuration] else {
            throw Problem(.refused, "ran the configuration \(run.record.configuration), which is not there")
        }
        guard run.run.job.configuration.digest == run.record.configuration,
            run.run.job.owner == run.record.owner.name.rawValue
        else { throw Problem(.refused, "$.run.job: is not the job of $.record") }
        let counts = run.run.job.tasks
        let numbers = [
            counts.total, counts.pending, counts.running, counts.succeeded, counts.failed, counts.cancelled,
        ]
        guard numbers.allSatisfy({ (0...TaskShape.largestCount).contains($0) }) else {
            throw Problem(.refused, "$.run.job.tasks: a number of tasks cannot be")
        }
        run.record = try run.record.checkedAsSubmitted(configuration)
        run.run.imported = nil
        return run
    }
}
