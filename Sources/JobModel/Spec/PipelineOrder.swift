// Jobs of one file that wait for one another by name: who comes before whom, and a sentence if nobody can begin.

/// What is wrong about the names that jobs of one file have for one another.
package struct PipelineMistake: Error, Hashable, Sendable {
    /// The job at fault, by its place in the file.
    package let member: Int
    package let message: String
    /// Whether it is about what the job waits for, or about its name.
    package let isAboutDependencies: Bool

    package var field: String { isAboutDependencies ? "depends_on" : "name" }
}

/// The jobs of a file in an order in which each comes after those that it waits for.
package struct PipelineOrder: Hashable, Sendable {
    /// A job waits for another of the same file.
    package struct Link: Hashable, Sendable {
        /// By its place in the file.
        package let member: Int
        package let kind: DependencyKind
    }

    /// Places in the file.
    package let members: [Int]
    /// For each place in the file.
    package let links: [[Link]]

    package init(_ specs: [JobSpec]) throws(PipelineMistake) {
        let places = try Self.places(specs)
        var links: [[Link]] = []
        for (member, spec) in specs.enumerated() {
            var own: [Link] = []
            for dependency in spec.dependencies {
                guard let name = dependency.memberName else { continue }
                guard let place = places[name] else {
                    let hint = nearest(to: name.rawValue, among: places.keys.map(\.rawValue).sorted())
                    throw PipelineMistake(
                        member: member,
                        message: "names '\(name)', which is no job of this file"
                            + (hint.map { ": did you mean '\($0)'?" } ?? ""),
                        isAboutDependencies: true)
                }
                own.append(Link(member: place, kind: dependency.kind))
            }
            links.append(own)
        }
        self.links = links
        members = try Self.sorted(specs, links)
    }

    private static func places(_ specs: [JobSpec]) throws(PipelineMistake) -> [ConfigurationName: Int] {
        var places: [ConfigurationName: Int] = [:]
        for (member, spec) in specs.enumerated() {
            guard let name = spec.name else {
                throw PipelineMistake(
                    member: member, message: "is required: the jobs of one file know one another by their names",
                    isAboutDependencies: false)
            }
            guard JobID(name.rawValue) == nil else {
                throw PipelineMistake(
                    member: member, message: "'\(name)' reads as the number of a job: begin it with a letter",
                    isAboutDependencies: false)
            }
            guard places.updateValue(member, forKey: name) == nil else {
                throw PipelineMistake(
                    member: member, message: "'\(name)' is the name of another job of this file",
                    isAboutDependencies: false)
            }
        }
        return places
    }

    /// As in the file where nothing speaks against it.
    private static func sorted(_ specs: [JobSpec], _ links: [[Link]]) throws(PipelineMistake) -> [Int] {
        var order: [Int] = []
        var isPlaced = Array(repeating: false, count: specs.count)
        var progress = true
        while progress {
            progress = false
            for member in specs.indices where !isPlaced[member] {
                guard links[member].allSatisfy({ isPlaced[$0.member] }) else { continue }
                isPlaced[member] = true
                order.append(member)
                progress = true
            }
        }
        guard let stuck = isPlaced.firstIndex(of: false) else { return order }
        throw cycle(from: stuck, specs, links, isPlaced)
    }

    /// Each job that is stuck waits for one that is: following them comes round.
    private static func cycle(
        from start: Int, _ specs: [JobSpec], _ links: [[Link]], _ isPlaced: [Bool]
    ) -> PipelineMistake {
        var path = [start]
        while let next = path.last.flatMap({ links[$0].first { !isPlaced[$0.member] }?.member }) {
            if let place = path.firstIndex(of: next) {
                let round = (path[place...] + [next]).map { "'\(specs[$0].name?.rawValue ?? "")'" }
                let sentence = round.prefix(12).joined(separator: " waits for ")
                return PipelineMistake(
                    member: next, message: "goes round in a circle: \(sentence)\(round.count > 12 ? " …" : "")",
                    isAboutDependencies: true)
            }
            path.append(next)
        }
        return PipelineMistake(member: start, message: "goes round in a circle", isAboutDependencies: true)
    }
}
