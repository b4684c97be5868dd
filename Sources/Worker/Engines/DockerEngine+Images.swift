// Images: pulled by digest through the agent's loopback registry proxy, once, however many attempts ask at the same
// time. Invariant: what is given to `create` is the engine's id of an image whose reference names the digest that was
// pinned.
import Foundation
import JobModel
import NIOCore
import OCI
import SchedulerClient

/// Where an engine pulls from: the agent's ``RegistryProxy``.
package protocol ImageSource: Sendable {
    /// `127.0.0.1:PORT`. Waits until the proxy listens.
    func address() async throws(EngineError) -> String
    /// Until ``revoke(_:)`` the image with this digest may be pulled.
    func permit(_ digest: Digest) async
    func revoke(_ digest: Digest) async
    /// A manifest of the archive; nil if it cannot be had.
    func manifest(_ digest: Digest) async -> [UInt8]?
}

extension ImageSource {
    package func manifest(_ digest: Digest) async -> [UInt8]? { nil }
}

/// For an engine that shall only list and remove.
package struct NoImages: ImageSource {
    package init() {}
    package func address() async throws(EngineError) -> String { throw .unavailable("no images are pulled here") }
    package func permit(_ digest: Digest) async {}
    package func revoke(_ digest: Digest) async {}
}

/// What is known of the engine's images, and the pulls under way.
actor ImageBook {
    private var known: [PinnedImage: PresentImage] = [:]
    private var pulls: [PinnedImage: Task<Result<PresentImage, EngineError>, Never>] = [:]

    /// The result of `fetch`, which runs once for all that ask for the same image meanwhile.
    func image(_ image: PinnedImage, fetch: @escaping @Sendable () async -> Result<PresentImage, EngineError>) async
        -> Result<PresentImage, EngineError>
    {
        if let present = known[image] { return .success(present) }
        if let pull = pulls[image] { return await pull.value }
        // Of its own, because one attempt's cancellation must not end the pull for the others.
        let pull = Task { await fetch() }
        pulls[image] = pull
        let result = await pull.value
        pulls[image] = nil
        if case .success(let present) = result { known[image] = present }
        return result
    }

    func forget(_ image: PinnedImage) { known[image] = nil }
}

extension DockerEngine {
    package func ensureImage(_ image: PinnedImage) async throws(EngineError) -> Digest? {
        // Somebody may have removed it since: a look at the engine is cheap beside a container that cannot be
        // created.
        if let id = await images.knownID(image), try await inspectImage(id) == nil { await images.forget(image) }
        return try await present(image).manifest
    }

    /// The image, pulled if the engine does not have it.
    func present(_ image: PinnedImage) async throws(EngineError) -> PresentImage {
        try await images.image(image) { [self] in
            do throws(EngineError) {
                return .success(try await fetch(image))
            } catch {
                return .failure(error)
            }
        }.get()
    }

    private func fetch(_ image: PinnedImage) async throws(EngineError) -> PresentImage {
        let reference = "\(try await registry.address())/archive@\(image.digest)"
        if let found = try await inspectImage(reference), fits(found, image.platform) {
            return await presentImage(found, image)
        }
        await registry.permit(image.digest)
        let outcome: Result<Void, EngineError>
        do throws(EngineError) {
            outcome = .success(try await pull(image, reference: reference))
        } catch {
            outcome = .failure(error)
        }
        await registry.revoke(image.digest)
        try outcome.get()
        guard let found = try await inspectImage(reference) else {
            throw EngineError(
                EngineError.image, "the engine pulled the image \(image.digest) and does not have it", cause: reference)
        }
        guard fits(found, image.platform) else {
            throw EngineError.image(
                "the image \(image.digest) is for \(found.os ?? "?")/\(found.architecture ?? "?"), "
                    + "not for \(image.platform ?? "?")"
            )
        }
        return await presentImage(found, image)
    }

    private func pull(_ image: PinnedImage, reference: String) async throws(EngineError) {
        let parts = (image.platform ?? "").split(separator: "/").map(String.init)
        let path: String
        var query: [(String, String)]
        switch dialect {
        case .docker:
            path = "/images/create"
            query = [
                ("fromImage", reference.split(separator: "@").first.map(String.init) ?? reference),
                ("tag", image.digest.description),
            ]
            if let platform = image.platform { query.append(("platform", platform)) }
        case .podman:
            path = "/images/pull"
            query = [("reference", reference), ("tlsVerify", "false"), ("policy", "always")]
            if parts.count >= 2 { query += [("OS", parts[0]), ("Arch", parts[1])] }
            if parts.count >= 3 { query.append(("Variant", parts[2])) }
        }
        let response = try await http.open(.POST, self.path(path), query: query, within: .hours(24))
        do {
            guard response.status.code == 200 else {
                let body = try await response.body.collect(upTo: 1 << 20)
                let answer = EngineAnswer(call: "pull of \(reference)", status: Int(response.status.code), body: body)
                throw EngineError(
                    EngineError.image, "the image \(image.digest) could not be pulled: \(answer.complaint)",
                    cause: answer.call)
            }
            try await readProgress(response.body, image)
        } catch let error as EngineError {
            throw error
        } catch {
            throw EngineError(
                EngineError.unavailable, "the engine broke off the pull of \(image.digest)", cause: "\(error)")
        }
    }

    /// Reads a pull's progress to its end. The status is 200 even if the pull fails: the failure is a line of the
    /// progress.
    private func readProgress(_ body: some AsyncSequence<ByteBuffer, any Error>, _ image: PinnedImage) async throws {
        var line: [UInt8] = []
        func judge() throws {
            defer { line.removeAll(keepingCapacity: true) }
            let step = try? JSONDecoder().decode(PullStep.self, from: Data(line))  // allowed: noise
            guard let step else { return }
            if let reason = step.errorDetail?.message ?? step.error, !reason.isEmpty {
                throw EngineError.image("the image \(image.digest) could not be pulled: \(reason.prefix(1000))")
            }
        }
        for try await buffer in body {
            for byte in buffer.readableBytesView {
                if byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r") {
                    try judge()
                } else if line.count < 1 << 20 {
                    line.append(byte)
                }
            }
        }
        try judge()
    }

    private func inspectImage(_ reference: String) async throws(EngineError) -> InspectedImage? {
        let answer = try await http.exchange(.GET, path("/images/" + reference + "/json"))
        if answer.status == 404 { return nil }
        try answer.expect(200)
        return try answer.decoded()
    }

    /// Whether the image is for the platform that was pinned; an index may have been pulled for another before.
    private func fits(_ found: InspectedImage, _ platform: String?) -> Bool {
        guard let platform else { return true }
        let parts = platform.split(separator: "/").map(String.init)
        return parts.count >= 2 && found.os == parts[0] && found.architecture == parts[1]
    }

    private func presentImage(_ found: InspectedImage, _ image: PinnedImage) async -> PresentImage {
        PresentImage(
            id: found.id, environmentNames: found.environmentNames,
            volumes: (found.settings?.volumes ?? [:]).keys.sorted(), manifest: await manifest(of: image, found))
    }

    /// Which manifest of an index the engine took: the one for the platform that its image says it is for. Engines do
    /// not tell.
    private func manifest(of image: PinnedImage, _ found: InspectedImage) async -> Digest? {
        var digest = image.digest
        let platform = image.platform ?? "\(found.os ?? "linux")/\(found.architecture ?? "")"
        for _ in 0...deepestIndex {
            guard let bytes = await registry.manifest(digest), Digest(of: bytes) == digest,
                // allowed: nothing is recorded of what cannot be read
                let manifest = try? Manifest(bytes, named: "\(digest)")
            else { return nil }
            guard case .index(_, let parts) = manifest else { return digest }
            // allowed: as above
            guard let part = try? Platform.choose(from: parts, for: platform, named: "\(digest)") else { return nil }
            digest = part.digest
        }
        return nil
    }
}

extension ImageBook {
    func knownID(_ image: PinnedImage) -> String? { known[image]?.id }
}

/// A line of a pull's progress.
private struct PullStep: Decodable {
    struct Detail: Decodable { let message: String? }
    let error: String?
    let errorDetail: Detail?
}
