// The end of a log file of dockerd's `local` driver, read where the API is ambiguous: whether the last, long line of
// a stream has a line feed. Records are a big-endian length, a protobuf message, and the length again, so they can be
// read from the end. Invariant: reads only, believes no length, and answers nil where anything is not as expected.
import Foundation
import JobModel

enum LocalLogFile {
    /// How far back from the end a stream's last record is looked for.
    private static let reach: UInt64 = 64 << 20
    private static let longestRecord: UInt64 = 1 << 20

    /// Whether the last line of `stream` that is stored in pieces is complete; nil if the files do not tell.
    static func lastLineIsComplete(folder: String, _ stream: LogPiece.Stream) -> Bool? {
        // The newest file may have been begun a moment ago.
        for name in ["container.log", "container.log.1"] {
            guard let file = FileHandle(forReadingAtPath: folder + "/" + name) else { continue }
            defer { try? file.close() }  // allowed: read only
            if let answer = search(file, stream) { return answer }
        }
        return nil
    }

    private static func search(_ file: FileHandle, _ stream: LogPiece.Stream) -> Bool? {
        guard var end = try? file.seekToEnd() else { return nil }  // allowed: unreadable is nil
        let start = end > reach ? end - reach : 0
        while end >= start + 8 {
            guard let tail = bytes(file, at: end - 4, count: 4) else { return nil }
            let length = tail.reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            guard length <= longestRecord, end >= length + 8,
                let record = bytes(file, at: end - 4 - length, count: length),
                let entry = LogEntry(record)
            else { return nil }
            if entry.source == stream.rawValue { return entry.isLastPiece }
            end -= length + 8
        }
        return nil
    }

    private static func bytes(_ file: FileHandle, at offset: UInt64, count: UInt64) -> [UInt8]? {
        do {
            try file.seek(toOffset: offset)
            guard let data = try file.read(upToCount: Int(count)), data.count == Int(count) else { return nil }
            return [UInt8](data)
        } catch {
            return nil
        }
    }
}

/// What is needed of moby's `LogEntry` message: source (1), partial_log_metadata (5) with last (1).
private struct LogEntry {
    var source = ""
    var isLastPiece = false

    init?(_ bytes: [UInt8]) {
        guard let found = fields(of: bytes[...]) else { return nil }
        for (number, value) in found {
            switch (number, value) {
            case (1, .bytes(let text)): source = String(decoding: text, as: UTF8.self)
            case (5, .bytes(let metadata)):
                guard let inner = fields(of: metadata) else { return nil }
                isLastPiece = inner.contains { number, value in
                    if case .number(let flag) = value { number == 1 && flag != 0 } else { false }
                }
            default: break
            }
        }
    }
}

private enum ProtobufValue {
    case number(UInt64)
    case bytes(ArraySlice<UInt8>)
}

/// The fields of a protobuf message; nil if it is broken or holds what dockerd never writes.
private func fields(of message: ArraySlice<UInt8>) -> [(UInt64, ProtobufValue)]? {
    var rest = message
    var fields: [(UInt64, ProtobufValue)] = []
    while !rest.isEmpty {
        guard let key = variableInteger(&rest) else { return nil }
        switch key & 7 {
        case 0:
            guard let number = variableInteger(&rest) else { return nil }
            fields.append((key >> 3, .number(number)))
        case 2:
            guard let length = variableInteger(&rest), length <= UInt64(rest.count) else { return nil }
            fields.append((key >> 3, .bytes(rest.prefix(Int(length)))))
            rest = rest.dropFirst(Int(length))
        default: return nil
        }
    }
    return fields
}

private func variableInteger(_ bytes: inout ArraySlice<UInt8>) -> UInt64? {
    var value: UInt64 = 0
    for shift in stride(from: UInt64(0), to: 64, by: 7) {
        guard let byte = bytes.popFirst() else { return nil }
        value |= UInt64(byte & 0x7f) << shift
        if byte < 0x80 { return value }
    }
    return nil
}
