// The private network of an attempt with services, at dockerd or podman: an internal bridge on which the host has no
// address, with fixed addresses and names in /etc/hosts, so that nobody needs a name server. Invariant: it has the name
// of the attempt's container, and is found and removed by it.
import Foundation
import JobModel
import NIOCore
import RunnerCore

/// What containers of one attempt share.
struct PlannedNetwork: Hashable, Sendable {
    let name: String
    let addresses: PrivateNetwork
    /// In order: their places are their addresses.
    let services: [ServiceName]

    func address(of service: ServiceName?) -> String {
        guard let service else { return PrivateNetwork.text(addresses.task) }
        return PrivateNetwork.text(addresses.service(services.firstIndex(of: service) ?? 0))
    }

    /// `db:198.18.0.3`.
    var hosts: [String] { services.map { "\($0):\(address(of: $0))" } }
}

extension DockerEngine {
    /// Blocks of addresses that are tried until one is free on this host.
    private static let tries = 64

    /// The attempt's network, made if it is not there; nil for an attempt without services.
    func network(of specification: ContainerSpecification) async throws(EngineError) -> PlannedNetwork? {
        guard !specification.services.isEmpty else { return nil }
        let name = containerName(of: specification.attempt)
        func planned(_ addresses: PrivateNetwork) -> PlannedNetwork {
            PlannedNetwork(name: name, addresses: addresses, services: specification.services.map(\.name).sorted())
        }
        var complaint = ""
        for _ in 0..<Self.tries {
            if let existing = try await existingNetwork(name) { return planned(existing) }
            let addresses = PrivateNetwork(block: Int.random(in: 0..<PrivateNetwork.blocks))
            let answer = try await http.exchange(
                .POST, path("/networks/create"),
                body: document(name, specification.attempt, addresses).canonical)
            if answer.status == 200 || answer.status == 201 { return planned(addresses) }
            complaint = answer.complaint
            guard answer.status == 409 || complaint.contains("overlap") || complaint.contains("already") else {
                throw EngineError(
                    EngineError.refused, "the engine refuses a private network for the services: \(complaint)",
                    cause: answer.call)
            }
        }
        throw .refused("no private network for the services could be made: \(complaint)")
    }

    private func document(_ name: String, _ attempt: AttemptID, _ addresses: PrivateNetwork) -> JSONValue {
        let labels: JSONValue = [
            ContainerLabel.attempt: .string(attempt.description), ContainerLabel.worker: .string(worker),
        ]
        switch dialect {
        case .docker:
            return [
                "Name": .string(name), "CheckDuplicate": true, "Driver": "bridge", "Internal": true,
                "EnableIPv6": false, "Labels": labels,
                "IPAM": ["Driver": "default", "Config": [["Subnet": .string(addresses.subnet)]]],
                // Without an address of its own on the bridge, the host cannot be reached through it.
                "Options": ["com.docker.network.bridge.inhibit_ipv4": "true"],
            ]
        case .podman:
            return [
                "name": .string(name), "driver": "bridge", "internal": true, "dns_enabled": false,
                "ipv6_enabled": false, "labels": labels, "subnets": [["subnet": .string(addresses.subnet)]],
            ]
        }
    }

    private struct ListedNetwork: Decodable {
        struct Addresses: Decodable {
            struct Block: Decodable {
                let subnet: String?
                private enum CodingKeys: String, CodingKey { case subnet = "Subnet" }
            }
            let blocks: [Block]?
            private enum CodingKeys: String, CodingKey { case blocks = "Config" }
        }
        struct Subnet: Decodable { let subnet: String? }
        let dockerName: String?
        let podmanName: String?
        let dockerLabels: [String: String]?
        let podmanLabels: [String: String]?
        let addresses: Addresses?
        let subnets: [Subnet]?
        private enum CodingKeys: String, CodingKey {
            case dockerName = "Name", podmanName = "name", dockerLabels = "Labels", podmanLabels = "labels"
            case addresses = "IPAM", subnets
        }
        var subnet: String? { addresses?.blocks?.first?.subnet ?? subnets?.first?.subnet }
        var name: String? { dockerName ?? podmanName }
        var labels: [String: String]? { dockerLabels ?? podmanLabels }
    }

    private func existingNetwork(_ name: String) async throws(EngineError) -> PrivateNetwork? {
        let answer =
            switch dialect {
            case .docker: try await http.exchange(.GET, path("/networks/" + percentEncoded(name)))
            case .podman: try await http.exchange(.GET, path("/networks/" + percentEncoded(name) + "/json"))
            }
        if answer.status == 404 { return nil }
        try answer.expect(200)
        let found: ListedNetwork = try answer.decoded()
        guard let addresses = found.subnet.flatMap({ PrivateNetwork(subnet: $0) }) else {
            throw .refused("the network \(name) is not one of this worker's")
        }
        return addresses
    }

    /// The networks of this worker's attempts.
    func networks() async throws(EngineError) -> [(name: String, attempt: AttemptID)] {
        let filters = JSONValue.object([("label", .array([.string("\(ContainerLabel.worker)=\(worker)")]))])
        let end =
            switch dialect {
            case .docker: "/networks"
            case .podman: "/networks/json"
            }
        let answer = try await http.exchange(
            .GET, path(end), query: [("filters", String(decoding: filters.canonical, as: UTF8.self))])
        try answer.expect(200)
        let listed: [ListedNetwork]? = try answer.decoded()
        return (listed ?? []).compactMap { network in
            guard network.labels?[ContainerLabel.worker] == worker, let name = network.name,
                let attempt = network.labels?[ContainerLabel.attempt].flatMap({ AttemptID($0) })
            else { return nil }
            return (name, attempt)
        }
    }

    /// CNI's book of the network's addresses, which podman leaves for ever.
    private func forgetAddresses(of attempt: AttemptID) {
        guard case .podman = dialect else { return }
        // allowed: without CNI, or with another folder, there is none
        try? FileManager.default.removeItem(atPath: "/var/lib/cni/networks/" + containerName(of: attempt))
    }

    /// The containers on it are gone; an engine may take a moment to notice.
    func removeNetwork(of attempt: AttemptID) async throws(EngineError) {
        let query = if case .podman = dialect { [("force", "true")] } else { [(String, String)]() }
        for round in 0..<50 {
            let answer = try await http.exchange(
                .DELETE, path("/networks/" + percentEncoded(containerName(of: attempt))), query: query)
            if [200, 204, 404].contains(answer.status) { return forgetAddresses(of: attempt) }
            guard round < 49 else { throw answer.failure }
            try await pause(.milliseconds(100))
        }
    }
}
