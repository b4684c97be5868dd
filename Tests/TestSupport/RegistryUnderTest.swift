// Debian's docker-registry on 127.0.0.1, with its own storage: open, or with basic auth by a bcrypt htpasswd file.
// Invariant: process and files are gone afterwards, also when a test fails, and soon after the test process died.
import Foundation

/// A registry that only this test uses.
package final class RegistryUnderTest: Sendable {
    /// Who may pull and push, where the registry asks.
    package struct Login: Sendable {
        package let user: String
        package let password: String
        package init(user: String, password: String) {
            self.user = user
            self.password = password
        }
    }

    package let port: Int
    /// `127.0.0.1:<port>`.
    package var address: String { "127.0.0.1:\(port)" }
    private let login: Login?
    /// Where its authority stands, as `<address>/ca.crt`, if it speaks HTTPS.
    package var certificateFolder: String { folder + "/certs.d" }
    private let folder: String
    private let daemon: DaemonUnderTest

    /// Runs `body` with a registry that answers.
    /// - Parameters:
    ///   - login: nil for a registry that is open to all.
    ///   - tls: it speaks HTTPS, with a certificate of an authority that nobody knows.
    package static func with(
        login: Login? = nil, tls: Bool = false, _ body: (RegistryUnderTest) async throws -> Void
    ) async throws {
        let registry = try await start(login: login, tls: tls)
        do {
            try await body(registry)
        } catch {
            await registry.stop()
            throw error
        }
        await registry.stop()
    }

    /// For a registry that must outlive one function; ``stop()`` it.
    package static func start(login: Login? = nil, tls: Bool = false) async throws -> RegistryUnderTest {
        let folder = try temporaryFolder("registry")
        do {
            return try await RegistryUnderTest(folder: folder, login: login, tls: tls)
        } catch {
            removeFolder(folder)
            throw error
        }
    }

    private init(folder: String, login: Login?, tls: Bool) async throws {
        self.folder = folder
        self.login = login
        if tls { try await Self.makeCertificate(in: folder) }
        let keys = tls ? ", tls: {certificate: \(folder)/server.crt, key: \(folder)/server.key}" : ""
        var settings = """
            version: 0.1
            log: {level: info}
            storage: {filesystem: {rootdirectory: \(folder)/data}, delete: {enabled: true}}
            http: {addr: "127.0.0.1:0"\(keys)}

            """
        if let login {
            let made = try await runProcess("htpasswd", ["-Bbn", login.user, login.password])
            guard made.exitCode == 0 else { throw ProcessFailure(description: "htpasswd: \(made)") }
            try made.output.write(toFile: folder + "/htpasswd", atomically: true, encoding: .utf8)
            settings += "auth: {htpasswd: {realm: test, path: \(folder)/htpasswd}}\n"
        }
        try settings.write(toFile: folder + "/config.yml", atomically: true, encoding: .utf8)
        daemon = try DaemonUnderTest("registry", "docker-registry", ["serve", folder + "/config.yml"], folder: folder)
        do {
            port = try await Self.portInLog(folder + "/registry.log")
        } catch {
            await daemon.stop()
            throw error
        }
        if tls {
            let place = "\(folder)/certs.d/127.0.0.1:\(port)"
            try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
            try FileManager.default.copyItem(atPath: folder + "/server.crt", toPath: place + "/ca.crt")
        }
    }

    /// A certificate for 127.0.0.1 that is its own authority.
    private static func makeCertificate(in folder: String) async throws {
        let made = try await runProcess(
            "openssl",
            [
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                "-subj", "/CN=registry under test", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout",
                folder + "/server.key", "-out", folder + "/server.crt",
            ])
        guard made.exitCode == 0 else { throw ProcessFailure(description: "openssl: \(made)") }
    }

    private static func portInLog(_ path: String) async throws -> Int {
        func port() throws -> Int? {
            try String(contentsOfFile: path, encoding: .utf8).firstMatch(of: #/listening on 127\.0\.0\.1:(\d+)/#)
                .flatMap { Int($0.1) }
        }
        try await eventually("docker-registry listens") { try port() != nil }
        return try port() ?? 0
    }

    /// Ends the registry and removes all that it stored. Harmless when repeated.
    package func stop() async {
        await daemon.stop()
        removeFolder(folder)
    }

    /// Pushes with skopeo; unchanged, unless `options` ask for a conversion.
    /// - Parameters:
    ///   - source: as skopeo names it: `oci:/path:tag`, `docker-archive:/path`.
    ///   - name: `repository:tag`.
    /// - Returns: the text of the digest that the registry has it under.
    package func push(_ source: String, as name: String, options: [String] = ["--preserve-digests"]) async throws
        -> String
    {
        var arguments = ["copy", "--dest-tls-verify=false"] + options
        if let login { arguments += ["--dest-creds", "\(login.user):\(login.password)"] }
        let digestFile = folder + "/digest"
        arguments += ["--digestfile", digestFile, source, "docker://\(address)/\(name)"]
        let copy = try await runProcess("skopeo", arguments)
        guard copy.exitCode == 0 else { throw ProcessFailure(description: "skopeo: \(copy)") }
        return try String(contentsOfFile: digestFile, encoding: .utf8).trimmingCharacters(in: .whitespacesAndNewlines)
    }
}
