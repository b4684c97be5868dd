// Takes the engines' multiplexed log stream apart: frames of an 8-byte head (stream, three zeros, big-endian length) and payload.
// Invariant: payload bytes come out exactly and in order, however the frames are cut on their way; nothing is kept but one head.
import JobModel
import SchedulerClient

struct LogDemultiplexer {
    /// Whether each frame's payload begins with a time and a space, which are taken off.
    ///
    /// They are asked of dockerd because of what its `local` driver loses: a line of exactly 16,384 bytes (or a multiple) is stored
    /// as pieces of which the last is empty and should carry the line feed. dockerd 20.10 sends that piece as an empty frame, and
    /// without times not at all. So an empty payload behind a time *is* a line feed; a real empty line comes as a line feed.
    let timestamps: Bool

    private enum Part {
        case head
        case time(LogPiece.Stream, rest: Int, seen: Int)
        case payload(LogPiece.Stream, rest: Int)
    }
    private var part = Part.head
    private var head: [UInt8] = []
    /// About how many bytes the engine's log file holds for what went through: payload, and a little for each frame.
    private(set) var storedEstimate: Int64 = 0

    private static let longestFrame = 64 << 20
    private static let longestTime = 64

    init(timestamps: Bool) { self.timestamps = timestamps }

    /// Whether the stream may end here.
    var isAtBoundary: Bool {
        if case .head = part { head.isEmpty } else { false }
    }

    /// The pieces that `bytes` completes.
    mutating func take(_ bytes: some Collection<UInt8>) throws(EngineError) -> [(stream: LogPiece.Stream, bytes: [UInt8])] {
        var pieces: [(stream: LogPiece.Stream, bytes: [UInt8])] = []
        func emit(_ stream: LogPiece.Stream, _ bytes: some Sequence<UInt8>) {
            if let last = pieces.indices.last, pieces[last].stream == stream {
                pieces[last].bytes += bytes
            } else {
                pieces.append((stream, Array(bytes)))
            }
        }
        var rest = bytes[...]
        while let first = rest.first {
            switch part {
            case .head:
                let missing = rest.prefix(8 - head.count)
                head += missing
                rest = rest.dropFirst(missing.count)
                if head.count == 8 { try beginFrame(emit) }
            case .time(let stream, let length, let seen):
                rest = rest.dropFirst()
                if first != UInt8(ascii: " ") {
                    guard seen < Self.longestTime, length > 1 else {
                        throw EngineError.refused("the engine's log holds a frame without a time")
                    }
                    part = .time(stream, rest: length - 1, seen: seen + 1)
                } else if length == 1 {
                    emit(stream, CollectionOfOne(UInt8(ascii: "\n")))
                    part = .head
                } else {
                    part = .payload(stream, rest: length - 1)
                }
            case .payload(let stream, let length):
                let piece = rest.prefix(length)
                emit(stream, piece)
                rest = rest.dropFirst(piece.count)
                part = piece.count == length ? .head : .payload(stream, rest: length - piece.count)
            }
        }
        return pieces
    }

    private mutating func beginFrame(_ emit: (LogPiece.Stream, CollectionOfOne<UInt8>) -> Void) throws(EngineError) {
        let length = head[4...].reduce(0) { $0 << 8 | Int($1) }
        let stream: LogPiece.Stream
        switch head[0] {
        case 0, 1: stream = .stdout
        case 2: stream = .stderr
        default: throw EngineError.refused("the engine's log holds a frame of the unknown stream \(head[0])")
        }
        guard head[1...3].allSatisfy({ $0 == 0 }), length <= Self.longestFrame else {
            throw EngineError.refused("the engine's log holds a frame that cannot be right")
        }
        head.removeAll(keepingCapacity: true)
        storedEstimate += Int64(length) + 32
        if length > 0 { part = timestamps ? .time(stream, rest: length, seen: 0) : .payload(stream, rest: length) }
    }
}
