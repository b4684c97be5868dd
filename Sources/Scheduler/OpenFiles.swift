// Every agent keeps a connection open, and a service is given a soft limit of about a thousand files: the scheduler
// takes what it may have.
import Glibc

enum OpenFiles {
    /// Raises the soft limit to the hard one.
    static func allowAll() {
        let files = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        var limit = rlimit()
        guard getrlimit(files, &limit) == 0, limit.rlim_cur < limit.rlim_max else { return }
        limit.rlim_cur = limit.rlim_max
        _ = setrlimit(files, &limit)
    }
}
