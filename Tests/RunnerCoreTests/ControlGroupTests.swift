// What counts as a hierarchy of control groups.
import Foundation
import RunnerCore
import Testing

@Suite("control groups")
struct ControlGroupTests {
    @Test("a folder that covers a hierarchy is none: nobody in there is killed, and nothing of it is removed")
    func covered() throws {
        let root = FileManager.default.temporaryDirectory.appending(
            path: "jobctl-groups-\(UInt64.random(in: 0 ... .max))")
        defer { try? FileManager.default.removeItem(at: root) }  // allowed: a folder in /tmp
        for name in ["pids", "memory", "unified/jobctl-w/42.7.2"] {
            try FileManager.default.createDirectory(at: root.appending(path: name), withIntermediateDirectories: true)
        }
        for file in ["pids/cgroup.procs", "memory/cgroup.procs", "unified/jobctl-w/42.7.2/cgroup.procs"] {
            try Data("1\n".utf8).write(to: root.appending(path: file))
        }
        let path = root.path(percentEncoded: false)
        #expect(ControlGroups.hierarchies(below: path) == [path + "/memory", path + "/pids"])
    }
}
