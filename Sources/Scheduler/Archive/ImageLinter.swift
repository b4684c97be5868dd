// Lints images of the archive: one at a time, for each reads all of its layers, and remembers the newest reports. What
// a submitter should hear is found from the configuration alone, once an image.
import JobModel
import OCI
import Synchronization

package actor ImageLinter {
    private let content: ContentStore
    private let files: BlockingWork
    private let clock: any SchedulerClock
    private var reports: [Digest: LintedReport] = [:]
    private var last: Task<Void, Never>?
    private nonisolated let warnings = Mutex<[PinnedImage: [String]]>([:])
    private static let remembered = 200
    private static let mostWarnings = 50_000

    private struct LintedReport {
        let survey: LayerSurvey
        let image: LintedImage
    }

    package init(content: ContentStore, files: BlockingWork, clock: any SchedulerClock) {
        self.content = content
        self.files = files
        self.clock = clock
    }

    /// - Parameter isKnown: whether a record says which base it was made from.
    func lint(_ document: ImageDocument, named reference: String, base isKnown: Bool) async throws -> LintDocument {
        let report = try await report(document.digest)
        return LintDocument(
            reference: reference, digest: document.digest, platform: report.image.platform,
            findings: ImageLint.findings(
                report.image.configuration, report.survey, base: isKnown, now: clock.now().wall),
            note: report.survey.note)
    }

    private func report(_ digest: Digest) async throws -> LintedReport {
        let before = last
        let task = Task { () throws -> LintedReport in
            await before?.value
            if let known = reports[digest] { return known }
            let report = try await files.runLong { [content] in
                let image = try LintedImage(digest, platform: nil, in: content)
                var survey = LayerSurvey(volumes: image.configuration.volumes)
                try survey.read(image.layers, in: content)
                return LintedReport(survey: survey, image: image)
            }
            if reports.count >= Self.remembered { reports.removeAll() }
            reports[digest] = report
            return report
        }
        last = Task { _ = await task.result }
        return try await task.value
    }

    /// Sentences for whoever submits a job with this image; none for one that is not here yet.
    nonisolated func warnings(of image: PinnedImage, named reference: String) async -> [String] {
        if let known = warnings.withLock({ $0[image] }) { return known }
        guard content.size(of: image.digest) != nil else { return [] }
        // allowed: an image that cannot be read shows itself when it runs
        let found = try? await files.run { [content] in
            ImageLint.urgent(try LintedImage(image.digest, platform: image.platform, in: content).configuration)
        }
        guard let found else { return [] }
        let sentences = found.prefix(5).map {
            "the image \(reference): \($0.found); see 'jobctl image lint \(reference)'"
        }
        warnings.withLock { known in
            if known.count >= Self.mostWarnings { known.removeAll() }
            known[image] = Array(sentences)
        }
        return Array(sentences)
    }
}
