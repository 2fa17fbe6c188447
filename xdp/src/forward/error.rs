//! Why there is no forwarding, in words that name what is missing or who is in the way.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use moorline_xdp_abi::forward::{MAX_FLOWS, MAX_INTERFACES, MAX_QUEUES};

use crate::lookup::LookupError;

/// Why packets are not forwarded in the driver.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForwardError {
    /// The process lacks capabilities, which are named.
    #[error("it needs {0}")]
    Capabilities(String),
    /// The process has another clock than the program.
    #[error("it runs in a time namespace whose monotonic clock is not the host's: the XDP program has the host's")]
    Clock,
    /// The ranges cannot be laid out.
    #[error("{0}")]
    Ranges(String),
    /// There would be too many flows.
    #[error("{0} flows, and the forwarding program knows at most {MAX_FLOWS}")]
    Flows(u32),
    /// There is no interface of this name or index.
    #[error("there is no interface {0}")]
    NoInterface(String),
    /// No interface, or more than the program knows.
    #[error("{0} interfaces, and the forwarding program is attached to 1 to {MAX_INTERFACES}")]
    Interfaces(usize),
    /// Another Moorline has the interface.
    #[error("another Moorline, process {pid}, forwards on {interface}")]
    Taken {
        /// The interface.
        interface: String,
        /// Its process.
        pid: u32,
    },
    /// Another Moorline has the pinned tables.
    #[error("another Moorline, process {pid}, has the tables in {}", path.display())]
    PinTaken {
        /// The folder.
        path: PathBuf,
        /// Its process.
        pid: u32,
    },
    /// Another program is attached to the interface.
    #[error("{interface} has another XDP program already: {program}")]
    OtherProgram {
        /// The interface.
        interface: String,
        /// What is known of it.
        program: String,
    },
    /// The driver takes no XDP program, as far as can be told.
    #[error("the driver {driver} of {interface} takes no XDP program: {reason}")]
    Driver {
        /// The interface.
        interface: String,
        /// Its driver.
        driver: String,
        /// The kernel's words.
        reason: String,
    },
    /// The kernel refuses the memory.
    #[error(
        "{0}: not permitted; before Linux 5.11 that means that the limit of locked memory is too low (LimitMEMLOCK)"
    )]
    Memlock(&'static str),
    /// An AF_XDP socket of a queue that the program knows no place for.
    #[error("queue {0}, and the forwarding program knows {MAX_QUEUES}")]
    Queue(u32),
    /// A hop was written again too soon, or leads by an interface that the program is not attached to.
    #[error("hop {hop}: {reason}")]
    Hop {
        /// Its number.
        hop: u16,
        /// Why not.
        reason: &'static str,
    },
    /// Pinning failed.
    #[error("{}: {reason}", path.display())]
    Pin {
        /// What could not be pinned, or taken over.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The kernel refused something.
    #[error("{what}: {reason}")]
    Kernel {
        /// What.
        what: &'static str,
        /// The kernel's words.
        reason: String,
    },
}

impl From<LookupError> for ForwardError {
    fn from(error: LookupError) -> ForwardError {
        ForwardError::Ranges(error.to_string())
    }
}

/// The error of something done, by the innermost cause, which says the most.
pub(super) fn of<E: Error + 'static>(what: &'static str) -> impl FnOnce(E) -> ForwardError {
    move |error| match errno(&error) {
        Some(libc::EPERM) => ForwardError::Memlock(what),
        _ => ForwardError::Kernel { what, reason: crate::innermost(&error) },
    }
}

/// The same of a pinned file.
pub(super) fn pin<E: Error + 'static>(path: impl Into<PathBuf>) -> impl FnOnce(E) -> ForwardError {
    move |error| ForwardError::Pin { path: path.into(), reason: crate::innermost(&error) }
}

/// The kernel's error number, where there is one among the causes.
pub(super) fn errno(error: &(dyn Error + 'static)) -> Option<i32> {
    let causes = std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| (*error).source());
    causes.filter_map(|cause| cause.downcast_ref::<io::Error>()).find_map(io::Error::raw_os_error)
}
