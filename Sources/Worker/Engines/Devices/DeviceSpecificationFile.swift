// One file of the Container Device Interface (https://github.com/cncf-tags/container-device-interface, SPEC.md), JSON
// or YAML, versions 0.x and 1.x. Invariants: what is returned may go into a container: absolute paths without `..`,
// nodes below /dev, no mounts over /proc, /sys or /dev; a field that is known and cannot be honoured is refused by its
// name, an unknown one is ignored, as the specification wants it.
import JobModel

package struct DeviceSpecificationFile: Hashable, Sendable {
    /// `nvidia.com/gpu`.
    package var kind: String
    /// For each device of the file that is used.
    package var common: DeviceEdits
    package var devices: [String: DeviceEdits]

    static let largestFile = 1 << 20
    private static let largestList = 4096

    /// - Throws: ``SpecError`` with file, line and field.
    package init(_ bytes: [UInt8], file: String) throws(SpecError) {
        let root =
            file.hasSuffix(".json")
            ? try JSONParser.parse(bytes, file: file) : try YAMLParser.parse(bytes, file: file)
        let document = DeviceField(node: root, path: "$")
        let members = try document.members()
        let version = try document.required("cdiVersion", members)
        guard try version.text().wholeMatch(of: /v?[01]\.\d{1,3}\.\d{1,3}/) != nil else {
            throw version.refusal("is \(quoted(try version.text())): versions 0.x and 1.x are understood")
        }
        let kind = try document.required("kind", members)
        self.kind = try kind.text()
        guard self.kind.wholeMatch(of: /[A-Za-z0-9][A-Za-z0-9.-]*\/[A-Za-z0-9][A-Za-z0-9_.-]*/) != nil else {
            throw kind.refusal("\(quoted(self.kind)) is not VENDOR/CLASS, such as nvidia.com/gpu")
        }
        common =
            try members["containerEdits"].map { (field) throws(SpecError) in try Self.edits(field) } ?? DeviceEdits()
        devices = [:]
        for device in try document.required("devices", members).list(limit: Self.largestList) {
            let members = try device.members()
            let name = try device.required("name", members)
            let text = try name.text()
            guard text.wholeMatch(of: /[A-Za-z0-9][A-Za-z0-9_.:-]*/) != nil else {
                throw name.refusal("\(quoted(text)) is not a device's name: letters, digits, '_', '-', '.' and ':'")
            }
            guard devices[text] == nil else { throw name.refusal("'\(text)' stands there twice") }
            devices[text] = try Self.edits(try device.required("containerEdits", members))
        }
    }

    private static func edits(_ field: DeviceField) throws(SpecError) -> DeviceEdits {
        let members = try field.members()
        var edits = DeviceEdits()
        func each(_ name: String, _ body: (DeviceField) throws(SpecError) -> Void) throws(SpecError) {
            for element in try members[name]?.list(limit: largestList) ?? [] { try body(element) }
        }
        try each("deviceNodes") { (field) throws(SpecError) in edits.nodes.append(try node(field)) }
        try each("env") { (field) throws(SpecError) in
            let text = try field.text()
            guard text.wholeMatch(of: /[^=]+=.*/.dotMatchesNewlines()) != nil else {
                throw field.refusal("\(quoted(text)) is not NAME=VALUE")
            }
            edits.environment.append(text)
        }
        try each("mounts") { (field) throws(SpecError) in edits.mounts.append(try mount(field)) }
        try each("hooks") { (field) throws(SpecError) in edits.hooks.append(try hook(field)) }
        try each("additionalGids") { (field) throws(SpecError) in
            let group = try field.number(0...Int64(UInt32.max - 1))
            // 0 is to be ignored, says the specification.
            if group > 0 { edits.groups.append(UInt32(group)) }
        }
        for name in ["intelRdt", "netDevices"] {
            if let field = members[name] { throw field.refusal("is not supported") }
        }
        return edits
    }

    private static func node(_ field: DeviceField) throws(SpecError) -> DeviceEdits.Node {
        let members = try field.members()
        let place = try field.required("path", members)
        let path = try place.absolutePath()
        let isOurs = ["/dev/init", "/dev/null", "/dev/pts", "/dev/shm", "/dev/mqueue"].contains {
            path == $0 || path.hasPrefix($0 + "/")
        }
        guard path.hasPrefix("/dev/"), !isOurs else {
            throw place.refusal("\(quoted(path)) is no place for a device: it must lie below /dev and be no one else's")
        }
        if let type = members["type"], !["c", "u", "b"].contains(try type.text()) {
            throw type.refusal("\(quoted(try type.text())) is not supported: only character and block devices are")
        }
        let permissions = try members["permissions"]?.text() ?? "rw"
        guard permissions.allSatisfy({ "rwm".contains($0) }) else {
            throw (members["permissions"] ?? field).refusal("\(quoted(permissions)) is not of the letters r, w and m")
        }
        let largestID = Int64(UInt32.max - 1)
        return DeviceEdits.Node(
            path: path, hostPath: try members["hostPath"]?.absolutePath() ?? path,
            // Nobody in a container makes nodes.
            access: String(permissions.filter { $0 != "m" }),
            mode: UInt32(exactly: try members["fileMode"]?.number(0...0o777) ?? -1),
            uid: UInt32(exactly: try members["uid"]?.number(0...largestID) ?? -1),
            gid: UInt32(exactly: try members["gid"]?.number(0...largestID) ?? -1))
    }

    private static func mount(_ field: DeviceField) throws(SpecError) -> DeviceEdits.Mount {
        let members = try field.members()
        let place = try field.required("containerPath", members)
        let path = try place.absolutePath()
        guard !["/proc", "/sys", "/dev"].contains(where: { path == $0 || path.hasPrefix($0 + "/") }) else {
            throw place.refusal("nothing can be mounted at \(quoted(path))")
        }
        if let type = members["type"], !["", "none", "bind"].contains(try type.text()) {
            throw type.refusal("\(quoted(try type.text())) is not supported: only binds are")
        }
        var options: [String] = []
        for option in try members["options"]?.list(limit: 64) ?? [] { options.append(try option.text()) }
        return DeviceEdits.Mount(
            hostPath: try field.required("hostPath", members).absolutePath(), path: path,
            readOnly: options.contains("ro"), kind: options.contains("bind") ? "bind" : "rbind")
    }

    private static let moments = [
        "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop",
    ]

    private static func hook(_ field: DeviceField) throws(SpecError) -> DeviceEdits.Hook {
        let members = try field.members()
        let moment = try field.required("hookName", members)
        guard moments.contains(try moment.text()) else {
            throw moment.refusal("\(quoted(try moment.text())) is not one of \(moments.joined(separator: ", "))")
        }
        func texts(_ name: String) throws(SpecError) -> [String] {
            var texts: [String] = []
            for element in try members[name]?.list(limit: largestList) ?? [] { texts.append(try element.text()) }
            return texts
        }
        return DeviceEdits.Hook(
            moment: try moment.text(), path: try field.required("path", members).absolutePath(),
            arguments: try texts("args"), environment: try texts("env"),
            timeout: try members["timeout"]?.number(1...3600))
    }
}

/// A value and the way to it.
private struct DeviceField {
    let node: SpecNode
    let path: String

    func refusal(_ message: String) -> SpecError {
        SpecError(location: node.location, path: path, message: message)
    }

    func members() throws(SpecError) -> [String: DeviceField] {
        guard case .mapping(let members) = node.value else { throw refusal("is \(node.noun), not a mapping") }
        return Dictionary(
            members.map { ($0.key, DeviceField(node: $0.node, path: "\(path).\($0.key)")) }, uniquingKeysWith: { $1 })
    }

    func required(_ name: String, _ members: [String: DeviceField]) throws(SpecError) -> DeviceField {
        guard let field = members[name] else {
            throw SpecError(location: node.location, path: "\(path).\(name)", message: "is missing")
        }
        return field
    }

    func list(limit: Int) throws(SpecError) -> [DeviceField] {
        if case .scalar(_, .null) = node.value { return [] }
        guard case .sequence(let nodes) = node.value else { throw refusal("is \(node.noun), not a list") }
        guard nodes.count <= limit else { throw refusal("has \(nodes.count) elements: at most \(limit)") }
        return nodes.enumerated().map { DeviceField(node: $0.element, path: "\(path)[\($0.offset)]") }
    }

    /// Of YAML's plain scalars too: `name: 0` means the text.
    func text() throws(SpecError) -> String {
        guard case .scalar(let text, let kind) = node.value, kind == .string || kind == .number else {
            throw refusal("is \(node.noun), not a string")
        }
        guard text.utf8.count <= 4096, !text.utf8.contains(0) else { throw refusal("is too long or holds a zero byte") }
        return text
    }

    func number(_ range: ClosedRange<Int64>) throws(SpecError) -> Int64 {
        guard case .scalar(let text, let kind) = node.value, kind == .number || text.hasPrefix("0o") else {
            throw refusal("is \(node.noun), not a number")
        }
        // Octal as YAML 1.2 and as YAML 1.1 write it; JSON has neither.
        let isOctal = text.count > 1 && text.hasPrefix("0")
        let number = isOctal ? Int64(text.dropFirst(text.hasPrefix("0o") ? 2 : 1), radix: 8) : Int64(text)
        guard let number, range.contains(number) else {
            throw refusal("\(quoted(text)) is not a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    func absolutePath() throws(SpecError) -> String {
        let text = try text()
        guard text.hasPrefix("/"), text != "/", !text.split(separator: "/").contains(where: { $0 == ".." || $0 == "." })
        else { throw refusal("\(quoted(text)) is not an absolute path without '..'") }
        return text
    }
}
