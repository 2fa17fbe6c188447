//! `moorline-bench garbage`: what strangers send to open ports.

use std::net::{SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::time::Duration;

use moorline_bench::random::Random;

use super::Outcome;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The local address to send from.
    #[arg(long, value_name = "ADDR:PORT")]
    from: SocketAddr,
    /// Where to: an address, or an address with a range of ports such as 192.0.2.1:16384-16400. May be given
    /// several times.
    #[arg(long, required = true, value_name = "ADDR:PORT[-PORT]", value_parser = parse_ports)]
    to: Vec<Ports>,
    /// How many datagrams go to each port.
    #[arg(long, default_value_t = 40)]
    count: u32,
    /// Determines the bytes.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// An address and a range of its ports.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) first: SocketAddr,
    pub(crate) last: u16,
}

pub(crate) fn parse_ports(text: &str) -> Result<Ports, String> {
    let (first, last) = match text.rsplit_once('-') {
        Some((first, last)) => (first, Some(last.parse().map_err(|_| format!("{last} is no port"))?)),
        None => (text, None),
    };
    let first: SocketAddr = first.parse().map_err(|_| format!("{first} is no address with a port"))?;
    Ok(Ports { first, last: last.unwrap_or(first.port()) })
}

pub(crate) fn run(args: &Args) -> Outcome {
    let socket = UdpSocket::bind(args.from).map_err(|error| format!("{}: {error}", args.from))?;
    let mut random = Random::new(args.seed);
    let mut sent = 0u64;
    for round in 0..args.count {
        for ports in &args.to {
            for port in ports.first.port()..=ports.last {
                // A closed port answers with an ICMP error, which the next send would report.
                let to = SocketAddr::new(ports.first.ip(), port);
                sent += u64::from(socket.send_to(&datagram(round, &mut random), to).is_ok());
            }
        }
        // Strangers are slower than the line; calls go on meanwhile.
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("garbage_sent={sent}");
    Ok(ExitCode::SUCCESS)
}

const INVITE: &[u8] = b"INVITE sip:1@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.66:5060;branch=z9hG4bK1\r\n\
    From: <sip:x@192.0.2.66>;tag=1\r\nTo: <sip:1@192.0.2.1>\r\nCall-ID: garbage\r\nCSeq: 1 INVITE\r\n\
    Content-Length: 999999999\r\n\r\n";

/// In turn: nothing, random bytes, the longest datagram, a message cut short, an RTP header cut short, an RTP
/// packet whose header promises more than there is, a response to nothing, and a request without headers.
fn datagram(round: u32, random: &mut Random) -> Vec<u8> {
    const LONGEST: usize = 65_507;
    match round % 8 {
        0 => Vec::new(),
        1 => noise(random.below(1400) as usize, random),
        2 => noise(LONGEST, random),
        3 => INVITE[..1 + random.below(INVITE.len() as u64 - 1) as usize].to_vec(),
        4 => vec![0x80; 11],
        // 15 contributing sources and an extension of 65,535 words, in 12 bytes.
        5 => [&[0xbf, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1][..], &[0xff; 4]].concat(),
        6 => b"SIP/2.0 200 OK\r\nCSeq: 1 INVITE\r\n\r\n".to_vec(),
        _ => b"OPTIONS sip:x SIP/2.0\r\n\r\n".to_vec(),
    }
}

fn noise(length: usize, random: &mut Random) -> Vec<u8> {
    let mut bytes = vec![0; length];
    random.fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read() {
        let ports = parse_ports("192.0.2.1:100-104").unwrap();
        assert_eq!((ports.first, ports.last), ("192.0.2.1:100".parse().unwrap(), 104));
        assert_eq!(parse_ports("192.0.2.1:100").unwrap().last, 100);
        assert!(parse_ports("192.0.2.1").is_err() && parse_ports("192.0.2.1:1-x").is_err());
    }

    #[test]
    fn garbage_is_of_every_size() {
        let mut random = Random::new(1);
        let lengths: Vec<usize> = (0..8).map(|round| datagram(round, &mut random).len()).collect();
        assert_eq!((lengths[0], lengths[2], lengths[4]), (0, 65_507, 11));
        assert!(lengths[3] < INVITE.len());
    }
}
