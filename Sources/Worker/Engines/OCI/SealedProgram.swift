// The OCI runtime as a copy in memory that nobody can change. What a container gets hold of must never be the host's
// own program, so crun and runc copy themselves at each start, unless they were started from such a copy. Invariant:
// the copy is of the program as it is on disk now.
import CLinux
import Glibc
import Synchronization

final class SealedProgram: Sendable {
    private struct Identity: Equatable {
        var device: UInt
        var file: UInt
        var size: Int
        var changed: [Int]
    }
    private struct Copy {
        var of: Identity?
        /// -1 where the kernel makes none: then the runtime is started from its path, and copies itself.
        var file: Int32 = -1
    }
    private let path: String
    private let copy = Mutex(Copy())

    init(path: String) { self.path = path }

    deinit {
        let file = copy.withLock { $0.file }
        if file >= 0 { close(file) }
    }

    /// To hand to one runner at a time: an update of the program closes it.
    var descriptor: Int32 {
        copy.withLock { copy in
            let identity = identity
            if copy.of == identity { return copy.file }
            if copy.file >= 0 { close(copy.file) }
            copy = Copy(of: identity, file: identity == nil ? -1 : max(-1, jc_sealed_copy(path)))
            return copy.file
        }
    }

    private var identity: Identity? {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        return Identity(
            device: UInt(status.st_dev), file: UInt(status.st_ino), size: Int(status.st_size),
            changed: [Int(status.st_ctim.tv_sec), Int(status.st_ctim.tv_nsec)])
    }
}
