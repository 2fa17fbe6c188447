//! The E-model (ITU-T G.107, narrowband): a rating R from what a path does to speech.
//!
//! All parameters but those of [`Path`] have the default values of G.107 table 2, so that a path without
//! impairments is rated 93.2.

/// What is known of a path from mouth to ear.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Path {
    /// The equipment impairment factor of the codec, Ie.
    pub(crate) impairment: f64,
    /// The packet loss robustness factor of the codec, Bpl; above 0.
    pub(crate) robustness: f64,
    /// The share of packets lost, 0 to 1.
    pub(crate) loss: f64,
    /// The mean length of runs of lost packets by that of random loss, BurstR; at least 1.
    pub(crate) burst_ratio: f64,
    /// The delay from mouth to ear in milliseconds. The echo's way is taken to be twice as long.
    pub(crate) delay_ms: f64,
}

/// Sender and receiver loudness, and their sum.
const SLR: f64 = 8.0;
const RLR: f64 = 2.0;
const OLR: f64 = SLR + RLR;
/// Sidetone masking, listener sidetone.
const STMR: f64 = 15.0;
const LSTR: f64 = 18.0;
/// The D-value of the sender's telephone.
const DS: f64 = 3.0;
/// Loudness of the talker's echo; loss of the listener's.
const TELR: f64 = 65.0;
const WEPL: f64 = 110.0;
/// Noise: of the circuit, of the receiver's floor, of the two rooms.
const NC: f64 = -70.0;
const N_FOR: f64 = -64.0;
const PS: f64 = 35.0;
const PR: f64 = 35.0;
/// Quantizing distortion units.
const QDU: f64 = 1.0;
/// Delay that does not disturb a conversation, in milliseconds.
const UNDISTURBING_MS: f64 = 100.0;

/// The rating of a path, 0 to 100.
pub(crate) fn rating(path: &Path) -> f64 {
    let noise = noise();
    let ro = 15.0 - 1.5 * (SLR + noise);
    let r = ro - simultaneous(ro, noise, path.delay_ms) - delayed(ro, noise, path.delay_ms) - equipment(path);
    r.clamp(0.0, 100.0)
}

/// The mean opinion score of a rating, 1 to 4.5 (G.107 annex B). The cubic dips below 1 for the worst ratings,
/// which no score does.
pub(crate) fn opinion(r: f64) -> f64 {
    let r = r.clamp(0.0, 100.0);
    (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).clamp(1.0, 4.5)
}

/// The effective equipment impairment Ie,eff (section 7.5).
fn equipment(path: &Path) -> f64 {
    let percent = 100.0 * path.loss.clamp(0.0, 1.0);
    let eased = percent / path.burst_ratio.max(1.0) + path.robustness;
    path.impairment + (95.0 - path.impairment) * percent / eased
}

/// The power sum of all noise, No (section 7.2).
fn noise() -> f64 {
    let send = PS - SLR - DS - 100.0 + 0.004 * (PS - OLR - DS - 14.0).powi(2);
    let heard = PR + 10.0 * (1.0 + 10f64.powf((10.0 - LSTR) / 10.0)).log10();
    let receive = RLR - 121.0 + heard + 0.008 * (heard - 35.0).powi(2);
    let floor = N_FOR + RLR;
    10.0 * [NC, send, receive, floor].iter().map(|level| 10f64.powf(level / 10.0)).sum::<f64>().log10()
}

/// Impairments that go with the voice, Is (section 7.3): loudness, sidetone, quantizing.
fn simultaneous(ro: f64, noise: f64, delay_ms: f64) -> f64 {
    let loudness = (OLR + 0.2 * (64.0 + noise - RLR)) / 8.0;
    let too_loud = 20.0 * ((1.0 + loudness.powi(8)).powf(1.0 / 8.0) - loudness);

    let echo = (-delay_ms / 4.0).exp() * 10f64.powf(-TELR / 10.0);
    let stmr = -10.0 * (10f64.powf(-STMR / 10.0) + echo).log10();
    let root = |value: f64, power: i32| (1.0 + value.powi(power)).powf(1.0 / f64::from(power));
    let sidetone = 12.0 * root((stmr - 13.0) / 6.0, 8)
        - 28.0 * root((stmr + 1.0) / 19.4, 35)
        - 13.0 * root((stmr - 3.0) / 33.0, 13)
        + 29.0;

    let q = 37.0 - 15.0 * QDU.log10();
    let g = 1.07 + 0.258 * q + 0.0602 * q * q;
    let (y, z) = ((ro - 100.0) / 15.0 + 46.0 / 8.4 - g / 9.0, 46.0 / 30.0 - g / 40.0);
    let quantizing = 15.0 * (1.0 + 10f64.powf(y) + 10f64.powf(z)).log10();
    too_loud + sidetone + quantizing
}

/// Impairments by delay, Id (section 7.4): the talker's echo, the listener's, and delay itself.
fn delayed(ro: f64, noise: f64, delay_ms: f64) -> f64 {
    let t = delay_ms;
    let masked = -1.5 * (noise - RLR);
    let terv = TELR - 40.0 * ((1.0 + t / 10.0) / (1.0 + t / 150.0)).log10() + 6.0 * (-0.3 * t * t).exp();
    let talker = (masked - (80.0 + 2.5 * (terv - 14.0))) / 2.0;
    let talker = (talker + (talker * talker + 100.0).sqrt() - 1.0) * (1.0 - (-t).exp());

    let listener = (ro - 10.5 * (WEPL + 7.0) * (2.0 * t + 1.0).powf(-0.25)) / 2.0;
    let listener = listener + (listener * listener + 169.0).sqrt();

    let absolute = if t <= UNDISTURBING_MS {
        0.0
    } else {
        let x = (t / UNDISTURBING_MS).log2();
        let root = |value: f64| (1.0 + value.powi(6)).powf(1.0 / 6.0);
        25.0 * (root(x) - 3.0 * root(x / 3.0) + 2.0)
    };
    talker + listener + absolute
}

#[cfg(test)]
mod tests;
