// What a job waits for: another job, or task by task the same task of another job. Outside the configuration, and no
// part of a rerun. When a dependency is met is decided in SchedulingCore/Dependencies.

/// When a dependency is met: by how the other job, or its task of the same index, has ended.
package enum DependencyKind: String, Codable, Sendable, CaseIterable {
    case afterOK = "after_ok"
    case afterAny = "after_any"
    /// Failed or cancelled.
    case afterFail = "after_fail"
    case afterOKEach = "after_ok_each"
    case afterAnyEach = "after_any_each"
    case afterFailEach = "after_fail_each"

    /// Task 7 waits for task 7 of the other job, which has the same indices.
    package var isEach: Bool {
        switch self {
        case .afterOK, .afterAny, .afterFail: false
        case .afterOKEach, .afterAnyEach, .afterFailEach: true
        }
    }

    /// Whether an end with or without success is what was waited for.
    package func isMet(bySuccess isSuccess: Bool) -> Bool {
        switch self {
        case .afterOK, .afterOKEach: isSuccess
        case .afterAny, .afterAnyEach: true
        case .afterFail, .afterFailEach: !isSuccess
        }
    }

    /// What the other is waited to do, after "until job 41".
    package var wish: String {
        switch self {
        case .afterOK, .afterOKEach: "has succeeded"
        case .afterAny, .afterAnyEach: "has ended"
        case .afterFail, .afterFailEach: "has failed"
        }
    }
}

/// A job waits for another one. It names each other job once.
package struct Dependency: Hashable, Codable, Sendable {
    package let job: JobID
    package let kind: DependencyKind

    package init(job: JobID, kind: DependencyKind) {
        self.job = job
        self.kind = kind
    }
}

extension JobSpec {
    /// As it stands in a spec: on a job that was submitted earlier, or on one of the same file.
    package struct Dependency: Hashable, Sendable {
        package enum Target: Hashable, Sendable {
            case job(JobID)
            case member(ConfigurationName)
        }

        package let target: Target
        package let kind: DependencyKind

        /// Nil for a job that was submitted earlier.
        package var memberName: ConfigurationName? {
            if case .member(let name) = target { name } else { nil }
        }

        package init(target: Target, kind: DependencyKind) {
            self.target = target
            self.kind = kind
        }
    }
}
