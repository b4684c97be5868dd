// The disk below the real store: it can be full, fail, and forget what was not synced (Sources/CSimulatedDisk).
import CSimulatedDisk

/// The part of the disk that one history has.
struct SimulatedDisk: Sendable {
    enum Failure: Sendable, CaseIterable { case full, write, sync }

    private let folder: String

    init(folder: String, mutant: Mutant?) {
        self.folder = folder
        precondition(jcd_install() == 0, "SQLite refused the simulated disk")
        switch mutant {
        case .neverSyncs: jcd_set_syncs(folder, JCD_SYNCS_NOTHING)
        case .syncsTheLogLater: jcd_set_syncs(folder, JCD_SYNCS_NO_LOG)
        default: break
        }
    }

    /// From the `operation`-th write or sync on the disk fails; nil: it works again.
    func arm(_ failure: Failure?, at operation: Int) {
        let fault =
            switch failure {
            case nil: JCD_NONE
            case .full: JCD_FULL
            case .write: JCD_WRITE_FAILS
            case .sync: JCD_SYNC_FAILS
            }
        jcd_arm(folder, fault, Int32(operation))
    }

    var hasFailed: Bool { jcd_has_struck(folder) != 0 }

    /// Copies a file as it is after a loss of power.
    /// - Returns: how many writes were lost or torn; nil: the file could not be copied.
    func copyAfterPowerLoss(_ file: String, to copy: String, seed: UInt64) -> Int? {
        let lost = jcd_copy_after_power_loss(file, copy, seed)
        return lost < 0 ? nil : Int(lost)
    }

    func forget() { jcd_forget(folder) }
    func forget(below home: String) { jcd_forget(home + "/") }
}
