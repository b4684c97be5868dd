// Memory for many connections at once. A thread's own heap grows by a page and a system call at a time: when thousands
// of agents call, a tenth of the time would go there.
import CLinux
import Foundation

package enum Heaps {
    /// Lets threads share heaps, four to one. To be called before there are other threads.
    package static func share() {
        jc_share_heaps(Int32(max(1, ProcessInfo.processInfo.activeProcessorCount / 4)))
    }
}
