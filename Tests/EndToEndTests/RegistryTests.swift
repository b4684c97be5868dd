// Images from real registries: a tag that moves, a registry that disappears, and one that wants a login.
import Foundation
import JobModel
import TestSupport
import Testing

extension EndToEnd {
    @Suite("registries", .serialized, .timeLimit(.minutes(20))) struct RegistryTests {
        private static func spec(_ image: String) -> String {
            """
            name: who
            image: \(image)
            command: [cat, /marker]
            resources: {cpus: 0.1, memory: 32MiB}
            """
        }

        @Test(
            "a tag moves after the submit: the rerun runs the old digest, also when the registry is gone with its data",
            arguments: [EngineUnderTest.Kind.docker, .oci])
        func movedTag(on kind: EngineUnderTest.Kind) async throws {
            try await ClusterUnderTest.with(engine: kind) { c in
                let (old, new) = (try await Self.image("old", c), try await Self.image("new", c))
                let registry = try await RegistryUnderTest.start()
                let result = await outcome {
                    let image = "\(registry.address)/lab/who:1"
                    let oldDigest = try await registry.push(old, as: "lab/who:1")
                    let first = try await c.submit(Self.spec(image), "--wait")
                    #expect(try await c.ok("logs", first) == "old")
                    #expect(try await c.job(first).image.digest.description == oldDigest)

                    let newDigest = try await registry.push(new, as: "lab/who:1")
                    #expect(newDigest != oldDigest)
                    let rerun = try await c.ok("rerun", "who", "--wait", "-q")
                    #expect(try await c.ok("logs", rerun) == "old")
                    #expect(try await c.job(rerun).image.digest.description == oldDigest)
                    // A new submit takes what the tag means now, and says so by another digest and version.
                    let second = try await c.submit(Self.spec(image), "--wait")
                    #expect(try await c.ok("logs", second) == "new")
                    #expect(try await c.job(second).configuration.version == 2)

                    await registry.stop()
                    // Nor does the engine have it any more: only the archive can give it.
                    try await Self.forgetImages(c)
                    let late = try await c.ok("rerun", "who@1", "--wait", "-q")
                    #expect(try await c.ok("logs", late) == "old")
                    let gone = try await c.jobctl(["submit", "-"], input: Self.spec(image))
                    #expect(gone.exitCode == 5 && gone.errors.contains(image), "\(gone)")
                }
                await registry.stop()
                try result.get()
            }
        }

        @Test(
            "the registry is gone with its data and the cluster starts again with empty caches: a rerun gives the same outputs"
        )
        func registryGone() async throws {
            try await ClusterUnderTest.with(engine: .oci) { c in
                let registry = try await RegistryUnderTest.start()
                let result = await outcome {
                    _ = try await registry.push(try await Self.image("gone", c), as: "lab/sums:1")
                    try "sort \"$1\"/*.csv | tee /out/sorted | sha256sum > /out/digest; cat /marker >> /out/digest\n"
                        .write(
                            toFile: c.folder + "/sums.sh", atomically: true, encoding: .utf8)
                    let spec = """
                        name: sums
                        image: \(registry.address)/lab/sums:1
                        command: [sh, /job/sums.sh, /data]
                        files: {/job/sums.sh: \(c.folder)/sums.sh}
                        volumes: [input:/data:ro, output:/out:out]
                        resources: {cpus: 0.1, memory: 32MiB}
                        """
                    let first = try await c.submit(
                        spec, "--bind", "input=weather/2014", "--bind", "output=results", "--wait")

                    await registry.stop()
                    try await c.ok("down", "--data-dir", c.data)
                    for cache in ["layers", "files"] {
                        try FileManager.default.removeItem(atPath: "\(c.data)/worker/\(cache)")
                    }
                    try FileManager.default.removeItem(atPath: c.folder + "/sums.sh")
                    try await c.up()
                    let again = try await c.ok("rerun", "sums", "--wait", "-q")
                    let (a, b) = (try await c.attempts(of: first).last, try await c.attempts(of: again).last)
                    let outputs = try #require(a?.outputs["output"])
                    #expect(outputs.treeDigest != nil && outputs.files == 2 && b?.outputs["output"] == outputs)
                    #expect(a?.inputs == b?.inputs && b?.inputs["input"]?.treeDigest != nil)
                    #expect(try await c.job(first).image.digest == (try await c.job(again).image.digest))
                    let published = try String(contentsOfFile: "\(c.results)/\(again)/1/digest", encoding: .utf8)
                    #expect(published.hasSuffix("gone\n"))
                    let verified = try await c.jobctl(["verify", first])
                    #expect(verified.exitCode == 0, "\(verified)")
                }
                await registry.stop()
                try result.get()
            }
        }

        @Test("a registry with basic auth takes the login of ~/.docker/config.json, and no login is a clear refusal")
        func login() async throws {
            try await ClusterUnderTest.with(engine: .oci) { c in
                let registry = try await RegistryUnderTest.start(login: .init(user: "ada", password: "s3cret"))
                let result = await outcome {
                    let image = "\(registry.address)/lab/who:1"
                    let digest = try await registry.push(try await Self.image("private", c), as: "lab/who:1")
                    let refused = try await c.jobctl(["submit", "-"], input: Self.spec(image))
                    #expect(refused.exitCode == 5 && refused.errors.contains(image), "\(refused)")
                    #expect(!refused.errors.contains("s3cret"))

                    let login = Data("ada:s3cret".utf8).base64EncodedString()
                    try FileManager.default.createDirectory(
                        atPath: c.folder + "/.docker", withIntermediateDirectories: true)
                    try #"{"auths":{"\#(registry.address)":{"auth":"\#(login)"}}}"#.write(
                        toFile: c.folder + "/.docker/config.json", atomically: true, encoding: .utf8)
                    let id = try await c.submit(Self.spec(image), "--wait")
                    #expect(try await c.ok("logs", id) == "private")
                    #expect(try await c.job(id).image.digest.description == digest)
                }
                await registry.stop()
                try result.get()
            }
        }

        @Test("docker save archives and OCI layouts are imported, listed, shown and run")
        func imports() async throws {
            try await ClusterUnderTest.with(engine: .oci) { c in
                let layout = try await Self.image("layout", c)
                let saved = c.folder + "/saved.tar"
                let copy = try await runProcess("skopeo", ["copy", layout, "docker-archive:\(saved):lab/saved:1"])
                #expect(copy.exitCode == 0, "\(copy)")
                let folder = String(layout.dropFirst("oci:".count).prefix { $0 != ":" })
                for (source, name) in [(saved, "lab/saved:1"), (folder, "lab/layout:1")] {
                    let digest = try await c.ok("image", "import", source, "-t", name, "-q")
                    #expect(try await c.ok("image", "show", name, "-q") == digest)
                    #expect(try await c.ok("image", "list").contains(name))
                    let id = try await c.submit(Self.spec(name), "--wait")
                    #expect(try await c.ok("logs", id) == "layout")
                }
            }
        }

        /// An image as an OCI layout whose `/marker` holds `marker`.
        static func image(_ marker: String, _ c: ClusterUnderTest) async throws -> String {
            let tar = try await busyboxArchive(in: c.folder, marker: marker)
            let layout = "\(c.folder)/layout-\(marker)"
            let build = """
                set -e
                mkdir -p "$2/blobs/sha256"
                put() { d=$(sha256sum "$1" | cut -d' ' -f1); cp "$1" "$layout/blobs/sha256/$d"; echo $d; }
                layout=$2; layer=$(put "$1"); size=$(stat -c %s "$1")
                printf '{"architecture":"%s","os":"linux","config":{"Env":["PATH=/bin"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
                    "$3" "$layer" > "$2.config"
                config=$(put "$2.config"); csize=$(stat -c %s "$2.config")
                type=application/vnd.oci.image
                printf '{"schemaVersion":2,"mediaType":"%s.manifest.v1+json","config":{"mediaType":"%s.config.v1+json","digest":"sha256:%s","size":%s},"layers":[{"mediaType":"%s.layer.v1.tar","digest":"sha256:%s","size":%s}]}' \
                    $type $type $config $csize $type $layer $size > "$2.manifest"
                manifest=$(put "$2.manifest"); msize=$(stat -c %s "$2.manifest")
                echo '{"imageLayoutVersion":"1.0.0"}' > "$2/oci-layout"
                printf '{"schemaVersion":2,"manifests":[{"mediaType":"%s.manifest.v1+json","digest":"sha256:%s","size":%s,"annotations":{"org.opencontainers.image.ref.name":"test"}}]}' \
                    $type $manifest $msize > "$2/index.json"
                """
            let made = try await runProcess(
                "sh", ["-c", build, "build", tar, layout, EngineTestImage.architecture])
            guard made.exitCode == 0 else { throw ProcessFailure(description: "no layout: \(made)") }
            return "oci:\(layout):test"
        }

        private static func forgetImages(_ c: ClusterUnderTest) async throws {
            if c.engine.kind == .oci {
                try await c.kill(.worker)
                try FileManager.default.removeItem(atPath: c.data + "/worker/layers")
                return try await c.up()
            }
            let path = "/v1.41/images/prune?filters=%7B%22dangling%22%3A%5B%22false%22%5D%7D"
            let result = try await runProcess(
                "curl", ["-sf", "--unix-socket", c.engine.socketPath, "-X", "POST", "http://engine" + path])
            guard result.exitCode == 0 else { throw ProcessFailure(description: "prune: \(result)") }
        }
    }
}

/// What a body did, so that the caller can clean up first.
func outcome(_ body: () async throws -> Void) async -> Result<Void, any Error> {
    do {
        return .success(try await body())
    } catch {
        return .failure(error)
    }
}
