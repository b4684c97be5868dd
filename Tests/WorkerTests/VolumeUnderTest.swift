// A volume in a temporary folder, two users, and what the kernel says of mounts. Needs root, as mounts do.
import Foundation
import Glibc
import JobModel
import Synchronization
import TestSupport
import Testing

@testable import Worker

/// One writable volume `data`, one read-only volume `input`.
struct VolumeUnderTest: Sendable {
    let folder: String
    let access: VolumeAccess
    static let ada = Identity(name: UserName(unchecked: "ada"), uid: 1234, gid: 5678)
    static let bob = Identity(name: UserName(unchecked: "bob"), uid: 2345, gid: 5678)

    /// Runs `body`; no mount and no file is left afterwards.
    static func with(allowed: [String] = [], _ body: (VolumeUnderTest) async throws -> Void) async throws {
        let folder = try temporaryFolder("volume")
        // The way down to the volumes is open to all users.
        chmod(folder, 0o755)
        for name in ["data", "input", "outside"] {
            mkdir(folder + "/" + name, 0o755)
            chmod(folder + "/" + name, 0o777)
        }
        let table = try VolumeTable(
            volumes: [Volume("data=\(folder)/data:rw"), Volume("input=\(folder)/input:ro")],
            allowedPaths: allowed.map { folder + "/" + $0 })
        let test = VolumeUnderTest(
            folder: folder, access: VolumeAccess(table: table, mountFolder: folder + "/mounts"))
        let result: Result<Void, any Error>
        do {
            result = .success(try await body(test))
        } catch {
            result = .failure(error)
        }
        test.access.removeLeftovers(except: [])
        try FileManager.default.removeItem(atPath: folder)
        try result.get()
    }

    static func attempt(_ text: String = "42.7.1") throws -> AttemptID { try #require(AttemptID(text)) }

    func mount(
        _ binding: String, _ mode: SlotMode = .ro, slot: String = "slot", attempt: String = "42.7.1",
        as user: Identity = VolumeUnderTest.ada
    ) throws -> String {
        try access.mount(
            try #require(SlotName(rawValue: slot)), mode, at: try #require(Binding(binding)),
            for: Self.attempt(attempt), as: user)
    }

    func publish(
        _ binding: String, slot: String = "slot", attempt: String = "42.7.1", as user: Identity = VolumeUnderTest.ada
    ) throws {
        try access.publish(
            try #require(SlotName(rawValue: slot)), to: try #require(Binding(binding)), for: Self.attempt(attempt),
            as: user)
    }

    /// What went wrong, or an empty text.
    func mountRefusal(_ binding: String, _ mode: SlotMode = .ro) throws -> String {
        do {
            _ = try mount(binding, mode)
            return ""
        } catch let error as VolumeError {
            return error.description
        }
    }

    func publishRefusal(_ binding: String, attempt: String = "42.7.1") throws -> String {
        do {
            try publish(binding, attempt: attempt)
            return ""
        } catch let error as VolumeError {
            return error.description
        }
    }

    /// Mounts again and again; how often which text was in the file `file` there, or that it was refused.
    func outcomes(of rounds: Int, mounting binding: String) throws -> [String: Int] {
        let attempt = try Self.attempt()
        var outcomes: [String: Int] = [:]
        for _ in 0..<rounds {
            let path = try? mount(binding)
            let outcome = path.map { text($0 + "/file") ?? "nothing" } ?? "refused"
            outcomes[outcome, default: 0] += 1
            access.unmount(attempt)
        }
        return outcomes
    }

    func write(_ text: String, _ path: String, owner: UInt32 = 0, mode: mode_t = 0o644) throws {
        let file = path.hasPrefix("/") ? path : folder + "/" + path
        try Data(text.utf8).write(to: URL(filePath: file))
        chmod(file, mode)
        chown(file, owner, owner)
    }

    func makeFolder(_ path: String, owner: UInt32 = 0, mode: mode_t = 0o755) {
        mkdir(folder + "/" + path, mode)
        chmod(folder + "/" + path, mode)
        chown(folder + "/" + path, owner, owner)
    }

    func text(_ path: String) -> String? {
        FileManager.default.contents(atPath: path.hasPrefix("/") ? path : folder + "/" + path)
            .map { String(decoding: $0, as: UTF8.self) }
    }

    func status(_ path: String) throws -> stat {
        var information = stat()
        try #require(lstat(path.hasPrefix("/") ? path : folder + "/" + path, &information) == 0)
        return information
    }

    /// The lines of /proc/self/mountinfo for mount points below `path`.
    static func mounts(below path: String) throws -> [Substring] {
        let table = try String(contentsOfFile: "/proc/self/mountinfo", encoding: .utf8)
        return table.split(separator: "\n").filter { line in
            line.split(separator: " ").dropFirst(4).first?.hasPrefix(path) ?? false
        }
    }
}

/// A thread that does one thing again and again, as fast as it can.
final class Repeater: Sendable {
    private let isOver = Atomic<Bool>(false)
    private let rounds = Atomic<Int>(0)
    private let ended = DispatchSemaphore(value: 0)

    init(_ body: @escaping @Sendable () -> Void) {
        Thread.detachNewThread { [self] in
            while !isOver.load(ordering: .relaxed) {
                body()
                rounds.add(1, ordering: .relaxed)
            }
            ended.signal()
        }
    }

    /// Waits for its end; how often it did it.
    func stop() -> Int {
        isOver.store(true, ordering: .relaxed)
        ended.wait()
        return rounds.load(ordering: .relaxed)
    }
}
