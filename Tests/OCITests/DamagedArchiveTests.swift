// Archives that are wrong, and the sentence for each. A script makes the file `bad` in a folder with `rootfs.tar`,
// `save.tar` (docker save) and the OCI layout `layout`.
import Foundation
import JobModel
import OCI
import TestSupport
import Testing

@Suite struct DamagedArchiveTests {
    private static let flip = "printf x | dd of=$f bs=1 seek=9 conv=notrunc status=none"
    private static func manifest(_ json: String, configuration: String? = nil) -> String {
        let more = configuration.map { "; echo '\($0)' > c" } ?? ""
        return "echo '\(json)' > manifest.json\(more); tar -cf bad manifest.json \(configuration == nil ? "" : "c")"
    }

    private static let cases: [(String, String)] = [
        (": > bad", "the archive cannot be understood"),
        ("echo '<html>' > bad", "Unrecognized archive format"),
        ("yes text | head -c 4096 > bad", "Unrecognized archive format"),
        (
            "gzip -kn rootfs.tar; head -c 100000 rootfs.tar.gz > bad",
            "'bin/busybox' of the archive cannot be understood: trunc"
        ),
        (
            "zstd -q rootfs.tar; head -c 100000 rootfs.tar.zst > bad",
            "'bin/busybox' of the archive cannot be understood: Trunc"
        ),
        ("head -c 100000 rootfs.tar > bad", "'bin/busybox' of the archive cannot be understood: Trunc"),
        ("tar --format=ustar -C rootfs -cf c.tar etc/marker; head -c 1024 c.tar > bad", "it was cut short"),
        ("gzip -c rootfs.tar | gzip -c > bad", "it is compressed more than once"),
        (manifest("{"), "manifest.json cannot be understood"),
        (manifest("{}"), "it must be a list of images"),
        (manifest("[]"), "it describes 0 images: save one at a time"),
        (manifest("[7]"), "$[0].Config must be a string"),
        (manifest(#"[{"Config":"c"}]"#), "$[0].Layers must be a list"),
        (manifest(#"[{"Config":"c","Layers":[7]}]"#), "$[0].Layers[0] must be a string"),
        (manifest(#"[{"Config":"c","Layers":[]}]"#), "it lacks 'c'"),
        (
            manifest(#"[{"Config":"c","Layers":["l"]}]"#, configuration: #"{"rootfs":{"diff_ids":["x"]}}"#),
            "$.rootfs.diff_ids[0] must be a sha256 digest"
        ),
        (
            manifest(#"[{"Config":"c","Layers":["l"]}]"#, configuration: #"{"rootfs":{"diff_ids":[]}}"#),
            "it names 0 layers, manifest.json names 1"
        ),
        (
            """
            mkdir s; tar -C s -xf save.tar
            for f in s/*.tar; do [ -L $f ] || \(flip); done; tar -C s -cf bad .
            """, "is damaged: expected sha256:"
        ),
        (
            "mkdir s; tar -C s -xf save.tar; rm s/*.tar; tar -C s -cf bad .",
            "the archive cannot be understood: it lacks '"
        ),
        ("echo '{}' > layout/index.json; tar -C layout -cf bad .", "schemaVersion must be 2"),
        (
            #"echo '{"schemaVersion":2,"manifests":[]}' > layout/index.json; tar -C layout -cf bad ."#,
            "it names no image"
        ),
        ("rm -r layout/blobs; tar -C layout -cf bad .", "it lacks 'blobs/sha256/"),
        ("for f in layout/blobs/sha256/*; do printf x >> $f; done; tar -C layout -cf bad .", "is damaged: expected "),
        (
            "for f in layout/blobs/sha256/*; do \(flip); done; tar -C layout -cf bad .",
            "the blob is damaged: expected sha256:"
        ),
        (
            "rm layout/blobs/sha256/$(ls -S layout/blobs/sha256 | head -1); tar -C layout -cf bad .",
            "it lacks 'blobs/sha256/"
        ),
    ]

    @Test(
        "a damaged archive is refused with a sentence that says what is wrong, and nothing half is left",
        arguments: cases.indices)
    func damaged(index: Int) async throws {
        let (script, sentence) = Self.cases[index]
        try await Scratch.with { scratch in
            _ = try await scratch.imported()
            try await scratch.shell("skopeo copy --quiet oci:layout:test docker-archive:save.tar:name:tag")
            try await scratch.shell(script)
            let store = try scratch.store("fresh")
            let why = await refusal { _ = try importImage(archive: scratch.folder + "/bad", into: store) }
            #expect(why.contains(sentence), "\(script): \(why)")
            #expect(try FileManager.default.contentsOfDirectory(atPath: store.directory + "/incoming").isEmpty)
        }
    }
}
