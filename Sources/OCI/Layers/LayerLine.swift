// The line from the network to the disk for one layer: the source's task gives compressed pieces, one thread takes the
// compression off and verifies, another writes files. They run at the same time, a few MiB apart, so that a layer takes
// as long as its slowest stage and memory stays flat however large it is.
import Foundation
import JobModel

struct LayerLine {
    let layer: WantedLayer
    let limits: LayerLimits
    let form: OverlayForm

    struct Unpacked: Sendable {
        var bytes: Int64
        var hidesLower: Bool
    }

    /// Bytes that may wait between two stages.
    private static let slack = 2 << 20

    /// Unpacks into the folder that `root` is open on. What is in it after a failure is to be removed.
    func run(
        from source: any LayerSource, into root: Int32, trash: (folder: Int32, name: String)
    ) async -> Result<Unpacked, OCIError> {
        let compressed = Conveyor(capacity: Self.slack)
        let plain = Conveyor(capacity: Self.slack)
        async let decoded = onOwnThread { () -> Result<Void, StageFailure> in
            Result { () throws(StageFailure) in
                try LayerDecoder(layer: layer, limits: limits).run(from: compressed, to: plain)
            }
        }
        async let unpacked = onOwnThread { () -> Result<Unpacked, StageFailure> in
            Result { () throws(StageFailure) in
                let unpacker = LayerUnpacker(root: root, trash: trash, form: form, limits: limits, layer: layer.name)
                try unpacker.run(from: plain)
                return Unpacked(bytes: unpacker.bytes, hidesLower: unpacker.hidesLower)
            }
        }
        let fed = await feed(compressed, from: source)
        // Where several stages fail, all but one fail because of that one.
        var reason: OCIError?
        if case .own(let error) = fed { reason = error }
        if case .failure(.own(let error)) = await decoded { reason = reason ?? error }
        switch await unpacked {
        case .success(let result) where reason == nil: return .success(result)
        case .failure(.own(let error)): return .failure(reason ?? error)
        case .success, .failure: return .failure(reason ?? .cancelled)
        }
    }

    private func feed(_ compressed: Conveyor, from source: any LayerSource) async -> StageFailure? {
        do throws(OCIError) {
            try await source.stream(layer.descriptor) { (piece) async throws(OCIError) in
                guard await compressed.give(piece) else { throw OCIError.cancelled }
            }
        } catch {
            let isOwn = !compressed.isAbandoned
            compressed.close(broken: true)
            return isOwn ? .own(error) : .neighbour
        }
        compressed.close(broken: false)
        return nil
    }
}

/// Runs what blocks away from Swift's own threads.
func onOwnThread<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
    await withCheckedContinuation { continuation in
        Thread.detachNewThread { continuation.resume(returning: body()) }
    }
}
