//! The process's limit of open files, raised as far as allowed.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors that are not media sockets: standard streams, rings, event descriptors, control and scrape
/// connections.
const RESERVED: u64 = 256;
/// An ordinary call: two legs with an RTP and an RTCP socket each.
const SOCKETS_PER_SESSION: u64 = 4;

/// Raises the soft limit of open files to the hard one. Failing leaves it as it is.
pub(crate) fn raise_open_files() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!(soft, hard, %error, "the limit of open files stays at its soft value");
    }
}

/// The limit of open files.
pub(crate) fn open_files() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft)
}

/// How many ordinary sessions have room for their sockets. Sockets of io_uring live in a file table per
/// shard, each as large as the limit, and so do not share it.
pub(crate) fn sessions_that_fit(open_files: u64, tables: u64) -> u64 {
    open_files.saturating_sub(RESERVED).saturating_mul(tables.max(1)) / SOCKETS_PER_SESSION
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_share_the_limit_unless_every_shard_has_its_own_table() {
        assert_eq!(sessions_that_fit(20_000, 1), 4_936);
        assert_eq!(sessions_that_fit(20_000, 2), 9_872);
        assert_eq!(sessions_that_fit(200, 2), 0);
    }
}
