// The programs of this package as they were built beside the tests, and the image that end-to-end tests import.
import Foundation

/// A program of this package, from the folder that the running tests were built into.
package func builtProgram(_ name: String) throws -> String {
    let tests = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().path
    let path = (tests as NSString).deletingLastPathComponent + "/" + name
    guard access(path, X_OK) == 0 else {
        throw ProcessFailure(description: "\(path) is missing: build it with 'swift build --build-tests'")
    }
    return path
}

/// A root file system of Debian's static busybox as a tar, the same bytes each time. `marker` stands in `/marker`.
package func busyboxArchive(in folder: String, marker: String = "first") async throws -> String {
    let build = """
        set -e
        cd "$1"; root=rootfs-$2; for f in bin etc tmp; do mkdir -p $root/$f; done
        cp /bin/busybox $root/bin/busybox
        for name in $(/bin/busybox --list); do [ "$name" = busybox ] || ln -s busybox $root/bin/$name; done
        echo "$2" > $root/marker
        tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C $root -cf "$2.tar" .
        rm -rf $root
        """
    let made = try await runProcess("sh", ["-c", build, "build", folder, marker])
    guard made.exitCode == 0 else { throw ProcessFailure(description: "the test image could not be built: \(made)") }
    return "\(folder)/\(marker).tar"
}
