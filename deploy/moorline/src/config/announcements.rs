//! Announcements that callers are to hear: each must be built in, or in the directory of `media.announcements`.

use moorline_media::Config as MediaConfig;
use moorline_signaling::{Config as SignalingConfig, NamedAnnouncement};

/// Those that signaling names and media does not have: each a key, a problem and a remedy. Where the directory cannot be
/// read (it may be for the media process alone to read, or be on another host) nothing is known of any.
pub(super) fn unknown(signaling: &SignalingConfig, media: &MediaConfig) -> Vec<[String; 3]> {
    let lacking = |named: Vec<NamedAnnouncement>, directory| match moorline_media::announcements(directory) {
        Ok(known) => named.into_iter().filter(|named| known.iter().all(|known| known.name != named.name)).collect(),
        Err(_) => Vec::new(),
    };
    // The files are read only where something else than a built-in one is named.
    let mut unknown = lacking(signaling.named_announcements(), None);
    if let Some(directory) = media.announcements.as_deref().filter(|_| !unknown.is_empty()) {
        unknown = lacking(unknown, Some(directory));
    }
    let fault = |NamedAnnouncement { path, name }| {
        let problem = format!("media has no {name:?}, so callers are refused without");
        let remedy = format!("put {name}.wav into the directory that `media.announcements` names, or name another");
        [path, problem, remedy]
    };
    unknown.into_iter().map(fault).collect()
}
