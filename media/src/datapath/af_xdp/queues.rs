//! The AF_XDP sockets of a shard: those of its queues, of all media interfaces.

use std::io;

use moorline_xdp::Forward;
use moorline_xdp::xsk::{Binding, Umem, UmemPlan, XskError, XskSocket};

use super::Plan;
use super::arrival::Arrivals;

/// Frames hold a datagram of [`MAX_DATAGRAM`](crate::datapath::MAX_DATAGRAM) only where interfaces let one through;
/// Ethernet has 1,500 bytes.
const FRAME_SIZE: u32 = 2048;
/// The most queues that the program's map has for an interface.
const QUEUES: u32 = 64;

/// A socket, and what the datapath knows of it.
pub(super) struct Queue {
    pub(super) socket: XskSocket,
    /// Which of the shard's memories it has.
    pub(super) memory: usize,
    pub(super) arrivals: Arrivals,
    /// Packets with a lower number come before those that the sockets beneath have gathered.
    pub(super) before: u32,
    /// Something was queued to be sent, or waits.
    pub(super) sending: bool,
    /// It does not send before then, because its interface is down; never again if that is gone.
    pub(super) down_until: u64,
    /// That has been said.
    pub(super) down: bool,
    /// How many packets the kernel had dropped for want of room when it was last asked.
    pub(super) lost: u64,
    /// How many frames the kernel has to receive into.
    pub(super) level: u32,
}

/// Makes the sockets of a shard's queues; there may be none. Sockets share one memory where the kernel allows it.
pub(super) fn open(plan: &Plan, shard: u16, shards: u16) -> io::Result<(Vec<Queue>, Vec<Umem>)> {
    let own: Vec<(u32, u32)> = plan
        .interfaces
        .iter()
        .flat_map(|interface| (0..interface.queues.min(QUEUES)).map(|queue| (interface.index, queue)))
        .filter(|(_, queue)| queue % u32::from(shards.max(1)) == u32::from(shard))
        .collect();
    let (mut queues, mut memories) = (Vec::with_capacity(own.len()), Vec::new());
    if own.is_empty() {
        return Ok((queues, memories));
    }
    // One memory for all, unless an interface cannot share it.
    let mut memory = memory_for(plan, own.len() as u32)?;
    for (interface, queue) in own {
        // A frame is in a fill or receive ring, a half of the frames of a queue; or it waits to be sent or to be
        // given back, a quarter each, because the kernel sends no more than the completion ring has room for.
        let (half, quarter) = (plan.frames_per_queue / 2, plan.frames_per_queue / 4);
        let zero_copy = plan.zero_copy;
        let binding = Binding { interface, queue, zero_copy, rx: half, tx: quarter, fill: half, completion: quarter };
        let socket = match XskSocket::bind(&mut memory, &binding) {
            Err(error)
                if error.is_about_zero_copy() && queues.iter().any(|queue: &Queue| queue.memory == memories.len()) =>
            {
                tracing::info!(
                    interface,
                    queue,
                    "an AF_XDP socket has memory of its own: packets are copied to others"
                );
                memories.push(std::mem::replace(&mut memory, memory_for(plan, 1)?));
                XskSocket::bind(&mut memory, &binding)
            }
            bound => bound,
        };
        let mut socket = socket.map_err(|error| explain(plan, &error))?;
        socket.fill(&mut memory, half);
        tracing::info!(
            interface = plan.name(interface),
            queue,
            zero_copy = socket.is_zero_copy(),
            shard,
            "AF_XDP socket"
        );
        queues.push(Queue {
            socket,
            memory: memories.len(),
            arrivals: Arrivals::default(),
            before: 0,
            sending: false,
            down_until: 0,
            down: false,
            lost: 0,
            level: half,
        });
    }
    memories.push(memory);
    Ok((queues, memories))
}

/// From now on packets come.
pub(super) fn attach(program: &Forward, shard: u16, queues: &[Queue]) -> io::Result<()> {
    for Queue { socket, .. } in queues {
        program.add_socket(socket.interface(), socket.queue(), shard, socket).map_err(io::Error::other)?;
    }
    Ok(())
}

fn memory_for(plan: &Plan, queues: u32) -> io::Result<Umem> {
    let frames = plan.frames_per_queue * queues;
    Umem::new(UmemPlan { frames, frame_size: FRAME_SIZE, headroom: 0 }).map_err(|error| explain(plan, &error))
}

/// The error with the interface's name.
fn explain(plan: &Plan, error: &XskError) -> io::Error {
    let interface = match error {
        XskError::QueueTaken { interface, .. } | XskError::NoQueue { interface, .. } => Some(*interface),
        XskError::NoInterface(interface) | XskError::ZeroCopy(interface) => Some(*interface),
        _ => None,
    };
    io::Error::other(match interface {
        Some(index) => format!("{}: {error}", plan.name(index)),
        None => error.to_string(),
    })
}
