// Several submissions in one request: each is understood and pinned as one alone, then all go to the loop together.
import JobModel
import NIOCore

extension Submission {
    /// Answers after the commit that holds all of them. The same key with the same request gives the same jobs again.
    func submitTogether(_ body: ByteBuffer, by caller: Caller, key: String?) async throws -> PipelineDocument {
        let bytes = Array(buffer: body)
        let parsed = try Self.parsedPipeline(bytes)
        let idempotency = key.map { IdempotencyKey(user: caller.name, key: $0, requestDigest: Digest(of: bytes)) }
        if let idempotency, let id = try store.job(submittedWith: idempotency) {
            return PipelineDocument(id: id, name: parsed.name?.rawValue, jobs: try store.pipeline(id))
        }
        var jobs: [AcceptedSubmission] = []
        for member in parsed.order.members { jobs.append(try await accepted(parsed, member, by: caller)) }
        let pipeline = AcceptedPipeline(
            name: parsed.name, jobs: jobs, links: parsed.order.acceptedLinks, idempotency: idempotency)
        var documents = try await loop.submit(pipeline)
        for place in documents.indices where place < jobs.count {
            want(jobs[place])
            if !jobs[place].imageIsStored { documents[place].pulls = puller.pulls(for: documents[place]) }
        }
        guard let first = documents.first else { throw Problem(.internal, "no job was accepted") }
        return PipelineDocument(id: first.id, name: parsed.name?.rawValue, jobs: documents)
    }

    private static func parsedPipeline(_ bytes: [UInt8]) throws(Problem) -> ParsedPipeline {
        do { return try ParsedPipeline(bytes) } catch { throw error.problem }
    }

    private func accepted(_ parsed: ParsedPipeline, _ member: Int, by caller: Caller) async throws
        -> AcceptedSubmission
    {
        do {
            let images = try await pinned(parsed.jobs[member].spec)
            return try await accepted(parsed.jobs[member], images, by: caller, nil)
        } catch let problem as Problem {
            throw problem.inJob(member)
        }
    }
}

extension PipelineOrder {
    /// The links of each job in this order.
    fileprivate var acceptedLinks: [[AcceptedPipeline.Link]] {
        var places = Array(repeating: 0, count: members.count)
        for (place, member) in members.enumerated() { places[member] = place }
        return members.map { member in
            links[member].map { AcceptedPipeline.Link(job: places[$0.member], kind: $0.kind) }
        }
    }
}

extension Problem {
    /// The same, about one of several jobs.
    fileprivate func inJob(_ member: Int) -> Problem {
        var problem = self
        problem.field = field.map { field in
            "$.jobs[\(member)]." + (field.hasPrefix("$.") ? String(field.dropFirst(2)) : field)
        }
        return problem
    }
}
