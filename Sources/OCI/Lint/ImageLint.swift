// What is wrong with an image: rules over its configuration and over what was seen in its layers. Pure; reading is
// LayerSurvey.swift's business. A secret's value never leaves here.
import Foundation
import JobModel

/// As much of an image's configuration as the rules look at. From outside: what is not as it should be is left out.
package struct LintedConfiguration {
    package var user = ""
    /// Name and value.
    package var environment: [(name: String, value: String)] = []
    package var entrypoint: [String] = []
    package var command: [String] = []
    package var volumes: [String] = []
    package var labels: [String: String] = [:]
    /// The commands that made it.
    package var history: [String] = []

    package init(_ json: JSONValue) {
        func texts(_ value: JSONValue?) -> [String] {
            guard case .array(let values)? = value else { return [] }
            return values.compactMap { if case .string(let text) = $0 { text } else { nil } }
        }
        func members(_ value: JSONValue?) -> [(key: String, value: JSONValue)] {
            if case .object(let members)? = value { members } else { [] }
        }
        let config = json[key: "config"]
        if case .string(let text)? = config?[key: "User"] { user = text }
        entrypoint = texts(config?[key: "Entrypoint"])
        command = texts(config?[key: "Cmd"])
        volumes = members(config?[key: "Volumes"]).map(\.key).sorted()
        for text in texts(config?[key: "Env"]) {
            let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            environment.append((parts[0], parts.count > 1 ? parts[1] : ""))
        }
        for (key, value) in members(config?[key: "Labels"]) { if case .string(let text) = value { labels[key] = text } }
        guard case .array(let steps)? = json[key: "history"] else { return }
        history = steps.map { if case .string(let text)? = $0[key: "created_by"] { text } else { "" } }
    }
}

package enum ImageLint {
    /// Secrets and volumes: what whoever submits a job should hear at once.
    package static func urgent(_ configuration: LintedConfiguration) -> [LintFinding] {
        secrets(configuration)
            + configuration.volumes.map {
                LintFinding(
                    .volume, .warning, "it declares the VOLUME \(quoted($0)), which hides what lies there elsewhere",
                    "remove it: jobs ignore it, and name their data in the spec")
            }
    }

    /// - Parameter base: whether it is known which image it was made from, by digest.
    package static func findings(
        _ configuration: LintedConfiguration, _ survey: LayerSurvey, base isKnown: Bool, now: Timestamp
    ) -> [LintFinding] {
        let all =
            secrets(configuration) + volumes(configuration, survey) + locale(configuration, survey)
            + base(configuration, survey, isKnown, now) + setuid(survey) + start(configuration)
        let order = LintLevel.allCases
        return order.flatMap { level in all.filter { $0.level.value == level } }
    }

    // MARK: Rules

    private static func secrets(_ configuration: LintedConfiguration) -> [LintFinding] {
        let advice = "make a new secret, for this one is known to all who have the image; give it to the job otherwise"
        let names = configuration.environment.filter { isSecretName($0.name) && !$0.value.isEmpty }.map(\.name)
        let values = configuration.environment.filter { !isSecretName($0.name) && holdsSecret($0.value) }.map(\.name)
        let steps = configuration.history.enumerated().filter { holdsSecret($0.element) }.map { $0.offset + 1 }
        return (names + values).map {
            LintFinding(.secret, .error, "its environment holds what looks like a secret: \(shown($0))", advice)
        }
            + steps.map {
                LintFinding(.secret, .error, "step \($0) of its history holds what looks like a secret", advice)
            }
    }

    private static func isSecretName(_ name: String) -> Bool {
        name.uppercased().contains(
            #/PASSWORD|PASSWD|SECRET|(^|_)TOKENS?($|_)|API_?KEY|PRIVATE_?KEY|ACCESS_?KEY|CREDENTIALS?$/#)
            && !name.uppercased().hasSuffix("_FILE")
    }

    private static func holdsSecret(_ text: String) -> Bool {
        text.contains(
            #/(?i)(password|passwd|secret|token|api_?key|access_?key)["']?\s*[=:]\s*["']?[^\s"'$]{4,}/#)
            || text.contains(#/AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{30,}|-----BEGIN [A-Z ]*PRIVATE KEY/#)
            || text.contains(#/[a-z]+:\/\/[^\/\s:@]+:[^\/\s:@$]+@/#)
    }

    private static func volumes(_ configuration: LintedConfiguration, _ survey: LayerSurvey) -> [LintFinding] {
        configuration.volumes.map { path in
            let count = survey.files(below: path)
            return LintFinding(
                .volume, .warning,
                "it declares the VOLUME \(quoted(path))"
                    + (count > 0 ? ", which hides \(count) files of the image elsewhere" : ""),
                "remove it: jobs ignore it, and see the image's own files there")
        }
    }

    private static func locale(_ configuration: LintedConfiguration, _ survey: LayerSurvey) -> [LintFinding] {
        let wanted =
            configuration.environment.last { $0.name == "LC_ALL" && !$0.value.isEmpty }
            ?? configuration.environment.last { $0.name == "LANG" && !$0.value.isEmpty }
        guard let wanted else {
            return [
                LintFinding(
                    .locale, .note, "it sets no LANG: elsewhere sorting and number formats depend on the host",
                    "add 'ENV LANG=C.UTF-8'; jobs get that anyway")
            ]
        }
        let name = wanted.value.split(separator: ".")[0]
        if ["C", "POSIX"].contains(name) || survey.locales.contains(String(name)) || survey.hasLocaleArchive {
            return []
        }
        return [
            LintFinding(
                .locale, .warning, "it sets \(wanted.name)=\(shown(wanted.value)), and does not have that locale",
                "install the locale, or set C.UTF-8: programs fall back to C without a word")
        ]
    }

    private static func base(
        _ configuration: LintedConfiguration, _ survey: LayerSurvey, _ isKnown: Bool, _ now: Timestamp
    ) -> [LintFinding] {
        var found: [LintFinding] = []
        if !isKnown, configuration.labels["org.opencontainers.image.base.digest"] == nil {
            found.append(
                LintFinding(
                    .baseNotPinned, .warning, "nothing says by digest what it was made from",
                    "write 'FROM name@sha256:…', and build with 'jobctl image build', which records it"))
        }
        guard let release = survey.release, !release.id.isEmpty else {
            found.append(
                LintFinding(
                    .baseUnknown, .note, "its distribution is not known: it has no os-release",
                    "fine for an image from scratch; otherwise keep the base's /etc/os-release"))
            return found
        }
        if let end = release.end, end <= now {
            found.append(
                LintFinding(
                    .baseOld, .warning,
                    "\(shown(release.name)) has had no security updates since \(end.description.prefix(7))",
                    "move to a newer base and verify that results stay; the old image stays in the archive"))
        }
        return found
    }

    private static func setuid(_ survey: LayerSurvey) -> [LintFinding] {
        guard !survey.setuid.isEmpty else { return [] }
        let names = survey.setuid.sorted()
        let list = names.prefix(8).map { shown($0) }.joined(separator: ", ")
        return [
            LintFinding(
                .setuid, .note,
                "\(names.count) files run as another user: \(list)\(names.count > 8 ? ", …" : "")",
                "'chmod a-s' what is not needed; in jobs these bits have no effect")
        ]
    }

    private static func start(_ configuration: LintedConfiguration) -> [LintFinding] {
        var found: [LintFinding] = []
        for (name, words) in [("ENTRYPOINT", configuration.entrypoint), ("CMD", configuration.command)]
        where words.count >= 2 && words[0].hasSuffix("sh") && words[1] == "-c" {
            found.append(
                LintFinding(
                    .shellForm, .note, "its \(name) is in shell form: signals reach the shell, not the program",
                    "write it as a list: \(name) [\"program\", \"argument\"]; jobs name their own command"))
        }
        let user = configuration.user.split(separator: ":").first.map(String.init) ?? ""
        if ["", "0", "root"].contains(user) {
            found.append(
                LintFinding(
                    .root, .note, "it runs as root elsewhere", "add 'USER 65532'; jobs run as their submitter anyway"))
        }
        return found
    }
}
