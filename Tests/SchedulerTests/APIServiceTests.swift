// The life of the whole service: first start, files with secrets, a second scheduler, graceful stop with calls
// underway.
import Foundation
import HTTPTypes
import JobModel
import Logging
import Scheduler
import TestSupport
import Testing

@Suite struct APIServiceTests {
    @Test("tokens and the database are for the owner alone, and a lost token file is written anew")
    func tokens() async throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "jobctl-api-\(UUID().uuidString)").path
        defer { removeFolder(directory) }
        @Sendable func mode(_ path: String) throws -> Int {
            try #require(FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int)
        }
        let first = try await APIUnderTest.with(directory: directory) { api in
            let modes = try ["/ada.token", ""].map { try mode(directory + $0) }
            #expect(modes == [0o600, 0o700])
            return api.token(of: .ada)
        }
        let second = try await APIUnderTest.with(directory: directory) { $0.token(of: .ada) }
        #expect(second == first)
        try FileManager.default.removeItem(atPath: directory + "/ada.token")
        try await APIUnderTest.with(directory: directory) { api in
            #expect(api.token(of: .ada) != first)
            let new = try await api.call(.get, "/v1/status")
            let old = try await api.call(.get, "/v1/status", as: .nobody, headers: [.authorization: "Bearer \(first)"])
            #expect(new.status == 200 && old.status == 401)
        }
    }

    @Test("a second scheduler on the same folder is refused with a sentence")
    func second() async throws {
        try await APIUnderTest.with { (api) async throws in
            let problem = #expect(throws: Problem.self) {
                try SchedulerService(
                    options: SchedulerOptions(dataDirectory: api.directory), logger: Logger(label: "test"))
            }
            #expect(problem?.detail.contains(api.directory) == true, "\(String(describing: problem))")
        }
    }

    @Test("addresses to listen on are checked")
    func addresses() throws {
        #expect(try SchedulerOptions.address("127.0.0.1:0") == ("127.0.0.1", 0))
        #expect(try SchedulerOptions.address("[::1]:8080") == ("::1", 8080))
        for bad in ["", "8080", ":8080", "host:", "host:99999", "host:-1", "host:1:x"] {
            #expect(throws: Problem.self, "\(bad)") { try SchedulerOptions.address(bad) }
        }
    }
}
