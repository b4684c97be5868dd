// An image on its way from its registry into the archive, as the API and `-o json` show it.

package struct ImagePullDocument: Hashable, Codable, Sendable {
    package enum State: String, Codable, Sendable {
        /// Others come first.
        case queued
        case pulling
        /// It failed, or the registry asked for patience; ``ImagePullDocument/retryAt`` says until when.
        case waiting
    }

    package var reference: String
    package var digest: Digest
    package var platform: String?
    package var state: Open<State>
    /// Of configuration and layers; what was here before counts.
    package var received: ByteCount
    /// Nil until the manifest is here.
    package var size: ByteCount?
    /// Why it waits, in the registry's words.
    package var note: String?
    package var retryAt: Timestamp?

    package init(
        reference: String, digest: Digest, platform: String?, state: State, received: ByteCount, size: ByteCount?,
        note: String?, retryAt: Timestamp?
    ) {
        self.reference = reference
        self.digest = digest
        self.platform = platform
        self.state = Open(state)
        self.received = received
        self.size = size
        self.note = note
        self.retryAt = retryAt
    }

    private enum CodingKeys: String, CodingKey {
        case reference, digest, platform, state, received = "received_bytes", size = "size_bytes", note
        case retryAt = "retry_at"
    }

    /// `120 MiB of 340 MiB (35 %)`.
    package var sentence: String {
        let amount = size.map { "\(received) of \($0) (\(percent(of: $0)) %)" } ?? "\(received)"
        let until = retryAt.map { ", again at \($0)" } ?? ""
        switch state.value {
        case .pulling?: return amount
        case .waiting?: return "\(amount); waits: \(note ?? "it failed")\(until)"
        default: return size == nil ? state.description : "\(amount), \(state)"
        }
    }

    private func percent(of size: ByteCount) -> Int64 {
        size.bytes > 0 ? Int64(Double(received.bytes) / Double(size.bytes) * 100) : 100
    }
}

/// `GET /v1/images/pulls`: all that are on their way, in order of their names.
package struct ImagePullList: Hashable, Codable, Sendable {
    package var pulls: [ImagePullDocument]
    package init(pulls: [ImagePullDocument]) { self.pulls = pulls }
}
