// What the core and the catalogue refuse, as the user reads it.
import JobModel
import SchedulingCore

extension Problem {
    /// A name of an import that means other bytes here.
    static func taken(_ noun: String = "configuration", configuration name: String, here: Digest, imported: Digest)
        -> Problem
    {
        Problem(
            .conflict,
            "the \(noun) \(quoted(name)) is \(here) here and \(imported) in the file: nothing was imported; with --skip-conflicts names that are taken stay as they are, and what is imported runs by its digest",
            field: "names")
    }

    private static func condition(_ state: AttemptState?) -> String {
        switch state {
        case nil: "does not run any more"
        case .assigned, .preparing: "does not run yet: it is being prepared"
        case .running, .ending, .succeeded, .failed, .cancelled, .lost: "is about to end"
        }
    }

    /// A refusal of the core as the user reads it.
    package init(_ refusal: Refusal) {
        switch refusal {
        case .unknownJob(let id): self = .noJob(id)
        case .jobIsFinished(let id, let state):
            self.init(
                .conflict,
                "job \(id) has ended already: it \(state == .succeeded ? "succeeded" : state == .failed ? "failed" : "was cancelled")",
                field: "job")
        case .unknownWorker(let name): self.init(.notFound, "there is no worker '\(name)'", field: "worker")
        case .supersededIncarnation(let name):
            self.init(
                .conflict, "another agent has registered as '\(name)' since: give each agent a name of its own",
                field: "incarnation")
        case .staleSequence(_, let sequence, let latest):
            self.init(.conflict, "the call \(sequence) is not newer than \(latest)", field: "sequence")
        case .unsupportedProtocol(let version):
            self.init(
                .refused,
                "the protocol \(version) is not supported: this scheduler speaks \(SyncRequest.protocolVersion)",
                field: "protocol")
        case .attemptIsNotRunning(let id, let state):
            self.init(.conflict, "the attempt \(id) \(Self.condition(state))", field: "attempt")
        case .unknownQueue(let name):
            self.init(
                .refused, "there is no queue '\(name)': choose one that 'jobctl queue list' shows", field: "queue")
        case .tooManyPending(let account, let pending, let submitted, let limit):
            self.init(
                .refused,
                "\(account) may have \(limit) pending tasks and has \(pending): \(submitted) more are too many, wait "
                    + "until some have started",
                field: account.kind == .queue ? "queue" : "array")
        case .nothingRuns(let id, let task):
            let what = task.map { "the task \(id).\($0) does not run" } ?? "nothing of job \(id) runs"
            self.init(.conflict, "\(what): only what runs can begin anew", field: task == nil ? "job" : "task")
        case .tooLateToBeginAnew(let id):
            self.init(.conflict, "nothing of job \(id) could end by its deadline if it began anew now", field: "job")
        case .dependency(let dependency, let fault): self.init(dependency, fault)
        case .timeLimitChanged(let id, let limit):
            let now = limit.map { "is \($0)" } ?? "is not there any more"
            self.init(.conflict, "the time limit of job \(id) \(now): it was changed meanwhile", field: "from")
        case .timeLimitPassesDeadline(let id, let limit, let deadline):
            self.init(
                .refused,
                "no waiting task of job \(id) could end by its deadline \(deadline) with a time limit of \(limit): "
                    + "choose a shorter one", field: "time_limit")
        case .cannotGrow(let id, let fault): self.init(id, fault)
        case .unknownAccount(let account):
            self.init(.notFound, "the \(account) was not set up", field: "name")
        case .accountIsUsed(let account, let why):
            self.init(.conflict, "the \(account) cannot be removed: \(why)", field: "name")
        case .preemptionCycle, .unknownLicense, .tooFewLicenses, .licenseIsUsed, .unknownReservation,
            .tooManyReservations:
            self.init(placement: refusal)
        }
    }

    private init(placement refusal: Refusal) {
        switch refusal {
        case .preemptionCycle(let queue):
            self.init(
                .refused, "the queue '\(queue)' would preempt itself, by way of the queues that it names",
                field: "$.preempts")
        case .unknownLicense(let name):
            self.init(
                .refused, "there is no license '\(name)': choose one that 'jobctl license list' shows",
                field: "licenses.\(name)")
        case .tooFewLicenses(let name, let total, let wanted):
            self.init(
                .refused, "the cluster has \(total) of the license '\(name)', and one task wants \(wanted)",
                field: "licenses.\(name)")
        case .licenseIsUsed(let name, let jobs):
            self.init(
                .conflict, "the license '\(name)' cannot be removed: \(jobs) unfinished jobs need it", field: "name")
        case .unknownReservation(let name):
            self.init(.notFound, "there is no reservation '\(name)'", field: "name")
        case .tooManyReservations(let most):
            self.init(.refused, "there are \(most) reservations already, which is the most", field: "name")
        default: self.init(.internal, "\(refusal)")
        }
    }
}
