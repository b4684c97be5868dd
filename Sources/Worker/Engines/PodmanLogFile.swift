// Podman's k8s-file log, read directly: conmon writes every byte into it, while podman 4.3's own log service loses
// and doubles lines of a log that grows. A record is `TIME STREAM F|P CONTENT` and a line feed; F: the line feed is
// the program's, P: it is not. Invariant: bytes come out exactly, whatever they are. A container that is gone, or a
// file that cannot be read, is the caller's.
import Foundation
import Glibc
import JobModel

/// Takes records apart, however the file is cut.
struct PodmanLogParser {
    private enum Part {
        case time(length: Int)
        case stream([UInt8])
        case tag(LogPiece.Stream, UInt8?)
        case content(LogPiece.Stream, isWhole: Bool)
    }
    private var part = Part.time(length: 0)

    mutating func take(_ bytes: ArraySlice<UInt8>) throws(EngineError) -> [LogPiece] {
        var pieces: [LogPiece] = []
        var rest = bytes
        while let first = rest.first {
            switch part {
            case .time(let length):
                guard length < 64, first != UInt8(ascii: "\n") else { throw Self.broken }
                part = first == UInt8(ascii: " ") ? .stream([]) : .time(length: length + 1)
                rest = rest.dropFirst()
            case .stream(let name):
                rest = rest.dropFirst()
                if first != UInt8(ascii: " ") {
                    guard name.count < 8 else { throw Self.broken }
                    part = .stream(name + [first])
                } else {
                    guard let stream = LogPiece.Stream(rawValue: String(decoding: name, as: UTF8.self)) else {
                        throw Self.broken
                    }
                    part = .tag(stream, nil)
                }
            case .tag(let stream, nil):
                guard first == UInt8(ascii: "F") || first == UInt8(ascii: "P") else { throw Self.broken }
                part = .tag(stream, first)
                rest = rest.dropFirst()
            case .tag(let stream, let tag?):
                guard first == UInt8(ascii: " ") else { throw Self.broken }
                part = .content(stream, isWhole: tag == UInt8(ascii: "F"))
                rest = rest.dropFirst()
            case .content(let stream, let isWhole):
                let end = rest.firstIndex(of: UInt8(ascii: "\n"))
                emit(stream, rest[..<(end.map { isWhole ? $0 + 1 : $0 } ?? rest.endIndex)], &pieces)
                rest = end.map { rest[($0 + 1)...] } ?? []
                if end != nil { part = .time(length: 0) }
            }
        }
        return pieces
    }

    private static let broken = EngineError.refused("podman's log file holds a record that cannot be understood")

    private func emit(_ stream: LogPiece.Stream, _ bytes: ArraySlice<UInt8>, _ pieces: inout [LogPiece]) {
        if let last = pieces.indices.last, pieces[last].stream == stream {
            pieces[last].bytes += bytes
        } else if !bytes.isEmpty {
            pieces.append(LogPiece(stream: stream, bytes: Array(bytes)))
        }
    }
}

/// The open file, and its successor when conmon replaces it because it is full.
struct PodmanLogFile: ~Copyable {
    private let path: String
    private var file: Int32
    private var parser = PodmanLogParser()
    private static let pieceSize = 256 << 10

    /// Nil if it cannot be opened.
    init?(path: String) {
        self.path = path
        file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
    }

    deinit { close(file) }

    /// What has been written since the last call, up to a limit; nil at the end of what there is now.
    mutating func next() throws(EngineError) -> [LogPiece]? {
        var buffer = [UInt8](repeating: 0, count: Self.pieceSize)
        while true {
            let count = read(file, &buffer, buffer.count)
            if count > 0 { return try parser.take(buffer[..<count]) }
            if count < 0, errno == EINTR { continue }
            guard count == 0 else {
                throw EngineError(
                    EngineError.refused, "podman's log file cannot be read", cause: String(cString: strerror(errno)))
            }
            guard try followReplacement() else { return nil }
        }
    }

    /// Goes on with the new file if there is one. The old one is read to its end then: conmon closed it before the
    /// new one appeared.
    private mutating func followReplacement() throws(EngineError) -> Bool {
        var own = stat()
        var present = stat()
        guard fstat(file, &own) == 0, stat(path, &present) == 0,
            (own.st_ino, own.st_dev) != (present.st_ino, present.st_dev)
        else {
            return false
        }
        // Between the last read and now the old file may have grown.
        var size = stat()
        guard fstat(file, &size) == 0, lseek(file, 0, SEEK_CUR) >= size.st_size else { return true }
        let next = open(path, O_RDONLY | O_CLOEXEC)
        guard next >= 0 else { return false }
        close(file)
        file = next
        parser = PodmanLogParser()
        return true
    }
}
