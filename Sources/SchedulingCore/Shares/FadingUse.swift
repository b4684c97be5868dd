// Use that fades: what was used a half-life ago counts half. In whole numbers, so that every process counts the same.
//
// Nothing is multiplied down as time goes by. Instead later use counts more: by 1 at the beginning of a half-life,
// rising in a straight line to 2 at its end, where all sums are halved. So the sums of two accounts compare the same at
// every moment, an account that does nothing needs no visit, and after each whole half-life the sum is exactly half.

/// In thousandths of processors times seconds, at the value of the beginning of `epoch`.
struct FadingUse: Hashable, Sendable {
    private(set) var amount: Int64 = 0
    /// Half-lives since the beginning of the ledger's time.
    private(set) var epoch: Int64 = 0

    private static let most = Int64.max / 8
    /// After so many half-lives nothing is left.
    private static let longestMemory: Int64 = 60

    /// The amount at the value of a later epoch.
    func amount(in later: Int64) -> Int64 {
        let halvings = max(0, later - epoch)
        return halvings > Self.longestMemory ? 0 : amount >> halvings
    }

    /// Books `rate` thousandths of processors from `start` to `end` of the ledger's time, in milliseconds.
    mutating func add(_ rate: Int64, from start: Int64, to end: Int64, halfLife: Int64) {
        guard rate > 0, end > start else { return }
        var from = max(start, end - halfLife * Self.longestMemory)
        while from < end {
            let period = from / halfLife
            enter(period)
            let to = min(end, (period + 1) * halfLife)
            let weight = Int128(2 * halfLife + from % halfLife + (to - period * halfLife))
            let cost = Int128(rate) * Int128(to - from) * weight / Int128(2 * halfLife) / 1000
            amount = Int64(min(Int128(amount) + cost, Int128(Self.most)))
            from = to
        }
    }

    private mutating func enter(_ later: Int64) {
        guard later > epoch else { return }
        amount = amount(in: later)
        epoch = later
    }

    /// What `rate` for a time of `span` would add now.
    static func worth(_ rate: Int64, for span: Int64, at time: Int64, halfLife: Int64) -> Int64 {
        let value = halfLife + time % halfLife
        if let cost = narrow(rate, span, value, dividedBy: halfLife) { return min(cost, most) }
        let cost = Int128(rate) * Int128(span) * Int128(value) / Int128(halfLife) / 1000
        return Int64(min(cost, Int128(most)))
    }

    /// The same in one division, where it fits: a pass asks for every user.
    private static func narrow(_ rate: Int64, _ span: Int64, _ value: Int64, dividedBy halfLife: Int64) -> Int64? {
        let (product, isLarge) = rate.multipliedReportingOverflow(by: span)
        let (divisor, isLong) = halfLife.multipliedReportingOverflow(by: 1000)
        guard !isLarge, !isLong, product >= 0, value >= 0, divisor > 0 else { return nil }
        let wide = UInt64(product).multipliedFullWidth(by: UInt64(value))
        guard wide.high < UInt64(divisor) else { return nil }
        return Int64(exactly: UInt64(divisor).dividingFullWidth(wide).quotient)
    }
}
