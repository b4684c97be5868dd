// jobctl top: the cluster, drawn again and again: what is taken, who waits, what runs.
import ArgumentParser
import Foundation
import JobModel
import SchedulerClient

struct Top: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "top", abstract: "Watch the cluster: workers, queues and what runs.",
        discussion: """
            Drawn anew every two seconds; end with Ctrl-C. Where standard output is no
            terminal, or with '-o json', it is printed once.
            """)

    @Option(help: "Seconds between two pictures, 1 to 3600.") var interval = 2
    @Option(help: "How many workers and jobs are shown, 1 to 1000.", transform: Given.limit) var lines = 15
    @Flag(help: "Print one picture and end.") var once = false
    @OptionGroup var global: GlobalOptions

    func validate() throws {
        guard (1...3600).contains(interval) else { throw ValidationError("--interval: use 1 to 3600") }
    }

    func run() async throws {
        let client = try global.client()
        while true {
            let picture = try await picture(client)
            if global.output == .json { return try Render.json(picture) }
            guard Render.isTerminal, !once else { return print(picture.text) }
            // Home, the picture with each line's rest cleared, and what was below it.
            let lines = picture.text.split(separator: "\n", omittingEmptySubsequences: false)
            print("\u{1b}[H" + lines.joined(separator: "\u{1b}[K\n") + "\u{1b}[K\u{1b}[J")
            fflush(nil)
            try await Task.sleep(for: .seconds(interval))
        }
    }

    private func picture(_ client: SchedulerClient) async throws -> TopPicture {
        async let status = client.status()
        async let running = client.jobs(state: JobState.running.rawValue, limit: lines)
        async let accounts = client.accounts(.queue)
        let workers = try await allWorkers(client)
        return TopPicture(
            status: try await status, workers: workers, queues: try await accounts.accounts,
            running: try await running.jobs, lines: lines)
    }

    private func allWorkers(_ client: SchedulerClient) async throws -> [WorkerDocument] {
        var page = try await client.workers(limit: 1000)
        var workers = page.workers
        while let next = page.next {
            page = try await client.workers(limit: 1000, cursor: next)
            workers += page.workers
        }
        return workers
    }
}

/// One picture.
struct TopPicture: Encodable {
    let status: StatusDocument
    let workers: [WorkerDocument]
    let queues: [AccountDocument]
    let running: [JobDocument]
    /// How many workers and jobs the text shows.
    let lines: Int

    private enum CodingKeys: String, CodingKey { case status, workers, queues, running }

    var text: String {
        let tasks = status.tasks
        let states = status.workers.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }.joined(separator: ", ")
        let taken = CPUAmount(thousandths: status.capacity.cpus.thousandths - status.free.cpus.thousandths)
        let head = [
            "tasks    \(tasks.running) running, \(tasks.pending) pending, \(tasks.failed) failed",
            "workers  \(states.isEmpty ? "none" : states)",
            "cpus     \(Self.bar(status.capacity.cpus.thousandths, status.free.cpus.thousandths))  "
                + "\(taken) of \(status.capacity.cpus)",
            "memory   \(Self.bar(status.capacity.memory.bytes, status.free.memory.bytes))  "
                + "\(Self.taken(status.capacity, status.free)) of \(status.capacity.memory)",
        ]
        return (head + section(queueTable) + section(workerTable) + section(jobTable)).joined(separator: "\n")
    }

    private func section(_ table: String?) -> [String] { table.map { ["", $0] } ?? [] }

    private var queueTable: String? {
        let busy = queues.filter { $0.pending + $0.running > 0 }
        guard !busy.isEmpty else { return nil }
        return Render.text(
            header: ["QUEUE", "PENDING", "RUNNING", "CPUS"],
            busy.map { [$0.name, "\($0.pending)", "\($0.running)", "\($0.cpus)"] })
    }

    /// Those with the most in use first.
    private var workerTable: String? {
        guard !workers.isEmpty else { return nil }
        func used(_ worker: WorkerDocument) -> Int64 {
            worker.capacity.cpus.thousandths - worker.free.cpus.thousandths
        }
        let shown = workers.sorted { (-used($0), $0.name) < (-used($1), $1.name) }.prefix(lines)
        let table = Render.text(
            header: ["WORKER", "STATE", "CPUS", "", "MEMORY", "ATTEMPTS"],
            shown.map { worker in
                [
                    worker.name, worker.state.description,
                    Self.bar(worker.capacity.cpus.thousandths, worker.free.cpus.thousandths),
                    "\(CPUAmount(thousandths: used(worker))) of \(worker.capacity.cpus)",
                    "\(Self.taken(worker.capacity, worker.free)) of \(worker.capacity.memory)",
                    "\(worker.attempts.count)",
                ]
            })
        return table + (workers.count > lines ? "\nand \(workers.count - lines) more" : "")
    }

    private var jobTable: String? {
        guard !running.isEmpty else { return nil }
        return Render.text(
            header: ["JOB", "NAME", "OWNER", "QUEUE", "RUNNING", "DONE"],
            running.map { job in
                let tasks = job.tasks
                return [
                    "\(job.id)", job.name, job.owner, job.queue, "\(tasks.running)",
                    "\(Self.bar(tasks.total, tasks.total - tasks.finished))  \(tasks.finished) of \(tasks.total)",
                ]
            })
    }

    private static func taken(_ capacity: WorkerResources, _ free: WorkerResources) -> ByteCount {
        ByteCount(bytes: max(0, capacity.memory.bytes - free.memory.bytes))
    }

    private static func bar(_ all: Int64, _ free: Int64) -> String {
        let width: Int64 = 20
        let filled = all > 0 ? Int((Double(max(0, all - free)) / Double(all) * Double(width)).rounded()) : 0
        let full = min(max(0, filled), Int(width))
        return "[" + String(repeating: "#", count: full) + String(repeating: ".", count: Int(width) - full) + "]"
    }
}
