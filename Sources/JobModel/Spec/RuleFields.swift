// How `start_after`, `deadline`, `max_running` and the long form of `retries` are read.

enum RuleFields {
    struct Retries {
        var most = 0
        var on: [Int]?
        var notOn: [Int]?
    }

    static func moment(_ field: SpecReader) throws(SpecError) -> JobSpec.Moment {
        if case .scalar(_, .number) = field.node.value { return .after(try field.timeSpan()) }
        guard case .scalar(let text, .string) = field.node.value, let moment = JobSpec.Moment(text) else {
            throw field.refusal(JobSpec.Moment.rule)
        }
        return moment
    }

    /// A number, or `{max: 3, on_exit: [75], not_on_exit: [2]}`.
    static func retries(_ field: SpecReader) throws(SpecError) -> Retries {
        guard case .mapping = field.node.value else {
            return Retries(most: try field.integer(in: 0...SpecLimits.retries))
        }
        var retries = Retries()
        var most: Int?
        for member in try field.members() {
            switch member.key {
            case "max": most = try member.reader.integer(in: 0...SpecLimits.retries)
            case "on_exit": retries.on = try exitCodes(member.reader)
            case "not_on_exit": retries.notOn = try exitCodes(member.reader)
            default:
                throw SpecError(
                    location: member.keyLocation, path: member.reader.path,
                    message: "is not a known key: use max, on_exit and not_on_exit")
            }
        }
        guard let most else { throw field.refusal("needs 'max', the number of retries") }
        if let both = retries.on?.first(where: { retries.notOn?.contains($0) == true }) {
            throw field.refusal("names the exit code \(both) in on_exit and in not_on_exit: keep one of them")
        }
        retries.most = most
        return retries
    }

    private static func exitCodes(_ field: SpecReader) throws(SpecError) -> [Int] {
        var codes: [Int] = []
        for element in try field.elements(atMost: 255) {
            let code = try element.integer(in: 1...255)
            if !codes.contains(code) { codes.append(code) }
        }
        guard !codes.isEmpty else { throw field.refusal("must name at least one exit code") }
        return codes.sorted()
    }

    /// What may stand after an array: `1-100%50` lets 50 of them run at a time.
    static func mostRunning(in text: String, _ field: SpecReader) throws(SpecError) -> (range: String, most: Int64?) {
        let parts = text.split(separator: "%", omittingEmptySubsequences: false)
        guard parts.count > 1 else { return (text, nil) }
        guard parts.count == 2, parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }), let most = Int64(parts[1]),
            (1...TaskShape.largestCount).contains(most)
        else {
            throw field.refusal("\(quoted(text)): write how many tasks may run at a time after the '%', as in 1-100%50")
        }
        return (String(parts[0]), most)
    }
}
