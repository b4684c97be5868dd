// Frames of sessions: what is written is read again, however it was cut; what no frame looks like is refused.
import JobModel
import Testing

@Suite struct SessionFrameTests {
    static let all: [SessionFrame] = [
        .alive, .input([]), .input([0, 255, 10]), .inputEnd, .resize(rows: 50, columns: 132),
        .resize(rows: 65535, columns: 0), .signal(15), .output(Array(repeating: 7, count: SessionFrame.payloadLimit)),
        .errors([1]), .exit(0), .exit(255), .failure("no: é"),
    ]

    @Test("frames come out as they went in, in pieces of any size", arguments: [1, 2, 4, 5, 6, 1000, 1 << 20])
    func roundTrip(size: Int) throws {
        let bytes = Self.all.flatMap(\.encoded)
        var parser = SessionFrameParser()
        var seen: [SessionFrame] = []
        for start in stride(from: 0, to: bytes.count, by: size) {
            seen += try parser.take(bytes[start..<min(start + size, bytes.count)])
        }
        #expect(seen == Self.all && parser.isAtBoundary)
    }

    @Test(
        "a frame that no side of ours sends is refused",
        arguments: [
            [9, 0, 0, 0, 0], [255, 0, 0, 0, 1, 1], [0, 0, 0, 0, 1, 1], [2, 0, 0, 0, 1, 1], [3, 0, 0, 0, 3, 1, 1, 1],
            [4, 0, 0, 0, 1, 0], [4, 0, 0, 0, 1, 65], [4, 0, 0, 0, 0], [7, 0, 0, 0, 2, 0, 0], [8, 0, 0, 0, 0],
            [1, 0, 1, 0, 1], [5, 255, 255, 255, 255], [8, 0, 0, 16, 1] + Array(repeating: UInt8(65), count: 4097),
        ] as [[UInt8]])
    func refused(bytes: [UInt8]) {
        var parser = SessionFrameParser()
        #expect(throws: Problem.self) { try parser.take(bytes) }
    }

    @Test("a frame that is not whole is waited for, and only it is kept")
    func partial() throws {
        var parser = SessionFrameParser()
        #expect(try parser.take([4, 0, 0, 0, 1, 2, 1, 0, 0]) == [.signal(2)])
        #expect(!parser.isAtBoundary)
        #expect(try parser.take([0, 1, 9]) == [.input([9])])
    }

    @Test("a request for a session is checked, field by field")
    func requests() throws {
        try SessionRequest(command: ["sh"], tty: true, rows: 24, columns: 80, term: "xterm-256color").check()
        let bad: [(SessionRequest, String)] = [
            (SessionRequest(command: [], tty: false), "$.command"),
            (SessionRequest(command: [""], tty: false), "$.command"),
            (SessionRequest(command: ["a\0"], tty: false), "$.command"),
            (SessionRequest(command: Array(repeating: "a", count: 1001), tty: false), "$.command"),
            (SessionRequest(command: ["a", String(repeating: "b", count: 128 << 10)], tty: false), "$.command"),
            (SessionRequest(command: ["a"], tty: true, rows: 0), "$.rows"),
            (SessionRequest(command: ["a"], tty: true, columns: 10_001), "$.columns"),
            (SessionRequest(command: ["a"], tty: true, term: ""), "$.term"),
            (SessionRequest(command: ["a"], tty: true, term: "x\ny"), "$.term"),
        ]
        for (request, field) in bad {
            let problem = #expect(throws: Problem.self) { try request.check() }
            #expect(problem?.field == field)
        }
    }
}
