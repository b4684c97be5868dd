// A job document as JSON without Codable: the answer to every submission.
import JobModel

enum JobJSON {
    static func encode(_ job: JobDocument) -> [UInt8] {
        var writer = JSONWriter(capacity: 1024)
        writer.object { writer in
            writer.strings("bindings", job.bindings)
            writer.member("configuration") { write(job.configuration, &$0) }
            writer.member("finished_at", ifPresent: job.finishedAt?.description)
            writer.member("id", job.id.rawValue)
            writer.member("image") { writer in
                writer.object { writer in
                    writer.member("digest", job.image.digest.description)
                    writer.member("reference", job.image.reference)
                }
            }
            writer.strings("labels", job.labels)
            writer.member("name", job.name)
            writer.member("owner", job.owner)
            writer.strings("parameters", job.parameters)
            writer.member("priority", Int64(job.priority))
            writer.member("queue", job.queue)
            writer.member("reason", ifPresent: job.reason)
            if let rerunOf = job.rerunOf { writer.member("rerun_of", rerunOf.rawValue) }
            writer.member("revision", job.revision)
            writer.member("shape") { write(job.shape, &$0) }
            writer.member("started_at", ifPresent: job.startedAt?.description)
            writer.member("state", job.state.description)
            writer.member("submitted_at", job.submittedAt.description)
            writer.member("tasks") { write(job.tasks, &$0) }
        }
        return writer.bytes
    }

    private static func write(_ configuration: ConfigurationReference, _ writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("digest", configuration.digest.description)
            writer.member("name", ifPresent: configuration.name)
            if let version = configuration.version { writer.member("version", Int64(version)) }
        }
    }

    private static func write(_ tasks: TaskCounts, _ writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("cancelled", tasks.cancelled)
            writer.member("failed", tasks.failed)
            writer.member("pending", tasks.pending)
            writer.member("running", tasks.running)
            writer.member("succeeded", tasks.succeeded)
            writer.member("total", tasks.total)
        }
    }

    private static func write(_ shape: TaskShape, _ writer: inout JSONWriter) {
        writer.object { writer in
            switch shape {
            case .single: break
            case .array(let first, let last):
                writer.member("array") { writer in
                    writer.object { writer in
                        writer.member("first", first)
                        writer.member("last", last)
                    }
                }
            case .matrix(let axes):
                writer.member("matrix") { writer in
                    writer.array(axes) { writer, axis in
                        writer.object { writer in
                            writer.member("name", axis.name)
                            writer.member("values") { $0.array(axis.values) { $0.string($1) } }
                        }
                    }
                }
            }
        }
    }
}
