// An image on its way from the archive of a real scheduler into a worker's layer store.
import Foundation
import JobModel
import OCI
import Synchronization
import TestSupport
import Testing
import Worker

@Suite struct APILayerSourceTests {
    @Test("a worker unpacks an image of the archive by its digest, with its own token and with no other")
    func unpacked() async throws {
        try await APIUnderTest.with(.live) { api in
            let image = try await api.importBusybox(more: "for the worker")
            let digest = image.digest
            let folder = try temporaryFolder("layers")
            defer { removeFolder(folder) }
            let store = try LayerStore(directory: folder + "/store", budget: ByteCount(bytes: 1 << 30))
            let pinned = PinnedImage(digest: digest, platform: nil)

            let stranger = try ArchiveLayerSource(url: "http://127.0.0.1:\(api.port)", token: "wrong")
            await #expect(throws: OCIError.self) { _ = try await store.prepare(pinned, from: stranger) }
            await stranger.close()

            let source = try ArchiveLayerSource(url: "http://127.0.0.1:\(api.port)", token: api.token(of: .worker))
            let (root, lease) = try await store.prepare(pinned, from: source)
            #expect(try String(contentsOfFile: root.layers[0] + "/more", encoding: .utf8) == "for the worker")
            #expect(FileManager.default.isExecutableFile(atPath: root.layers[0] + "/bin/busybox"))
            lease.release()

            let absent = PinnedImage(digest: try #require(Digest(absentDigest)), platform: nil)
            await #expect(throws: OCIError.blobMissing(absent.digest)) {
                _ = try await store.prepare(absent, from: source)
            }
            await source.close()
        }
    }
}
