// `--engine auto|oci|docker|podman`: the first engine that proves to work. Invariant: what was tried and did not work
// is told with its reason, also when another does.
import Foundation
import JobModel
import Logging

package struct EngineSelection: Sendable {
    package var choice: EngineChoice
    package var oci: OCIRuntimeDetection
    package var sockets: EngineDetection

    package init(
        _ choice: EngineChoice, oci: OCIRuntimeDetection = OCIRuntimeDetection(), sockets: EngineDetection? = nil
    ) {
        self.choice = choice
        self.oci = oci
        self.sockets = sockets ?? EngineDetection(choice)
    }

    /// - Parameter roots: where the engine oci gets images; asked only if that engine is tried.
    /// - Throws: kind `unavailable`, with one sentence that says for each candidate what was wrong.
    package func engine(
        worker: String, dataFolder: String, roots: () throws(EngineError) -> any RootSource,
        registry: any ImageSource, logger: Logger
    ) async throws(EngineError) -> any ContainerEngine {
        var reason: EngineError?
        if choice == .auto || choice == .oci {
            do throws(EngineError) {
                return try await oci.engine(
                    worker: worker, dataFolder: dataFolder, roots: try roots(), logger: logger)
            } catch {
                guard choice == .auto else { throw error }
                logger.info("the engine oci does not work here", metadata: ["reason": "\(error)"])
                reason = error
            }
        }
        do throws(EngineError) {
            return try await sockets.engine(worker: worker, registry: registry, logger: logger)
        } catch {
            guard let reason else { throw error }
            throw .unavailable("\(error); without a daemon: \(reason)")
        }
    }
}

/// Which engine the containers of a data folder run on. While there are attempts, `auto` means that one: another could
/// neither find nor end them.
struct EngineMemory {
    let dataFolder: String
    private var file: String { dataFolder + "/engine" }

    /// What to look for now.
    /// - Parameter hasAttempts: the journal holds attempts of an earlier life of the agent.
    func choice(_ wanted: EngineChoice, hasAttempts: Bool) -> EngineChoice {
        guard wanted == .auto, hasAttempts, let data = FileManager.default.contents(atPath: file), data.count < 32
        else {
            return wanted
        }
        return EngineChoice(rawValue: String(decoding: data, as: UTF8.self)) ?? wanted
    }

    func remember(_ engine: String) throws {
        try engine.write(toFile: file, atomically: true, encoding: .utf8)
    }
}
