// The certificate authorities of private registries, where Docker and Podman look for them: FOLDER/HOST[:PORT]/*.crt.
// A registry that has one speaks HTTPS, also on this machine. Those of the system count for every registry.
import Foundation

/// Where to look. See `man containers-certs.d` and Docker's "Verify repository client with certificates".
package struct RegistryCertificates: Hashable, Sendable {
    package var folders: [String]

    package init(folders: [String] = ["/etc/containers/certs.d", "/etc/docker/certs.d"]) { self.folders = folders }

    /// The file with the authority of `registry` (`host[:port]`), in PEM form; nil if it has none of its own.
    func authority(of registry: String) -> String? {
        guard !registry.contains("/"), registry != "..", registry != "." else { return nil }
        for folder in folders {
            // Sorted, so that every call takes the same. A folder that is not there has no files.
            let names = (try? FileManager.default.contentsOfDirectory(atPath: "\(folder)/\(registry)")) ?? []
            if let name = names.filter({ $0.hasSuffix(".crt") }).min() { return "\(folder)/\(registry)/\(name)" }
        }
        return nil
    }
}
