// Every bad spec is answered with one sentence that names file, line and field. The page of all of them is a golden
// file that a person can read in a few minutes; reviewing its difference is reviewing what users are told.
import Foundation
import JobModel
import TestSupport
import Testing

@Suite("refusals of specs")
struct SpecRefusalTests {
    struct Bad: Sendable {
        var file = "spec.yaml"
        let text: [UInt8]
        /// What the page shows in place of what a person cannot read.
        let shown: String

        init(_ text: String, file: String = "spec.yaml", shown: String? = nil) {
            self.file = file
            self.text = Array(text.utf8)
            self.shown = shown ?? text
        }

        init(bytes: [UInt8], shown: String) {
            text = bytes
            self.shown = shown
        }
    }

    /// After two good lines: image and command.
    private static func after(_ text: String, shown: String? = nil) -> Bad {
        Bad("image: busybox\ncommand: [/bin/true]\n" + text, shown: "(2 good lines)\n" + (shown ?? text))
    }

    private static func json(_ text: String) -> Bad { Bad(text, file: "spec.json") }

    static let documents: [Bad] = [
        Bad("", shown: "(nothing)"), Bad("# only a comment\n"), Bad("---\n---\n"), Bad("- image: busybox\n"),
        Bad("busybox\n"),
        Bad("image: [busybox\n"), Bad("image: busybox\n\tcommand: [a]\n"), Bad("image: \"busybox\n"),
        Bad("image: busybox\n---\nimage: alpine\n"),
        after("image: alpine\n"), after("environment: {A: \"1\", A: \"2\"}\n"), after("labels: &team {team: a}\n"),
        after("labels: {team: *team}\n"), after("labels: &x {team: a}\nenvironment:\n  <<: *x\n"),
        after("environment:\n  <<: {A: \"1\"}\n"),
        after("retries: !!int 3\n"), after("labels: !custom {team: a}\n"), after("? [complex, key]\n: 1\n"),
        Bad(bytes: [0xff, 0xfe, 0x69, 0x00], shown: "(UTF-16)"),
        Bad(bytes: Array("image: caf".utf8) + [0xe9, 0x0a], shown: "(Latin-1)"),
        Bad(bytes: [0xef, 0xbb, 0xbf] + Array("image: busybox\n".utf8), shown: "(a byte order mark)"),
        Bad("image: busy\u{0}box\n", shown: "(a NUL)"),
        Bad("#" + String(repeating: " ", count: 1 << 20), shown: "(1 MiB and a byte)"),
        after(
            "labels: " + String(repeating: "[", count: 65) + String(repeating: "]", count: 65) + "\n",
            shown: "labels: (65 brackets)\n"),
        after("labels: " + String(repeating: "{a: ", count: 5_000) + "\n", shown: "labels: (5,000 braces)\n"),
        after(
            "labels:\n" + (1...70).map { String(repeating: " ", count: $0) + "a:\n" }.joined(),
            shown: "labels: (70 steps of indentation)\n"),
        json("{\"image\": \"busybox\", \"command\": [\"a\"]"), json("{\"image\": \"busybox\" \"command\": [\"a\"]}"),
        json("{\"image\": \"busybox\",\n \"command\": [\"a\"], \"image\": \"alpine\"}"),
        json("{\"image\": \"busybox\", \"command\": [\"a\"]} {}"),
        json("{\"image\": \"busybox\", \"retries\": 01}"), json("{\"image\": \"\\ud800\"}"),
        json("{\"image\": \"a\\x\"}"),
        json("{\"image\": \"busybox\", \"priority\": 1e999}"), json("{\"image\": \"busybox\", \"priority\": NaN}"),
        json("{'image': 'busybox'}"),
        json("{\"image\": \"busybox\", // comment\n \"command\": [\"a\"]}"),
        json("{\"image\": \"busybox\", \"a\\nb\\u001b[31m\": 1}"),
        json("{\"image\": \"busybox\", \"command\": " + String(repeating: "[", count: 70)),
    ]

    static let required: [Bad] = [
        Bad("command: [a]\n"), Bad("image: busybox\n"), Bad("image:\ncommand: [a]\n"),
        Bad("image: busybox\ncommand:\n"),
        after("comand: [a]\n"), after("Image: alpine\n"), after("enviroment: {A: \"1\"}\n"), after("timelimit: 10m\n"),
        after("user: root\n"),
        after("privileged: true\n"), after("${params.x}: 1\n"),
    ]

    static let images: [Bad] = [
        "7", "true", "[busybox]", "Busybox", "busybox:", "busybox@sha256:12", "\"busy box\"", "../busybox",
        "busybox:a b", "-busybox", "a//b",
        "host:99999/a", "http://docker.io/busybox", "busybox@md5:0123", "\"\"", String(repeating: "a", count: 600),
    ].map { Bad("command: [a]\nimage: \($0)\n", shown: $0.count > 100 ? "command: [a]\nimage: (600 bytes)\n" : nil) }

    static let commands: [Bad] =
        [
            "command: echo hello\n", "command: \"\"\n", "command: []\n", "command: [\"\"]\n", "command: [sleep, 10]\n",
            "command: [a, true]\n",
            "command: [a, [b]]\n", "command: [a, null]\n", "command: {a: b}\n", "command: [a]\nshell: b\n",
            "shell: [a]\n", "shell: 5\n",
            "command: [a, \"${\"]\n", "command: [a, \"${params.}\"]\n", "command: [a, \"${HOME}\"]\n",
            "command: [a, \"${params.a b}\"]\n",
            "command: [a, \"${task.name}\"]\n", "shell: echo ${x}\n", "command: [\"a\\0b\"]\n",
        ].map { Bad("image: busybox\n" + $0) } + [
            Bad(
                "image: busybox\ncommand: [" + String(repeating: "a, ", count: 1_001) + "]\n",
                shown: "image: busybox\ncommand: (1,001 elements)\n"),
            Bad(
                "image: busybox\ncommand: [" + String(repeating: "a", count: 140_000) + "]\n",
                shown: "image: busybox\ncommand: (140,000 bytes)\n"),
        ]

    static let amounts: [Bad] =
        [
            "{cpus: 0}", "{cpus: -1}", "{cpus: .nan}", "{cpus: .inf}", "{cpus: 1e400}", "{cpus: 0.0001}",
            "{cpus: 2000000}", "{cpus: two}", "{cpus: \"2\"}",
            "{cpus: 0x10}", "{memory: 5MiB}", "{memory: -512MiB}", "{memory: 512}", "{memory: 512 parsecs}",
            "{memory: 99999999999999999999TiB}",
            "{memory: 9223372036854775807}", "{memory: 1.2.3GB}", "{memory: true}", "{gpus: -1}", "{gpus: 1.5}",
            "{gpus: 2000}",
            "{gpus: 99999999999999999999}", "{cpu: 1}", "{mem: 1GiB}", "{disc: 1GiB}", "{disk: many}", "{custom: fpga}",
            "{custom: {a/b: 1}}",
            "{custom: {fpga: -1}}", "{custom: {fpga: 1.5}}", "4", "[1, 2]",
        ].map { after("resources: \($0)\n") }
        + [
            "gang: 1\n", "gang: 257\n", "gang: two\n", "gang: 2\narray: 1-3\n", "gang: 2\nmatrix: {a: [1]}\n",
            "gang: 2\nmax_running: 1\n", "gang: 2\ndepends_on: {after_ok_each: 4}\n",
            "licenses: matlab\n", "licenses: {matlab: two}\n", "exclusive: 1\n", "placement: wide\n", "prefer: [a]\n",
            "time_limit: 0\n", "time_limit: -5m\n", "time_limit: 10 minutes\n", "time_limit: 10\u{00a0}m\n",
            "time_limit: never\n", "time_limit: 20000d\n",
            "time_limit: 1e18\n", "time_limit: [10m]\n", "time_limit: 99999999999999999999s\n", "grace: 2h\n",
            "retries: -1\n", "retries: 101\n", "retries: 1.5\n",
            "retries: many\n", "retries: 99999999999999999999\n", "priority: 1001\n", "priority: -1001\n",
            "priority: high\n", "priority: 0.5\n",
        ].map { after($0) }

    static let data: [Bad] = [
        "volumes: input\n", "volumes: [input]\n", "volumes: [\"input:data\"]\n", "volumes: [\"input:/../etc\"]\n",
        "volumes: [\"input:/a//b\"]\n",
        "volumes: [\"input:/\"]\n", "volumes: [\"input:/proc/1\"]\n", "volumes: [\"input:/tmp\"]\n",
        "volumes: [\"input:/data:rx\"]\n",
        "volumes: [\"input:/data:ro:z\"]\n", "volumes: [\"in put:/data\"]\n", "volumes: [\"/srv:/data\"]\n",
        "volumes: [\"a:/x\", \"a:/y\"]\n",
        "volumes: [\"a:/x\", \"b:/x\"]\n", "volumes: [\"a:/x\\n\"]\n", "volumes: [{source: a, target: /x}]\n",
        "working_dir: data\n", "working_dir: /a/../b\n",
        "files: [a.py]\n", "files: {a.py: a.py}\n", "files: {/job/../a: a.py}\n", "files: {/job/a: \"\"}\n",
        "files: {/job/a: 5}\n",
        "files: {/job/a: x, /job/a/: y}\n", "files: {/job/a: x, /job/a/b: y}\n", "files: {/dev/null: x}\n",
        "volumes: [\"input:/data\"]\nfiles: {/data/a: a.py}\n",
        "volumes: [\"input:/data/a/b\"]\nfiles: {/data/a: a.py}\n",
        "environment: [A=1]\n", "environment: {A: 1}\n", "environment: {A: true}\n", "environment: {\"A=B\": x}\n",
        "environment: {\"\": x}\n",
        "environment: {\"A B\": x}\n", "environment: {A: \"${nope}\"}\n", "environment: {A: null}\n",
    ].map { after($0) }

    static let shapes: [Bad] =
        [
            "array: 5-1\n", "array: 1-\n", "array: -5\n", "array: 1-2-3\n", "array: a-b\n", "array: 1-10000001\n",
            "array: 0-99999999999999999999\n",
            "array: 0\n", "array: 1.5\n", "array: [1, 2]\n", "array: 1-3\nmatrix: {a: [1]}\n", "matrix: [a]\n",
            "matrix: {}\n", "matrix: {a: []}\n",
            "matrix: {a: 1}\n", "matrix: {a: [[1]]}\n", "matrix: {a: [null]}\n", "matrix: {\"a b\": [1]}\n",
            "matrix: {a: [1], a: [2]}\n",
            "matrix: {a: [1]}\nparameters: {a: 2}\n", "parameters: [a]\n", "parameters: {\"a.b\": 1}\n",
            "parameters: {a: [1]}\n", "parameters: {a: null}\n",
        ].map { after($0) } + [
            after(
                "matrix: {a: [\(list(1_000))], b: [\(list(1_000))], c: [\(list(11))]}\n",
                shown: "matrix: (1,000 x 1,000 x 11)\n"),
            after("matrix: {a: [\(list(10_001))]}\n", shown: "matrix: (10,001 values)\n"),
            after("matrix:\n" + (1...21).map { "  a\($0): [1]\n" }.joined(), shown: "matrix: (21 axes)\n"),
            after("parameters:\n" + (1...201).map { "  a\($0): 1\n" }.joined(), shown: "parameters: (201)\n"),
        ]

    private static func list(_ count: Int) -> String { (1...count).map(String.init).joined(separator: ", ") }

    static let choices: [Bad] =
        [
            "labels: [a]\n", "labels: {team: 5}\n", "labels: {\"te am\": a}\n", "labels: {\"\": a}\n",
            "constraints: zone == a\n", "constraints: [zone]\n",
            "constraints: [zone = a]\n", "constraints: [zone > 5]\n", "constraints: [\"zone == a b\"]\n",
            "constraints: [5]\n", "constraints: [\"== a\"]\n",
            "name: \"two words\"\n", "name: ../x\n", "name: 5\n", "name: -x\n", "queue: \"\"\n", "queue: [a]\n",
            "network: internet\n", "network: true\n",
            "fingerprint: sha256\n", "keep: forever\n",
            "start_after: tomorrow\n", "start_after: 2027-01-01\n", "start_after: -5\n", "deadline: [1]\n",
            "deadline: 0s\n", "max_running: 0\n", "max_running: all\n", "array: 1-10%0\n", "array: 1-10%\n",
            "array: 1-10%x\n", "array: 1-10%2%3\n", "array: 1-10%5\nmax_running: 5\n", "retries: {max: -1}\n",
            "retries: {on_exit: [75]}\n", "retries: {max: 1, on_exit: 75}\n", "retries: {max: 1, on_exit: [0]}\n",
            "retries: {max: 1, on_exit: []}\n", "retries: {max: 1, on: [5]}\n",
            "retries: {max: 1, on_exit: [5], not_on_exit: [5]}\n",
            "depends_on: [41]\n", "depends_on: {after: 41}\n", "depends_on: {after_okay: 41}\n",
            "depends_on: {after_ok: {job: 41}}\n", "depends_on: {after_ok: [\"a b\"]}\n",
            "depends_on: {after_ok: [-1]}\n", "depends_on: {after_ok: 1.5}\n",
            "depends_on: {after_ok: 41, after_any: \"41\"}\n", "platform: linux\n", "platform: linux/amd64/v8/x\n",
            "platform: 5\n",
        ].map { after($0) } + [
            after("name: " + String(repeating: "n", count: 64) + "\n", shown: "name: (64 letters)\n"),
            after("labels:\n" + (1...101).map { "  a\($0): x\n" }.joined(), shown: "labels: (101)\n"),
            after("constraints: [" + String(repeating: "a == b, ", count: 51) + "]\n", shown: "constraints: (51)\n"),
        ]

    static let services: [Bad] =
        [
            "[db]", "{db: redis}", "{db: {}}", "{db: {image: a}}", "{db: {image: a, command: b}}",
            "{db: {image: a, command: [b], shell: c}}", "{Db: {image: a, command: [b]}}",
            "{localhost: {image: a, command: [b]}}", "{\"my db\": {image: a, command: [b]}}",
            "{-db: {image: a, command: [b]}}", "{db.1: {image: a, command: [b]}}",
            "{db: {image: \"a b\", command: [b]}}", "{db: {image: a, command: [b], port: 5}}",
            "{db: {image: a, command: [b], enviroment: {}}}", "{db: {image: a, command: [\"${x}\"]}}",
            "{db: {image: a, command: [b], resources: {gpus: 1}}}", "{db: {image: a, command: [b], healthcheck: ping}}",
            "{db: {image: a, command: [b], healthcheck: {}}}",
            "{db: {image: a, command: [b], healthcheck: {test: [CMD, c]}}}",
            "{db: {image: a, command: [b], healthcheck: {command: [c], interval: 1ms}}}",
            "{db: {image: a, command: [b], healthcheck: {command: [c], timeout: 2h}}}",
            "{db: {image: a, command: [b], healthcheck: {command: [c], retries: 0}}}",
            "{db: {image: a, command: [b], healthcheck: {command: [c], start_period: 5s}}}",
            "{db: {image: a, command: [b]}, db: {image: a, command: [b]}}",
        ].map { after("services: \($0)\n") } + [
            after(
                "services:\n" + (1...9).map { "  s\($0): {image: a, command: [b]}\n" }.joined(),
                shown: "services: (9)\n"),
            after("network: host\nservices: {db: {image: a, command: [b]}}\n"),
            after("service: {db: {image: a, command: [b]}}\n"),
        ]

    static let all: [(String, [Bad])] = [
        ("Documents", documents), ("Keys", required), ("Images", images), ("Commands", commands), ("Amounts", amounts),
        ("Data", data),
        ("Arrays, matrices, parameters", shapes), ("Labels, constraints, names, choices", choices),
        ("Services", services),
    ]

    @Test("each bad spec gets one sentence that names file, line and field")
    func page() throws {
        var page = ""
        var count = 0
        for (title, bads) in Self.all {
            page += "# \(title)\n\n"
            for bad in bads {
                count += 1
                let error = #expect(throws: SpecError.self, "\(bad.shown)") {
                    try SpecParser.parse(file: bad.file, bad.text)
                }
                let sentence = error?.description ?? "(accepted)"
                #expect(sentence.hasPrefix(bad.file + ":"), "\(sentence)")
                #expect(!sentence.unicodeScalars.contains { $0.properties.generalCategory == .control }, "\(sentence)")
                #expect(sentence.utf8.count < 1_000, "\(sentence)")
                page += bad.shown.split(separator: "\n").map { "    \($0)\n" }.joined() + "\(sentence)\n\n"
            }
        }
        #expect(count >= 150)
        try GoldenFile("spec-refusals.txt").expect(page)
    }

    @Test("the same mistake gets the same sentence in YAML and in JSON")
    func sameWords() throws {
        let pairs = [
            ("image: a\ncommand: b\n", #"{"image": "a", "command": "b"}"#),
            (
                "image: a\ncommand: [b]\nresources: {cpus: -1}\n",
                #"{"image": "a", "command": ["b"], "resources": {"cpus": -1}}"#
            ),
            ("image: a\ncommand: [b]\narray: 5-1\n", #"{"image": "a", "command": ["b"], "array": "5-1"}"#),
            ("image: a\ncommand: [b]\nlabel: {}\n", #"{"image": "a", "command": ["b"], "label": {}}"#),
            ("image: a\ncommand: [b]\nretries: x\n", #"{"image": "a", "command": ["b"], "retries": "x"}"#),
        ]
        for (yaml, json) in pairs {
            let first = #expect(throws: SpecError.self) { try SpecParser.parse(file: "a", Array(yaml.utf8)) }
            let second = #expect(throws: SpecError.self) { try SpecParser.parse(file: "a", Array(json.utf8)) }
            #expect(first?.path == second?.path)
            #expect(first?.message == second?.message)
        }
    }

    @Test("an alias bomb and a bomb of keys end at once")
    func bombs() {
        var text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
        for level in 1...12 {
            text += "a\(level): &a\(level) [" + (0..<9).map { _ in "*a\(level - 1)" }.joined(separator: ", ") + "]\n"
        }
        #expect(throws: SpecError.self) { try SpecParser.parse(file: "bomb.yaml", Array(text.utf8)) }
    }
}
