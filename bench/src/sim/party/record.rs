//! What a party has been through: what the end of the run is judged by.

/// What the party has been through: what the end of the run is judged by.
#[derive(Debug, Clone, Default)]
pub(in crate::sim) struct Record {
    /// The final refusal that it heard or gave.
    pub(in crate::sim) refused: Option<u16>,
    /// When that was.
    pub(in crate::sim) refused_at: u64,
    /// How often its INVITE came again, for a longer session.
    pub(in crate::sim) called_again: usize,
    /// When it last refused to refresh the session, or was refused to.
    pub(in crate::sim) unrefreshed_at: Option<u64>,
    /// Nobody had refreshed the session in time when the call was ended, as a refusal explains.
    pub(in crate::sim) lapsed: bool,
    /// It heard or gave a 2xx to the first INVITE.
    pub(in crate::sim) answered: bool,
    /// The 2xx that it gave was acknowledged.
    pub(in crate::sim) acknowledged: bool,
    pub(in crate::sim) said_bye: bool,
    pub(in crate::sim) heard_bye: bool,
    /// A CANCEL was sent or came.
    pub(in crate::sim) cancelled: bool,
    /// Its own requests that were never finally answered, and its final answers that were never acknowledged.
    pub(in crate::sim) unheard: Vec<String>,
    /// It was in the call for longer than any may last.
    pub(in crate::sim) outlasted: bool,
    /// Packets of media that came.
    pub(in crate::sim) media_heard: u64,
}

impl Record {
    /// It heard or gave a final refusal.
    pub(super) fn refuse(&mut self, now: u64, status: u16) {
        (self.refused, self.refused_at) = (Some(status), now);
    }
}
