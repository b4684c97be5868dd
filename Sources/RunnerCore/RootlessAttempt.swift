// What a runner without root must know beyond its attempt: which ids it may map, how it comes to a root file system,
// and which volumes it finds and mounts itself. Part of the attempt's description.

/// Ids that a user may give away: /etc/subuid, /etc/subgid.
package struct IDRange: Hashable, Sendable {
    package var start: UInt32
    package var count: UInt32
    package init(start: UInt32, count: UInt32) {
        self.start = start
        self.count = count
    }
}

/// The runner's user and group as 0, and these after them.
package struct SubordinateIDs: Hashable, Sendable {
    package var users: IDRange
    package var groups: IDRange
    /// Paths of the programs that may write the maps.
    package var userMapper: String
    package var groupMapper: String

    package init(users: IDRange, groups: IDRange, userMapper: String, groupMapper: String) {
        self.users = users
        self.groups = groups
        self.userMapper = userMapper
        self.groupMapper = groupMapper
    }
}

/// How layers become a root file system.
package enum RootForm: String, Hashable, Sendable, CaseIterable {
    case overlay
    /// A tree of hard links for each attempt, where the kernel allows no overlay in a user namespace.
    case links
}

package struct RootlessAttempt: Hashable, Sendable {
    /// A part of a volume, mounted at ``RunnerFolder/volume(_:)`` with its place in the list.
    package struct Volume: Hashable, Sendable {
        package var root: String
        /// Below the root; empty for the root itself.
        package var path: String
        package var readOnly: Bool
        package init(root: String, path: String, readOnly: Bool) {
            self.root = root
            self.path = path
            self.readOnly = readOnly
        }
    }

    /// Nil: nobody but the runner's user exists in its namespace.
    package var subordinate: SubordinateIDs?
    package var rootForm: RootForm
    package var volumes: [Volume]

    package init(subordinate: SubordinateIDs?, rootForm: RootForm, volumes: [Volume]) {
        self.subordinate = subordinate
        self.rootForm = rootForm
        self.volumes = volumes
    }

    func add(to record: inout RecordText) {
        record.add("root-form", rootForm.rawValue)
        if let subordinate {
            record.add("subordinate-users-start", subordinate.users.start)
            record.add("subordinate-users-count", subordinate.users.count)
            record.add("subordinate-groups-start", subordinate.groups.start)
            record.add("subordinate-groups-count", subordinate.groups.count)
            record.add("user-mapper", subordinate.userMapper)
            record.add("group-mapper", subordinate.groupMapper)
        }
        for volume in volumes {
            record.add("volume-root", volume.root)
            record.add("volume-path", volume.path)
            record.add("volume-access", volume.readOnly ? "ro" : "rw")
        }
    }

    /// Nil where the record says nothing of it.
    init?(_ record: RecordText) throws(RecordText.Malformed) {
        guard let form = record.optional("root-form") else { return nil }
        guard let rootForm = RootForm(rawValue: form) else {
            throw RecordText.Malformed("the record's 'root-form' is not known")
        }
        let (roots, paths, access) = (
            record.all("volume-root"), record.all("volume-path"), record.all("volume-access")
        )
        guard roots.count == paths.count, roots.count == access.count, roots.allSatisfy({ $0.hasPrefix("/") }),
            access.allSatisfy({ $0 == "ro" || $0 == "rw" })
        else { throw RecordText.Malformed("the record's volumes are not consistent") }
        var subordinate: SubordinateIDs?
        if let mapper = record.optional("user-mapper") {
            subordinate = SubordinateIDs(
                users: IDRange(
                    start: try record.number("subordinate-users-start"),
                    count: try record.number("subordinate-users-count")),
                groups: IDRange(
                    start: try record.number("subordinate-groups-start"),
                    count: try record.number("subordinate-groups-count")),
                userMapper: mapper, groupMapper: try record.value("group-mapper"))
        }
        self.init(
            subordinate: subordinate, rootForm: rootForm,
            volumes: roots.indices.map { Volume(root: roots[$0], path: paths[$0], readOnly: access[$0] == "ro") })
    }
}
