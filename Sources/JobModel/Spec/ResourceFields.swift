// Amounts and counts of a spec: bytes, custom resources, licenses.

enum ResourceFields {
    static func amount(_ field: SpecReader) throws(SpecError) -> ByteCount {
        let amount: ByteCount?
        switch field.node.value {
        case .scalar(let text, .string), .scalar(let text, .number): amount = ByteCount(text)
        case .scalar, .mapping, .sequence:
            throw field.refusal("must be an amount such as 512MiB, not \(field.node.noun)")
        }
        guard let amount else {
            throw field.refusal("must be an amount such as 512MiB: units are B KiB MiB GiB TiB KB MB GB TB")
        }
        return amount
    }

    /// `{fpga: 1, tape: 2}`.
    static func counts(_ field: SpecReader) throws(SpecError) -> ResourceCounts {
        let members = try field.members()
        guard members.count <= SpecLimits.resourceNames else {
            throw field.refusal("has \(members.count) entries: at most \(SpecLimits.resourceNames) are allowed")
        }
        var counts: [ResourceName: Int64] = [:]
        for member in members {
            guard let name = ResourceName(rawValue: member.key) else {
                throw SpecError(
                    location: member.keyLocation, path: member.reader.path,
                    message: ResourceName.refusal(of: member.key))
            }
            counts[name] = Int64(try member.reader.integer(in: 0...SpecLimits.resourceCount))
        }
        return ResourceCounts(counts)
    }

    static func flag(_ field: SpecReader) throws(SpecError) -> Bool {
        guard case .scalar(let text, .bool) = field.node.value else {
            throw field.refusal("must be true or false, not \(field.node.noun)")
        }
        return text == "true"
    }
}
