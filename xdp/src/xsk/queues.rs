//! How many receive queues an interface has.

use std::fs::read_dir;
use std::io;
use std::os::fd::AsRawFd;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// How many receive queues an interface has: a socket on each of them sees all its packets.
///
/// # Errors
/// There is no such interface, or the kernel's reason.
pub fn queues(interface: &str) -> io::Result<u32> {
    match channels(interface) {
        Ok(queues) if queues > 0 => Ok(queues),
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Err(error),
        // The driver has no such setting: what the kernel has set up.
        _ => {
            let entries = read_dir(format!("/sys/class/net/{interface}/queues"))?;
            let receive = entries.flatten().filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"rx-"));
            Ok((receive.count() as u32).max(1))
        }
    }
}

/// `struct ethtool_channels` of linux/ethtool.h.
#[derive(Default)]
#[repr(C)]
struct Channels {
    command: u32,
    max_rx: u32,
    max_tx: u32,
    max_other: u32,
    max_combined: u32,
    rx: u32,
    tx: u32,
    other: u32,
    combined: u32,
}

/// `ETHTOOL_GCHANNELS`.
const GET_CHANNELS: u32 = 0x3c;

/// What `ethtool -l` says.
#[allow(unsafe_code)]
fn channels(interface: &str) -> io::Result<u32> {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let mut channels = Channels { command: GET_CHANNELS, ..Channels::default() };
    let mut name = [0; libc::IFNAMSIZ];
    // The last byte stays 0.
    if interface.len() >= libc::IFNAMSIZ {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    let mut request = libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_data: (&raw mut channels).cast() },
    };
    // SAFETY: the kernel reads the name, and reads and writes `channels`, which is what this command takes and
    // outlives the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(channels.rx + channels.combined)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_a_queue_and_nothing_has_none() {
        assert_eq!(queues("lo").unwrap(), 1);
        queues("none-such0").unwrap_err();
        queues("a-name-that-is-far-too-long").unwrap_err();
    }
}
