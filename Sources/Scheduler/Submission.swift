// From the bytes of a submission to an accepted job: understand the spec, pin the image, keep the files, build
// configuration and record, hand them to the loop. A tag is resolved here, once; a rerun takes what was pinned and
// never asks again. What happens to the job afterwards is decided in SchedulingCore.
import Foundation
import JobModel
import NIOCore
import OCI
import Registry
import SchedulingCore

package struct Submission: Sendable {
    let store: Store
    let loop: SchedulerLoop
    let content: ContentStore
    let archive: ImageArchive
    let puller: ImagePuller
    let registry: RegistryClient
    /// For submissions that do not say how long images are kept.
    let keep: KeepPolicies
    let files: BlockingWork
    let clock: any SchedulerClock

    /// Answers after the commit. The same key with the same request gives the same job again.
    func submit(_ body: ByteBuffer, by caller: Caller, key: String?) async throws -> JobDocument {
        let bytes = Array(buffer: body)
        let parsed = try Self.parsed(bytes)
        let idempotency = key.map { IdempotencyKey(user: caller.name, key: $0, requestDigest: Digest(of: bytes)) }
        let wanted = parsed.spec.wantedImages
        var images = try wanted.map {
            try archive.pinned($0.reference, platform: parsed.spec.platform, field: $0.field)
        }
        if images.contains(nil) {
            // A retry is answered before a tag is asked for again: its registry may be gone by now.
            if let known = try earlier(idempotency) { return known }
            for place in images.indices where images[place] == nil {
                images[place] = try await resolve(wanted[place], platform: parsed.spec.platform)
            }
        }
        return try await accept(try await accepted(parsed, images.compactMap(\.self), by: caller, idempotency))
    }

    /// The task's image, then those of its services in their order, each by its digest.
    func pinned(_ spec: JobSpec) async throws -> [PinnedImage] {
        var images: [PinnedImage] = []
        for wanted in spec.wantedImages {
            if let image = try archive.pinned(wanted.reference, platform: spec.platform, field: wanted.field) {
                images.append(image)
            } else {
                images.append(try await resolve(wanted, platform: spec.platform))
            }
        }
        return images
    }

    /// - Parameter images: the task's, then those of its services in their order.
    func accepted(
        _ parsed: ParsedSubmission, _ images: [PinnedImage], by caller: Caller, _ idempotency: IdempotencyKey?
    ) async throws -> AcceptedSubmission {
        let configuration = parsed.spec.configuration(
            image: images[0], files: try await keep(parsed),
            serviceImages: Dictionary(
                uniqueKeysWithValues: zip(parsed.spec.services.map(\.name), images.dropFirst())))
        let json = configuration.canonicalJSON
        var record = try parsed.spec.record(
            configuration: configuration, digest: Digest(of: json), owner: caller.identity, choices: parsed.choices,
            keep: keep)
        record.rules = try parsed.spec.rules(at: clock.now().wall)
        let isStored = try areStored(record)
        if !isStored {
            for (wanted, image) in zip(parsed.spec.wantedImages, images) {
                try await archive.mustBeRunnable(image, named: wanted.reference, field: wanted.field)
            }
        }
        return AcceptedSubmission(
            record: record, configuration: configuration, configurationJSON: json, name: parsed.spec.name,
            imageIsStored: isStored, hold: parsed.hold, idempotency: idempotency)
    }

    /// The same configuration as an earlier job, on other data if the request says so.
    func rerun(_ body: ByteBuffer, by caller: Caller, key: String?) async throws -> JobDocument {
        let bytes = Array(buffer: body)
        let request = try Self.parsedRerun(bytes)
        let idempotency = key.map { IdempotencyKey(user: caller.name, key: $0, requestDigest: Digest(of: bytes)) }
        return try await rerun(request, by: caller, idempotency)
    }

    /// - Parameters:
    ///   - schedule: whose run it is.
    ///   - previous: a job that must have ended before.
    func rerun(
        _ request: RerunRequest, by caller: Caller, _ idempotency: IdempotencyKey?, schedule: ScheduleName? = nil,
        after previous: JobID? = nil
    ) async throws -> JobDocument {
        let (id, old) = try original(of: request.source)
        guard var configuration = try store.configuration(old.configuration)?.configuration else {
            throw Problem(
                .notFound, "the configuration \(old.configuration) of \(quoted(request.source)) is not in the store",
                field: "$.source")
        }
        guard !old.isShell || request.command != nil else {
            throw Problem(
                .refused,
                "\(quoted(request.source)) was a shell, which cannot be repeated: name the job that it looked at",
                field: "$.source")
        }
        let queue = request.queue.flatMap(QueueName.init(rawValue:))
        var record: JobRecord
        if request.verify == true {
            guard let id else {
                throw Problem(
                    .refused,
                    "\(quoted(request.source)) has not run on this cluster yet: 'jobctl rerun' it, then compare with 'jobctl history'",
                    field: "$.source")
            }
            record = try old.verification(
                of: id, owner: caller.identity, queue: queue, priority: request.priority, task: request.task)
            try mustHaveSucceeded(id, task: request.task)
        } else {
            record = try old.rerun(
                SubmissionChoices(bindings: request.bindings, parameters: request.parameters), of: id,
                owner: caller.identity, queue: queue, priority: request.priority)
        }
        if let keep = request.keep { record.keep = keep }
        record.schedule = schedule
        if let previous { record.dependencies = [Dependency(job: previous, kind: .afterAny)] }
        if let command = request.command {
            configuration = try configuration.running(command)
            record = try record.shell(configuration: Digest(of: configuration.canonicalJSON), task: request.task)
        }
        let accepted = AcceptedSubmission(
            record: record, configuration: configuration, configurationJSON: configuration.canonicalJSON, name: nil,
            imageIsStored: try areStored(record), hold: request.hold, idempotency: idempotency)
        return try await accept(accepted)
    }

    private func accept(_ submission: AcceptedSubmission) async throws -> JobDocument {
        var document = try await loop.submit(submission)
        want(submission)
        if !submission.imageIsStored { document.pulls = puller.pulls(for: document) }
        return document
    }

    /// Its images are fetched, if they are not all here.
    func want(_ submission: AcceptedSubmission) {
        guard !submission.imageIsStored else { return }
        for (text, image) in submission.record.images {
            guard let reference = ImageReference(text) else { continue }
            puller.want(ImagePuller.Wanted(reference: reference, image: image))
        }
    }

    private static func parsed(_ bytes: [UInt8]) throws(Problem) -> ParsedSubmission {
        do { return try ParsedSubmission(bytes) } catch { throw error.problem }
    }

    private static func parsedRerun(_ bytes: [UInt8]) throws(Problem) -> RerunRequest {
        do { return try RerunRequest(parsing: bytes) } catch { throw error.problem }
    }

    // MARK: image

    private func areStored(_ record: JobRecord) throws -> Bool {
        try record.images.allSatisfy { try archive.isStored($0.image) }
    }

    /// What a tag points to now, by its registry.
    private func resolve(_ wanted: WantedImage, platform: String?) async throws -> PinnedImage {
        do {
            return PinnedImage(digest: try await registry.resolve(wanted.reference).digest, platform: platform)
        } catch {
            throw Problem.upstream(wanted.reference, error, field: wanted.field)
        }
    }

    // MARK: files

    /// The content of the spec's files is in the archive before the job is accepted.
    private func keep(_ submission: ParsedSubmission) async throws -> [String: ConfigurationFile] {
        guard !submission.files.isEmpty else { return [:] }
        return try await files.run { [content] in
            var kept: [String: ConfigurationFile] = [:]
            var total = 0
            for (path, file) in submission.files.sorted(by: { $0.key < $1.key }) {
                guard let data = Data(base64Encoded: file.content) else {
                    throw Problem(.badRequest, "is not base64", field: "$.files.\(path).content")
                }
                total += data.count
                guard total <= SpecLimits.filesBytes else {
                    let limit = ByteCount(bytes: Int64(SpecLimits.filesBytes))
                    throw Problem(
                        .tooLarge, "the files have more than \(limit) in sum: put data into a volume", field: "$.files")
                }
                kept[path] = ConfigurationFile(digest: try content.put(Array(data)), executable: file.executable)
            }
            return kept
        }
    }

    // MARK: reruns

    /// The job that a rerun repeats: itself, or the newest of the configuration that is named.
    /// Without an id: a job of another cluster, whose record came with an import.
    private func original(of text: String) throws -> (JobID?, JobRecord) {
        if let id = JobID(text) {
            guard let record = try store.record(of: id) else {
                throw Problem(.notFound, "there is no job \(id)", field: "$.source")
            }
            return (id, record)
        }
        guard let source = ConfigurationSource(text) else {
            throw Problem(
                .badRequest, "\(quoted(text)) is not a job id, NAME, NAME@VERSION or digest", field: "$.source")
        }
        guard let digest = try store.configurationDigest(of: source) else {
            throw Problem(.notFound, "no job has run the configuration \(quoted(text))", field: "$.source")
        }
        if let id = try store.newestJob(of: digest), let record = try store.record(of: id) { return (id, record) }
        guard let record = try store.newestImportedRecord(of: digest) else {
            throw Problem(.notFound, "no job has run the configuration \(quoted(text))", field: "$.source")
        }
        let names = try store.configuration(digest)?.names ?? []
        return (nil, record.versioned(names.first { text.hasPrefix($0.name.rawValue) } ?? names.first))
    }

    /// Whether the job, or one task of it, has no attempts on record any more.
    private func isSummedUp(_ id: JobID, _ task: Int64?) throws -> Bool {
        try store.attempts(AttemptQuery(job: id, limit: 1, cursor: nil, task: task)).attempts.isEmpty
    }

    /// Refuses what could not be run again.
    func mustBeKnown(_ source: String) throws { _ = try original(of: source) }

    /// What has no result cannot be compared.
    private func mustHaveSucceeded(_ id: JobID, task: Int64?) throws {
        guard let job = try store.job(id) else {
            throw Problem(.notFound, "there is no job \(id)", field: "$.source")
        }
        if let sums = job.compaction, try isSummedUp(id, task) {
            throw Problem(
                .refused,
                "the attempts of job \(id) were summed up on \(sums.compactedAt.day), because they kept no digests of data: there is nothing to compare a run with",
                field: "$.source")
        }
        var state = job.state.description
        if let task, job.state != Open(.succeeded) {
            let attempts = try store.attempts(AttemptQuery(job: id, limit: 1000, cursor: nil, task: task)).attempts
            if attempts.contains(where: { $0.state == Open(.succeeded) }) { return }
            state = attempts.last?.state.description ?? "not started"
        }
        guard state == JobState.succeeded.rawValue else {
            let what = task.map { "the task \(id).\($0)" } ?? "job \(id)"
            throw Problem(
                .refused, "\(what) is \(state): only what has succeeded can be verified", field: "$.source")
        }
    }

    /// The job that the same request made before; nil if there is none.
    private func earlier(_ key: IdempotencyKey?) throws -> JobDocument? {
        guard let key, let id = try store.job(submittedWith: key) else { return nil }
        return try store.job(id)
    }
}

/// An image that a spec names, and where.
private struct WantedImage {
    let reference: ImageReference
    let field: String
}

extension JobSpec {
    /// The task's image first, then those of the services in their order.
    fileprivate var wantedImages: [WantedImage] {
        [WantedImage(reference: image, field: "$.spec.image")]
            + services.map { WantedImage(reference: $0.image, field: "$.spec.services.\($0.name).image") }
    }
}
