//! Pairs of interfaces in a network namespace of the test's thread, and a program that hands every packet to the
//! socket of its queue.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;

use nix::sched::{CloneFlags, unshare};

/// Runs a test in a network namespace of its own, which ends with it. Without the capabilities that takes, says that
/// it was skipped.
pub(super) fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || {
        let missing = unshare(CloneFlags::CLONE_NEWNET).err().map(|error| error.to_string());
        let missing = missing.or_else(|| super::super::probe().err().map(|error| error.to_string()));
        if let Some(missing) = missing {
            // Not by a macro, whose output is kept back where a test succeeds.
            let _ = writeln!(io::stderr(), "SKIPPED, AF_XDP is not possible: {missing}");
            if let Some(path) = std::env::var_os("MOORLINE_SKIPPED") {
                let mut file = File::options().append(true).create(true).open(path).unwrap();
                writeln!(file, "tests of AF_XDP sockets: {missing}").unwrap();
            }
            return;
        }
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs `ip` with these words.
pub(super) fn ip(words: &str) {
    let done = Command::new("ip").args(words.split(' ')).output().unwrap();
    assert!(done.status.success(), "ip {words}: {}", String::from_utf8_lossy(&done.stderr));
}

/// A pair of interfaces that are up, with so many queues each; answers their indices.
pub(super) fn pair(one: &str, other: &str, queues: u32) -> [u32; 2] {
    let each = format!("numtxqueues {queues} numrxqueues {queues}");
    ip(&format!("link add {one} {each} type veth peer name {other} {each}"));
    [one, other].map(|name| {
        ip(&format!("link set dev {name} addrgenmode none"));
        ip(&format!("link set dev {name} up"));
        nix::net::if_::if_nametoindex(name).unwrap()
    })
}

/// The program on an interface, as long as this lives.
pub(super) struct Redirect {
    map: OwnedFd,
    _program: OwnedFd,
    _link: OwnedFd,
}

// Commands and constants of linux/bpf.h.
const MAP_CREATE: libc::c_long = 0;
const MAP_UPDATE_ELEM: libc::c_long = 2;
const PROG_LOAD: libc::c_long = 5;
const LINK_CREATE: libc::c_long = 28;
const MAP_TYPE_XSKMAP: u32 = 17;
const PROG_TYPE_XDP: u32 = 6;
const ATTACH_XDP: u32 = 37;
const REDIRECT_MAP: u64 = 51;

impl Redirect {
    /// Puts the program on an interface.
    pub(super) fn on(interface: u32) -> Redirect {
        let map = bpf(MAP_CREATE, &[word(MAP_TYPE_XSKMAP, 4), word(4, 64)]);
        let instruction = |code: u64, to: u64, from: u64, offset: u64, value: u32| {
            code | to << 8 | from << 12 | offset << 16 | u64::from(value) << 32
        };
        let program = [
            // r2 = context->rx_queue_index; r1 = the map; r3 = XDP_PASS; redirect.
            instruction(0x61, 2, 1, 16, 0),
            instruction(0x18, 1, 1, 0, map.as_raw_fd() as u32),
            0,
            instruction(0xb7, 3, 0, 0, 2),
            instruction(0x85, 0, 0, 0, REDIRECT_MAP as u32),
            instruction(0x95, 0, 0, 0, 0),
        ];
        let license = c"Dual MIT/GPL";
        let loaded = bpf(
            PROG_LOAD,
            &[word(PROG_TYPE_XDP, program.len() as u32), program.as_ptr() as u64, license.as_ptr() as u64, 0, 0, 0],
        );
        let link = bpf(LINK_CREATE, &[word(loaded.as_raw_fd() as u32, interface), word(ATTACH_XDP, 0)]);
        Redirect { map, _program: loaded, _link: link }
    }

    /// From now on the packets of a queue come to this socket.
    pub(super) fn to(&self, queue: u32, socket: &impl AsRawFd) {
        let value = socket.as_raw_fd();
        let attributes = [self.map.as_raw_fd() as u64, (&raw const queue) as u64, (&raw const value) as u64, 0];
        assert_eq!(call(MAP_UPDATE_ELEM, &attributes), 0, "{}", io::Error::last_os_error());
    }
}

/// Two fields of the attributes in one word.
fn word(first: u32, second: u32) -> u64 {
    u64::from(first) | u64::from(second) << 32
}

fn bpf(command: libc::c_long, attributes: &[u64]) -> OwnedFd {
    let descriptor = call(command, attributes);
    assert!(descriptor >= 0, "bpf command {command}: {}", io::Error::last_os_error());
    // SAFETY: these commands answer a new descriptor.
    unsafe { OwnedFd::from_raw_fd(descriptor as i32) }
}

fn call(command: libc::c_long, attributes: &[u64]) -> libc::c_long {
    // SAFETY: the kernel reads the attributes and what they point to; all of it outlives the call.
    unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), size_of_val(attributes)) }
}
