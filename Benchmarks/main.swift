// Placeholder: the benchmarks are being written.
