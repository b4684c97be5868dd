// Damaged documents of every kind that comes from outside, made from a seed. Nothing may crash; what is refused is
// refused with one short sentence; what is accepted can be written and read again.
import Foundation
import JobModel
import TestSupport
import Testing

@Suite("damaged input")
struct DamagedInputTests {
    private static func check(_ error: SpecError, _ bytes: [UInt8]) {
        let sentence = error.description
        let isPlain = !sentence.unicodeScalars.contains { $0.properties.generalCategory == .control }
        #expect(
            !error.message.isEmpty && isPlain && sentence.utf8.count < 16_000,
            "\(sentence) for \(String(decoding: bytes, as: UTF8.self))")
    }

    @Test("damaged specs are refused or understood", arguments: [SpecAcceptanceTests.yaml, SpecAcceptanceTests.json])
    func specs(text: String) {
        var random = SeededNumbers(seed: 7)
        var accepted = 0
        for _ in 0..<3_000 {
            let bytes = random.damaged(Array(text.utf8))
            do {
                let tree = try SpecParser.tree(file: "a", bytes)
                let spec = try SpecParser.parse(tree)
                accepted += 1
                let files = spec.files.mapValues { _ in SubmittedFile(content: "", executable: false) }
                let arrived = try ParsedSubmission(SubmitRequest(spec: tree.specJSON, files: files).json)
                #expect(arrived.spec == spec, "\(String(decoding: bytes, as: UTF8.self))")
            } catch {
                Self.check(error, bytes)
            }
        }
        #expect(accepted > 50, "hardly anything was accepted: the damage is too great to find anything")
    }

    @Test("damaged submit and rerun requests are refused or understood")
    func requests() throws {
        let submit = SubmitRequest(
            spec: try JSONParser.parse(Array(SpecAcceptanceTests.json.utf8)).json,
            files: ["/job/mean.py": SubmittedFile(content: "aGk=", executable: true)],
            bindings: ["input": "weather/2014"], parameters: ["model": "b"])
        let rerun = try WireJSON.encode(
            RerunRequest(
                source: "a@3", bindings: ["input": "b"], parameters: ["x": "1"], queue: "q", priority: 5, hold: true))
        var random = SeededNumbers(seed: 8)
        for _ in 0..<2_000 {
            let bytes = random.damaged(submit.json)
            do { _ = try ParsedSubmission(bytes) } catch { Self.check(error, bytes) }
            let other = random.damaged(rerun)
            do { _ = try RerunRequest(parsing: other) } catch { Self.check(error, other) }
        }
    }

    @Test("damaged wire documents are refused, or written and read again to the same")
    func wire() throws {
        var random = SeededNumbers(seed: 9)
        for document in WireTests.documents {
            let json = try document.json()
            for _ in 0..<100 {
                let bytes = random.damaged(json)
                guard let once = try? document.again(bytes) else { continue }
                #expect(try document.again(once) == once, "\(document.name): \(String(decoding: bytes, as: UTF8.self))")
            }
        }
    }

    @Test("damaged short texts are refused, or print as something that reads to the same")
    func texts() {
        var random = SeededNumbers(seed: 10)
        for text in [
            "ghcr.io/lab/stack:1@\(Digest(of: "a"))", "127.0.0.1:5000/a/b", "weather/${params.year}/x", "42.7.2",
            "1h30m", "512MiB", "2026-11-24T13:30:00.250Z",
        ] {
            for _ in 0..<500 {
                let damaged = String(decoding: random.damaged(Array(text.utf8)), as: UTF8.self)
                if let value = ImageReference(damaged) {
                    #expect(ImageReference(value.description)?.description == value.description)
                }
                if let value = Binding(damaged) { #expect(Binding(value.description) == value) }
                if let value = AttemptID(damaged) { #expect(AttemptID(value.description) == value) }
                if let value = TimeSpan(damaged), value.milliseconds % 1000 == 0 {
                    #expect(TimeSpan(value.description) == value)
                }
                if let value = Timestamp(damaged) { #expect(Timestamp(value.description) == value) }
                _ = ByteCount(damaged).map(\.description)
                _ = try? Template(damaged)
            }
        }
    }
}
