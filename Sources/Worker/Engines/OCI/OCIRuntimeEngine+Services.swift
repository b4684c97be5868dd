// An attempt's services: each is described in a folder of its own inside of the attempt's, as an attempt is, and run by
// a runner that the attempt's runner starts. Invariant: an attempt's folder goes last, so that what its services left
// is found for as long as there may be something.
import CLinux
import Foundation
import Glibc
import JobModel
import OCI
import RunnerCore

extension OCIRuntimeEngine {
    /// A service and its image, unpacked.
    typealias PreparedService = (service: ServiceSpecification, root: RootFilesystem)

    /// What the task knows of its services; nil where there are none.
    func company(_ services: [PreparedService], of attempt: AttemptID) -> AttemptDescription.Company? {
        guard !services.isEmpty else { return nil }
        return AttemptDescription.Company(
            hostname: attempt.description, address: PrivateNetwork.hidden.task, hosts: hosts(services),
            services: services.map(\.service.name.rawValue), isService: false)
    }

    private func hosts(_ services: [PreparedService]) -> [String] {
        services.enumerated().map { place, prepared in
            PrivateNetwork.text(PrivateNetwork.hidden.service(place)) + "\t\(prepared.service.name)"
        }
    }

    /// Writes down what the attempt's runner starts.
    func describe(_ services: [PreparedService], of specification: ContainerSpecification) throws(EngineError) {
        guard !services.isEmpty else { return }
        let attempt = specification.attempt
        for (place, prepared) in services.enumerated() {
            let (name, folder) = (prepared.service.name, folder(attempt).service(prepared.service.name.rawValue))
            mkdir(folder.path, 0o700)
            mkdir(folder.scratch, 0o700)
            var host = setup.host
            host.scratch = folder.scratch
            let container = specification.container(of: prepared.service)
            let bundle = AttemptBundle(
                specification: container, imageEnvironment: prepared.root.configuration.environment,
                workingDirectory: workingDirectory(container, prepared.root),
                controlGroup: serviceGroup(name.rawValue, attempt).path, host: host,
                company: .service(name, prepared.service.health))
            try describe(
                ContainerSpecification.name(of: name.rawValue, in: attempt), container, prepared.root, bundle,
                holds: [],
                leaseFile: nil,
                company: AttemptDescription.Company(
                    hostname: name.rawValue, address: PrivateNetwork.hidden.service(place), hosts: hosts(services),
                    services: [], isService: true), in: folder)
        }
    }

    // MARK: What is left

    /// Removes what a killed runner left of its services. The runner itself must be gone: then theirs are about to be.
    func removeServices(of attempt: AttemptID) async {
        for name in serviceNames(attempt) {
            let folder = folder(attempt).service(name)
            let lock = open(folder.description, O_RDWR | O_CLOEXEC | O_NOFOLLOW)
            defer { if lock >= 0 { close(lock) } }
            for _ in 0..<500 where lock >= 0 && jc_lock(lock) != 0 {
                let holder = jc_lock_holder(lock)
                if holder > 0 { kill(holder, SIGKILL) }
                // allowed: cleaning goes on when the task is cancelled
                try? await Task.sleep(for: .milliseconds(10))
            }
            let container = ContainerSpecification.name(of: name, in: attempt)
            let group = serviceGroup(name, attempt)
            if access(folder.end, F_OK) != 0, hasBegun(folder) {
                await removeRuntime(container, folder, group)
            }
            await removeGroups(group)
        }
    }

    private func serviceNames(_ attempt: AttemptID) -> [String] {
        let prefix = String(RunnerFolder.servicePrefix.dropFirst())
        // allowed: no folder, no services
        return ((try? FileManager.default.contentsOfDirectory(atPath: folder(attempt).path)) ?? [])
            .filter { $0.hasPrefix(prefix) }.map { String($0.dropFirst(prefix.count)) }.sorted()
    }

    func hasServices(_ attempt: AttemptID) -> Bool { !serviceNames(attempt).isEmpty }

    private func serviceGroup(_ name: String, _ attempt: AttemptID) -> ControlGroups {
        ControlGroups(path: "/jobctl-\(setup.worker)/" + ContainerSpecification.name(of: name, in: attempt))
    }
}
