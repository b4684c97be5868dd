// The end of the line: a layer's tar, entry by entry, as files below one folder, in overlayfs's own form. Nobody
// vouches for the entries. Each file operation names one component relative to a descriptor of its folder, which was
// opened with openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS); a file is always made anew, never opened. So nothing
// outside of the folder can be reached, whatever the tar says.
//
// What becomes of the entries (DESIGN section 5):
//   owner, mode, time    kept; set-user-ID and set-group-ID bits of files are taken off: no container could use them,
//                        and the layer store shall not be a box of root's own set-user-ID programs
//   extended attributes  `user.*` are kept, all others dropped: capabilities of files, labels of the machine that built
//                        the image, access lists, and overlayfs's own, by which a layer could forge what it hides
//   device nodes         refused: containers have none but those of their own /dev; sockets and the like as well
//   whiteouts            character device 0/0, and the attribute `opaque` on folders
//   hard links           to what the layer itself has, only
//   folders not listed   mode 0755, of root, time 0, as Docker makes them
import CArchive
import CLinux
import Glibc
import JobModel

final class LayerUnpacker {
    let root: Int32
    /// Where folders go to be removed, and under which name.
    private let trash: (folder: Int32, name: String)
    let form: OverlayForm
    let limits: LayerLimits
    private let layer: String

    /// The folder of the entry before, which is mostly that of the next. Its time is put back when it is left.
    private var folder: (file: Int32, path: [CChar], seconds: Int64, nanoseconds: Int64)?
    private var entries = 0
    var declared: Int64 = 0
    /// Modes that would lock out an owner without privileges, set last.
    var lateModes: [(path: [CChar], mode: mode_t)] = []

    /// Bytes on disk, about.
    var bytes: Int64 = 4096
    /// The root hides all layers below. overlayfs has no form for that: whoever mounts leaves them out.
    var hidesLower = false

    let keepsOwner = geteuid() != 0

    init(
        root: Int32, trash: (folder: Int32, name: String), form: OverlayForm, limits: LayerLimits, layer: String
    ) {
        self.root = root
        self.trash = trash
        self.form = form
        self.limits = limits
        self.layer = layer
    }

    deinit { if let folder { close(folder.file) } }

    /// Runs to the end of the tar, on its own thread.
    func run(from plain: Conveyor) throws(StageFailure) {
        do throws(StageFailure) {
            try check(jc_layer_set_time(root, 0, 0), "set the time of a layer")
            let archive = try LayerArchive.tar(named: layer) { () throws(StageFailure) -> [UInt8]? in
                try Self.take(from: plain)
            }
            while let entry = try archive.next() { try place(entry, archive) }
            // The padding after the end; only its end says that the digests are right.
            while try Self.take(from: plain) != nil {}
            leaveFolder()
            try setLateModes()
        } catch {
            plain.abandon()
            throw error
        }
    }

    private static func take(from plain: Conveyor) throws(StageFailure) -> [UInt8]? {
        switch plain.take() {
        case .bytes(let piece): return piece
        case .end: return nil
        case .broken: throw StageFailure.neighbour
        }
    }

    // MARK: One entry

    private func place(_ entry: OpaquePointer, _ archive: LayerArchive) throws(StageFailure) {
        // Names are bytes: libarchive's other reading has those only that are UTF-8.
        let text = archive_entry_pathname(entry) ?? archive_entry_pathname_utf8(entry)
        let name = text.map { String(cString: $0) } ?? ""
        do throws(StageFailure) {
            guard let text else { throw StageFailure.refusedEntry("it has no name") }
            entries += 1
            guard entries <= limits.entries else {
                throw StageFailure.refusedEntry("the layer has more than \(limits.entries) entries")
            }
            let path = try LayerPath(text)
            if path.isBookkeeping { return }
            try place(entry, path, archive, name)
        } catch {
            guard case .refusedEntry(let why) = error else { throw error }
            throw StageFailure.own(.refused(what: place(name), why: why))
        }
    }

    func place(_ name: String) -> String { "the entry \(quoted(name)) of \(layer)" }

    private func place(
        _ entry: OpaquePointer, _ path: LayerPath, _ archive: LayerArchive, _ name: String
    ) throws(StageFailure) {
        if path.isRoot {
            guard kind(of: entry) == .folder else {
                throw StageFailure.refusedEntry("it would replace the layer's root")
            }
            leaveFolder()
            return try dress(root, as: try attributes(of: entry), path)
        }
        switch try path.marker() {
        case .opaque: return try hideAll(in: path)
        case .hides(let hidden): return try hide(hidden, in: path)
        case .none: break
        }
        let folder = try enter(path)
        if let target = archive_entry_hardlink(entry) ?? archive_entry_hardlink_utf8(entry) {
            return try hardLink(to: target, at: path, in: folder)
        }
        let attributes = try attributes(of: entry)
        switch kind(of: entry) {
        case .file: try file(entry, attributes, at: path, in: folder, archive, name)
        case .folder: try makeFolder(entry, attributes, at: path, in: folder)
        case .link: try link(entry, attributes, at: path, in: folder)
        case .pipe:
            try make(path, in: folder) { jc_layer_make_pipe(folder, $0, attributes.mode) }
            try dress(path, in: folder, as: attributes)
        case .device:
            throw StageFailure.refusedEntry(
                "it is a device node, and containers get no devices: build the image without it")
        case .other: throw StageFailure.refusedEntry("it is neither a file nor a folder, link or pipe")
        }
        bytes += 4096
    }

    // MARK: Names and folders

    /// Makes what `body` makes; what the layer had under the name before is replaced, as the tar's order says.
    @discardableResult
    func make(
        _ path: LayerPath, in folder: Int32, _ body: ([CChar]) -> Int32
    ) throws(StageFailure) -> Int32 {
        let code = body(path.leaf)
        guard code == -EEXIST else { return try allow(code) }
        if jc_layer_unlink(folder, path.leaf) == -EISDIR {
            try allow(jc_layer_rename(folder, path.leaf, trash.folder, trash.name))
            try allow(jc_layer_remove(trash.folder, trash.name))
        }
        return try allow(body(path.leaf))
    }

    /// Opens the entry's folder, making what the tar did not list.
    func enter(_ path: LayerPath) throws(StageFailure) -> Int32 {
        if let folder, folder.path == path.folder { return folder.file }
        leaveFolder()
        var file = jc_layer_folder(root, path.folder)
        if file == -ENOENT { file = jc_layer_make_folders(root, path.folder) }
        try allow(file)
        var (seconds, nanoseconds): (Int64, Int64) = (0, 0)
        let code = jc_layer_time(file, &seconds, &nanoseconds)
        folder = (file, path.folder, seconds, nanoseconds)
        try allow(code)
        return file
    }

    func leaveFolder() {
        guard let folder else { return }
        _ = jc_layer_set_time(folder.file, folder.seconds, folder.nanoseconds)
        close(folder.file)
        self.folder = nil
    }

    // MARK: The end

    /// The deepest first: a folder that its owner may not enter hides those inside.
    private func setLateModes() throws(StageFailure) {
        for (path, mode) in lateModes.reversed() {
            let file = jc_layer_folder(root, path)
            // A later entry may have taken its place.
            guard file >= 0 else { continue }
            defer { close(file) }
            try check(fchmod(file, mode) == 0 ? 0 : -errno, "set a mode")
        }
    }

    // MARK: Results of system calls

    func write(_ piece: UnsafeRawBufferPointer, at offset: Int64, to file: Int32) throws(StageFailure) {
        var done = 0
        while done < piece.count {
            let count = pwrite(
                file, piece.baseAddress?.advanced(by: done), piece.count - done, off_t(offset) + off_t(done))
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw StageFailure.own(.storage(operation: "unpack \(layer)", errno: errno)) }
            done += count
        }
    }

    private func check(_ code: Int32, _ operation: String) throws(StageFailure) {
        guard code >= 0 else { throw StageFailure.own(.storage(operation: operation, errno: -code)) }
    }

    /// Tells what an entry asks for from what the disk cannot do.
    @discardableResult
    func allow(_ code: Int32) throws(StageFailure) -> Int32 {
        guard code < 0 else { return code }
        switch -code {
        case ELOOP: throw StageFailure.refusedEntry("its path leads through a symbolic link")
        case ENOTDIR: throw StageFailure.refusedEntry("its path leads through something that is no folder")
        case ENAMETOOLONG: throw StageFailure.refusedEntry("its path or its target is too long")
        case EMLINK: throw StageFailure.refusedEntry("a file has more links than the disk can count")
        case EXDEV: throw StageFailure.refusedEntry("its path would leave the layer")
        default: throw StageFailure.own(.storage(operation: "unpack \(layer)", errno: -code))
        }
    }
}
