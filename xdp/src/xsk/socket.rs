//! A socket on one queue of one interface.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ring::{Consumer, Descriptor, Mapping, Offsets, Producer};
use super::{Frame, Umem, XskError};

/// What a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// The interface's index.
    pub interface: u32,
    /// The queue.
    pub queue: u32,
    /// Whether the network card is to write into the memory itself. Sockets that share memory do as the first.
    pub zero_copy: ZeroCopy,
    /// Places in the receive ring; a power of two, as the others.
    pub rx: u32,
    /// Places in the transmit ring.
    pub tx: u32,
    /// Places in the fill ring.
    pub fill: u32,
    /// Places in the completion ring. The kernel sends no more than fits in here.
    pub completion: u32,
}

/// Whether the network card writes into the memory itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZeroCopy {
    /// If the driver can, else the kernel copies.
    Prefer,
    /// Or there is no socket.
    Require,
    /// The kernel copies.
    Never,
}

/// A received packet.
#[derive(Debug)]
pub struct Received {
    /// Which of the socket's packets it is, counted round 32 bits.
    pub number: u32,
    /// The frame that it lies in.
    pub frame: Frame,
    /// Where in the frame.
    pub at: usize,
    /// How long it is.
    pub length: usize,
}

/// What became of what was to be sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flushed {
    /// Packets that wait in the ring: the interface or the completion ring is full. To be flushed again.
    pub waiting: u32,
    /// Packets that the interface had no room for, and dropped.
    pub dropped: u32,
}

/// An AF_XDP socket. Its methods panic when they are given other memory than it was bound with.
pub struct XskSocket {
    descriptor: OwnedFd,
    interface: u32,
    queue: u32,
    zero_copy: bool,
    /// The memory that it was bound with; the methods take no other.
    umem: u32,
    fill: Producer<u64>,
    receive: Consumer<Descriptor>,
    transmit: Producer<Descriptor>,
    completion: Consumer<u64>,
}

/// `XDP_MAX_TX_SKB_BUDGET` (kernel 6.17): how many packets one call sends where the kernel copies.
const MAX_TX_BUDGET: libc::c_int = 9;
/// What is on its way through the interface counts against this where the kernel copies.
const SEND_BUFFER: libc::c_int = 4 << 20;
/// The kernel lets go of a queue some time after its socket was closed, such as a predecessor's.
const RELEASE: Duration = Duration::from_millis(500);
const SO_PREFER_BUSY_POLL: libc::c_int = 69;
const SO_BUSY_POLL_BUDGET: libc::c_int = 70;

/// Whether this process may open AF_XDP sockets here.
///
/// # Errors
/// What is missing.
pub fn probe() -> Result<(), XskError> {
    open().map(drop)
}

impl XskSocket {
    /// Makes a socket and binds it. The first one is what the memory is registered with; it stays open, and its queue
    /// taken, until the memory is dropped. Others share the memory: with rings of their own, and as the first as to
    /// copying. A queue that is taken is waited for, for half a second.
    ///
    /// Nothing comes before [`fill`](Self::fill), and before the socket is in the map of a program.
    ///
    /// # Errors
    /// What is missing. [`XskError::ZeroCopy`] also for an interface that cannot share this memory: one of its own
    /// will do.
    ///
    /// # Panics
    /// If a size is no power of two.
    pub fn bind(umem: &mut Umem, binding: &Binding) -> Result<XskSocket, XskError> {
        let Binding { interface, queue, zero_copy, rx, tx, fill, completion } = *binding;
        let descriptor = open()?;
        let fd = descriptor.as_fd();
        if umem.first.is_none() {
            let registration = umem.registration();
            set(fd, libc::SOL_XDP, libc::XDP_UMEM_REG, &registration).map_err(|error| match error.raw_os_error() {
                Some(libc::ENOBUFS) => XskError::LockedMemory { kib: registration.len as usize >> 10 },
                _ => XskError::Kernel { what: "registering the memory of packets", error },
            })?;
        }
        for (ring, size) in [
            (libc::XDP_UMEM_FILL_RING, fill),
            (libc::XDP_UMEM_COMPLETION_RING, completion),
            (libc::XDP_RX_RING, rx),
            (libc::XDP_TX_RING, tx),
        ] {
            assert!(size.is_power_of_two(), "{size} places");
            set(fd, libc::SOL_XDP, ring, &size).map_err(XskError::kernel("making the rings of an AF_XDP socket"))?;
        }
        // Both are for speed only, and older kernels know the first not.
        let _ = set(fd, libc::SOL_XDP, MAX_TX_BUDGET, &tx);
        let _ = set(fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, &SEND_BUFFER);

        let offsets = offsets(fd)?;
        let map = |offset, of: &libc::xdp_ring_offset, bytes| map(fd, offset, of, bytes);
        let word = size_of::<u64>();
        let (fill_map, fill_at) = map(libc::XDP_UMEM_PGOFF_FILL_RING as i64, &offsets.fr, fill as usize * word)?;
        let (completion_map, completion_at) =
            map(libc::XDP_UMEM_PGOFF_COMPLETION_RING as i64, &offsets.cr, completion as usize * word)?;
        let word = size_of::<Descriptor>();
        let (receive_map, receive_at) = map(libc::XDP_PGOFF_RX_RING, &offsets.rx, rx as usize * word)?;
        let (transmit_map, transmit_at) = map(libc::XDP_PGOFF_TX_RING, &offsets.tx, tx as usize * word)?;

        let given_up = Instant::now() + RELEASE;
        loop {
            match bind(fd, interface, queue, zero_copy, umem.first.as_ref()) {
                Err(XskError::QueueTaken { .. }) if Instant::now() < given_up => std::thread::sleep(RELEASE / 50),
                bound => break bound?,
            }
        }
        if umem.first.is_none() {
            let other = descriptor.try_clone().map_err(XskError::kernel("duplicating a descriptor"))?;
            umem.first = Some(other);
        }
        let options: libc::xdp_options = get(fd, libc::XDP_OPTIONS, libc::xdp_options { flags: 0 })
            .map_err(XskError::kernel("asking an AF_XDP socket for its options"))?;
        Ok(XskSocket {
            interface,
            queue,
            zero_copy: options.flags & libc::XDP_OPTIONS_ZEROCOPY != 0,
            umem: umem.identity(),
            fill: Producer::new(fill_map, fill_at, fill),
            receive: Consumer::new(receive_map, receive_at, rx),
            transmit: Producer::new(transmit_map, transmit_at, tx),
            completion: Consumer::new(completion_map, completion_at, completion),
            descriptor,
        })
    }

    /// Gives the kernel frames of the pool to receive into, until it has `level` of them or the pool is empty.
    #[inline]
    pub fn fill(&mut self, umem: &mut Umem, level: u32) {
        self.check(umem);
        if self.fill.outstanding_at_most() >= level && self.fill.outstanding() >= level {
            return;
        }
        for _ in self.fill.outstanding()..level {
            let Some(frame) = umem.take() else { break };
            if !self.fill.push(umem.address(&frame)) {
                umem.put(frame);
                break;
            }
        }
        self.fill.publish();
    }

    /// Whether the network card's driver has stopped for want of frames and waits to be told of new ones.
    #[inline]
    pub fn receive_needs_wake_up(&self) -> bool {
        self.zero_copy && self.fill.needs_wake_up()
    }

    /// Tells the driver of new frames, or lets it look into its queue where the socket polls.
    ///
    /// # Errors
    /// The interface is down or gone.
    pub fn wake_receive(&mut self) -> io::Result<()> {
        // SAFETY: no buffer is given.
        let done = unsafe {
            libc::recvfrom(
                self.descriptor.as_raw_fd(),
                std::ptr::null_mut(),
                0,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
            )
        };
        if done >= 0 { Ok(()) } else { later(io::Error::last_os_error()) }
    }

    /// Looks what has come: [`receive`](Self::receive) answers it, one by one. Answers the number of the first packet
    /// that is not among it.
    #[inline]
    pub fn look(&mut self) -> u32 {
        self.receive.look()
    }

    /// The number of the next packet that [`receive`](Self::receive) answers.
    #[inline]
    pub fn next(&self) -> u32 {
        self.receive.next()
    }

    /// The next packet of those that the last [`look`](Self::look) saw.
    #[inline]
    pub fn receive(&mut self, umem: &Umem) -> Option<Received> {
        self.check(umem);
        loop {
            let (number, descriptor) = self.receive.pop()?;
            let length = descriptor.length as usize;
            // An address outside would be a fault of the kernel's.
            if let Some((frame, at)) = umem.returned(descriptor.address) {
                let length = length.min(umem.frame_size() - at);
                return Some(Received { number, frame, at, length });
            }
        }
    }

    /// Lets the kernel have the places of the ring back whose packets were taken: once a batch.
    #[inline]
    pub fn release(&mut self) {
        self.receive.release();
    }

    /// Whether packets wait, without a system call.
    #[inline]
    pub fn is_waiting(&self) -> bool {
        self.receive.is_waiting()
    }

    /// Queues `length` bytes at `at` of a frame to be sent.
    ///
    /// # Errors
    /// The frame, if the ring is full or the bytes are not all in it.
    #[inline]
    pub fn send(&mut self, umem: &Umem, frame: Frame, at: usize, length: usize) -> Result<(), Frame> {
        self.check(umem);
        if length == 0 || at.checked_add(length).is_none_or(|end| end > umem.frame_size()) {
            return Err(frame);
        }
        let descriptor = Descriptor { address: umem.address(&frame) + at as u64, length: length as u32, options: 0 };
        if self.transmit.push(descriptor) { Ok(()) } else { Err(frame) }
    }

    /// Lets the kernel see what was queued, and wakes it up where it wants that: once a batch.
    ///
    /// # Errors
    /// The interface is down or gone; what is queued stays so.
    pub fn flush(&mut self) -> io::Result<Flushed> {
        self.transmit.publish();
        let mut flushed = Flushed { waiting: self.transmit.outstanding_at_most(), dropped: 0 };
        while flushed.waiting > 0 && self.transmit.needs_wake_up() {
            // SAFETY: no buffer is given.
            let done = unsafe {
                libc::sendto(self.descriptor.as_raw_fd(), std::ptr::null(), 0, libc::MSG_DONTWAIT, std::ptr::null(), 0)
            };
            let error = (done < 0).then(io::Error::last_os_error);
            let before = std::mem::replace(&mut flushed.waiting, self.transmit.outstanding());
            match error {
                // Where the kernel copies, all of it has been sent; a driver sends when it can.
                None => break,
                Some(error) => {
                    // The interface dropped one packet, and the rest of the batch waits.
                    flushed.dropped +=
                        u32::from(error.raw_os_error() == Some(libc::EBUSY) && before != flushed.waiting);
                    later(error)?;
                    // One call sends a bounded number of packets. One that sent none would do no better again.
                    if flushed.waiting >= before {
                        break;
                    }
                }
            }
        }
        if self.zero_copy {
            // The driver has them.
            flushed.waiting = 0;
        }
        Ok(flushed)
    }

    /// Puts the frames of packets that have been sent back into the pool; answers how many.
    #[inline]
    pub fn reap(&mut self, umem: &mut Umem) -> usize {
        self.check(umem);
        self.completion.look();
        let mut count = 0;
        while let Some((_, address)) = self.completion.pop() {
            if let Some((frame, _)) = umem.returned(address) {
                umem.put(frame);
                count += 1;
            }
        }
        self.completion.release();
        count
    }

    /// From now on the driver looks into the queue when the socket is called, and not by interrupts, for up to so
    /// many microseconds and packets at a time.
    ///
    /// # Errors
    /// Not in this kernel, or not without `CAP_NET_ADMIN`.
    pub fn prefer_busy_poll(&self, micros: u32, packets: u32) -> io::Result<()> {
        let fd = self.descriptor.as_fd();
        set(fd, libc::SOL_SOCKET, SO_PREFER_BUSY_POLL, &1i32)?;
        set(fd, libc::SOL_SOCKET, libc::SO_BUSY_POLL, &(micros as i32))?;
        set(fd, libc::SOL_SOCKET, SO_BUSY_POLL_BUDGET, &(packets as i32))
    }

    /// With other memory a frame could be held twice.
    #[inline]
    fn check(&self, umem: &Umem) {
        assert!(umem.identity() == self.umem, "not the memory of this socket");
    }

    /// The interface's index.
    pub fn interface(&self) -> u32 {
        self.interface
    }

    /// The queue.
    pub fn queue(&self) -> u32 {
        self.queue
    }

    /// Whether the network card writes into the memory itself.
    pub fn is_zero_copy(&self) -> bool {
        self.zero_copy
    }
}

impl AsFd for XskSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl AsRawFd for XskSocket {
    fn as_raw_fd(&self) -> i32 {
        self.descriptor.as_raw_fd()
    }
}

/// What only means that it is to be tried again is no error.
fn later(error: io::Error) -> io::Result<()> {
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EBUSY | libc::ENOBUFS | libc::EINTR) => Ok(()),
        _ => Err(error),
    }
}

fn open() -> Result<OwnedFd, XskError> {
    // SAFETY: opens a descriptor, or fails.
    let descriptor = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if descriptor < 0 {
        let error = io::Error::last_os_error();
        return Err(match error.raw_os_error() {
            Some(libc::EPERM) => XskError::Capability,
            Some(libc::EAFNOSUPPORT) => XskError::Unsupported,
            _ => XskError::Kernel { what: "opening an AF_XDP socket", error },
        });
    }
    // SAFETY: it has just been opened, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn bind(
    socket: BorrowedFd<'_>,
    interface: u32,
    queue: u32,
    zero_copy: ZeroCopy,
    shared: Option<&OwnedFd>,
) -> Result<(), XskError> {
    let flags = match (shared, zero_copy) {
        // All else is as with the first.
        (Some(_), _) => libc::XDP_SHARED_UMEM,
        (None, ZeroCopy::Prefer) => libc::XDP_USE_NEED_WAKEUP,
        (None, ZeroCopy::Require) => libc::XDP_USE_NEED_WAKEUP | libc::XDP_ZEROCOPY,
        (None, ZeroCopy::Never) => libc::XDP_USE_NEED_WAKEUP | libc::XDP_COPY,
    };
    let address = libc::sockaddr_xdp {
        sxdp_family: libc::AF_XDP as u16,
        sxdp_flags: flags,
        sxdp_ifindex: interface,
        sxdp_queue_id: queue,
        sxdp_shared_umem_fd: shared.map_or(0, |first| first.as_raw_fd() as u32),
    };
    let length = size_of::<libc::sockaddr_xdp>() as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes of `address`, which outlives the call.
    if unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    Err(match error.raw_os_error() {
        Some(libc::EBUSY) => XskError::QueueTaken { interface, queue },
        Some(libc::ENODEV) => XskError::NoInterface(interface),
        Some(libc::EINVAL) => XskError::NoQueue { interface, queue },
        Some(libc::EOPNOTSUPP) => XskError::ZeroCopy(interface),
        _ => XskError::Kernel { what: "binding an AF_XDP socket", error },
    })
}

/// Where the parts of the four rings are.
fn offsets(socket: BorrowedFd<'_>) -> Result<libc::xdp_mmap_offsets, XskError> {
    let none = || libc::xdp_ring_offset { producer: 0, consumer: 0, desc: 0, flags: 0 };
    let none = libc::xdp_mmap_offsets { rx: none(), tx: none(), fr: none(), cr: none() };
    get(socket, libc::XDP_MMAP_OFFSETS, none).map_err(XskError::kernel("the rings' layout (kernel 5.4)"))
}

/// Maps a ring whose entries take so many bytes.
fn map(
    socket: BorrowedFd<'_>,
    offset: i64,
    of: &libc::xdp_ring_offset,
    bytes: usize,
) -> Result<(Arc<Mapping>, Offsets), XskError> {
    let offsets = Offsets {
        producer: of.producer as usize,
        consumer: of.consumer as usize,
        flags: of.flags as usize,
        entries: of.desc as usize,
    };
    let mapping = Mapping::of_socket(socket, offsets.entries + bytes, offset)
        .map_err(XskError::kernel("mapping the rings of an AF_XDP socket"))?;
    Ok((Arc::new(mapping), offsets))
}

/// Sets an option whose value is plain data.
fn set<T: Copy>(socket: BorrowedFd<'_>, level: libc::c_int, option: libc::c_int, value: &T) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes of `value`, which outlives the call.
    let done = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (value as *const T).cast(), length) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Asks for an option of AF_XDP; it must be all of `T`, which any bytes are one of.
pub(super) fn get<T: Copy>(socket: BorrowedFd<'_>, option: libc::c_int, mut value: T) -> io::Result<T> {
    let mut length = size_of::<T>() as libc::socklen_t;
    let fd = socket.as_raw_fd();
    // SAFETY: the kernel writes at most `length` bytes into `value`, whose fields are integers.
    let done = unsafe { libc::getsockopt(fd, libc::SOL_XDP, option, (&raw mut value).cast(), &raw mut length) };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    if length as usize != size_of::<T>() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(value)
}
