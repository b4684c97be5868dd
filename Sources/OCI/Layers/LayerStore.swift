// The worker's layers: pulled from the scheduler's archive by digest, unpacked once for all attempts, shared through
// overlayfs. Invariant: whatever has a name in the store is whole, verified against both digests and on disk; a layer
// that is held is never removed. How a layer is unpacked stands in LayerDecoder and LayerUnpacker, what is on disk in
// LayerFolder.
import Dispatch
import Foundation
import Glibc
import JobModel
import Synchronization

/// Content-addressed, unpacked layers below one folder.
///
///     let store = try LayerStore(directory: "/var/lib/jobctl/layers", budget: ByteCount(bytes: 20 << 30))
///     let held = store.hold(diffIDsOfAdoptedAttempts)       // first of all after a restart
///     let (root, lease) = try await store.prepare(image, from: source)
///     // mount root.layers, run the container, unmount
///     lease.release()
///
/// Safe from any task. One process at a time may have a store open.
package final class LayerStore: Sendable {
    private let folder: LayerFolder
    private let budget: Int64
    private let limits: LayerLimits
    private let table = Mutex(LayerTable())
    private let images = Mutex<[PinnedImage: ImageRecord]>([:])
    private let imageFlights = SingleFlight<PinnedImage, ImageRecord>()
    private let layerFlights = SingleFlight<WantedLayer, Bool>()
    /// Unpacking a layer keeps two threads busy; more at a time only compete for the disk.
    private let gate = Gate(width: 2)
    /// Where layers are removed, one after the other.
    private let removal = DispatchQueue(label: "jobctl.layers.removal", qos: .utility)

    /// Opens or makes the store; what a crash left is removed in the background. Nothing is removed for the budget's
    /// sake before the first ``prepare(_:from:)`` or ``trim()``: take leases for adopted attempts before.
    /// - Parameters:
    ///   - directory: absolute; only its owner may enter it afterwards.
    ///   - budget: what unpacked layers may take on disk; more while all of it is in use.
    ///   - form: nil for what this process can make.
    /// - Throws: ``OCIError/refused(what:why:)`` if another process has it open or its file system cannot hold layers.
    package init(
        directory: String, budget: ByteCount, limits: LayerLimits = LayerLimits(), form: OverlayForm? = nil
    ) throws(OCIError) {
        let folder = try LayerFolder(path: directory, form: form)
        self.folder = folder
        self.budget = budget.bytes
        self.limits = limits
        let (found, leftovers) = try folder.load()
        table.withLock { table in
            for (record, lastUse) in found {
                table.add(
                    record.diffID,
                    LayerTable.Layer(bytes: record.bytes, hidesLower: record.hidesLower, lastUse: lastUse))
            }
        }
        removal.async { for name in leftovers { folder.discard(name) } }
    }

    /// What the layers take on disk, about.
    package var bytes: ByteCount { ByteCount(bytes: table.withLock { $0.bytes }) }
    /// The layers that are there.
    package var diffIDs: Set<Digest> { table.withLock { Set($0.layers.keys) } }

    // MARK: Images

    /// Makes sure that every layer of the image is unpacked, each once, however many callers wait, and holds them
    /// until the lease is released. A call for an image whose layers are there touches neither disk nor network.
    /// - Throws: ``OCIError`` with a sentence that names layer and entry; nothing is left of a layer that failed.
    ///   ``OCIError/isTransient`` tells whether to try again later. ``OCIError/cancelled`` at once when the caller's
    ///   task is; the work goes on while somebody else waits for it.
    package func prepare(
        _ image: PinnedImage, from source: any LayerSource
    ) async throws(OCIError) -> (root: RootFilesystem, lease: LayerLease) {
        let record = try await record(of: image, from: source)
        let diffIDs = record.layers.map(\.diffID)
        let lease = hold(diffIDs)
        do throws(OCIError) {
            for layer in record.layers where !isThere(layer.diffID) {
                _ = try await layerFlights.run(layer) { [self] () async throws(OCIError) in
                    try await fetch(layer, from: source)
                    return true
                }
            }
        } catch {
            lease.release()
            throw error
        }
        touch(diffIDs)
        if table.withLock({ $0.bytes > budget }) { removal.async { [self] in makeRoom() } }
        return (root(of: record), lease)
    }

    private func record(of image: PinnedImage, from source: any LayerSource) async throws(OCIError) -> ImageRecord {
        if let known = images.withLock({ $0[image] }) { return known }
        let record = try await imageFlights.run(image) { [folder] () async throws(OCIError) in
            let key = Digest(of: "\(image.digest) \(image.platform ?? "")")
            let path = "\(folder.path)/images/\(key.hex).json"
            if let kept: ImageRecord = folder.read(path), kept.image == image { return kept }
            let record = try await ImageResolution(image: image, source: source).resolve()
            try folder.write(record, to: path)
            return record
        }
        images.withLock { $0[image] = record }
        return record
    }

    /// The folders from the top down. A layer that stands twice counts where it is highest: below, it shows nothing.
    private func root(of record: ImageRecord) -> RootFilesystem {
        var folders: [String] = []
        var seen: Set<Digest> = []
        let layers = table.withLock { $0.layers }
        for layer in record.layers.reversed() where seen.insert(layer.diffID).inserted {
            folders.append(folder.path(of: layer.diffID))
            if layers[layer.diffID]?.hidesLower == true { break }
        }
        if folders.count == 1 { folders.append(folder.emptyLayer) }
        return RootFilesystem(
            layers: folders, diffIDs: record.layers.map(\.diffID), manifest: record.manifest,
            platform: record.platform, form: folder.form, configuration: record.configuration)
    }

    // MARK: Use

    /// Keeps layers from being removed: those of attempts that an earlier life of the agent started, by the digests in
    /// their ``RootFilesystem``. Call it before anything else after a restart. Layers that are not there are held too.
    package func hold(_ diffIDs: [Digest]) -> LayerLease {
        table.withLock { $0.hold(diffIDs) }
        return LayerLease { [self] in table.withLock { $0.release(diffIDs, at: Self.now()) } }
    }

    private func isThere(_ diffID: Digest) -> Bool { table.withLock { $0[diffID] != nil } }

    private func touch(_ diffIDs: [Digest]) {
        let now = Self.now()
        let stale = table.withLock { table in
            let stale = diffIDs.filter { table[$0].map { now - $0.lastUse > 60_000 } ?? false }
            for diffID in diffIDs { table.touch(diffID, at: now) }
            return stale
        }
        guard !stale.isEmpty else { return }
        removal.async { [folder] in for diffID in stale { folder.touch(diffID) } }
    }

    private static func now() -> Int64 { Int64(time(nil)) * 1000 }

    /// Removes the least recently used layers until the budget is met; never one that is held.
    package func trim() async {
        await withCheckedContinuation { continuation in
            removal.async { [self] in
                makeRoom()
                continuation.resume()
            }
        }
    }

    private func makeRoom() {
        while true {
            // Out of sight under the lock, so that nobody can begin to hold a layer that is on its way out.
            let withdrawn: String?? = table.withLock { table in
                guard let victim = table.victim(budget: budget) else { return nil }
                table.remove(victim)
                return .some(folder.withdraw(victim))
            }
            guard let withdrawn else { return }
            if let name = withdrawn { folder.discard(name) }
        }
    }

    // MARK: One layer

    private func fetch(_ layer: WantedLayer, from source: any LayerSource) async throws(OCIError) {
        await gate.enter()
        var failure: OCIError?
        do throws(OCIError) {
            if Task.isCancelled { throw OCIError.cancelled }
            if !isThere(layer.diffID) { try await unpack(layer, from: source) }
        } catch {
            failure = error
        }
        await gate.leave()
        if let failure { throw failure }
    }

    private func unpack(_ layer: WantedLayer, from source: any LayerSource) async throws(OCIError) {
        let (name, file) = try folder.begin()
        let result = await LayerLine(layer: layer, limits: limits, form: folder.form)
            .run(from: source, into: file, trash: (folder.incoming, name + "-replaced"))
        let failure = await onOwnThread { [self] () -> OCIError? in
            defer { close(file) }
            do throws(OCIError) {
                let unpacked = try result.get()
                let record = LayerRecord(
                    diffID: layer.diffID, bytes: unpacked.bytes, hidesLower: unpacked.hidesLower, form: folder.form)
                guard try folder.commit(name, record) else {
                    folder.discard(name)
                    return nil
                }
                table.withLock {
                    $0.add(
                        layer.diffID,
                        LayerTable.Layer(
                            bytes: unpacked.bytes, hidesLower: unpacked.hidesLower, lastUse: Self.now()))
                }
                return nil
            } catch {
                folder.discard(name)
                return error
            }
        }
        if let failure { throw failure }
    }
}

/// Keeps layers from being removed, until it is released or dropped.
package final class LayerLease: Sendable {
    private let end: Mutex<(@Sendable () -> Void)?>

    init(_ end: @escaping @Sendable () -> Void) { self.end = Mutex(end) }
    deinit { release() }

    /// Harmless when repeated.
    package func release() {
        let end = end.withLock { end in
            defer { end = nil }
            return end
        }
        end?()
    }
}
