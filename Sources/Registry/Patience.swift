// When to try again: what a registry asks for by `Retry-After`, and what we do where it asks for nothing.
import CCurl
import Foundation

/// How often and how long one call waits before it tries again.
struct Patience {
    enum Answer: Equatable {
        /// Seconds.
        case wait(Double)
        /// The registry asks for more seconds than this call has.
        case tooLong(Int)
        case giveUp
    }

    private var seconds: Double
    private let tries: Int
    private var count = 0
    /// What is asked for beyond this counts as this: nobody knows what a registry does tomorrow.
    static let longest = 6 * 3600

    init(seconds: Double, tries: Int) {
        self.seconds = seconds
        self.tries = tries
    }

    /// - Parameter asked: see ``retryAfter(_:date:now:)``.
    mutating func pause(asked: Int?) -> Answer {
        count += 1
        guard count < tries else { return asked.map { .tooLong(min($0, Self.longest)) } ?? .giveUp }
        let doubled = 0.1 * Double(1 << min(count, 10))
        let pause = asked.map(Double.init) ?? doubled
        guard pause <= seconds else { return asked.map { .tooLong(min($0, Self.longest)) } ?? .giveUp }
        seconds -= pause
        return .wait(pause)
    }

    mutating func renew() { count = 0 }
}

/// The seconds that a `Retry-After` asks for (RFC 9110, section 10.2.3): a number, or a date in any of HTTP's forms.
/// - Parameters:
///   - date: the answer's own `Date`, so that a registry's clock need not be ours.
///   - now: seconds since 1970, for answers without one.
/// - Returns: nil if it says nothing that can be understood; 0 for what is over.
func retryAfter(_ value: String?, date: String?, now: Double) -> Int? {
    guard let value, (1...64).contains(value.utf8.count) else { return nil }
    if value.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) {
        return Int32(value).map(Int.init) ?? Patience.longest
    }
    guard let until = seconds(of: value) else { return nil }
    return Int(max(0, min(until - (seconds(of: date) ?? now), Double(Patience.longest))).rounded(.up))
}

/// An HTTP date, read by libcurl.
private func seconds(of date: String?) -> Double? {
    guard let date, date.utf8.count <= 64, date.contains(":") else { return nil }
    let time = curl_getdate(date, nil)
    return time < 0 ? nil : Double(time)
}
