// A container's exact output. dockerd: its multiplexed stream from the beginning, minus the prefix that is stored already. Podman: the
// k8s-file that conmon writes, because its API ends a last line that had no line break.
import AsyncHTTPClient
import Foundation
import Glibc
import JobModel
import NIOCore

extension DockerEngine {
    package func logs(_ id: String, skip: [LogPiece.Stream: Int64]) -> AsyncThrowingStream<LogPiece, any Error> {
        // Bounded, so that a chatty container waits for the disk and does not fill the memory.
        let (stream, continuation) = AsyncThrowingStream.makeStream(of: LogPiece.self, throwing: (any Error).self)
        let reader = Task {
            var prefix = PrefixSkipper(skip: skip)
            do {
                switch flavor {
                case .docker: try await readStream(id) { if let piece = prefix.pass($0) { continuation.yield(piece) } }
                case .podman: try await readFile(id) { if let piece = prefix.pass($0) { continuation.yield(piece) } }
                }
                continuation.finish()
            } catch {
                continuation.finish(throwing: error)
            }
        }
        continuation.onTermination = { _ in reader.cancel() }
        return stream
    }

    private func readStream(_ id: String, _ body: (LogPiece) -> Void) async throws {
        let path = "/containers/\(id)/logs?follow=true&stdout=true&stderr=true"
        let response = try await connection.open(.GET, path, timeout: .hours(24 * 365))
        guard response.status == .ok else { throw EngineError.noProof("the engine has no log of the container") }
        var frames = FrameParser()
        for try await bytes in response.body {
            for piece in try frames.take(bytes) { body(piece) }
        }
    }

    private func readFile(_ id: String, _ body: (LogPiece) -> Void) async throws {
        struct Inspect: Decodable {
            struct Host: Decodable {
                struct Log: Decodable { var Path: String? }
                var LogConfig: Log
            }
            var HostConfig: Host
        }
        let answer = try await connection.call(.GET, "/v4.0.0/libpod/containers/\(id)/json")
        guard answer.status == 200, let path = try answer.decode(Inspect.self).HostConfig.LogConfig.Path else {
            throw EngineError.noProof("the engine has no log of the container")
        }
        var parser = K8sLogParser()
        var file: Int32 = -1
        defer { if file >= 0 { close(file) } }
        var pause = Duration.milliseconds(20)
        while true {
            try Task.checkCancellation()
            // The state before the read: what was written before the end is read after it.
            let state = try await self.state(id)
            let hasEnded = !state.Running && state.Status != "created" && state.Status != "configured" && state.Status != "initialized"
            if file < 0 { file = open(path, O_RDONLY | O_CLOEXEC) }
            var grew = false
            var buffer = [UInt8](repeating: 0, count: 1 << 16)
            while file >= 0 {
                let count = read(file, &buffer, buffer.count)
                guard count > 0 else { break }
                grew = true
                for piece in parser.take(buffer[..<count]) { body(piece) }
            }
            if hasEnded { return }
            pause = grew ? .milliseconds(20) : min(pause * 2, .milliseconds(250))
            try await Task.sleep(for: pause)
        }
    }
}

/// Drops the bytes of each stream that are stored already.
struct PrefixSkipper {
    private var left: [LogPiece.Stream: Int64]

    init(skip: [LogPiece.Stream: Int64]) { left = skip }

    mutating func pass(_ piece: LogPiece) -> LogPiece? {
        let toSkip = left[piece.stream] ?? 0
        guard toSkip > 0 else { return piece }
        let dropped = min(toSkip, Int64(piece.bytes.count))
        left[piece.stream] = toSkip - dropped
        return dropped == piece.bytes.count ? nil : LogPiece(stream: piece.stream, bytes: Array(piece.bytes.dropFirst(Int(dropped))))
    }
}

/// Docker's stream: a header of 8 bytes (stream, three zeros, length in big endian), then the content.
struct FrameParser {
    private static let largestFrame = 16 << 20
    private var pending = ByteBuffer()

    /// - Throws: ``EngineError`` for a stream or a length that cannot be.
    mutating func take(_ bytes: ByteBuffer) throws(EngineError) -> [LogPiece] {
        var bytes = bytes
        pending.writeBuffer(&bytes)
        var pieces: [LogPiece] = []
        while let header = pending.getBytes(at: pending.readerIndex, length: 8) {
            let length = header[4...].reduce(0) { $0 << 8 | Int($1) }
            guard length <= Self.largestFrame, header[0] == 1 || header[0] == 2 else { throw .unavailable("the engine's log stream is damaged") }
            guard pending.readableBytes >= 8 + length else { break }
            pending.moveReaderIndex(forwardBy: 8)
            if let content = pending.readBytes(length: length), !content.isEmpty {
                pieces.append(LogPiece(stream: header[0] == 1 ? .stdout : .stderr, bytes: content))
            }
        }
        pending.discardReadBytes()
        return pieces
    }
}

/// conmon's lines: `<time> <stream> <F|P> <content>`. F ends with the program's own line break, P is a part of a line.
struct K8sLogParser {
    private var pending: [UInt8] = []

    mutating func take(_ bytes: ArraySlice<UInt8>) -> [LogPiece] {
        pending += bytes
        var content: [LogPiece] = []
        var start = pending.startIndex
        while let end = pending[start...].firstIndex(of: 0x0a) {
            if let piece = Self.piece(pending[start..<end]) {
                if let last = content.indices.last, content[last].stream == piece.stream {
                    content[last].bytes += piece.bytes
                } else {
                    content.append(piece)
                }
            }
            start = end + 1
        }
        pending.removeFirst(start - pending.startIndex)
        return content
    }

    private static func piece(_ line: ArraySlice<UInt8>) -> LogPiece? {
        let parts = line.split(separator: 0x20, maxSplits: 3, omittingEmptySubsequences: false)
        guard parts.count == 4, let stream = LogPiece.Stream(rawValue: String(decoding: parts[1], as: UTF8.self)), parts[2].count == 1 else { return nil }
        return LogPiece(stream: stream, bytes: Array(parts[3]) + (parts[2].first == UInt8(ascii: "F") ? [0x0a] : []))
    }
}
