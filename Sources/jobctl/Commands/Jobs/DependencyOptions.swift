// --after-ok and its kin: what a job waits for, beside the spec's depends_on.
import ArgumentParser
import JobModel

struct DependencyOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Start when these jobs have succeeded.", valueName: "job,job")) var afterOk: [String] =
        []
    @Option(help: ArgumentHelp("Start when these jobs have ended, however.", valueName: "job,job"))
    var afterAny: [String] = []
    @Option(help: ArgumentHelp("Start when these jobs have failed or were cancelled.", valueName: "job,job"))
    var afterFail: [String] = []
    @Option(
        help: ArgumentHelp(
            "Start each task when the task of the same number has succeeded: for arrays with the same numbers.",
            valueName: "job,job"))
    var afterOkEach: [String] = []
    @Option(help: ArgumentHelp("Start each task when that task has ended, however.", valueName: "job,job"))
    var afterAnyEach: [String] = []
    @Option(help: ArgumentHelp("Start each task when that task has failed or was cancelled.", valueName: "job,job"))
    var afterFailEach: [String] = []

    private var given: [(kind: DependencyKind, texts: [String])] {
        [
            (.afterOK, afterOk), (.afterAny, afterAny), (.afterFail, afterFail), (.afterOKEach, afterOkEach),
            (.afterAnyEach, afterAnyEach), (.afterFailEach, afterFailEach),
        ]
    }

    func validate() throws {
        for (kind, texts) in given {
            for word in texts.flatMap({ $0.split(separator: ",", omittingEmptySubsequences: false) })
            where JobID(word) == nil {
                let flag = "--" + kind.rawValue.replacing("_", with: "-")
                throw ValidationError("\(flag): \(quoted(word)) is not the number of a job: write 41 or 41,42")
            }
        }
    }

    /// The spec with these jobs added to those that it names itself.
    func added(to spec: JSONValue) -> JSONValue {
        guard case .object(var members) = spec, given.contains(where: { !$0.texts.isEmpty }) else { return spec }
        var kinds: [(key: String, value: JSONValue)] = []
        if let place = members.firstIndex(where: { $0.key == "depends_on" }) {
            if case .object(let written) = members.remove(at: place).value { kinds = written }
        }
        for (kind, texts) in given where !texts.isEmpty {
            let jobs = texts.flatMap { $0.split(separator: ",") }.compactMap { Double($0) }.map { JSONValue.number($0) }
            let place = kinds.firstIndex { $0.key == kind.rawValue }
            switch place.map({ kinds[$0].value }) {
            case .array(let written)?: kinds[place ?? 0].value = .array(written + jobs)
            case let one?: kinds[place ?? 0].value = .array([one] + jobs)
            case nil: kinds.append((kind.rawValue, .array(jobs)))
            }
        }
        members.append(("depends_on", .object(kinds)))
        return .object(members)
    }
}
