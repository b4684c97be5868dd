// Logs and lists of files of finished attempts: compressed and read as before, and removed by the policy alone, which
// says so afterwards and touches nothing else.
import Foundation
import JobModel
import OCI
import Scheduler
import TestSupport
import Testing

@Suite(.serialized) struct RetentionTests {
    private static let spec = """
        {"name": "sum", "image": "busybox", "command": ["/bin/cat"], "volumes": ["output:/out:out"]}
        """
    private static let stdout = "/v1/attempts/1.1.1/logs/stdout"
    private static let list = Array("f 644 1 \(Digest(of: "x").hex) a\0".utf8)

    private static let text: [UInt8] = Array(
        (0..<60_000).map { "line \($0) of what it printed\n" }.joined().utf8)

    /// A job that has run, with output on stdout and a list of what it wrote. Ends only if told to.
    private static func run(_ api: APIUnderTest, ends: Bool = true) async throws {
        try await api.importBusybox()
        _ = try await api.submit(spec)
        let attempt = try #require(AttemptID("1.1.1"))
        var registration = WorkerRegistration.small()
        registration.volumes = [VolumeName(unchecked: "output"): VolumeOffer(writable: true)]
        func call(_ number: Int64, _ reports: [AttemptReport] = []) async throws {
            let answer = try await api.sync(
                SyncRequest(
                    incarnation: "life", sequence: number, registration: number == 1 ? registration : nil,
                    live: number == 1 ? [] : [attempt], reports: reports, wait: .zero))
            guard answer.status == 200 else { throw APIFailure(description: answer.text) }
        }
        try await call(1)
        try await call(2)
        let upload = "/v1/workers/node1/attempts/1.1.1/logs/stdout"
        for start in stride(from: 0, to: text.count, by: 1 << 20) {
            let piece = Array(text[start..<min(text.count, start + 1 << 20)])
            let isLast = start + piece.count == text.count
            _ = try await api.call(
                .put, "\(upload)?offset=\(start)&complete=\(ends && isLast)", as: .worker, body: piece)
        }
        let kept = try await api.call(.put, "/v1/trees/\(Digest(of: list))", as: .worker, body: list)
        #expect(kept.status == 204)
        guard ends else { return }
        let tree = TreeFingerprint(treeDigest: Digest(of: list), level: .content, files: 1, bytes: ByteCount(bytes: 1))
        try await call(3, [AttemptReport(attempt: attempt, sequence: 3, state: .ending, exitCode: 0)])
        try await call(
            4,
            [
                AttemptReport(
                    attempt: attempt, sequence: 4, state: .succeeded, reason: .exitCode, exitCode: 0,
                    outputs: [SlotName(unchecked: "output"): tree])
            ])
        let job = try await api.call(.get, "/v1/jobs/1").decoded(JobDocument.self)
        #expect(job.state == .known(.succeeded))
    }

    private static func collect(_ api: APIUnderTest, dryRun: Bool = false) async throws -> ArchiveCollection {
        try await api.call(.post, "/v1/archive/gc\(dryRun ? "?dry_run=true" : "")", as: .admin)
            .decoded(ArchiveCollection.self)
    }

    private static func names(_ api: APIUnderTest) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: api.directory + "/logs/1").sorted()
    }

    @Test("a complete log is compressed and read as before, from any place; pieces that come late change nothing")
    func compression() async throws {
        try await APIUnderTest.with { api in
            try await Self.run(api)
            #expect(try Self.names(api) == ["1.1.stdout", "1.1.stdout.complete"])
            _ = try await Self.collect(api)
            #expect(try Self.names(api) == ["1.1.stdout.zst"])
            for (offset, limit) in [(0, 1 << 20), (1 << 20, 1 << 20), (1_000_000, 100_000), (Self.text.count - 5, 100)]
            {
                let answer = try await api.call(.get, "\(Self.stdout)?offset=\(offset)&limit=\(limit)")
                #expect(answer.bytes == Array(Self.text[offset..<min(Self.text.count, offset + limit)]))
                #expect(answer.headers[.init("Jobctl-Log-Size")!] == String(Self.text.count))
                #expect(answer.headers[.init("Jobctl-Log-Complete")!] == "true")
            }
            let end = try await api.call(.get, "\(Self.stdout)?offset=\(Self.text.count)&wait=30")
            #expect(end.status == 200 && end.bytes == [])
            let late = try await api.call(
                .put, "/v1/workers/node1/attempts/1.1.1/logs/stdout?offset=0&complete=true", as: .worker, body: [1, 2])
            #expect(try late.decoded(LogExtent.self) == LogExtent(size: Int64(Self.text.count), complete: true))
            #expect(try Self.names(api) == ["1.1.stdout.zst"])
        }
    }

    @Test("what was killed while it compressed is compressed again: both forms, a half one")
    func killed() async throws {
        try await APIUnderTest.with { api in
            try await Self.run(api)
            let folder = api.directory + "/logs/1/"
            try Data([1, 2, 3]).write(to: URL(filePath: folder + "1.1.stdout.new"))
            try Data([4, 5, 6]).write(to: URL(filePath: folder + "1.1.stdout.zst"))
            #expect(try await api.call(.get, Self.stdout + "?limit=4").text == "line", "the plain form counts")
            _ = try await Self.collect(api)
            #expect(try Self.names(api) == ["1.1.stdout.zst"])
            #expect(try await api.call(.get, Self.stdout + "?limit=4").text == "line")
        }
    }

    @Test("without a policy nothing is removed; with one, logs and lists go, it is said, and nothing else is touched")
    func policy() async throws {
        let directory = try temporaryFolder("retention")
        defer { removeFolder(directory) }
        try await APIUnderTest.with(directory: directory) { api in
            try await Self.run(api)
            let result = try await Self.collect(api)
            #expect(result.logs == ArchiveShare() && result.manifests == ArchiveShare())
            let status = try await api.call(.get, "/v1/archive", as: .admin).decoded(ArchiveStatus.self)
            #expect(status.logs?.files == 1 && status.manifests?.files == 1 && status.logs?.keep == nil)
        }
        var policy = RetentionPolicy()
        policy.logs.age = .zero
        policy.manifests.age = .zero
        let zero = policy
        try await APIUnderTest.with(directory: directory, options: OptionChange { $0.retention = zero }) { api in
            let before = try await api.call(.get, "/v1/jobs/1/attempts").bytes
            try await eventually("it would be removed") {
                let trial = try await Self.collect(api, dryRun: true)
                return trial.logs?.blobs == 1 && trial.manifests?.blobs == 1
            }
            #expect(try await api.call(.get, Self.stdout).status == 200, "a trial removes nothing")
            let result = try await Self.collect(api)
            #expect(result.logs?.blobs == 1 && result.manifests?.blobs == 1)
            let gone = try await api.call(.get, Self.stdout)
            let day = Timestamp(millisecondsSinceEpoch: Int64(Date().timeIntervalSince1970 * 1000)).day
            #expect(
                try gone.status == 404
                    && gone.problem().detail
                        == "the logs of attempt 1.1.1 were removed on \(day) by the retention policy",
                "\(gone.text)")
            #expect(!FileManager.default.fileExists(atPath: api.directory + "/logs/1"))
            let files = try await api.call(.get, "/v1/attempts/1.1.1/files/output")
            #expect(
                try files.problem().detail
                    == "the list of files of slot 'output' was removed on \(day) by the retention policy")
            // The digests, the configuration and its image are what they were.
            #expect(try await api.call(.get, "/v1/jobs/1/attempts").bytes == before)
            let verify = try await api.call(.post, "/v1/archive/verify", as: .admin).decoded(ArchiveVerification.self)
            #expect(verify.damaged == [] && verify.checked.blobs == 3)
            #expect(try await Self.collect(api).logs == ArchiveShare())
        }
    }

    @Test("the log of an attempt that has not ended stays, however old it is")
    func live() async throws {
        var policy = RetentionPolicy()
        policy.logs.age = .zero
        let zero = policy
        try await APIUnderTest.with(options: OptionChange { $0.retention = zero }) { api in
            try await Self.run(api, ends: false)
            let old = [FileAttributeKey.modificationDate: Date(timeIntervalSince1970: 1_000_000_000)]
            try FileManager.default.setAttributes(old, ofItemAtPath: api.directory + "/logs/1/1.1.stdout")
            #expect(try await Self.collect(api).logs == ArchiveShare())
            #expect(try await api.call(.get, Self.stdout).bytes.count == min(Self.text.count, 1 << 20))
        }
    }

    @Test("a list that is old, but that a newer attempt has as well, stays")
    func sharedList() async throws {
        var policy = RetentionPolicy()
        policy.manifests.age = .minutes(60)
        let hour = policy
        try await APIUnderTest.with(options: OptionChange { $0.retention = hour }) { api in
            try await Self.run(api)
            let hex = Digest(of: Self.list).hex
            let path = "\(api.directory)/trees/\(hex.prefix(2))/\(hex).zst"
            let old = [FileAttributeKey.modificationDate: Date(timeIntervalSince1970: 1_000_000_000)]
            try FileManager.default.setAttributes(old, ofItemAtPath: path)
            #expect(try await Self.collect(api).manifests == ArchiveShare())
            #expect(try await api.call(.get, "/v1/attempts/1.1.1/files/output").status == 200)
        }
    }

    @Test("keys of submissions are forgotten after their time, and only those of jobs that have ended")
    func keys() async throws {
        var policy = RetentionPolicy()
        policy.keys = .zero
        let zero = policy
        try await APIUnderTest.with(options: OptionChange { $0.retention = zero }) { api in
            func submit(_ key: String) async throws -> JobID {
                try await api.call(
                    .post, "/v1/jobs", headers: [.init("Idempotency-Key")!: key], json: #"{"spec": \#(pinnedSpec)}"#
                ).decoded(JobDocument.self).id
            }
            let (first, second) = (try await submit("one"), try await submit("two"))
            _ = try await api.call(.post, "/v1/jobs/\(first)/cancel")
            #expect(try await submit("one") == first)
            try await eventually("its time is over") {
                _ = try await Self.collect(api)
                return try await submit("one") != first
            }
            #expect(try await submit("two") == second)
        }
    }

    @Test("a budget removes the oldest first, and nothing of the last hour")
    func budget() {
        var book = AgeBook()
        let now: Int64 = 1_000 * 3600
        for hours in [1, 50, 100, 200] as [Int64] { book.add(100, at: now - hours * 3600 - 10) }
        func cutoff(_ age: TimeSpan?, _ budget: Int64?) -> Int64? {
            var limit = RetentionPolicy.Limit()
            (limit.age, limit.budget) = (age, budget.map { ByteCount(bytes: $0) })
            return book.cutoff(limit, now: now)
        }
        #expect(cutoff(nil, nil) == nil && cutoff(nil, 400) == nil && cutoff(.minutes(60 * 300), nil) == nil)
        #expect(cutoff(nil, 300) == now - 200 * 3600 && cutoff(nil, 299) == now - 100 * 3600)
        #expect(cutoff(nil, 0) == now - 3600)
        #expect(cutoff(.minutes(60 * 60), 300) == now - 60 * 3600)
        book.add(100, at: now - 5)
        #expect(cutoff(nil, 0) == now - 3600)
    }

    @Test("options of the policy are refused by name if they make no sense")
    func options() throws {
        let policy = try SchedulerOptions.retention(
            keepLogs: "90d", logBudget: "100GiB", keepManifests: nil, manifestBudget: nil)
        #expect(policy.logs.age == .minutes(90 * 1440) && policy.logs.budget == ByteCount(bytes: 100 << 30))
        #expect(policy.manifests == RetentionPolicy.Limit())
        for (age, budget, field) in [
            ("soon", nil, "--keep-logs"), ("5m", nil, "--keep-logs"), (nil, "x", "--log-budget"),
        ]
            as [(String?, String?, String)]
        {
            #expect {
                try SchedulerOptions.retention(
                    keepLogs: age, logBudget: budget, keepManifests: nil, manifestBudget: nil)
            } throws: { ($0 as? Problem)?.field == field }
        }
    }
}
