// Takes the engines' multiplexed log stream apart: frames of an 8-byte head (stream, three zeros, big-endian length)
// and payload. Invariant: payload bytes come out exactly and in order, however the frames are cut on their way;
// nothing is kept but one head.
//
// dockerd's `local` driver stores a line in pieces of 16,384 bytes, and dockerd 20.10 forgets the line feed of a line
// that it stored in pieces: the last piece comes without it, and as an empty frame where the length is a multiple of
// 16,384 (only if times are asked for, so they are). The piece that ends such a line is therefore told by its length;
// a line feed is put back before the next frame of its stream. At the very end of the output it could as well be text
// without a line feed: see ``unsettled``.
import JobModel

struct LogDemultiplexer {
    /// Whether the frames are dockerd's: each payload begins with a time and a space, and line feeds may be missing.
    let isLocalDriver: Bool

    private enum Part {
        case head
        case time(LogPiece.Stream, rest: Int, seen: Int)
        case payload(LogPiece.Stream, rest: Int)
    }
    private struct Line {
        /// Pieces of the line that is not yet complete were seen.
        var isOpen = false
        /// The line was ended by a piece without a line feed.
        var lacksLineFeed = false
        var payloadLength = 0
        var lastByte: UInt8 = 0
    }
    private var part = Part.head
    private var head: [UInt8] = []
    private var lines: [LogPiece.Stream: Line] = [:]
    /// About how many bytes the engine's log file holds for what went through: payload, and a little for each frame.
    private(set) var storedEstimate: Int64 = 0

    private static let longestFrame = 64 << 20
    private static let longestTime = 64
    private static let pieceLength = 16_384

    init(isLocalDriver: Bool) { self.isLocalDriver = isLocalDriver }

    /// The streams whose output ends with a long line of which it is not known whether a line feed follows.
    var unsettled: [LogPiece.Stream] { LogPiece.Stream.allCases.filter { lines[$0]?.lacksLineFeed == true } }

    /// The pieces that `bytes` completes.
    mutating func take(_ bytes: some BidirectionalCollection<UInt8>) throws(EngineError) -> [LogPiece] {
        var pieces: [LogPiece] = []
        var rest = bytes[...]
        while let first = rest.first {
            switch part {
            case .head:
                let missing = rest.prefix(8 - head.count)
                head += missing
                rest = rest.dropFirst(missing.count)
                if head.count == 8 { try beginFrame(&pieces) }
            case .time(let stream, let length, let seen):
                rest = rest.dropFirst()
                if first != UInt8(ascii: " ") {
                    guard seen < Self.longestTime, length > 1 else {
                        throw .refused("the engine's log holds a frame without a time")
                    }
                    part = .time(stream, rest: length - 1, seen: seen + 1)
                } else {
                    beginPayload(stream, length - 1, &pieces)
                }
            case .payload(let stream, let length):
                let piece = rest.prefix(length)
                rest = rest.dropFirst(piece.count)
                lines[stream, default: Line()].lastByte = piece.last ?? 0
                emit(stream, piece, &pieces)
                part = .payload(stream, rest: length - piece.count)
                if piece.count == length { endPayload(stream) }
            }
        }
        return pieces
    }

    private mutating func beginFrame(_ pieces: inout [LogPiece]) throws(EngineError) {
        let length = head[4...].reduce(0) { $0 << 8 | Int($1) }
        let stream: LogPiece.Stream
        switch head[0] {
        case 0, 1: stream = .stdout
        case 2: stream = .stderr
        default: throw .refused("the engine's log holds a frame of the unknown stream \(head[0])")
        }
        guard head[1...3].allSatisfy({ $0 == 0 }), length <= Self.longestFrame else {
            throw .refused("the engine's log holds a frame that cannot be right")
        }
        head.removeAll(keepingCapacity: true)
        storedEstimate += Int64(length) + 32
        if isLocalDriver, length > 0 {
            part = .time(stream, rest: length, seen: 0)
        } else {
            beginPayload(stream, length, &pieces)
        }
    }

    private mutating func beginPayload(_ stream: LogPiece.Stream, _ length: Int, _ pieces: inout [LogPiece]) {
        var line = lines[stream] ?? Line()
        if line.lacksLineFeed {
            line.lacksLineFeed = false
            emit(stream, CollectionOfOne(UInt8(ascii: "\n")), &pieces)
        }
        line.payloadLength = length
        lines[stream] = line
        part = .payload(stream, rest: length)
        if length == 0 { endPayload(stream) }
    }

    private mutating func endPayload(_ stream: LogPiece.Stream) {
        part = .head
        guard isLocalDriver, var line = lines[stream] else { return }
        if line.payloadLength > 0, line.lastByte == UInt8(ascii: "\n") {
            line.isOpen = false
        } else if line.payloadLength == Self.pieceLength {
            line.isOpen = true
        } else {
            line.lacksLineFeed = line.isOpen
            line.isOpen = false
        }
        lines[stream] = line
    }

    private func emit(_ stream: LogPiece.Stream, _ bytes: some Collection<UInt8>, _ pieces: inout [LogPiece]) {
        if let last = pieces.indices.last, pieces[last].stream == stream {
            pieces[last].bytes += bytes
        } else {
            pieces.append(LogPiece(stream: stream, bytes: Array(bytes)))
        }
    }
}
