// A jobctl that goes on while the test does other things: on pipes or on a terminal of its own. Invariant: it is gone
// when the test is.
import CLinux
import Foundation
import Synchronization
import TestSupport

/// jobctl with a terminal.
final class JobctlOnTerminal: Sendable {
    private let terminal: Int32
    let process: pid_t
    private let seen = Mutex<[UInt8]>([])
    private let status = Mutex<Int32?>(nil)

    init(_ c: ClusterUnderTest, _ arguments: [String], rows: UInt16, columns: UInt16) throws {
        var path = [CChar](repeating: 0, count: 128)
        terminal = jc_terminal_open(&path, 128)
        guard terminal >= 0 else { throw ProcessFailure(description: "no terminal can be had") }
        _ = jc_terminal_resize(terminal, rows, columns)
        // As a user's shell leaves it.
        var settings = termios()
        tcgetattr(terminal, &settings)
        settings.c_lflag |= tcflag_t(ICANON | ECHO | ISIG)
        tcsetattr(terminal, TCSANOW, &settings)
        let words = ([c.programs + "/jobctl"] + arguments).map { strdup($0) } + [nil]
        let variables = c.environment.merging(["PATH": "/usr/bin:/bin", "TERM": "vt100"]) { $1 }
        let environment = variables.map { strdup("\($0)=\($1)") } + [nil]
        defer { for pointer in words + environment { free(pointer) } }
        process = jc_spawn_on_terminal(c.programs + "/jobctl", words, environment, path)
        guard process > 0 else {
            close(terminal)
            throw ProcessFailure(description: "jobctl does not start")
        }
    }

    deinit {
        if status.withLock({ $0 == nil }) {
            kill(process, SIGKILL)
            waitpid(process, nil, 0)
        }
        close(terminal)
    }

    /// Whether keys go to the program as they are.
    var isRaw: Bool {
        var settings = termios()
        tcgetattr(terminal, &settings)
        return settings.c_lflag & tcflag_t(ICANON | ECHO | ISIG) == 0
    }

    func type(_ text: String) { _ = text.withCString { write(terminal, $0, strlen($0)) } }

    func resize(rows: UInt16, columns: UInt16) { _ = jc_terminal_resize(terminal, rows, columns) }

    /// All that was shown so far.
    var text: String {
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while case let count = read(terminal, &buffer, buffer.count), count > 0 {
            seen.withLock { $0 += buffer[..<count] }
        }
        return seen.withLock { String(decoding: $0, as: UTF8.self) }
    }

    func expect(_ wanted: String) async throws {
        do {
            try await eventually("the terminal shows it") { text.contains(wanted) || ended() != nil }
        } catch {
            throw ProcessFailure(description: "not shown: \(wanted)\n\(text)")
        }
        guard text.contains(wanted) else { throw ProcessFailure(description: "jobctl ended: \(text)") }
    }

    /// As wait(2) packs it; nil while it runs.
    private func ended() -> Int32? {
        status.withLock { status in
            var value: Int32 = 0
            if status == nil, waitpid(process, &value, WNOHANG) == process { status = value }
            return status
        }
    }

    func exitCode() async throws -> Int32 {
        try await eventually("jobctl ends") {
            _ = text
            return ended() != nil
        }
        let value = ended() ?? 0
        return value & 0x7f == 0 ? value >> 8 & 0xff : 128 + value & 0x7f
    }
}

/// jobctl with pipes.
final class JobctlOnPipes: Sendable {
    private let process: Process
    private let output: String

    init(_ c: ClusterUnderTest, _ arguments: [String]) throws {
        output = c.folder + "/output-\(UInt32.random(in: 0 ... .max))"
        _ = FileManager.default.createFile(atPath: output, contents: nil)
        process = Process()
        process.executableURL = URL(filePath: c.programs + "/jobctl")
        process.arguments = arguments
        process.environment = c.environment
        process.standardInput = Pipe()
        process.standardOutput = FileHandle(forWritingAtPath: output)
        process.standardError = process.standardOutput
        try process.run()
    }

    deinit { if process.isRunning { kill(process.processIdentifier, SIGKILL) } }

    /// What it printed on both streams so far.
    var text: String { (try? String(contentsOfFile: output, encoding: .utf8)) ?? "" }

    func expect(_ wanted: String) async throws {
        try await eventually("jobctl prints \(wanted)") { text.contains(wanted) || !process.isRunning }
        guard text.contains(wanted) else { throw ProcessFailure(description: "jobctl ended: \(text)") }
    }

    func signal(_ number: Int32) { kill(process.processIdentifier, number) }

    func exitCode() async throws -> Int32 {
        try await eventually("jobctl ends") { !process.isRunning }
        return process.terminationStatus
    }
}
