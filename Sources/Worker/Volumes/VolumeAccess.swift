// Data for one attempt: resolved as the submitter with openat2, mounted by descriptor into the worker's own folder,
// staged and
// published by an atomic rename. A path is looked up once; what was opened is what is mounted.
import CLinux
import Foundation
import Glibc
import JobModel

/// An open file descriptor that closes itself.
struct Descriptor: ~Copyable {
    let number: Int32
    init(owning file: Int32) { number = file }
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
    /// Mounting needs root. Without it the engine oci looks the path up again when it mounts it; a daemon is given the
    /// path that was resolved, which is weaker.
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

    /// Where the host finds what was staged for a slot, mounted again if need be. Nothing is made: what is missing is
    /// an error.
    func staged(_ slot: SlotName, at binding: Binding, for attempt: AttemptID, as user: Identity)
        throws(VolumeError) -> String
    {
        let (root, _, _) = try table.resolve(binding, slot)
        let what = "slot '\(slot)': \(binding)"
        let rootFolder = try Self.open(root: root)
        let staging = try stagingFolder(rootFolder, attempt, user, what: what)
        let found = try Descriptor(jc_open_beneath(staging.number, slot.rawValue, user.uid, user.gid, 0, 0), what)
        return try mount(
            found, path: "\(root)/\(Self.staging)/\(attempt)/\(slot)", slot, attempt, readOnly: false)
    }

    /// The folder of the volume below which ``mount(_:_:at:for:as:)`` found the data; nil where it has mounted what it
    /// found.
    func unmountedRoot(of binding: Binding, _ slot: SlotName) -> String? {
        guard !isRoot else { return nil }
        return try? table.resolve(binding, slot).root  // allowed: mounting has said why
    }

    static let own = ".jobctl"
    private static let staging = ".jobctl/staging"

    static func open(root: String) throws(VolumeError) -> Descriptor {
        let result = Glibc.open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
        return try Descriptor(result < 0 ? -errno : result, "the volume's folder \(root)")
    }

    /// A folder of the worker inside a volume: it must be the agent's own, or somebody else decides what is in it.
    func ownFolder(_ parent: borrowing Descriptor, _ name: String, what: String) throws(VolumeError)
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
    func stagingFolder(_ root: borrowing Descriptor, _ attempt: AttemptID, _ user: Identity, what: String)
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
        let folder = "\(mountFolder)/\(attempt)"
        let target = "\(folder)/\(slot)"
        var information = stat()
        guard fstat(found.number, &information) == 0 else { throw VolumeError("slot '\(slot)': cannot be examined") }
        guard isRoot else {
            guard [S_IFDIR, S_IFREG].contains(information.st_mode & S_IFMT) else {
                throw VolumeError("slot '\(slot)': \(path) is neither a folder nor a file")
            }
            return path
        }
        mkdir(mountFolder, 0o711)
        mkdir(folder, 0o711)
        // What an earlier life mounted here, perhaps of another kind.
        while jc_unmount(target) == 0 {}
        switch information.st_mode & S_IFMT {
        case S_IFDIR:
            unlink(target)
            mkdir(target, 0o755)
        case S_IFREG:
            rmdir(target)
            close(Glibc.open(target, O_WRONLY | O_CREAT | O_CLOEXEC, 0o644))
        default: throw VolumeError("slot '\(slot)': \(path) is neither a folder nor a file")
        }
        let result = jc_mount_descriptor(found.number, target, readOnly ? 1 : 0)
        guard result == 0 else {
            throw VolumeError("slot '\(slot)': cannot be mounted: \(String(cString: strerror(-result)))")
        }
        return target
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
            do throws(VolumeError) {
                let rootFolder = try Self.open(root: place.root)
                let own = try ownFolder(rootFolder, Self.own, what: "")
                let staging = try ownFolder(own, "staging", what: "")
                _ = jc_remove_tree(staging.number, attempt.description)
            } catch {
                continue  // the volume is gone, or the folder is not the worker's: then nothing of it is
            }
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
