//! Which registered file and which generation an endpoint has, and the numbers that completions carry.
//!
//! An endpoint number is used again by later sessions. Every bind starts a new generation, and a completion
//! carries the generation of the bind that armed it, so that what an old socket received is never taken for
//! a new session's.

use moorline_relay::EndpointId;

use crate::datapath::control_message::Lost;

/// What a completion is about, as 64 bits of user data: kind (8), generation (24), number (32).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// A receive on an endpoint, by the generation of its bind.
    Receive { endpoint: EndpointId, generation: u32 },
    /// A send that failed, by its place in the batch; those that succeed complete in silence.
    Send { place: u32 },
    /// A cancelled receive.
    Cancel,
    /// The wake-up descriptor.
    Wake,
    /// A change of the file table that failed; those that succeed complete in silence.
    Files,
    /// A descriptor that was not closed.
    Close,
}

const GENERATION_MASK: u32 = 0xff_ffff;

impl Token {
    pub(super) fn encode(self) -> u64 {
        match self {
            Token::Receive { endpoint, generation } => {
                1 << 56 | u64::from(generation & GENERATION_MASK) << 32 | u64::from(endpoint.0)
            }
            Token::Send { place } => 2 << 56 | u64::from(place),
            Token::Cancel => 3 << 56,
            Token::Wake => 4 << 56,
            Token::Files => 5 << 56,
            Token::Close => 6 << 56,
        }
    }

    pub(super) fn decode(user_data: u64) -> Option<Token> {
        match user_data >> 56 {
            1 => Some(Token::Receive {
                endpoint: EndpointId(user_data as u32),
                generation: (user_data >> 32) as u32 & GENERATION_MASK,
            }),
            2 => Some(Token::Send { place: user_data as u32 }),
            3 => Some(Token::Cancel),
            4 => Some(Token::Wake),
            5 => Some(Token::Files),
            6 => Some(Token::Close),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    file: Option<u32>,
    generation: u32,
    lost: Lost,
}

/// The endpoints of a ring. There may be more endpoint numbers than places in the file table.
pub(super) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Slots {
    pub(super) fn new(endpoints: usize, files: u32) -> Slots {
        Slots { slots: vec![Slot::default(); endpoints], free: (0..files).rev().collect() }
    }

    /// Takes a place in the file table for an endpoint and starts its next generation; `None` if the table
    /// is full, the number out of range, or the endpoint open already.
    pub(super) fn open(&mut self, endpoint: EndpointId) -> Option<(u32, Token)> {
        let slot = self.slots.get_mut(endpoint.0 as usize).filter(|slot| slot.file.is_none())?;
        let file = self.free.pop()?;
        slot.file = Some(file);
        slot.generation = (slot.generation + 1) & GENERATION_MASK;
        slot.lost = Lost::default();
        Some((file, Token::Receive { endpoint, generation: slot.generation }))
    }

    /// Gives the place back; answers it with the token of the receive to cancel.
    pub(super) fn close(&mut self, endpoint: EndpointId) -> Option<(u32, Token)> {
        let slot = self.slots.get_mut(endpoint.0 as usize)?;
        let file = slot.file.take()?;
        self.free.push(file);
        Some((file, Token::Receive { endpoint, generation: slot.generation }))
    }

    /// The place of an open endpoint.
    pub(super) fn file(&self, endpoint: EndpointId) -> Option<u32> {
        self.slots.get(endpoint.0 as usize)?.file
    }

    /// What the socket of an endpoint has said that it lost.
    pub(super) fn lost(&mut self, endpoint: EndpointId) -> Option<&mut Lost> {
        self.slots.get_mut(endpoint.0 as usize).map(|slot| &mut slot.lost)
    }

    /// The place of an endpoint if it is still of this generation.
    pub(super) fn file_of(&self, endpoint: EndpointId, generation: u32) -> Option<u32> {
        let slot = self.slots.get(endpoint.0 as usize)?;
        slot.file.filter(|_| slot.generation == generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_round_trip() {
        let receive = Token::Receive { endpoint: EndpointId(u32::MAX), generation: GENERATION_MASK };
        let send = Token::Send { place: u32::MAX };
        for token in [receive, send, Token::Cancel, Token::Wake, Token::Files, Token::Close] {
            assert_eq!(Token::decode(token.encode()), Some(token));
        }
        assert_eq!(Token::decode(0), None);
        assert_eq!(Token::decode(u64::MAX), None);
    }

    #[test]
    fn a_new_bind_of_an_endpoint_is_another_generation() {
        let mut slots = Slots::new(4, 4);
        let endpoint = EndpointId(2);
        let (_, Token::Receive { generation: old, .. }) = slots.open(endpoint).unwrap() else { panic!("no receive") };
        assert!(slots.file_of(endpoint, old).is_some());
        assert!(slots.open(endpoint).is_none(), "open already");
        slots.close(endpoint).unwrap();
        assert_eq!(slots.file_of(endpoint, old), None);
        slots.open(endpoint).unwrap();
        assert_eq!(slots.file_of(endpoint, old), None);
        assert!(slots.file(endpoint).is_some());
    }

    #[test]
    fn a_full_table_opens_nothing_until_a_place_is_given_back() {
        let mut slots = Slots::new(8, 2);
        let (first, _) = slots.open(EndpointId(0)).unwrap();
        slots.open(EndpointId(7)).unwrap();
        assert!(slots.open(EndpointId(3)).is_none());
        assert_eq!(slots.close(EndpointId(0)).map(|(file, _)| file), Some(first));
        assert_eq!(slots.open(EndpointId(3)).map(|(file, _)| file), Some(first));
        assert!(slots.open(EndpointId(8)).is_none(), "out of range");
    }
}
