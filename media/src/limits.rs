//! The process's limit of open files, raised as far as allowed.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors that are not media sockets: standard streams, rings, event descriptors, control and scrape
/// connections.
const RESERVED: u64 = 256;
/// An ordinary call: two legs with an RTP and an RTCP socket each.
const SOCKETS_PER_SESSION: u64 = 4;
/// The kernel's `IORING_MAX_FIXED_FILES`.
const MAX_FILE_TABLE: u64 = 1 << 20;

/// Raises the limit of open files to the hard one, and where this process may, that one to what so many sessions
/// need. Failing leaves it as it is.
pub(crate) fn raise_open_files(sessions: u32) {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let highest = std::fs::read_to_string("/proc/sys/fs/nr_open").ok().and_then(|text| text.trim().parse().ok());
    let wanted = (u64::from(sessions) * SOCKETS_PER_SESSION + RESERVED).min(highest.unwrap_or(MAX_FILE_TABLE));
    // Beyond the hard limit takes CAP_SYS_RESOURCE.
    if wanted > hard && setrlimit(Resource::RLIMIT_NOFILE, wanted, wanted).is_ok() {
        return;
    }
    if soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!(soft, hard, %error, "the limit of open files stays at its soft value");
    }
}

/// The limit of open files.
pub(crate) fn open_files() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft)
}

/// The largest file table of an io_uring: the kernel bounds it by the limit of open files, though files in it do
/// not count as open, and by a constant of its own.
pub(crate) fn file_table(open_files: u64) -> u64 {
    open_files.min(MAX_FILE_TABLE)
}

/// Where the descriptors of media sockets are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Descriptors {
    /// In the process's own table.
    Process,
    /// In as many file tables of io_urings, one for each shard, which do not share the limit.
    Tables(u64),
    /// Nowhere: sessions have no sockets of their own.
    Shared,
}

/// How many ordinary sessions have room for their sockets.
pub(crate) fn sessions_that_fit(open_files: u64, descriptors: Descriptors) -> u64 {
    let (files, times) = match descriptors {
        Descriptors::Process => (open_files, 1),
        Descriptors::Tables(tables) => (file_table(open_files), tables),
        Descriptors::Shared => return u64::MAX,
    };
    files.saturating_sub(RESERVED).saturating_mul(times) / SOCKETS_PER_SESSION
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_share_the_limit_unless_every_shard_has_its_own_table() {
        assert_eq!(sessions_that_fit(20_000, Descriptors::Process), 4_936);
        assert_eq!(sessions_that_fit(20_000, Descriptors::Tables(2)), 9_872);
        assert_eq!(sessions_that_fit(200, Descriptors::Tables(2)), 0);
        assert_eq!(sessions_that_fit(200, Descriptors::Shared), u64::MAX);
    }

    #[test]
    fn a_file_table_is_never_larger_than_the_kernel_allows() {
        assert_eq!(file_table(20_000), 20_000);
        assert_eq!(file_table(1 << 30), 1 << 20);
        assert_eq!(
            sessions_that_fit(1 << 30, Descriptors::Tables(1)),
            sessions_that_fit(1 << 20, Descriptors::Tables(1))
        );
        assert_eq!(
            sessions_that_fit(1 << 30, Descriptors::Tables(2)),
            2 * sessions_that_fit(1 << 20, Descriptors::Process)
        );
        assert!(sessions_that_fit(1 << 30, Descriptors::Process) > sessions_that_fit(1 << 20, Descriptors::Process));
    }
}
