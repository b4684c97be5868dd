// Which combinations a matrix has and in which order, against the list that a reader of the page would write, and what
// is refused.
import JobModel
import TestSupport
import Testing

@Suite struct MatrixTests {
    private func spec(_ matrix: String) throws -> JobSpec {
        try SpecParser.parse(file: "job.yaml", Array("image: a\ncommand: [b]\nmatrix: \(matrix)\n".utf8))
    }

    private func combinations(_ shape: TaskShape) -> [String] {
        shape.indices.map { shape.matrixValues(at: $0).map(\.value).joined(separator: " ") }
    }

    private func refusal(_ matrix: String) -> String? {
        do {
            _ = try spec(matrix)
            return nil
        } catch let error as SpecError {
            return "\(error.path) \(error.message)"
        } catch {
            return "\(error)"
        }
    }

    @Test("what is excluded is left out of the product, and what is included comes after it")
    func both() throws {
        let shape = try spec(
            "{year: [2012, 2013], month: [1, 2, 3], exclude: [{year: 2012, month: 2}, {month: 3}], "
                + "include: [{month: 7, year: 2020}, {year: 2012, month: 2}]}"
        ).shape
        #expect(combinations(shape) == ["2012 1", "2013 1", "2013 2", "2020 7", "2012 2"])
        #expect(shape.indices == 1...5)
    }

    @Test("included combinations can stand alone, and the first names the axes in their order")
    func includeAlone() throws {
        let shape = try spec("{include: [{z: 1, a: x}, {a: y, z: 2}]}").shape
        #expect(combinations(shape) == ["1 x", "2 y"])
        #expect(shape.axisNames == ["z", "a"])
    }

    @Test("any exclusion gives the combinations that a search through all of them gives, also over the wire")
    func againstSearch() throws {
        var numbers = SeededNumbers(seed: 7)
        for _ in 0..<300 {
            let axes = (0..<Int.random(in: 1...4, using: &numbers)).map { number in
                TaskShape.Axis(
                    name: "a\(number)",
                    values: (0..<Int.random(in: 1...4, using: &numbers)).map { _ in
                        // Now and then a value stands twice on its axis.
                        "v\(Int.random(in: 0...4, using: &numbers))"
                    })
            }
            let all = combinations(.matrix(try Matrix(axes: axes)))
            let rows = (0..<Int.random(in: 0...4, using: &numbers)).compactMap { _ -> [String: String]? in
                var row: [String: String] = [:]
                for axis in axes where Bool.random(using: &numbers) {
                    row[axis.name] = axis.values.randomElement(using: &numbers)
                }
                return row.isEmpty ? nil : row
            }
            let kept = all.filter { combination in
                let values = combination.split(separator: " ").map(String.init)
                return !rows.contains { row in
                    zip(axes, values).allSatisfy { axis, value in row[axis.name].map { $0 == value } ?? true }
                }
            }
            let extra = Dictionary(uniqueKeysWithValues: axes.map { ($0.name, "new") })
            let shape = TaskShape.matrix(try Matrix(axes: axes, exclude: rows, include: [extra]))
            #expect(combinations(shape) == kept + [axes.map { _ in "new" }.joined(separator: " ")])
            let travelled = try WireJSON.decode(TaskShape.self, from: WireJSON.encode(shape))
            #expect(travelled == shape)
        }
    }

    @Test("ten million combinations with an axis's value left out cost one look each, and no list")
    func large() throws {
        let axes = [
            TaskShape.Axis(name: "a", values: (0..<1_000).map(String.init)),
            TaskShape.Axis(name: "b", values: (0..<10_000).map(String.init)),
        ]
        let shape = TaskShape.matrix(try Matrix(axes: axes, exclude: [["a": "1"], ["b": "9999"]]))
        #expect(shape.count == 999 * 9_999)
        #expect(shape.matrixValues(at: 9_999).map(\.value) == ["0", "9998"])
        #expect(shape.matrixValues(at: 10_000).map(\.value) == ["2", "0"])
        #expect(shape.matrixValues(at: shape.count).map(\.value) == ["999", "9998"])
    }

    @Test(
        "what cannot be meant is refused, with the row that says it",
        arguments: [
            ("{a: [1], exclude: [{a: 1}]}", "$.matrix excludes every combination"),
            ("{a: [1, 2], exclude: [{a: 3}]}", "$.matrix.exclude[0] matches nothing: the axis 'a' has no value '3'"),
            ("{a: [1, 2], exclude: [{a: 1}, {b: 3}]}", "$.matrix.exclude[1] names 'b', which is no axis of the matrix"),
            ("{a: [1, 2], exclude: [{a: 1, b: 3}]}", "$.matrix.exclude[0] names 'b', which is no axis of the matrix"),
            (
                "{a: [1, 2], include: [{a: 3}, {a: 2}]}",
                "$.matrix.include[1] is a combination that the matrix has already"
            ),
            (
                "{a: [1, 2], include: [{a: 3}, {a: 3}]}",
                "$.matrix.include[1] is a combination that the matrix has already"
            ),
            (
                "{a: [1], b: [1], include: [{a: 3}]}",
                "$.matrix.include[0] has no value for the axis 'b': it must name every axis"
            ), ("{a: [1], include: [{a: 3, c: 1}]}", "$.matrix.include[0] names 'c', which is no axis of the matrix"),
            ("{exclude: [{a: 1}]}", "$.matrix must have 1 to 20 axes"),
            ("{a: [1, 2], exclude: []}", "$.matrix.exclude must have at least one element"),
            ("{a: [1, 2], exclude: [1]}", "$.matrix.exclude[0] must be a mapping, not a number"),
            ("{a: [1, 2], include: {a: 1}}", "$.matrix.include must be a list, not a mapping"),
            (
                "{a: [1, 2], include: [{a: [1]}]}",
                "$.matrix.include[0].a must be a string, a number, true or false, not a list"
            ),
            ("{a: [1, 2], include: [{}]}", "$.matrix.include[0] must name 1 to 20 axes with a value each"),
        ])
    func refusals(matrix: String, sentence: String) {
        #expect(refusal(matrix) == sentence)
    }

    @Test("exclusions that would cut a matrix into too many pieces are refused")
    func pieces() {
        func list(_ count: Int) -> String { (1...count).map(String.init).joined(separator: ", ") }
        #expect(
            refusal("{a: [\(list(10_000))], b: [\(list(3))], exclude: [{b: 2}]}") == nil)
        let sentence =
            "$.matrix.exclude[1] cuts the matrix into more than 10000 pieces: let the axes that it names stand first"
        #expect(refusal("{a: [\(list(10_000))], b: [\(list(3))], exclude: [{b: 2}, {b: 3}]}") == sentence)
    }

    @Test("a record with excluded and included combinations is what reading it back gives, and its rerun keeps them")
    func kept() throws {
        let spec = try spec("{a: [1, 2], exclude: [{a: 1}], include: [{a: 5}]}")
        let configuration = spec.configuration(
            image: PinnedImage(digest: Digest(of: "image"), platform: nil), files: [:])
        let owner = Identity(name: UserName(unchecked: "ada"), uid: 1000, gid: 1000)
        let record = try spec.record(
            configuration: configuration, digest: configuration.digest, owner: owner, choices: SubmissionChoices())
        #expect(try record.checkedAsSubmitted(configuration) == record)
        let rerun = try record.rerun(
            SubmissionChoices(), of: JobID(rawValue: 1), owner: owner, queue: nil, priority: nil)
        #expect(rerun.shape == spec.shape && combinations(rerun.shape) == ["2", "5"])
        #expect(record.taskParameters(at: 2) == ["a": "5"])
    }
}
