// What the configuration's id depends on (architecture, section 4, rule 7): a table of changes, each inside or outside.
import JobModel
import Testing

@Suite("the configuration's id")
struct ConfigurationDigestTests {
    private static let base = #"""
        name: a
        image: busybox
        command: [b, "${params.x}"]
        environment: {A: "1"}
        working_dir: /w
        files: {/f: f}
        volumes: ["input:/data:ro"]
        resources: {cpus: 1, memory: 1GiB, gpus: 0}
        parameters: {x: 1}
        """#

    struct Edit: Sendable, CustomTestStringConvertible {
        let old: String
        let new: String
        var testDescription: String { new }
    }

    static let inside: [Edit] = [
        Edit(old: "[b,", new: "[bb,"), Edit(old: "\"${params.x}\"]", new: "\"${params.x}\", c]"),
        Edit(old: "params.x}\"", new: "params.x} \""),
        Edit(old: "{A: \"1\"}", new: "{A: \"2\"}"), Edit(old: "{A: \"1\"}", new: "{B: \"1\"}"),
        Edit(old: "{A: \"1\"}", new: "{A: \"1\", B: \"\"}"),
        Edit(old: "working_dir: /w", new: "working_dir: /v"), Edit(old: "working_dir: /w\n", new: ""),
        Edit(old: "{/f: f}", new: "{/g: f}"), Edit(old: "{/f: f}", new: "{/f: other-content}"),
        Edit(old: "{/f: f}", new: "{}"),
        Edit(old: "input:/data", new: "inputs:/data"), Edit(old: "input:/data", new: "input:/data2"),
        Edit(old: ":ro", new: ":rw"), Edit(old: ":ro", new: ":out"),
        Edit(old: "cpus: 1", new: "cpus: 1.001"), Edit(old: "1GiB", new: "1025MiB"),
        Edit(old: "gpus: 0", new: "gpus: 1"),
        Edit(old: "name: a", new: "network: bridge"), Edit(old: "name: a", new: "network: host"),
        Edit(old: "name: a", new: "platform: linux/arm64"), Edit(old: "image: busybox", new: "image: alpine"),
    ]

    static let outside: [Edit] = [
        Edit(old: "name: a", new: "name: b"), Edit(old: "name: a", new: "queue: long"),
        Edit(old: "name: a", new: "priority: 7"),
        Edit(old: "name: a", new: "retries: 3"), Edit(old: "name: a", new: "time_limit: 10m"),
        Edit(old: "name: a", new: "grace: 30"),
        Edit(old: "name: a", new: "labels: {a: b}"), Edit(old: "name: a", new: "constraints: [\"a == b\"]"),
        Edit(old: "name: a", new: "array: 1-100"),
        Edit(old: "name: a", new: "matrix: {y: [1, 2]}"), Edit(old: "name: a", new: "fingerprint: none"),
        Edit(old: "name: a", new: "keep: never"),
        Edit(old: "{x: 1}", new: "{x: 2}"),
        Edit(old: "image: busybox", new: "image: docker.io/library/busybox:latest"), Edit(old: ":ro", new: ""),
        Edit(old: "1GiB", new: "1024MiB"),
        Edit(old: "cpus: 1,", new: "cpus: 1.000,"),
        Edit(old: "[b, \"${params.x}\"]", new: "\n  - b\n  - \"${params.x}\""),
        Edit(old: "environment: {A: \"1\"}\nworking_dir: /w", new: "working_dir: /w\nenvironment: {A: '1'}"),
        Edit(old: "name: a", new: "# a comment\nname: a"),
    ]

    /// The image's digest and a file's digest stand for what they would be resolved to.
    private static func digest(_ text: String) throws -> Digest {
        let spec = try SpecParser.parse(file: "spec.yaml", Array(text.utf8))
        let files = spec.files.mapValues { ConfigurationFile(digest: Digest(of: $0), executable: false) }
        return spec.configuration(
            image: PinnedImage(digest: Digest(of: spec.image.description), platform: spec.platform), files: files
        ).digest
    }

    private func edited(_ edit: Edit) throws -> String {
        try #require(Self.base.contains(edit.old), "the base does not hold \(edit.old)")
        return Self.base.replacing(edit.old, with: edit.new, maxReplacements: 1)
    }

    @Test("a change inside the configuration changes its id", arguments: inside)
    func changesInside(edit: Edit) throws { #expect(try Self.digest(edited(edit)) != Self.digest(Self.base)) }

    @Test("a change outside the configuration does not", arguments: outside)
    func changesOutside(edit: Edit) throws { #expect(try Self.digest(edited(edit)) == Self.digest(Self.base)) }

    @Test("all those ids differ from one another")
    func distinct() throws {
        let all = try Self.inside.map { try Self.digest(edited($0)) }
        #expect(Set(all).count == all.count)
    }

    @Test("a file that becomes executable is another configuration")
    func executable() {
        func digest(_ executable: Bool) -> Digest {
            Configuration(
                image: PinnedImage(digest: Digest(of: "i"), platform: nil), command: ["a"], environment: [:],
                workingDirectory: nil,
                files: ["/f": ConfigurationFile(digest: Digest(of: "f"), executable: executable)], slots: [:],
                network: .none, resources: .standard
            ).digest
        }
        #expect(digest(true) != digest(false))
    }
}
