// The copy of a runtime in memory: the same bytes, nobody's to change, and renewed when the program on disk is.
import CLinux
import Foundation
import Glibc
import RunnerCore
import TestSupport
import Testing

@testable import Worker

@Suite struct SealedProgramTests {
    private func bytes(_ file: Int32) -> [UInt8]? {
        lseek(file, 0, SEEK_SET)
        return readAll(file, limit: 1 << 20)
    }

    @Test("a sealed copy has the program's bytes, cannot be written by anybody, and follows an update of the program")
    func copies() throws {
        let folder = try temporaryFolder("sealed-program")
        defer { removeFolder(folder) }
        let path = folder + "/program"
        try Data("first".utf8).write(to: URL(filePath: path))
        let program = SealedProgram(path: path)
        let first = program.descriptor
        #expect(program.descriptor == first)
        #expect(bytes(first) == Array("first".utf8))
        #expect(jc_take_sealed(first) == 1)
        // Root, too: the container's way to its runtime is /proc/PID/exe.
        let again = open("/proc/self/fd/\(first)", O_RDWR)
        let written = again < 0 ? -1 : write(again, "other", 5)
        #expect(written == -1)
        if again >= 0 { close(again) }
        try Data("the second".utf8).write(to: URL(filePath: path + ".new"))
        #expect(rename(path + ".new", path) == 0)
        #expect(bytes(program.descriptor) == Array("the second".utf8))
    }

    @Test("a program that is not there has no copy, and an ordinary file is none")
    func refusals() throws {
        let folder = try temporaryFolder("sealed-program")
        defer { removeFolder(folder) }
        #expect(SealedProgram(path: folder + "/none").descriptor == -1)
        let file = open(folder + "/file", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        defer { close(file) }
        #expect(jc_take_sealed(file) == 0)
    }
}
