// Services beside a container, held by every real engine: reached by name on a network of their own, waited for, ended
// with the program, confined as it is.
import Foundation
import Glibc
import JobModel
import RunnerCore
import TestSupport
import Testing

@testable import Worker

extension EnginePromise {
    static let services = reaching + ending

    private static let reaching = [
        EnginePromise("two services listen on one port, and the program reaches both by name, and nobody else") {
            world in
            try await world.withEngine { engine, _ in
                let host = try HostListener()
                let program = """
                    for name in a b localhost; do timeout 5 wget -q -O - http://$name/name || echo no $name; done
                    ls /sys/class/net
                    for address in \(host.addresses.joined(separator: " ")); do
                        nc -w 1 $address \(host.port) < /dev/null > /dev/null 2>&1 && echo reached $address
                    done
                    hostname
                    """
                let run = try await engine.run(
                    world.specification(program, beside: [world.pages("a"), world.pages("b")]))
                #expect(run.output.text == "I am a\nI am b\nno localhost\neth0\nlo\n42.1.2\n", "\(run)")
                #expect(ExitRecord.Zero(run.record) != nil && run.record.note == nil, "\(run)")
            }
        },
        EnginePromise("the program waits until the health check passes") { world in
            try await world.withEngine { engine, _ in
                let slow = world.pages("slow", before: "sleep 1;")
                let run = try await engine.run(
                    world.specification("wget -q -O - http://slow/name; cat /etc/hosts", beside: [slow]))
                #expect(run.output.text.hasPrefix("I am slow\n") && run.output.text.contains("\tslow"), "\(run)")
            }
        },
        EnginePromise("services reach one another and themselves by name") { world in
            try await world.withEngine { engine, _ in
                let front = ServiceSpecification(
                    name: ServiceName(rawValue: "front")!, image: world.image,
                    command: [
                        "sh", "-c",
                        """
                        mkdir /tmp/www; until wget -q -O /tmp/www/name http://back/name; do sleep 0.1; done
                        hostname >> /tmp/www/name; exec httpd -f -p 80 -h /tmp/www
                        """,
                    ], resources: world.small, health: world.health("wget -q -O /dev/null http://front/name"))
                let run = try await engine.run(
                    world.specification("wget -q -O - http://front/name", beside: [front, world.pages("back")]))
                #expect(run.output.text == "I am back\nfront\n", "\(run)")
            }
        },
        EnginePromise("a service is confined as the program is") { world in
            try await world.withEngine { engine, _ in
                let curious = world.pages(
                    "curious",
                    before: """
                        { id -u; id -g; grep -e CapEff -e NoNewPrivs /proc/self/status; touch /x; cat /proc/1/environ;
                        mount -t tmpfs x /tmp; } >> /tmp/www/name 2>&1;
                        """)
                let text = try await engine.run(
                    world.specification("wget -q -O - http://curious/name", beside: [curious])
                ).output.text
                #expect(text.hasPrefix("1234\n5678\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\n"), "\(text)")
                #expect(text.contains("/x: Read-only file system"), "\(text)")
                #expect(text.contains("permission denied") || text.contains("not permitted"), "\(text)")
            }
        },
        EnginePromise("no other attempt reaches a service, neither by name nor by address") { world in
            try await world.withEngine { engine, _ in
                let first = try await engine.begin(
                    world.specification("grep db /etc/hosts; sleep 1000", beside: [world.pages("db")]))
                var address = ""
                for try await piece in engine.logs(first, skip: [:]) {
                    address = Output(stdout: piece.bytes).text.split(separator: "\t").first.map(String.init) ?? ""
                    break
                }
                let probe = "for host in db \(address); do timeout 3 wget -q -O - http://$host/name || echo no; done"
                for services in [[], [world.pages("other")]] {
                    let run = try await engine.run(world.specification(probe, task: 2, beside: services))
                    #expect(!run.output.text.contains("I am db") && run.output.text.hasPrefix("no\n"), "\(run)")
                    try await engine.remove("\(run.id)")
                }
            }
        },
    ]

    private static let ending = [
        EnginePromise("services end with the program, and nothing of them stays") { world in
            try await world.withEngine { engine, worker in
                let mark = "mark\(UInt32.random(in: 0 ... .max))"
                let services = [world.pages("a", mark: mark), world.pages("b", mark: mark)]
                let run = try await engine.run(world.specification("echo done", beside: services))
                #expect(run.output.text == "done\n")
                try await eventually("the services have ended") { runningProcesses(with: mark).isEmpty }
                #expect(try await engine.list().count == 1)
                try await engine.remove(run.id)
                #expect(try await engine.list().isEmpty)
                if let engine = engine as? DockerEngine { #expect(try await engine.networks().isEmpty) }
                if let engine = engine as? OCIRuntimeEngine { #expect(try engine.leftovers() == []) }
            }
        },
        EnginePromise("a service that is never ready ends the attempt, which shows its last lines") { world in
            try await world.withEngine { engine, _ in
                let stubborn = ServiceSpecification(
                    name: ServiceName(rawValue: "db")!, image: world.image,
                    command: ["sh", "-c", "echo no luck >&2; sleep 1000"], resources: world.small,
                    health: HealthCheck(
                        command: ["sh", "-c", "exit 7"], interval: TimeSpan(milliseconds: 100),
                        timeout: .seconds(20), retries: 3))
                let run = try await engine.run(world.specification("echo ran", beside: [stubborn]))
                let why = "the service 'db' was not ready in time: its last health check ended with exit code 7"
                #expect(run.record.serviceFailure == why && ExitRecord.Zero(run.record) == nil, "\(run)")
                #expect(run.output == Output(stderr: Array("[db] no luck\n".utf8)), "\(run)")
            }
        },
        EnginePromise("a health check that hangs is given up") { world in
            try await world.withEngine { engine, _ in
                let hanging = ServiceSpecification(
                    name: ServiceName(rawValue: "db")!, image: world.image, command: ["sleep", "1000"],
                    resources: world.small,
                    health: HealthCheck(
                        command: ["sleep", "1000"], interval: TimeSpan(milliseconds: 100),
                        timeout: TimeSpan(milliseconds: 300), retries: 2))
                let record = try await engine.run(world.specification("echo ran", beside: [hanging])).record
                #expect(record.serviceFailure?.hasSuffix("its last health check took too long") == true, "\(record)")
            }
        },
        EnginePromise("a service that ends before the program starts ends the attempt") { world in
            try await world.withEngine { engine, _ in
                let short = ServiceSpecification(
                    name: ServiceName(rawValue: "db")!, image: world.image,
                    command: ["sh", "-c", "echo broken; exit 3"], resources: world.small, health: world.health("false"))
                let run = try await engine.run(
                    world.specification("echo ran", beside: [short, world.pages("other")]))
                let why = "the service 'db' ended with exit code 3 before the task was started"
                #expect(run.record.serviceFailure == why, "\(run)")
                #expect(run.output.errors == "[db] broken\n" && run.output.text.isEmpty, "\(run)")
                try await engine.remove(run.id)
                var missing = short
                missing.command = ["/no/such/program"]
                let record = try await engine.run(world.specification("echo ran", beside: [missing])).record
                #expect(record.serviceFailure?.hasSuffix("the command was not found in the image") == true)
            }
        },
        EnginePromise("a service that ends while the program runs is told, and the program's end stays its own") {
            world in
            try await world.withEngine { engine, _ in
                let run = try await engine.run(
                    world.specification(
                        EngineWorld.murder, beside: [world.mortal("db", last: "echo gone; exit 4")]))
                #expect(run.record.note == "the service 'db' ended with exit code 4 while the task ran", "\(run)")
                #expect(ExitRecord.Zero(run.record) != nil && run.output.errors.contains("[db] gone\n"), "\(run)")
            }
        },
        EnginePromise("a stop while services come up ends them, and the program never runs") { world in
            try await world.withEngine { engine, _ in
                let mark = "mark\(UInt32.random(in: 0 ... .max))"
                var slow = world.pages("db", mark: mark)
                slow.health = HealthCheck(
                    command: ["false"], interval: .seconds(1), timeout: .seconds(5), retries: 1000)
                let id = try await engine.begin(world.specification("echo ran", beside: [slow]))
                try await eventually("the service runs") { !runningProcesses(with: mark).isEmpty }
                try await engine.stop(id, grace: .zero)
                let record = try await engine.wait(id)
                #expect(record.exitCode == 137 && record.serviceFailure == nil, "\(record)")
                #expect(try await engine.output(of: id).text.isEmpty)
                try await eventually("the service has ended") { runningProcesses(with: mark).isEmpty }
            }
        },
        EnginePromise("a container is removed with its services while they come up") { world in
            try await world.withEngine { engine, _ in
                let mark = "mark\(UInt32.random(in: 0 ... .max))"
                var slow = world.pages("db", mark: mark)
                slow.health = world.health("false")
                let id = try await engine.begin(world.specification("echo ran", beside: [slow]))
                try await eventually("the service runs") { !runningProcesses(with: mark).isEmpty }
                try await engine.remove(id)
                try await eventually("the service has ended") { runningProcesses(with: mark).isEmpty }
                #expect(try await engine.list().isEmpty)
            }
        },
    ]
}

extension EngineWorld {
    var small: Resources {
        Resources(cpus: CPUAmount(thousandths: 500), memory: ByteCount(bytes: 64 << 20), gpus: 0)
    }

    func health(_ line: String) -> HealthCheck {
        HealthCheck(
            command: ["sh", "-c", line], interval: TimeSpan(milliseconds: 100), timeout: .seconds(10), retries: 1000)
    }

    /// A service that shows its name on port 80, as every other does.
    func pages(_ name: String, before: String = "", mark: String = "") -> ServiceSpecification {
        ServiceSpecification(
            name: ServiceName(rawValue: name)!, image: image,
            command: [
                "sh", "-c",
                "mkdir /tmp/www; \(before) echo I am \(name) >> /tmp/www/name; httpd -f -p 80 -h /tmp/www; : \(mark)",
            ], resources: small, health: health("wget -q -O /dev/null http://127.0.0.1/name"))
    }

    /// A service that ends when somebody asks it to.
    func mortal(_ name: String, last: String) -> ServiceSpecification {
        var service = pages(name)
        service.command[2] = """
            mkdir -p /tmp/www/cgi-bin; echo I am \(name) > /tmp/www/name
            { echo '#!/bin/sh'; echo 'echo; touch /tmp/end'; } > /tmp/www/cgi-bin/end; chmod 755 /tmp/www/cgi-bin/end
            httpd -p 80 -h /tmp/www; until [ -e /tmp/end ]; do sleep 0.1; done; \(last)
            """
        return service
    }

    /// A program that asks `db` to end, and ends well a second after it has.
    static let murder = """
        wget -q -O /dev/null http://db/cgi-bin/end
        while timeout 1 wget -q -O /dev/null http://db/name; do sleep 0.1; done
        sleep 1
        """

    func specification(
        _ line: String, task: Int64 = 1, beside services: [ServiceSpecification]
    ) -> ContainerSpecification {
        var specification = specification(["sh", "-c", line], task: task)
        specification.services = services
        specification.grace = .seconds(2)
        return specification
    }
}

/// Processes of this host whose command line holds a word.
func runningProcesses(with word: String) -> [pid_t] {
    let entries = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return entries.compactMap { pid_t($0) }.filter { process in
        let bytes = readFile("/proc/\(process)/cmdline", limit: 1 << 20) ?? []
        return process != getpid() && String(decoding: bytes, as: UTF8.self).contains(word)
    }
}

/// A port of the host on which every address answers.
private final class HostListener {
    let port: Int
    private let file: Int32

    init() throws {
        file = socket(AF_INET6, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in6()
        address.sin6_family = sa_family_t(AF_INET6)
        var size = socklen_t(MemoryLayout<sockaddr_in6>.size)
        let (file, length) = (file, size)
        let isOpen = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(file, $0, length) == 0 && listen(file, 16) == 0 && getsockname(file, $0, &size) == 0
            }
        }
        guard isOpen else { throw ProcessFailure(description: "the host cannot listen") }
        port = Int(UInt16(bigEndian: address.sin6_port))
    }

    deinit { close(file) }

    /// Every IPv4 address of the host but the loopback's, and where a gateway might be.
    var addresses: [String] {
        var list: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&list) == 0 else { return [] }
        defer { freeifaddrs(list) }
        var found = ["198.18.0.1"]
        var next = list
        while let entry = next?.pointee {
            next = entry.ifa_next
            guard let address = entry.ifa_addr, address.pointee.sa_family == sa_family_t(AF_INET) else { continue }
            let number = address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { $0.pointee.sin_addr.s_addr }
            let text = PrivateNetwork.text(UInt32(bigEndian: number))
            if !text.hasPrefix("127.") { found.append(text) }
        }
        return found
    }
}
