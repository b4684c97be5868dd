// `auto` after a restart: the engine on which attempts still run.
import Foundation
import TestSupport
import Testing

@testable import Worker

@Suite struct EngineMemoryTests {
    @Test("while attempts are there, auto means the engine that they run on; what was asked for by name counts more")
    func memory() throws {
        let folder = try temporaryFolder("engine-memory")
        defer { removeFolder(folder) }
        let memory = EngineMemory(dataFolder: folder)
        #expect(memory.choice(.auto, hasAttempts: true) == .auto)
        try memory.remember("docker")
        #expect(memory.choice(.auto, hasAttempts: true) == .docker)
        #expect(memory.choice(.auto, hasAttempts: false) == .auto)
        #expect(memory.choice(.oci, hasAttempts: true) == .oci)
        try memory.remember("simulated")
        #expect(memory.choice(.auto, hasAttempts: true) == .auto)
    }
}
