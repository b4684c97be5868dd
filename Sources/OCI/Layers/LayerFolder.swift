// The layer store on disk:
//
//     l/NAME               an unpacked layer; NAME is its diff id in 26 letters, because overlayfs's options must fit
//                          into one page
//     l/empty              nothing: overlayfs wants two folders, and an image may have one layer
//     records/NAME.json    what is known of it, written before it gets its name; its time is the layer's last use
//     images/…json         what images are made of, so that no manifest is asked for twice
//     incoming/…           layers on their way in and out
//     lock                 held by the process that has the store open
//
// Only the agent's user may enter: layers hold files of any owner and mode. A layer's folder appears by a rename after
// all of it was written to disk, and disappears by one. Whatever a crash leaves elsewhere is removed at the next start.
import CLinux
import Foundation
import Glibc
import JobModel

/// What is known of an unpacked layer.
struct LayerRecord: Codable {
    var diffID: Digest
    var bytes: Int64
    var hidesLower: Bool
    var form: OverlayForm
}

/// The files of the store. Calls block on the disk.
final class LayerFolder: Sendable {
    let path: String
    let form: OverlayForm
    private let lock: Int32
    let incoming: Int32
    private let layers: Int32

    static let largestRecord = 1 << 22

    init(path: String, form wanted: OverlayForm?) throws(OCIError) {
        guard path.hasPrefix("/"), !path.contains(where: { ",:\\\n".contains($0) }), path.utf8.count <= 200 else {
            let why = "it must be absolute, of at most 200 bytes, and without commas, colons and backslashes"
            throw OCIError.refused(what: "the layer store \(quoted(path))", why: why)
        }
        self.path = path
        for folder in ["", "/l", "/l/empty", "/records", "/images", "/incoming"] { try makeFolder(path + folder) }
        guard chmod(path, 0o700) == 0 else { throw OCIError.storage(operation: "protect \(path)", errno: errno) }
        let lock = try Self.open(path + "/lock", O_RDWR | O_CREAT)
        self.lock = lock
        guard flock(lock, LOCK_EX | LOCK_NB) == 0 else {
            close(lock)
            throw OCIError.refused(what: "the layer store \(quoted(path))", why: "another agent uses it")
        }
        incoming = try Self.open(path + "/incoming", O_RDONLY | O_DIRECTORY)
        layers = try Self.open(path + "/l", O_RDONLY | O_DIRECTORY)
        form = try Self.probe(incoming, path, wanted)
    }

    deinit {
        close(incoming)
        close(layers)
        close(lock)
    }

    private static func open(_ path: String, _ flags: Int32) throws(OCIError) -> Int32 {
        let file = Glibc.open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0 else { throw OCIError.storage(operation: "open \(path)", errno: errno) }
        return file
    }

    /// Tries what layers need of the file system, rather than to guess it from its name.
    private static func probe(
        _ incoming: Int32, _ path: String, _ wanted: OverlayForm?
    ) throws(OCIError) -> OverlayForm {
        let name = temporaryName()
        func unfit(_ what: String, _ code: Int32) -> OCIError {
            let why = "its file system cannot hold \(what) (\(errorText(-code))); put it on ext4, xfs or btrfs"
            return .refused(what: "the layer store \(quoted(path))", why: why)
        }
        defer { jc_layer_remove(incoming, name) }
        var code = jc_layer_make_folder(incoming, name)
        guard code >= 0 else { throw OCIError.storage(operation: "write to \(path)", errno: -code) }
        let folder = jc_layer_folder(incoming, name)
        guard folder >= 0 else { throw OCIError.storage(operation: "open a folder of \(path)", errno: -folder) }
        defer { close(folder) }
        code = jc_layer_make_whiteout(folder, "whiteout")
        guard code >= 0 else { throw unfit("overlayfs's whiteouts", code) }
        for form in wanted.map({ [$0] }) ?? [.trusted, .user] {
            code = jc_layer_attribute(folder, form.opaqueAttribute, "y", 1)
            if code >= 0 { return form }
        }
        throw unfit("extended attributes", code)
    }

    // MARK: Names

    static func temporaryName() -> String { String(UInt64.random(in: 0 ... .max), radix: 36) }

    /// 26 letters and digits, 130 bits of the digest: as safe as need be, and short.
    static func name(of diffID: Digest) -> String {
        let letters = Array("abcdefghijklmnopqrstuvwxyz234567")
        var bits: UInt32 = 0
        var count: UInt32 = 0
        var name = ""
        for digit in diffID.hex.prefix(33) {
            bits = bits << 4 | UInt32(digit.hexDigitValue ?? 0)
            count += 4
            guard count >= 5 else { continue }
            count -= 5
            name.append(letters[Int(bits >> count & 31)])
        }
        return name
    }

    var emptyLayer: String { path + "/l/empty" }
    func path(of diffID: Digest) -> String { "\(path)/l/\(Self.name(of: diffID))" }
    private func recordPath(_ name: String) -> String { "\(path)/records/\(name).json" }

    // MARK: Layers

    /// What is there, after leftovers were taken out of sight; and the names in `incoming` that can be removed.
    func load() throws(OCIError) -> (layers: [(LayerRecord, lastUse: Int64)], leftovers: [String]) {
        var found: [(LayerRecord, lastUse: Int64)] = []
        var known: Set<String> = []
        for file in try listing(of: path + "/records") {
            let name = String(file.prefix { $0 != "." })
            var information = stat()
            guard file == name + ".json", let record: LayerRecord = read(recordPath(name)), record.form == form,
                Self.name(of: record.diffID) == name,
                jc_layer_kind(layers, name) == Int32(JC_FOLDER.rawValue), stat(recordPath(name), &information) == 0
            else {
                unlink(path + "/records/" + file)
                continue
            }
            known.insert(name)
            found.append((record, Int64(information.st_mtim.tv_sec) * 1000))
        }
        for name in try listing(of: path + "/l") where name != "empty" && !known.contains(name) {
            let code = jc_layer_rename(layers, name, incoming, Self.temporaryName())
            guard code >= 0 else { throw OCIError.storage(operation: "put away a layer", errno: -code) }
        }
        return (found, try listing(of: path + "/incoming"))
    }

    /// Makes a folder for a layer to be unpacked into, and opens it.
    func begin() throws(OCIError) -> (name: String, file: Int32) {
        let name = Self.temporaryName()
        let code = jc_layer_make_folder(incoming, name)
        guard code >= 0 else { throw OCIError.storage(operation: "make a folder in \(path)", errno: -code) }
        let file = jc_layer_folder(incoming, name)
        guard file >= 0, fchmod(file, 0o755) == 0 else {
            throw OCIError.storage(operation: "open a folder in \(path)", errno: file < 0 ? -file : errno)
        }
        return (name, file)
    }

    /// Gives the layer in `incoming` its name, once it and its record are on disk. False if the layer is there already,
    /// unpacked from another blob.
    func commit(_ temporary: String, _ record: LayerRecord) throws(OCIError) -> Bool {
        let name = Self.name(of: record.diffID)
        try write(record, to: recordPath(name))
        var code = jc_layer_sync(incoming)
        guard code >= 0 else { throw OCIError.storage(operation: "sync a layer", errno: -code) }
        code = jc_layer_rename(incoming, temporary, layers, name)
        if code == -ENOTEMPTY || code == -EEXIST { return false }
        guard code >= 0 else { throw OCIError.storage(operation: "name a layer", errno: -code) }
        guard fsync(layers) == 0 else { throw OCIError.storage(operation: "sync the layer store", errno: errno) }
        return true
    }

    /// Takes the layer out of sight.
    /// - Returns: the name under which ``discard(_:)`` removes it.
    func withdraw(_ diffID: Digest) -> String? {
        let name = Self.name(of: diffID)
        let temporary = Self.temporaryName()
        unlink(recordPath(name))
        return jc_layer_rename(layers, name, incoming, temporary) >= 0 ? temporary : nil
    }

    /// Removes something from `incoming`. What cannot be removed now is tried again at the next start.
    func discard(_ temporary: String) { jc_layer_remove(incoming, temporary) }

    /// Notes a use, for the order of removal after a restart.
    func touch(_ diffID: Digest) { utimensat(AT_FDCWD, recordPath(Self.name(of: diffID)), nil, 0) }

    // MARK: Documents

    /// Nil if it is missing or cannot be understood: it can be had again.
    func read<Value: Decodable>(_ path: String) -> Value? {
        guard let size = size(of: path), size <= Self.largestRecord,
            let data = FileManager.default.contents(atPath: path)
        else { return nil }
        return try? JSONDecoder().decode(Value.self, from: data)  // allowed: as said above
    }

    func write(_ value: some Encodable, to path: String) throws(OCIError) {
        do {
            try JSONEncoder().encode(value).write(to: URL(filePath: path), options: .atomic)
        } catch {
            // Foundation wraps what the disk said; whether it is full is worth knowing.
            let isFull = (error as? CocoaError)?.code == .fileWriteOutOfSpace
            throw OCIError.storage(operation: "write \(path)", errno: isFull ? ENOSPC : EIO)
        }
    }

    private func size(of path: String) -> Int? {
        var information = stat()
        return stat(path, &information) == 0 ? Int(information.st_size) : nil
    }
}
