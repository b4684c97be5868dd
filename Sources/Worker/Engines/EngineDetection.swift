// Which engine this host has: the first that answers, and why the others did not.
import AsyncHTTPClient
import Foundation
import JobModel

/// What `--engine` may say.
package enum EngineChoice: String, CaseIterable, Sendable { case auto, docker, podman }

/// An engine that answered.
package struct DetectedEngine: Sendable {
    package let flavor: DockerEngine.Flavor
    package let socket: String
    package let version: String
}

package enum EngineDetection {
    /// Asks each candidate socket who it is.
    /// - Throws: ``EngineError`` with a sentence that says of each why it cannot be used.
    package static func find(_ choice: EngineChoice, http: HTTPClient, environment: [String: String]) async throws(EngineError) -> DetectedEngine {
        var reasons: [String] = []
        for socket in candidates(environment) {
            do throws(EngineError) {
                let engine = try await ask(socket, http)
                if choice == .auto || choice.rawValue == engine.flavor.rawValue { return engine }
                reasons.append("\(socket) is \(engine.flavor.rawValue)")
            } catch {
                reasons.append("\(socket): \(error)")
            }
        }
        throw .unavailable(
            "no container engine (\(choice.rawValue)) was found: " + (reasons.isEmpty ? "no socket exists" : reasons.joined(separator: "; "))
                + ": start Docker or 'podman system service', or set DOCKER_HOST=unix:///path")
    }

    private static func candidates(_ environment: [String: String]) -> [String] {
        var sockets: [String] = []
        for name in ["DOCKER_HOST", "CONTAINER_HOST"] {
            if let host = environment[name], host.hasPrefix("unix://") { sockets.append(String(host.dropFirst(7))) }
        }
        sockets += ["/var/run/docker.sock", "/run/podman/podman.sock"]
        if let folder = environment["XDG_RUNTIME_DIR"] { sockets += [folder + "/docker.sock", folder + "/podman/podman.sock"] }
        return sockets.filter { FileManager.default.fileExists(atPath: $0) }
    }

    private static func ask(_ socket: String, _ http: HTTPClient) async throws(EngineError) -> DetectedEngine {
        struct Version: Decodable {
            struct Component: Decodable { var Name: String }
            var Version: String
            var Components: [Component]?
        }
        let answer = try await EngineConnection(http: http, socket: socket).call(.GET, "/version", timeout: .seconds(10))
        guard answer.status == 200 else { throw .unavailable("it answers \(answer.status)") }
        let version = try answer.decode(Version.self)
        let isPodman = version.Components?.contains { $0.Name.contains("Podman") } ?? false
        return DetectedEngine(flavor: isPodman ? .podman : .docker, socket: socket, version: version.Version)
    }
}
