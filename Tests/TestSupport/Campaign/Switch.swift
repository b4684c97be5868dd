// Something that one task says and others see.
import Synchronization

package final class Switch: Sendable {
    private let state = Atomic(false)
    package init() {}
    package var isSet: Bool { state.load(ordering: .acquiring) }
    package func set() { state.store(true, ordering: .releasing) }
}
