//! Making a ring, and finding out beforehand whether this kernel can.

use std::io;

use io_uring::{IoUring, Probe, opcode};

use super::BUFFER_GROUP;
use super::buffers::Buffers;

/// Tries what the datapath needs of the kernel.
///
/// # Errors
/// What is missing, in words.
pub(crate) fn probe() -> io::Result<()> {
    let ring = builder().build(8).map_err(|e| explain("io_uring_setup with DEFER_TASKRUN (kernel 6.1)", &e))?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(|e| explain("probing operations", &e))?;
    let needed = [
        (opcode::RecvMsgMulti::CODE, "RECVMSG"),
        (opcode::Send::CODE, "SEND"),
        (opcode::AsyncCancel2::CODE, "ASYNC_CANCEL"),
        (opcode::PollAdd::CODE, "POLL_ADD"),
        (opcode::FilesUpdate::CODE, "FILES_UPDATE"),
        (opcode::Close::CODE, "CLOSE"),
    ];
    for (code, name) in needed {
        if !probe.is_supported(code) {
            return Err(io::Error::new(io::ErrorKind::Unsupported, format!("the operation {name} is missing")));
        }
    }
    ring.submitter().register_files_sparse(1).map_err(|e| explain("a sparse file table (kernel 5.19)", &e))?;
    let buffers = Buffers::new(8, 0, 64);
    register(&ring, &buffers)?;
    ring.submitter().unregister_buf_ring(BUFFER_GROUP)
}

pub(super) fn explain(what: &str, error: &io::Error) -> io::Error {
    let remedy = match error.raw_os_error() {
        Some(libc::ENOSYS) => "; this kernel has no io_uring",
        Some(libc::EPERM) => "; look at sysctl kernel.io_uring_disabled and the seccomp filter",
        Some(libc::EINVAL) => "; this kernel is too old",
        Some(libc::ENOMEM) => "; raise the limit of locked memory (LimitMEMLOCK)",
        _ => "",
    };
    io::Error::new(error.kind(), format!("{what}: {error}{remedy}"))
}

pub(super) fn builder() -> io_uring::Builder {
    let mut builder = IoUring::builder();
    builder.dontfork().setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag().setup_submit_all();
    builder
}

pub(super) fn register(ring: &IoUring, buffers: &Buffers) -> io::Result<()> {
    // SAFETY: the ring memory belongs to `buffers`, which outlives the registration: `Uring` and `probe`
    // unregister it before they drop the buffers.
    unsafe { ring.submitter().register_buf_ring_with_flags(buffers.ring_address(), buffers.count(), BUFFER_GROUP, 0) }
        .map_err(|e| explain("a ring of provided buffers (kernel 5.19)", &e))
}
