// Why a job runs where it runs, or does not: every worker, every check, needed and offered. Built from the same checks that
// placement decides by, so that the answer cannot differ from the decision. No text for terminals belongs here.
import JobModel

package struct Explanation: Hashable, Sendable {
    /// One check of one worker.
    package struct Finding: Hashable, Sendable {
        /// What was checked: `cpus`, `memory`, `gpus`, `label stack`, `volume weather`, …
        package var check: String
        package var needed: String
        package var offered: String
        /// False: this worker can never take the job as it is now registered.
        package var couldFit: Bool
        /// False: it cannot take it at this moment.
        package var fitsNow: Bool

        package init(check: String, needed: String, offered: String, couldFit: Bool, fitsNow: Bool) {
            self.check = check
            self.needed = needed
            self.offered = offered
            self.couldFit = couldFit
            self.fitsNow = fitsNow
        }
    }

    package struct Candidate: Hashable, Sendable {
        package var worker: WorkerName
        package var findings: [Finding]
        package var couldFit: Bool { findings.allSatisfy(\.couldFit) }
        package var fitsNow: Bool { findings.allSatisfy(\.fitsNow) }

        package init(worker: WorkerName, findings: [Finding]) {
            self.worker = worker
            self.findings = findings
        }
    }

    package var job: JobID
    package var state: JobState
    /// The job's own reason, if it has one.
    package var reason: String?
    /// In order of their names.
    package var candidates: [Candidate]

    package init(job: JobID, state: JobState, reason: String?, candidates: [Candidate]) {
        self.job = job
        self.state = state
        self.reason = reason
        self.candidates = candidates
    }
}
