// Proof of how a program in a daemon's container ended. A daemon that crashes together with all below it may record,
// when it is back, exit code 0 for an end that it never saw (dockerd 20.10 was seen to). So process 1 of a program's
// container is an init of ours (jc_witness_enter) that says success with another code, and 0 proves nothing.
import CLinux
import JobModel

struct Witness: Hashable, Sendable {
    /// The exit code of a container whose program ended with exit code 0.
    static let success = Int(jc_witness_success)
    /// How the line begins that says why a program was not started; an errno follows.
    static let complaint = "jobctl-init: exec failed: errno "

    private let code: Int

    /// Nil for a container without one: a service, or one that an older agent made.
    init?(of found: InspectedContainer) {
        guard let code = found.settings.labels?[ContainerLabel.success].flatMap({ Int($0) }) else { return nil }
        self.code = code
    }

    init(success code: Int = Self.success) { self.code = code }

    /// The program's exit code.
    /// - Parameter recorded: the container's.
    func exitCode(_ recorded: Int) throws(EngineError) -> Int {
        guard recorded != 0 else {
            throw .noProof("the engine recorded exit code 0, which the container's init never ends with")
        }
        return recorded == code ? 0 : recorded
    }
}
