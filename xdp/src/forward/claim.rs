//! Which process forwards on which interface, within a network namespace.
//!
//! Claims are names in the abstract namespace of Unix sockets, as those of media ports are: as wide as the network
//! namespace, and cleared by the kernel however the process ends. The first says that the interface is taken, the
//! second by whom.

use std::fs::read_to_string;
use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use super::error::{ForwardError, of};

const PREFIX: &str = "moorline-forward/";

/// A claim; it lasts as long as the sockets.
pub(super) struct Claim {
    _sockets: [UnixDatagram; 2],
}

/// Claims an interface.
pub(super) fn claim(name: &str, index: u32) -> Result<Claim, ForwardError> {
    let bind = |name: String| UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name)?);
    let first = bind(format!("{PREFIX}{index}")).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => ForwardError::Taken { interface: name.to_string(), pid: owner(index).unwrap_or(0) },
        _ => of("claiming an interface")(error),
    })?;
    let second = bind(format!("{PREFIX}{index}/{}", std::process::id())).map_err(of("claiming an interface"))?;
    Ok(Claim { _sockets: [first, second] })
}

/// Whether nobody has claimed an interface.
pub(super) fn unclaimed(name: &str, index: u32) -> Result<(), ForwardError> {
    match owner(index) {
        Some(pid) => Err(ForwardError::Taken { interface: name.to_string(), pid }),
        None => Ok(()),
    }
}

/// The process that has claimed an interface.
fn owner(index: u32) -> Option<u32> {
    let sockets = read_to_string("/proc/thread-self/net/unix").unwrap_or_default();
    let mut names = sockets.lines().filter_map(|line| line.split_once('@')?.1.strip_prefix(PREFIX));
    names.find_map(|name| {
        let (claimed, pid) = name.split_once('/')?;
        (claimed.parse() == Ok(index)).then(|| pid.parse().ok())?
    })
}
