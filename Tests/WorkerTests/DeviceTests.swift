// GPUs by the Container Device Interface, without a GPU: specifications that lie in a folder of the test's, device
// nodes made for it, and what becomes of them in bundles, in engines' documents and in a real container.
import Foundation
import Glibc
import JobModel
import RunnerCore
import TestSupport
import Testing

@testable import Worker

@Suite("CDI specifications")
struct DeviceSpecificationTests {
    private static let json = """
        {"cdiVersion": "0.6.0", "kind": "nvidia.com/gpu",
         "containerEdits": {"env": ["NVIDIA_VISIBLE_DEVICES=void"], "deviceNodes": [{"path": "/dev/nvidiactl", "hostPath": "/dev/zero"}],
           "hooks": [{"hookName": "createContainer", "path": "/usr/bin/true", "args": ["true", "x"], "env": ["A=1"], "timeout": 5}]},
         "devices": [
          {"name": "0", "containerEdits": {"deviceNodes": [{"path": "/dev/nvidia0", "hostPath": "/dev/null", "permissions": "rwm", "fileMode": 438}],
             "additionalGids": [0, 44]}},
          {"name": "1", "containerEdits": {"deviceNodes": [{"path": "/dev/nvidia1", "hostPath": "/dev/full", "uid": 0, "gid": 7}],
             "mounts": [{"hostPath": "/etc/hostname", "containerPath": "/usr/lib/name", "options": ["ro", "bind"]}]}}]}
        """
    private static let yaml = """
        cdiVersion: 1.0.0
        kind: nvidia.com/gpu
        devices:
          - name: GPU-5a
            containerEdits:
              deviceNodes:
                - path: /dev/nvidia5
                  hostPath: /dev/null
                  fileMode: 0o640
              env: [ONE=1]
          - name: 6
            containerEdits: {env: [SIX=6]}
        """

    /// Runs `body` with two folders, the later of which wins.
    private func withFolders(
        _ files: [String: String], _ body: (String, DeviceSpecifications) throws -> Void
    ) throws {
        let folder = try temporaryFolder("cdi")
        defer { removeFolder(folder) }
        for name in ["etc", "run"] {
            try FileManager.default.createDirectory(atPath: "\(folder)/\(name)", withIntermediateDirectories: true)
        }
        for (name, text) in files { try text.write(toFile: "\(folder)/\(name)", atomically: true, encoding: .utf8) }
        try body(
            folder,
            DeviceSpecifications(
                folders: ["\(folder)/etc", "\(folder)/none", "\(folder)/run"], indices: ["GPU-aa": 0, "GPU-bb": 1]))
    }

    @Test("a GPU is found by its own name, else by the driver's number, in JSON and YAML")
    func found() throws {
        try withFolders(["etc/a.json": Self.json, "run/b.yaml": Self.yaml, "etc/c.txt": "no"]) { _, specifications in
            let edits = try #require(try specifications.edits(for: ["GPU-aa", "GPU-5a", "6"]))
            #expect(edits.names == ["nvidia.com/gpu=0", "nvidia.com/gpu=GPU-5a", "nvidia.com/gpu=6"])
            #expect(edits.nodes.map(\.path) == ["/dev/nvidiactl", "/dev/nvidia0", "/dev/nvidia5"])
            #expect(edits.nodes.map(\.access) == ["rw", "rw", "rw"] && edits.nodes.map(\.mode) == [nil, 438, 0o640])
            #expect(edits.environment == ["NVIDIA_VISIBLE_DEVICES=void", "ONE=1", "SIX=6"] && edits.groups == [44])
            #expect(edits.hooks.map(\.timeout) == [5])
        }
    }

    @Test("what two GPUs share is there once, and no GPU wants nothing")
    func shared() throws {
        try withFolders(["etc/a.json": Self.json]) { _, specifications in
            let edits = try #require(try specifications.edits(for: ["GPU-aa", "GPU-bb"]))
            #expect(edits.nodes.map(\.path) == ["/dev/nvidiactl", "/dev/nvidia0", "/dev/nvidia1"])
            #expect(edits.hooks.count == 1 && edits.mounts.map(\.readOnly) == [true])
            #expect(try specifications.edits(for: []) == nil)
        }
        try withFolders([:]) { _, specifications in
            let edits = try specifications.edits(for: ["GPU-aa"])
            #expect(edits == nil)
        }
    }

    @Test("of two folders the later wins, and two files of one folder do not")
    func precedence() throws {
        let other = Self.json.replacing("/dev/nvidia0", with: "/dev/other0")
        try withFolders(["etc/a.json": Self.json, "run/a.json": other]) { _, specifications in
            let edits = try specifications.edits(for: ["0"])
            #expect(edits?.nodes.map(\.path) == ["/dev/nvidiactl", "/dev/other0"])
        }
        try withFolders(["run/a.json": Self.json, "run/b.json": other]) { folder, specifications in
            let error = try #require(throws: EngineError.self) { try specifications.edits(for: ["0"]) }
            #expect("\(error)".contains("\(folder)/run/b.json and \(folder)/run/a.json both have the device '0'"))
        }
    }

    @Test("a broken file keeps only its own devices away, and is named with its field")
    func broken() throws {
        let broken = Self.json.replacing("\"/dev/nvidia1\"", with: "\"/etc/shadow\"")
        try withFolders(["etc/a.json": broken, "run/b.yaml": Self.yaml]) { folder, specifications in
            #expect(try specifications.edits(for: ["6"])?.environment == ["SIX=6"])
            let error = try #require(throws: EngineError.self) { try specifications.edits(for: ["GPU-bb"]) }
            #expect("\(error)".contains("\(folder)/etc/a.json:7: devices[1].containerEdits.deviceNodes[0].path"))
        }
    }

    @Test(
        "what may not go into a container, or cannot be honoured, is refused by its field",
        arguments: [
            (#""0.6.0""#, #""2.0.0""#, "cdiVersion"), (#""0.6.0""#, "6", "cdiVersion"),
            (#""nvidia.com/gpu""#, #""gpu""#, "kind"), (#""kind""#, #""kin""#, "kind"),
            (#""name": "0""#, #""name": "1""#, "devices[1].name"),
            (#""name": "0""#, #""name": "../0""#, "devices[0].name"),
            (#""/dev/nvidia0""#, #""/dev/../etc/x""#, "deviceNodes[0].path"),
            (#""/dev/nvidia0""#, #""/dev/init""#, "deviceNodes[0].path"),
            (#""hostPath": "/dev/null""#, #""hostPath": "dev/null""#, "deviceNodes[0].hostPath"),
            (#""rwm""#, #""rx""#, "permissions"), ("438", "4380", "fileMode"), ("438", #""438""#, "fileMode"),
            ("[0, 44]", "[-1]", "additionalGids[0]"), ("[0, 44]", "44", "additionalGids"),
            (#""/usr/lib/name""#, #""/proc/x""#, "containerPath"), (#""/usr/lib/name""#, "7", "containerPath"),
            (#""createContainer""#, #""never""#, "hookName"), (#""/usr/bin/true""#, #""true""#, "hooks[0].path"),
            (#""timeout": 5"#, #""timeout": 0"#, "timeout"), (#""A=1""#, "true", "env[0]"),
            (#"["NVIDIA_VISIBLE_DEVICES=void"]"#, #"["=x"]"#, "env[0]"),
            (#""additionalGids""#, #""intelRdt""#, "intelRdt"), ("}]}", "}]", "$"),
        ])
    func refused(_ old: String, _ new: String, _ field: String) throws {
        let text = Self.json.replacing(old, with: new)
        try #require(text != Self.json)
        let error = try #require(throws: SpecError.self) {
            try DeviceSpecificationFile(Array(text.utf8), file: "/etc/cdi/a.json")
        }
        #expect(error.path.contains(field) && error.location.file == "/etc/cdi/a.json", "\(error)")
    }

    @Test("a damaged file is no trap")
    func damaged() {
        for text in [(Self.json, "a.json"), (Self.yaml, "a.yaml")] {
            let bytes = Array(text.0.utf8)
            for index in bytes.indices {
                var changed = bytes
                changed[index] ^= 0x11
                _ = try? DeviceSpecificationFile(changed, file: text.1)
                _ = try? DeviceSpecificationFile(Array(bytes[..<index]), file: text.1)
            }
        }
    }

    @Test("a file that is too large is refused")
    func tooLarge() throws {
        let text = Self.json + String(repeating: " ", count: DeviceSpecificationFile.largestFile)
        try withFolders(["etc/a.json": text]) { folder, specifications in
            let error = try #require(throws: EngineError.self) { try specifications.edits(for: ["0"]) }
            #expect("\(error)".contains("\(folder)/etc/a.json"))
        }
    }

    @Test("a bundle gets nodes, rules, variables, mounts, hooks and groups of the GPUs that were scheduled")
    func bundle() throws {
        try withFolders(["etc/a.json": Self.json]) { _, specifications in
            var bundle = BundleTests().bundle(gpus: ["GPU-aa", "GPU-bb"])
            bundle.devices = try specifications.edits(for: ["GPU-aa", "GPU-bb"])
            try BundleTests().compare(bundle, "bundle-cdi")
        }
    }

    @Test("without root a bundle binds the nodes and gives no groups")
    func rootlessBundle() throws {
        try withFolders(["etc/a.json": Self.json]) { _, specifications in
            var host = BundleTests.host
            host.rootless = RootlessHost(uid: 1234, gid: 5678, subordinate: nil, rootForm: .overlay)
            var bundle = BundleTests().bundle(gpus: ["GPU-bb"], host: host)
            bundle.devices = try specifications.edits(for: ["GPU-bb"])
            try BundleTests().compare(bundle, "bundle-rootless-cdi")
        }
    }

    @Test("a node that is missing, or is no device, is refused by its path", arguments: ["/dev/none", "/etc/hostname"])
    func noDevice(_ path: String) throws {
        try withFolders(["etc/a.json": Self.json.replacing("/dev/full", with: path)]) { _, specifications in
            var bundle = BundleTests().bundle(gpus: ["GPU-bb"])
            bundle.devices = try specifications.edits(for: ["GPU-bb"])
            let error = try #require(throws: EngineError.self) { try bundle.json() }
            #expect("\(error)".contains(path))
        }
    }

    @Test("docker and podman get the CDI names, where they take such")
    func daemons() throws {
        let specification = BundleTests().bundle(gpus: ["GPU-aa"]).specification
        var plan = ContainerPlan(
            specification: specification, name: "n", worker: "w",
            image: PresentImage(id: "i", environmentNames: [], volumes: []), cgroupParent: nil,
            limits: ProcessLimits(openFiles: 1, processes: 1))
        func documents() throws -> (docker: String, podman: String) {
            (
                String(decoding: try plan.dockerJSON(), as: UTF8.self),
                String(decoding: try plan.podmanJSON(), as: UTF8.self)
            )
        }
        let without = try documents()
        #expect(without.docker.contains(#""Driver":"nvidia""#))
        #expect(without.podman.contains(#""path":"nvidia.com/gpu=GPU-aa""#))
        plan.deviceNames = ["nvidia.com/gpu=0"]
        let with = try documents()
        #expect(
            with.docker.contains(#""DeviceRequests":[{"DeviceIDs":["nvidia.com/gpu=0"],"Driver":"cdi"}]"#),
            "\(with.docker)")
        #expect(with.podman.contains(#""path":"nvidia.com/gpu=0""#))
    }
}

@Suite("GPUs in a container: crun", .serialized, InEngineWorld(.oci(.crun)), .timeLimit(.minutes(20)))
struct DeviceCrunTests {
    @Test("a container gets its own GPU's node, variables and mounts") func gpu() async throws { try await ownGPU() }
}

@Suite("GPUs in a container: runc", .serialized, InEngineWorld(.oci(.runc)), .timeLimit(.minutes(20)))
struct DeviceRuncTests {
    @Test("a container gets its own GPU's node, variables and mounts") func gpu() async throws { try await ownGPU() }
}

/// Two GPUs, which are /dev/zero and /dev/full by other names, and a container that gets one.
private func ownGPU() async throws {
    let world = try #require(EngineWorld.current)
    let folder = world.folder + "/cdi"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    for (name, minor) in [("zero", "5"), ("full", "7")] {
        let made = try await runProcess("mknod", ["-m", "600", "\(folder)/\(name)", "c", "1", minor])
        try #require(made.exitCode == 0, "\(made)")
    }
    try "the driver\n".write(toFile: folder + "/library", atomically: true, encoding: .utf8)
    let file = """
        cdiVersion: 0.6.0
        kind: nvidia.com/gpu
        containerEdits:
          mounts: [{hostPath: \(folder)/library, containerPath: /usr/lib/driver.so, options: [ro, bind]}]
          hooks: [{hookName: createRuntime, path: /bin/sh, args: [sh, -c, "cat > \(folder)/hooked"]}]
        devices:
          - name: 0
            containerEdits: {env: [GPU=zero], deviceNodes: [{path: /dev/gpu0, hostPath: \(folder)/zero}]}
          - name: 1
            containerEdits: {env: [GPU=full], deviceNodes: [{path: /dev/gpu1, hostPath: \(folder)/full}]}
        """
    try file.write(toFile: folder + "/gpus.yaml", atomically: true, encoding: .utf8)
    try await world.withRunners { engine, worker in
        var setup = engine.setup
        setup.devices = DeviceSpecifications(folders: [folder], indices: ["GPU-x": 0])
        let other = try OCIRuntimeEngine(setup, roots: engine.roots, logger: engine.logger)
        let script = """
            head -c 4 /dev/gpu0 | wc -c; echo x > /dev/gpu0 && echo written; ls /dev/gpu1; stat -c %t:%T:%a:%u /dev/gpu0
            echo $GPU $NVIDIA_VISIBLE_DEVICES; cat /usr/lib/driver.so
            echo x 2>/dev/null > /usr/lib/driver.so || echo ro
            mknod /tmp/other c 1 7 2>/dev/null || echo none
            """
        var specification = world.specification(["sh", "-c", script], environment: ["NVIDIA_VISIBLE_DEVICES": "all"])
        specification.gpus = ["GPU-x"]
        let (_, record, output) = try await other.run(specification)
        #expect(output.text == "4\nwritten\n1:5:600:1234\nzero void\nthe driver\nro\nnone\n", "\(record) \(output)")
        let hooked = try String(contentsOfFile: folder + "/hooked", encoding: .utf8)
        #expect(hooked.contains("42.1.2"))
        specification.gpus = ["GPU-y"]
        specification.attempt = AttemptID(task: TaskID(job: JobID(rawValue: 42), index: 2), number: 1)
        await #expect(throws: EngineError.self) { try await other.create(specification) }
    }
}
