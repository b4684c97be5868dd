// What the tests of runners look at from outside: which process is an attempt's runner, who is in its control group,
// and what is left of a worker on the host.
import CLinux
import Foundation
import Glibc
import JobModel
import RunnerCore
import TestSupport

@testable import Worker

extension EngineWorld {
    /// Runs `body` with an engine of the world's runtime, and its data folder.
    func withRunners(_ body: (OCIRuntimeEngine, _ worker: String) async throws -> Void) async throws {
        try await withEngine { engine, worker in
            guard let engine = engine as? OCIRuntimeEngine else {
                throw EngineError.refused("the world's engine is \(engine.name)")
            }
            try await body(engine, worker)
        }
    }

    /// A second agent on the same folder.
    func otherAgent(_ worker: String) async throws -> OCIRuntimeEngine {
        guard let engine = try await engine(worker) as? OCIRuntimeEngine else {
            throw EngineError.refused("the world's engine is another")
        }
        return engine
    }
}

extension OCIRuntimeEngine {
    /// The process that holds the attempt's lock; 0 if there is none.
    func runner(of id: String) throws -> pid_t {
        guard let attempt = AttemptID(id) else { return 0 }
        let file = open(folder(attempt).description, O_RDONLY | O_CLOEXEC)
        defer { if file >= 0 { close(file) } }
        return file >= 0 ? jc_lock_holder(file) : 0
    }

    /// Waits until a program that prints something runs.
    func runningProgram(_ specification: ContainerSpecification) async throws -> String {
        let id = try await begin(specification)
        try await eventually("the program has printed something") {
            (readFile(try known(id).folder.stdout, limit: 1 << 20)?.count ?? 0) > 0
        }
        return id
    }

    /// The processes in the attempt's control group.
    func members(of id: String) -> [pid_t] {
        let group = "/jobctl-\(setup.worker)/\(id)/cgroup.procs"
        let file = ControlGroups.root + (ControlGroups.isUnified ? "" : "/pids") + group
        return String(decoding: readFile(file, limit: 1 << 20) ?? [], as: UTF8.self).split(separator: "\n")
            .compactMap { pid_t($0) }
    }

    /// What still stands on the host because of this engine: processes, mounts in anybody's namespace, control groups.
    func leftovers() throws -> [String] {
        var found: [String] = []
        for entry in try FileManager.default.contentsOfDirectory(atPath: "/proc") {
            guard let process = pid_t(entry), process != getpid() else { continue }
            let command = String(decoding: readFile("/proc/\(process)/cmdline", limit: 1 << 20) ?? [], as: UTF8.self)
            if command.contains(setup.folder + "/") { found.append("process \(process)") }
            let mounts = String(decoding: readFile("/proc/\(process)/mountinfo", limit: 4 << 20) ?? [], as: UTF8.self)
            if mounts.contains(setup.folder + "/") { found.append("mount of \(process)") }
        }
        let hierarchies =
            ControlGroups.isUnified
            ? [""] : try FileManager.default.contentsOfDirectory(atPath: ControlGroups.root).map { "/" + $0 }
        for hierarchy in hierarchies {
            let top = "\(ControlGroups.root)\(hierarchy)/jobctl-\(setup.worker)"
            for name in (try? FileManager.default.contentsOfDirectory(atPath: top)) ?? []
            where AttemptID(String(name.prefix { $0 != "-" })) != nil {
                found.append("control group \(top)/\(name)")
            }
        }
        return found
    }
}
