// A file with several jobs: `jobs`, a list of specs with names. Each may say to what its slots are bound. The same
// rules for a file and for a request.

/// A file of several jobs, understood.
package struct PipelineSpec: Sendable {
    package struct Member: Sendable {
        package var spec: JobSpec
        /// The spec alone.
        package var tree: SpecNode
        /// Slot → binding, as written.
        package var bindings: [String: String]
    }

    package var name: ConfigurationName?
    package var members: [Member]

    /// Whether a document is a file of several jobs rather than one spec.
    package static func isPipeline(_ tree: SpecNode) -> Bool {
        guard case .mapping(let members) = tree.value else { return false }
        return members.contains { $0.key == "jobs" }
    }

    /// - Throws: ``SpecError`` that names file, line and field.
    package init(_ tree: SpecNode) throws(SpecError) {
        let root = SpecReader(node: tree, path: "$")
        members = []
        for member in try root.members() {
            switch member.key {
            case "name": name = try member.reader.name(ConfigurationName.self)
            case "jobs":
                for element in try member.reader.elements(atMost: SpecLimits.pipelineJobs) {
                    members.append(try Self.member(element))
                }
            default: throw member.reader.refusal("is not a known key beside 'jobs': use name and jobs")
            }
        }
        guard !members.isEmpty else { throw root.refusal("has no jobs") }
        do {
            _ = try PipelineOrder(members.map(\.spec))
        } catch {
            throw SpecError(
                location: members[error.member].tree.location, path: "$.jobs[\(error.member)].\(error.field)",
                message: error.message)
        }
    }

    private static func member(_ reader: SpecReader) throws(SpecError) -> Member {
        guard case .mapping(let all) = reader.node.value else { throw reader.refusal("must be a spec") }
        var bindings: [String: String] = [:]
        if let node = all.first(where: { $0.key == "bindings" })?.node {
            bindings = try SpecReader(node: node, path: "\(reader.path).bindings").strings(
                atMost: SpecLimits.slots, keys: "use the name of a slot", isKey: { SlotName(rawValue: $0) != nil })
        }
        let tree = SpecNode(.mapping(all.filter { $0.key != "bindings" }), at: reader.node.location)
        return Member(spec: try SpecParser.parse(tree, path: reader.path), tree: tree, bindings: bindings)
    }
}
