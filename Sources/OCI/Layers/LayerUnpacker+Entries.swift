// What becomes of each kind of entry: the table at the top of LayerUnpacker.swift, in code.
import CArchive
import CLinux
import Glibc
import JobModel

extension LayerUnpacker {
    enum Kind { case file, folder, link, pipe, device, other }

    func kind(of entry: OpaquePointer) -> Kind {
        switch archive_entry_filetype(entry) & S_IFMT {
        case S_IFREG: .file
        case S_IFDIR: .folder
        case S_IFLNK: .link
        case S_IFIFO: .pipe
        case S_IFCHR, S_IFBLK: .device
        default: .other
        }
    }

    func attributes(of entry: OpaquePointer) throws(StageFailure) -> jc_attributes {
        let owners = [archive_entry_uid(entry), archive_entry_gid(entry)]
        // The largest number means "leave as it is" to chown.
        guard owners.allSatisfy({ (0..<Int64(UInt32.max)).contains($0) }) else {
            throw StageFailure.refusedEntry("its owner is \(owners[0]):\(owners[1]), which is no user")
        }
        let isFolder = kind(of: entry) == .folder
        let nanoseconds = Int64(archive_entry_mtime_nsec(entry))
        return jc_attributes(
            uid: uid_t(owners[0]), gid: gid_t(owners[1]),
            mode: archive_entry_perm(entry) & (isFolder ? 0o3777 : 0o1777),
            seconds: Int64(archive_entry_mtime(entry)),
            nanoseconds: (0..<1_000_000_000).contains(nanoseconds) ? nanoseconds : 0)
    }

    // MARK: Kinds of entries

    func file(
        _ entry: OpaquePointer, _ attributes: jc_attributes, at path: LayerPath, in folder: Int32,
        _ archive: LayerArchive, _ name: String
    ) throws(StageFailure) {
        let size = Int64(archive_entry_size(entry))
        guard size >= 0, size <= limits.bytes.bytes - declared else {
            let whole = ByteCount(bytes: max(size, 0))
            throw StageFailure.refusedEntry("with its \(whole) the layer's files have more than \(limits.bytes)")
        }
        declared += size
        let file = try make(path, in: folder) { jc_layer_make_file(folder, $0) }
        defer { close(file) }
        var end: Int64 = 0
        try archive.forEachPiece(of: place(name)) { (piece, offset) throws(StageFailure) in
            guard offset >= end, offset <= size, Int64(piece.count) <= size - offset else {
                throw StageFailure.refusedEntry("its content is larger than its size")
            }
            try write(piece, at: offset, to: file)
            end = offset + Int64(piece.count)
            bytes += Int64(piece.count)
        }
        if end < size { try allow(ftruncate(file, off_t(size)) == 0 ? 0 : -errno) }
        try extended(entry, file)
        try dress(file, as: attributes, path)
    }

    func makeFolder(
        _ entry: OpaquePointer, _ attributes: jc_attributes, at path: LayerPath, in folder: Int32
    ) throws(StageFailure) {
        var isHidden = false
        if jc_layer_make_folder(folder, path.leaf) == -EEXIST {
            let kind = try allow(jc_layer_kind(folder, path.leaf))
            if kind != JC_FOLDER.rawValue {
                // The layer hides the folder below and has one of its own.
                isHidden = kind == JC_WHITEOUT.rawValue
                try make(path, in: folder) { jc_layer_make_folder(folder, $0) }
            }
        }
        let file = try allow(jc_layer_folder(folder, path.leaf))
        defer { close(file) }
        if isHidden { try allow(jc_layer_attribute(file, form.opaqueAttribute, "y", 1)) }
        try extended(entry, file)
        try dress(file, as: attributes, path)
    }

    func link(
        _ entry: OpaquePointer, _ attributes: jc_attributes, at path: LayerPath, in folder: Int32
    ) throws(StageFailure) {
        guard let target = archive_entry_symlink(entry) ?? archive_entry_symlink_utf8(entry), target[0] != 0 else {
            throw StageFailure.refusedEntry("it is a symbolic link to nothing")
        }
        try make(path, in: folder) { jc_layer_make_link(folder, $0, target) }
        try dress(path, in: folder, as: attributes)
    }

    func hardLink(
        to text: UnsafePointer<CChar>, at path: LayerPath, in folder: Int32
    ) throws(StageFailure) {
        let target: LayerPath
        do throws(StageFailure) {
            target = try LayerPath(text)
        } catch {
            guard case .refusedEntry(let why) = error else { throw error }
            throw StageFailure.refusedEntry("it is a hard link to \(quoted(String(cString: text))), and there \(why)")
        }
        if target == path { return }
        let missing = StageFailure.refusedEntry(
            "it is a hard link to \(quoted(String(cString: text))), which the layer does not have")
        guard !target.isRoot else { throw missing }
        let isNear = target.folder == path.folder
        let other = isNear ? folder : jc_layer_folder(root, target.folder)
        guard other >= 0 else { throw missing }
        defer { if !isNear { close(other) } }
        switch jc_kind(UInt32(clamping: jc_layer_kind(other, target.leaf))) {
        case JC_FILE, JC_LINK, JC_PIPE: break
        default: throw missing
        }
        try make(path, in: folder) { jc_layer_make_hard_link(other, target.leaf, folder, $0) }
    }

    /// `.wh.NAME`. What the layer itself has under the name stays, but shows nothing of the layers below.
    func hide(_ hidden: [CChar], in path: LayerPath) throws(StageFailure) {
        let folder = try enter(path)
        let code = jc_layer_make_whiteout(folder, hidden)
        guard code == -EEXIST else {
            try allow(code)
            bytes += 4096
            return
        }
        guard jc_layer_kind(folder, hidden) == Int32(JC_FOLDER.rawValue) else { return }
        let own = try allow(jc_layer_folder(folder, hidden))
        defer { close(own) }
        try allow(jc_layer_attribute(own, form.opaqueAttribute, "y", 1))
    }

    func hideAll(in path: LayerPath) throws(StageFailure) {
        guard path.folder.count > 1 else {
            hidesLower = true
            return
        }
        try allow(jc_layer_attribute(try enter(path), form.opaqueAttribute, "y", 1))
    }

    // MARK: Attributes

    private func extended(_ entry: OpaquePointer, _ file: Int32) throws(StageFailure) {
        guard archive_entry_xattr_reset(entry) > 0 else { return }
        var name: UnsafePointer<CChar>?
        var value: UnsafeRawPointer?
        var size = 0
        while archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK, let key = name {
            guard strncmp(key, "user.", 5) == 0, strncmp(key, "user.overlay.", 13) != 0 else { continue }
            let code = jc_layer_attribute(file, key, value, size)
            guard code != -ERANGE, code != -E2BIG else {
                throw StageFailure.refusedEntry("its attribute \(quoted(String(cString: key))) is too large")
            }
            try allow(code)
        }
    }

    func dress(_ file: Int32, as attributes: jc_attributes, _ path: LayerPath) throws(StageFailure) {
        var attributes = attributes
        if keepsOwner, attributes.mode & 0o700 != 0o700, fstatIsFolder(file) {
            let whole = path.isRoot ? [0] : path.folder.dropLast() + (path.folder.count > 1 ? [47] : []) + path.leaf
            lateModes.append((whole, attributes.mode))
            attributes.mode |= 0o700
        }
        let code = jc_layer_dress(file, &attributes, keepsOwner ? 1 : 0)
        guard code == -EINVAL, form == .user else {
            try allow(code)
            return
        }
        // In a user namespace that does not have the owner's number, the file belongs to the namespace's root.
        try allow(jc_layer_dress(file, &attributes, 1))
    }

    func dress(_ path: LayerPath, in folder: Int32, as attributes: jc_attributes) throws(StageFailure) {
        var attributes = attributes
        let code = jc_layer_dress_at(folder, path.leaf, &attributes, keepsOwner ? 1 : 0)
        guard code == -EINVAL, form == .user else {
            try allow(code)
            return
        }
        try allow(jc_layer_dress_at(folder, path.leaf, &attributes, 1))
    }

    private func fstatIsFolder(_ file: Int32) -> Bool {
        var information = stat()
        return fstat(file, &information) == 0 && information.st_mode & S_IFMT == S_IFDIR
    }
}

extension OverlayForm {
    var opaqueAttribute: String {
        switch self {
        case .trusted: "trusted.overlay.opaque"
        case .user: "user.overlay.opaque"
        }
    }
}
