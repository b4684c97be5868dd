// A bearer token: 256 random bits as URL-safe text. The text exists in the answer that creates it, and nowhere else:
// what is kept is its SHA-256. Who may do what with a token belongs to API/Routes.swift.
import Foundation
import JobModel

/// A secret that proves who calls. Prints as `•••`, so that no log line can hold it.
package struct Token: Hashable, Sendable, CustomStringConvertible, CustomDebugStringConvertible {
    /// The secret itself. Only for the answer or the file that hands it to its user.
    package let text: String

    package static let prefix = "jobctl_"
    /// No token is longer: longer texts are refused unhashed.
    package static let longestText = 256

    /// A new token from the system's cryptographic random numbers.
    package static func random() -> Token {
        var generator = SystemRandomNumberGenerator()
        let bytes = (0..<4).flatMap { _ in withUnsafeBytes(of: generator.next()) { Array($0) } }
        let base64 = Data(bytes).base64EncodedString()
        let urlSafe = base64.replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
        return Token(text: prefix + urlSafe)
    }

    /// A token as a caller presented it. It may be anything; only a look-up by its hash says whether it is good.
    package init(text: String) { self.text = text }

    /// What the scheduler keeps.
    package var hash: Digest { Digest(of: text) }

    package var description: String { "•••" }
    package var debugDescription: String { "•••" }
}
