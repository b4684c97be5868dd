// The registry client against Debian's docker-registry: open, and with basic auth.
import Foundation
import JobModel
import OCI
import Registry
import TestSupport
import Testing

@Suite struct RegistryTests {
    private static let login = RegistryUnderTest.Login(user: "ada", password: "correct horse:battery")
    private let nobody = RegistryClient(credentials: RegistryCredentials(file: nil))

    @Test("a tag is resolved to the registry's digest, and its image pulled whole, also after the tag has moved")
    func open() async throws {
        try await Scratch.with { scratch in
            try await RegistryUnderTest.with { registry in
                let (image, _) = try await scratch.imported()
                let source = "oci:\(scratch.folder)/layout:test"
                #expect(try await registry.push(source, as: "lab/app:1") == image.digest.description)
                let reference = try #require(ImageReference("\(registry.address)/lab/app:1"))
                #expect(try await nobody.resolve(reference).digest == image.digest)

                let moved = try await registry.push(source, as: "lab/app:1", options: ["--format", "v2s2"])
                let (second, type) = try await nobody.resolve(reference)
                #expect(second.description == moved && second != image.digest && type == MediaType.dockerManifest)

                let store = try scratch.store("pulled")
                let received = Counter()
                let pulled = try await nobody.pull(reference, digest: image.digest, platform: nil, into: store) {
                    received.add($0)
                }
                #expect(pulled == image)
                let manifest = try store.read(image.digest, limit: 1 << 20)
                #expect(received.total == image.size.bytes - Int64(manifest.count))
                #expect(try await nobody.pull(reference, digest: second, platform: nil, into: store).isComplete)
            }
        }
    }

    @Test("docker-registry goes on with a blob whose beginning is on disk, and serves as another registry's mirror")
    func resumedFromMirror() async throws {
        try await Scratch.with { scratch in
            try await RegistryUnderTest.with { registry in
                let (image, source) = try await scratch.imported()
                _ = try await registry.push("oci:\(scratch.folder)/layout:test", as: "hub/lab/app:1")
                let mirror = try #require(RegistryMirror("http://\(registry.address)/hub"))
                let client = RegistryClient(
                    credentials: RegistryCredentials(file: nil), mirrors: ["registry.invalid": [mirror]])
                let reference = try #require(ImageReference("registry.invalid/lab/app:1"))
                #expect(try await client.resolve(reference).digest == image.digest)
                let store = try scratch.store("resumed")
                let layer = try source.read(image.layers[0], limit: 1 << 30)
                let place = URL(filePath: "\(store.directory)/partial/\(image.layers[0].hex)")
                try Data(layer.prefix(layer.count / 2)).write(to: place)
                let received = Counter()
                let pulled = try await client.pull(reference, digest: image.digest, platform: nil, into: store) {
                    received.add($0)
                }
                #expect(pulled == image)
                let manifest = try store.read(image.digest, limit: 1 << 20)
                #expect(received.total == image.size.bytes - Int64(manifest.count))
                #expect(try store.partials() == [])
            }
        }
    }

    @Test("what the store has is not fetched again, so a pinned image needs no registry")
    func gone() async throws {
        try await Scratch.with { scratch in
            try await RegistryUnderTest.with { registry in
                let (image, _) = try await scratch.imported()
                let store = try scratch.store("pulled")
                _ = try await registry.push("oci:\(scratch.folder)/layout:test", as: "app:1")
                let reference = try #require(ImageReference("\(registry.address)/app:1"))
                let first = try await nobody.pull(reference, digest: image.digest, platform: nil, into: store)
                await registry.stop()
                #expect(try await nobody.pull(reference, digest: image.digest, platform: nil, into: store) == first)
                let why = await refusal { _ = try await nobody.resolve(reference) }
                #expect(why.hasPrefix("the registry \(registry.address) cannot be reached: "), "\(why)")
            }
        }
    }

    @Test("over https, an image is pulled from a registry whose authority is known, and from no other")
    func https() async throws {
        try await Scratch.with { scratch in
            try await RegistryUnderTest.with(login: Self.login, tls: true) { registry in
                let (image, _) = try await scratch.imported()
                _ = try await registry.push("oci:\(scratch.folder)/layout:test", as: "app:1")
                let reference = try #require(ImageReference("\(registry.address)/app:1"))
                let auth = Data("\(Self.login.user):\(Self.login.password)".utf8).base64EncodedString()
                let credentials = try scratch.credentials(#"{"auths":{"\#(registry.address)":{"auth":"\#(auth)"}}}"#)
                let known = RegistryClient(
                    credentials: credentials, certificates: RegistryCertificates(folders: [registry.certificateFolder]))
                #expect(try await known.resolve(reference).digest == image.digest)
                let store = try scratch.store("pulled")
                #expect(try await known.pull(reference, digest: image.digest, platform: nil, into: store) == image)

                // Another authority for the same address.
                try await RegistryUnderTest.with(tls: true) { other in
                    let folder = "\(scratch.folder)/other/\(registry.address)"
                    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
                    try FileManager.default.copyItem(
                        atPath: "\(other.certificateFolder)/\(other.address)/ca.crt", toPath: folder + "/ca.crt")
                }
                let stranger = RegistryClient(
                    credentials: credentials, certificates: RegistryCertificates(folders: [scratch.folder + "/other"]))
                let why = await refusal { _ = try await stranger.resolve(reference) }
                #expect(why.contains("certificate"), "\(why)")
            }
        }
    }

    @Test("what is not there is said to be missing: repository, tag, digest")
    func missing() async throws {
        try await Scratch.with { scratch in
            try await RegistryUnderTest.with { registry in
                _ = try await scratch.imported()
                _ = try await registry.push("oci:\(scratch.folder)/layout:test", as: "app:1")
                for name in ["other:1", "app:2", "app@\(Digest(of: "absent"))"] {
                    let reference = try #require(ImageReference("\(registry.address)/\(name)"))
                    await #expect(throws: OCIError.notFound(reference: "\(reference)")) {
                        _ = try await nobody.resolve(reference)
                    }
                }
            }
        }
    }

    @Test("basic auth: the configuration file's login is used in each of its forms; a wrong one or none is denied")
    func basic() async throws {
        try await Scratch.with { scratch in
            try await RegistryUnderTest.with(login: Self.login) { registry in
                let (image, _) = try await scratch.imported()
                _ = try await registry.push("oci:\(scratch.folder)/layout:test", as: "app:1")
                let reference = try #require(ImageReference("\(registry.address)/app:1"))
                let auth = Data("\(Self.login.user):\(Self.login.password)".utf8).base64EncodedString()
                let pair = #""username":"ada","password":"\#(Self.login.password)""#
                let good = [
                    #"{"auths":{"\#(registry.address)":{"auth":"\#(auth)"}}}"#,
                    #"{"auths":{"http://\#(registry.address)/v2/":{\#(pair)}}}"#,
                    #"{"credsStore":"there-is-none","auths":{"\#(registry.address)":{"auth":"\#(auth)"}}}"#,
                ]
                for (index, text) in good.enumerated() {
                    let client = RegistryClient(credentials: try scratch.credentials(text))
                    let store = try scratch.store("pulled\(index)")
                    #expect(try await client.pull(reference, digest: image.digest, platform: nil, into: store) == image)
                }
                let bad = [
                    "{}", "no JSON", #"{"auths":{"\#(registry.address)":{"auth":"%%%"}}}"#,
                    #"{"auths":{"\#(registry.address)":{}}}"#, #"{"auths":{"127.0.0.1":{"auth":"\#(auth)"}}}"#,
                    #"{"auths":{"\#(registry.address)":{"username":"ada","password":"wrong"}}}"#,
                    #"{"credsStore":"there-is-none"}"#, #"{"credsStore":"../../evil"}"#,
                ]
                for text in bad {
                    let client = RegistryClient(credentials: try scratch.credentials(text))
                    await #expect(throws: OCIError.denied(registry: registry.address), "\(text)") {
                        _ = try await client.resolve(reference)
                    }
                }
            }
        }
    }

    @Test("of an index the wanted platform comes, with the index itself; another platform comes later")
    func index() async throws {
        try await Scratch.with { scratch in
            try await RegistryUnderTest.with { registry in
                let parts = [SmallImage(), SmallImage(layerSize: 7, platform: ("linux", "arm64"))]
                let index = try await scratch.pushIndex(of: parts, to: registry, as: "many:1")
                let reference = try #require(ImageReference("\(registry.address)/many:1"))
                let resolved = try await nobody.resolve(reference)
                #expect(resolved.digest == index.digest && resolved.mediaType == MediaType.index)

                let store = try scratch.store("pulled")
                let arm = try await nobody.pull(reference, digest: index.digest, platform: "linux/arm64", into: store)
                #expect(arm.digest == index.digest && arm.platforms == ["linux/arm64"])
                #expect(arm.layers == [parts[1].layerDigest] && store.size(of: parts[0].layerDigest) == nil)
                #expect(
                    try await nobody.pull(reference, digest: index.digest, platform: "linux/amd64", into: store)
                        == index)
                let absent = await refusal {
                    _ = try await nobody.pull(reference, digest: index.digest, platform: "linux/s390x", into: store)
                }
                #expect(absent.contains("nothing for linux/s390x, only for linux/amd64, linux/arm64"), "\(absent)")

                let plain = try #require(ImageReference("\(registry.address)/many@\(parts[0].digest)"))
                let fresh = try scratch.store("fresh")
                let wrong = await refusal {
                    _ = try await nobody.pull(plain, digest: parts[0].digest, platform: "linux/arm64", into: fresh)
                }
                #expect(wrong.contains("it is for linux/amd64, not for linux/arm64"), "\(wrong)")
                #expect(fresh.size(of: parts[0].layerDigest) == nil)
            }
        }
    }
}

extension Scratch {
    fileprivate func pushIndex(
        of parts: [SmallImage], to registry: RegistryUnderTest, as name: String
    ) async throws -> StoredImage {
        try writeLayout("parts", of: parts)
        try await shell("tar -C parts -cf parts.tar .")
        let source = try store("source")
        let index = try importImage(archive: folder + "/parts.tar", into: source)
        let bytes = try source.read(index.digest, limit: 1 << 20)
        try writeLayout(
            "whole", blobs: [bytes] + parts.flatMap { [$0.manifest, $0.configuration, $0.layer] },
            images: [(MediaType.index, bytes)])
        let pushed = try await registry.push(
            "oci:\(folder)/whole:test", as: name, options: ["--all", "--preserve-digests"])
        #expect(pushed == index.digest.description)
        return index
    }
}
