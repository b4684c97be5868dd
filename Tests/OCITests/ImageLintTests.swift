// What is wrong with an image: each rule on an image that has the fault, and on one that has not.
import Foundation
import JobModel
import OCI
import TestSupport
import Testing

@Suite("image lint") struct ImageLintTests {
    private static let now = Timestamp("2026-11-26T00:00:00Z")!

    private func configuration(_ json: String) throws -> LintedConfiguration {
        LintedConfiguration(try JSONParser.parse(Array(json.utf8)).json)
    }

    private func rules(
        _ json: String, _ survey: LayerSurvey = LayerSurvey(volumes: []), base: Bool = true
    ) throws -> [LintRule] {
        ImageLint.findings(try configuration(json), survey, base: base, now: Self.now).compactMap(\.rule.value)
    }

    /// As good as an image can be.
    private func clean() -> LayerSurvey {
        var survey = LayerSurvey(volumes: [])
        survey.release = .init(id: "debian", version: "12", name: "Debian 12")
        return survey
    }
    private static let good = #"{"config": {"User": "65532", "Env": ["LANG=C.UTF-8", "PATH=/bin"], "Cmd": ["/bin/x"]}}"#

    @Test("a good image has nothing")
    func none() throws { #expect(try rules(Self.good, clean()) == []) }

    @Test(
        "configuration: each fault is found",
        arguments: [
            (#"{"config": {"User": "1", "Env": ["LANG=C.UTF-8", "DB_PASSWORD=hunter22"]}}"#, LintRule.secret),
            (#"{"config": {"User": "1", "Env": ["LANG=C.UTF-8", "URL=https://me:pass@host/"]}}"#, .secret),
            (
                #"{"config": {"User": "1", "Env": ["LANG=C.UTF-8"]}, "history": [{"created_by": "RUN curl -H token=abcdef12"}]}"#,
                .secret
            ),
            (#"{"config": {"User": "1", "Env": ["LANG=C.UTF-8"], "Volumes": {"/data": {}}}}"#, .volume),
            (#"{"config": {"User": "1", "Env": ["LANG=en_GB.UTF-8"]}}"#, .locale),
            (#"{"config": {"User": "1"}}"#, .locale),
            (#"{"config": {"User": "1", "Env": ["LANG=C"], "Cmd": ["/bin/sh", "-c", "x"]}}"#, .shellForm),
            (#"{"config": {"User": "root:root", "Env": ["LANG=C"]}}"#, .root),
            (#"{"config": {"Env": ["LANG=C"]}}"#, .root),
        ])
    func configuration(json: String, rule: LintRule) throws { #expect(try rules(json, clean()) == [rule]) }

    @Test("names of files that hold secrets, empty ones and variables of the build are no secrets")
    func noSecrets() throws {
        let json = """
            {"config": {"User": "1", "Env": ["LANG=C", "DB_PASSWORD_FILE=/run/x", "API_KEY=", "TOKENIZERS=1"]},
             "history": [{"created_by": "RUN make token"}, {"created_by": "RUN login --password=$PASS"}]}
            """
        #expect(try rules(json, clean()) == [])
    }

    @Test("a secret's value is never told")
    func values() throws {
        let json = #"{"config": {"Env": ["AWS_SECRET=hunter22"]}, "history": [{"created_by": "password=hunter22"}]}"#
        let findings = ImageLint.findings(try configuration(json), clean(), base: true, now: Self.now)
        #expect(findings.filter { $0.rule == Open(.secret) }.count == 2)
        #expect(findings.allSatisfy { !$0.found.contains("hunter22") && !$0.advice.contains("hunter22") })
    }

    @Test("bases: unknown, out of support, not pinned")
    func bases() throws {
        var survey = clean()
        #expect(try rules(Self.good, survey, base: false) == [.baseNotPinned])
        survey.release = nil
        #expect(try rules(Self.good, survey) == [.baseUnknown])
        for (id, version, isOld) in [
            ("debian", "9", true), ("debian", "13", false), ("ubuntu", "18.04", true), ("alpine", "3.16.2", true),
            ("alpine", "3.22.1", false), ("plan9", "4", false),
        ] {
            survey.release = .init(id: id, version: version, name: id)
            #expect(try rules(Self.good, survey) == (isOld ? [.baseOld] : []), "\(id) \(version)")
        }
    }

    @Test("a configuration that is not as it should be is no crash")
    func odd() throws {
        for json in [
            "{}", "[]", #"{"config": 7, "history": [1, null]}"#, #"{"config": {"Env": ["=", "", 3], "Volumes": []}}"#,
        ] {
            _ = try rules(json)
        }
    }

    @Test("layers are read through: set-user-ID files, what later layers hide, locales, os-release, files of volumes")
    func layers() async throws {
        try await Scratch.with { scratch in
            try await scratch.shell(
                """
                mkdir -p a/usr/bin a/etc a/usr/lib/locale/en_GB.utf8 a/data/deep b/usr/bin c/usr
                for f in su ping gone; do touch a/usr/bin/$f; chmod 4755 a/usr/bin/$f; done
                touch a/usr/lib/locale/en_GB.utf8/LC_TIME a/data/x a/data/deep/y
                printf 'ID=debian\\nVERSION_ID="12"\\nPRETTY_NAME="Debian 12"\\n' > a/etc/os-release
                touch b/usr/bin/.wh.gone b/usr/bin/ping; chmod 755 b/usr/bin/ping
                for d in a b; do tar -C $d --owner=0 --group=0 -czf $d.tar.gz .; done
                """)
            let store = try scratch.store()
            func layer(_ name: String) throws -> Descriptor {
                let bytes = Array(try Data(contentsOf: URL(filePath: "\(scratch.folder)/\(name).tar.gz")))
                return Descriptor(
                    mediaType: MediaType.layer + "+gzip", digest: try store.put(bytes), size: Int64(bytes.count))
            }
            var survey = LayerSurvey(volumes: ["/data", "/other"])
            try survey.read([try layer("a"), try layer("b")], in: store)
            #expect(survey.setuid == ["usr/bin/su"] && survey.locales == ["en_GB"])
            #expect(survey.release?.id == "debian" && survey.release?.version == "12" && survey.note == nil)
            #expect(survey.files(below: "/data") == 2 && survey.files(below: "/other") == 0)
            var missing = LayerSurvey(volumes: [])
            #expect(throws: OCIError.self) {
                try missing.read([Descriptor(mediaType: "x", digest: Digest(of: "none"), size: 1)], in: store)
            }
            var huge = LayerSurvey(volumes: [])
            var first = try layer("a")
            first.size = LayerSurvey.largest + 1
            try huge.read([first], in: store)
            #expect(huge.note != nil && huge.setuid.isEmpty)
        }
    }
}
