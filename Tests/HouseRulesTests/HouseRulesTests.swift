// Taste, enforced: each rule over all sources, and each rule on a snippet that breaks it.
import Foundation
import Testing

@Suite("house rules")
struct HouseRulesTests {
    private func violations(_ rule: (SourceFile) -> [Violation]) throws -> String {
        try SourceTree.files().flatMap(rule).map(\.description).joined(separator: "\n")
    }

    @Test("no banned word stands in the sources")
    func bannedWords() throws {
        let found = try violations(Rules.bannedText)
        #expect(found.isEmpty, "\(found)")
    }

    @Test("targets import only what they may")
    func imports() throws {
        let found = try violations(Rules.imports)
        #expect(found.isEmpty, "\(found)")
    }

    @Test("files, functions and lines keep their size")
    func sizes() throws {
        let found = try violations(Rules.sizes)
        #expect(found.isEmpty, "\(found)")
    }

    @Test("each source file opens with what it is for")
    func headers() throws {
        let found = try violations(Rules.header)
        #expect(found.isEmpty, "\(found)")
    }

    @Test("no file name says nothing")
    func names() throws {
        let found = try violations(Rules.name)
        #expect(found.isEmpty, "\(found)")
    }

    @Test("the eight stations from the command line to the container are linked")
    func stations() throws {
        for (number, station) in Self.stations.enumerated() {
            let text = try SourceTree.text(station)
            let expected =
                number + 1 < Self.stations.count
                ? "Station \(number + 1) of 8. Next: \(Self.stations[number + 1])" : "Station 8 of 8."
            #expect(text.contains(expected), "\(station) lacks the line '\(expected)'")
        }
    }

    static let stations = [
        "Sources/jobctl/Commands/Jobs/Submit.swift",
        "Sources/SchedulerClient/SchedulerClient+Jobs.swift",
        "Sources/Scheduler/API/JobRoutes.swift",
        "Sources/Scheduler/SchedulerLoop.swift",
        "Sources/SchedulingCore/Jobs.swift",
        "Sources/Worker/Agent.swift",
        "Sources/Worker/AttemptRunner.swift",
        "Sources/Worker/Engines/DockerEngine.swift",
    ]

    @Test("every migration in the folder is listed in Migrations.swift and in Package.swift")
    func migrationsAreListed() throws {
        let names = try FileManager.default.contentsOfDirectory(
            atPath: SourceTree.root.appending(path: "Migrations").path)
        let migrations = names.filter { $0.hasSuffix(".sql") && $0 != "schema.sql" }
        #expect(!migrations.isEmpty)
        let package = try SourceTree.text("Package.swift")
        let list = try SourceTree.text("Migrations/Migrations.swift")
        for name in migrations {
            #expect(package.contains("\"\(name)\""), "\(name) is not embedded")
            #expect(list.contains(name.replacing(".sql", with: "")), "\(name) is not listed")
        }
    }

    @Test("nothing in the project names a path of the machine it was written on")
    func machineTraces() throws {
        let listing = Process()
        listing.executableURL = URL(filePath: "/usr/bin/env")
        listing.arguments = [
            "git", "-c", "safe.directory=*", "-C", SourceTree.root.path, "grep", "-nIE",
            "/opt/[a-z]+-packages|/work/[a-z]+", "--", ".",
        ]
        let output = Pipe()
        listing.standardOutput = output
        try listing.run()
        let found = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        listing.waitUntilExit()
        let others = found.split(separator: "\n").filter { !$0.hasPrefix("Tests/HouseRulesTests/") }
        #expect(others.isEmpty, "\(others.joined(separator: "\n"))")
    }
}

@Suite("the rules themselves")
struct RulesOnSnippets {
    private func file(_ path: String, _ text: String) -> SourceFile {
        SourceFile(path: path, lines: text.components(separatedBy: "\n"))
    }

    @Test(
        "a banned word is found in code, not in a comment, and not where a reason allows it",
        arguments: [
            ("Sources/Worker/A.swift", "let x = try! f()", 1),
            ("Sources/Worker/A.swift", "// never try! this", 0),
            ("Sources/Worker/A.swift", "let x = try! f()  // allowed: a constant", 0),
            ("Tests/WorkerTests/A.swift", "let x = try! f()", 0),
            ("Sources/SchedulingCore/A.swift", "var a: [JobID: Job] = [:]", 1),
            ("Sources/SchedulingCore/A.swift", "let now = Instant.now", 1),
            ("Sources/SchedulingCore/A.swift", "let a: [JobID] = []", 0),
            ("Sources/Worker/A.swift", "// TO" + "DO: later", 1),
        ])
    func bannedWord(path: String, line: String, count: Int) {
        #expect(Rules.bannedText(file(path, line)).count == count)
    }

    @Test("the core may not import Foundation")
    func coreImport() {
        #expect(Rules.imports(file("Sources/SchedulingCore/A.swift", "import Foundation")).count == 1)
        #expect(Rules.imports(file("Sources/SchedulingCore/A.swift", "import JobModel")).isEmpty)
    }

    @Test("a long function, a long file, a long line and a missing header are found")
    func sizes() {
        let long = "// x\nfunc f() {\n" + String(repeating: "    a()\n", count: 60) + "}"
        #expect(Rules.longFunctions(file("Sources/Worker/A.swift", long)).count == 1)
        #expect(Rules.sizes(file("Sources/Worker/A.swift", String(repeating: "// a\n", count: 500))).count == 1)
        #expect(Rules.sizes(file("Sources/Worker/A.swift", String(repeating: "a", count: 121))).count == 1)
        #expect(Rules.header(file("Sources/Worker/A.swift", "import NIOCore")).count == 1)
        #expect(Rules.name(file("Sources/Worker/Utils.swift", "// x")).count == 1)
    }
}
