// Data for one attempt: resolved as the submitter with openat2, mounted by descriptor into the worker's own folder,
// staged and published by an atomic rename. A path is looked up once; what was opened is what is mounted.
import CLinux
import Foundation
import Glibc
import JobModel

/// An open file descriptor that closes itself.
struct Descriptor: ~Copyable {
    let number: Int32
    init(_ result: Int32, _ what: String) throws(VolumeError) {
        guard result >= 0 else { throw VolumeError("\(what): \(String(cString: strerror(-result)))") }
        number = result
    }
    deinit { close(number) }
}

package struct VolumeAccess: Sendable {
    let table: VolumeTable
    /// The worker's own folder for mounts: `DATA/mounts`.
    let mountFolder: String
    /// Mounting needs root; without it the engine is given the path that was resolved, which is weaker.
    private let isRoot = geteuid() == 0

    package init(table: VolumeTable, mountFolder: String) {
        self.table = table
        self.mountFolder = mountFolder
    }

    /// Resolves and mounts the data of a slot; the host path to give to the engine.
    func mount(_ slot: SlotName, _ mode: SlotMode, at binding: Binding, for attempt: AttemptID, as user: Identity)
        throws(VolumeError) -> String
    {
        let (root, path, writable) = try table.resolve(binding, slot)
        guard mode == .ro || writable else {
            throw VolumeError("slot '\(slot)': the volume of '\(binding)' is read-only on this worker")
        }
        let rootFolder = try Self.open(root: root)
        let what = "slot '\(slot)': \(binding)"
        switch mode {
        case .ro, .rw:
            let found = try Descriptor(
                jc_open_beneath(rootFolder.number, path, user.uid, user.gid, mode == .rw ? 1 : 0, 0), what)
            return try mount(found, path: root + "/" + path, slot, attempt, readOnly: mode == .ro)
        case .out:
            let staging = try stagingFolder(rootFolder, attempt, user, what: what)
            let name = slot.rawValue
            // Only the agent and the submitter can get here: the parent belongs to the submitter, mode 0700.
            let made = jc_open_beneath(staging.number, name, user.uid, user.gid, 1, 0)
            return try mount(
                try Descriptor(made, what), path: "\(root)/\(Self.staging)/\(attempt)/\(name)", slot, attempt,
                readOnly: false)
        }
    }

    /// Where what a program wrote into an `out` slot can be read until it is published: a worker without root mounts
    /// nothing, and its containers write into the staging folder itself.
    func outputFolder(of slot: SlotName, at binding: Binding, for attempt: AttemptID) throws(VolumeError) -> String {
        guard !isRoot else { return "\(mountFolder)/\(attempt)/\(slot)" }
        return "\(try table.resolve(binding, slot).root)/\(Self.staging)/\(attempt)/\(slot)"
    }

    private static let own = ".jobctl"
    private static let staging = ".jobctl/staging"
    private static let published = ".jobctl/published"

    private static func open(root: String) throws(VolumeError) -> Descriptor {
        let result = Glibc.open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
        return try Descriptor(result < 0 ? -errno : result, "the volume's folder \(root)")
    }

    /// A folder of the worker inside a volume: it must be the agent's own, or somebody else decides what is in it.
    private func ownFolder(_ parent: borrowing Descriptor, _ name: String, what: String) throws(VolumeError)
        -> Descriptor
    {
        guard mkdirat(parent.number, name, 0o711) == 0 || errno == EEXIST else {
            throw VolumeError("\(what): the worker cannot make \(name) there: \(String(cString: strerror(errno)))")
        }
        let result = openat(parent.number, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        let folder = try Descriptor(result < 0 ? -errno : result, what)
        var information = stat()
        guard fstat(folder.number, &information) == 0, information.st_uid == geteuid() else {
            throw VolumeError("\(what): \(name) in the volume does not belong to the worker")
        }
        return folder
    }

    /// `.jobctl/staging/<attempt>`, belonging to the submitter.
    private func stagingFolder(_ root: borrowing Descriptor, _ attempt: AttemptID, _ user: Identity, what: String)
        throws(VolumeError) -> Descriptor
    {
        let own = try ownFolder(root, Self.own, what: what)
        let staging = try ownFolder(own, "staging", what: what)
        let name = attempt.description
        if mkdirat(staging.number, name, 0o700) != 0, errno != EEXIST {
            throw VolumeError("\(what): the staging folder cannot be made: \(String(cString: strerror(errno)))")
        }
        if isRoot { _ = fchownat(staging.number, name, user.uid, user.gid, AT_SYMLINK_NOFOLLOW) }
        let result = openat(staging.number, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        return try Descriptor(result < 0 ? -errno : result, what)
    }

    private func mount(
        _ found: borrowing Descriptor, path: String, _ slot: SlotName, _ attempt: AttemptID, readOnly: Bool
    ) throws(VolumeError) -> String {
        guard isRoot else { return path }
        let folder = "\(mountFolder)/\(attempt)"
        let target = "\(folder)/\(slot)"
        mkdir(mountFolder, 0o711)
        mkdir(folder, 0o711)
        var information = stat()
        guard fstat(found.number, &information) == 0 else { throw VolumeError("slot '\(slot)': cannot be examined") }
        if information.st_mode & S_IFMT == S_IFDIR {
            mkdir(target, 0o755)
        } else {
            close(Glibc.open(target, O_WRONLY | O_CREAT | O_CLOEXEC, 0o644))
        }
        _ = jc_unmount(target)
        let result = jc_mount_descriptor(found.number, target, readOnly ? 1 : 0)
        guard result == 0 else {
            throw VolumeError("slot '\(slot)': cannot be mounted: \(String(cString: strerror(-result)))")
        }
        return target
    }

    // MARK: Publishing

    /// Moves a staged output to its place. Nothing is ever overwritten, but for what an earlier, superseded attempt of
    /// the same task
    /// published: that is moved aside.
    func publish(_ slot: SlotName, to binding: Binding, for attempt: AttemptID, as user: Identity) throws(VolumeError) {
        let (root, path, _) = try table.resolve(binding, slot)
        let what = "slot '\(slot)': \(binding)"
        guard !path.isEmpty else { throw VolumeError("\(what): an output needs a path below the volume") }
        let rootFolder = try Self.open(root: root)
        let own = try ownFolder(rootFolder, Self.own, what: what)
        let records = try ownFolder(own, "published", what: what)
        let parts = path.split(separator: "/")
        let (parentPath, name) = (parts.dropLast().joined(separator: "/"), String(parts[parts.count - 1]))
        let parent = try Descriptor(jc_open_beneath(rootFolder.number, parentPath, user.uid, user.gid, 1, 1), what)
        let staged = try stagingFolder(rootFolder, attempt, user, what: what)
        let record = "\(attempt.task).\(slot)"
        // The agent crashed after the rename: the record names this attempt, and nothing is staged any more.
        if faccessat(staged.number, slot.rawValue, F_OK, AT_SYMLINK_NOFOLLOW) != 0,
            Self.text(records, record) == attempt.description
        {
            return
        }
        let earlier = Self.text(records, record).flatMap { AttemptID($0) }
        var result = jc_rename_new(staged.number, slot.rawValue, parent.number, name, user.uid, user.gid)
        if result == -EEXIST, let earlier, earlier.task == attempt.task, earlier.number < attempt.number {
            let aside = try ownFolder(own, "superseded", what: what)
            guard renameat(parent.number, name, aside.number, "\(earlier).\(slot)") == 0 else {
                throw VolumeError("\(what): the output of the lost attempt \(earlier) cannot be moved aside")
            }
            result = jc_rename_new(staged.number, slot.rawValue, parent.number, name, user.uid, user.gid)
        }
        guard result != -EEXIST else {
            throw VolumeError("\(what) exists already: outputs are never overwritten; bind another path")
        }
        guard result == 0 else {
            throw VolumeError("\(what): cannot be published: \(String(cString: strerror(-result)))")
        }
        guard Self.write(attempt.description, records, record) else {
            throw VolumeError("\(what): the publication cannot be recorded")
        }
        fsync(parent.number)
    }

    private static func text(_ folder: borrowing Descriptor, _ name: String) -> String? {
        let file = openat(folder.number, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var buffer = [UInt8](repeating: 0, count: 128)
        let count = read(file, &buffer, buffer.count)
        return count > 0 ? String(decoding: buffer[..<count], as: UTF8.self) : nil
    }

    private static func write(_ text: String, _ folder: borrowing Descriptor, _ name: String) -> Bool {
        let temporary = name + ".new"
        let file = openat(folder.number, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard file >= 0 else { return false }
        let count = text.utf8.count
        let written = text.withCString { Glibc.write(file, $0, count) } == count && fsync(file) == 0
        close(file)
        return written && renameat(folder.number, temporary, folder.number, name) == 0
    }

    // MARK: Cleaning up

    /// Takes the attempt's mounts away. Harmless to repeat.
    func unmount(_ attempt: AttemptID) {
        let folder = "\(mountFolder)/\(attempt)"
        // allowed: no folder, nothing mounted
        for name in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [] {
            let target = folder + "/" + name
            while jc_unmount(target) == 0 {}
            if rmdir(target) != 0 { unlink(target) }
        }
        rmdir(folder)
    }

    /// Removes what the attempt staged and did not publish.
    func removeStaging(of attempt: AttemptID, in record: JobRecord) {
        for (slot, entry) in record.slots where entry.mode == .out {
            guard let binding = try? record.location(of: slot, for: attempt.task),
                let place = try? table.resolve(binding, slot)
            else { continue }  // allowed: nothing was staged there
            // allowed: may be gone
            try? FileManager.default.removeItem(atPath: "\(place.root)/\(Self.staging)/\(attempt)")
        }
    }

    /// Takes away every mount that lies below the mount folder and belongs to none of `live`: what a crash left.
    func removeLeftovers(except live: Set<AttemptID>) {
        // allowed: no folder, nothing left
        for name in (try? FileManager.default.contentsOfDirectory(atPath: mountFolder)) ?? [] {
            guard let attempt = AttemptID(name), !live.contains(attempt) else { continue }
            unmount(attempt)
        }
    }
}
