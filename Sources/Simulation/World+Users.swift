// What users do: they submit under a key until they are answered, cancel, hold, release and drain. When faults have
// stopped they undo everything that could keep a job from ending.
import JobModel
import Scheduler
import SchedulingCore

extension World {
    static let images = ["stack-a", "stack-b", "stack-c"].map { Digest(of: $0) }

    mutating func planUsers() {
        for index in 0..<Int(options.jobs) {
            submissions.append(draw(index))
            plan(.userSubmits(index), in: dice.roll(0...60_000))
        }
        drawPipelines()
        plan(.userActs, in: dice.roll(0...10_000))
        for image in Self.images { plan(.imageArrives(image), in: dice.roll(0...90_000)) }
    }

    private mutating func draw(_ index: Int) -> Submission {
        let name = "job-\(index + 1)"
        let image = PinnedImage(digest: dice.pick(Self.images), platform: nil)
        var resources = Resources(
            cpus: CPUAmount(thousandths: dice.pick([500, 1_000, 2_000])), memory: ByteCount(bytes: 256 << 20), gpus: 0)
        let output = SlotName(unchecked: "output")
        let slots = dice.chance(perMille: 400) ? [output: Slot(path: "/out", mode: .out)] : [:]
        var timeLimit: TimeSpan?
        let (placement, queue) = drawPlacement(&resources, &timeLimit)
        let configuration = Configuration(
            image: image, command: ["run", "\(dice.roll(1...4))"], environment: [:], workingDirectory: nil, files: [:],
            slots: slots,
            network: .none, resources: resources)
        let content = Array(
            "\(image.digest) \(configuration.command) \(resources.cpus) \(slots.count) \(resources.custom) \(resources.disk)"
                .utf8
        )
        let owner = UserName(unchecked: dice.pick(["ada", "ben"]))
        let shape: TaskShape = dice.chance(perMille: 500) ? .single : .array(first: 0, last: dice.roll(0...12))
        let record = JobRecord(
            name: name, owner: Identity(name: owner, uid: 1000, gid: 1000), queue: queue,
            priority: Int(dice.roll(-2...2)),
            configuration: Digest(of: content), configurationVersion: nil, imageReference: "lab/stack:1", image: image,
            resources: resources, slots: slots,
            bindings: slots.isEmpty
                ? [:] : [output: Binding(root: .volume(VolumeName(unchecked: "results")), path: "")],
            parameters: [:], shape: shape, labels: [:], constraints: [], retries: Int(dice.roll(0...3)),
            timeLimit: timeLimit, grace: .seconds(10), fingerprint: .none, rerunOf: nil, placement: placement)
        let key = IdempotencyKey(user: owner, key: name, requestDigest: Digest(of: name))
        let accepted = AcceptedSubmission(
            record: record, configuration: configuration, configurationJSON: content,
            name: ConfigurationName(unchecked: dice.pick(["alpha", "beta"])), imageIsStored: dice.chance(perMille: 600),
            hold: dice.chance(perMille: 100), idempotency: key)
        return Submission(name: name, accepted: accepted)
    }

    mutating func userSubmits(_ index: Int) {
        guard submissions[index].acknowledged == nil, !submissions[index].isSentWithAnother else { return }
        if !submissions[index].wasSent { decide(index) }
        if !isLost(), stepper != nil {
            let request = request(index)
            let isRepeated = submissions[index].wasSent
            submissions[index].wasSent = true
            for envelope in sabotage.asked(request, isRepeated: isRepeated) {
                post(envelope, from: .submission(index))
            }
            // An impatient user sends it twice.
            if dice.chance(perMille: 50) { post(request, from: .submission(index)) }
        }
        plan(.userSubmits(index), in: dice.roll(500...5_000))
    }

    /// What is sent stays what it is from then on.
    private mutating func decide(_ index: Int) {
        let members = sentTogether(with: index)
        for member in members {
            link(member)
            makeGang(member)
            leaveOpen(member)
            setDeadline(member)
        }
        linkMembers(of: index)
        truth.submits(submissions[index], with: members.map { submissions[$0].accepted.record })
    }

    mutating func userActs() {
        guard !isHealing else { return undo() }
        plan(.userActs, in: dice.roll(1_000...10_000))
        changeOpenArrays()
        guard dice.chance(perMille: options.commands) else { return }
        let worker = dice.pick(agents).worker.name
        let known = submissions.compactMap(\.acknowledged)
        if !known.isEmpty, linkDice.chance(perMille: options.dependencies / 3) {
            let job = linkDice.pick(known)
            truth.requeued.insert(job)
            post(.event(.requeueRequested(job, task: nil)), from: .nobody)
        }
        if !known.isEmpty, limitDice.chance(perMille: options.commands) {
            let limit = TimeSpan.seconds(limitDice.roll(1...600))
            post(.event(.timeLimitRequested(limitDice.pick(known), limit, from: nil)), from: .nobody)
        }
        switch dice.roll(0...9) {
        case 0: post(.event(.drainRequested(worker)), from: .nobody)
        case 1, 2: post(.event(.resumeRequested(worker)), from: .nobody)
        case 3...9 where known.isEmpty: break
        case 3, 4:
            let job = dice.pick(known)
            post(.event(.cancelRequested(job)), from: .cancel(job))
        case 5, 6: post(.event(.holdRequested(dice.pick(known))), from: .nobody)
        default: post(.event(.releaseRequested(dice.pick(known))), from: .nobody)
        }
    }

    private mutating func undo() {
        plan(.userActs, in: 5_000)
        guard stepper != nil else { return }
        for image in Self.images { post(.event(.imageStored(image)), from: .nobody) }
        closeArrays()
        for agent in agents { post(.event(.resumeRequested(agent.worker.name)), from: .nobody) }
        for job in submissions.compactMap(\.acknowledged) { post(.event(.releaseRequested(job)), from: .nobody) }
    }
}
