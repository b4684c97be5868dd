// How an output gets to its place: one atomic rename of what was staged, by the submitter's own permissions. Nothing
// is ever
// overwritten. A record beside the data says which attempt of a task published which folder (by its inode), so that a
// repeated call
// after a crash finds its work done, and a later attempt can tell a superseded one's output from anybody else's data.
import CLinux
import Foundation
import Glibc
import JobModel

extension VolumeAccess {
    /// Moves a staged output to its place. Harmless to repeat, wherever an earlier call was interrupted.
    /// What an earlier, superseded attempt of the same task published there is moved aside; anything else is never
    /// touched.
    func publish(_ slot: SlotName, to binding: Binding, for attempt: AttemptID, as user: Identity) throws(VolumeError) {
        let (root, path, writable) = try table.resolve(binding, slot)
        let what = "slot '\(slot)': \(binding)"
        guard !path.isEmpty else { throw VolumeError("\(what): an output needs a path below the volume") }
        guard writable else { throw VolumeError("\(what): the volume is read-only on this worker") }
        let rootFolder = try Self.open(root: root)
        let own = try ownFolder(rootFolder, Self.own, what: what)
        let records = try ownFolder(own, "published", what: what)
        let parts = path.split(separator: "/")
        let (parentPath, name) = (parts.dropLast().joined(separator: "/"), String(parts[parts.count - 1]))
        let parent = try Descriptor(jc_open_beneath(rootFolder.number, parentPath, user.uid, user.gid, 1, 0), what)
        let staged = try stagingFolder(rootFolder, attempt, user, what: what)
        let recordName = "\(attempt.task).\(slot)"
        let earlier = Publication.read(recordName, in: records)
        guard let source = FolderIdentity(slot.rawValue, in: staged) else {
            if let earlier, earlier.attempt == attempt, FolderIdentity(name, in: parent) == earlier.folder { return }
            throw VolumeError("\(what): nothing is staged")
        }
        if Self.exists(name, in: parent) {
            guard let earlier, earlier.isSuperseded(by: attempt), FolderIdentity(name, in: parent) == earlier.folder
            else { throw VolumeError("\(what) exists already: outputs are never overwritten; bind another path") }
            let aside = try ownFolder(own, "superseded", what: what)
            guard renameat(parent.number, name, aside.number, "\(earlier.attempt).\(slot)") == 0 else {
                throw VolumeError(
                    "\(what): the output of the lost attempt \(earlier.attempt) cannot be moved aside: \(Self.reason(errno))"
                )
            }
        }
        guard Publication(attempt: attempt, folder: source).write(as: recordName, in: records) else {
            throw VolumeError("\(what): the publication cannot be recorded: \(Self.reason(errno))")
        }
        let result = jc_rename_new(staged.number, slot.rawValue, parent.number, name, user.uid, user.gid)
        if result != 0 { throw VolumeError("\(what) \(Self.refusal(-result))") }
        Self.sync(parent)
    }

    private static func refusal(_ code: Int32) -> String {
        switch code {
        case EEXIST: "exists already: outputs are never overwritten; bind another path"
        case EXDEV: "lies on another file system than the volume's own folder: outputs are published by renaming"
        default: "cannot be published: \(reason(code))"
        }
    }

    private static func reason(_ code: Int32) -> String { String(cString: strerror(code)) }

    private static func exists(_ name: String, in folder: borrowing Descriptor) -> Bool {
        faccessat(folder.number, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0
    }

    /// The rename is on disk when the success is reported. The descriptor itself is O_PATH, which cannot be synced.
    private static func sync(_ folder: borrowing Descriptor) {
        let file = openat(folder.number, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard file >= 0 else { return }
        fsync(file)
        close(file)
    }
}

/// Which folder it is, whatever its name.
private struct FolderIdentity: Hashable {
    let device: UInt64
    let inode: UInt64

    init(device: UInt64, inode: UInt64) {
        self.device = device
        self.inode = inode
    }

    /// Nil if there is none, or if it is no folder.
    init?(_ name: String, in folder: borrowing Descriptor) {
        var information = stat()
        guard fstatat(folder.number, name, &information, AT_SYMLINK_NOFOLLOW) == 0,
            information.st_mode & S_IFMT == S_IFDIR
        else { return nil }
        self.init(device: UInt64(information.st_dev), inode: UInt64(information.st_ino))
    }
}

/// What an attempt of a task published: `ATTEMPT DEVICE INODE` in `.jobctl/published/TASK.SLOT`, written before the
/// rename.
private struct Publication {
    let attempt: AttemptID
    let folder: FolderIdentity

    func isSuperseded(by other: AttemptID) -> Bool { attempt.task == other.task && attempt.number < other.number }

    static func read(_ name: String, in records: borrowing Descriptor) -> Publication? {
        let file = openat(records.number, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var buffer = [UInt8](repeating: 0, count: 256)
        let count = Glibc.read(file, &buffer, buffer.count)
        guard count > 0 else { return nil }
        let parts = String(decoding: buffer[..<count], as: UTF8.self).split(separator: " ")
        guard parts.count == 3, let attempt = AttemptID(parts[0]), let device = UInt64(parts[1]),
            let inode = UInt64(parts[2])
        else { return nil }
        return Publication(attempt: attempt, folder: FolderIdentity(device: device, inode: inode))
    }

    func write(as name: String, in records: borrowing Descriptor) -> Bool {
        let temporary = name + ".new"
        let file = openat(records.number, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard file >= 0 else { return false }
        let text = Array("\(attempt) \(folder.device) \(folder.inode)".utf8)
        let written = Glibc.write(file, text, text.count) == text.count && fsync(file) == 0
        close(file)
        return written && renameat(records.number, temporary, records.number, name) == 0
    }
}
