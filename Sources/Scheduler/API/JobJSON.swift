// A job document as JSON without Codable: the answer to every submission.
import JobModel

enum JobJSON {
    static func encode(_ job: JobDocument) -> [UInt8] {
        var writer = JSONWriter(capacity: 1024)
        writer.object { writer in
            writer.strings("bindings", job.bindings)
            if let sums = job.compaction { writer.member("compaction") { write(sums, &$0) } }
            writer.member("configuration") { write(job.configuration, &$0) }
            if let dependsOn = job.dependsOn { writer.member("depends_on") { $0.array(dependsOn) { write($1, &$0) } } }
            writer.member("finished_at", ifPresent: job.finishedAt?.description)
            writer.member("id", job.id.rawValue)
            writer.member("image") { write(job.image, &$0) }
            writer.member("keep", ifPresent: job.keep?.description)
            writer.strings("labels", job.labels)
            writer.member("name", job.name)
            writer.member("owner", job.owner)
            writer.strings("parameters", job.parameters)
            if let pipeline = job.pipeline { writer.member("pipeline") { $0.pipeline(pipeline) } }
            writer.member("priority", Int64(job.priority))
            if let pulls = job.pulls { writer.member("pulls") { $0.array(pulls) { write($1, &$0) } } }
            writer.member("queue", job.queue)
            writer.member("reason", ifPresent: job.reason)
            if let rerunOf = job.rerunOf { writer.member("rerun_of", rerunOf.rawValue) }
            writer.member("revision", job.revision)
            if let rules = job.rules { writer.member("rules") { $0.rules(rules) } }
            writer.member("schedule", ifPresent: job.schedule)
            if let services = job.services {
                writer.member("services") { writer in
                    writer.object { writer in
                        for (name, image) in services.sorted(by: { $0.key < $1.key }) {
                            writer.member(named: name) { write(image, &$0) }
                        }
                    }
                }
            }
            writer.member("shape") { $0.shape(job.shape) }
            writer.member("started_at", ifPresent: job.startedAt?.description)
            writer.member("state", job.state.description)
            writer.member("submitted_at", job.submittedAt.description)
            if let limit = job.submittedTimeLimit { writer.member("submitted_time_limit") { $0.seconds(limit) } }
            writer.member("tasks") { $0.counts(job.tasks) }
            if let limit = job.timeLimit { writer.member("time_limit") { $0.seconds(limit) } }
            if let changed = job.timeLimitChanged { writer.member("time_limit_changed") { $0.bool(changed) } }
            if let verifies = job.verifies { writer.member("verifies", verifies.rawValue) }
            if let warnings = job.warnings { writer.member("warnings") { $0.array(warnings) { $0.string($1) } } }
        }
        return writer.bytes
    }

    private static func write(_ dependency: DependencyDocument, _ writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("job", dependency.job.rawValue)
            writer.member("kind", dependency.kind.description)
            writer.member("open") { $0.bool(dependency.open) }
        }
    }

    private static func write(_ image: ImageReferenceAndDigest, _ writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("digest", image.digest.description)
            writer.member("reference", image.reference)
        }
    }

    private static func write(_ pull: ImagePullDocument, _ writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("digest", pull.digest.description)
            writer.member("note", ifPresent: pull.note)
            writer.member("platform", ifPresent: pull.platform)
            writer.member("received_bytes", pull.received.bytes)
            writer.member("reference", pull.reference)
            writer.member("retry_at", ifPresent: pull.retryAt?.description)
            if let size = pull.size { writer.member("size_bytes", size.bytes) }
            writer.member("state", pull.state.description)
        }
    }

    private static func write(_ sums: CompactionDocument, _ writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("attempts") { write(sums.attempts, &$0) }
            writer.member("compacted_at", sums.compactedAt.description)
            writer.member("cpu_seconds") { $0.number(sums.cpuSeconds) }
            writer.member("max_memory_bytes", sums.maxMemory.bytes)
            writer.member("reasons") { write(sums.reasons, &$0) }
            writer.member("tasks", sums.tasks)
            writer.member("wall_seconds") { $0.number(sums.wallSeconds) }
            writer.member("workers") { $0.array(sums.workers) { $0.string($1) } }
        }
    }

    private static func write(_ counts: [String: Int64], _ writer: inout JSONWriter) {
        writer.object { writer in
            for (name, count) in counts.sorted(by: { $0.key < $1.key }) {
                writer.member(named: name) { $0.number(count) }
            }
        }
    }

    private static func write(_ configuration: ConfigurationReference, _ writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("digest", configuration.digest.description)
            writer.member("name", ifPresent: configuration.name)
            if let version = configuration.version { writer.member("version", Int64(version)) }
        }
    }
}
