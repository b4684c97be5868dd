// Content of the archive by digest, for agents: the files of configurations.
import Hummingbird
import JobModel

struct BlobRoutes {
    let services: APIServices

    var routes: [Route] { [Route(.get, "/v1/blobs/{digest}", .worker, blob)] }

    @Sendable private func blob(_ call: Call) async throws -> Response {
        try call.allowQuery()
        let digest = try call.parameter("digest", "a digest: sha256: and 64 lower-case hexadecimal digits") {
            Digest($0)
        }
        return try await BlobResponse(content: services.content, files: services.files).answer(digest, to: call)
    }
}
