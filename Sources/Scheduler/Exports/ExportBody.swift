// The bytes of a plan, piece by piece and hashed again on the way: what the disk has spoiled since, or what went away,
// breaks the answer off before its end, so that nobody can take a part for the whole.
import Foundation
import Hummingbird
import JobModel
import NIOCore
import OCI
import Synchronization

struct ExportBody: Sendable {
    let plan: ExportPlan
    let content: ContentStore
    let logs: LogFiles
    let trees: Trees
    let files: BlockingWork

    /// Sends everything.
    func write(to writer: inout any ResponseBodyWriter) async throws {
        var header = TarHeader(name: ExportList.path, size: Int64(plan.list.count))
        try await writer.write(ByteBuffer(bytes: header.bytes(at: plan.time) + plan.list))
        try await pad(header, &writer)
        for member in plan.members {
            header = TarHeader(name: "\(member.path)", size: member.size)
            try await writer.write(ByteBuffer(bytes: header.bytes(at: plan.time)))
            try await write(member, to: &writer)
            try await pad(header, &writer)
        }
        try await writer.write(ByteBuffer(bytes: TarHeader.end))
        try await writer.finish(nil)
    }

    private func pad(_ header: TarHeader, _ writer: inout any ResponseBodyWriter) async throws {
        let count = TarHeader.padding(header.size)
        if count > 0 { try await writer.write(ByteBuffer(repeating: 0, count: count)) }
    }

    private func write(_ member: ExportMember, to writer: inout any ResponseBodyWriter) async throws {
        let pieces = try await files.run { try MemberPieces(member, self) }
        var (hash, sent) = (DigestBuilder(), Int64(0))
        while let piece = try await files.run({ try pieces.next() }) {
            sent += Int64(piece.count)
            guard sent <= member.size else { throw Problem(.internal, "\(member.path) has grown") }
            hash.update(piece)
            try await writer.write(ByteBuffer(bytes: piece))
        }
        guard sent == member.size, hash.finish() == member.digest else {
            throw Problem(.internal, "\(member.path) is damaged: run 'jobctl archive verify'")
        }
    }
}

/// A member's bytes, each piece from whichever thread is free.
private final class MemberPieces: Sendable {
    private enum Reader {
        case part(PartReader)
        case tree(CompressedReader)
        case log(LogFiles, LogKey, offset: Int64, size: Int64)
    }

    private let reader: Mutex<Reader>

    init(_ member: ExportMember, _ body: ExportBody) throws {
        switch member.source {
        case .scratch(let offset):
            reader = Mutex(.part(try PartReader(path: body.plan.scratch.path, offset: offset, size: member.size)))
        case .blob:
            let path = body.content.path(of: member.digest)
            reader = Mutex(.part(try PartReader(path: path, offset: 0, size: member.size)))
        case .tree: reader = Mutex(.tree(try body.trees.lists.reader(member.digest)))
        case .log(let key): reader = Mutex(.log(body.logs, key, offset: 0, size: member.size))
        }
    }

    func next() throws -> [UInt8]? {
        try reader.withLock { reader in
            switch reader {
            case .part(let part): return try part.next()
            case .tree(let tree): return try tree.next()
            case .log(let logs, let key, let offset, let size):
                let piece = try logs.read(key, from: offset, count: Int(min(1 << 20, size - offset)))
                reader = .log(logs, key, offset: offset + Int64(piece.count), size: size)
                return piece.isEmpty ? nil : piece
            }
        }
    }
}
