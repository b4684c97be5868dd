// Who may call what: the table of routes as a golden file, each line called without a token and with the least, and the
// published description compared with the table.
import Foundation
import HTTPTypes
import JobModel
import Scheduler
import TestSupport
import Testing

@Suite struct APIRoutesTests {
    @Test("the table of routes is the golden one")
    func golden() async throws {
        try await APIUnderTest.with { api in
            try GoldenFile("routes.txt").expect(Routes.listing(Routes.all(api.service.services)))
        }
    }

    @Test("without a token every route but healthz answers 401, whatever else is wrong with the call")
    func noToken() async throws {
        try await APIUnderTest.with { api in
            for route in Routes.all(api.service.services) where route.access != .anyone {
                for headers: HTTPFields in [
                    [:], [.authorization: "Bearer jobctl_wrong"], [.authorization: "Basic !"], [.authorization: "x"],
                ] {
                    let answer = try await api.call(route.method, route.examplePath, as: .nobody, headers: headers)
                    #expect(answer.status == 401, "\(route.method) \(route.path) \(headers)")
                    #expect(answer.headers[.wwwAuthenticate]?.contains("realm=\"jobctl\"") == true)
                }
            }
        }
    }

    @Test("a role that is not allowed gets 403 on every route, and one that is allowed does not")
    func roles() async throws {
        try await APIUnderTest.with { api in
            for route in Routes.all(api.service.services) where route.access != .anyone {
                for (who, role) in [(APIUnderTest.Who.ada, Role.user), (.worker, .worker), (.admin, .admin)] {
                    let answer = try await api.call(route.method, route.examplePath, as: who)
                    #expect(
                        (answer.status == 403) == !route.access.roles.contains(role),
                        "\(route.method) \(route.path) as \(role): \(answer.text)")
                    #expect(
                        answer.status != 401 && answer.status != 500,
                        "\(route.method) \(route.path) as \(role): \(answer.text)")
                }
            }
        }
    }

    @Test("openapi.yaml describes exactly the routes of the table")
    func openapi() async throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let text = try String(contentsOf: root.appending(path: "openapi.yaml"), encoding: .utf8)
        var described: Set<String> = []
        var path = ""
        for line in text.split(separator: "\n").map(String.init) {
            if line.hasPrefix("components:") { break }
            if line.hasPrefix("  /") { path = line.trimmingCharacters(in: CharacterSet(charactersIn: " :")) }
            if line.hasPrefix("    "), !line.hasPrefix("     "), !path.isEmpty {
                described.insert(
                    line.trimmingCharacters(in: CharacterSet(charactersIn: " :")).uppercased() + " " + path)
            }
            if line.hasPrefix("      x-access: ") { described.insert("access \(path) \(line.dropFirst(16))") }
        }
        try await APIUnderTest.with { [described] api in
            var routed: Set<String> = []
            for route in Routes.all(api.service.services) {
                for path in route.path == "/v2/**" ? Self.registryPaths(route.method) : [route.path] {
                    routed.insert("\(route.method.rawValue) \(path)")
                    routed.insert("access \(path) \(route.access.rawValue)")
                }
            }
            #expect(described.subtracting(routed).sorted() == [])
            #expect(routed.subtracting(described).sorted() == [])
        }
    }

    /// What stands behind `/v2/**` for a method.
    private static func registryPaths(_ method: HTTPRequest.Method) -> [String] {
        let (manifests, blobs) = ("/v2/{name}/manifests/{reference}", "/v2/{name}/blobs/{digest}")
        let upload = "/v2/{name}/blobs/uploads/{id}"
        return switch method {
        case .get: [manifests, blobs, upload, "/v2/{name}/tags/list", "/v2/{name}/referrers/{digest}"]
        case .head: [manifests, blobs]
        case .post: ["/v2/{name}/blobs/uploads"]
        case .put: [manifests, upload]
        case .patch: [upload]
        default: [manifests, blobs, upload]
        }
    }

    @Test("healthz needs no token, and an unknown path or method is a problem too")
    func unknown() async throws {
        try await APIUnderTest.with { api in
            let health = try await api.call(.get, "/healthz", as: .nobody)
            #expect(health.text == #"{"status":"ok","version":"0.1.0"}"#)
            let nothing = try await api.call(.get, "/v1/nothing")
            #expect(nothing.status == 404)
            #expect(nothing.headers[.contentType] == "application/problem+json")
            let method = try await api.call(.delete, "/v1/jobs")
            #expect(method.status == 405)
            #expect(method.headers[.allow] == "POST, GET")
            #expect(try method.problem().detail == "'/v1/jobs' does not take DELETE: use POST or GET")
        }
    }
}

extension Route {
    /// The path with something in each place.
    var examplePath: String {
        path.replacing("{id}", with: "1").replacing("{name}", with: "someone").replacing("{attempt}", with: "1.1.1")
            .replacing("{stream}", with: "stdout").replacing("{other}", with: "1.1.1").replacing(
                "{slot}", with: "input"
            ).replacing("{source}", with: "nothing").replacing(
                "{digest}", with: absentDigest
            )
            .replacing(
                "**", with: method == .delete ? "shared/x/blobs/uploads/1" : "shared/x/manifests/\(absentDigest)")
    }
}
