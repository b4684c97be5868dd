// The layer store as the worker uses it: prepared images mounted with overlayfs, waiters, crashes, restarts, eviction.
// Needs root, overlayfs and Debian's buildah.
import Foundation
import JobModel
import OCI
import TestSupport
import Testing

@Suite struct LayerStoreTests {
    @Test("an image that buildah made looks unpacked as buildah's own mount of it", arguments: ["gzip", "zstd"])
    func realImage(compression: String) async throws {
        try await Scratch.with { scratch in
            try scratch.write(buildahScript(compression), to: "buildah.sh")
            // Mounts of its own, which go with it whatever happens.
            try await scratch.shell("unshare -m --propagation private sh -e buildah.sh")
            let image = try scratch.layout("layout")
            let store = try scratch.layers()
            let (root, lease) = try await store.prepare(image.pinned, from: MemorySource(image))
            #expect(root.layers.count == 3 && root.platform == Platform.host && root.manifest == image.digest)
            #expect(root.configuration.environment == ["PATH=/bin", "LAB=7"])
            #expect(root.configuration[variable: "LAB"] == "7" && root.configuration.workingDirectory == "/work")
            let expected = try String(contentsOfFile: scratch.folder + "/listing", encoding: .utf8)
            let found = try await scratch.inside(root, Scratch.listing)
            #expect(found == expected.trimmingCharacters(in: .newlines))
            #expect(found.contains("etc/hard") && found.contains("secret f 600 12:34") && !found.contains("gone"))
            #expect(try await scratch.inside(root, "chroot . /bin/busybox echo it runs") == "it runs")
            #expect(try await scratch.inside(root, "getfattr --only-values -n user.note etc/plain") == "kept")
            lease.release()
        }
    }

    @Test("whiteouts and opaque folders hide what is below, and nothing of their own layer")
    func whiteouts() async throws {
        try await Scratch.with { scratch in
            var (lower, upper) = (TarFile(), TarFile())
            for folder in ["a", "a/deep", "b", "c", "d"] { lower.folder(folder) }
            for file in ["a/x", "a/deep/y", "b/x", "c/x", "d/x", "top"] { lower.add(file, "0", "lower") }
            upper.folder("a")
            upper.add("a/.wh..wh..opq")
            upper.add("a/own", "0", "upper")
            upper.add("b/own", "0", "upper")
            upper.add(".wh.top")
            // The whiteout before the folder that replaces, and after it.
            upper.add(".wh.c")
            upper.folder("c")
            upper.add("c/own", "0", "upper")
            upper.folder("d")
            upper.add("d/own", "0", "upper")
            upper.add(".wh.d")
            upper.add(".wh.never")
            // AUFS's own files mean nothing.
            upper.add(".wh..wh.plnk/1.2", "0", "x")
            upper.add(".wh..wh.aufs", "0", "x")
            let image = LayerImage(lower, upper)
            let (root, _) = try await scratch.layers().prepare(image.pinned, from: MemorySource(image))
            #expect(
                try await scratch.inside(root, "find . -type f | sort | tr '\n' ' '")
                    == "./a/own ./b/own ./b/x ./c/own ./d/own ")
        }
    }

    @Test("a layer that hides the whole root leaves out those below, and one that stands twice is mounted once")
    func wholeRoot() async throws {
        try await Scratch.with { scratch in
            var (lowest, hiding, top) = (TarFile(), TarFile(), TarFile())
            lowest.add("old")
            hiding.add(".wh..wh..opq")
            hiding.add("new")
            top.add("top")
            let image = LayerImage(lowest, top, hiding, top, top)
            let (root, _) = try await scratch.layers().prepare(image.pinned, from: MemorySource(image))
            #expect(root.layers.count == 2 && root.diffIDs.count == 5)
            #expect(try await scratch.inside(root, "find . -type f | sort | tr '\n' ' '") == "./new ./top ")
        }
    }

    @Test("owners, modes, times, links and user attributes are kept; privileges and overlayfs's own marks are not")
    func attributes() async throws {
        try await Scratch.with { scratch in
            var tar = TarFile()
            tar.folder(".", mode: 0o711, owner: (5, 6), time: 77)
            tar.folder("shared", mode: 0o2775, owner: (7, 8))
            tar.folder("tmp", mode: 0o1777)
            tar.add("tmp/late", "0", "x")
            tar.add("suid", "0", "x", mode: 0o4755)
            tar.add("sgid", "0", "x", mode: 0o2755, owner: (3_000_000_000, 3_000_000_000))
            tar.add("hard", "1", link: "suid")
            tar.add("soft", "2", link: "../../etc/passwd", owner: (9, 9))
            tar.add("pipe", "6", mode: 0o622)
            tar.add("implied/deep/file", "0", "x")
            tar.add(
                "noted", "0", "x", time: -5,
                pax: [
                    ("SCHILY.xattr.user.note", "kept"), ("SCHILY.xattr.user.overlay.opaque", "y"),
                    ("SCHILY.xattr.trusted.overlay.redirect", "/etc"), ("SCHILY.xattr.security.capability", "bad"),
                    ("SCHILY.xattr.security.selinux", "label"), ("mtime", "1234567890.5"),
                ])
            tar.add("Főtanúsítvány")
            tar.add("x", pax: [("path", "ж")])
            tar.add("ű", "2", link: "x", pax: [("linkpath", "Hová")])
            tar.add(String(repeating: "long/", count: 60) + "name", "0", "x")
            let image = LayerImage(tar)
            let (root, _) = try await scratch.layers().prepare(image.pinned, from: MemorySource(image))
            let look =
                "stat -c '%n %F %a %u:%g %Y %h' . * implied implied/deep; readlink soft ű; ls long/long/*/*/long -d"
            let found = try await scratch.inside(root, look)
            for line in [
                ". directory 711 5:6 77", "shared directory 2775 7:8 1000000000", "tmp directory 1777 0:0 1000000000",
                "suid regular file 755 0:0 1000000000 2", "hard regular file 755 0:0 1000000000 2",
                "sgid regular file 755 3000000000:3000000000 1000000000", "soft symbolic link 777 9:9 1000000000",
                "pipe fifo 622 0:0", "implied directory 755 0:0 0", "implied/deep directory 755 0:0 0",
                "noted regular file 644 0:0 1234567890", "../../etc/passwd", "Főtanúsítvány",
                "long/long/long/long/long",
            ] { #expect(found.contains(line), "\(line)\n---\n\(found)") }
            let kept = try await runProcess(
                "getfattr", ["--absolute-names", "-d", "-m", "-", root.layers[0] + "/noted"])
            #expect(kept.output.contains("user.note=\"kept\"") && kept.output.split(separator: "\n").count == 2)
        }
    }

    @Test("a later entry of a tar replaces an earlier one, without writing through a hard link")
    func replaced() async throws {
        try await Scratch.with { scratch in
            var tar = TarFile()
            tar.add("a", "0", "first")
            tar.add("b", "1", link: "a")
            tar.add("a", "0", "second")
            tar.folder("folder/inside")
            tar.add("folder/inside/x", "0", "x")
            tar.add("folder", "0", "a file now")
            tar.add("file", "0", "x")
            tar.folder("file")
            tar.add("file/inside", "0", "y")
            tar.add("link", "2", link: "/etc/passwd")
            tar.add("link", "0", "no link now")
            let image = LayerImage(tar)
            let store = try scratch.layers()
            let (root, _) = try await store.prepare(image.pinned, from: MemorySource(image))
            #expect(
                try await scratch.inside(root, "cat a b folder file/inside link")
                    == "secondfirsta file nowyno link now")
            #expect(try scratch.names(in: "layers/incoming").isEmpty)
        }
    }

    @Test("twenty waiters get one layer that was fetched once, also over two images that share it")
    func once() async throws {
        try await Scratch.with { scratch in
            var (shared, own) = (TarFile(), TarFile())
            shared.add("shared", "0", String(repeating: "s", count: 500_000))
            own.add("own")
            let (first, second) = (LayerImage(shared), LayerImage(shared, own))
            let source = MemorySource(first, second, piece: 10_000)
            let store = try scratch.layers()
            try await withThrowingTaskGroup(of: RootFilesystem.self) { group in
                for number in 0..<20 {
                    group.addTask {
                        try await store.prepare((number % 2 == 0 ? first : second).pinned, from: source).root
                    }
                }
                for try await root in group { #expect(root.layers.count == 2) }
            }
            #expect(source.streams(of: first.layers[0].digest) == 1)
            #expect(source.streams(of: second.layers[1].digest) == 1)
            // Once it is there, neither disk nor source is asked.
            _ = try await store.prepare(first.pinned, from: MemorySource())
        }
    }

    @Test("a waiter that gives up harms no other; the work ends with the last")
    func cancelled() async throws {
        try await Scratch.with { scratch in
            let image = LayerImage.small(1, size: 300_000)
            let layer = image.layers[0].digest
            let door = Door()
            let source = MemorySource(image, piece: 10_000) { (digest, done) async throws(OCIError) in
                if digest == layer, done > 100_000 { try await door.pass() }
            }
            let store = try scratch.layers()
            let tasks = (0..<3).map { _ in Task { try await store.prepare(image.pinned, from: source) } }
            try await eventually("the layer is half there") { await door.waiting == 1 }
            tasks[0].cancel()
            #expect(await refusal { _ = try await tasks[0].value } == "it was given up")
            tasks[1].cancel()
            #expect(await refusal { _ = try await tasks[1].value } == "it was given up")
            await door.open()
            #expect(try await tasks[2].value.root.layers.count == 2)

            let other = LayerImage.small(2, size: 300_000)
            let closed = Door()
            let stuck = MemorySource(other, piece: 10_000) { (_, done) async throws(OCIError) in
                if done > 100_000 { try await closed.pass() }
            }
            let last = Task { try await store.prepare(other.pinned, from: stuck) }
            try await eventually("the layer is half there") { await closed.waiting == 1 }
            last.cancel()
            #expect(await refusal { _ = try await last.value } == "it was given up")
            try await eventually("nothing is left of it") { try scratch.names(in: "layers/incoming").isEmpty }
            #expect(try await store.prepare(other.pinned, from: MemorySource(other)).root.layers.count == 2)
        }
    }

    @Test("a store that was killed in the middle of a layer comes up without it, and unpacks it again")
    func killed() async throws {
        try await Scratch.with { scratch in
            let (whole, half) = (LayerImage.small(1), LayerImage.small(2, size: 3_000_000))
            let door = Door()
            let source = MemorySource(whole, half, piece: 100_000) { (_, done) async throws(OCIError) in
                if done > 2_900_000 { try await door.pass() }
            }
            let store = try scratch.layers()
            _ = try await store.prepare(whole.pinned, from: source)
            let task = Task { try await store.prepare(half.pinned, from: source) }
            try await eventually("most of the layer is there") { await door.waiting == 1 }
            // What a kill leaves is what the disk holds at that moment.
            try await scratch.shell("cp -a layers killed; test -n \"$(ls killed/incoming)\"")
            // And what it can leave of the steps in between: a layer without its record, a record without its layer.
            try await scratch.shell("mkdir killed/l/aaaaaaaaaaaaaaaaaaaaaaaaaa; echo '{' > killed/records/bbb.json")
            await door.open()
            _ = try await task.value

            let again = try scratch.layers("killed")
            try await eventually("leftovers are gone") { try scratch.names(in: "killed/incoming").isEmpty }
            #expect(try scratch.names(in: "killed/l").count == 2 && again.diffIDs.count == 1)
            _ = try await again.prepare(whole.pinned, from: MemorySource())
            let (root, _) = try await again.prepare(half.pinned, from: MemorySource(half))
            #expect(try await scratch.inside(root, "wc -c < file2") == "3000000")
        }
    }

    @Test("a source that breaks leaves nothing, and the next call succeeds")
    func broken() async throws {
        try await Scratch.with { scratch in
            let image = LayerImage.small(1, size: 300_000)
            let failing = MemorySource(image) { (digest, done) async throws(OCIError) in
                if done > 100_000 { throw OCIError.archiveUnreachable(why: "it is switched off") }
            }
            let store = try scratch.layers()
            let sentence = await refusal { _ = try await store.prepare(image.pinned, from: failing) }
            #expect(sentence == "the scheduler's archive cannot be reached: it is switched off")
            #expect(try scratch.names(in: "layers/incoming").isEmpty && store.diffIDs.isEmpty)
            _ = try await store.prepare(image.pinned, from: MemorySource(image))
        }
    }
}

/// Holds whoever wants to pass until it is opened.
actor Door {
    private var isOpen = false
    private(set) var waiting = 0

    func pass() async throws(OCIError) {
        waiting += 1
        while !isOpen {
            if Task.isCancelled { throw OCIError.cancelled }
            await Task.yield()
            do { try await Task.sleep(for: .milliseconds(5)) } catch { throw OCIError.cancelled }
        }
        waiting -= 1
    }

    func open() { isOpen = true }
}

/// Three layers with what real images do: replaced and removed files and folders, links, owners, attributes.
private func buildahScript(_ compression: String) -> String {
    """
    export BUILDAH_ISOLATION=chroot
    b() { buildah --root $PWD/b --runroot $PWD/r --storage-driver overlay "$@"; }
    c=$(b from scratch); m=$(b mount $c)
    mkdir -p $m/bin $m/etc $m/old/deep $m/both $m/work; cp /bin/busybox $m/bin/busybox; ln -s busybox $m/bin/sh
    echo one > $m/etc/plain; ln $m/etc/plain $m/etc/hard; echo x > $m/etc/gone; echo y > $m/old/deep/gone
    echo a > $m/both/lower; setfattr -n user.note -v kept $m/etc/plain
    echo s > $m/secret; chown 12:34 $m/secret; chmod 600 $m/secret; touch -d '2001-02-03 04:05:06.789' $m/secret
    b config --env PATH=/bin --env LAB=7 --workingdir /work $c >/dev/null
    b commit -q --format oci $c one >/dev/null; b rm $c >/dev/null
    c=$(b from one); m=$(b mount $c)
    rm $m/etc/gone; rm -r $m/old; mkdir -p $m/old/new; echo n > $m/old/new/file; echo b > $m/both/upper
    chmod 1777 $m/both; ln -s ../etc/plain $m/both/link; mkfifo $m/pipe
    b commit -q --format oci $c two >/dev/null; b rm $c >/dev/null
    c=$(b from two); m=$(b mount $c); rm $m/both/lower; echo three > $m/etc/plain-too
    b commit -q --format oci $c three >/dev/null; b rm $c >/dev/null
    c=$(b from three); m=$(b mount $c); (cd $m; \(Scratch.listing)) > listing; b rm $c >/dev/null
    b push -q --compression-format \(compression) three oci:$PWD/layout:test
    """
}

extension Scratch {
    /// The only image of an OCI layout.
    func layout(_ name: String) throws -> LayerImage {
        var image = LayerImage.small(0)
        image.blobs = [:]
        for file in try names(in: name + "/blobs/sha256") {
            let bytes = Array(try Data(contentsOf: URL(filePath: "\(folder)/\(name)/blobs/sha256/\(file)")))
            image.blobs[Digest(of: bytes)] = bytes
        }
        let index = try String(contentsOfFile: "\(folder)/\(name)/index.json", encoding: .utf8)
        let texts = index.split(separator: "\"").compactMap { Digest($0) }
        image.digest = try #require(texts.first)
        return image
    }
}
