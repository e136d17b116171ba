//! What the operating system allows this process.

/// Raises the soft limit of open files to the hard one: a connection is a file, and the usual soft limit is 1024.
pub(crate) fn allow_many_connections() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

        let limit = getrlimit(Resource::Nofile);
        // Where it is refused, the limit that holds is met later, as an error that says so.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    }
}
