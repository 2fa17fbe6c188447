//! Arbitrary bytes never panic the decoder, and what it accepts it can write again.

use moorline_control::{ClientFrame, ServerFrame, codec};
use proptest::prelude::*;

proptest! {
    #[test]
    fn client_frames(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        if let Ok(frame) = codec::decode::<ClientFrame>(&bytes) {
            let again = codec::encode(&frame).unwrap();
            prop_assert_eq!(codec::decode::<ClientFrame>(&again).unwrap(), frame);
        }
    }

    #[test]
    fn server_frames(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        if let Ok(frame) = codec::decode::<ServerFrame>(&bytes) {
            let again = codec::encode(&frame).unwrap();
            prop_assert_eq!(codec::decode::<ServerFrame>(&again).unwrap(), frame);
        }
    }
}
