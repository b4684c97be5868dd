// What route handlers work with. Made once by the composition root; holds no state of its own.
import JobModel
import Logging
import OCI
import SchedulingCore

package struct APIServices: Sendable {
    let store: Store
    let loop: SchedulerLoop
    let events: EventLog
    let content: ContentStore
    let uploads: BlobUploads
    /// The largest blob that is taken.
    let uploadLimit: ByteCount
    let tokens: TokenTable
    let registryTokens: RegistryTokens
    let logs: LogFiles
    let trees: Trees
    let linter: ImageLinter
    let archive: ImageArchive
    let care: ArchiveCare
    let puller: ImagePuller
    let retention: Retention
    let schedules: Schedules
    let submission: Submission
    let gateway: SyncGateway
    let spool: Spool
    let sessions: SessionBroker
    let files: BlockingWork
    let clock: any SchedulerClock
    let startedAt: Timestamp
}
