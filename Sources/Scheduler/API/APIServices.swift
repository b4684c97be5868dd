// What route handlers work with. Made once by the composition root; holds no state of its own.
import JobModel
import Logging
import OCI
import SchedulingCore

package struct APIServices: Sendable {
    let store: Store
    let loop: SchedulerLoop
    let content: ContentStore
    let tokens: TokenTable
    let logs: LogFiles
    let trees: Trees
    let linter: ImageLinter
    let archive: ImageArchive
    let puller: ImagePuller
    let submission: Submission
    let gateway: SyncGateway
    let spool: Spool
    let sessions: SessionBroker
    let files: BlockingWork
    let clock: any SchedulerClock
    let startedAt: Timestamp
}
