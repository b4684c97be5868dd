// The archive as a registry: hashing beside openssl on the same core, and an image of 1 GiB pushed and pulled beside
// Debian's docker-registry, with the same client, the same bytes, in turns. And what the scheduler's memory does.
import Foundation
import JobModel
import OCI
import TestSupport

struct ArchiveBenchmark {
    let settings: Settings
    private static let layers = 4
    private static let layerSize = 256 << 20
    private static let megabytes = Double(layers * layerSize) / 1e6
    /// Of `openssl speed`, at least.
    private static let hashingShare = 0.8

    func run() async throws -> [Figure] {
        let folder = try settings.scratch.folder("archive")
        var figures = [try await hashing()]
        let registry = try await PlainRegistryUnderTest.start()
        do {
            figures += try await SchedulerUnderBench.with(on: folder) { scheduler in
                try await transfers(scheduler, registry)
            }
        } catch {
            await registry.stop()
            throw error
        }
        await registry.stop()
        return figures
    }

    // MARK: hashing

    private func hashing() async throws -> Figure {
        let piece = [UInt8](repeating: 7, count: 1 << 20)
        // Processor time, as openssl counts it: what else runs on this machine takes nothing from either.
        func processorSeconds() -> Double {
            var time = timespec()
            clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
            return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
        }
        func ours() -> Double {
            var builder = DigestBuilder()
            let start = processorSeconds()
            var count = 0.0
            while processorSeconds() - start < settings.seconds / 2 {
                builder.update(piece)
                count += 1
            }
            let seconds = processorSeconds() - start
            _ = builder.finish()
            return count * Double(piece.count) / 1e6 / seconds
        }
        _ = ours()
        let seconds = String(max(1, Int(settings.seconds / 2)))
        let printed = settings.scratch.path + "/openssl"
        let id = try spawn(
            "/usr/bin/openssl", ["speed", "-evp", "sha256", "-bytes", "16384", "-seconds", seconds], output: printed)
        var status: Int32 = 0
        guard waitpid(id, &status, 0) == id, status == 0 else {
            throw BenchFailure("openssl speed ended with \(status)")
        }
        let openssl = try String(contentsOfFile: printed, encoding: .utf8)
        // The last line: 'sha256  1234567.89k'.
        guard let word = openssl.split(separator: "\n").last?.split(separator: " ").last, word.hasSuffix("k"),
            let kilobytes = Double(word.dropLast())
        else { throw BenchFailure("openssl speed printed no speed: \(openssl)") }
        return Figure(
            name: "SHA-256 of what comes in", value: ours(), unit: "MB/s",
            baseline: .init(name: "openssl speed", value: kilobytes / 1000),
            goal: .init(direction: .atLeast, value: Self.hashingShare * kilobytes / 1000))
    }

    // MARK: push and pull

    /// Somewhere that takes an image.
    private struct Place {
        let address: String
        /// Options of skopeo and curl.
        let password: String?
        var times: [String: [Double]] = [:]
        func credentials(_ option: String) -> [String] { password.map { [option, "admin:\($0)"] } ?? [] }
    }

    private func transfers(
        _ scheduler: SchedulerUnderBench, _ registry: PlainRegistryUnderTest
    ) async throws -> [Figure] {
        var ours = Place(address: "127.0.0.1:\(scheduler.port)", password: scheduler.adminToken)
        var theirs = Place(address: "127.0.0.1:\(registry.port)", password: nil)
        let before = scheduler.residentMegabytes
        for round in 1...settings.rounds {
            Progress.say("round \(round) of \(settings.rounds)")
            let image = try LargeImage(
                in: settings.scratch.folder("image"), named: "round\(round)", layers: Self.layers, size: Self.layerSize)
            // Who comes first has the colder machine: they take turns.
            for isOurs in round % 2 == 1 ? [true, false] : [false, true] {
                if isOurs { try await transfer(image, &ours) } else { try await transfer(image, &theirs) }
                try Interruption.check()
            }
            image.remove()
        }
        var figures = ["skopeo push", "skopeo pull", "curl upload", "curl download"].map { name -> Figure in
            let value = Self.megabytes / (ours.times[name] ?? []).median
            let baseline = Self.megabytes / (theirs.times[name] ?? []).median
            return Figure(
                name: "\(name) of 1 GiB", value: value, unit: "MB/s",
                baseline: .init(name: "docker-registry", value: baseline),
                goal: .init(direction: .atLeast, value: baseline))
        }
        figures.append(
            Figure(
                name: "scheduler's memory at its highest", value: scheduler.highestMegabytes, unit: "MB",
                baseline: .init(name: "before the first push", value: before),
                note: "\(settings.rounds) GiB went in and out twice over"))
        return figures
    }

    /// One image in by skopeo, out by skopeo; then its blobs in and out by curl, which does nothing else.
    private func transfer(_ image: LargeImage, _ place: inout Place) async throws {
        let repository = "bench/image"
        let target = "docker://\(place.address)/\(repository):\(image.name)"
        let pulled = settings.scratch.path + "/pulled"
        let (into, outOf) = (place.credentials("--dest-creds"), place.credentials("--src-creds"))
        func measure(_ name: String, _ body: () async throws -> Void) async throws {
            // What others left to be written is not this one's.
            sync()
            let (_, seconds) = try await timed(body)
            place.times[name, default: []].append(seconds)
            Progress.say(
                String(format: "  \(place.password == nil ? "docker-registry" : "archive") \(name): %.2f s", seconds))
        }
        try await measure("skopeo push") {
            _ = try await output(
                "skopeo",
                ["copy", "--preserve-digests", "--dest-tls-verify=false"] + into
                    + ["oci:\(image.folder):image", target])
        }
        try await measure("skopeo pull") {
            _ = try await output(
                "skopeo",
                ["copy", "--src-tls-verify=false"] + outOf + [target, "dir:\(pulled)"])
        }
        try FileManager.default.removeItem(atPath: pulled)
        let url = "http://\(place.address)/v2/\(repository)/blobs/"
        let curl = ["-sSf", "--max-time", "300"] + place.credentials("-u")
        try await measure("curl download") {
            for layer in image.layers {
                _ = try await output("curl", curl + ["-o", "/dev/null", url + layer.description])
            }
        }
        // Neither looks whether it has a blob already while it comes in.
        try await measure("curl upload") {
            for layer in image.layers { try await upload(layer, of: image, to: url, curl) }
        }
    }

    private func upload(_ layer: Digest, of image: LargeImage, to url: String, _ curl: [String]) async throws {
        let begun = try await output("curl", curl + ["-X", "POST", "-D", "-", "-o", "/dev/null", url + "uploads/"])
        guard
            let line = begun.split(whereSeparator: \.isNewline).first(where: { $0.lowercased().hasPrefix("location:") }
            ),
            let base = URL(string: url),
            let location = URL(
                string: line.dropFirst("location:".count).trimmingCharacters(in: .whitespaces), relativeTo: base)
        else { throw BenchFailure("no upload was begun: \(begun)") }
        let mark = location.query == nil ? "?" : "&"
        _ = try await output(
            "curl",
            curl + [
                "-H", "Expect:", "-H", "Content-Type: application/octet-stream", "-T", image.path(of: layer),
                "\(location.absoluteString)\(mark)digest=\(layer)",
            ])
    }

    /// Runs a program to its end.
    private func output(_ program: String, _ arguments: [String]) async throws -> String {
        let result = try await runProcess(program, arguments, limit: 600)
        guard result.exitCode == 0 else { throw BenchFailure("\(program): \(result)") }
        return result.output
    }
}

/// An image of random bytes, as an OCI layout.
private struct LargeImage {
    let folder: String
    let name: String
    private(set) var layers: [Digest] = []

    init(in folder: String, named name: String, layers count: Int, size: Int) throws {
        self.folder = folder
        self.name = name
        try FileManager.default.createDirectory(
            atPath: folder + "/blobs/sha256", withIntermediateDirectories: true)
        var descriptors: [OCI.Descriptor] = []
        for _ in 0..<count {
            let digest = try writeRandom(size)
            layers.append(digest)
            descriptors.append(OCI.Descriptor(mediaType: MediaType.layer, digest: digest, size: Int64(size)))
        }
        let ids = layers.map { "\"\($0)\"" }.joined(separator: ",")
        let configuration = try write(
            #"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[\#(ids)]}}"#)
        let bytes = Manifest.imageBytes(
            configuration: OCI.Descriptor(
                mediaType: MediaType.configuration, digest: configuration.0, size: configuration.1),
            layers: descriptors)
        let manifest = try write(String(decoding: bytes, as: UTF8.self))
        try Data(#"{"imageLayoutVersion":"1.0.0"}"#.utf8).write(to: URL(filePath: folder + "/oci-layout"))
        let index =
            #"{"schemaVersion":2,"manifests":[{"mediaType":"\#(MediaType.manifest)","digest":"\#(manifest.0)","size":\#(manifest.1),"annotations":{"org.opencontainers.image.ref.name":"image"}}]}"#
        try Data(index.utf8).write(to: URL(filePath: folder + "/index.json"))
    }

    func path(of digest: Digest) -> String { "\(folder)/blobs/sha256/\(digest.hex)" }

    func remove() {
        do { try FileManager.default.removeItem(atPath: folder) } catch { Progress.say("\(folder) is left: \(error)") }
    }

    private func write(_ text: String) throws -> (Digest, Int64) {
        let digest = Digest(of: text)
        try Data(text.utf8).write(to: URL(filePath: path(of: digest)))
        return (digest, Int64(text.utf8.count))
    }

    /// Bytes that do not compress, from SplitMix64.
    private func writeRandom(_ size: Int) throws -> Digest {
        let temporary = folder + "/random"
        _ = FileManager.default.createFile(atPath: temporary, contents: nil)
        let file = try FileHandle(forWritingTo: URL(filePath: temporary))
        var builder = DigestBuilder()
        var state = UInt64.random(in: 0 ... .max)
        for _ in 0..<(size >> 20) {
            let piece = [UInt64](unsafeUninitializedCapacity: 1 << 17) { buffer, count in
                for index in 0..<(1 << 17) {
                    state &+= 0x9e37_79b9_7f4a_7c15
                    var word = (state ^ state >> 30) &* 0xbf58_476d_1ce4_e5b9
                    word = (word ^ word >> 27) &* 0x94d0_49bb_1331_11eb
                    buffer[index] = word ^ word >> 31
                }
                count = 1 << 17
            }
            try piece.withUnsafeBytes { bytes in
                builder.update(bytes)
                try file.write(contentsOf: Data(bytes))
            }
        }
        try file.close()
        let digest = builder.finish()
        try FileManager.default.moveItem(atPath: temporary, toPath: path(of: digest))
        return digest
    }
}
