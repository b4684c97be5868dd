// The OCI bundle's document, compared with golden files: what stands in there is what confines a container.
import Foundation
import JobModel
import TestSupport
import Testing

@testable import Worker

@Suite("OCI bundles")
struct BundleTests {
    static let host = BundleHost(
        limitsSwap: true, openFiles: 1024, initProgram: "/opt/jobctl/jobctl-runner",
        scratch: "/data/containers/scratch",
        gpuHook: "/usr/bin/nvidia-container-runtime-hook")

    func bundle(
        network: NetworkMode = .none, gpus: [String] = [], host: BundleHost = Self.host, volumeRoot: String? = nil
    ) -> AttemptBundle {
        let specification = ContainerSpecification(
            attempt: AttemptID(task: TaskID(job: JobID(rawValue: 42), index: 7), number: 2),
            image: PinnedImage(digest: Digest(of: "image"), platform: nil),
            command: ["python3", "/job/mean.py", "a \"b\"\n"],
            environment: ["OMP_NUM_THREADS": "1", "TZ": "Asia/Tokyo"], workingDirectory: "/work",
            user: Identity(name: UserName(unchecked: "ada"), uid: 1234, gid: 5678),
            mounts: [
                ContainerMount(
                    source: "/data/mounts/42.7.2/output", target: "/out", readOnly: false, volumeRoot: volumeRoot),
                ContainerMount(source: "/data/mounts/42.7.2/input", target: "/data", readOnly: true),
            ],
            network: network,
            resources: Resources(cpus: CPUAmount(thousandths: 1500), memory: ByteCount(bytes: 1 << 30), gpus: 0),
            gpus: gpus, logLimit: ByteCount(bytes: 64 << 20))
        return AttemptBundle(
            specification: specification, imageEnvironment: ["PATH=/bin", "LANG=en_GB.UTF-8", "broken", "=x"],
            workingDirectory: "/work", controlGroup: "/jobctl-w/42.7.2", host: host)
    }

    func compare(_ bundle: AttemptBundle, _ name: String) throws {
        let object = try JSONSerialization.jsonObject(with: Data(try bundle.json().utf8))
        let text =
            String(
                decoding: try JSONSerialization.data(
                    withJSONObject: object, options: [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]),
                as: UTF8.self) + "\n"
        let file = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Golden/\(name).json")
        if ProcessInfo.processInfo.environment["UPDATE_GOLDEN"] != nil {
            try text.write(to: file, atomically: true, encoding: .utf8)
        }
        #expect(text == (try String(contentsOf: file, encoding: .utf8)))
    }

    @Test("an ordinary attempt's bundle")
    func ordinary() throws { try compare(bundle(), "bundle") }

    @Test("a bundle with the host's network has no network namespace")
    func hostNetwork() throws { try compare(bundle(network: .host), "bundle-host-network") }

    @Test("the bundle of a service joins the runner's network, and its init looks after its health")
    func service() throws {
        var service = bundle(host: Self.host)
        service.company = .service(
            ServiceName(unchecked: "db"),
            HealthCheck(
                command: ["redis-cli", "ping"], interval: TimeSpan(milliseconds: 250), timeout: .seconds(2), retries: 5)
        )
        try compare(service, "bundle-service")
    }

    @Test("a bundle with two GPUs")
    func gpus() throws { try compare(bundle(gpus: ["GPU-5a", "GPU-6b"]), "bundle-gpus") }

    @Test("neither an image nor a job chooses its GPUs")
    func chosenGPUs() throws {
        let ordinary = bundle(gpus: ["GPU-5a"])
        var specification = ordinary.specification
        specification.environment["NVIDIA_VISIBLE_DEVICES"] = "all"
        let greedy = AttemptBundle(
            specification: specification, imageEnvironment: ["NVIDIA_VISIBLE_DEVICES=all"], workingDirectory: "/",
            controlGroup: "/g", host: Self.host)
        #expect(try greedy.json().contains(#""NVIDIA_VISIBLE_DEVICES=GPU-5a""#))
        #expect(try !greedy.json().contains("NVIDIA_VISIBLE_DEVICES=all"))
    }

    @Test("GPUs without NVIDIA's hook are refused")
    func noHook() {
        var host = Self.host
        host.gpuHook = nil
        #expect(throws: EngineError.self) { try bundle(gpus: ["GPU-5a"], host: host).json() }
    }

    @Test(
        "a bundle without root has no control group, begins as the runner's 0, and finds volumes where the runner mounts"
    )
    func rootless() throws {
        for network in [NetworkMode.none, .host] {
            var host = Self.host
            host.rootless = RootlessHost(uid: 1234, gid: 5678, subordinate: nil, rootForm: .overlay)
            let bundle = bundle(network: network, host: host, volumeRoot: "/data/mounts")
            try compare(bundle, network == .host ? "bundle-rootless-host-network" : "bundle-rootless")
            let volumes = try #require(bundle.rootlessAttempt?.volumes)
            #expect(volumes == [.init(root: "/data/mounts", path: "42.7.2/output", readOnly: false)])
        }
    }
}
