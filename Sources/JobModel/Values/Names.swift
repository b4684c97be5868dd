// Names that people give: checked once where they enter, a type of their own from then on.
// No rule for image references (ImageReference.swift) or paths (Binding.swift) belongs here.

/// A name of 1 to 63 characters: letters, digits, `.`, `_`, `-`, first a letter or a digit.
package protocol ValidatedName: RawRepresentable<String>, Hashable, Comparable, Codable, Sendable,
    CustomStringConvertible, CodingKeyRepresentable
{
    /// What messages call a value of this type, for example "queue name".
    static var noun: String { get }
    /// One sentence for a value that is no valid name.
    static func refusal(of value: String) -> String
    init(unchecked: String)
}

extension ValidatedName {
    /// The value if it is a valid name.
    package init?(rawValue: String) {
        guard nameIsValid(rawValue) else { return nil }
        self.init(unchecked: rawValue)
    }

    package var description: String { rawValue }
    package static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }

    package static func refusal(of value: String) -> String {
        "\(quoted(value)) is not a valid \(noun): use 1 to 63 letters, digits, '.', '_' or '-', and begin with a letter or a digit"
    }

    package init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        guard let name = Self(rawValue: text) else {
            throw DecodingError.dataCorrupted(
                .init(codingPath: decoder.codingPath, debugDescription: Self.refusal(of: text)))
        }
        self = name
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(rawValue)
    }
}

private func nameIsValid(_ text: String) -> Bool {
    let bytes = text.utf8
    guard let first = bytes.first, bytes.count <= 63, isAlphanumeric(first) else { return false }
    return bytes.allSatisfy {
        isAlphanumeric($0) || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: "-")
    }
}

private func isAlphanumeric(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
        || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
}

/// `'value'`, cut and cleaned as ``shown(_:)`` does, for use in a message.
package func quoted(_ value: some StringProtocol) -> String { "'" + shown(value) + "'" }

/// A value from outside as a message may hold it: at most 80 characters, none of which moves a cursor, ends a line or
/// is invisible.
package func shown(_ value: some StringProtocol) -> String {
    var text = ""
    var rest = value.unicodeScalars[...]
    while let scalar = rest.first, text.unicodeScalars.count < 80 {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator: text.unicodeScalars.append("\u{FFFD}")
        default: text.unicodeScalars.append(scalar)
        }
        rest = rest.dropFirst()
    }
    return rest.isEmpty ? text : text + "…"
}

package struct WorkerName: ValidatedName {
    package static let noun = "worker name"
    package let rawValue: String
    package init(unchecked: String) { rawValue = unchecked }
}

package struct QueueName: ValidatedName {
    package static let noun = "queue name"
    package static let standard = QueueName(unchecked: "default")
    package let rawValue: String
    package init(unchecked: String) { rawValue = unchecked }
}

package struct VolumeName: ValidatedName {
    package static let noun = "volume name"
    package let rawValue: String
    package init(unchecked: String) { rawValue = unchecked }
}

package struct SlotName: ValidatedName {
    package static let noun = "slot name"
    package let rawValue: String
    package init(unchecked: String) { rawValue = unchecked }
}

package struct UserName: ValidatedName {
    package static let noun = "user name"
    package let rawValue: String
    package init(unchecked: String) { rawValue = unchecked }
}

/// The name of a configuration, and of the jobs that run it: `annual-temps`.
package struct ConfigurationName: ValidatedName {
    package static let noun = "configuration name"
    package let rawValue: String
    package init(unchecked: String) { rawValue = unchecked }
}
