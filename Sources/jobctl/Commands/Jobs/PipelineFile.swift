// A file of several jobs and what the command line adds to it: a flag goes to every job that it can be said of.
import JobModel

struct PipelineFile {
    private let file: SpecFile
    private let overrides: [(String, JSONValue)]
    private let bindings: BindingOptions
    private let dependencies: DependencyOptions
    private let spec: PipelineSpec

    init(
        _ file: SpecFile, overrides: [(String, JSONValue)], bindings: BindingOptions, dependencies: DependencyOptions
    ) throws(SpecError) {
        self.file = file
        self.overrides = overrides
        self.bindings = bindings
        self.dependencies = dependencies
        spec = try PipelineSpec(file.tree)
    }

    func request(name: String?) throws -> PipelineRequest {
        let bound = try BindingOptions.pairs(bindings.bind, "--bind")
        let given = try BindingOptions.pairs(bindings.param, "--param")
        let slots = Set(spec.members.flatMap { $0.spec.volumes.map(\.name.rawValue) })
        let parameters = spec.members.reduce(into: Set<String>()) { $0.formUnion($1.spec.usedParameters) }
        for (flag, names, known) in [
            ("--bind", bound.keys.sorted(), slots), ("--param", given.keys.sorted(), parameters),
        ] {
            for name in names where !known.contains(name) {
                let hint = nearest(to: name, among: known.sorted()).map { ": did you mean '\($0)'?" } ?? ""
                throw Problem(.badRequest, "no job of the file knows \(quoted(name))\(hint)", field: flag)
            }
        }
        let jobs = try spec.members.map { member in
            var request = try file.request(of: member.spec, member.tree, overrides: overrides)
            let own = Set(member.spec.volumes.map(\.name.rawValue))
            request.bindings = member.bindings.merging(bound.filter { own.contains($0.key) }) { $1 }
            request.parameters = given.filter { member.spec.usedParameters.contains($0.key) }
            request.hold = bindings.hold
            // Whatever waits for a job of the file waits for what that one waits for.
            let isFirst = member.spec.dependencies.allSatisfy { $0.memberName == nil }
            if isFirst { request.spec = dependencies.added(to: request.spec) }
            return request
        }
        return PipelineRequest(name: name ?? spec.name?.rawValue, jobs: jobs)
    }
}
