// What the runner mounts before the runtime starts, in a mount namespace of its own: everything is gone when the last
// process in it is. One tmpfs holds the container's private folders, the writable layer in which the runtime makes
// mount points, and the runtime's own state. Invariant: nothing here is visible to the host.
import CLinux
import Glibc
import RunnerCore

struct Scene {
    let folder: RunnerFolder
    let description: AttemptDescription

    func set() throws(FileFailure) {
        try check(jc_leave_mounts(), "a mount namespace")
        try coverUnifiedGroups()
        let size = max(description.memory, 1 << 20)
        try check(
            jc_mount("jobctl", folder.scratch, "tmpfs", quiet, "mode=755,size=\(size)"),
            "the container's temporary folder")
        for name in ["upper", "work", "root", "state", "etc"] { try make(name, 0o755) }
        // Anybody's, as /tmp is: it is the container's user who is to write there.
        for name in ["tmp", "run"] {
            try make(name, 0o755)
            guard chmod(folder.scratch + "/" + name, 0o1777) == 0 else { throw FileFailure(name, errno) }
        }
        if description.rootless?.rootForm == .links { try linkRoot() } else { try mountRoot() }
        try mountVolumes()
        try check(
            jc_make_folder_in(folder.root, description.workingDirectory),
            "the working directory \(description.workingDirectory)")
        try writeNames()
        try keepNetwork()
        try write(description.bundle, folder.scratch + "/config.json")
    }

    private var quiet: UInt { UInt(MS_NOSUID) | UInt(MS_NODEV) }

    /// crun refuses hosts that have controllers in both versions of control groups; what it does not see does not
    /// trouble it. Covered, not unmounted: crun makes its folders there all the same.
    private func coverUnifiedGroups() throws(FileFailure) {
        let unified = ControlGroups.root + "/unified"
        guard !ControlGroups.isUnified, access(unified, F_OK) == 0 else { return }
        try check(jc_mount("jobctl", unified, "tmpfs", quiet, "mode=755,size=1m"), unified)
    }

    private func make(_ name: String, _ mode: mode_t) throws(FileFailure) {
        guard mkdir(folder.scratch + "/" + name, mode) == 0 else { throw FileFailure(name, errno) }
    }

    /// The layers by descriptor number: a mount's options are limited to a page, and the container sees them.
    private func mountRoot() throws(FileFailure) {
        var layers: [Int32] = []
        defer { for layer in layers { close(layer) } }
        for layer in description.layers {
            let file = jc_open_folder(layer)
            try check(file, "the image's layer \(layer)")
            layers.append(file)
        }
        let upper = jc_open_folder(folder.scratch + "/upper")
        let work = jc_open_folder(folder.scratch + "/work")
        layers += [upper, work]
        guard chdir("/proc/self/fd") == 0 else { throw FileFailure("/proc/self/fd", errno) }
        let lower = layers.dropLast(2).map(String.init).joined(separator: ":")
        let result = jc_mount(
            "overlay", folder.root, "overlay", quiet,
            "lowerdir=\(lower),upperdir=\(upper),workdir=\(work)\(description.usesUserAttributes ? ",userxattr" : "")")
        guard chdir("/") == 0 else { throw FileFailure("/", errno) }
        try check(result, "the image's layers")
    }

    /// For each attempt anew, because the runtime makes mount points in it. Links cost a name for each file.
    private func linkRoot() throws(FileFailure) {
        guard mkdir(folder.tree, 0o755) == 0 else { throw FileFailure(folder.tree, errno) }
        let tree = open(folder.tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard tree >= 0 else { throw FileFailure(folder.tree, errno) }
        defer { close(tree) }
        for layer in description.layers.reversed() {
            let file = open(layer, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            guard file >= 0 else { throw FileFailure("the image's layer \(layer)", errno) }
            defer { close(file) }
            try check(jc_link_layer(file, tree), "the image's layer \(layer)")
        }
        try check(jc_mount(folder.tree, folder.root, "", UInt(MS_BIND), ""), "the image's layers")
    }

    /// A runner without root looks paths up itself: nobody mounted them for it.
    private func mountVolumes() throws(FileFailure) {
        guard let volumes = description.rootless?.volumes, !volumes.isEmpty else { return }
        try make("volumes", 0o755)
        for (index, volume) in volumes.enumerated() {
            try check(
                jc_mount_beneath(
                    volume.root, volume.path, folder.scratch + RunnerFolder.volume(index), volume.readOnly ? 1 : 0),
                "the volume \(volume.root)/\(volume.path)")
        }
    }

    private func writeNames() throws(FileFailure) {
        let etc = folder.scratch + "/etc"
        let name = description.company?.hostname ?? description.attempt
        let own = description.company.map { PrivateNetwork.text($0.address) } ?? "127.0.0.1"
        let others = (description.company?.hosts ?? []).filter { !$0.hasSuffix("\t" + name) }
        let hosts = ["127.0.0.1\tlocalhost", "::1\tlocalhost", "\(own)\t\(name)"] + others
        try write(hosts.joined(separator: "\n") + "\n", etc + "/hosts")
        try write(name + "\n", etc + "/hostname")
        let servers = description.usesHostNetwork ? readFollowing("/etc/resolv.conf") : []
        try write(String(decoding: servers, as: UTF8.self), etc + "/resolv.conf")
    }

    /// Where the runtime finds the network that this runner was started in, or has made.
    private func keepNetwork() throws(FileFailure) {
        guard description.company != nil else { return }
        let place = folder.scratch + RunnerFolder.networkName
        try write("", place)
        try check(jc_mount("/proc/self/ns/net", place, nil, UInt(MS_BIND), nil), "the private network")
    }

    private func write(_ text: String, _ path: String) throws(FileFailure) {
        let file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o644)
        guard file >= 0 else { throw FileFailure(path, errno) }
        defer { close(file) }
        try writeAll(file, Array(text.utf8), what: path)
    }

    /// The host's file may be a link.
    private func readFollowing(_ path: String) -> [UInt8] {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return [] }
        defer { close(file) }
        return readAll(file, limit: 64 << 10) ?? []
    }
}

/// - Parameter result: a count, or -errno.
func check(_ result: Int32, _ what: String) throws(FileFailure) {
    guard result >= 0 else { throw FileFailure(what, -result) }
}
