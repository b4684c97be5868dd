// The middle of the line: takes a layer's compression off and verifies both digests while the bytes pass. The end of
// the tar is told only after both are right, so the next stage never finishes a layer that is not the one wanted.
import Glibc
import JobModel

/// A layer to fetch and unpack.
struct WantedLayer: Hashable, Codable, Sendable {
    /// As it is kept: compressed or not.
    let digest: Digest
    let size: Int64
    let mediaType: String
    /// Without its compression.
    let diffID: Digest

    var descriptor: Descriptor { Descriptor(mediaType: mediaType, digest: digest, size: size) }
    /// What messages call it.
    var name: String { "the layer \(digest)" }
}

struct LayerDecoder {
    let layer: WantedLayer
    let limits: LayerLimits
    /// Small enough to stay in the processor's cache, large enough that switching threads costs nothing.
    private static let pieceSize = 1 << 18

    /// Runs to the end of the layer, on its own thread.
    func run(from compressed: Conveyor, to plain: Conveyor) throws(StageFailure) {
        var kept = Tally()
        var content = Tally()
        do throws(StageFailure) {
            try decode(from: compressed, to: plain, &kept, &content)
            // What follows the compressed content is not read by libarchive, but belongs to the digest.
            while let piece = try Self.take(from: compressed) { try add(piece, to: &kept) }
            try verify(kept, content)
        } catch {
            compressed.abandon()
            plain.close(broken: true)
            throw error
        }
        plain.close(broken: false)
    }

    private func decode(
        from compressed: Conveyor, to plain: Conveyor, _ kept: inout Tally, _ content: inout Tally
    ) throws(StageFailure) {
        // libarchive calls back from C: what passes must live outside of this frame.
        let passing = Passing()
        let archive = try LayerArchive.compressed(named: layer.name) { () throws(StageFailure) -> [UInt8]? in
            guard let piece = try Self.take(from: compressed) else { return nil }
            try add(piece, to: &passing.kept)
            return piece
        }
        var pieces = PieceBuilder(size: Self.pieceSize)
        while try archive.next() != nil {
            guard archive.compressions <= 1 else {
                throw StageFailure.own(.refused(what: layer.name, why: "it is compressed more than once"))
            }
            try archive.forEachPiece(of: layer.name) { (bytes, _) throws(StageFailure) in
                content.add(bytes)
                try checkGrowth(from: passing.kept.size, to: content.size)
                var rest = bytes
                while !rest.isEmpty {
                    rest = pieces.fill(from: rest)
                    if pieces.isFull, !plain.giveBlocking(pieces.take()) { throw StageFailure.neighbour }
                }
            }
        }
        if !pieces.isEmpty, !plain.giveBlocking(pieces.take()) { throw StageFailure.neighbour }
        kept = passing.kept
    }

    private final class Passing {
        var kept = Tally()
    }

    private static func take(from compressed: Conveyor) throws(StageFailure) -> [UInt8]? {
        while true {
            switch compressed.take() {
            case .bytes(let piece) where piece.isEmpty: continue
            case .bytes(let piece): return piece
            case .end: return nil
            case .broken: throw StageFailure.neighbour
            }
        }
    }

    private func add(_ piece: [UInt8], to kept: inout Tally) throws(StageFailure) {
        kept.add(piece)
        guard kept.size <= layer.size else {
            throw StageFailure.own(
                .mismatch(what: layer.name, expected: "\(layer.size) bytes", found: "at least \(kept.size) bytes"))
        }
    }

    /// A bomb is noticed while it goes off, not after.
    private func checkGrowth(from small: Int64, to large: Int64) throws(StageFailure) {
        // Headers and padding come on top of what the files hold.
        let (most, overflowed) = limits.bytes.bytes.addingReportingOverflow(1 << 32)
        guard large <= (overflowed ? .max : most) else {
            throw StageFailure.own(
                .refused(what: layer.name, why: "it unpacks to more than \(limits.bytes)"))
        }
        guard large > limits.ratioFloor.bytes, large / max(small, 1) > limits.ratio else { return }
        let why = "it unpacks to more than \(limits.ratio) times its size, which only a decompression bomb does"
        throw StageFailure.own(.refused(what: layer.name, why: why))
    }

    private func verify(_ kept: Tally, _ content: Tally) throws(StageFailure) {
        guard kept.size == layer.size else {
            throw StageFailure.own(
                .mismatch(what: layer.name, expected: "\(layer.size) bytes", found: "\(kept.size) bytes"))
        }
        let digest = kept.builder.finish()
        guard digest == layer.digest else {
            throw StageFailure.own(.mismatch(what: layer.name, expected: "\(layer.digest)", found: "\(digest)"))
        }
        let diffID = content.builder.finish()
        guard diffID == layer.diffID else {
            let what = "the content of \(layer.name) (its diff id)"
            throw StageFailure.own(.mismatch(what: what, expected: "\(layer.diffID)", found: "\(diffID)"))
        }
    }
}

/// What has passed so far.
private struct Tally {
    var builder = DigestBuilder()
    var size: Int64 = 0

    mutating func add(_ piece: [UInt8]) {
        builder.update(piece)
        size += Int64(piece.count)
    }

    mutating func add(_ piece: UnsafeRawBufferPointer) {
        builder.update(piece)
        size += Int64(piece.count)
    }
}

/// Gathers what libarchive gives, in whatever portions, into pieces of one size.
private struct PieceBuilder: ~Copyable {
    private let buffer: UnsafeMutableRawBufferPointer
    private var count = 0

    init(size: Int) { buffer = .allocate(byteCount: size, alignment: 16) }
    deinit { buffer.deallocate() }

    var isFull: Bool { count == buffer.count }
    var isEmpty: Bool { count == 0 }

    /// Returns what did not fit.
    mutating func fill(from bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        let taken = min(bytes.count, buffer.count - count)
        if let from = bytes.baseAddress, let to = buffer.baseAddress { memcpy(to + count, from, taken) }
        count += taken
        return UnsafeRawBufferPointer(rebasing: bytes[taken...])
    }

    mutating func take() -> [UInt8] {
        defer { count = 0 }
        return [UInt8](UnsafeRawBufferPointer(rebasing: buffer[..<count]))
    }
}
