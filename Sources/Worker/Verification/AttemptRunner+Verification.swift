// What is different about an attempt that verifies another: it starts only if its inputs are what the other's were, and
// it publishes nothing. Where an output is not what it was, the two contents lie on the same volume here and nowhere
// else, so it is here that they are compared, while the new one is still staged.
import CLinux
import Foundation
import Glibc
import JobModel

extension AttemptRunner {
    /// The attempt whose results this one verifies; nil if it verifies none. Waits while the scheduler is away.
    func original() async throws(AttemptFailure) -> AttemptDocument? {
        guard let job = record.job.record.verifies else { return nil }
        let task = attempt.task.index
        var (newest, cursor): (AttemptDocument?, String?) = (nil, nil)
        repeat {
            let page = try await asked { [cursor] (scheduler) async throws(Problem) in
                try await scheduler.attempts(of: job, task: task, limit: 1000, cursor: cursor)
            }
            newest = page.attempts.last { $0.state == .known(.succeeded) } ?? newest
            cursor = page.next
        } while cursor != nil
        guard let newest else {
            throw AttemptFailure(reason: .volumeError, message: "the task \(job).\(task) has no result to compare with")
        }
        return newest
    }

    /// - Throws: ``AttemptFailure`` that names the input that is not what it was.
    func check(_ inputs: [SlotName: TreeFingerprint], against original: AttemptDocument) throws(AttemptFailure) {
        for (slot, tree) in inputs.sorted(by: { $0.key < $1.key }) {
            let before = original.inputs[slot.rawValue]?.treeDigest
            guard before != tree.treeDigest else { continue }
            throw AttemptFailure(
                reason: .volumeError,
                message: "the input '\(slot)' changed since attempt \(original.id): it was "
                    + "\(before.map { "\($0)" } ?? "not fingerprinted"), and is \(tree.treeDigest.map { "\($0)" } ?? "unknown")"
            )
        }
    }

    /// Compares the contents of what is not as it was, and tells the scheduler.
    func compare(_ outputs: [SlotName: TreeFingerprint], with original: AttemptDocument) async throws(AttemptFailure) {
        var comparison = OutputComparison(with: original.id, files: [], note: nil)
        for (slot, tree) in outputs.sorted(by: { $0.key < $1.key }) {
            guard let before = original.outputs[slot.rawValue]?.treeDigest, before != tree.treeDigest else { continue }
            do throws(VolumeError) {
                comparison.files += try await files(
                    of: slot, before, against: original.id, room: comparison.files.count)
            } catch {
                comparison.note = "slot '\(slot)': \(error)"
            }
        }
        let (worker, attempt) = (services.worker, self.attempt)
        guard !comparison.files.isEmpty || comparison.note != nil else { return }
        do throws(AttemptFailure) {
            try await asked { [comparison] (scheduler) async throws(Problem) in
                try await scheduler.keepComparison(worker: worker, attempt: attempt, comparison)
            }
        } catch {
            // The digests stand without it.
            if isSilent { throw error }
        }
    }

    /// The files of one slot whose contents differ, with where and probably why.
    private func files(of slot: SlotName, _ before: Digest, against original: AttemptID, room taken: Int)
        async throws(VolumeError) -> [OutputComparison.File]
    {
        let job = record.job.record
        let (places, earlier): (Binding, [UInt8])
        do {
            places = try job.location(of: slot, for: original.task)
            earlier = try await asked { (scheduler) async throws(Problem) in try await scheduler.tree(before) }
        } catch let mistake as Template.Mistake {
            throw VolumeError(mistake.message)
        } catch {
            throw VolumeError(
                "the list of files of \(original) is not kept: \((error as? AttemptFailure)?.message ?? "")")
        }
        guard Digest(of: earlier) == before else { throw VolumeError("the list of files of \(original) is damaged") }
        let work = OutputReading(
            slot: slot, list: TreeLists(folder: logFiles.folder).path(slot), earlier: earlier,
            runs: RunNames(first: original, second: attempt), owner: job.owner, binding: places, room: taken)
        let (volumes, attempt) = (services.volumes, self.attempt)
        let given: CancellationFlag = CancellationFlag()
        let result = await withTaskCancellationHandler {
            await services.work.result { () throws(VolumeError) in try work.files(volumes, attempt, given) }
        } onCancel: {
            given.set()
        }
        return try result.get()
    }

    /// A call to the scheduler, tried again while it is away.
    private func asked<Answer: Sendable>(
        _ call: @Sendable (any SchedulerConnection) async throws(Problem) -> Answer
    ) async throws(AttemptFailure) -> Answer {
        var milliseconds = 200
        while true {
            do throws(Problem) {
                return try await call(services.scheduler)
            } catch {
                guard error.retryable || error.kind == .unavailable else {
                    throw AttemptFailure(reason: .engineError, message: "the scheduler refused: \(error)")
                }
            }
            if record.progress.exit == nil { try checkStop() }
            try await pause(milliseconds: milliseconds)
            milliseconds = min(milliseconds * 2, 5_000)
        }
    }
}

/// The contents of one slot, now and earlier. Blocks.
private struct OutputReading: Sendable {
    let slot: SlotName
    /// The new tree's list, a file.
    let list: String
    /// The earlier one's.
    let earlier: [UInt8]
    let runs: RunNames
    let owner: Identity
    /// Where the earlier output was published.
    let binding: Binding
    /// Files that were compared already.
    let room: Int

    func files(_ volumes: VolumeAccess, _ attempt: AttemptID, _ cancelled: CancellationFlag) throws(VolumeError)
        -> [OutputComparison.File]
    {
        guard let new = FileManager.default.contents(atPath: list) else {
            throw VolumeError("the list of its files was too long to be kept")
        }
        var changed: [TreeEntry] = []
        do {
            _ = try TreeComparison.compare(TreeManifestReader(earlier), TreeManifestReader(Array(new))) { difference in
                guard difference.change == .content, let first = difference.first, first.kind == .file,
                    changed.count + room < OutputComparison.mostFiles
                else { return }
                changed.append(first)
            }
        } catch {
            throw VolumeError("the lists of files cannot be compared: \(error)")
        }
        let folders = try volumes.outputs(slot, published: binding, of: attempt, as: owner)
        var found: [OutputComparison.File] = []
        for entry in changed {
            var file = OutputComparison.File(slot: slot, path: entry.name, firstDifference: nil, cause: nil)
            if let pair = try pair(entry, folders, cancelled), pair.firstDigest == entry.digest {
                file.firstDifference = pair.offset
                file.cause = DifferenceCause(of: pair, runs: runs)
            }
            found.append(file)
        }
        return found
    }

    /// Nil if one of them cannot be read any more: it is the submitter's, who may have taken it away.
    private func pair(_ entry: TreeEntry, _ folders: borrowing OutputFolders, _ cancelled: CancellationFlag)
        throws(VolumeError) -> ContentPair?
    {
        let path = entry.path.map { CChar(bitPattern: $0) } + [0]
        let first = jc_open_beneath(folders.published.number, path, owner.uid, owner.gid, 0, 1)
        guard first >= 0 else { return nil }
        let before = Descriptor(owning: first)
        let second = jc_open_strictly(folders.staged.number, path)
        guard second >= 0 else { return nil }
        let after = Descriptor(owning: second)
        for file in [first, second] {
            var information = stat()
            guard fstat(file, &information) == 0, information.st_mode & S_IFMT == S_IFREG else { return nil }
        }
        return try ContentPair(before, after) { cancelled.isSet }
    }
}

/// The folders of one output: what was published earlier, and what is staged now.
struct OutputFolders: ~Copyable {
    let published: Descriptor
    let staged: Descriptor
}

extension VolumeAccess {
    /// Opens both. The earlier one as the submitter, who need not be the one who published it.
    func outputs(_ slot: SlotName, published binding: Binding, of attempt: AttemptID, as user: Identity)
        throws(VolumeError) -> OutputFolders
    {
        let (root, path, _) = try table.resolve(binding, slot)
        let rootFolder = try Self.open(root: root)
        let what = "the earlier output at \(binding)"
        let published = try Descriptor(jc_open_beneath(rootFolder.number, path, user.uid, user.gid, 0, 0), what)
        let staging = try stagingFolder(rootFolder, attempt, user, what: what)
        let staged = try Descriptor(
            jc_open_beneath(staging.number, slot.rawValue, user.uid, user.gid, 0, 0), "the staged output")
        return OutputFolders(published: published, staged: staged)
    }
}
