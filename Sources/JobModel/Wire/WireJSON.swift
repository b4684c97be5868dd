// The one JSON encoder and decoder for wire documents, and how a decoding failure becomes a problem that names the
// field.
import Foundation

package enum WireJSON {
    /// Encodes with sorted keys, so that equal documents are equal bytes.
    package static func encode(_ value: some Encodable, pretty: Bool = false) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting =
            pretty ? [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted] : [.sortedKeys, .withoutEscapingSlashes]
        return Array(try encoder.encode(value))
    }

    /// Decodes a document from outside.
    /// - Throws: ``Problem`` of kind `badRequest` that names the field.
    package static func decode<Value: Decodable>(_ type: Value.Type, from bytes: some Sequence<UInt8>) throws(Problem)
        -> Value
    {
        do {
            return try JSONDecoder().decode(type, from: Data(bytes))
        } catch let error as DecodingError {
            throw problem(error)
        } catch {
            throw Problem(.badRequest, "the body is not valid JSON")
        }
    }

    private static func problem(_ error: DecodingError) -> Problem {
        switch error {
        case .keyNotFound(let key, let context):
            let field = path(context.codingPath + [key])
            return Problem(.badRequest, "is required", field: field)
        case .typeMismatch(let type, let context):
            return Problem(
                .badRequest, "has the wrong type: expected \(wireName(of: type))", field: path(context.codingPath))
        case .valueNotFound(let type, let context):
            return Problem(.badRequest, "is null: expected \(wireName(of: type))", field: path(context.codingPath))
        case .dataCorrupted(let context):
            if context.codingPath.isEmpty { return Problem(.badRequest, "the body is not valid JSON") }
            return Problem(.badRequest, sentence(context), field: path(context.codingPath))
        @unknown default:
            return Problem(.badRequest, "the body could not be read")
        }
    }

    /// Foundation's words for a value that no case has, and for a key that is no name, in ours.
    private static func sentence(_ context: DecodingError.Context) -> String {
        let text = context.debugDescription
        if text.hasPrefix("Cannot initialize "), let range = text.range(of: " from invalid String value ") {
            return "\(quoted(String(text[range.upperBound...]))) is not one of the allowed values"
        }
        if text.hasPrefix("Could not convert key"), let key = context.codingPath.last {
            return "\(quoted(key.stringValue)) is not a valid name"
        }
        return text
    }

    private static func path(_ keys: [any CodingKey]) -> String {
        keys.reduce("$") { text, key in key.intValue.map { "\(text)[\($0)]" } ?? "\(text).\(shown(key.stringValue))" }
    }

    private static func wireName(of type: Any.Type) -> String {
        switch type {
        case is String.Type: "a string"
        case is Bool.Type: "true or false"
        case is Int.Type, is Int64.Type, is UInt32.Type, is Double.Type: "a number"
        case is any Collection.Type: "a list or an object"
        default: "an object"
        }
    }
}
