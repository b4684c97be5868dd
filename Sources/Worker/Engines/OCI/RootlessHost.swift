// What this host allows a worker without root: whose containers it may run, which ids the user may map (/etc/subuid,
// newuidmap), and in which form it makes root file systems. Invariant: what is weaker than with root is among the
// weaknesses, each in one sentence.
import Foundation
import Glibc
import JobModel
import RunnerCore

/// A worker's own user, who is every container's user too.
package struct RootlessHost: Hashable, Sendable {
    package var uid: UInt32
    package var gid: UInt32
    /// Nil: the user has none, or there is no program to map them.
    package var subordinate: SubordinateIDs?
    package var rootForm: RootForm
    /// Whether the user is in groups that cannot be given up without subordinate ids.
    package var hasOtherGroups: Bool

    package init(
        uid: UInt32, gid: UInt32, subordinate: SubordinateIDs?, rootForm: RootForm, hasOtherGroups: Bool = false
    ) {
        self.uid = uid
        self.gid = gid
        self.subordinate = subordinate
        self.rootForm = rootForm
        self.hasOtherGroups = hasOtherGroups
    }

    package var weaknesses: [String] {
        var sentences = [
            "the worker runs without root: it runs jobs of its own user \(uid):\(gid) only, and a program that broke out "
                + "of its container would be that user",
            "memory and cpu limits are not enforced: no control group is delegated to the worker; a job that the kernel "
                + "kills for memory ends with signal 9, and its peak memory is that of its largest process",
            "the number of processes is limited by the user namespace alone, before Linux 5.14 for the user as a whole",
            "files in images have no owners: all belong to the container's user, who may read what only root could",
        ]
        if subordinate == nil, hasOtherGroups {
            sentences.append(
                "containers keep the supplementary groups of the worker's user: "
                    + "give it ranges in /etc/subuid and /etc/subgid, and install newuidmap")
        }
        if rootForm == .links {
            sentences.append(
                "the kernel allows no overlayfs in a user namespace: each container gets a tree of hard links of its own, "
                    + "which costs time and a directory entry for each file of its image")
        }
        return sentences
    }
}

extension RootlessHost {
    /// - Throws: kind `refused` for a submitter that this worker cannot become.
    func check(_ submitter: Identity) throws(EngineError) {
        guard submitter.uid != uid || submitter.gid != gid else { return }
        throw .refused(
            "this worker runs without root, as \(uid):\(gid), and runs that user's jobs only: "
                + "\(submitter.name) is \(submitter.uid):\(submitter.gid)")
    }

    /// What to try on this host, the best first; empty for root.
    static func candidates(searchPath: String) -> [RootlessHost] {
        let (uid, gid) = (geteuid(), getegid())
        guard uid != 0 else { return [] }
        let subordinate = SubordinateIDs.ofThisUser(uid: uid, gid: gid, searchPath: searchPath)
        var groups = [gid_t](repeating: 0, count: 1024)
        let count = max(0, Int(getgroups(1024, &groups)))
        let hasOthers = groups[..<count].contains { $0 != gid }
        let maps = subordinate.map { [$0, nil] } ?? [nil]
        return RootForm.allCases.flatMap { form in
            maps.map {
                RootlessHost(uid: uid, gid: gid, subordinate: $0, rootForm: form, hasOtherGroups: hasOthers)
            }
        }
    }
}

extension SubordinateIDs {
    private static let largestFile = 4 << 20

    static func ofThisUser(uid: UInt32, gid: UInt32, searchPath: String) -> SubordinateIDs? {
        func program(_ name: String) -> String? {
            searchPath.split(separator: ":").map { "\($0)/\(name)" }.first { access($0, X_OK) == 0 }
        }
        func table(_ path: String) -> String {
            String(decoding: readFile(path, limit: largestFile) ?? [], as: UTF8.self)
        }
        guard let userMapper = program("newuidmap"), let groupMapper = program("newgidmap") else { return nil }
        let name = getpwuid(uid).map { String(cString: $0.pointee.pw_name) }
        guard let users = range(in: table("/etc/subuid"), uid: uid, name: name, own: uid),
            let groups = range(in: table("/etc/subgid"), uid: uid, name: name, own: gid)
        else { return nil }
        return SubordinateIDs(users: users, groups: groups, userMapper: userMapper, groupMapper: groupMapper)
    }

    /// The largest range in lines of `NAME-OR-UID:START:COUNT`. Lines that say nonsense, or give system users or the
    /// user's own id away, count for nothing.
    static func range(in table: String, uid: UInt32, name: String?, own: UInt32) -> IDRange? {
        var best: IDRange?
        for line in table.split(separator: "\n") {
            let fields = line.split(separator: ":", omittingEmptySubsequences: false)
            guard fields.count == 3, fields[0] == String(uid) || fields[0] == name.map({ $0[...] }),
                let start = UInt32(fields[1]), let count = UInt32(fields[2]), start >= 1000, count > 0,
                case (let end, let overflowed) = start.addingReportingOverflow(count), !overflowed,
                !(start..<end).contains(own)
            else { continue }
            if count > best?.count ?? 0 { best = IDRange(start: start, count: min(count, 1 << 24)) }
        }
        return best
    }
}
