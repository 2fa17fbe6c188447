//! Why the signaling process could not start or had to stop.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use moorline_sip::Transport;

use crate::ConfigFault;
use crate::cdr::CdrFault;
use crate::radius::SecretFault;
use crate::store::StoreFault;

/// Why the signaling process could not start or had to stop. Each says what, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum SignalingError {
    /// The configuration is at fault.
    #[error("{} in the signaling configuration, the first: {}", faults(.0), .0.first().map(ToString::to_string).unwrap_or_default())]
    Config(Vec<ConfigFault>),
    /// Started as root, for addresses that strangers reach, with no user to become.
    #[error(
        "signaling would serve {0} as root; set `signaling.user` to the user it shall become, \
         or start it as that user"
    )]
    Root(SocketAddr),
    /// Started as root, and the user to become is not usable.
    #[error("cannot become the user {user:?}: {problem}; create it (useradd --system {user}) or name another")]
    User {
        /// The configured user.
        user: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A SIP address could not be bound.
    #[error("listener {name:?} cannot bind {bind}/{}: {source}; {}", .transport.param(), bind_remedy(.source))]
    Bind {
        /// The listener's name.
        name: String,
        /// The address.
        bind: SocketAddr,
        /// What was to be served there.
        transport: Transport,
        /// The system's words.
        source: io::Error,
    },
    /// The certificates of a listener could not be read by the user that signaling became.
    #[error("listener certificates: {0}")]
    Certificates(String),
    /// The directory that is to outlive this process cannot be used.
    #[error("signaling.state: {0}")]
    Store(StoreFault),
    /// Calls cannot be recorded where they are to be.
    #[error("signaling.cdr: {0}; see `signaling.cdr.directory` and `signaling.state`")]
    Records(CdrFault),
    /// The directory is another process's, or the files of the limits in it cannot be used.
    #[error("limits of trunks: {0}; see `signaling.state`")]
    Limits(String),
    /// The socket for commands was asked for, and could not be made.
    #[error("signaling.command {}: {}; make its directory, or name another path", path.display(), crate::access::why(path, source))]
    Command {
        /// The path.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The secret shared with the RADIUS servers cannot be used by the user that signaling became.
    #[error("signaling.radius.secret_file: {0}")]
    Radius(SecretFault),
    /// A thread has ended that must not.
    #[error("a worker's thread has ended; its own message is above")]
    Worker,
    /// The admin address could not be bound.
    #[error("the admin address {admin} cannot be bound: {source}; {}", bind_remedy(.source))]
    Admin {
        /// The address.
        admin: SocketAddr,
        /// The system's words.
        source: io::Error,
    },
    /// The system refused something that every process needs.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's words.
        source: io::Error,
    },
}

impl SignalingError {
    /// For `map_err`: the system refused `what`.
    pub(crate) fn system<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> SignalingError {
        move |source| SignalingError::System { what, source: source.into() }
    }

    /// True where starting again without a change cannot help.
    pub fn is_configuration(&self) -> bool {
        matches!(self, SignalingError::Config(_) | SignalingError::Root(_) | SignalingError::User { .. })
    }
}

fn faults(list: &[ConfigFault]) -> String {
    if list.len() == 1 { "one fault".into() } else { format!("{} faults", list.len()) }
}

fn bind_remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AddrInUse => "another process has it: stop that one or choose another port",
        io::ErrorKind::AddrNotAvailable => "no interface of this host has it: add it, or correct the address",
        io::ErrorKind::PermissionDenied => "ports below 1024 need CAP_NET_BIND_SERVICE: choose a higher one",
        _ => "correct the address",
    }
}
