// Workloads after Lublin and Feitelson ("The workload on parallel supercomputers: modeling the characteristics of rigid
// jobs", 2003), with their parameters for batch jobs: sizes log-uniform in two stages, with many serial jobs and powers
// of two; run times hyper-gamma, longer for larger jobs; a daily cycle. Added: users, and requests that are too high.
import Foundation

extension Workload {
    /// - Parameters:
    ///   - load: work that arrives, in thousandths of what the machine can do.
    package static func generate(jobs count: Int, processors: Int64, load: Int64, seed: UInt64) -> Workload {
        var dice = Dice(seed: seed)
        var jobs: [WorkloadJob] = []
        var (time, work) = (0.0, 0.0)
        for number in 1...max(1, count) {
            let size = drawSize(&dice, processors)
            let run = drawRunTime(&dice, size)
            time += drawGap(&dice, at: time)
            work += Double(size) * Double(run)
            let factor = Double(dice.roll(100...500)) / 100
            let quarter = 900.0
            let requested = Int64((Double(run) * factor / quarter).rounded(.up) * quarter)
            // Few users submit most of the jobs.
            let user = min(dice.roll(1...20), dice.roll(1...20))
            jobs.append(
                WorkloadJob(
                    number: Int64(number), submitted: Int64(time), runTime: run, processors: size,
                    requestedTime: requested, user: user))
        }
        let wanted = work * 1000 / (Double(processors) * Double(max(1, load)))
        let stretch = wanted / max(1, time)
        for place in jobs.indices { jobs[place].submitted = Int64(Double(jobs[place].submitted) * stretch) }
        return Workload(jobs: jobs, processors: processors)
    }

    private static func drawSize(_ dice: inout Dice, _ processors: Int64) -> Int64 {
        let high = log2(Double(processors))
        guard dice.fraction() > 0.244, high > 1 else { return 1 }
        let (low, middle) = (0.8, max(0.8, high - 2.5))
        let isSmall = dice.fraction() <= 0.86
        let (from, to) = isSmall ? (low, middle) : (middle, high)
        let logarithm = from + dice.fraction() * (to - from)
        let isPower = dice.fraction() <= 0.576
        let size = exp2(isPower ? logarithm.rounded() : logarithm).rounded()
        return min(processors, max(1, Int64(size)))
    }

    private static func drawRunTime(_ dice: inout Dice, _ size: Int64) -> Int64 {
        let portion = min(0.95, max(0.05, -0.0054 * Double(size) + 0.78))
        let logarithm =
            dice.fraction() <= portion
            ? dice.gamma(shape: 4.2, scale: 0.94) : dice.gamma(shape: 312, scale: 0.03)
        return Int64(min(exp(logarithm), 60 * 3600).rounded(.up))
    }

    /// Seconds to the next arrival: nights are quiet.
    private static func drawGap(_ dice: inout Dice, at time: Double) -> Double {
        let hour = Int(time / 3600) % 24
        let isDay = (8..<20).contains(hour)
        return exp(dice.gamma(shape: 10.23, scale: 0.4871)) * (isDay ? 0.6 : 2)
    }
}

extension Dice {
    /// From 0 to below 1.
    fileprivate mutating func fraction() -> Double { Double(next() >> 11) / Double(1 << 53 as UInt64) }

    private mutating func normal() -> Double {
        let radius = (-2 * log(1 - fraction())).squareRoot()
        return radius * cos(2 * Double.pi * fraction())
    }

    /// Marsaglia and Tsang, 2000; the shape is at least 1.
    fileprivate mutating func gamma(shape: Double, scale: Double) -> Double {
        let d = shape - 1.0 / 3
        let c = 1 / (9 * d).squareRoot()
        while true {
            let x = normal()
            let v = (1 + c * x) * (1 + c * x) * (1 + c * x)
            guard v > 0 else { continue }
            if log(1 - fraction()) < 0.5 * x * x + d - d * v + d * log(v) { return d * v * scale }
        }
    }
}
