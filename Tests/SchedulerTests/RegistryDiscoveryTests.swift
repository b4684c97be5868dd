// Workflow 3 of the OCI distribution specification 1.1, "Content Discovery", as the public conformance suite walks
// through it: tags and referrers, in pages.
import Foundation
import HTTPTypes
import JobModel
import OCI
import TestSupport
import Testing

@Suite(.serialized) struct RegistryDiscoveryTests {
    private let image = PushedImage("discovery")

    private struct TagList: Decodable {
        let name: String
        let tags: [String]
    }

    private struct Page: Equatable {
        let tags: [String]
        var link: String?
    }

    private static func tags(_ query: String = "", _ api: APIUnderTest) async throws -> Page {
        let answer = try await api.call(.get, "/v2/ada/stack/tags/list\(query)")
        #expect(answer.status == 200, "\(answer.text)")
        let list = try answer.decoded(TagList.self)
        #expect(list.name == "ada/stack")
        return Page(tags: list.tags, link: answer.headers[.link])
    }

    @Test(
        "end-8a, end-8b: tags come in lexical order, limited by n, beginning after last, with a link to the next page")
    func tags() async throws {
        try await APIUnderTest.with { [image] api in
            try await api.push(image, as: "ada/stack:test2")
            for tag in ["test10", "Beta", "alpha", "test1", "beta", "latest"] {
                #expect(try await api.put(image.manifest, at: "ada/stack", tag).status == 201)
            }
            try await api.push(image, as: "ada/stack-two:other")
            let all = ["alpha", "Beta", "beta", "latest", "test1", "test10", "test2"]
            #expect(try await Self.tags("", api) == Page(tags: all))
            #expect(try await Self.tags("?n=100", api) == Page(tags: all))
            // When n is zero the list MUST be empty, without a link.
            #expect(try await Self.tags("?n=0", api) == Page(tags: []))
            let first = try await Self.tags("?n=3", api)
            let next = #"</v2/ada/stack/tags/list?n=3&last=beta>; rel="next""#
            #expect(first == Page(tags: Array(all[0..<3]), link: next))
            #expect(try await Self.tags("?n=3&last=beta", api).tags == Array(all[3..<6]))
            #expect(try await Self.tags("?n=3&last=test10", api) == Page(tags: ["test2"]))
            #expect(try await Self.tags("?last=test1", api).tags == ["test10", "test2"])
            #expect(try await Self.tags("?last=c", api).tags == Array(all[3...]))
        }
    }

    @Test("a page that ends with the last tag has no link, and a repository that is not there is 404")
    func edges() async throws {
        try await APIUnderTest.with { [image] api in
            try await api.push(image, as: "ada/stack:1")
            #expect(try await Self.tags("?n=1", api) == Page(tags: ["1"]))
            let missing = try await api.call(.get, "/v2/ada/nothing/tags/list")
            #expect(missing.status == 404 && missing.code == "NAME_UNKNOWN")
            for n in ["-1", "x", "1.5"] {
                #expect(try await api.call(.get, "/v2/ada/stack/tags/list?n=\(n)").status == 400)
            }
        }
    }

    @Test("a repository whose manifests were pushed by digest alone has an empty list of tags")
    func untagged() async throws {
        try await APIUnderTest.with { [image] api in
            try await api.push(image.configuration, to: "ada/stack")
            try await api.push(image.layer, to: "ada/stack")
            #expect(try await api.put(image.manifest, at: "ada/stack").status == 201)
            #expect(try await Self.tags("", api) == Page(tags: []))
        }
    }

    private func index(about subject: Content, _ annotation: String, type: String?) -> Content {
        let type = type.map { #""artifactType":"\#($0)","# } ?? ""
        return Content(
            #"{"schemaVersion":2,"mediaType":"\#(MediaType.index)",\#(type)"manifests":[],"subject":\#(subject.descriptor(MediaType.manifest)),"annotations":{"org.example.test":"\#(annotation)"}}"#
        )
    }

    private struct Index: Decodable {
        struct Entry: Decodable {
            let mediaType: String
            let digest: String
            let size: Int
            let artifactType: String?
            let annotations: [String: String]?
        }
        let schemaVersion: Int
        let mediaType: String
        let manifests: [Entry]
    }

    private static func referrers(_ subject: String, _ query: String = "", _ api: APIUnderTest) async throws -> (
        [Index.Entry], HTTPFields
    ) {
        let answer = try await api.call(.get, "/v2/ada/stack/referrers/\(subject)\(query)")
        #expect(answer.status == 200, "\(answer.text)")
        #expect(answer.headers[.contentType] == MediaType.index)
        let index = try answer.decoded(Index.self)
        #expect(index.schemaVersion == 2 && index.mediaType == MediaType.index)
        return (index.manifests, answer.headers)
    }

    @Test("a manifest with a subject is answered with OCI-Subject, also when the subject is not there yet")
    func subject() async throws {
        try await APIUnderTest.with { [image] api in
            try await api.push(emptyConfiguration, to: "ada/stack")
            let answer = try await api.put(artifact("a/b", about: image.manifest, annotation: "early"), at: "ada/stack")
            #expect(answer.status == 201 && answer.headers[.subject] == image.manifest.digest)
            try await api.push(image, as: "ada/stack:1")
            let none = try await api.put(image.manifest, at: "ada/stack", "2")
            #expect(none.headers[.subject] == nil)
        }
    }

    @Test("end-12a, end-12b: referrers are listed with type and annotations, and filtered by artifactType")
    func referrers() async throws {
        try await APIUnderTest.with { [image] api in
            try await api.push(image, as: "ada/stack:1")
            try await api.push(emptyConfiguration, to: "ada/stack")
            let byType = artifact("application/vnd.sbom", about: image.manifest, annotation: "type")
            // Without an artifactType it MUST be the type of the configuration.
            let byConfiguration = artifact(
                nil, about: image.manifest, annotation: "configuration", configurationType: "application/vnd.sign")
            let plainIndex = index(about: image.manifest, "plain", type: nil)
            let typedIndex = index(about: image.manifest, "typed", type: "application/vnd.sbom")
            for content in [byType, byConfiguration] {
                #expect(try await api.put(content, at: "ada/stack").status == 201)
            }
            for content in [plainIndex, typedIndex] {
                #expect(try await api.put(content, at: "ada/stack", type: MediaType.index).status == 201)
            }
            let (all, headers) = try await Self.referrers(image.manifest.digest, "", api)
            #expect(headers[.filters] == nil)
            #expect(Set(all.map(\.digest)) == Set([byType, byConfiguration, plainIndex, typedIndex].map(\.digest)))
            func entry(_ content: Content) -> Index.Entry? { all.first { $0.digest == content.digest } }
            #expect(entry(byType)?.artifactType == "application/vnd.sbom")
            #expect(entry(byType)?.annotations == ["org.example.test": "type"])
            #expect(entry(byType)?.size == byType.size && entry(byType)?.mediaType == MediaType.manifest)
            #expect(entry(byConfiguration)?.artifactType == "application/vnd.sign")
            // An index without one MUST omit it.
            #expect(entry(plainIndex)?.artifactType == nil && entry(plainIndex)?.mediaType == MediaType.index)

            let (filtered, applied) = try await Self.referrers(
                image.manifest.digest, "?artifactType=application%2Fvnd.sbom", api)
            #expect(applied[.filters] == "artifactType")
            #expect(Set(filtered.map(\.digest)) == Set([byType, typedIndex].map(\.digest)))
        }
    }

    @Test("nobody refers: an empty index with 200, never 404, and a digest that is none is 400")
    func noReferrers() async throws {
        try await APIUnderTest.with { [image] api in
            #expect(try await Self.referrers(absentDigest, "", api).0.isEmpty)
            try await api.push(image, as: "ada/stack:1")
            #expect(try await Self.referrers(image.manifest.digest, "?artifactType=x", api).0.isEmpty)
            let bad = try await api.call(.get, "/v2/ada/stack/referrers/sha256:no")
            #expect(bad.status == 400 && bad.code == "DIGEST_INVALID")
        }
    }

    @Test("referrers whose annotations do not fit one index come in pages that are linked")
    func pages() async throws {
        try await APIUnderTest.with { [image] api in
            try await api.push(emptyConfiguration, to: "ada/stack")
            var pushed: Set<String> = []
            for letter in ["a", "b", "c"] {
                let large = artifact(
                    "x/y", about: image.manifest, annotation: String(repeating: letter, count: 2 << 20))
                #expect(try await api.put(large, at: "ada/stack").status == 201)
                pushed.insert(large.digest)
            }
            var query = "?artifactType=x%2Fy"
            var found: [String] = []
            for page in 1...3 {
                let (entries, headers) = try await Self.referrers(image.manifest.digest, query, api)
                #expect(entries.count == 1)
                found += entries.map(\.digest)
                let link = headers[.link]
                #expect((link != nil) == (page < 3))
                guard let link, let mark = link.firstIndex(of: "?"), let end = link.firstIndex(of: ">") else { break }
                query = String(link[mark..<end])
            }
            #expect(Set(found) == pushed && found.count == 3)
        }
    }

    @Test("a referrer is listed in its own repository only")
    func otherRepository() async throws {
        try await APIUnderTest.with { [image] api in
            try await api.push(emptyConfiguration, to: "ada/other")
            _ = try await api.put(artifact("x/y", about: image.manifest, annotation: "a"), at: "ada/other")
            #expect(try await Self.referrers(image.manifest.digest, "", api).0.isEmpty)
        }
    }
}
