// The image that engine tests run: Debian's static busybox, and a configuration full of things that a container must
// ignore.
import Foundation
import JobModel

/// Builds the image as an OCI layout and pushes it.
package enum EngineTestImage {
    /// Pushes the image as `archive` to the registry at 127.0.0.1:`port`.
    /// - Returns: the digest of its manifest there.
    package static func push(to port: Int, marker: String = "") async throws -> Digest {
        let folder = try temporaryFolder("image")
        defer { removeFolder(folder) }
        try await writeLayout(folder + "/layout", scratch: folder, marker: marker)
        let copy = try await runProcess(
            "skopeo",
            [
                "copy", "--dest-tls-verify=false", "--digestfile", folder + "/digest", "oci:\(folder)/layout:test",
                "docker://127.0.0.1:\(port)/archive:test\(marker)",
            ])
        guard copy.exitCode == 0 else { throw ProcessFailure(description: "skopeo: \(copy)") }
        let text = try String(contentsOfFile: folder + "/digest", encoding: .utf8).trimmingCharacters(
            in: .whitespacesAndNewlines)
        guard let digest = Digest(text) else { throw ProcessFailure(description: "skopeo wrote the digest '\(text)'") }
        return digest
    }

    private static func writeLayout(_ layout: String, scratch: String, marker: String) async throws {
        try await makeRoot(scratch + "/rootfs", marker: marker)
        let packed = try await runProcess(
            "tar",
            [
                "--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "-C", scratch + "/rootfs",
                "-cf",
                scratch + "/layer.tar", ".",
            ])
        guard packed.exitCode == 0 else { throw ProcessFailure(description: "tar: \(packed)") }
        let blobs = layout + "/blobs/sha256"
        try FileManager.default.createDirectory(atPath: blobs, withIntermediateDirectories: true)
        func put(_ bytes: Data) throws -> (digest: Digest, size: Int) {
            let digest = Digest(of: bytes)
            try bytes.write(to: URL(filePath: "\(blobs)/\(digest.hex)"))
            return (digest, bytes.count)
        }
        let layer = try put(try Data(contentsOf: URL(filePath: scratch + "/layer.tar")))
        let configuration = try put(
            Data(
                """
                {"architecture":"\(architecture)","os":"linux","created":"2020-01-01T00:00:00Z","config":{
                "Entrypoint":["/bin/echo","the ENTRYPOINT ran"],"Cmd":["the CMD ran"],"User":"4242",
                "WorkingDir":"/data","StopSignal":"SIGUSR1",
                "Env":["PATH=/bin","FROM_IMAGE=yes","LANG=en_GB.UTF-8"],"Volumes":{"/volume":{}},
                "Healthcheck":{"Test":["CMD-SHELL","false"],"Interval":1000000000}},
                "rootfs":{"type":"layers","diff_ids":["\(layer.digest)"]},
                "history":[{"created":"2020-01-01T00:00:00Z"}]}
                """.utf8))
        let manifest = try put(
            Data(
                """
                {"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
                "config":{"mediaType":"application/vnd.oci.image.config.v1+json",
                "digest":"\(configuration.digest)","size":\(configuration.size)},
                "layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar",
                "digest":"\(layer.digest)","size":\(layer.size)}]}
                """.utf8))
        try Data(#"{"imageLayoutVersion":"1.0.0"}"#.utf8).write(to: URL(filePath: layout + "/oci-layout"))
        try Data(
            """
            {"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json",
            "digest":"\(manifest.digest)",
            "size":\(manifest.size),"annotations":{"org.opencontainers.image.ref.name":"test"}}]}
            """.utf8
        ).write(to: URL(filePath: layout + "/index.json"))
    }

    /// The image's root file system as a folder.
    private static func makeRoot(_ root: String, marker: String = "") async throws {
        let build = """
            set -e
            mkdir -p "$1"; cd "$1"; for f in bin etc volume tmp data out run; do mkdir -p $f; done
            chmod 755 .; chmod 1777 tmp; chmod 755 run
            cp /bin/busybox bin/busybox
            for name in $(/bin/busybox --list); do [ "$name" = busybox ] || ln -s busybox bin/$name; done
            echo 'root:x:0:0::/:/bin/sh' > etc/passwd
            echo 'from the image\(marker)' > volume/file; chmod 777 volume
            """
        let made = try await runProcess("sh", ["-c", build, "build", root])
        guard made.exitCode == 0 else {
            throw ProcessFailure(description: "the test image could not be built: \(made)")
        }
    }

    package static var architecture: String {
        #if arch(arm64)
            "arm64"
        #else
            "amd64"
        #endif
    }
}
