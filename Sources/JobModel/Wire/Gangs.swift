// Where the members of a gang find each other: what a worker says of its address, and what each member is told.

extension WorkerRegistration {
    package static let addressRule = "a host name or an IP address: use 1 to 253 letters, digits, '.', '-', '_' and ':'"

    /// It stands in a list with commas.
    package static func isAddress(_ text: String) -> Bool {
        (1...253).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
                case UInt8(ascii: "0")...UInt8(ascii: "9"): true
                default: ".-_:".utf8.contains(byte)
                }
            }
    }

    /// What decides about placement: workers that differ only in their addresses take the same tasks.
    package var withoutAddress: WorkerRegistration {
        guard address != nil else { return self }
        var registration = self
        registration.address = nil
        return registration
    }
}

extension StartOrder {
    /// What a member's container is told of the gang; nothing for a task that runs alone.
    package var gangEnvironment: [String: String] {
        guard let gangHosts else { return [:] }
        return [
            "JOBCTL_GANG_SIZE": String(gangHosts.count), "JOBCTL_GANG_RANK": String(attempt.task.index - 1),
            "JOBCTL_GANG_HOSTS": gangHosts.joined(separator: ","), "JOBCTL_GANG_MASTER": gangHosts.first ?? "",
        ]
    }
}
