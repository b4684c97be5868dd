// Runners with services when things go wrong: whoever is killed, and whenever, nothing of a service is left. Method:
// real containers, looked at from outside.
import Foundation
import Glibc
import JobModel
import RunnerCore
import TestSupport
import Testing

@testable import Worker

@Suite("runners with services", .serialized, InEngineWorld(.oci(.crun)), .timeLimit(.minutes(20)))
struct RunnerServicesTests {
    private var world: EngineWorld {
        get throws { try #require(EngineWorld.current) }
    }
    private func mark() -> String { "mark\(UInt32.random(in: 0 ... .max))" }

    @Test("services die with a runner that is killed, at any moment of its life, and nothing is left")
    func killedRunner() async throws {
        let world = try world
        try await world.withRunners { engine, _ in
            for round in 0..<10 {
                let mark = mark()
                let services = [world.pages("a", mark: mark), world.pages("b", mark: mark)]
                let id = try await engine.begin(
                    world.specification("echo up; sleep 1000", task: Int64(round + 1), beside: services))
                try await eventually("the runner is there") {
                    try engine.runner(of: id) > 0 || engine.hasBegun(try engine.known(id).folder)
                }
                // From before the network to after the program's start.
                if round < 8 {
                    try await Task.sleep(for: .milliseconds(round * 12))
                } else {
                    try await eventually("the program runs") {
                        (readFile(try engine.known(id).folder.stdout, limit: 1 << 20)?.count ?? 0) > 0
                    }
                }
                let runner = try engine.runner(of: id)
                if runner > 0 { kill(runner, SIGKILL) }
                await #expect(throws: EngineError.self) { try await engine.wait(id) }
                try await engine.remove(id)
                #expect(runningProcesses(with: mark) == [])
            }
            #expect(try engine.leftovers() == [])
        }
    }

    @Test("a service's runner that is killed is a service that ended")
    func killedServiceRunner() async throws {
        let world = try world
        try await world.withRunners { engine, _ in
            let mark = mark()
            let id = try await engine.runningProgram(
                world.specification(
                    "echo up; while timeout 1 wget -q -O /dev/null http://db/name; do sleep 0.1; done; exit 5",
                    beside: [world.pages("db", mark: mark)]))
            let folder = try engine.known(id).folder.service("db").path
            for process in runningProcesses(with: folder) { kill(process, SIGKILL) }
            let record = try await engine.wait(id)
            #expect(record.exitCode == 5 && record.note?.contains("service 'db' ended without a record") == true)
            #expect(runningProcesses(with: mark) == [])
            try await engine.remove(id)
            #expect(try engine.leftovers() == [])
        }
    }

    @Test("services come up and end without an agent, and the next one is told how")
    func noAgent() async throws {
        let world = try world
        try await world.withRunners { engine, worker in
            let mark = mark()
            let slow = world.pages("db", before: "sleep 0.5;", mark: mark)
            let id = try await engine.begin(world.specification("wget -q -O - http://db/name; exit 6", beside: [slow]))
            let next = try await world.otherAgent(worker)
            #expect(try await next.list().map(\.id) == [id])
            #expect(try await next.wait(id).exitCode == 6)
            #expect(try await next.output(of: id).text == "I am db\n")
            #expect(runningProcesses(with: mark) == [])
        }
    }

    @Test("the time limit counts from the start of the services, and nobody but the runner keeps it")
    func timeLimit() async throws {
        let world = try world
        try await world.withRunners { engine, _ in
            var slow = world.pages("db")
            slow.health = world.health("false")
            var specification = world.specification("echo ran", beside: [slow])
            specification.timeLimit = TimeSpan(milliseconds: 500)
            let run = try await engine.run(specification)
            #expect(run.record.stoppedFor == .timeLimit && run.output.text.isEmpty, "\(run)")
        }
    }

    @Test("a memory hog of a service is killed alone, and the program's own end is not called out of memory")
    func memory() async throws {
        let world = try world
        try await world.withRunners { engine, _ in
            let hog = world.mortal("db", last: "exec tail /dev/zero")
            let record = try await engine.run(world.specification(EngineWorld.murder, beside: [hog])).record
            #expect(!record.oomKilled && ExitRecord.Zero(record) != nil, "\(record)")
            #expect(record.note == "the service 'db' used more memory than it asked for while the task ran")
        }
    }

    @Test("the private network is made of nothing that the host could see")
    func hostSeesNothing() async throws {
        let world = try world
        try await world.withRunners { engine, _ in
            let id = try await engine.runningProgram(
                world.specification("echo up; sleep 1000", beside: [world.pages("db")]))
            #expect(try interfaces() == [])
            try await engine.remove(id)
            #expect(try interfaces() == [])
        }
    }

    /// Those of the host that a runner could have made; daemons of other tests make theirs.
    private func interfaces() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: "/sys/class/net").filter {
            $0.hasPrefix("jobctl") || $0.hasPrefix("task") || $0.hasPrefix("service")
        }
    }
}
