// A job that checks another: the same configuration on the same data, by the same values. What it writes is compared
// with what the other came to, and then thrown away: it publishes nothing, so that nothing of the other's is touched
// and a thousand repetitions need no more room than one.

extension JobRecord {
    /// The record of a verification.
    /// - Parameter task: the only task to check; nil for all.
    /// - Throws: ``Problem`` that says why this job cannot be verified.
    package func verification(of job: JobID, owner: Identity, queue: QueueName?, priority: Int?, task: Int64?)
        throws(Problem) -> JobRecord
    {
        func refusal(_ why: String) -> Problem { Problem(.refused, why, field: "$.source") }
        if let verified = verifies { throw refusal("job \(job) verifies job \(verified): verify that one") }
        if isShell { throw refusal("job \(job) was a shell, which cannot be repeated") }
        guard slots.values.contains(where: { $0.mode == .out }) else {
            throw refusal("job \(job) has no 'out' slot: there is no output to compare")
        }
        if let slot = slots.filter({ $0.value.mode == .rw }).keys.sorted().first {
            throw refusal(
                "job \(job) changes the data of slot '\(slot)' in place: to run it again would change it again")
        }
        guard fingerprint == .content else {
            throw refusal(
                "job \(job) has 'fingerprint: \(fingerprint.rawValue)': what its data was is not known; only jobs with "
                    + "'fingerprint: content' can be verified")
        }
        var (shape, parameters) = (self.shape, self.parameters)
        if let task {
            guard shape.indices.contains(task) else {
                throw Problem(
                    .refused,
                    "\(task) is not a task of it: use \(shape.indices.lowerBound) to \(shape.indices.upperBound)",
                    field: "$.task")
            }
            guard shape.gangSize == nil else {
                throw Problem(
                    .refused, "is one member of a gang, and its members only run together: leave it out",
                    field: "$.task")
            }
            parameters = taskParameters(at: task)
            if shape != .single { shape = .array(first: task, last: task) }
        }
        var record = JobRecord(
            name: name, owner: owner, queue: queue ?? self.queue, priority: priority ?? self.priority,
            configuration: configuration, configurationVersion: configurationVersion, imageReference: imageReference,
            image: image, resources: resources, slots: slots, bindings: bindings, parameters: parameters, shape: shape,
            labels: labels, constraints: constraints, retries: retries, timeLimit: timeLimit, grace: grace,
            fingerprint: fingerprint, rerunOf: job, services: services, verifies: job, keep: keep)
        record.rules = rules.forRerun
        return record
    }

    /// Where an attempt finds its data. A verification reads what the job that it verifies read.
    /// - Throws: ``Template/Mistake``.
    package func source(of slot: SlotName, for task: TaskID) throws(Template.Mistake) -> Binding {
        guard slots[slot]?.mode != .out, let verifies else { return try location(of: slot, for: task) }
        return try location(of: slot, for: TaskID(job: verifies, index: task.index))
    }
}
