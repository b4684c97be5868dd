// Goal: a cron expression names the times that a person reads in it, over leap years and changes of the clock; and
// what is due follows from the schedule, how far it was looked at, and the time. Method: tables of times.
import JobModel
import Testing

/// Clocks an hour ahead in summer, from the last Sunday of March at 01:00 UTC to that of October, as in Berlin in 2026.
private let summer = CivilZone { seconds in
    (1_774_746_000..<1_792_890_000).contains(seconds) ? 7200 : 3600
}

private func time(_ text: String) -> Timestamp { Timestamp(text)! }

private func times(_ cron: String, after: String, _ count: Int, in zone: CivilZone = .utc) -> [String] {
    var times: [String] = []
    var last = time(after)
    while times.count < count, let next = CronExpression(cron)!.next(after: last, in: zone) {
        times.append(String(next.description.dropLast(8)))
        last = next
    }
    return times
}

@Suite struct CronTests {
    @Test(
        "the next times of an expression",
        arguments: [
            ("0 0 1 1 *", "2026-01-01T00:00:00Z", ["2027-01-01T00:00", "2028-01-01T00:00"]),
            ("@yearly", "2025-12-31T23:59:59Z", ["2026-01-01T00:00"]),
            ("0 0 29 2 *", "2026-01-01T00:00:00Z", ["2028-02-29T00:00", "2032-02-29T00:00"]),
            ("0 0 29 2 *", "2096-03-01T00:00:00Z", ["2104-02-29T00:00"]),
            ("0 0 31 * *", "2026-01-31T00:00:00Z", ["2026-03-31T00:00", "2026-05-31T00:00"]),
            ("*/15 9-10 * * mon-fri", "2026-11-27T10:30:00Z", ["2026-11-27T10:45", "2026-11-30T09:00"]),
            ("30 6 1,15 * *", "2026-02-01T06:30:00Z", ["2026-02-15T06:30", "2026-03-01T06:30"]),
            ("0 12 13 * 5", "2026-11-12T13:00:00Z", ["2026-11-13T12:00", "2026-11-20T12:00", "2026-11-27T12:00"]),
            ("0 0 * * 7", "2026-11-26T00:00:00Z", ["2026-11-29T00:00"]),
            ("0 0 * * 0", "2026-11-26T00:00:00Z", ["2026-11-29T00:00"]),
            ("5/20 * * * *", "2026-11-26T10:05:00Z", ["2026-11-26T10:25", "2026-11-26T10:45", "2026-11-26T11:05"]),
            ("59 23 31 DEC *", "2026-11-26T10:05:00Z", ["2026-12-31T23:59"]),
            ("* * * * *", "1969-12-31T23:58:30Z", ["1969-12-31T23:59", "1970-01-01T00:00"]),
        ])
    func next(cron: String, after: String, expected: [String]) {
        #expect(times(cron, after: after, expected.count) == expected)
    }

    @Test("a time that a day does not have moves on by the hour that is left out, and comes once")
    func clocksSetForward() {
        #expect(
            times("30 2 * * *", after: "2026-03-28T00:00:00Z", 3, in: summer)
                == ["2026-03-28T01:30", "2026-03-29T01:30", "2026-03-30T00:30"])
        #expect(
            times("30 * * * *", after: "2026-03-29T00:00:00Z", 3, in: summer)
                == ["2026-03-29T00:30", "2026-03-29T01:30", "2026-03-29T02:30"])
    }

    @Test("a time that a day has twice comes once, the first time")
    func clocksSetBack() {
        #expect(
            times("30 2 * * *", after: "2026-10-24T12:00:00Z", 2, in: summer)
                == ["2026-10-25T00:30", "2026-10-26T01:30"])
        #expect(
            times("0 * * * *", after: "2026-10-25T00:00:00Z", 2, in: summer)
                == ["2026-10-25T02:00", "2026-10-25T03:00"])
    }

    @Test(
        "what is no expression, or never comes, is refused",
        arguments: [
            "", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *", "* * * 13 *",
            "* * * * 8", "a * * * *", "1-0 * * * *", "*/0 * * * *", "*/x * * * *", "1,, * * * *", "-1 * * * *",
            "1- * * * *", "0 0 30 2 *", "0 0 31 4,6 *", "@never", "*/100 * * * *", "1/+5 * * * *",
        ])
    func refused(text: String) {
        #expect(CronExpression(text) == nil)
    }

    private func due(_ catchUp: CatchUpPolicy, _ cron: String, after: String, at now: String) -> [String] {
        ScheduleDecision.due(CronExpression(cron)!, in: .utc, after: time(after), catchUp, at: time(now)).times.map {
            String($0.description.dropLast(8))
        }
    }

    @Test("what is due: on time, late, missed, after a clock that jumped")
    func decisions() {
        for policy in CatchUpPolicy.allCases {
            #expect(due(policy, "0 6 * * *", after: "2026-11-25T12:00:00Z", at: "2026-11-26T05:59:59Z") == [])
            #expect(
                due(policy, "0 6 * * *", after: "2026-11-26T05:59:59Z", at: "2026-11-26T06:00:00Z") == [
                    "2026-11-26T06:00"
                ])
            #expect(due(policy, "0 6 * * *", after: "2026-11-26T06:00:00Z", at: "2026-11-26T06:00:00Z") == [])
            // The clock was set back by a day: nothing comes twice.
            #expect(due(policy, "0 6 * * *", after: "2026-11-26T06:00:10Z", at: "2026-11-25T06:00:10Z") == [])
        }
        let (long, late) = ("2026-11-20T12:00:00Z", "2026-11-23T12:00:00Z")
        #expect(due(.none, "0 6 * * *", after: long, at: late) == [])
        #expect(due(.last, "0 6 * * *", after: long, at: late) == ["2026-11-23T06:00"])
        #expect(
            due(.all, "0 6 * * *", after: long, at: late) == [
                "2026-11-21T06:00", "2026-11-22T06:00", "2026-11-23T06:00",
            ])
        #expect(due(.last, "* * * * *", after: "2020-01-01T00:00:00Z", at: late) == ["2026-11-23T12:00"])
        #expect(due(.last, "0 0 29 2 *", after: "2019-01-01T00:00:00Z", at: late) == ["2024-02-29T00:00"])
    }

    @Test("what was missed in great number follows in parts, and nothing is left out or comes twice")
    func inParts() {
        let cron = CronExpression("*/5 * * * *")!
        var (handled, times) = (time("2026-11-26T00:00:00Z"), [Timestamp]())
        let now = time("2026-11-26T06:02:00Z")
        while handled < now {
            let due = ScheduleDecision.due(cron, in: .utc, after: handled, .all, at: now)
            times += due.times
            handled = due.handledUntil
        }
        #expect(times.count == 72 && Set(times).count == 72)
    }

    @Test("bindings are filled in with the time that was due, in the schedule's zone")
    func templates() {
        let due = time("2026-12-31T23:30:00Z")
        #expect(ScheduleTemplate.filled("weather/${year}/${job.id}", at: due, in: .utc) == "weather/2026/${job.id}")
        #expect(
            ScheduleTemplate.filled("w/${date}T${hour}${minute}-${month}-${day}", at: due, in: summer)
                == "w/2027-01-01T0030-01-01")
    }
}
