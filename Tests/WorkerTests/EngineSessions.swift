// Sessions of real engines: a second program in a running container is confined like the first, its bytes and exit code
// are exact, its terminal is one, and nothing of it stays.
import Foundation
import JobModel
import TestSupport
import Testing

@testable import Worker

/// A session and what it was told to be.
private struct OpenSession {
    let session: any ContainerSession
    let processes: SessionProcesses

    /// All that comes, and the exit code.
    func finish() async throws -> (output: Output, code: UInt8) {
        var output = Output()
        while let piece = try await session.read() { output.append(piece) }
        return (output, try await session.exitCode())
    }

    /// Reads until the output ends with `text`.
    func expect(_ text: String) async throws {
        var output = Output()
        while !output.text.hasSuffix(text), let piece = try await session.read() { output.append(piece) }
        #expect(output.text.hasSuffix(text), "\(output.text)")
    }
}

extension EngineWorld {
    /// Runs `body` beside a container that sleeps.
    fileprivate func beside(
        mounts: [ContainerMount] = [], _ body: (any ContainerEngine, String) async throws -> Void
    ) async throws {
        try await withEngine { engine, _ in
            try await body(engine, try await engine.begin(specification(["sleep", "1000"], mounts: mounts)))
        }
    }

    fileprivate func session(
        _ engine: any ContainerEngine, _ container: String, _ command: [String], tty: Bool = false,
        _ body: (OpenSession) async throws -> Void
    ) async throws {
        let id = String(UInt64.random(in: 0 ... .max), radix: 36)
        let request = SessionRequest(command: command, tty: tty, rows: 40, columns: 100, term: "vt100")
        let launch = SessionLaunch(id: id, request: request)
        let open = OpenSession(
            session: try await engine.session(in: container, launch), processes: SessionProcesses(id: id))
        // What never comes is not waited for without end: reading stops, and the test says what did come.
        let watch = Task {
            do { try await Task.sleep(for: .seconds(60)) } catch { return }
            await open.session.close()
        }
        let result: Result<Void, any Error>
        do { result = .success(try await body(open)) } catch { result = .failure(error) }
        watch.cancel()
        await onThread { open.processes.end() }
        await open.session.close()
        try result.get()
    }

    /// What a script prints and its code.
    fileprivate func run(_ engine: any ContainerEngine, _ container: String, _ script: String, tty: Bool = false)
        async throws -> (output: Output, code: UInt8)
    {
        var result: (output: Output, code: UInt8) = (Output(), 0)
        try await session(engine, container, ["sh", "-c", script], tty: tty) { result = try await $0.finish() }
        return result
    }
}

extension EnginePromise {
    /// For real engines only.
    static let sessions = [
        EnginePromise("a session has the user, the mounts and the confinement of its container") { world in
            let data = world.folder + "/beside"
            try FileManager.default.createDirectory(atPath: data, withIntermediateDirectories: true)
            try "from the host".write(toFile: data + "/file", atomically: true, encoding: .utf8)
            let mount = ContainerMount(source: data, target: "/data", readOnly: true)
            try await world.beside(mounts: [mount]) { engine, container in
                let script = """
                    id -u; id -g; id -G; grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status | tr -d '\\t'
                    cat /data/file; echo; for f in / /data; do touch $f/x 2>&1 | grep -c -i 'read-only'; done
                    echo $FROM_IMAGE $LANG $PWD; [ -t 0 ] || echo no terminal
                    ls /sys/class/net; ls /proc/self/fd | wc -l
                    """
                let (output, code) = try await world.run(engine, container, script)
                let zeros = String(repeating: "0", count: 16)
                let capabilities = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map { "\($0):\(zeros)\n" }
                    .joined()
                #expect(
                    output.text == "1234\n5678\n5678\n" + capabilities
                        + "NoNewPrivs:1\nSeccomp:2\nfrom the host\n1\n1\n"
                        + "yes en_GB.UTF-8 /data\nno terminal\nlo\n4\n")
                #expect(output.errors == "" && code == 0)
            }
        },
        EnginePromise("a session's streams and its exit code are its program's own") { world in
            try await world.beside { engine, container in
                let (output, code) = try await world.run(engine, container, "echo out; echo err >&2; exit 7")
                #expect(output == Output(stdout: Array("out\n".utf8), stderr: Array("err\n".utf8)) && code == 7)
                #expect(try await world.run(engine, container, "kill -9 $$").code == 137)
                #expect(try await world.run(engine, container, "exit 255").code == 255)
            }
        },
        EnginePromise("a program that is not there ends its session with the code for that, or a sentence") { world in
            try await world.beside { engine, container in
                do {
                    var code: UInt8 = 0
                    try await world.session(engine, container, ["/no/such"]) { code = try await $0.finish().code }
                    #expect(code == 127 || code == 126)
                } catch let error as EngineError {
                    #expect(error.description.contains("/no/such"), "\(error)")
                }
            }
        },
        EnginePromise("a mebibyte of any bytes goes through a session and comes back") { world in
            try await world.beside { engine, container in
                // With every pair of bytes: nothing is a command to an engine.
                let bytes = (0..<1 << 20).map { UInt8(truncatingIfNeeded: $0 & 1 == 0 ? $0 >> 9 : $0 >> 1) }
                try await world.session(engine, container, ["cat"]) { open in
                    async let result = open.finish()
                    for start in stride(from: 0, to: bytes.count, by: 60_000) {
                        await open.session.write(Array(bytes[start..<min(start + 60_000, bytes.count)]))
                    }
                    await open.session.endInput()
                    let (output, code) = try await result
                    #expect(output.stdout == bytes && code == 0)
                }
            }
        },
        EnginePromise("a session's terminal is one, has the window's size and takes Ctrl-C and Ctrl-D") { world in
            try await world.beside { engine, container in
                let script = """
                    tty; while [ "$(stty size)" != "40 100" ]; do sleep 0.05; done; echo $TERM first
                    while [ "$(stty size)" != "50 132" ]; do sleep 0.05; done; echo second
                    trap 'i=1' INT; echo ready; while [ -z "$i" ]; do sleep 0.05; done; echo interrupted
                    cat; exit 5
                    """
                try await world.session(engine, container, ["sh", "-c", script], tty: true) { open in
                    try await open.expect("vt100 first\r\n")
                    await open.session.resize(rows: 50, columns: 132)
                    try await open.expect("ready\r\n")
                    await open.session.write([3])
                    try await open.expect("interrupted\r\n")
                    await open.session.write(Array("word\n".utf8))
                    try await open.expect("word\r\nword\r\n")
                    await open.session.endInput()
                    #expect(try await open.finish().code == 5)
                }
            }
        },
        EnginePromise("a session without a terminal takes signals") { world in
            try await world.beside { engine, container in
                let script = "trap 'echo got it; exit 9' TERM; echo ready; while :; do sleep 0.05; done"
                try await world.session(engine, container, ["sh", "-c", script]) { open in
                    try await open.expect("ready\n")
                    open.processes.signal(SIGTERM)
                    let (output, code) = try await open.finish()
                    #expect(output.text == "got it\n" && code == 9)
                }
            }
        },
        EnginePromise("nothing of a session stays in the container, and the container goes on") { world in
            try await world.beside { engine, container in
                let script = """
                    sleep 1001 & setsid sleep 1002 & trap '' HUP; sleep 1003 & echo ready; while :; do sleep 0.05; done
                    """
                try await world.session(engine, container, ["sh", "-c", script]) { try await $0.expect("ready\n") }
                try await world.session(engine, container, ["sh", "-c", script], tty: true) {
                    try await $0.expect("ready\r\n")
                }
                let (output, _) = try await world.run(engine, container, "ps -o args | grep '^sleep 1'")
                #expect(output.text == "sleep 1000\n")
            }
        },
        EnginePromise("there is no session beside a container that has ended or does not exist") { world in
            try await world.withEngine { engine, _ in
                let id = try await engine.begin(world.specification(["true"]))
                _ = try await engine.wait(id)
                for container in [id, "7.7.7"] {
                    let launch = SessionLaunch(id: "x", request: SessionRequest(command: ["true"], tty: false))
                    await #expect(throws: EngineError.self) { _ = try await engine.session(in: container, launch) }
                }
            }
        },
    ]
}

@Suite struct EngineSessionRefusalTests {
    @Test("an engine that has no sessions says so")
    func simulated() async throws {
        let engine = SimulatedEngine(host: SimulatedHost(available: []), worker: "w")
        let launch = SessionLaunch(id: "x", request: SessionRequest(command: ["sh"], tty: true))
        await #expect(throws: EngineError.refused("the engine 'simulated' cannot run a second program in a container"))
        {
            _ = try await engine.session(in: "1", launch)
        }
    }
}
