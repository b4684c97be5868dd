// Traces: what is read and what is refused, and that two policies which share no code agree where they must.
import Simulation
import Testing

@Suite struct WorkloadTests {
    /// Four jobs on ten processors: a wide one, one that must wait for it, a short one that may pass, a long one that
    /// may not.
    private static let small = """
        ; Version: 2.2
        ; MaxProcs: 10
        1 0 -1 100 8 -1 -1 8 100 -1 1 1 -1 -1 -1 -1 -1 -1
        2 10 -1 50 10 -1 -1 10 50 -1 1 2 -1 -1 -1 -1 -1 -1
        3 20 -1 30 2 -1 -1 2 40 -1 1 3 -1 -1 -1 -1 -1 -1
        4 21 -1 200 2 -1 -1 2 200 -1 1 3 -1 -1 -1 -1 -1 -1
        5 30 -1 -1 0 -1 -1 2 200 -1 5 3 -1 -1 -1 -1 -1 -1
        """

    @Test("a trace is read, and reads again as it is written")
    func reads() throws {
        let workload = try Workload(swf: Self.small.utf8, name: "t")
        #expect(workload.jobs.count == 4 && workload.processors == 10 && workload.skipped == 1)
        let again = try Workload(swf: workload.swf.utf8, name: "t")
        #expect(again.jobs == workload.jobs && again.processors == workload.processors)
    }

    @Test(
        "what cannot be read is refused with its line and field",
        arguments: [
            ("1 0 -1 x 8 -1 -1 8 100 -1 1 1 -1 -1 -1 -1 -1 -1", "t:1: field 4 (run time): 'x'"),
            ("; a\n1 0 -1 5 8", "t:2: has 5 fields"),
            ("1 -7 -1 5 8 -1 -1 8 100 -1 1 1 -1 -1 -1 -1 -1 -1", "t:1: field 2 (submit time)"),
            ("1 0 -1 99999999999999999999 8 -1 -1 8 100 -1 1 1 -1 -1 -1 -1 -1 -1", "t:1: field 4 (run time)"),
            ("; MaxProcs: many", "t:1: MaxProcs: 'many'"),
            ("; MaxProcs: 4\n1 0 -1 5 8 -1 -1 8 9 -1 1 1 -1 -1 -1 -1 -1 -1", "the machine has 4"),
            ("; nothing", "has no job that ran"), (String(repeating: "1", count: 1001), "longer than 1000 bytes"),
        ])
    func refuses(text: String, sentence: String) {
        let error = #expect(throws: WorkloadError.self) { try Workload(swf: text.utf8, name: "t") }
        #expect(error?.description.contains(sentence) == true, "\(error?.description ?? "")")
    }

    @Test("first come, first served lets nobody pass; EASY lets pass whom it costs the first one nothing")
    func references() throws {
        let workload = try Workload(swf: Self.small.utf8, name: "t")
        let fcfs = try workload.replay(under: .fcfs)
        // Job 2 starts at 100; 3 and 4 after it, at 150.
        #expect(fcfs.meanWait == (0 + 90 + 130 + 129) / 4.0 && fcfs.medianWait == 129)
        let easy = try workload.replay(under: .easy)
        // Job 3 passes at once; 4 would delay 2.
        #expect(easy.meanWait == (0 + 90 + 0 + 129) / 4.0 && easy.utilisation == fcfs.utilisation)
    }

    @Test("the core in order of submission does as EASY does")
    func coreIsEASY() throws {
        let workload = try Workload(swf: Self.small.utf8, name: "t")
        let (easy, core) = (try workload.replay(under: .easy), try workload.replay(under: .coreInOrder))
        #expect(core.meanWait == easy.meanWait && core.boundedSlowdown == easy.boundedSlowdown)
    }

    @Test("a generated workload has the load that was asked for; backfill helps", arguments: [1, 2, 3] as [UInt64])
    func generated(seed: UInt64) throws {
        let workload = Workload.generate(jobs: 400, processors: 64, load: 900, seed: seed)
        #expect(workload == .generate(jobs: 400, processors: 64, load: 900, seed: seed))
        #expect(workload.jobs.allSatisfy { (1...64).contains($0.processors) && $0.runTime <= $0.requestedTime })
        let work = workload.jobs.reduce(0) { $0 + $1.processors * $1.runTime }
        let offered = Double(work) / Double(64 * (workload.jobs.last?.submitted ?? 1))
        #expect((0.88...0.92).contains(offered), "\(offered)")
        let waits = try ReplayPolicy.allCases.map { try workload.replay(under: $0).meanWait }
        #expect(waits.dropFirst().allSatisfy { $0 <= waits[0] }, "\(waits)")
    }
}
