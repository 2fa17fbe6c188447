//! An estimate of speech quality from what was seen of a stream.

use moorline_control::{Codec, Quality};

mod emodel;

use emodel::{Path, opinion, rating};

/// Fewer packets than this say nothing of a call: a second of most codecs.
const MIN_PACKETS: u64 = 50;

/// How packets fared on their way.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Journey {
    pub(crate) codec: Codec,
    /// Packets that came, or are reckoned to have.
    pub(crate) received: u64,
    pub(crate) lost: u64,
    /// Runs of lost packets; 0 where they are not known.
    pub(crate) runs: u64,
    pub(crate) jitter_us: u32,
    /// The network's part of the delay from mouth to ear.
    pub(crate) network_us: u64,
}

/// How a codec stands speech and loss.
struct Factors {
    /// Ie.
    impairment: f64,
    /// Bpl.
    robustness: f64,
    /// Of a packet of its usual length with what the coder looks ahead.
    delay_ms: f64,
}

/// The quality of a journey; `None` where there is too little of it, or no published factors for the codec.
pub(crate) fn quality(journey: &Journey) -> Option<Quality> {
    let factors = factors(journey.codec).filter(|_| journey.received >= MIN_PACKETS)?;
    let expected = journey.received.saturating_add(journey.lost);
    let loss = journey.lost as f64 / expected as f64;
    // A run of random loss is 1 / (1 - loss) packets long on average.
    let mean_run = journey.lost as f64 / journey.runs.max(1) as f64;
    let burst_ratio = if journey.runs == 0 { 1.0 } else { (mean_run * (1.0 - loss)).max(1.0) };
    // A playout buffer waits about as long as twice the jitter.
    let delay_ms = journey.network_us as f64 / 1e3 + 2.0 * f64::from(journey.jitter_us) / 1e3 + factors.delay_ms;
    let Factors { impairment, robustness, .. } = factors;
    let r = rating(&Path { impairment, robustness, loss, burst_ratio, delay_ms });
    Some(Quality {
        r_tenths: (r * 10.0).round() as u16,
        mos_hundredths: (opinion(r) * 100.0).round() as u16,
        delay_ms: delay_ms.round() as u32,
    })
}

/// Ie and Bpl of ITU-T G.113 appendix I (2007), tables I.1 and I.4, unless said otherwise. Where it has no Bpl, the
/// default of G.107 table 2, 4.3, stands.
const fn factors(codec: Codec) -> Option<Factors> {
    let (impairment, robustness, delay_ms) = match codec {
        // With loss concealment by its own appendix I, as receivers have.
        Codec::Pcmu | Codec::Pcma => (0.0, 25.1, 20.0),
        Codec::G726 => (7.0, 4.3, 20.0),
        Codec::G728 => (7.0, 4.3, 20.0),
        // G.729A with voice activity detection.
        Codec::G729 => (11.0, 19.0, 25.0),
        // At 6.3 kbit/s with voice activity detection.
        Codec::G7231 => (15.0, 16.1, 37.5),
        Codec::Gsm => (20.0, 4.3, 20.0),
        // AMR at 12.2 kbit/s is GSM EFR (TS 26.071).
        Codec::GsmEfr | Codec::Amr => (5.0, 10.0, 25.0),
        // Wideband: better than G.711, which is what no impairment stands for on the narrowband scale. AMR-WB and EVS
        // are of the family of EFR, and taken to stand loss as it does.
        Codec::G722 => (0.0, 4.3, 21.5),
        Codec::AmrWb | Codec::Evs => (0.0, 10.0, 25.0),
        // Narrowband at 11 kbit/s, random loss, rounded: M. Al-Ahmadi, P. Pocta, H. Melvin, "Instrumental estimation of
        // E-model equipment impairment factor parameters" for Opus. Higher rates are no worse.
        Codec::Opus => (2.0, 16.0, 26.5),
        Codec::Other
        | Codec::Ilbc
        | Codec::Speex
        | Codec::ComfortNoise
        | Codec::TelephoneEvent
        | Codec::Redundant
        | Codec::Video => return None,
    };
    Some(Factors { impairment, robustness, delay_ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: Journey =
        Journey { codec: Codec::Pcma, received: 10_000, lost: 0, runs: 0, jitter_us: 0, network_us: 0 };

    fn mos(journey: Journey) -> u16 {
        quality(&journey).unwrap().mos_hundredths
    }

    #[test]
    fn a_clean_call_is_as_good_as_its_codec() {
        let clean = quality(&CALL).unwrap();
        assert_eq!((clean.mos_hundredths, clean.delay_ms), (440, 20));
        assert_eq!(mos(Journey { codec: Codec::Opus, ..CALL }), 435);
        assert_eq!(mos(Journey { codec: Codec::G729, ..CALL }), 408);
        assert_eq!(mos(Journey { codec: Codec::Gsm, ..CALL }), 371);
    }

    #[test]
    fn loss_in_runs_is_worse_than_at_random() {
        let lossy = Journey { received: 9_800, lost: 200, ..CALL };
        let (random, bursty) = (Journey { runs: 196, ..lossy }, Journey { runs: 20, ..lossy });
        assert!(mos(CALL) > mos(random));
        assert!(mos(random) > mos(bursty));
        assert_eq!(mos(random), mos(lossy), "runs that are not known are taken to be random");
    }

    #[test]
    fn jitter_and_network_add_delay() {
        let far = Journey { jitter_us: 30_000, network_us: 150_000, ..CALL };
        assert_eq!(quality(&far).unwrap().delay_ms, 230);
        assert!(mos(far) < mos(CALL));
    }

    #[test]
    fn too_little_and_what_is_no_speech_are_not_judged() {
        assert_eq!(quality(&Journey { received: 49, ..CALL }), None);
        assert_eq!(quality(&Journey { codec: Codec::Video, ..CALL }), None);
        assert_eq!(quality(&Journey { codec: Codec::Other, ..CALL }), None);
        let all_lost = Journey { received: 50, lost: u64::MAX, runs: 1, jitter_us: u32::MAX, ..CALL };
        assert_eq!(quality(&all_lost).map(|quality| quality.mos_hundredths), Some(100));
    }
}
