// Looking after the archive: administrators only.
import JobModel
import NIOCore

extension SchedulerClient {
    package func archiveStatus() async throws(Problem) -> ArchiveStatus {
        try await call(.GET, "/v1/archive", deadline: .hours(1))
    }

    package func collectArchive(dryRun: Bool) async throws(Problem) -> ArchiveCollection {
        try await call(.POST, "/v1/archive/gc", query: [("dry_run", dryRun ? "true" : nil)], deadline: .hours(6))
    }

    /// One step: about 2 GiB, or one blob that is larger.
    package func verifyArchive(after cursor: Digest?) async throws(Problem) -> ArchiveVerification {
        try await call(.POST, "/v1/archive/verify", query: [("after", cursor?.description)], deadline: .hours(6))
    }
}
