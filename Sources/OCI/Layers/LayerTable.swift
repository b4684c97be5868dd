// Which layers there are, who holds them, and which one goes next. A value without any I/O: the store changes it under
// its lock and does on the disk what it says.
import JobModel

struct LayerTable {
    struct Layer: Hashable {
        /// Bytes on disk, about.
        var bytes: Int64
        /// Nothing of the layers below is seen through it.
        var hidesLower: Bool
        /// In milliseconds since 1970; only ever compared.
        var lastUse: Int64
    }

    private(set) var layers: [Digest: Layer] = [:]
    private(set) var bytes: Int64 = 0
    /// How many leases hold a layer, whether it is there or not.
    private var holds: [Digest: Int] = [:]

    subscript(diffID: Digest) -> Layer? { layers[diffID] }

    mutating func add(_ diffID: Digest, _ layer: Layer) {
        remove(diffID)
        layers[diffID] = layer
        bytes += layer.bytes
    }

    mutating func remove(_ diffID: Digest) {
        guard let layer = layers.removeValue(forKey: diffID) else { return }
        bytes -= layer.bytes
    }

    mutating func hold(_ diffIDs: some Sequence<Digest>) {
        for diffID in diffIDs { holds[diffID, default: 0] += 1 }
    }

    mutating func release(_ diffIDs: some Sequence<Digest>, at time: Int64) {
        for diffID in diffIDs {
            guard let count = holds[diffID] else { continue }
            holds[diffID] = count > 1 ? count - 1 : nil
            touch(diffID, at: time)
        }
    }

    /// A clock that was put back makes nothing older.
    mutating func touch(_ diffID: Digest, at time: Int64) {
        guard let layer = layers[diffID] else { return }
        layers[diffID]?.lastUse = max(layer.lastUse, time)
    }

    func isHeld(_ diffID: Digest) -> Bool { holds[diffID] != nil }

    /// The layer to remove next so that all fit into `budget`; nil if they fit or all are in use. The one that was not
    /// used for the longest time, of equals the largest.
    func victim(budget: Int64) -> Digest? {
        guard bytes > budget else { return nil }
        return layers.filter { !isHeld($0.key) }.min { a, b in
            (a.value.lastUse, -a.value.bytes, a.key) < (b.value.lastUse, -b.value.bytes, b.key)
        }?.key
    }
}
