// The files of configurations, by digest: fetched once, verified, mounted read-only into every container that names
// them.
import Foundation
import Glibc
import JobModel
import Synchronization

final class FileCache: Sendable {
    private let folder: String
    private let scheduler: any SchedulerConnection
    /// The fetches under way, by place: a thousand tasks fetch once.
    private let fetches = Mutex<[String: Task<Result<Void, AttemptFailure>, Never>]>([:])

    init(folder: String, scheduler: any SchedulerConnection) {
        self.folder = folder
        self.scheduler = scheduler
        // allowed: no folder, nothing that an earlier life was writing
        for name in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        where name.hasSuffix(Self.unfinished) {
            unlink("\(folder)/\(name)")
        }
    }

    private static let unfinished = ".new"

    /// The host path of a file's content. Waits while the scheduler is away.
    /// - Throws: ``AttemptFailure`` if it cannot be had or is damaged.
    func path(of file: ConfigurationFile) async throws(AttemptFailure) -> String {
        let place = "\(folder)/\(file.digest.hex)" + (file.executable ? ".x" : "")
        if access(place, F_OK) == 0 { return place }
        let fetch = fetches.withLock { fetches in
            if let fetch = fetches[place] { return fetch }
            let fetch = Task { () -> Result<Void, AttemptFailure> in
                let result: Result<Void, AttemptFailure>
                do throws(AttemptFailure) {
                    result = .success(try store(try await content(of: file), at: place, file))
                } catch {
                    result = .failure(error)
                }
                self.fetches.withLock { $0[place] = nil }
                return result
            }
            fetches[place] = fetch
            return fetch
        }
        try await fetch.value.get()
        return place
    }

    private func content(of file: ConfigurationFile) async throws(AttemptFailure) -> [UInt8] {
        var pause = 200
        while true {
            do throws(Problem) {
                let bytes = try await scheduler.blob(file.digest, limit: SpecLimits.filesBytes)
                guard Digest(of: bytes) == file.digest else {
                    throw Problem(.internal, "what the scheduler sent for \(file.digest) is something else")
                }
                return bytes
            } catch {
                guard error.kind == .unavailable, pause < Self.patience else {
                    throw AttemptFailure(
                        reason: .engineError, message: "a file of the configuration could not be fetched: \(error)")
                }
            }
            // allowed: nobody cancels a fetch that several wait for
            try? await Task.sleep(for: .milliseconds(pause))
            pause *= 2
        }
    }

    /// The last pause before giving up, in milliseconds: a scheduler that is started again is waited for.
    private static let patience = 20_000

    private func store(_ bytes: [UInt8], at place: String, _ file: ConfigurationFile) throws(AttemptFailure) {
        // Of its own name: an agent that is on its way out may still be writing the same file.
        let temporary = "\(place)-\(UInt64.random(in: 0 ... .max))\(Self.unfinished)"
        do {
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            chmod(folder, 0o711)
            try Data(bytes).write(to: URL(filePath: temporary))
            guard chmod(temporary, file.executable ? 0o555 : 0o444) == 0, rename(temporary, place) == 0 else {
                throw CocoaError(.fileWriteUnknown)
            }
        } catch {
            unlink(temporary)
            throw AttemptFailure(
                reason: .engineError, message: "the worker cannot store a file of the configuration: \(error)")
        }
    }
}
