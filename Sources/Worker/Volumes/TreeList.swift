// The lines that a tree digest is of, as a file of the worker: what the scheduler keeps, so that years later somebody
// can tell which file it was that changed. An attempt does not depend on it: a list that is too long, or that the disk
// does not take, is given up.
import Glibc
import JobModel

final class TreeList {
    private let path: String
    /// -1 once it is done or given up.
    private var file: Int32
    private var buffer: [UInt8] = []
    private var size: Int64 = 0

    /// Makes the folder if it is not there: an attempt has none until something of it must be kept.
    init(path: String) {
        self.path = path
        func opened() -> Int32 { open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600) }
        file = opened()
        guard file < 0, errno == ENOENT, let slash = path.lastIndex(of: "/") else { return }
        mkdir(String(path[..<slash]), 0o700)
        file = opened()
    }

    /// One that was not finished is no list.
    deinit { giveUp() }

    func add(_ line: [UInt8]) {
        guard file >= 0 else { return }
        size += Int64(line.count)
        guard size <= TreeManifestReader.sizeLimit else { return giveUp() }
        buffer += line
        if buffer.count >= 1 << 16 { flush() }
    }

    func finish() {
        flush()
        guard file >= 0 else { return }
        close(file)
        file = -1
    }

    private func flush() {
        guard file >= 0 else { return }
        var done = 0
        while done < buffer.count {
            let count = buffer.withUnsafeBytes { write(file, $0.baseAddress?.advanced(by: done), $0.count - done) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return giveUp() }
            done += count
        }
        buffer.removeAll(keepingCapacity: true)
    }

    private func giveUp() {
        guard file >= 0 else { return }
        close(file)
        file = -1
        unlink(path)
    }
}

/// The lists of one attempt, `tree.<slot>` in its folder of the journal, and how they get to the scheduler.
struct TreeLists: Sendable {
    let folder: String

    func path(_ slot: SlotName) -> String { "\(folder)/tree.\(slot)" }

    /// The list of a slot, if there is one that can still be sent.
    func exists(_ slot: SlotName) -> Bool { access(path(slot), F_OK) == 0 }
    func remove(_ slot: SlotName) { unlink(path(slot)) }
}
