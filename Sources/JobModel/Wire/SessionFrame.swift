// What travels in a session, in both directions: one byte of kind, four bytes of length (big-endian), a payload of
// at most 64 KiB. The scheduler passes these bytes on as they are; client and worker take them apart, each with its
// limits.

/// One message between the terminal of a user and a program beside an attempt.
package enum SessionFrame: Hashable, Sendable {
    /// A sign of life: whoever sends nothing for two minutes is cut off by the scheduler.
    case alive
    // From the client.
    case input([UInt8])
    case inputEnd
    case resize(rows: UInt16, columns: UInt16)
    /// 1 to 64.
    case signal(UInt8)
    // From the worker.
    case output([UInt8])
    case errors([UInt8])
    /// The program has ended, 0 to 255. Nothing follows.
    case exit(UInt8)
    /// One sentence: why there is no session, or no more. Nothing follows.
    case failure(String)

    /// The largest payload.
    package static let payloadLimit = 64 << 10
    static let headSize = 5

    private var kind: UInt8 {
        switch self {
        case .alive: 0
        case .input: 1
        case .inputEnd: 2
        case .resize: 3
        case .signal: 4
        case .output: 5
        case .errors: 6
        case .exit: 7
        case .failure: 8
        }
    }

    private var payload: [UInt8] {
        switch self {
        case .alive, .inputEnd: []
        case .input(let bytes), .output(let bytes), .errors(let bytes): bytes
        case .resize(let rows, let columns): [rows, columns].flatMap { [UInt8($0 >> 8), UInt8($0 & 0xff)] }
        case .signal(let number): [number]
        case .exit(let code): [code]
        case .failure(let sentence): Array(sentence.utf8.prefix(4096))
        }
    }

    /// - Precondition: no more than ``payloadLimit`` bytes of input or output.
    package var encoded: [UInt8] {
        let payload = payload
        precondition(payload.count <= Self.payloadLimit, "a frame is cut before it is sent")
        let size = UInt32(payload.count)
        return [kind] + [24, 16, 8, 0].map { UInt8(size >> $0 & 0xff) } + payload
    }

    /// - Throws: ``Problem`` of kind `badRequest` for what no frame of ours looks like.
    fileprivate init(kind: UInt8, payload: [UInt8]) throws(Problem) {
        switch (kind, payload.count) {
        case (0, 0): self = .alive
        case (1, _): self = .input(payload)
        case (2, 0): self = .inputEnd
        case (3, 4):
            let numbers = [0, 2].map { UInt16(payload[$0]) << 8 | UInt16(payload[$0 + 1]) }
            self = .resize(rows: numbers[0], columns: numbers[1])
        case (4, 1) where (1...64).contains(payload[0]): self = .signal(payload[0])
        case (5, _): self = .output(payload)
        case (6, _): self = .errors(payload)
        case (7, 1): self = .exit(payload[0])
        case (8, 1...4096): self = .failure(String(decoding: payload, as: UTF8.self))
        default:
            throw Problem(.badRequest, "a frame of kind \(kind) with \(payload.count) bytes is not one of a session")
        }
    }
}

/// Takes a stream of frames apart, however its pieces are cut. Keeps at most one frame.
package struct SessionFrameParser: Sendable {
    private var pending: [UInt8] = []

    package init() {}

    /// Whether the stream may end here.
    package var isAtBoundary: Bool { pending.isEmpty }

    /// - Throws: ``Problem`` of kind `badRequest` or `tooLarge`; the rest of the stream has no meaning then.
    package mutating func take(_ bytes: some Sequence<UInt8>) throws(Problem) -> [SessionFrame] {
        pending += bytes
        var frames: [SessionFrame] = []
        var start = 0
        while pending.count - start >= SessionFrame.headSize {
            let head = pending[start..<start + SessionFrame.headSize]
            let size = head.dropFirst().reduce(0) { $0 << 8 | Int($1) }
            guard size <= SessionFrame.payloadLimit else {
                throw Problem(.tooLarge, "a frame of \(size) bytes: at most \(SessionFrame.payloadLimit) are allowed")
            }
            let end = start + SessionFrame.headSize + size
            guard pending.count >= end else { break }
            let payload = Array(pending[(start + SessionFrame.headSize)..<end])
            frames.append(try SessionFrame(kind: pending[start], payload: payload))
            start = end
        }
        pending.removeFirst(start)
        return frames
    }
}
