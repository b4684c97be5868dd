// Who we are at which registry: Docker's own file, so that `docker login` is all it takes. Secrets are never printed.
import Foundation
import JobModel

/// A user name and password, or an identity token. Prints nothing of itself.
package struct RegistryLogin: Sendable, CustomStringConvertible {
    let user: String
    let password: String
    /// An OAuth refresh token in place of the password.
    let identityToken: String?
    package var description: String { "•••" }
    var basic: String { Data("\(user):\(password)".utf8).base64EncodedString() }
}

/// Looks logins up when they are needed, so that a `docker login` counts at once.
package struct RegistryCredentials: Sendable {
    private let file: String?

    /// - Parameter file: Docker's configuration file; nil for no credentials at all.
    package init(file: String?) { self.file = file }

    /// `$DOCKER_CONFIG/config.json`, or `~/.docker/config.json`.
    package static func standard(environment: [String: String]) -> RegistryCredentials {
        if let folder = environment["DOCKER_CONFIG"], !folder.isEmpty { return RegistryCredentials(file: folder + "/config.json") }
        return RegistryCredentials(file: environment["HOME"].map { $0 + "/.docker/config.json" })
    }

    /// The login for a registry, nil if there is none or the file cannot be read.
    func login(for registry: String) -> RegistryLogin? {
        guard let file, let data = FileManager.default.contents(atPath: file), data.count <= 1 << 20,
            let json = try? JSONParser.parse(Array(data)).json  // allowed: a file that is not JSON holds no login
        else { return nil }
        for key in Self.keys(for: registry) {
            if let entry = json[key: "auths"]?[key: key], let login = Self.login(entry) { return login }
        }
        let helper = json[key: "credHelpers"]?[key: registry] ?? json[key: "credsStore"]
        if case .string(let name) = helper, name.allSatisfy({ $0.isLetter || $0.isNumber || $0 == "-" }) {
            return Self.ask("docker-credential-\(name)", for: Self.keys(for: registry)[0])
        }
        return nil
    }

    /// Docker Hub is known under an address of its own.
    private static func keys(for registry: String) -> [String] {
        registry == "docker.io"
            ? ["https://index.docker.io/v1/", "docker.io", "registry-1.docker.io"] : [registry, "https://" + registry, "http://" + registry]
    }

    private static func login(_ entry: JSONValue) -> RegistryLogin? {
        func text(_ key: String) -> String? { if case .string(let text) = entry[key: key] { text } else { nil } }
        var user = text("username") ?? ""
        var password = text("password") ?? ""
        if let auth = text("auth"), let data = Data(base64Encoded: auth), let pair = String(validating: data, as: UTF8.self),
            let colon = pair.firstIndex(of: ":")
        {
            user = String(pair[..<colon])
            password = String(pair[pair.index(after: colon)...].prefix { $0 != "\0" })
        }
        let identityToken = text("identitytoken").flatMap { $0.isEmpty ? nil : $0 }
        guard !user.isEmpty || identityToken != nil else { return nil }
        return RegistryLogin(user: user, password: password, identityToken: identityToken)
    }

    /// Docker's credential helper protocol: the server's name in, JSON out.
    private static func ask(_ helper: String, for server: String) -> RegistryLogin? {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = [helper, "get"]
        let (input, output) = (Pipe(), Pipe())
        process.standardInput = input
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        guard (try? process.run()) != nil else { return nil }  // allowed: a helper that is missing knows no login
        input.fileHandleForWriting.write(Data(server.utf8))
        input.fileHandleForWriting.closeFile()
        let answer = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0, let json = try? JSONParser.parse(Array(answer)).json,  // allowed: as above
            case .string(let user) = json[key: "Username"], case .string(let secret) = json[key: "Secret"]
        else { return nil }
        return user == "<token>"
            ? RegistryLogin(user: "", password: "", identityToken: secret) : RegistryLogin(user: user, password: secret, identityToken: nil)
    }
}
