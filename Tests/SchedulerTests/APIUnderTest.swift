// A whole scheduler in a temporary folder, called through its router or over a socket. Real store, loop and content
// store.
import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import JobModel
import Logging
import NIOCore
import Scheduler
import TestSupport

/// What a test wants to be otherwise than a scheduler's options are by default.
struct OptionChange: Sendable {
    let apply: @Sendable (inout SchedulerOptions) -> Void
    init(_ apply: @escaping @Sendable (inout SchedulerOptions) -> Void) { self.apply = apply }
}

struct APIUnderTest: Sendable {
    /// Who calls. `ada` and `bob` have the role user.
    enum Who: String, CaseIterable { case ada, bob, admin, worker, nobody }

    struct Answer {
        let status: Int
        let headers: HTTPFields
        let bytes: [UInt8]
        var text: String { String(decoding: bytes, as: UTF8.self) }
        func decoded<Value: Decodable>(_ type: Value.Type) throws -> Value { try WireJSON.decode(type, from: bytes) }
        /// The problem that an error answer holds.
        func problem() throws -> Problem { try decoded(Problem.self) }
    }

    let service: SchedulerService
    let directory: String
    private let client: any TestClientProtocol
    private let tokens: [Who: String]

    var port: Int { client.port ?? 0 }
    func token(of who: Who) -> String { tokens[who] ?? "" }

    /// Runs `body` against a new scheduler, or one on the data of `directory`.
    static func with<Value: Sendable>(
        _ setup: TestingSetup = .router, directory given: String? = nil,
        importLimit: ByteCount? = nil, logLimit: ByteCount? = nil, sessionPatience: Duration? = nil,
        archiveGrace: Duration? = nil, uploadPatience: Duration? = nil, publicURL: String? = nil,
        options change: OptionChange? = nil,
        _ body: @escaping @Sendable (APIUnderTest) async throws -> Value
    ) async throws -> Value {
        let directory =
            given ?? FileManager.default.temporaryDirectory.appending(path: "jobctl-api-\(UUID().uuidString)").path
        defer { if given == nil { removeFolder(directory) } }
        var options = SchedulerOptions(dataDirectory: directory)
        let users: [(Who, Role, UInt32)] = [
            (.ada, .user, 1001), (.bob, .user, 1002), (.admin, .admin, 1000), (.worker, .worker, 0),
        ]
        for (who, role, id) in users {
            let user = Caller(name: UserName(unchecked: who.rawValue), role: role, uid: id, gid: id)
            options.firstUsers.append(
                SchedulerOptions.FirstUser(user: user, tokenFile: "\(directory)/\(who.rawValue).token"))
        }
        change?.apply(&options)
        if let importLimit { options.importLimit = importLimit }
        if let logLimit { options.logLimit = logLimit }
        if let archiveGrace { options.archiveGrace = archiveGrace }
        if let uploadPatience { options.uploadPatience = uploadPatience }
        options.publicURL = publicURL
        if let sessionPatience { options.sessionPatience = sessionPatience }
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let service = try await open(options, logger)
        return try await service.application().test(setup) { client in
            var tokens: [Who: String] = [:]
            for who in Who.allCases where who != .nobody {
                let text = try String(contentsOfFile: "\(directory)/\(who.rawValue).token", encoding: .utf8)
                tokens[who] = text.trimmingCharacters(in: .whitespacesAndNewlines)
            }
            return try await body(APIUnderTest(service: service, directory: directory, client: client, tokens: tokens))
        }
    }

    /// The lock of a folder that was used before goes with the last task of that scheduler, or with a program that
    /// another test was starting at that moment.
    private static func open(_ options: SchedulerOptions, _ logger: Logger) async throws -> SchedulerService {
        var opened: SchedulerService?
        try await eventually("the data folder is free") {
            do {
                opened = try SchedulerService(options: options, logger: logger)
            } catch let problem as Problem where problem.detail.contains("another scheduler") {
                return false
            }
            return true
        }
        guard let opened else { throw APIFailure(description: "there is no scheduler") }
        return opened
    }

    func call(
        _ method: HTTPRequest.Method, _ uri: String, as who: Who = .ada, headers: HTTPFields = [:], body: [UInt8]? = nil
    ) async throws -> Answer {
        var headers = headers
        if let token = tokens[who], headers[.authorization] == nil { headers[.authorization] = "Bearer \(token)" }
        return try await client.execute(
            uri: uri, method: method, headers: headers, body: body.map { ByteBuffer(bytes: $0) }
        ) { response in
            Answer(status: response.status.code, headers: response.headers, bytes: Array(buffer: response.body))
        }
    }

    func call(
        _ method: HTTPRequest.Method, _ uri: String, as who: Who = .ada, headers: HTTPFields = [:], json: String
    ) async throws -> Answer {
        try await call(method, uri, as: who, headers: headers, body: Array(json.utf8))
    }

    /// Submits and expects to be accepted.
    func submit(_ spec: String, more: String = "", as who: Who = .ada) async throws -> JobDocument {
        let answer = try await call(.post, "/v1/jobs", as: who, json: #"{"spec": \#(spec)\#(more)}"#)
        guard answer.status == 201 else { throw APIFailure(description: answer.text) }
        return try answer.decoded(JobDocument.self)
    }

    /// Imports busybox, with `more` as the content of a file beside it.
    @discardableResult
    func importBusybox(as reference: String = "busybox", more: String? = nil) async throws -> ImageDocument {
        let archive = try await BusyboxArchive.bytes(more: more)
        let answer = try await call(.post, "/v1/images/import?reference=\(reference)", as: .admin, body: archive)
        guard answer.status == 201 else { throw APIFailure(description: answer.text) }
        return try answer.decoded(ImageDocument.self)
    }

    /// One call of the worker protocol.
    func sync(_ request: SyncRequest, worker: String = "node1") async throws -> Answer {
        try await call(.post, "/v1/workers/\(worker)/sync", as: .worker, body: try WireJSON.encode(request))
    }
}

/// A call that should have gone well did not.
struct APIFailure: Error, CustomStringConvertible {
    let description: String
}

/// A digest that names no image.
let absentDigest = "sha256:" + String(repeating: "0", count: 64)
/// A spec that is accepted without any registry: its image is named by digest.
let pinnedSpec = #"{"name": "sleep", "image": "127.0.0.1:1/none@\#(absentDigest)", "command": ["/bin/sleep", "1"]}"#

extension WorkerRegistration {
    static func small(cpus: Int = 4) -> WorkerRegistration {
        WorkerRegistration(
            cpus: CPUAmount(cpus: cpus), memory: ByteCount(bytes: 8 << 30), gpus: [], labels: ["zone": "a"],
            volumes: [:],
            allowedPaths: [], engines: ["docker"], version: "0.1.0")
    }
}

/// A root file system with a static busybox, as a tar.
enum BusyboxArchive {
    static func bytes(more: String? = nil) async throws -> [UInt8] {
        let folder = FileManager.default.temporaryDirectory.appending(path: "jobctl-busybox-\(UUID().uuidString)")
        defer { removeFolder(folder.path) }
        let binaries = folder.appending(path: "root/bin")
        try FileManager.default.createDirectory(at: binaries, withIntermediateDirectories: true)
        try FileManager.default.copyItem(atPath: "/bin/busybox", toPath: binaries.appending(path: "busybox").path)
        for applet in ["sh", "sleep", "cat"] {
            try FileManager.default.createSymbolicLink(
                atPath: binaries.appending(path: applet).path, withDestinationPath: "busybox")
        }
        if let more { try Data(more.utf8).write(to: folder.appending(path: "root/more")) }
        let tar = folder.appending(path: "root.tar").path
        let result = try await runProcess(
            "tar", ["--sort=name", "--mtime=@0", "-C", folder.appending(path: "root").path, "-cf", tar, "."])
        guard result.exitCode == 0 else { throw APIFailure(description: "\(result)") }
        return Array(try Data(contentsOf: URL(filePath: tar)))
    }
}
