// The context file, which `jobctl up` writes: a scheduler and a token for it, for its owner's eyes only. And who that
// owner is when sudo stands between.
import Foundation
import Glibc
import JobModel

/// Scheduler and token.
struct Context: Hashable {
    var url: String
    var token: String

    private static let limit = 64 << 10

    static var path: String {
        let environment = ProcessInfo.processInfo.environment
        if let path = environment["JOBCTL_CONFIG"], !path.isEmpty { return path }
        return (environment["XDG_CONFIG_HOME"] ?? Home.path + "/.config") + "/jobctl/config.yaml"
    }

    /// Reads `url:` and `token:`.
    /// - Returns: nil if there is no such file.
    /// - Throws: ``Problem`` if others may read it, or it does not say what it must.
    static func read() throws(Problem) -> Context? {
        var information = stat()
        guard stat(path, &information) == 0 else { return nil }
        guard information.st_mode & 0o077 == 0 else {
            throw Problem(.refused, "\(path) holds a token and others may read it: run 'chmod 600 \(path)'")
        }
        guard information.st_size <= limit, let data = FileManager.default.contents(atPath: path) else {
            throw Problem(.refused, "\(path) cannot be read")
        }
        var values: [String: String] = [:]
        for line in String(decoding: data, as: UTF8.self).split(separator: "\n") where !line.hasPrefix("#") {
            let parts = line.split(separator: ":", maxSplits: 1)
            if parts.count == 2 {
                values[parts[0].trimmingCharacters(in: .whitespaces)] = parts[1].trimmingCharacters(
                    in: CharacterSet(charactersIn: " \"'\r"))
            }
        }
        guard let url = values["url"], let token = values["token"] else {
            throw Problem(.refused, "\(path) must have the lines 'url: …' and 'token: …'")
        }
        return Context(url: url, token: token)
    }

    /// Replaces the file, mode 0600, as the user who called sudo where there is one.
    func write() throws(Problem) {
        let folder = (Self.path as NSString).deletingLastPathComponent
        let isNew = !FileManager.default.fileExists(atPath: folder)
        do {
            try FileManager.default.createDirectory(
                atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        } catch {
            throw Problem(.refused, "\(folder) cannot be made: \(error.localizedDescription)")
        }
        let temporary = Self.path + ".new"
        unlink(temporary)
        let file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard file >= 0 else {
            throw Problem(.refused, "\(temporary) cannot be written: \(String(cString: strerror(errno)))")
        }
        let text =
            "# Written by 'jobctl up'. Holds a token: keep it to yourself.\nurl: \"\(url)\"\ntoken: \"\(token)\"\n"
        let count = text.withCString { Glibc.write(file, $0, text.utf8.count) }
        close(file)
        guard count == text.utf8.count, rename(temporary, Self.path) == 0 else {
            throw Problem(.refused, "\(Self.path) cannot be written: \(String(cString: strerror(errno)))")
        }
        let invoker = Invoker.current
        if invoker.throughSudo {
            chown(Self.path, invoker.uid, invoker.gid)
            if isNew { chown(folder, invoker.uid, invoker.gid) }
        }
    }
}

/// Where the user's files are: what $HOME says, as every shell understands `~`.
enum Home {
    static var path: String {
        let environment = ProcessInfo.processInfo.environment
        if let home = environment["HOME"], home.hasPrefix("/") { return home }
        return NSHomeDirectory()
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
