//! What one socket's client must receive: every event once, in order.
//!
//! ```text
//!   shard selects or emits --expect--> [ 17 must | 25 may | 33 must ] <--receive-- client: 17, 33
//! ```
//! Without recovery everything that a shard puts before a socket goes through one outbox, so the client sees exactly that
//! order, whoever emitted. With recovery packets are sent again after a return, from logs of two shards: then every
//! event must arrive once, and those of one sender in its order.

use std::collections::{BTreeSet, VecDeque};

/// An event's number; its sender is what is left of a division by the number of senders.
pub type EventId = u64;

/// What is known about an event for this socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It was selected: the event must arrive, or the socket must end.
    Must,
    /// It may have been selected.
    May,
}

#[derive(Clone, Copy, Debug)]
struct Expected {
    id: EventId,
    claim: Claim,
    /// Its place in the order is not known exactly.
    is_loose: bool,
    /// The socket was absent, and nothing was put before it since.
    is_missed: bool,
}

/// One socket's inbox.
#[derive(Debug)]
pub struct Inbox {
    /// In the order of delivery; what has arrived is taken out.
    expected: VecDeque<Expected>,
    /// Arrived before it was known to be expected.
    early: Vec<EventId>,
    seen: BTreeSet<EventId>,
    last_of_sender: Vec<EventId>,
    /// Whether order is only that of each sender.
    is_recoverable: bool,
    /// Whether the client steals its own events, by GETs whose answers it does not read.
    is_of_rude_client: bool,
    /// Its server is gone, and what that would have said of it.
    is_abandoned: bool,
}

impl Inbox {
    /// An inbox of a socket that may come back, or not, and of a client that keeps to the rules, or not. There are fewer than
    /// `senders_max` senders.
    #[must_use]
    pub fn new(senders_max: u64, is_recoverable: bool, is_of_rude_client: bool) -> Self {
        Self {
            expected: VecDeque::new(),
            early: Vec::new(),
            seen: BTreeSet::new(),
            last_of_sender: vec![0; senders_max as usize],
            is_recoverable,
            is_of_rude_client,
            is_abandoned: false,
        }
    }

    /// Nobody can say any more what was put before the socket.
    pub const fn abandon(&mut self) {
        self.is_abandoned = true;
    }

    /// Whether the client has received an event.
    #[must_use]
    pub fn has_received(&self, id: EventId) -> bool {
        self.seen.contains(&id)
    }

    /// The shard has put an event before the socket, or may have.
    ///
    /// # Errors
    /// The event is not one that can be put there once more, or something that arrived is out of order.
    pub fn expect(&mut self, id: EventId, claim: Claim, is_loose: bool) -> Result<(), String> {
        let claim = if self.is_of_rude_client { Claim::May } else { claim };
        if let Some(known) = self.expected.iter_mut().find(|expected| expected.id == id) {
            if claim == Claim::Must {
                known.claim = Claim::Must;
                known.is_missed = false;
            }
            known.is_loose |= is_loose;
            return Ok(());
        }
        if self.seen.contains(&id) && !self.early.contains(&id) {
            return Ok(());
        }
        self.expected.push_back(Expected { id, claim, is_loose, is_missed: false });
        if let Some(at) = self.early.iter().position(|early| *early == id) {
            self.early.remove(at);
            self.take(id)?;
        }
        Ok(())
    }

    /// An event was for the socket while it was absent.
    ///
    /// # Errors
    /// As [`Self::expect`].
    pub fn miss(&mut self, id: EventId) -> Result<(), String> {
        self.expect(id, Claim::Must, true)?;
        if let Some(known) = self.expected.iter_mut().find(|expected| expected.id == id) {
            known.is_missed = true;
        }
        Ok(())
    }

    /// The socket has come back, and is no longer for what `is_for_it` denies: of what it missed, that may still have been on its way to
    /// the shard of the socket, and have found it so.
    pub fn doubt_missed(&mut self, is_for_it: impl Fn(EventId) -> bool) {
        for expected in &mut self.expected {
            if expected.is_missed && !is_for_it(expected.id) {
                expected.claim = Claim::May;
            }
        }
    }

    /// The place of an event in the order is not known exactly after all.
    pub fn loosen(&mut self, id: EventId) {
        if let Some(known) = self.expected.iter_mut().find(|expected| expected.id == id) {
            known.is_loose = true;
        }
    }

    /// It is not known exactly whether an event was put before the socket.
    pub fn doubt(&mut self, id: EventId) {
        if let Some(known) = self.expected.iter_mut().find(|expected| expected.id == id) {
            known.claim = Claim::May;
            known.is_loose = true;
        }
    }

    /// The socket comes back: of what has not arrived, `is_kept` says what is sent again.
    pub fn come_back(&mut self, is_kept: impl Fn(EventId) -> bool) {
        for expected in &mut self.expected {
            if !is_kept(expected.id) {
                expected.claim = Claim::May;
            }
        }
    }

    /// The client has received an event.
    ///
    /// # Errors
    /// It came twice, or out of order.
    pub fn receive(&mut self, id: EventId) -> Result<(), String> {
        if !self.seen.insert(id) {
            return Err(format!("event {id} was delivered twice"));
        }
        if !self.is_recoverable {
            self.keep_order(id)?;
        }
        if self.expected.iter().any(|expected| expected.id == id) {
            return self.take(id);
        }
        self.early.push(id);
        Ok(())
    }

    fn keep_order(&mut self, id: EventId) -> Result<(), String> {
        let sender = id as usize % self.last_of_sender.len();
        let last = &mut self.last_of_sender[sender];
        if id < *last {
            return Err(format!("event {id} was overtaken by {last} of the same sender"));
        }
        *last = id;
        Ok(())
    }

    fn take(&mut self, id: EventId) -> Result<(), String> {
        let Some(at) = self.expected.iter().position(|expected| expected.id == id) else { return Ok(()) };
        let taken = self.expected.remove(at);
        // What a return brings of the time before the socket joined its rooms may come at any time.
        if self.is_recoverable && taken.is_some_and(|taken| taken.claim == Claim::Must) {
            self.keep_order(id)?;
        }
        if self.is_recoverable || taken.is_some_and(|taken| taken.is_loose) {
            return Ok(());
        }
        let missed = self.expected.iter().take(at).find(|before| !before.is_loose && before.claim == Claim::Must);
        if let Some(missed) = missed {
            return Err(format!("event {id} arrived before event {}, which is lost or late", missed.id));
        }
        let mut index = 0;
        self.expected.retain(|before| {
            index += 1;
            index > at || before.is_loose
        });
        Ok(())
    }

    /// Everything has had its time: what was put before the socket must be there, and nothing else.
    ///
    /// # Errors
    /// An event is missing, or one came that nobody sent to this socket.
    pub fn settle(&self) -> Result<(), String> {
        if let Some(id) = self.early.first() {
            return Err(format!("event {id} arrived though the socket was not selected"));
        }
        match self.expected.iter().find(|expected| expected.claim == Claim::Must) {
            Some(missing) => Err(format!("event {} never arrived", missing.id)),
            None => Ok(()),
        }
    }

    /// The socket has ended: what did not arrive never will. What arrived must have been for it.
    ///
    /// # Errors
    /// As [`Self::settle`], for what arrived.
    pub fn settle_ended(&self) -> Result<(), String> {
        match self.early.first() {
            Some(id) if !self.is_abandoned => Err(format!("event {id} arrived though the socket was not selected")),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inbox(expected: &[(EventId, Claim)]) -> Inbox {
        let mut inbox = Inbox::new(8, false, false);
        for (id, claim) in expected {
            inbox.expect(*id, *claim, false).unwrap();
        }
        inbox
    }

    #[test]
    fn what_must_come_comes_once_and_in_order() {
        let mut inbox = inbox(&[(8, Claim::Must), (9, Claim::May), (16, Claim::Must)]);
        assert!(inbox.settle().is_err());
        inbox.receive(8).unwrap();
        inbox.receive(16).unwrap();
        assert!(inbox.settle().is_ok());
        assert!(inbox.receive(16).is_err(), "twice");
    }

    #[test]
    fn what_was_missed_must_come_unless_the_rooms_are_others_before_it_gets_there() {
        let mut inbox = Inbox::new(8, true, false);
        inbox.miss(8).unwrap();
        inbox.miss(9).unwrap();
        inbox.doubt_missed(|_| true);
        assert!(inbox.settle().is_err());
        inbox.doubt_missed(|id| id == 9);
        inbox.receive(9).unwrap();
        assert!(inbox.settle().is_ok(), "the other one may come");
        inbox.expect(8, Claim::Must, false).unwrap();
        inbox.doubt_missed(|_| false);
        assert!(inbox.settle().is_err(), "it has got there, and the socket was in its rooms");
    }

    #[test]
    fn a_gap_is_noticed_at_the_next_event() {
        let mut inbox = inbox(&[(8, Claim::Must), (17, Claim::Must)]);
        assert!(inbox.receive(17).is_err());
    }

    #[test]
    fn what_nobody_sent_is_noticed_at_the_end() {
        let mut inbox = inbox(&[]);
        inbox.receive(8).unwrap();
        assert!(inbox.settle_ended().is_err());
        inbox.expect(8, Claim::Must, false).unwrap();
        assert!(inbox.settle().is_ok(), "it was only known late");
    }

    #[test]
    fn with_recovery_the_order_is_that_of_each_sender() {
        let mut inbox = Inbox::new(8, true, false);
        for id in [8, 17, 24] {
            inbox.expect(id, Claim::Must, false).unwrap();
        }
        inbox.receive(17).unwrap();
        inbox.receive(24).unwrap();
        assert!(inbox.receive(8).is_err(), "8 and 24 have one sender");
    }
}
