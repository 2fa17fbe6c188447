//! Any frame body on the control socket, from either side: what can be read is written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use moorline_control::{ClientFrame, ServerFrame, codec};

fuzz_target!(|body: &[u8]| {
    if let Ok(frame) = codec::decode::<ClientFrame>(body) {
        let written = codec::encode(&frame).expect("it came in a frame, so it fits one");
        assert_eq!(codec::decode::<ClientFrame>(&written).as_ref(), Ok(&frame));
    }
    if let Ok(frame) = codec::decode::<ServerFrame>(body) {
        let written = codec::encode(&frame).expect("it came in a frame, so it fits one");
        assert_eq!(codec::decode::<ServerFrame>(&written).as_ref(), Ok(&frame));
    }
});
