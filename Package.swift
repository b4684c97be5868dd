// swift-tools-version:6.2
// Targets stand in dependency order, top to bottom. What a target may import is checked by HouseRulesTests.
import PackageDescription

let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
]

let argumentParser: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let asyncAlgorithms: Target.Dependency = .product(name: "AsyncAlgorithms", package: "swift-async-algorithms")
let asyncHTTPClient: Target.Dependency = .product(name: "AsyncHTTPClient", package: "async-http-client")
let collections: Target.Dependency = .product(name: "Collections", package: "swift-collections")
let crypto: Target.Dependency = .product(name: "Crypto", package: "swift-crypto")
let sqlite: Target.Dependency = .product(name: "GRDBSQLite", package: "GRDB.swift")
let grdb: Target.Dependency = .product(name: "GRDB", package: "GRDB.swift")
let httpTypes: Target.Dependency = .product(name: "HTTPTypes", package: "swift-http-types")
let hummingbird: Target.Dependency = .product(name: "Hummingbird", package: "hummingbird")
let hummingbirdTesting: Target.Dependency = .product(name: "HummingbirdTesting", package: "hummingbird")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let nioCore: Target.Dependency = .product(name: "NIOCore", package: "swift-nio")
let nioFoundationCompat: Target.Dependency = .product(name: "NIOFoundationCompat", package: "swift-nio")
let nioHTTP1: Target.Dependency = .product(name: "NIOHTTP1", package: "swift-nio")
let nioPosix: Target.Dependency = .product(name: "NIOPosix", package: "swift-nio")
let serviceLifecycle: Target.Dependency = .product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let subprocess: Target.Dependency = .product(name: "Subprocess", package: "swift-subprocess")
let yams: Target.Dependency = .product(name: "Yams", package: "Yams")

func library(
    _ name: String, _ dependencies: [Target.Dependency], path: String? = nil, exclude: [String] = [],
    resources: [Resource]? = nil
) -> Target {
    .target(
        name: name, dependencies: dependencies, path: path, exclude: exclude, resources: resources,
        swiftSettings: settings)
}

func program(_ name: String, _ dependencies: [Target.Dependency], path: String? = nil) -> Target {
    .executableTarget(name: name, dependencies: dependencies, path: path, swiftSettings: settings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency], resources: [Resource]? = nil) -> Target {
    .testTarget(name: name, dependencies: dependencies, resources: resources, swiftSettings: settings)
}

let package = Package(
    name: "jobctl",
    platforms: [.macOS(.v15)],
    products: [
        .executable(name: "jobctl", targets: ["jobctl"]),
        .executable(name: "jobctl-scheduler", targets: ["jobctl-scheduler"]),
        .executable(name: "jobctl-worker", targets: ["jobctl-worker"]),
        .executable(name: "jobctl-runner", targets: ["jobctl-runner"]),
        .executable(name: "jobctl-simulate", targets: ["jobctl-simulate"]),
        .executable(name: "jobctl-bench", targets: ["jobctl-bench"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-async-algorithms", from: "1.1.4"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1", traits: []),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2", traits: []),
    ],
    targets: [
        .target(name: "CLinux"),
        .systemLibrary(name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
        .systemLibrary(name: "CArchive", pkgConfig: "libarchive", providers: [.apt(["libarchive-dev"])]),

        library("JobModel", [yams, crypto]),
        library("SchedulingCore", ["JobModel", collections]),
        library("OCI", ["JobModel", "CArchive", "CLinux", crypto]),
        library("Registry", ["JobModel", "OCI", "CCurl", logging]),
        library("SchedulerClient", ["JobModel", asyncHTTPClient, nioCore, nioFoundationCompat, nioHTTP1, nioPosix]),
        library(
            "Migrations", [], path: "Migrations", exclude: ["schema.sql"],
            resources: [
                .embedInCode("0001_initial.sql"), .embedInCode("0002_registry.sql"),
                .embedInCode("0003_image_builds.sql"), .embedInCode("0004_exports.sql"),
                .embedInCode("0005_pulls_and_retention.sql"), .embedInCode("0006_queues.sql"),
                .embedInCode("0007_job_shapes.sql"), .embedInCode("0008_schedules.sql"),
                .embedInCode("0009_compaction.sql"), .embedInCode("0010_accounting.sql"),
                .embedInCode("0011_placement.sql"),
                .embedInCode("0012_time_limits.sql"),
            ]
        ),
        library(
            "Scheduler",
            [
                "JobModel", "SchedulingCore", "OCI", "Registry", "Migrations", "CLinux",
                asyncAlgorithms, grdb, sqlite, hummingbird, httpTypes, serviceLifecycle, logging, crypto, nioCore,
                nioPosix, nioFoundationCompat,
            ]),
        library("RunnerCore", ["CLinux"]),
        library(
            "Worker",
            [
                "JobModel", "SchedulerClient", "OCI", "CLinux", "RunnerCore",
                asyncAlgorithms, asyncHTTPClient, hummingbird, httpTypes, serviceLifecycle, subprocess, logging, crypto,
                nioCore,
                nioPosix,
                nioFoundationCompat,
            ]),
        .target(name: "CSimulatedDisk", linkerSettings: [.linkedLibrary("sqlite3")]),
        library("Simulation", ["JobModel", "SchedulingCore", "Scheduler", "SchedulerClient", "CSimulatedDisk"]),

        program(
            "jobctl",
            [
                "JobModel", "SchedulerClient", "CLinux", argumentParser, asyncAlgorithms, yams, crypto, nioCore,
                nioPosix,
            ]),
        program("jobctl-scheduler", ["Scheduler", "JobModel", argumentParser, logging]),
        program("jobctl-worker", ["Worker", argumentParser, logging]),
        // Static through and through: it starts in a millisecond, and runs as a container's init whatever the image has.
        // Its entry point looks first whether it is an init.
        .target(name: "CRunnerEntry", dependencies: ["CLinux"]),
        .executableTarget(
            name: "jobctl-runner", dependencies: ["RunnerCore", "CLinux", "CRunnerEntry"], swiftSettings: settings,
            linkerSettings: [.unsafeFlags(["-static-executable", "-Xlinker", "-e", "-Xlinker", "jc_entry"])]),
        program("jobctl-simulate", ["Simulation", "JobModel", argumentParser]),
        program(
            "jobctl-bench",
            [
                "JobModel", "SchedulerClient", "SchedulingCore", "Scheduler", "OCI", "RunnerCore", "CLinux",
                "TestSupport", argumentParser,
                grdb,
                nioCore,
            ], path: "Benchmarks"),

        library(
            "TestSupport", ["JobModel", "SchedulingCore", "SchedulerClient", subprocess, nioCore],
            path: "Tests/TestSupport"),
        tests("JobModelTests", ["JobModel", "TestSupport"], resources: [.copy("Golden")]),
        tests("SchedulingCoreTests", ["SchedulingCore", "JobModel", "TestSupport"]),
        tests("OCITests", ["OCI", "Registry", "JobModel", "TestSupport", "CArchive", "CLinux"]),
        tests(
            "SchedulerTests",
            [
                "Scheduler", "JobModel", "SchedulingCore", "OCI", "Registry", "SchedulerClient", "Migrations", "Worker",
                "TestSupport", asyncAlgorithms, asyncHTTPClient, grdb, hummingbird, hummingbirdTesting, logging,
                serviceLifecycle,
            ], resources: [.copy("Golden")]),
        tests("RunnerCoreTests", ["RunnerCore"]),
        tests(
            "WorkerTests",
            ["Worker", "RunnerCore", "OCI", "JobModel", "SchedulerClient", "TestSupport", "CLinux", logging],
            resources: [.copy("Golden")]),
        tests("JobctlTests", ["JobModel", "TestSupport"], resources: [.copy("Golden")]),
        tests("SimulationTests", ["Simulation", "TestSupport"]),
        tests("EndToEndTests", ["JobModel", "CLinux", "SchedulerClient", "TestSupport"]),
        tests("HouseRulesTests", []),
    ]
)
