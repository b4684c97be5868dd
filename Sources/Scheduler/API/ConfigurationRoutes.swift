// Configurations: list, show by digest, name (its newest version) or name@version, and all their runs.
import Hummingbird
import JobModel

struct ConfigurationRoutes {
    let services: APIServices

    var routes: [Route] {
        [
            Route(.get, "/v1/configurations", .reader, list),
            Route(.get, "/v1/configurations/{source}", .reader, show),
            Route(.get, "/v1/configurations/{source}/runs", .reader, runs),
        ]
    }

    @Sendable private func list(_ call: Call) async throws -> Response {
        try call.allowQuery("name", "limit", "cursor")
        let name = try call.query("name", "a configuration name") { ConfigurationName(rawValue: $0) }
        return try .json(
            services.store.configurations(name: name, limit: try call.pageLimit(), cursor: try call.query("cursor")))
    }

    @Sendable private func show(_ call: Call) async throws -> Response {
        try call.allowQuery()
        let source = try call.parameter("source", ConfigurationSource.expected) { ConfigurationSource($0) }
        guard let digest = try services.store.configurationDigest(of: source),
            let document = try services.store.configuration(digest)
        else {
            throw Problem(.notFound, "there is no configuration \(quoted(try call.text("source")))", field: "source")
        }
        return try .json(document)
    }

    @Sendable private func runs(_ call: Call) async throws -> Response {
        try call.allowQuery("limit", "cursor")
        let source = try call.parameter("source", ConfigurationSource.expected) { ConfigurationSource($0) }
        let limit = Int(try call.integer("limit", in: 1...100, otherwise: 50))
        let cursor = try call.query("cursor")
        guard try services.store.configurationDigest(of: source).map(services.store.configuration) ?? nil != nil else {
            throw Problem(.notFound, "there is no configuration \(quoted(try call.text("source")))", field: "source")
        }
        return try .json(
            try await services.files.run { [store = services.store] in
                try store.runs(of: source, limit: limit, cursor: cursor)
            })
    }
}

/// How people name a configuration.
package enum ConfigurationSource: Hashable, Sendable {
    case digest(Digest)
    /// Without a version: the newest.
    case name(ConfigurationName, version: Int?)

    static let expected = "a configuration: use a digest, NAME or NAME@VERSION"

    init?(_ text: String) {
        if let digest = Digest(text) {
            self = .digest(digest)
            return
        }
        let parts = text.split(separator: "@", omittingEmptySubsequences: false)
        guard parts.count <= 2, let name = ConfigurationName(rawValue: String(parts[0])) else { return nil }
        guard parts.count == 2 else {
            self = .name(name, version: nil)
            return
        }
        guard let version = Int(parts[1]), version >= 1 else { return nil }
        self = .name(name, version: version)
    }
}

extension Store {
    /// Nil for a name or version that does not exist.
    func configurationDigest(of source: ConfigurationSource) throws -> Digest? {
        switch source {
        case .digest(let digest): digest
        case .name(let name, let version): try configurationDigest(name: name, version: version)
        }
    }
}
