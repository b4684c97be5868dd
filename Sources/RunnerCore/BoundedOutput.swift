// One stream of a program's output into a file: the first bytes up to a limit, then a line that says that the rest is
// not kept. Invariant: a full disk or a full file never stops the program: what cannot be kept is read and dropped.
import Glibc

package struct BoundedOutput: ~Copyable {
    private let path: String
    private var file: Int32 = -1
    private var left: Int64
    private let limit: Int64
    private var isCut = false

    /// Appends to the file at `path`, which is made with the first byte: most programs never write to stderr.
    package init(path: String, limit: Int64) {
        self.path = path
        self.limit = limit
        left = limit
    }

    deinit { if file >= 0 { close(file) } }

    package mutating func append(_ bytes: UnsafeRawBufferPointer) {
        guard !isCut, !bytes.isEmpty else { return }
        let kept = min(left, Int64(bytes.count))
        guard store(UnsafeRawBufferPointer(rebasing: bytes[..<Int(kept)])) else {
            return cut("\n[jobctl: the worker's disk could not take the output: the rest is not kept]\n")
        }
        left -= kept
        if kept < bytes.count { cut(Self.mark(limit)) }
    }

    /// What stands after `limit` bytes of a longer output.
    package static func mark(_ limit: Int64) -> String {
        "\n[jobctl: the output is longer than \(limit >> 20) MiB: the rest is not kept]\n"
    }

    private mutating func cut(_ sentence: String) {
        isCut = true
        var sentence = sentence
        _ = sentence.withUTF8 { store(UnsafeRawBufferPointer($0)) }
    }

    private mutating func store(_ bytes: UnsafeRawBufferPointer) -> Bool {
        if file < 0 { file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0o600) }
        var done = 0
        while done < bytes.count {
            let count = write(file, bytes.baseAddress?.advanced(by: done), bytes.count - done)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return false }
            done += count
        }
        return true
    }
}
