// Why a registry call is refused, in the words of the OCI distribution specification 1.1 ("Error Codes"), and the
// document in which any problem below /v2/ is written.
import HTTPTypes
import JobModel

struct RegistryFailure: Error {
    enum Code: String, CaseIterable {
        case blobUnknown = "BLOB_UNKNOWN"
        case uploadInvalid = "BLOB_UPLOAD_INVALID"
        case uploadUnknown = "BLOB_UPLOAD_UNKNOWN"
        case digestInvalid = "DIGEST_INVALID"
        case manifestBlobUnknown = "MANIFEST_BLOB_UNKNOWN"
        case manifestInvalid = "MANIFEST_INVALID"
        case manifestUnknown = "MANIFEST_UNKNOWN"
        case nameInvalid = "NAME_INVALID"
        case nameUnknown = "NAME_UNKNOWN"
        case sizeInvalid = "SIZE_INVALID"
        case unauthorized = "UNAUTHORIZED"
        case denied = "DENIED"
        case unsupported = "UNSUPPORTED"
        case tooManyRequests = "TOOMANYREQUESTS"

        /// The status that goes with it unless the place asks for another.
        var status: Int {
            switch self {
            case .blobUnknown, .uploadUnknown, .manifestUnknown, .nameUnknown: 404
            case .uploadInvalid, .digestInvalid, .manifestBlobUnknown, .manifestInvalid, .nameInvalid, .sizeInvalid: 400
            case .unauthorized: 401
            case .denied: 403
            case .unsupported: 405
            case .tooManyRequests: 429
            }
        }
    }

    let code: Code
    let status: Int
    /// One sentence each; more than one only for blobs that are missing.
    let messages: [String]
    let headers: HTTPFields

    init(_ code: Code, _ messages: String..., status: Int? = nil, headers: HTTPFields = [:]) {
        self.init(code, all: messages, status: status, headers: headers)
    }

    init(_ code: Code, all messages: [String], status: Int? = nil, headers: HTTPFields = [:]) {
        self.code = code
        self.status = status ?? code.status
        self.messages = messages
        self.headers = headers
    }

    var document: [UInt8] { Self.document(code.rawValue, messages) }

    /// A problem of any other part of the scheduler, in the same form.
    static func document(_ problem: Problem) -> [UInt8] { document(code(of: problem), [problem.detail]) }

    private struct Document: Encodable {
        struct Entry: Encodable {
            let code: String
            let message: String
        }
        let errors: [Entry]
    }

    private static func document(_ code: String, _ messages: [String]) -> [UInt8] {
        let document = Document(errors: messages.map { Document.Entry(code: code, message: $0) })
        do { return try WireJSON.encode(document) } catch { return Array(#"{"errors":[{"code":"UNKNOWN"}]}"#.utf8) }
    }

    private static func code(of problem: Problem) -> String {
        let code: Code? =
            switch problem.status {
            case 400:
                problem.field == "digest" ? .digestInvalid : problem.field == "body" ? .manifestInvalid : .nameInvalid
            case 401: .unauthorized
            case 403: .denied
            case 404:
                problem.field == "manifest" ? .manifestUnknown : problem.field == "digest" ? .blobUnknown : .nameUnknown
            case 405: .unsupported
            case 413: .sizeInvalid
            case 429, 503: .tooManyRequests
            default: nil
            }
        return code?.rawValue ?? "UNKNOWN"
    }
}
