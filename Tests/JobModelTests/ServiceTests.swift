// Services in specs: what they mean, what they add to a configuration and to a job, and that a configuration without
// them is what it was.
import JobModel
import Testing

@Suite("services in specs")
struct ServiceTests {
    private static let yaml = #"""
        image: tools:1
        command: ["/bin/sh", "-c", "exit 0"]
        resources: {cpus: 0.5, memory: 64MiB, gpus: 1}
        parameters: {size: 10}
        services:
          db:
            image: redis:7
            command: ["redis-server", "--maxmemory", "${params.size}"]
            environment: {A: "1"}
            working_dir: /tmp/
            resources: {cpus: 0.25, memory: 128MiB}
            healthcheck: {command: ["redis-cli", "ping"], interval: 250ms, timeout: 2, retries: 5}
          cache-2:
            image: redis:7
            shell: exec redis-server
            healthcheck: {shell: redis-cli ping}
        """#

    private func spec(_ text: String) throws -> JobSpec { try SpecParser.parse(file: "spec", Array(text.utf8)) }

    private func configuration(_ text: String) throws -> Configuration {
        let spec = try spec(text)
        let images = spec.services.map { ($0.name, PinnedImage(digest: Digest(of: $0.imageText), platform: nil)) }
        return spec.configuration(
            image: PinnedImage(digest: Digest(of: "image"), platform: nil), files: [:],
            serviceImages: Dictionary(uniqueKeysWithValues: images))
    }

    @Test("every field is read, names are sorted, and what is absent has its default")
    func fields() throws {
        let services = try spec(Self.yaml).services
        #expect(services.map(\.name.rawValue) == ["cache-2", "db"])
        let (cache, db) = (services[0], services[1])
        #expect(cache.command == ["/bin/sh", "-c", "exec redis-server"] && cache.resources == .standard)
        #expect(
            cache.health
                == HealthCheck(
                    command: ["/bin/sh", "-c", "redis-cli ping"], interval: HealthCheck.standardInterval,
                    timeout: HealthCheck.standardTimeout, retries: HealthCheck.standardRetries))
        #expect(db.workingDirectory == "/tmp" && db.environment == ["A": "1"])
        #expect(db.health?.interval == TimeSpan(milliseconds: 250) && db.health?.retries == 5)
    }

    @Test("the canonical JSON holds them with digests and no tag, and can be read back")
    func canonical() throws {
        let configuration = try configuration(Self.yaml)
        let json = String(decoding: configuration.canonicalJSON, as: UTF8.self)
        #expect(json.contains(#""services":{"cache-2":{"command":["/bin/sh","-c","exec redis-server"]"#))
        #expect(json.contains(Digest(of: "redis:7").description) && !json.contains("redis:7"))
        #expect(
            json.contains(#""healthcheck":{"command":["redis-cli","ping"],"interval":0.25,"retries":5,"timeout":2}"#))
        let again = try WireJSON.decode(Configuration.self, from: json.utf8)
        #expect(again == configuration && again.digest == configuration.digest)
    }

    @Test("a configuration without services has no key for them")
    func absent() throws {
        let configuration = try configuration("image: a\ncommand: [b]\nservices: {}\n")
        #expect(!String(decoding: configuration.canonicalJSON, as: UTF8.self).contains("services"))
        #expect(try configuration.digest == self.configuration("image: a\ncommand: [b]\n").digest)
    }

    @Test(
        "a byte more of a service is another configuration",
        arguments: [
            ("redis:7", "redis:8"), ("db:", "dc:"), ("--maxmemory", "--maxmemory2"), ("A: \"1\"", "A: \"2\""),
            ("/tmp/", "/var"), ("128MiB", "129MiB"), ("250ms", "251ms"), ("timeout: 2", "timeout: 3"),
            ("retries: 5", "retries: 6"), ("[\"redis-cli\", \"ping\"]", "[\"redis-cli\"]"),
        ])
    func digest(old: String, new: String) throws {
        let changed = Self.yaml.replacing(old, with: new)
        #expect(changed != Self.yaml)
        #expect(try configuration(changed).digest != configuration(Self.yaml).digest)
    }

    @Test("a job takes from its worker what its task and its services ask for together")
    func resources() throws {
        let (spec, configuration) = (try spec(Self.yaml), try configuration(Self.yaml))
        let record = try spec.record(
            configuration: configuration, digest: configuration.digest,
            owner: Identity(name: UserName(rawValue: "ada")!, uid: 1, gid: 1), choices: SubmissionChoices())
        #expect(record.resources.cpus.thousandths == 1750 && record.resources.gpus == 1)
        #expect(record.resources.memory.bytes == (64 + 128 + 512) << 20)
        #expect(configuration.resources.cpus.thousandths == 500)
        #expect(record.services.map(\.reference) == ["redis:7", "redis:7"] && record.imageDigests.count == 2)
        let again = try WireJSON.decode(JobRecord.self, from: record.json)
        #expect(again == record)
        #expect(record.json == Array(try WireJSON.encode(record)))
    }

    @Test("a parameter that only a service uses is one, and must have a value")
    func parameters() throws {
        let text = Self.yaml.replacing("parameters: {size: 10}\n", with: "")
        let (spec, configuration) = (try spec(text), try configuration(text))
        #expect(throws: Problem.self) {
            try spec.record(
                configuration: configuration, digest: configuration.digest,
                owner: Identity(name: UserName(rawValue: "ada")!, uid: 1, gid: 1), choices: SubmissionChoices())
        }
    }
}
