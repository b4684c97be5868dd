// How each structured field of a spec is read. One function a field; the table that names them stands in
// SpecParser.swift.

enum SpecFields {
    static let labelRule = "use 1 to 63 letters, digits, '.', '_', '-' or '/'"

    static func isLabel(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count <= 63
            && text.unicodeScalars.allSatisfy {
                $0.isASCII
                    && ($0.properties.isAlphabetic || ("0"..."9").contains($0) || "._-/".unicodeScalars.contains($0))
            }
    }

    static func checkTemplate(_ text: String, _ field: SpecReader) throws(SpecError) {
        do {
            _ = try Template(text)
        } catch {
            throw field.refusal(error.message)
        }
    }

    static func command(_ field: SpecReader) throws(SpecError) -> [String] {
        if case .scalar(let text, .string) = field.node.value {
            throw field.refusal(
                "must be a list, because it is executed directly and signals must reach it: write [\"…\", \"…\"], or use 'shell: \(shown(text.prefix(40)))' for sh -c"
            )
        }
        let elements = try field.elements(atMost: SpecLimits.commandElements)
        guard !elements.isEmpty else { throw field.refusal("must name a program") }
        var command: [String] = []
        var size = 0
        for element in elements {
            let text = try element.string(atMost: SpecLimits.commandBytes)
            try checkTemplate(text, element)
            size += text.utf8.count
            command.append(text)
        }
        guard size <= SpecLimits.commandBytes else {
            throw field.refusal("has \(size) bytes: at most \(SpecLimits.commandBytes) are allowed")
        }
        guard !command[0].isEmpty else { throw elements[0].refusal("must name a program") }
        return command
    }

    static func image(_ field: SpecReader) throws(SpecError) -> (ImageReference, String) {
        let text = try field.string(atMost: 512)
        guard let reference = ImageReference(text) else {
            throw field.refusal("\(quoted(text)) is not an image reference: \(ImageReference.rule)")
        }
        return (reference, text)
    }

    /// One line for `sh -c`.
    static func shell(_ field: SpecReader) throws(SpecError) -> String {
        let text = try field.string(atMost: SpecLimits.commandBytes)
        try checkTemplate(text, field)
        return text
    }

    /// An absolute, normal path other than `/`.
    static func containerPath(_ field: SpecReader) throws(SpecError) -> String {
        let text = try field.string(atMost: 4096)
        guard let path = normalPath(text) else { throw field.refusal(pathRefusal(text)) }
        return path
    }

    static func normalPath(_ text: String) -> String? {
        guard text.hasPrefix("/"), text.utf8.count <= 4096, text.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }) else {
            return nil
        }
        var parts = text.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
        if parts.count > 1, parts.last == "" { parts.removeLast() }
        guard parts.allSatisfy({ !$0.isEmpty && $0 != "." && $0 != ".." }) else { return nil }
        return "/" + parts.joined(separator: "/")
    }

    static func pathRefusal(_ text: String) -> String {
        "\(quoted(text)) is not a path in the container: write an absolute path without '.', '..' and '//', for example /data"
    }

    /// Where nothing may be mounted: the kernel's folders, and what every container is given.
    private static let reservedPaths = ["/proc", "/sys", "/dev", "/run", "/tmp"]

    private static func isReserved(_ path: String) -> Bool {
        reservedPaths.contains { path == $0 } || ["/proc/", "/sys/", "/dev/"].contains { path.hasPrefix($0) }
    }

    static func files(_ field: SpecReader) throws(SpecError) -> [String: String] {
        var files: [String: String] = [:]
        let members = try field.members()
        guard members.count <= SpecLimits.files else {
            throw field.refusal("has \(members.count) entries: at most \(SpecLimits.files) are allowed")
        }
        for member in members {
            func refusal(_ message: String) -> SpecError {
                SpecError(location: member.keyLocation, path: member.reader.path, message: message)
            }
            guard let path = normalPath(member.key) else { throw refusal(pathRefusal(member.key)) }
            guard !isReserved(path) else { throw refusal("nothing may be placed at \(path)") }
            if let other = files.keys.sorted().first(where: { $0 == path || isBelow($0, path) || isBelow(path, $0) }) {
                throw refusal(other == path ? "the file \(path) is given twice" : "the file \(other) is in the way")
            }
            let source = try member.reader.string(atMost: 4096)
            guard !source.isEmpty else { throw member.reader.refusal("must name a file beside the spec") }
            files[path] = source
        }
        return files
    }

    static func isBelow(_ path: String, _ folder: String) -> Bool { path.utf8.starts(with: (folder + "/").utf8) }

    static func environment(_ field: SpecReader) throws(SpecError) -> [String: String] {
        let isName = { (name: String) in
            !name.isEmpty && name.utf8.count <= 256
                && name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "=") }
        }
        for member in try field.members() {
            if case .scalar(let text, .string) = member.reader.node.value { try checkTemplate(text, member.reader) }
        }
        return try field.strings(
            atMost: SpecLimits.environmentEntries, keys: "use ASCII without spaces and '='", isKey: isName)
    }

    static func volumes(_ field: SpecReader) throws(SpecError) -> [JobSpec.Slot] {
        var slots: [JobSpec.Slot] = []
        for element in try field.elements(atMost: SpecLimits.slots) {
            let text = try element.string(atMost: 4096)
            let slot = try volume(text, element)
            guard !slots.contains(where: { $0.name == slot.name }) else {
                throw element.refusal("the slot '\(slot.name)' is given twice")
            }
            if let other = slots.first(where: { $0.slot.path == slot.slot.path }) {
                throw element.refusal(
                    "the slots '\(other.name)' and '\(slot.name)' have the same path \(slot.slot.path)")
            }
            slots.append(slot)
        }
        return slots
    }

    /// `slot:/path:mode`; without a mode, read-only.
    static func volume(_ text: String, _ field: SpecReader) throws(SpecError) -> JobSpec.Slot {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        guard (2...3).contains(parts.count) else {
            throw field.refusal("\(quoted(text)) is not a volume: write SLOT:/PATH:MODE, for example input:/data:ro")
        }
        guard let name = SlotName(rawValue: parts[0]) else { throw field.refusal(SlotName.refusal(of: parts[0])) }
        guard let path = normalPath(parts[1]), path != "/", !isReserved(path) else {
            throw field.refusal(isReserved(parts[1]) ? "nothing may be mounted at \(parts[1])" : pathRefusal(parts[1]))
        }
        guard let mode = parts.count == 3 ? SlotMode(rawValue: parts[2]) : .ro else {
            throw field.refusal(
                "the mode \(quoted(parts[2])) is not allowed: use "
                    + SlotMode.allCases.map(\.rawValue).joined(separator: ", "))
        }
        return JobSpec.Slot(name: name, slot: Slot(path: path, mode: mode))
    }

    static func resources(_ field: SpecReader) throws(SpecError) -> Resources {
        var resources = Resources.standard
        for member in try field.members() {
            let reader = member.reader
            switch member.key {
            case "cpus":
                guard let amount = CPUAmount(exactly: try reader.number()), amount.thousandths > 0 else {
                    throw reader.refusal("must be a number of cpus above 0 in steps of 0.001, for example 2 or 0.5")
                }
                resources.cpus = amount
            case "memory": resources.memory = try memory(reader)
            case "gpus": resources.gpus = try reader.integer(in: 0...SpecLimits.gpus)
            case "disk": resources.disk = try ResourceFields.amount(reader)
            case "custom": resources.custom = try ResourceFields.counts(reader)
            default:
                let hint =
                    nearest(to: member.key, among: ["cpus", "memory", "gpus", "disk", "custom"]).map {
                        ": did you mean '\($0)'?"
                    } ?? ": use cpus, memory, gpus, disk and custom"
                throw SpecError(location: member.keyLocation, path: reader.path, message: "is not a known key\(hint)")
            }
        }
        return resources
    }

    private static func memory(_ field: SpecReader) throws(SpecError) -> ByteCount {
        let amount = try ResourceFields.amount(field)
        guard amount >= SpecLimits.smallestMemory else {
            throw field.refusal("must be at least \(SpecLimits.smallestMemory): no container starts with less")
        }
        return amount
    }

    /// `1-100`, `0-9`, or a number N for `1-N`; `1-100%50` for at most 50 at a time.
    static func array(_ field: SpecReader) throws(SpecError) -> (TaskShape, Int64?) {
        let written: String
        switch field.node.value {
        case .scalar(let source, .string), .scalar(let source, .number): written = source
        case .scalar, .mapping, .sequence: throw field.refusal("must be a range such as 1-100, not \(field.node.noun)")
        }
        let (text, mostRunning) = try RuleFields.mostRunning(in: written, field)
        guard let range = TaskShape.range(text.contains("-") ? String(text) : "1-\(text)"),
            range.upperBound - range.lowerBound < TaskShape.largestCount
        else {
            throw field.refusal(
                "\(quoted(text)) must be a range such as 1-100, the first not above the last, with at most \(TaskShape.largestCount) tasks"
            )
        }
        return (.array(first: range.lowerBound, last: range.upperBound), mostRunning)
    }

    static func parameters(_ field: SpecReader) throws(SpecError) -> [String: String] {
        var parameters: [String: String] = [:]
        let members = try field.members()
        guard members.count <= SpecLimits.parameters else {
            throw field.refusal("has \(members.count) entries: at most \(SpecLimits.parameters) are allowed")
        }
        for member in members {
            guard Template.isParameterName(member.key) else {
                throw member.reader.refusal(
                    "\(quoted(member.key)) is not a parameter name: use 1 to 63 letters, digits, '_' or '-'")
            }
            parameters[member.key] = try member.reader.scalarText()
        }
        return parameters
    }

    static func constraints(_ field: SpecReader) throws(SpecError) -> [Constraint] {
        var constraints: [Constraint] = []
        for element in try field.elements(atMost: SpecLimits.constraints) {
            let text = try element.string(atMost: 4096)
            let words = text.split(separator: " ").map(String.init)
            guard words.count == 3, isLabel(words[0]), let comparison = Constraint.Comparison(rawValue: words[1]),
                words[2].utf8.count <= 63
            else {
                throw element.refusal("\(quoted(text)) is not a constraint: write 'LABEL == VALUE' or 'LABEL != VALUE'")
            }
            constraints.append(Constraint(label: words[0], comparison: comparison, value: words[2]))
        }
        return constraints
    }
}
