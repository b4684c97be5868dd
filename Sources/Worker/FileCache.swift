// The files of configurations, by digest: fetched once, verified, mounted read-only into every container that names
// them.
import Foundation
import Glibc
import JobModel

struct FileCache: Sendable {
    let folder: String
    let scheduler: any SchedulerConnection

    /// The host path of a file's content.
    /// - Throws: ``AttemptFailure`` if it cannot be had or is damaged.
    func path(of file: ConfigurationFile) async throws(AttemptFailure) -> String {
        let place = "\(folder)/\(file.digest.hex)" + (file.executable ? ".x" : "")
        if access(place, F_OK) == 0 { return place }
        let bytes: [UInt8]
        do {
            bytes = try await scheduler.blob(file.digest, limit: SpecLimits.filesBytes)
        } catch {
            throw AttemptFailure(
                reason: .engineError, message: "a file of the configuration could not be fetched: \(error)")
        }
        guard Digest(of: bytes) == file.digest else {
            throw AttemptFailure(
                reason: .engineError, message: "a file of the configuration is damaged: \(file.digest)")
        }
        do {
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            chmod(folder, 0o711)
            let temporary = "\(place).\(UInt64.random(in: 0 ... .max))"
            try Data(bytes).write(to: URL(filePath: temporary))
            guard chmod(temporary, file.executable ? 0o555 : 0o444) == 0, rename(temporary, place) == 0 else {
                throw CocoaError(.fileWriteUnknown)
            }
        } catch {
            throw AttemptFailure(
                reason: .engineError, message: "the worker cannot store a file of the configuration: \(error)")
        }
        return place
    }
}
