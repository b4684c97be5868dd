// Which sessions an agent serves, on disk: one empty file each. An agent that was killed could not end what it had
// started in containers; the next one finds it here and does.
import Glibc
import RunnerCore

struct SessionBook: Sendable {
    /// `DATA/sessions`.
    let folder: String

    /// Before anything of the session is started.
    /// - Throws: if the disk does not take it, or if the id is no file's name.
    func begin(_ id: String) throws(FileFailure) {
        guard Self.isName(id) else { throw FileFailure("the session's id", EINVAL) }
        mkdir(folder, 0o700)
        let file = Glibc.open("\(folder)/\(id)", O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0 else { throw FileFailure("\(folder)/\(id)", errno) }
        close(file)
    }

    /// Nothing of it is left in its container.
    func end(_ id: String) {
        if Self.isName(id) { unlink("\(folder)/\(id)") }
    }

    /// The sessions that have begun and not ended.
    var open: [String] {
        guard let entries = opendir(folder) else { return [] }
        defer { closedir(entries) }
        var names: [String] = []
        while let entry = readdir(entries) {
            let name = withUnsafePointer(to: entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if Self.isName(name) { names.append(name) }
        }
        return names.sorted()
    }

    private static func isName(_ id: String) -> Bool {
        (1...64).contains(id.utf8.count)
            && id.utf8.allSatisfy {
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0)
                    || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
            }
    }
}
