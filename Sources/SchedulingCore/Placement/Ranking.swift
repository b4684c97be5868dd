// Which of the workers that fit is taken: a list of small scores, the first that differs decides, the lower wins.
// Ties go to the first by name: candidates come in that order and a later one must be better. Feasibility is not looked
// at here.

struct Score: Sendable {
    let name: String
    let of: @Sendable (Amounts) -> Int64
}

enum Ranking {
    /// Fill the fullest worker first, so that large tasks find room elsewhere.
    static let pack = [Score(name: "free cpus") { $0.cpus }]

    static func isBetter(_ a: Amounts, than b: Amounts, by scores: [Score] = pack) -> Bool {
        for score in scores {
            let (x, y) = (score.of(a), score.of(b))
            if x != y { return x < y }
        }
        return false
    }
}
