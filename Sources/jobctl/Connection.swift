// Which scheduler a command talks to: --url, $JOBCTL_URL, or the context file that `jobctl up` writes.
import ArgumentParser
import Foundation
import Glibc
import JobModel
import SchedulerClient

/// The options that every command shares.
struct GlobalOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The scheduler, for example http://scheduler:7070.", valueName: "url"))
    var url: String?

    @Option(name: [.customShort("o"), .long], help: "table or json.")
    var output: OutputFormat = .table

    @Flag(name: .shortAndLong, help: "Print ids only.")
    var quiet = false

    func client() throws -> SchedulerClient {
        let environment = ProcessInfo.processInfo.environment
        let context = try? Context.read()  // allowed: without a file, the environment must say it all
        guard let url = url ?? environment["JOBCTL_URL"] ?? context?.url else {
            throw Problem(
                .unavailable, "no scheduler is known: start one with 'jobctl up', or give --url or $JOBCTL_URL")
        }
        let token = environment["JOBCTL_TOKEN"] ?? (url == context?.url ? context?.token : nil) ?? context?.token
        return try SchedulerClient(url: url, token: token)
    }
}

enum OutputFormat: String, ExpressibleByArgument, CaseIterable { case table, json }

/// Scheduler and token, in a file that only its owner may read.
struct Context: Hashable {
    var url: String
    var token: String

    static var path: String {
        let environment = ProcessInfo.processInfo.environment
        if let path = environment["JOBCTL_CONFIG"], !path.isEmpty { return path }
        return (environment["XDG_CONFIG_HOME"] ?? NSHomeDirectory() + "/.config") + "/jobctl/config.yaml"
    }

    /// Reads `url:` and `token:`; a file that others may read is refused.
    static func read() throws -> Context {
        var information = stat()
        guard stat(path, &information) == 0 else { throw Problem(.notFound, "there is no context file \(path)") }
        guard information.st_mode & 0o077 == 0 else {
            throw Problem(.refused, "\(path) holds a token and others may read it: run 'chmod 600 \(path)'")
        }
        guard let data = FileManager.default.contents(atPath: path), data.count <= 64 << 10 else {
            throw Problem(.refused, "\(path) cannot be read")
        }
        var values: [String: String] = [:]
        for line in String(decoding: data, as: UTF8.self).split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 1)
            if parts.count == 2 {
                values[parts[0].trimmingCharacters(in: .whitespaces)] = parts[1].trimmingCharacters(
                    in: CharacterSet(charactersIn: " \""))
            }
        }
        guard let url = values["url"], let token = values["token"] else {
            throw Problem(.refused, "\(path) must have 'url' and 'token'")
        }
        return Context(url: url, token: token)
    }

    /// Replaces the file, mode 0600, as the user who called sudo where there is one.
    func write() throws {
        let folder = (Self.path as NSString).deletingLastPathComponent
        let isNew = !FileManager.default.fileExists(atPath: folder)
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        let temporary = Self.path + ".new"
        unlink(temporary)
        let file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        let text =
            "# Written by 'jobctl up'. Holds a token: keep it to yourself.\nurl: \"\(url)\"\ntoken: \"\(token)\"\n"
        guard file >= 0 else {
            throw Problem(.refused, "\(temporary) cannot be written: \(String(cString: strerror(errno)))")
        }
        let count = text.withCString { Glibc.write(file, $0, text.utf8.count) }
        close(file)
        guard count == text.utf8.count, rename(temporary, Self.path) == 0 else {
            throw Problem(.refused, "\(Self.path) cannot be written")
        }
        let invoker = Invoker.current
        if invoker.throughSudo {
            chown(Self.path, invoker.uid, invoker.gid)
            if isNew { chown(folder, invoker.uid, invoker.gid) }
        }
    }
}

/// Who called: the user behind sudo, if there is one.
struct Invoker {
    let uid: UInt32
    let gid: UInt32
    let name: String
    let throughSudo: Bool

    static var current: Invoker {
        let environment = ProcessInfo.processInfo.environment
        if geteuid() == 0, let uid = environment["SUDO_UID"].flatMap({ UInt32($0) }),
            let gid = environment["SUDO_GID"].flatMap({ UInt32($0) }), uid != 0
        {
            return Invoker(uid: uid, gid: gid, name: environment["SUDO_USER"] ?? "user", throughSudo: true)
        }
        let name = getpwuid(geteuid()).map { String(cString: $0.pointee.pw_name) } ?? "admin"
        return Invoker(uid: geteuid(), gid: getegid(), name: name, throughSudo: false)
    }
}
