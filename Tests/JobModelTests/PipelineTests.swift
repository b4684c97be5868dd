// Files of several jobs: read, put in order, refused with line and field.
import JobModel
import Testing

@Suite struct PipelineTests {
    private func pipeline(_ text: String) throws -> PipelineSpec {
        try PipelineSpec(try SpecParser.tree(file: "p.yaml", Array(text.utf8)))
    }

    private func jobs(_ lines: String...) -> String {
        "name: all\njobs:\n" + lines.map { "  - {image: b, command: [a], \($0)}\n" }.joined()
    }

    @Test("jobs, bindings and the order that follows from their names")
    func order() throws {
        let spec = try pipeline(
            jobs(
                "name: c, depends_on: {after_ok: [a, b]}", "name: a, volumes: [in:/x], bindings: {in: weather/2014}",
                "name: b, depends_on: {after_any_each: a, after_ok: 7}"))
        #expect(spec.name?.rawValue == "all" && spec.members[1].bindings == ["in": "weather/2014"])
        let order = try PipelineOrder(spec.members.map(\.spec))
        #expect(order.members == [1, 2, 0])
        #expect(order.links[2].map(\.member) == [1] && order.links[2].map(\.kind) == [.afterAnyEach])
        #expect(spec.members[2].spec.dependencies.contains { $0.target == .job(JobID("7")!) })
    }

    @Test(
        "a bad file is refused with line and field",
        arguments: [
            (
                "name: a, depends_on: {after_ok: a}",
                "p.yaml:3: jobs[0].depends_on: goes round in a circle: 'a' waits for 'a'"
            ),
            (
                "name: abcd, depends_on: {after_ok: z}",
                "p.yaml:3: jobs[0].depends_on: names 'z', which is no job of this file"
            ),
            ("retries: 1", "p.yaml:3: jobs[0].name: is required: the jobs of one file know one another by their names"),
            ("name: a, comand: [x]", "p.yaml:3: jobs[0].comand: is not a known key: did you mean 'command'?"),
            ("name: a, bindings: [x]", "p.yaml:3: jobs[0].bindings: must be a mapping, not a list"),
        ])
    func refused(line: String, sentence: String) throws {
        let error = #expect(throws: SpecError.self) { try pipeline(jobs(line)) }
        #expect(error?.description == sentence)
    }

    @Test("a thousand jobs in the worst order are sorted, and a circle through all of them is found")
    func thousand() throws {
        func text(_ last: String) -> String {
            "jobs:\n"
                + (0..<999).map { "  - {name: j\($0), image: b, command: [a], depends_on: {after_ok: j\($0 + 1)}}\n" }
                .joined() + "  - {name: j999, image: b, command: [a]\(last)}\n"
        }
        let order = try PipelineOrder(try pipeline(text("")).members.map(\.spec))
        #expect(order.members == Array((0..<1000).reversed()))
        let error = #expect(throws: SpecError.self) { try pipeline(text(", depends_on: {after_ok: j0}")) }
        #expect(error?.message.hasPrefix("goes round in a circle: 'j0' waits for 'j1'") == true)
    }
}
