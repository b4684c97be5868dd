// The options that are about other registries and about what is kept how long, from their texts.
import JobModel
import Registry

extension SchedulerOptions {
    /// `REGISTRY=MIRROR`, several mirrors of a registry in the order in which they are asked.
    package static func mirrors(_ texts: [String]) throws(Problem) -> [String: [RegistryMirror]] {
        var mirrors: [String: [RegistryMirror]] = [:]
        for (text, registry, value) in try pairs(texts, "--mirror", "REGISTRY=MIRROR") {
            guard let mirror = RegistryMirror(value) else {
                throw Problem(
                    .badRequest, "\(quoted(text)) names no mirror: \(RegistryMirror.rule)", field: "--mirror")
            }
            mirrors[registry, default: []].append(mirror)
        }
        return mirrors
    }

    /// `REGISTRY=HOST`.
    package static func tokenServices(_ texts: [String]) throws(Problem) -> [String: [String]] {
        var services: [String: [String]] = [:]
        for (text, registry, host) in try pairs(texts, "--token-service", "REGISTRY=HOST") {
            guard !host.contains("/"), !host.contains(":") else {
                throw Problem(
                    .badRequest, "\(quoted(text)) must be REGISTRY=HOST, without scheme, port and path",
                    field: "--token-service")
            }
            services[registry, default: []].append(host.lowercased())
        }
        return services
    }

    /// `POLICY` for all queues, `QUEUE=POLICY` for one.
    package static func keepPolicies(_ texts: [String]) throws(Problem) -> KeepPolicies {
        var policies = KeepPolicies()
        for text in texts {
            let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard let policy = parts.last.flatMap(KeepPolicy.init(rawValue:)) else {
                let allowed = KeepPolicy.allCases.map(\.rawValue).joined(separator: ", ")
                throw Problem(
                    .badRequest, "\(quoted(text)) must be POLICY or QUEUE=POLICY, with one of \(allowed)",
                    field: "--keep")
            }
            guard parts.count == 2 else {
                policies.standard = policy
                continue
            }
            guard let queue = QueueName(rawValue: parts[0]) else {
                throw Problem(.badRequest, QueueName.refusal(of: parts[0]), field: "--keep")
            }
            policies.byQueue[queue] = policy
        }
        return policies
    }

    /// Ages such as `90d`, sizes such as `100GiB`; nil for no limit.
    package static func retention(
        keepLogs: String?, logBudget: String?, keepManifests: String?, manifestBudget: String?, keepTasks: String? = nil
    ) throws(Problem) -> RetentionPolicy {
        var policy = RetentionPolicy()
        policy.logs.age = try age(keepLogs, "--keep-logs")
        policy.logs.budget = try size(logBudget, "--log-budget")
        policy.manifests.age = try age(keepManifests, "--keep-manifests")
        policy.manifests.budget = try size(manifestBudget, "--manifest-budget")
        policy.tasks = try age(keepTasks, "--keep-tasks")
        return policy
    }

    private static func age(_ text: String?, _ option: String) throws(Problem) -> TimeSpan? {
        guard let text else { return nil }
        guard let span = TimeSpan(text), span >= .minutes(60) else {
            throw Problem(
                .badRequest, "\(quoted(text)) must be a time of at least 1h, for example 90d", field: option)
        }
        return span
    }

    private static func size(_ text: String?, _ option: String) throws(Problem) -> ByteCount? {
        guard let text else { return nil }
        guard let size = ByteCount(text) else {
            throw Problem(.badRequest, "\(quoted(text)) must be a size, for example 100GiB", field: option)
        }
        return size
    }

    private static func pairs(
        _ texts: [String], _ option: String, _ rule: String
    ) throws(Problem) -> [(text: String, name: String, value: String)] {
        var pairs: [(String, String, String)] = []
        for text in texts {
            let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty, !parts[0].contains("/") else {
                throw Problem(.badRequest, "\(quoted(text)) must be \(rule)", field: option)
            }
            pairs.append((text, parts[0], parts[1]))
        }
        return pairs
    }
}
