// The one conversion from the errors of the parts to what crosses the wire: an exhaustive switch each. A new case does
// not compile until somebody has decided what its user reads.
import JobModel
import OCI

extension Problem {
    init(_ failure: StoreFailure) {
        switch failure {
        case .locked: self.init(.conflict, failure.description)
        case .newerSchema: self.init(.refused, failure.description)
        case .diskFull: self.init(.diskFull, failure.description)
        case .storage: self.init(.internal, failure.description)
        }
    }

    /// For content that came with the call: an import, a blob.
    init(_ error: OCIError) {
        switch error {
        case .blobMissing: self.init(.notFound, error.description, field: "digest")
        case .mismatch, .malformed, .refused: self.init(.badRequest, error.description, field: "body")
        case .tooLarge: self.init(.tooLarge, error.description, field: "body")
        case .storage where error.isDiskFull:
            self.init(.diskFull, "the scheduler's disk is full: free space in its data folder")
        case .storage: self.init(.internal, error.description)
        case .notFound, .denied, .unreachable, .busy, .archiveUnreachable, .cancelled:
            self.init(.upstream, error.description)
        }
    }

    /// For an image that its registry did not give: the image, its registry's words, and what to do.
    static func upstream(
        _ reference: ImageReference, _ error: any Error, field: String = "$.spec.image"
    ) -> Problem {
        guard let error = error as? OCIError else {
            return Problem(.upstream, "\(reference): \(error)", field: field)
        }
        let hint: String
        switch error {
        case .notFound: hint = "check its name and tag, or import it with 'jobctl image import'"
        case .denied: hint = "then submit again"
        case .unreachable, .busy, .archiveUnreachable, .cancelled:
            hint = "submit again later, or import the image with 'jobctl image import'"
        case .mismatch, .malformed, .refused, .tooLarge:
            hint = "ask whoever runs \(reference.registry), or import the image from a file"
        case .storage, .blobMissing: return Problem(error)
        }
        return Problem(.upstream, "the image \(reference) cannot be had: \(error); \(hint)", field: field)
    }

    /// Whether the same pull may succeed later without anybody doing anything.
    static func isTemporary(_ error: any Error) -> Bool {
        switch error {
        case let error as OCIError: error.isTransient || error.isDiskFull
        case let problem as Problem: problem.retryable
        default: true
        }
    }
}
