// RFC 8785, the JSON Canonicalization Scheme: keys by UTF-16 code units, numbers as ECMAScript prints them, minimal
// escapes.

extension JSONValue {
    /// The canonical form as UTF-8.
    /// - Precondition: every number is finite; JSON has no others.
    package var canonical: [UInt8] {
        var output: [UInt8] = []
        write(to: &output, sorted: true)
        return output
    }

    /// The same text, but keys in the order in which they stand here: in a spec the order of a matrix's axes has a
    /// meaning.
    package var written: [UInt8] {
        var output: [UInt8] = []
        write(to: &output, sorted: false)
        return output
    }

    private func write(to output: inout [UInt8], sorted: Bool) {
        switch self {
        case .null: output += Array("null".utf8)
        case .bool(let bool): output += Array((bool ? "true" : "false").utf8)
        case .number(let number): output += Array(ecmaScriptText(of: number).utf8)
        case .string(let string): writeCanonical(string, to: &output)
        case .array(let values):
            output.append(UInt8(ascii: "["))
            for (index, value) in values.enumerated() {
                if index > 0 { output.append(UInt8(ascii: ",")) }
                value.write(to: &output, sorted: sorted)
            }
            output.append(UInt8(ascii: "]"))
        case .object(let members):
            output.append(UInt8(ascii: "{"))
            let members =
                sorted ? members.sorted { $0.key.utf16.lexicographicallyPrecedes($1.key.utf16) } : members
            for (index, member) in members.enumerated() {
                if index > 0 { output.append(UInt8(ascii: ",")) }
                writeCanonical(member.key, to: &output)
                output.append(UInt8(ascii: ":"))
                member.value.write(to: &output, sorted: sorted)
            }
            output.append(UInt8(ascii: "}"))
        }
    }
}

private func writeCanonical(_ string: String, to output: inout [UInt8]) {
    output.append(UInt8(ascii: "\""))
    for byte in string.utf8 {
        switch byte {
        case UInt8(ascii: "\""): output += Array("\\\"".utf8)
        case UInt8(ascii: "\\"): output += Array("\\\\".utf8)
        case 0x08: output += Array("\\b".utf8)
        case 0x09: output += Array("\\t".utf8)
        case 0x0a: output += Array("\\n".utf8)
        case 0x0c: output += Array("\\f".utf8)
        case 0x0d: output += Array("\\r".utf8)
        case 0..<0x20:
            let digits = String(byte, radix: 16)
            output += Array("\\u00\(digits.count == 1 ? "0" : "")\(digits)".utf8)
        default: output.append(byte)
        }
    }
    output.append(UInt8(ascii: "\""))
}

/// `Number::toString` of ECMA-262 from Swift's shortest round-trip digits, which are the same digits in another
/// notation.
func ecmaScriptText(of number: Double) -> String {
    precondition(number.isFinite, "JSON has no infinity")
    if number == 0 { return "0" }
    let sign = number < 0 ? "-" : ""
    let shortest = number.magnitude.description
    let parts = shortest.split(separator: "e", maxSplits: 1)
    let mantissa = parts[0].split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
    let whole = String(mantissa[0])
    let fraction = mantissa.count > 1 ? String(mantissa[1]) : ""
    let exponent = parts.count > 1 ? Int(parts[1]) ?? 0 : 0
    // digits d1d2…dk with the decimal point after position n, as the specification names them.
    let all = whole + fraction
    let leading = all.prefix { $0 == "0" }.count
    var digits = String(all.dropFirst(leading))
    while digits.last == "0" { digits.removeLast() }
    let k = digits.count
    let n = whole.count - leading + exponent
    switch n {
    case k...21: return sign + digits + String(repeating: "0", count: n - k)
    case 1...21: return sign + digits.prefix(n) + "." + digits.dropFirst(n)
    case -5...0: return sign + "0." + String(repeating: "0", count: -n) + digits
    default:
        let power = (n - 1 < 0 ? "-" : "+") + String(abs(n - 1))
        return sign + digits.prefix(1) + (k > 1 ? "." + digits.dropFirst() : "") + "e" + power
    }
}

extension Configuration {
    /// The canonical JSON that the digest is taken over. What is absent is left out, so that a new optional field
    /// changes no old digest.
    package var canonicalJSON: [UInt8] {
        var members: [(key: String, value: JSONValue)] = [
            ("command", .array(command.map { .string($0) })),
            ("environment", Self.object(environment) { .string($0) }),
            (
                "files",
                Self.object(files) {
                    .object([("digest", .string($0.digest.description)), ("executable", .bool($0.executable))])
                }
            ),
            ("image", image.json), ("network", .string(network.rawValue)), ("resources", resources.json),
            (
                "slots",
                .object(
                    slots.map {
                        (
                            $0.key.rawValue,
                            .object([("mode", .string($0.value.mode.rawValue)), ("path", .string($0.value.path))])
                        )
                    })
            ),
        ]
        if let workingDirectory { members.append(("working_dir", .string(workingDirectory))) }
        if !services.isEmpty {
            members.append(("services", .object(services.map { ($0.key.rawValue, $0.value.json) })))
        }
        if let gang { members.append(("gang", .number(Double(gang)))) }
        return JSONValue.object(members).canonical
    }

    /// The configuration's id.
    package var digest: Digest { Digest(of: canonicalJSON) }

    fileprivate static func object<Value>(_ map: [String: Value], _ value: (Value) -> JSONValue) -> JSONValue {
        .object(map.map { ($0.key, value($0.value)) })
    }
}

extension PinnedImage {
    fileprivate var json: JSONValue {
        .object(
            [("digest", .string(digest.description))] + (platform.map { [("platform", .string($0))] } ?? []))
    }
}

extension Resources {
    fileprivate var json: JSONValue {
        var members: [(key: String, value: JSONValue)] = [
            ("cpus", .number(cpus.cpus)), ("gpus", .number(Double(gpus))), ("memory", .number(Double(memory.bytes))),
        ]
        if disk.bytes > 0 { members.append(("disk", .number(Double(disk.bytes)))) }
        if !custom.isEmpty {
            members.append(
                ("custom", .object(custom.entries.map { ($0.name.rawValue, .number(Double($0.count))) })))
        }
        return .object(members)
    }
}

extension TaskService {
    fileprivate var json: JSONValue {
        var members: [(key: String, value: JSONValue)] = [
            ("command", .array(command.map { .string($0) })),
            ("environment", Configuration.object(environment) { .string($0) }),
            ("image", image.json), ("resources", resources.json),
        ]
        if let workingDirectory { members.append(("working_dir", .string(workingDirectory))) }
        if let health { members.append(("healthcheck", health.json)) }
        return .object(members)
    }
}

extension HealthCheck {
    fileprivate var json: JSONValue {
        .object([
            ("command", .array(command.map { .string($0) })), ("interval", .number(interval.seconds)),
            ("retries", .number(Double(retries))), ("timeout", .number(timeout.seconds)),
        ])
    }
}
