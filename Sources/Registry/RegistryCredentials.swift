// Who we are at which registry: Docker's own file, so that `docker login` is all it takes. Secrets are never printed.
// Blocks on files and helper programs, so it is asked on a thread of its own.
import Foundation
import JobModel
import OCI

/// A user name and password, or an identity token. Prints nothing of itself.
package struct RegistryLogin: Sendable, CustomStringConvertible, CustomReflectable {
    let user: String
    let password: String
    /// An OAuth refresh token in place of the password.
    let identityToken: String?
    package var description: String { "•••" }
    package var customMirror: Mirror { Mirror(self, children: []) }
    var basic: String { Data("\(user):\(password)".utf8).base64EncodedString() }
}

/// Looks logins up when they are needed, so that a `docker login` counts at once.
package struct RegistryCredentials: Sendable {
    private let file: String?
    private let searchPath: String?
    private static let largestFile = 1 << 20

    /// - Parameters:
    ///   - file: Docker's configuration file; nil for no credentials at all.
    ///   - searchPath: where credential helpers are looked for; nil for this process's `PATH`.
    package init(file: String?, searchPath: String? = nil) {
        self.file = file
        self.searchPath = searchPath
    }

    /// `$DOCKER_CONFIG/config.json`, or `~/.docker/config.json`.
    package static func standard(environment: [String: String]) -> RegistryCredentials {
        if let folder = environment["DOCKER_CONFIG"], !folder.isEmpty {
            return RegistryCredentials(file: folder + "/config.json")
        }
        return RegistryCredentials(file: environment["HOME"].map { $0 + "/.docker/config.json" })
    }

    /// The login for a registry, nil if there is none or the file cannot be read.
    func login(for registry: String) -> RegistryLogin? {
        guard let file, let handle = FileHandle(forReadingAtPath: file) else { return nil }
        guard let data = try? handle.read(upToCount: Self.largestFile),  // allowed: an unreadable file holds no login
            let json = try? parseJSON(Array(data), limit: Self.largestFile, named: file)  // allowed: as above
        else { return nil }
        let names = Self.names(of: registry)
        // The order in which Docker looks: a helper for this registry, the helper for all, the file itself.
        if case .object(let helpers) = json[key: "credHelpers"],
            case .string(let helper) = helpers.first(where: { names.contains(Self.host($0.key)) })?.value
        {
            return CredentialHelper(name: helper, searchPath: searchPath)?.login(for: Self.server(registry))
        }
        if case .string(let helper) = json[key: "credsStore"], !helper.isEmpty,
            let login = CredentialHelper(name: helper, searchPath: searchPath)?.login(for: Self.server(registry))
        {
            return login
        }
        guard case .object(let entries) = json[key: "auths"] else { return nil }
        return entries.lazy.filter { names.contains(Self.host($0.key)) }.compactMap { Self.login($0.value) }.first
    }

    /// Docker Hub is known under several names.
    private static func names(of registry: String) -> Set<String> {
        registry == "docker.io" ? ["docker.io", "index.docker.io", "registry-1.docker.io"] : [registry]
    }

    private static func server(_ registry: String) -> String {
        registry == "docker.io" ? "https://index.docker.io/v1/" : registry
    }

    /// Entries are hosts, or addresses of which only the host counts.
    private static func host(_ key: String) -> String {
        var rest = Substring(key)
        for scheme in ["https://", "http://"] where rest.hasPrefix(scheme) { rest = rest.dropFirst(scheme.count) }
        return String(rest.prefix { $0 != "/" })
    }

    private static func login(_ entry: JSONValue) -> RegistryLogin? {
        func text(_ key: String) -> String? { if case .string(let text) = entry[key: key] { text } else { nil } }
        var user = text("username") ?? ""
        var password = text("password") ?? ""
        if let auth = text("auth"), let data = Data(base64Encoded: auth),
            let pair = String(validating: data, as: UTF8.self), let colon = pair.firstIndex(of: ":")
        {
            user = String(pair[..<colon])
            password = String(pair[pair.index(after: colon)...].prefix { $0 != "\0" })
        }
        let identityToken = text("identitytoken").flatMap { $0.isEmpty ? nil : $0 }
        guard !user.isEmpty || identityToken != nil else { return nil }
        return RegistryLogin(user: user, password: password, identityToken: identityToken)
    }
}

/// Docker's credential helper protocol: `docker-credential-NAME get`, the server's name in, JSON out.
private struct CredentialHelper {
    private let program: String
    private let searchPath: String?
    /// Seconds that a helper may take.
    private static let patience = 20.0

    init?(name: String, searchPath: String?) {
        let isPlain = name.utf8.allSatisfy { byte in
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || byte == UInt8(ascii: "-")
                || byte == UInt8(ascii: "_")
        }
        guard isPlain, (1...64).contains(name.utf8.count) else { return nil }
        program = "docker-credential-" + name
        self.searchPath = searchPath
    }

    func login(for server: String) -> RegistryLogin? {
        let process = Process()
        process.currentDirectoryURL = URL(filePath: "/")
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = [program, "get"]
        if let searchPath {
            process.environment = ProcessInfo.processInfo.environment.merging(["PATH": searchPath]) { $1 }
        }
        let (input, output) = (Pipe(), Pipe())
        process.standardInput = input
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        // Into the pipe's buffer before there is a reader that could go away and have the write kill us.
        input.fileHandleForWriting.write(Data(server.utf8))
        input.fileHandleForWriting.closeFile()
        guard (try? process.run()) != nil else { return nil }  // allowed: a helper that is missing knows no login
        let deadline = DispatchWorkItem { process.terminate() }
        DispatchQueue.global().asyncAfter(deadline: .now() + Self.patience, execute: deadline)
        let answer = try? output.fileHandleForReading.read(upToCount: 1 << 16)  // allowed: no answer is no login
        if process.isRunning, (answer?.count ?? 0) >= 1 << 16 { process.terminate() }
        process.waitUntilExit()
        deadline.cancel()
        guard process.terminationStatus == 0, let answer,
            let json = try? parseJSON(Array(answer), limit: 1 << 16, named: program),  // allowed: nonsense is no login
            case .string(let user) = json[key: "Username"], case .string(let secret) = json[key: "Secret"]
        else { return nil }
        return user == "<token>"
            ? RegistryLogin(user: "", password: "", identityToken: secret)
            : RegistryLogin(user: user, password: secret, identityToken: nil)
    }
}
