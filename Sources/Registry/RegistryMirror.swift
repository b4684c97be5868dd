// Mirrors: where else a registry's images can be had, as the operator says. They are asked in order before the registry
// itself, and believed no more than it: what is pinned is a digest, and only bytes that have it are taken.
import JobModel
import OCI
import Synchronization

/// `HOST[:PORT][/PREFIX]` or the same behind `http://` or `https://`. What is `library/python` at the registry is
/// `PREFIX/library/python` here.
package struct RegistryMirror: Hashable, Sendable, CustomStringConvertible {
    let address: WebAddress
    /// As logins and certificates name it.
    let host: String
    /// Without slashes at its ends; empty for none.
    let prefix: String
    package let description: String

    package static let rule = "write HOST[:PORT][/PREFIX], for example https://mirror.example.org/hub"

    /// - Returns: nil for what is no such address.
    package init?(_ text: String) {
        var rest = Substring(text)
        var scheme: String?
        for name in ["http://", "https://"] where rest.hasPrefix(name) {
            scheme = name
            rest = rest.dropFirst(name.count)
        }
        let parts = rest.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard let first = parts.first, !first.isEmpty else { return nil }
        let name = first.hasPrefix("[") ? String(first.prefix { $0 != "]" }) + "]" : String(first.prefix { $0 != ":" })
        let chosen = scheme ?? (isLoopbackHost(name) ? "http://" : "https://")
        var path = parts.count > 1 ? parts[1] : ""
        while path.hasSuffix("/") { path.removeLast() }
        let isPlain = path.utf8.allSatisfy { byte in
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || "-_./".utf8.contains(byte)
        }
        let segments = path.isEmpty ? [] : path.split(separator: "/", omittingEmptySubsequences: false)
        guard isPlain, !segments.contains(""), !path.contains(".."), let address = WebAddress(chosen + first)
        else { return nil }
        self.address = address
        host = first
        prefix = path
        description = text
    }
}

/// The places where one image can be had, in order; the registry itself comes last. One that failed is not asked again
/// during the same pull.
final class RegistrySources: Sendable {
    private let sessions: [RegistrySession]
    private let broken: Broken
    private let note: @Sendable (String) -> Void
    let reference: ImageReference

    init(_ client: RegistryClient, _ reference: ImageReference) throws(OCIError) {
        var sessions: [RegistrySession] = []
        for mirror in client.mirrors[reference.registry] ?? [] {
            sessions.append(try RegistrySession(client: client, reference: reference, mirror: mirror))
        }
        sessions.append(try RegistrySession(client: client, reference: reference, mirror: nil))
        self.sessions = sessions
        self.reference = reference
        broken = Broken(count: sessions.count)
        note = client.note
    }

    /// What the first place gives that gives it.
    func first<Value: Sendable>(
        _ body: (RegistrySession) async throws(OCIError) -> Value
    ) async throws(OCIError) -> Value {
        var before: [String] = []
        for (place, session) in sessions.enumerated() {
            let isLast = place == sessions.count - 1
            guard isLast || !broken.contains(place) else { continue }
            do throws(OCIError) {
                return try await body(session)
            } catch {
                // A disk that is full, or a call that was given up, is no mirror's fault.
                if case .storage = error { throw error }
                if Task.isCancelled { throw error }
                guard !isLast else { throw Self.whole(error, before) }
                broken.insert(place)
                before.append("\(error)")
                note("the mirror \(session.registry) of \(reference.registry) is passed over: \(error)")
            }
        }
        throw OCIError.unreachable(registry: reference.registry, why: "it has no address")
    }

    private static func whole(_ error: OCIError, _ before: [String]) -> OCIError {
        guard case .unreachable(let registry, let why) = error, !before.isEmpty else { return error }
        return .unreachable(registry: registry, why: "\(why); and before it: " + before.joined(separator: "; "))
    }
}

/// Which places are passed over from now on.
private final class Broken: Sendable {
    private let flags: Mutex<[Bool]>
    init(count: Int) { flags = Mutex(Array(repeating: false, count: count)) }
    func contains(_ place: Int) -> Bool { flags.withLock { $0[place] } }
    func insert(_ place: Int) { flags.withLock { $0[place] = true } }
}
