// Thousands of agents on one thread: each has a connection of its own, calls as the real agent does, holds what it was
// told to start, and comes back after a lost connection with the real agent's pauses.
import CLinux
import Foundation
import JobModel

final class AgentFleet {
    private enum Phase {
        case pausing(until: ContinuousClock.Instant)
        case sending
        case waiting
    }

    private struct Agent {
        let name: String
        var sequence: Int64 = 0
        var isRegistered = false
        var proof = ""
        var live: [AttemptID] = []
        var socket: Int32 = -1
        var phase = Phase.pausing(until: .now)
        /// In milliseconds; doubles with each failure.
        var pause = AgentFleet.firstPause
        var outgoing: [UInt8] = []
        var answer = AnswerReader()
        /// Calls that were answered since the last loss of the connection.
        var answers = 0
    }

    private var agents: [Agent]
    private let port: Int
    private let token: String
    /// Says whose sockets are ready: the load must cost less than what it is put on.
    private let poller = epoll_create1(Int32(EPOLL_CLOEXEC))
    private var ready = [epoll_event](repeating: epoll_event(), count: 512)
    private var buffer = [UInt8](repeating: 0, count: 64 << 10)
    private var dice = SystemRandomNumberGenerator()
    private static let cpus = 4
    /// The real agent's.
    private static let firstPause = 400

    init(count: Int, port: Int, token: String) throws {
        agents = (0..<count).map { Agent(name: "node-\($0)") }
        self.port = port
        self.token = token
        guard poller >= 0 else { throw BenchFailure("epoll: \(String(cString: strerror(errno)))") }
    }

    deinit {
        close(poller)
        for agent in agents where agent.socket >= 0 { close(agent.socket) }
    }

    /// Agents of which a call was answered since they last lost their connection.
    private(set) var back = 0
    /// Attempts that they hold together.
    private(set) var live = 0

    /// The agents serve until `isDone` says so.
    func serve(for seconds: Double, until isDone: (AgentFleet) -> Bool) throws {
        let end = ContinuousClock.now + .seconds(seconds)
        var lastLook = ContinuousClock.now - .seconds(1)
        while !isDone(self) {
            let now = ContinuousClock.now
            guard now < end else { throw BenchFailure("\(back) of \(agents.count) agents are back after \(seconds) s") }
            if now - lastLook > .milliseconds(10) {
                lastLook = now
                for place in agents.indices {
                    if case .pausing(let until) = agents[place].phase, until <= now { connect(place) }
                }
            }
            let count = epoll_wait(poller, &ready, Int32(ready.count), 10)
            for event in ready.prefix(max(0, Int(count))) { advance(Int(event.data.u32), event.events) }
        }
    }

    /// Serves until every agent has lost its connection: the scheduler is gone.
    func lose() throws {
        try serve(for: 30) { $0.back == 0 }
    }

    private func connect(_ place: Int) {
        let handle = socket(
            AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
        guard handle >= 0 else { return fail(place) }
        var address = sockaddr_in(loopback: in_port_t(port))
        let status = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(handle, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard status == 0 || errno == EINPROGRESS else {
            close(handle)
            return fail(place)
        }
        agents[place].socket = handle
        prepareCall(place)
        watch(place, EPOLLOUT, EPOLL_CTL_ADD)
    }

    /// The socket leaves when it is closed.
    private func watch(_ place: Int, _ events: EPOLL_EVENTS, _ change: Int32 = EPOLL_CTL_MOD) {
        var event = epoll_event(events: events.rawValue, data: epoll_data(u32: UInt32(place)))
        epoll_ctl(poller, change, agents[place].socket, &event)
    }

    private func advance(_ place: Int, _ events: UInt32) {
        switch agents[place].phase {
        case .pausing: return
        case .sending:
            if events & (EPOLLERR.rawValue | EPOLLHUP.rawValue) != 0 { return fail(place) }
            send(place)
        case .waiting: receive(place)
        }
    }

    private func prepareCall(_ place: Int) {
        agents[place].sequence += 1
        let agent = agents[place]
        let request = SyncRequest(
            incarnation: "life-of-\(agent.name)", sequence: agent.sequence,
            registration: agent.isRegistered ? nil : Self.offer, live: agent.live, reports: [],
            wait: agent.isRegistered && agent.answers > 0 ? .seconds(10) : .zero, proof: agent.proof)
        let body = (try? request.encoded()) ?? []  // allowed: a request of names and numbers can be encoded
        agents[place].outgoing =
            Array(
                """
                POST /v1/workers/\(agent.name)/sync HTTP/1.1\r
                Host: 127.0.0.1:\(port)\r
                Authorization: Bearer \(token)\r
                Content-Type: application/json\r
                Content-Length: \(body.count)\r
                \r

                """.utf8) + body
        agents[place].phase = .sending
        agents[place].answer = AnswerReader()
    }

    private static let offer = WorkerRegistration(
        cpus: CPUAmount(cpus: cpus), memory: ByteCount(bytes: 16 << 30), gpus: [], labels: [:], volumes: [:],
        allowedPaths: [], engines: ["simulated"], version: "bench")

    private func send(_ place: Int) {
        let bytes = agents[place].outgoing
        let count = bytes.withUnsafeBytes {
            Glibc.send(agents[place].socket, $0.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
        }
        guard count > 0 else { return fail(place) }
        agents[place].outgoing.removeFirst(count)
        guard agents[place].outgoing.isEmpty else { return }
        agents[place].phase = .waiting
        watch(place, EPOLLIN)
    }

    private func receive(_ place: Int) {
        let count = recv(agents[place].socket, &buffer, buffer.count, 0)
        guard count > 0 else { return fail(place) }
        guard let (status, body) = agents[place].answer.take(buffer[0..<count]) else { return }
        // allowed: a failure is answered with a pause, whatever it was
        guard status == 200, let response = try? WireJSON.decode(SyncResponse.self, from: body) else {
            return fail(place)
        }
        agents[place].pause = Self.firstPause
        if let challenge = response.challenge {
            agents[place].proof = challenge
        } else {
            if agents[place].answers == 0 { back += 1 }
            agents[place].answers += 1
        }
        agents[place].isRegistered = !response.registrationWanted
        let known = Set(agents[place].live)
        live -= known.count
        agents[place].live += response.start.map(\.attempt).filter { !known.contains($0) }
        agents[place].live.removeAll { response.forget.contains($0) }
        live += agents[place].live.count
        prepareCall(place)
        watch(place, EPOLLOUT)
    }

    /// As the agent does: a pause by the dice, twice as long the next time on average, up to ten seconds.
    private func fail(_ place: Int) {
        if agents[place].socket >= 0 {
            close(agents[place].socket)
            agents[place].socket = -1
        }
        if agents[place].answers > 0 { back -= 1 }
        agents[place].answers = 0
        let pause = agents[place].pause
        let part = Int.random(in: 0...(2 * pause), using: &dice)
        agents[place].phase = .pausing(until: .now + .milliseconds(part))
        agents[place].pause = min(pause * 2, 10_000)
    }
}

/// One HTTP answer with a Content-Length, as it comes in.
struct AnswerReader {
    private var received: [UInt8] = []
    private var bodyStart = 0
    private var expected: Int?
    private var status = 0

    /// Status and body once the answer is whole.
    mutating func take(_ bytes: some Sequence<UInt8>) -> (status: Int, body: [UInt8])? {
        received += bytes
        if expected == nil { readHead() }
        guard let expected, received.count >= expected else { return nil }
        return (status, Array(received[bodyStart..<expected]))
    }

    private mutating func readHead() {
        guard received.count >= 4 else { return }
        let end = (0...(received.count - 4)).first {
            received[$0] == 0x0d && received[$0 + 1] == 0x0a && received[$0 + 2] == 0x0d && received[$0 + 3] == 0x0a
        }
        guard let end else { return }
        let lines = String(decoding: received[..<end], as: UTF8.self).split(whereSeparator: \.isNewline)
        status = lines.first?.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
        let length = lines.first { $0.lowercased().hasPrefix("content-length:") }?.split(separator: " ").last
        bodyStart = end + 4
        expected = bodyStart + (length.flatMap { Int($0) } ?? 0)
    }
}
