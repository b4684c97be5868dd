// Mounting as the submitter: nothing outside the volume, nothing that the submitter could not reach, whatever is
// swapped meanwhile.
import Foundation
import Glibc
import JobModel
import TestSupport
import Testing

@testable import Worker

@Suite("volumes are mounted as the submitter", .enabled(if: geteuid() == 0), .timeLimit(.minutes(20)))
struct VolumeAccessTests {
    @Test("an input is mounted read-only, without devices and set-user-id, and seen by nobody else")
    func readOnly() async throws {
        try await VolumeUnderTest.with { volume in
            try volume.write("hello", "input/file")
            let path = try volume.mount("input")
            #expect(volume.text(path + "/file") == "hello")
            let mounts = try VolumeUnderTest.mounts(below: path)
            #expect(mounts.count == 1)
            let fields = mounts[0].split(separator: " ")
            let options = Set(fields[5].split(separator: ","))
            #expect(options.isSuperset(of: ["ro", "nosuid", "nodev"]))
            // Optional fields such as `shared:1` stand between the options and the dash: a private mount has none.
            #expect(fields[6] == "-")
            #expect(open(path + "/new", O_WRONLY | O_CREAT, 0o644) == -1 && errno == EROFS)
        }
    }

    @Test("a shared folder is mounted read-write, and what is missing is made as the submitter")
    func readWrite() async throws {
        try await VolumeUnderTest.with { volume in
            let path = try volume.mount("data/a/b", .rw)
            try volume.write("x", path + "/file")
            #expect(volume.text("data/a/b/file") == "x")
            for folder in ["data/a", "data/a/b"] {
                let status = try volume.status(folder)
                #expect(status.st_uid == 1234 && status.st_gid == 5678 && status.st_mode & 0o777 == 0o755)
            }
        }
    }

    @Test("a single file can be bound")
    func singleFile() async throws {
        try await VolumeUnderTest.with { volume in
            try volume.write("one file", "input/file")
            #expect(volume.text(try volume.mount("input/file")) == "one file")
            // Again, where a folder is wanted now: as after a crash.
            #expect(try FileManager.default.contentsOfDirectory(atPath: volume.mount("input")) == ["file"])
        }
    }

    @Test("an output is staged in a folder that only the submitter can enter")
    func staged() async throws {
        try await VolumeUnderTest.with { volume in
            let path = try volume.mount("data/results", .out)
            try volume.write("x", path + "/file")
            #expect(volume.text("data/.jobctl/staging/42.7.1/slot/file") == "x")
            let own = try volume.status("data/.jobctl")
            #expect(own.st_uid == 0 && own.st_mode & 0o777 == 0o711)
            let staging = try volume.status("data/.jobctl/staging/42.7.1")
            #expect(staging.st_uid == 1234 && staging.st_mode & 0o777 == 0o700)
            #expect(try volume.status("data/.jobctl/staging/42.7.1/slot").st_uid == 1234)
            #expect(!FileManager.default.fileExists(atPath: volume.folder + "/data/results"))
        }
    }

    @Test(
        "no way leads out of a volume",
        arguments: [
            ("data/link", "a link to a folder outside"), ("data/link/secret", "through a link"),
            ("data/inner/up", "a relative link"), ("data/file-link", "a link to a file"),
            ("data/loop", "a link to itself"), ("data/magic", "a link into /proc"),
        ])
    func links(binding: String, what: String) async throws {
        try await VolumeUnderTest.with { volume in
            try volume.write("secret", "outside/secret")
            symlink(volume.folder + "/outside", volume.folder + "/data/link")
            volume.makeFolder("data/inner", mode: 0o777)
            symlink("../../outside", volume.folder + "/data/inner/up")
            symlink(volume.folder + "/outside/secret", volume.folder + "/data/file-link")
            symlink("loop", volume.folder + "/data/loop")
            symlink("/proc/self/root", volume.folder + "/data/magic")
            for mode in [SlotMode.ro, .rw] {
                let refusal = try volume.mountRefusal(binding, mode)
                #expect(refusal.hasPrefix("slot 'slot': \(binding): "), "\(what): \(refusal)")
            }
            #expect(try VolumeUnderTest.mounts(below: volume.folder).isEmpty)
        }
    }

    @Test("a binding cannot climb, nor name the worker's own folder")
    func climbing() async throws {
        try await VolumeUnderTest.with { volume in
            for text in ["data/..", "data/../outside", "data/a/../../outside", "data/./a", "data//a", "/x/../y"] {
                #expect(Binding(text) == nil, "\(text)")
            }
            // Even one that was made without the parser.
            let made = Binding(root: .volume(VolumeName(unchecked: "data")), path: "../outside")
            let slot = try #require(SlotName(rawValue: "slot"))
            #expect(throws: VolumeError.self) {
                try volume.access.mount(
                    slot, .ro, at: made, for: try VolumeUnderTest.attempt(), as: VolumeUnderTest.ada)
            }
            _ = try volume.mount("data/results", .out)
            let refusal = try volume.mountRefusal("data/.jobctl/staging")
            #expect(refusal == "slot 'slot': '.jobctl' is the worker's own folder and cannot be bound")
        }
    }

    @Test("the submitter's permissions count, not the agent's")
    func permissions() async throws {
        try await VolumeUnderTest.with { volume in
            volume.makeFolder("input/private", owner: 2345, mode: 0o700)
            volume.makeFolder("input/private/inner", owner: 2345)
            #expect(try volume.mountRefusal("input/private/inner").contains("Permission denied"))
            _ = try volume.mount("input/private/inner", attempt: "42.7.2", as: VolumeUnderTest.bob)
            volume.makeFolder("data/owned", owner: 2345)
            #expect(try volume.mountRefusal("data/owned/new", .rw).contains("Permission denied"))
            #expect(!FileManager.default.fileExists(atPath: volume.folder + "/data/owned/new"))
        }
    }

    @Test("what is missing, read-only, unknown, or neither file nor folder is refused with a sentence")
    func refusals() async throws {
        try await VolumeUnderTest.with { volume in
            mkfifo(volume.folder + "/input/fifo", 0o666)
            let cases: [(String, SlotMode, String)] = [
                ("input/missing", .ro, "slot 'slot': input/missing: No such file or directory"),
                ("input/x", .rw, "slot 'slot': the volume of 'input/x' is read-only on this worker"),
                ("input/x", .out, "slot 'slot': the volume of 'input/x' is read-only on this worker"),
                ("nowhere/x", .ro, "slot 'slot': this worker offers no volume 'nowhere'"),
                ("/etc", .ro, "slot 'slot': this worker does not allow the path /etc"),
                ("input/fifo", .ro, "slot 'slot': \(volume.folder)/input/fifo is neither a folder nor a file"),
            ]
            for (binding, mode, sentence) in cases {
                let refusal = try volume.mountRefusal(binding, mode)
                #expect(refusal == sentence)
            }
        }
    }

    @Test("an allowed path can be bound, and what lies below it, also where it is a link itself")
    func allowedPaths() async throws {
        try await VolumeUnderTest.with(allowed: ["outside", "data/"]) { volume in
            try volume.write("x", "outside/file")
            #expect(volume.text(try volume.mount(volume.folder + "/outside/file")) == "x")
            #expect(
                try volume.mountRefusal(volume.folder + "/outsider")
                    == "slot 'slot': this worker does not allow the path \(volume.folder)/outsider")
            _ = try volume.mount(volume.folder + "/data/new", .rw)
            symlink(volume.folder + "/outside", volume.folder + "/way")
            let table = try VolumeTable(volumes: [], allowedPaths: [volume.folder + "/way"])
            let access = VolumeAccess(table: table, mountFolder: volume.folder + "/mounts")
            let path = try access.mount(
                try #require(SlotName(rawValue: "slot")), .ro, at: try #require(Binding(volume.folder + "/way/file")),
                for: VolumeUnderTest.attempt(), as: VolumeUnderTest.ada)
            #expect(volume.text(path) == "x")
        }
    }

    @Test("somebody else's .jobctl in a volume is not used")
    func foreignFolder() async throws {
        try await VolumeUnderTest.with { volume in
            volume.makeFolder("data/.jobctl", owner: 1234, mode: 0o777)
            let refusal = try volume.mountRefusal("data/results", .out)
            #expect(refusal == "slot 'slot': data/results: .jobctl in the volume does not belong to the worker")
        }
        try await VolumeUnderTest.with { volume in
            symlink(volume.folder + "/outside", volume.folder + "/data/.jobctl")
            #expect(throws: VolumeError.self) { try volume.mount("data/results", .out) }
            let outside = try FileManager.default.contentsOfDirectory(atPath: volume.folder + "/outside")
            #expect(outside.isEmpty)
        }
    }

    @Test("mounts are taken away, what was staged is removed, and what a crash left as well")
    func cleaning() async throws {
        try await VolumeUnderTest.with { volume in
            try volume.write("keep", "input/file")
            for attempt in ["42.7.1", "42.8.1"] {
                _ = try volume.mount("input", slot: "input", attempt: attempt)
                _ = try volume.mount("input", slot: "input", attempt: attempt)
                _ = try volume.mount("data/out", .out, slot: "output", attempt: attempt)
            }
            #expect(try VolumeUnderTest.mounts(below: volume.folder).count == 4)
            volume.access.unmount(try VolumeUnderTest.attempt())
            volume.access.unmount(try VolumeUnderTest.attempt())
            #expect(try VolumeUnderTest.mounts(below: volume.folder).count == 2)
            volume.access.removeLeftovers(except: [try VolumeUnderTest.attempt("42.8.1")])
            #expect(try VolumeUnderTest.mounts(below: volume.folder).count == 2)
            volume.access.removeLeftovers(except: [])
            #expect(try VolumeUnderTest.mounts(below: volume.folder).isEmpty)
            #expect(try FileManager.default.contentsOfDirectory(atPath: volume.folder + "/mounts").isEmpty)
            #expect(volume.text("input/file") == "keep")
        }
    }

    /// A thread swaps a folder with a link to a folder outside, as fast as it can. What is mounted is then looked at:
    /// by inode.
    @Test("whoever swaps a folder with a link while it is mounted never gets anything outside mounted")
    func race() async throws {
        try await VolumeUnderTest.with { volume in
            volume.makeFolder("data/real", owner: 1234, mode: 0o755)
            try volume.write("inside", "data/real/file", owner: 1234)
            try volume.write("outside", "outside/file")
            symlink(volume.folder + "/outside", volume.folder + "/data/link")
            let data = volume.folder + "/data/"
            let swapper = Repeater {
                rename(data + "real", data + "hidden")
                rename(data + "link", data + "real")
                rename(data + "real", data + "link")
                rename(data + "hidden", data + "real")
            }
            let outcomes = try volume.outcomes(of: 3_000, mounting: "data/real")
            #expect(swapper.stop() > 1_000)
            #expect(outcomes["outside"] == nil && outcomes["nothing"] == nil, "\(outcomes)")
            #expect(outcomes["inside", default: 0] > 0 && outcomes["refused", default: 0] > 0, "\(outcomes)")
        }
    }
}

@Suite("which folders a worker offers")
struct VolumeTableTests {
    @Test(
        "folders of the system and of engines cannot be offered",
        arguments: [
            "/", "/boot", "/dev", "/dev/shm", "/etc", "/etc/ssl", "/lib", "/proc", "/proc/1", "/sys", "/usr",
            "/usr/share", "/bin", "/sbin", "/run", "/var/run", "/root", "/var", "/var/lib", "//", "/etc/../usr/lib",
        ])
    func forbidden(path: String) throws {
        let volume = Volume(name: try #require(VolumeName(rawValue: "x")), root: path, writable: false)
        // Some do not exist on every machine; then that is the sentence.
        #expect {
            try VolumeTable(volumes: [volume], allowedPaths: [])
        } throws: { error in
            let text = (error as? VolumeError)?.description ?? ""
            return text.hasPrefix("the volume 'x'")
                && (text.contains("it belongs to the system or to a container engine")
                    || text.contains("does not exist"))
        }
        #expect(throws: VolumeError.self) { try VolumeTable(volumes: [], allowedPaths: [path]) }
    }

    @Test("nor through a link, nor what is no folder, nor the worker's own data")
    func links() throws {
        let folder = try temporaryFolder("table")
        defer { removeFolder(folder) }
        symlink("/etc", folder + "/link")
        symlink(folder + "/link", folder + "/link2")
        try Data().write(to: URL(filePath: folder + "/file"))
        mkdir(folder + "/w", 0o755)
        mkdir(folder + "/w/mounts", 0o755)
        let cases = [
            ("link", "it belongs to the system"), ("link2/ssl", "it belongs to the system"), ("file", "is no folder"),
            ("missing", "does not exist"), ("w", "it belongs to this worker"),
            ("w/mounts", "it belongs to this worker"),
        ]
        for (name, sentence) in cases {
            let volume = Volume(
                name: try #require(VolumeName(rawValue: "x")), root: folder + "/" + name, writable: false)
            #expect {
                try VolumeTable(volumes: [volume], allowedPaths: [], ownFolder: folder + "/w")
            } throws: { error in
                (error as? VolumeError)?.description.contains(sentence) ?? false
            }
        }
        let good = try VolumeTable(
            volumes: [Volume("a=\(folder):rw"), Volume("b=\(folder)")], allowedPaths: [], ownFolder: folder + "/w")
        #expect(good.offers.values.map(\.writable).sorted { $0 && !$1 } == [true, false])
    }

    @Test("a volume is written NAME=/PATH:ro or NAME=/PATH:rw, and a name is given once")
    func parsing() throws {
        for text in ["", "x", "=/a", "x=", "x=relative", "x=:rw", "X!=/a", "a b=/c"] {
            #expect(throws: VolumeError.self, "\(text)") { try Volume(text) }
        }
        #expect(try Volume("x=/a:b:rw") == Volume(name: VolumeName(unchecked: "x"), root: "/a:b", writable: true))
        #expect(try Volume("x=/a").writable == false)
        #expect(throws: VolumeError("the volume 'x' is given twice")) {
            try VolumeTable(volumes: [Volume("x=/tmp"), Volume("x=/tmp")], allowedPaths: [])
        }
        #expect(throws: VolumeError("the allowed path 'a' must be absolute")) {
            try VolumeTable(volumes: [], allowedPaths: ["a"])
        }
    }
}
