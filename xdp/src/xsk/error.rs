//! Why there is no AF_XDP socket.

use std::io;

/// Why an AF_XDP socket or its memory could not be made. Each names what is missing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum XskError {
    /// The process may not open such sockets.
    #[error("it needs CAP_NET_RAW")]
    Capability,
    /// The kernel was built without them.
    #[error("this kernel has no AF_XDP sockets (CONFIG_XDP_SOCKETS)")]
    Unsupported,
    /// The memory of packets is above the limit of locked memory.
    #[error(
        "{kib} KiB of packet memory are above the limit of locked memory: raise it (LimitMEMLOCK), or set fewer frames"
    )]
    LockedMemory {
        /// How much was asked for.
        kib: usize,
    },
    /// Another socket has this queue.
    #[error("queue {queue} of interface {interface} is taken by another AF_XDP socket")]
    QueueTaken {
        /// The interface's index.
        interface: u32,
        /// The queue.
        queue: u32,
    },
    /// The interface has no such queue.
    #[error("interface {interface} has no queue {queue}: see `ethtool -l`")]
    NoQueue {
        /// The interface's index.
        interface: u32,
        /// The queue.
        queue: u32,
    },
    /// There is no such interface.
    #[error("there is no interface {0}")]
    NoInterface(u32),
    /// The driver has no zero-copy receive, or not with this memory.
    #[error("the driver of interface {0} has no zero-copy AF_XDP: let it copy")]
    ZeroCopy(u32),
    /// The kernel refused something else.
    #[error("{what}: {error}")]
    Kernel {
        /// What.
        what: &'static str,
        /// The kernel's words.
        error: io::Error,
    },
}

impl XskError {
    pub(super) fn kernel(what: &'static str) -> impl FnOnce(io::Error) -> XskError {
        move |error| XskError::Kernel { what, error }
    }

    /// Whether the same would succeed if the kernel were let copy, or with memory of its own.
    pub fn is_about_zero_copy(&self) -> bool {
        matches!(self, XskError::ZeroCopy(_))
    }
}
