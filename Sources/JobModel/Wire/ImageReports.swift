// What is wrong with an image, and how it was made, as the API and `-o json` show them. Fields are added, never
// renamed.

package enum LintRule: String, Codable, Sendable, CaseIterable {
    case secret, volume, locale, setuid, root
    case shellForm = "shell-form", baseNotPinned = "base-not-pinned", baseOld = "base-old", baseUnknown = "base-unknown"
}

package enum LintLevel: String, Codable, Sendable, CaseIterable {
    /// Somebody may come to harm.
    case error
    /// Results may change, or the image cannot be made again.
    case warning
    /// Matters elsewhere, not for a job.
    case note
}

package struct LintFinding: Hashable, Codable, Sendable {
    package var rule: Open<LintRule>
    package var level: Open<LintLevel>
    /// What was found. Never holds a secret's value.
    package var found: String
    /// What to do about it.
    package var advice: String

    package init(_ rule: LintRule, _ level: LintLevel, _ found: String, _ advice: String) {
        self.rule = Open(rule)
        self.level = Open(level)
        self.found = found
        self.advice = advice
    }
}

/// `GET /v1/images/lint`
package struct LintDocument: Hashable, Codable, Sendable {
    package var reference: String
    package var digest: Digest
    /// Of the manifest that was looked at, where the image has several.
    package var platform: String?
    /// The gravest first.
    package var findings: [LintFinding]
    /// Why not all of the image was looked at.
    package var note: String?

    package init(reference: String, digest: Digest, platform: String?, findings: [LintFinding], note: String?) {
        self.reference = reference
        self.digest = digest
        self.platform = platform
        self.findings = findings
        self.note = note
    }
}

/// An image that a Dockerfile began with.
package struct BuildBase: Hashable, Codable, Sendable {
    package var reference: String
    /// Absent if the tool could not tell.
    package var digest: Digest?
    package init(reference: String, digest: Digest?) {
        self.reference = reference
        self.digest = digest
    }
}

/// How an image was made, as the one who made it says.
package struct BuildRecord: Hashable, Codable, Sendable {
    package static let sizeLimit = 2 << 20
    package static let longestDockerfile = 1 << 20

    /// Its text.
    package var dockerfile: String
    package var dockerfileDigest: Digest
    /// The SHA-256 of all files of the context, in a tar with sorted names, without times and owners.
    package var contextDigest: Digest
    package var bases: [BuildBase]
    /// `buildah 1.28.2`
    package var tool: String
    package var arguments: [String: String]
    /// Filled in by the scheduler.
    package var builtBy: String?
    package var recordedAt: Timestamp?

    package init(
        dockerfile: String, contextDigest: Digest, bases: [BuildBase], tool: String, arguments: [String: String]
    ) {
        self.dockerfile = dockerfile
        dockerfileDigest = Digest(of: dockerfile)
        self.contextDigest = contextDigest
        self.bases = bases
        self.tool = tool
        self.arguments = arguments
    }

    private enum CodingKeys: String, CodingKey {
        case dockerfile, dockerfileDigest = "dockerfile_digest", contextDigest = "context_digest", bases, tool
        case arguments, builtBy = "built_by", recordedAt = "recorded_at"
    }
}
