// A root file system that is no image: one folder, for an engine's trial run and for tests.
import JobModel

extension RootFilesystem {
    /// One folder that nobody may change meanwhile.
    package init(folder: String, environment: [String] = [], workingDirectory: String? = nil) {
        self.init(
            layers: [folder], diffIDs: [], manifest: Digest(of: folder), platform: nil, form: .trusted,
            configuration: ImageConfiguration(environment: environment, workingDirectory: workingDirectory))
    }
}

extension LayerLease {
    /// Holds nothing.
    package static var ofNothing: LayerLease { LayerLease {} }
}
