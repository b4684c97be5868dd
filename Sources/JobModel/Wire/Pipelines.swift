// Several jobs in one request: accepted together or not at all.

/// `POST /v1/pipelines`. Each job is what `POST /v1/jobs` takes; `depends_on` of a spec may name the others.
package struct PipelineRequest: Equatable, Sendable {
    package var name: String?
    package var jobs: [SubmitRequest]

    package init(name: String?, jobs: [SubmitRequest]) {
        self.name = name
        self.jobs = jobs
    }

    package var json: [UInt8] {
        var members: [(key: String, value: JSONValue)] = [("jobs", .array(jobs.map(\.jsonValue)))]
        if let name { members.append(("name", .string(name))) }
        return JSONValue.object(members).written
    }
}

/// Jobs that were submitted together.
package struct PipelineDocument: Hashable, Codable, Sendable {
    /// The id of its first job.
    package var id: JobID
    package var name: String?
    /// In order of their ids: each after those that it waits for.
    package var jobs: [JobDocument]

    package init(id: JobID, name: String?, jobs: [JobDocument]) {
        self.id = id
        self.name = name
        self.jobs = jobs
    }
}

/// A request for several jobs whose specs have been understood.
package struct ParsedPipeline: Sendable {
    package var name: ConfigurationName?
    package var jobs: [ParsedSubmission]
    package var order: PipelineOrder

    /// - Throws: ``SpecError`` with the JSON path, for example `$.jobs[2].spec.image`.
    package init(_ bytes: [UInt8]) throws(SpecError) {
        var limits = DocumentLimits()
        limits.size = ParsedSubmission.sizeLimit
        limits.depth += 3
        let root = SpecReader(node: try JSONParser.parse(bytes, limits: limits), path: "$")
        jobs = []
        for member in try root.members() {
            switch member.key {
            case "name": name = try member.reader.name(ConfigurationName.self)
            case "jobs":
                for element in try member.reader.elements(atMost: SpecLimits.pipelineJobs) {
                    jobs.append(try ParsedSubmission(element))
                }
            default: throw member.reader.refusal("is not a known key: use name and jobs")
            }
        }
        guard !jobs.isEmpty else { throw root.refusal("has no jobs") }
        do {
            order = try PipelineOrder(jobs.map(\.spec))
        } catch {
            throw SpecError(
                location: root.node.location, path: "$.jobs[\(error.member)].spec.\(error.field)",
                message: error.message)
        }
    }
}
