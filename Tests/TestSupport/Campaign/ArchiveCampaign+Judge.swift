// After a kill in the archive's work: what must hold at once, and what must hold once the work was repeated.
import Foundation
import JobModel
import SchedulerClient

extension ArchiveCampaign {
    /// The scheduler is up again after the work on `image` was interrupted.
    func judge(_ image: StackImage, _ scene: inout Scene) async throws {
        try await verify(&scene, "after the restart")
        for (earlier, _) in scene.pinned { try await pull(earlier, &scene) }
        try await repeated(image, scene)
        let job = try await submit(image, reference(image, scene), scene.client)
        try await expect(job, of: image, &scene)
        scene.pinned.append((image, job))
        try await pull(image, &scene)
        try await verify(&scene, "after the repetition")
    }

    /// The work once more, which must succeed.
    private func repeated(_ image: StackImage, _ scene: Scene) async throws {
        switch work {
        // The puller went on by itself.
        case .pull: break
        case .push: try await push(image, to: target(image, scene), scene.token, mustSucceed: true)
        case .gc:
            // The interrupted push first: what it needs may have been collected.
            try await push(image, to: target(image, scene), scene.token, mustSucceed: true)
            _ = try await scene.client.collectArchive(dryRun: false)
            let left = scene.cluster.strays(named: image.name)
            guard left == 0 else { throw ProcessFailure(description: "\(left) blobs that nobody needs were kept") }
            if let dropped = scene.dropped,
                let kept = [dropped.manifest, dropped.configuration, dropped.layers[1]].first(where: {
                    scene.cluster.hasBlob($0.digest)
                })
            {
                throw ProcessFailure(description: "\(kept.digest) of a deleted image was kept")
            }
        }
    }

    private func verify(_ scene: inout Scene, _ when: String) async throws {
        var cursor: Digest?
        repeat {
            let result = try await scene.client.verifyArchive(after: cursor)
            scene.report.violations += result.damaged.map {
                "\($0.digest) is \($0.problem) \(when) and hurts \($0.configurations)"
            }
            cursor = result.next
        } while cursor != nil
    }

    /// Everything that the image needs, hashed.
    private func pull(_ image: StackImage, _ scene: inout Scene) async throws {
        for blob in image.blobs {
            do throws(Problem) {
                let bytes = try await scene.client.archivedBlob(blob.digest, limit: 64 << 20)
                scene.report.served += 1
                if Digest(of: bytes) != blob.digest {
                    scene.report.violations.append("\(bytes.count) bytes were served as \(blob.digest)")
                }
            } catch {
                scene.report.violations.append("\(blob.digest) of \(image.name), which is pinned: \(error)")
            }
        }
    }

    /// Waits for the job, which must print what the image was made with.
    private func expect(_ id: JobID, of image: StackImage, _ scene: inout Scene) async throws {
        let client = scene.client
        try await eventually("job \(id) of \(image.name) ends") {
            try await client.job(id).state.value?.isTerminal == true
        }
        guard let attempt = try await client.allAttempts(of: id).last, attempt.state == .known(.succeeded) else {
            scene.report.violations.append("job \(id) of \(image.name) did not succeed: \(try await client.job(id))")
            return
        }
        let log = try await client.log(of: attempt.id, .stdout, offset: 0)
        let printed = String(decoding: log.bytes, as: UTF8.self).trimmingCharacters(in: .newlines)
        if printed != image.output {
            scene.report.violations.append("job \(id) of \(image.name) printed \(printed), not \(image.output)")
        }
    }

    /// Every configuration that was pinned runs again, on workers that have nothing unpacked.
    func rerunAll(_ scene: inout Scene) async throws {
        try await scene.cluster.forgetImages()
        for (image, job) in scene.pinned {
            let request = RerunRequest(source: "\(job)")
            let again = try await scene.client.rerun(request, idempotencyKey: "rerun-\(seed)-\(job)")
            try await expect(again.id, of: image, &scene)
            scene.report.reruns += 1
        }
    }
}

// MARK: The archive's files

extension CampaignCluster {
    private var archive: String { schedulerData + "/archive" }

    private func path(of digest: Digest) -> String {
        "\(archive)/blobs/sha256/\(digest.hex.prefix(2))/\(digest.hex)"
    }

    func hasBlob(_ digest: Digest) -> Bool { access(path(of: digest), F_OK) == 0 }

    /// A blob is on its way in, or was when the scheduler was killed.
    var isReceiving: Bool { !HostCensus.folder(archive + "/incoming").isEmpty }

    /// What an earlier life of the scheduler left: its files on their way in bear its process id.
    func strayFiles() throws -> [String] {
        guard let now = process(.scheduler) else { throw ProcessFailure(description: "the scheduler does not run") }
        let incoming = ["archive/incoming", "trees/incoming"].flatMap { folder in
            HostCensus.folder("\(schedulerData)/\(folder)").filter { !$0.hasPrefix("\(now)-") }
                .map { "\(folder)/\($0) is left after a restart" }
        }
        return incoming + HostCensus.folder(schedulerData + "/spool").map { "spool/\($0) is left after a restart" }
    }

    private func stray(_ number: Int, _ name: String) -> Data { Data("stray \(number) of \(name)".utf8) }

    /// Blobs that clients brought and never named in a manifest.
    func addStrays(_ count: Int, named name: String) throws {
        for number in 0..<count {
            let content = stray(number, name)
            let file = URL(filePath: path(of: Digest(of: content)))
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try content.write(to: file)
        }
    }

    /// How many of them are there.
    func strays(named name: String) -> Int {
        (0..<ArchiveCampaign.strays).count { hasBlob(Digest(of: stray($0, name))) }
    }

    /// As if nobody had touched anything for hours: nothing is spared because it is new.
    func ageBlobs() throws {
        let long = Date(timeIntervalSinceNow: -7_200)
        for folder in HostCensus.folder(archive + "/blobs/sha256") {
            for name in HostCensus.folder("\(archive)/blobs/sha256/\(folder)") {
                try FileManager.default.setAttributes(
                    [.modificationDate: long], ofItemAtPath: "\(archive)/blobs/sha256/\(folder)/\(name)")
            }
        }
    }
}
