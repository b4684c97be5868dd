// How `depends_on` of a spec is read: under each kind one job or a list of them, each a number or, in a file of several
// jobs, a name.

enum DependencyFields {
    static func dependencies(_ field: SpecReader) throws(SpecError) -> [JobSpec.Dependency] {
        var dependencies: [JobSpec.Dependency] = []
        var seen: Set<JobSpec.Dependency.Target> = []
        for member in try field.members() {
            guard let kind = DependencyKind(rawValue: member.key) else {
                let kinds = DependencyKind.allCases.map(\.rawValue)
                let hint = nearest(to: member.key, among: kinds).map { "did you mean '\($0)'?" }
                throw SpecError(
                    location: member.keyLocation, path: member.reader.path,
                    message: "is not a known key: " + (hint ?? "use " + kinds.joined(separator: ", ")))
            }
            for element in try elements(member.reader) {
                let target = try target(element)
                guard seen.insert(target).inserted else { throw element.refusal("is named twice") }
                guard seen.count <= SpecLimits.dependencies else {
                    throw field.refusal("names more than \(SpecLimits.dependencies) jobs")
                }
                dependencies.append(JobSpec.Dependency(target: target, kind: kind))
            }
        }
        return dependencies
    }

    /// One alone needs no list.
    private static func elements(_ field: SpecReader) throws(SpecError) -> [SpecReader] {
        if case .scalar = field.node.value { return [field] }
        return try field.elements(atMost: SpecLimits.dependencies)
    }

    private static func target(_ field: SpecReader) throws(SpecError) -> JobSpec.Dependency.Target {
        switch field.node.value {
        case .scalar(let text, let kind) where kind == .number || kind == .string:
            if let id = JobID(text) { return .job(id) }
            if kind == .string, let name = ConfigurationName(rawValue: text) { return .member(name) }
            throw field.refusal("\(quoted(text)) is neither the number of a job nor the name of one in this file")
        case .scalar, .mapping, .sequence:
            throw field.refusal("must be the number of a job, or the name of one in this file, not \(field.node.noun)")
        }
    }
}
