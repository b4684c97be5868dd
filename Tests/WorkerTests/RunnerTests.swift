// Runners when things go wrong: killed runners, dead agents, limits that nobody but the runner keeps, damaged records.
// Goal: no false success, nothing twice, nothing left. Method: real containers, looked at from outside.
import CLinux
import Foundation
import Glibc
import JobModel
import RunnerCore
import TestSupport
import Testing

@testable import Worker

@Suite("runners when things go wrong", .serialized, InEngineWorld(.oci(.crun)), .timeLimit(.minutes(20)))
struct RunnerTests {
    private let forever = ["sh", "-c", "echo up; sleep 1000"]
    private var world: EngineWorld {
        get throws { try #require(EngineWorld.current) }
    }

    private func isUnproven(_ id: String, _ engine: OCIRuntimeEngine, orNotStarted: Bool = false) async -> Bool {
        do throws(EngineError) {
            _ = try await engine.wait(id)
            return false
        } catch {
            if case .noProof = error { return true }
            if case .refused = error { return orNotStarted }
            return false
        }
    }

    @Test("a runner that is killed leaves no proof, and its container dies with it")
    func killedRunner() async throws {
        let world = try world
        try await world.withRunners { engine, worker in
            let id = try await engine.runningProgram(world.specification(forever))
            async let waiting = isUnproven(id, engine)
            kill(try engine.runner(of: id), SIGKILL)
            #expect(await waiting)
            try await eventually("nobody is left in the container") { engine.members(of: id).isEmpty }
            let next = try await world.otherAgent(worker)
            #expect(await isUnproven(id, next))
            // It is not started a second time.
            try await next.start(id)
            #expect(try next.runner(of: id) == 0)
            try await next.remove(id)
            #expect(try engine.leftovers() == [])
        }
    }

    @Test("a runner may be killed at any moment of its life: no false success, and nothing is left")
    func killedAtAnyMoment() async throws {
        let world = try world
        try await world.withRunners { engine, _ in
            for round in 0..<12 {
                let id = try await engine.begin(world.specification(forever, task: Int64(round + 1)))
                try await eventually("the runner is there") {
                    try engine.runner(of: id) > 0 || engine.hasBegun(try engine.known(id).folder)
                }
                // From before the mounts to after the program's start.
                try await Task.sleep(for: .milliseconds(round * 4))
                let runner = try engine.runner(of: id)
                if runner > 0 { kill(runner, SIGKILL) }
                // Killed before it began, it has not been started: that is no success either.
                #expect(await isUnproven(id, engine, orNotStarted: true))
                try await engine.remove(id)
            }
            do {
                try await eventually("everything is gone") { try engine.leftovers().isEmpty }
            } catch {
                Issue.record("left: \(try engine.leftovers())")
            }
        }
    }

    @Test("what a killed runner had forked and what had not become the runtime yet goes with the attempt")
    func forkedByKilledRunner() async throws {
        let world = try world
        try await world.withRunners { engine, worker in
            let id = try await engine.create(world.specification(forever))
            // The child of a runner has its command line until it is another program.
            let child = "\(world.folder)/\(worker)/jobctl-runner"
            try "#!/bin/sh\nread line\n".write(toFile: child, atomically: true, encoding: .utf8)
            chmod(child, 0o755)
            let process = Process()
            process.executableURL = URL(filePath: child)
            process.arguments = [try engine.known(id).folder.path]
            // It reads, and nobody writes.
            process.standardInput = Pipe()
            try process.run()
            try await eventually("it shows") { try !engine.leftovers().isEmpty }
            try await engine.remove(id)
            try await eventually("it is gone") { !process.isRunning }
            #expect(process.terminationReason == .uncaughtSignal && process.terminationStatus == SIGKILL)
        }
    }

    @Test("the time limit is kept with no agent, and the next agent is told")
    func timeLimit() async throws {
        let world = try world
        try await world.withRunners { engine, worker in
            var specification = world.specification([
                "sh", "-c", "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done",
            ])
            specification.timeLimit = TimeSpan(milliseconds: 300)
            let id = try await engine.runningProgram(specification)
            let end = try engine.known(id).folder.end
            try await eventually("the runner has ended it") { access(end, F_OK) == 0 }
            let record = try await world.otherAgent(worker).wait(id)
            #expect(record.stoppedFor == .timeLimit && record.exitCode == 0)
            #expect(ExitRecord.Zero(record) == nil)
            guard case .failed(.timeLimit, _, _) = AttemptOutcome(record, stopReason: nil) else {
                Issue.record("it ended as \(AttemptOutcome(record, stopReason: nil))")
                return
            }
        }
    }

    @Test("a runner is told of another time limit: what is extended lives on, what is shortened ends, with no agent")
    func changedTimeLimit() async throws {
        let world = try world
        try await world.withRunners { engine, worker in
            var specification = world.specification(["sh", "-c", "echo up; sleep 3"], task: 1)
            specification.timeLimit = .seconds(2)
            let extended = try await engine.create(specification)
            // Before the runner begins, and once more while it runs.
            try await engine.limitChanged(extended, to: .seconds(60))
            try await engine.start(extended)
            var other = world.specification(forever, task: 2)
            other.timeLimit = .minutes(10)
            let shortened = try await engine.runningProgram(other)
            try await engine.limitChanged(extended, to: .seconds(90))
            try await engine.limitChanged(shortened, to: TimeSpan(milliseconds: 100))
            let next = try await world.otherAgent(worker)
            #expect(try await next.wait(shortened).stoppedFor == .timeLimit)
            #expect(ExitRecord.Zero(try await next.wait(extended)) != nil)
            try await next.limitChanged(extended, to: .seconds(1))
            try await next.remove(extended)
            try await next.limitChanged(extended, to: .seconds(1))
        }
    }

    @Test("a program that does not listen is killed after the grace, with no agent")
    func graceWithoutAgent() async throws {
        let world = try world
        try await world.withRunners { engine, worker in
            var specification = world.specification(["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done"])
            specification.timeLimit = TimeSpan(milliseconds: 200)
            specification.grace = TimeSpan(milliseconds: 200)
            let id = try await engine.runningProgram(specification)
            let record = try await world.otherAgent(worker).wait(id)
            #expect(record.stoppedFor == .timeLimit && record.signal == 9 && !record.oomKilled)
        }
    }

    @Test("at the end of the agent's lease the runner stops its program, unless the lease was extended")
    func lease() async throws {
        let world = try world
        try await world.withRunners { engine, worker in
            await engine.leaseExtended(to: jc_boot_milliseconds() + 1000)
            let short = try await engine.runningProgram(world.specification(forever, task: 1))
            let record = try await world.otherAgent(worker).wait(short)
            #expect(record.stoppedFor == .workerLost)
            guard case .lost(.workerLost, _) = AttemptOutcome(record, stopReason: nil) else {
                Issue.record("it ended as \(AttemptOutcome(record, stopReason: nil))")
                return
            }
            await engine.leaseExtended(to: jc_boot_milliseconds() + 1000)
            let long = try await engine.runningProgram(
                world.specification(["sh", "-c", "echo up; sleep 1.5"], task: 2))
            await engine.leaseExtended(to: jc_boot_milliseconds() + 60_000)
            #expect(ExitRecord.Zero(try await engine.wait(long)) != nil)
        }
    }

    @Test("an order to stop that comes before the start is not lost")
    func earlyStop() async throws {
        let world = try world
        try await world.withRunners { engine, _ in
            let id = try await engine.create(world.specification(forever))
            try await engine.stop(id, grace: .zero)
            try await engine.start(id)
            #expect(try await engine.wait(id).signal != nil)
        }
    }

    @Test("two agents that start one attempt at once run it once")
    func startedByTwo() async throws {
        let world = try world
        try await world.withRunners { engine, worker in
            let other = try await world.otherAgent(worker)
            for task in Int64(1)...5 {
                let id = try await engine.create(world.specification(["sh", "-c", "echo once; sleep 0.1"], task: task))
                async let first: Void = engine.start(id)
                async let second: Void = other.start(id)
                _ = try await (first, second)
                try await eventually("it has ended") { access(try engine.known(id).folder.end, F_OK) == 0 }
                #expect(try await engine.wait(id) == other.wait(id))
                #expect(try await engine.output(of: id).text == "once\n")
            }
        }
    }

    @Test("what was made before the host restarted is not started")
    func otherBoot() async throws {
        let world = try world
        try await world.withRunners { engine, _ in
            let id = try await engine.create(world.specification(["true"]))
            let file = try engine.known(id).folder.description
            var description = try AttemptDescription(try #require(readFile(file, limit: 1 << 20)))
            description.boot = "another"
            try replaceFile(file, with: description.text, durable: false)
            await #expect {
                try await engine.start(id)
            } throws: { error in
                if case .noProof? = error as? EngineError { true } else { false }
            }
        }
    }

    @Test("a record of the end that was cut off anywhere proves nothing")
    func damagedRecord() async throws {
        let world = try world
        try await world.withRunners { engine, _ in
            let id = try await engine.begin(world.specification(["true"]))
            #expect(ExitRecord.Zero(try await engine.wait(id)) != nil)
            let file = try engine.known(id).folder.end
            let whole = try #require(readFile(file, limit: 1 << 20))
            for length in 0..<whole.count {
                try replaceFile(file, with: Array(whole[..<length]), durable: false)
                #expect(await isUnproven(id, engine), "after \(length) bytes")
            }
        }
    }
}
