// The promises of ContainerEngine, one check each, held by every engine. What only a real container can show stands
// in EngineContainerRules.swift.
import Foundation
import JobModel
import TestSupport
import Testing

@testable import Worker

/// One promise or rule.
struct EnginePromise: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let check: @Sendable (EngineWorld) async throws -> Void

    init(_ sentence: String, _ check: @escaping @Sendable (EngineWorld) async throws -> Void) {
        testDescription = sentence
        self.check = check
    }

    static let all = ends + outputs + lives
}

@Suite("dockerd keeps the promises of an engine", .serialized, InEngineWorld(.docker), .timeLimit(.minutes(20)))
struct EngineDockerTests {
    @Test("a promise is kept", arguments: EnginePromise.all)
    func promise(_ promise: EnginePromise) async throws { try await promise.check(try #require(EngineWorld.current)) }

    @Test("a container rule is held", arguments: EnginePromise.rules)
    func rule(_ rule: EnginePromise) async throws { try await rule.check(try #require(EngineWorld.current)) }

    @Test("a session is what it should be", arguments: EnginePromise.sessions)
    func session(_ promise: EnginePromise) async throws { try await promise.check(try #require(EngineWorld.current)) }

    @Test("services are what they should be", arguments: EnginePromise.services)
    func services(_ promise: EnginePromise) async throws { try await promise.check(try #require(EngineWorld.current)) }
}

@Suite("podman keeps the promises of an engine", .serialized, InEngineWorld(.podman), .timeLimit(.minutes(20)))
struct EnginePodmanTests {
    @Test("a promise is kept", arguments: EnginePromise.all)
    func promise(_ promise: EnginePromise) async throws { try await promise.check(try #require(EngineWorld.current)) }

    @Test("a container rule is held", arguments: EnginePromise.rules)
    func rule(_ rule: EnginePromise) async throws { try await rule.check(try #require(EngineWorld.current)) }

    @Test("a session is what it should be", arguments: EnginePromise.sessions)
    func session(_ promise: EnginePromise) async throws { try await promise.check(try #require(EngineWorld.current)) }

    @Test("services are what they should be", arguments: EnginePromise.services)
    func services(_ promise: EnginePromise) async throws { try await promise.check(try #require(EngineWorld.current)) }
}

@Suite("crun keeps the promises of an engine", .serialized, InEngineWorld(.oci(.crun)), .timeLimit(.minutes(20)))
struct EngineCrunTests {
    @Test("a promise is kept", arguments: EnginePromise.all)
    func promise(_ promise: EnginePromise) async throws { try await promise.check(try #require(EngineWorld.current)) }

    @Test("a container rule is held", arguments: EnginePromise.rules)
    func rule(_ rule: EnginePromise) async throws { try await rule.check(try #require(EngineWorld.current)) }

    @Test("a session is what it should be", arguments: EnginePromise.sessions)
    func session(_ promise: EnginePromise) async throws { try await promise.check(try #require(EngineWorld.current)) }

    @Test("services are what they should be", arguments: EnginePromise.services)
    func services(_ promise: EnginePromise) async throws { try await promise.check(try #require(EngineWorld.current)) }
}

@Suite("runc keeps the promises of an engine", .serialized, InEngineWorld(.oci(.runc)), .timeLimit(.minutes(20)))
struct EngineRuncTests {
    @Test("a promise is kept", arguments: EnginePromise.all)
    func promise(_ promise: EnginePromise) async throws { try await promise.check(try #require(EngineWorld.current)) }

    @Test("a container rule is held", arguments: EnginePromise.rules)
    func rule(_ rule: EnginePromise) async throws { try await rule.check(try #require(EngineWorld.current)) }

    @Test("a session is what it should be", arguments: EnginePromise.sessions)
    func session(_ promise: EnginePromise) async throws { try await promise.check(try #require(EngineWorld.current)) }

    @Test("services are what they should be", arguments: EnginePromise.services)
    func services(_ promise: EnginePromise) async throws { try await promise.check(try #require(EngineWorld.current)) }
}

@Suite(
    "the simulated engine keeps the promises of an engine", .serialized, InEngineWorld(.simulated),
    .timeLimit(.minutes(20)))
struct EngineSimulatedTests {
    @Test("a promise is kept", arguments: EnginePromise.all)
    func promise(_ promise: EnginePromise) async throws { try await promise.check(try #require(EngineWorld.current)) }
}

// MARK: How it ends

extension EnginePromise {
    private static let ends = [
        EnginePromise("exit code 0 is proven, with the times of start and end") { world in
            try await world.withEngine { engine, _ in
                let record = try await engine.run(world.specification(TestProgram(shell: "exit 0", steps: ["exit:0"])))
                    .record
                #expect(ExitRecord.Zero(record) != nil)
                #expect(record.startedAt != nil && record.finishedAt != nil)
            }
        },
        EnginePromise("another exit code is told as it is") { world in
            try await world.withEngine { engine, _ in
                let record = try await engine.run(world.specification(TestProgram(shell: "exit 3", steps: ["exit:3"])))
                    .record
                #expect(record.exitCode == 3 && record.signal == nil && !record.oomKilled && record.message == nil)
                #expect(ExitRecord.Zero(record) == nil)
            }
        },
        EnginePromise("the code by which a daemon's container tells of a success is none for a program") { world in
            try await world.withEngine { engine, _ in
                let code = Witness.success
                let program = TestProgram(shell: "exit \(code)", steps: ["exit:\(code)"])
                let record = try await engine.run(world.specification(program)).record
                #expect(record.exitCode == (world.daemon == nil ? code : code + 1))
                #expect(ExitRecord.Zero(record) == nil)
            }
        },
        EnginePromise("exit code 1 is the program's own") { world in
            try await world.withEngine { engine, _ in
                let program = TestProgram(shell: "echo no >&2; exit 1", steps: ["err:no\n", "exit:1"])
                let record = try await engine.run(world.specification(program)).record
                #expect(record.exitCode == 1 && record.message == nil)
            }
        },
        EnginePromise("a signal is told from an exit code") { world in
            try await world.withEngine { engine, _ in
                let record = try await engine.run(
                    world.specification(TestProgram(shell: "kill -9 $$", steps: ["kill:9"]))
                ).record
                #expect(record.signal == 9 && record.exitCode == 137 && !record.oomKilled)
            }
        },
        EnginePromise("the memory limit kills, and the record says so") { world in
            try await world.withEngine { engine, _ in
                let hog = TestProgram(shell: "exec tail /dev/zero", steps: ["hog"])
                let record = try await engine.run(world.specification(hog, memory: 32 << 20)).record
                #expect(record.oomKilled && record.exitCode == 137)
                #expect(ExitRecord.Zero(record) == nil)
            }
        },
        EnginePromise("a command that does not exist ends with 127 and a sentence") { world in
            try await world.withEngine { engine, _ in
                let record = try await engine.run(world.specification(["/no/such/program", "argument"])).record
                #expect(record.exitCode == 127)
                #expect(record.message == "the command was not found in the image")
                #expect(record.signal == nil)
            }
        },
        EnginePromise("the end is told again to whoever asks later") { world in
            try await world.withEngine { engine, worker in
                let id = try await engine.begin(world.specification(TestProgram(shell: "exit 5", steps: ["exit:5"])))
                let first = try await engine.wait(id)
                let second = try await world.engine(worker).wait(id)
                #expect(first == second && first.exitCode == 5)
            }
        },
        EnginePromise("a container that is gone proves nothing") { world in
            try await world.withEngine { engine, _ in
                let id = try await engine.begin(world.specification(TestProgram(shell: "exit 0", steps: ["exit:0"])))
                _ = try await engine.wait(id)
                try await engine.remove(id)
                await #expect { try await engine.wait(id) } throws: { error in
                    if case .noProof? = error as? EngineError { true } else { false }
                }
            }
        },
    ]
}

// MARK: What it says

extension EnginePromise {
    private static let outputs = [
        EnginePromise("100,000 lines come out exactly, and the streams apart") { world in
            try await world.withEngine { engine, _ in
                let program = TestProgram(shell: "seq 1 100000; echo done >&2", steps: ["lines:100000", "err:done\n"])
                let output = try await engine.run(world.specification(program)).output
                let isExact = output.stdout == Array((1...100_000).map { "\($0)\n" }.joined().utf8)
                #expect(isExact)
                #expect(output.errors == "done\n")
            }
        },
        EnginePromise("output without a last line break gets none") { world in
            try await world.withEngine { engine, _ in
                let program = TestProgram(shell: "printf 'a\\n\\nb'; printf 'c' >&2", steps: ["out:a\n\nb", "err:c"])
                let output = try await engine.run(world.specification(program)).output
                #expect(output == Output(stdout: Array("a\n\nb".utf8), stderr: Array("c".utf8)))
            }
        },
        EnginePromise("the first bytes can be skipped at any point") { world in
            try await world.withEngine { engine, _ in
                let program = TestProgram(
                    shell: "seq 1 3000; seq 5 9 >&2", steps: ["lines:3000", "err:5\n6\n7\n8\n9\n"])
                let id = try await engine.begin(world.specification(program))
                _ = try await engine.wait(id)
                let whole = try await engine.output(of: id)
                #expect(whole.stdout.count == 13_893 && whole.errors == "5\n6\n7\n8\n9\n")
                for (out, err) in [(0, 10), (1, 1), (8191, 3), (13_892, 9), (13_893, 10)] {
                    let rest = try await engine.output(of: id, skip: [.stdout: Int64(out), .stderr: Int64(err)])
                    #expect(
                        rest
                            == Output(
                                stdout: Array(whole.stdout.dropFirst(out)), stderr: Array(whole.stderr.dropFirst(err))))
                }
            }
        },
        EnginePromise("output is followed while the program runs, by a new agent from where the old one was") { world in
            try await world.withEngine { engine, worker in
                let program = TestProgram(
                    shell: "for i in 1 2 3 4 5 6 7 8; do echo line $i; sleep 0.1; done",
                    steps: (1...8).flatMap { ["out:line \($0)\n", "sleep:50"] })
                let id = try await engine.begin(world.specification(program))
                var first = Output()
                for try await piece in engine.logs(id, skip: [:]) {
                    first.append(piece)
                    if first.stdout.count >= 14 { break }
                }
                let rest = try await world.engine(worker).output(of: id, skip: [.stdout: Int64(first.stdout.count)])
                #expect(first.text + rest.text == (1...8).map { "line \($0)\n" }.joined())
                #expect(try await engine.wait(id).exitCode == 0)
            }
        },
    ]
}

// MARK: How it lives

extension EnginePromise {
    private static let forever = TestProgram(shell: "sleep 1000", steps: ["sleep:1000000"])

    private static let lives = [
        EnginePromise("a stop asks first, and the program may answer") { world in
            try await world.withEngine { engine, _ in
                let polite = TestProgram(
                    shell: "trap 'echo bye; exit 143' TERM; echo up; while :; do sleep 0.05; done",
                    steps: ["out:up\n", "sleep:1000000"])
                let id = try await engine.begin(world.specification(polite))
                try await firstOutput(of: id, engine)
                try await engine.stop(id, grace: .seconds(30))
                let record = try await engine.wait(id)
                #expect(record.exitCode == 143 && record.signal == 15)
                if !world.isSimulated { #expect(try await engine.output(of: id).text == "up\nbye\n") }
            }
        },
        EnginePromise("a program that does not listen is killed after the grace") { world in
            try await world.withEngine { engine, _ in
                let deaf = TestProgram(
                    shell: "trap '' TERM; echo up; while :; do sleep 0.05; done",
                    steps: ["ignore-term", "out:up\n", "sleep:1000000"])
                let id = try await engine.begin(world.specification(deaf))
                try await firstOutput(of: id, engine)
                try await engine.stop(id, grace: .seconds(1))
                let record = try await engine.wait(id)
                #expect(record.signal == 9 && !record.oomKilled)
            }
        },
        EnginePromise("stopping what has ended, and removing what is gone, is fine") { world in
            try await world.withEngine { engine, _ in
                let id = try await engine.begin(world.specification(TestProgram(shell: "exit 0", steps: ["exit:0"])))
                _ = try await engine.wait(id)
                try await engine.stop(id, grace: .zero)
                try await engine.remove(id)
                try await engine.remove(id)
                #expect(try await engine.list().isEmpty)
            }
        },
        EnginePromise("a running container can be removed") { world in
            try await world.withEngine { engine, _ in
                let id = try await engine.begin(world.specification(forever))
                try await engine.remove(id)
                #expect(try await engine.list().isEmpty)
            }
        },
        EnginePromise("a container that was created twice is one, and started twice it runs once") { world in
            try await world.withEngine { engine, _ in
                let once = TestProgram(shell: "echo once", steps: ["out:once\n", "sleep:50"])
                try await engine.ensureImage(world.image)
                let id = try await engine.create(world.specification(once))
                #expect(try await engine.create(world.specification(once)) == id)
                try await engine.start(id)
                try await engine.start(id)
                _ = try await engine.wait(id)
                #expect(try await engine.output(of: id).text == "once\n")
            }
        },
        EnginePromise("a new agent finds its containers, running or not, and no others") { world in
            try await world.withEngine { engine, worker in
                let running = try await engine.begin(world.specification(forever, task: 1))
                let ended = try await engine.begin(
                    world.specification(TestProgram(shell: "exit 0", steps: ["exit:0"]), task: 2))
                _ = try await engine.wait(ended)
                let created = try await engine.create(world.specification(forever, task: 3))
                let found = try await world.engine(worker).list()
                #expect(Set(found.map(\.id)) == [running, ended, created])
                #expect(Set(found.compactMap(\.attempt?.task.index)) == [1, 2, 3])
                #expect(try await world.engine(worker + "x").list().isEmpty)
                try await engine.stop(running, grace: .zero)
                #expect(try await world.engine(worker).wait(running).signal != nil)
            }
        },
        EnginePromise("what a container used can be told after its end") { world in
            try await world.withEngine { engine, _ in
                let busy = TestProgram(shell: "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done", steps: [])
                let id = try await engine.begin(world.specification(busy))
                _ = try await engine.wait(id)
                let usage = try #require(try await engine.usage(id))
                #expect(usage.cpuSeconds > 0 && usage.maxMemory.bytes > 100_000)
            }
        },
        EnginePromise("many ask for one image, and all get it") { world in
            try await world.withEngine { engine, _ in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for _ in 0..<16 { group.addTask { try await engine.ensureImage(world.image) } }
                    try await group.waitForAll()
                }
            }
        },
        EnginePromise("an image that nobody has is an image error") { world in
            try await world.withEngine { engine, _ in
                await #expect {
                    try await engine.ensureImage(PinnedImage(digest: Digest(of: "nobody has it"), platform: nil))
                } throws: { error in
                    if case .image? = error as? EngineError { true } else { false }
                }
            }
        },
    ]

    private static func firstOutput(of id: String, _ engine: any ContainerEngine) async throws {
        for try await _ in engine.logs(id, skip: [:]) { return }
        Issue.record("the program ended before it wrote anything")
    }
}
