//! A worker's connections: made when they are due, tended, lost, made again, and left.

use super::super::client::Status;
use super::super::link::ReadResult;
use super::super::receiving::{SETUP_ACK_ID, SETUP_NAMESPACE};
use super::super::stats;
use super::messages::push_event;
use super::{LEAVE_NS, Timer, Worker};
use crate::clock::SECOND_NS;
use crate::failure::{Class, Failure};
use crate::plan::Reconnection;
use crate::protocol::{Incoming, Role, Session};
use crate::template::Values;
use mio::{Interest, Token};
use ringio_codec::socketio::PacketKind;
use std::cmp::Reverse;

impl Worker<'_> {
    pub(super) fn connect_due(&mut self, now: u64) {
        let interval = SECOND_NS as f64 * f64::from(self.share.workers) / self.plan.connect_rate.max(1e-3);
        while self.connect_due_ns <= now as f64 && (!self.queue.is_empty() || self.is_churning()) {
            let due_ns = self.connect_due_ns as u64;
            self.connect_due_ns += interval;
            match self.queue.pop_front() {
                Some(index) => self.connect(index, due_ns),
                None => self.count(|counts| counts.starved += 1),
            }
        }
    }

    pub(super) fn connect(&mut self, index: u32, due_ns: u64) {
        let global = self.share.global(index);
        let values = Values { client: global, group: global / self.plan.group_size, ..Values::default() };
        let auth = self.auth.as_ref().map(|auth| auth.text(&values));
        let client = &mut self.clients[index as usize];
        client.status = Status::Connecting;
        client.generation += 1;
        client.attempt_ns = due_ns;
        if client.attempts == 0 {
            client.due_ns = due_ns;
        }
        client.session = Some(Box::new(Session::new(&self.config, auth)));
        let now = self.now();
        stats::record_ns(&mut self.ledger.phase_at(now).connect_lag, now.saturating_sub(due_ns));
        self.tend_links(index);
    }

    /// Makes the connections that the session needs, and drops those that it does not.
    pub(super) fn tend_links(&mut self, index: u32) {
        let client = &mut self.clients[index as usize];
        let Some(session) = &client.session else { return };
        for role in Role::ALL {
            let slot = &mut client.links[role as usize];
            if slot.is_some() {
                if !session.may_keep(role) {
                    *slot = None;
                }
                continue;
            }
            if !session.needs(role) {
                continue;
            }
            let token = Token(index as usize * 4 + role as usize);
            let link = self.dialer.dial(index, client.is_slow).and_then(|mut link| {
                let interest = Interest::READABLE | Interest::WRITABLE;
                let registered = self.poll.registry().register(&mut link.stream, token, interest);
                registered.map(|()| link).map_err(|error| Failure::of_io(&error, false))
            });
            match link {
                Ok(link) => *slot = Some(link),
                Err(failure) => return self.fail(index, &failure),
            }
        }
    }

    pub(super) fn handle_event(&mut self, token: usize, is_readable: bool, is_writable: bool, is_ended: bool) {
        let (index, role) = ((token / 4) as u32, Role::ALL[token % 4]);
        let Some(link) = self.clients[index as usize].links[role as usize].as_mut() else { return };
        if is_ended && let Ok(Some(error)) = link.stream.take_error() {
            let standing = self.clients[index as usize].status != Status::Connecting;
            return self.fail(index, &Failure::of_io(&error, standing));
        }
        if is_writable && let Err(failure) = self.flush(index, role) {
            return self.fail(index, &failure);
        }
        if is_readable && !self.clients[index as usize].is_paused {
            self.read(index, role, is_ended);
        }
    }

    pub(super) fn read(&mut self, index: u32, role: Role, is_ended: bool) {
        self.scratch.forget_stamp();
        loop {
            let client = &mut self.clients[index as usize];
            let Some(link) = client.links[role as usize].as_mut() else { return };
            let count = match link.read(&mut self.scratch, is_ended) {
                Ok(ReadResult::Bytes(count, may_be_more)) => (count, may_be_more),
                Ok(ReadResult::Empty) => {
                    // The handshake of TLS answers what it has read.
                    if link.is_tls() {
                        self.dirty.push(index);
                    }
                    return;
                }
                Ok(ReadResult::End) => return self.handle_end(index, role),
                Err(failure) => return self.fail(index, &failure),
            };
            let (count, may_be_more) = count;
            if !self.handle_bytes(index, role, count) {
                return;
            }
            let client = &mut self.clients[index as usize];
            let may_pause = client.status == Status::Ready && !self.is_draining;
            if client.is_slow && may_pause && !may_be_more {
                client.is_paused = true;
                let due_ns = self.now() + self.plan.slow_pause_ms * 1_000_000;
                self.timers.push(Reverse((due_ns, index, self.clients[index as usize].generation, Timer::ReadAgain)));
                return;
            }
            if !may_be_more {
                return;
            }
        }
    }

    /// Hands received bytes to the session. Returns whether the client is still there.
    pub(super) fn handle_bytes(&mut self, index: u32, role: Role, count: usize) -> bool {
        let now = self.scratch.arrived_ns().saturating_sub(self.epoch_ns);
        let global = self.share.global(index);
        let client = &mut self.clients[index as usize];
        let Some(mut session) = client.session.take() else { return false };
        client.heard_ns = now;
        let (mut joined, mut heartbeats) = (false, 0);
        let (ledger, plan) = (&mut self.ledger, self.plan);
        let result =
            session.handle(role, &self.scratch.bytes[..count], &self.config, &mut self.deflater, &mut |incoming| {
                match incoming {
                    Incoming::Joined => joined = true,
                    Incoming::Heartbeat => heartbeats += 1,
                    Incoming::Packet { text, attachments } => {
                        let before = ledger.faults.total();
                        ledger.receive(plan, client, global, now, text, attachments);
                        let wrong = ledger.faults.total() - before;
                        if wrong > 0 {
                            ledger.phase_at(now).faults += wrong;
                        }
                    }
                }
            });
        client.session = Some(session);
        self.ledger.second.counts.bytes_in += count as u64;
        if heartbeats > 0 {
            self.ledger.second.counts.heartbeats += heartbeats;
            self.ledger.phase_at(now).counts.heartbeats += heartbeats;
        }
        if let Err(failure) = result {
            self.fail(index, &failure);
            return false;
        }
        if joined {
            self.joined(index);
        }
        if std::mem::take(&mut self.ledger.set_up) && self.clients[index as usize].status == Status::SettingUp {
            self.ready(index);
        }
        self.dirty.push(index);
        true
    }

    pub(super) fn handle_end(&mut self, index: u32, role: Role) {
        let client = &mut self.clients[index as usize];
        client.links[role as usize] = None;
        if client.status == Status::Leaving {
            return self.gone(index);
        }
        let result = client.session.as_mut().map_or(Ok(()), |session| session.handle_end(role));
        match result {
            Ok(()) => self.tend_links(index),
            Err(failure) => self.fail(index, &failure),
        }
    }

    pub(super) fn joined(&mut self, index: u32) {
        let (is_late, patience_ns) = (self.is_sending, self.patience_ns());
        let global = self.share.global(index);
        let client = &mut self.clients[index as usize];
        client.listen_anew(is_late, patience_ns);
        if self.setup.is_empty() {
            return self.ready(index);
        }
        client.status = Status::SettingUp;
        let Some(mut session) = client.session.take() else { return };
        let values = Values { client: global, group: global / self.plan.group_size, ..Values::default() };
        for (setup, plan) in self.setup.iter().zip(&self.plan.setup) {
            let id = plan.ack.then_some(SETUP_ACK_ID);
            self.packet.clear();
            push_event(&mut self.packet, PacketKind::Event, &self.plan.namespace, id, setup, &values);
            session.send(&self.packet, None, &self.config, &mut self.deflater);
        }
        session.send(format!("0{SETUP_NAMESPACE}-{global},").as_bytes(), None, &self.config, &mut self.deflater);
        self.clients[index as usize].session = Some(session);
        self.dirty.push(index);
    }

    pub(super) fn ready(&mut self, index: u32) {
        let now = self.now();
        let client = &mut self.clients[index as usize];
        client.status = Status::Ready;
        client.ready_ns = now;
        client.attempts = 0;
        let (connect_ns, lost_ns) = (now.saturating_sub(client.due_ns), client.lost_ns.take());
        let generation = client.generation;
        self.ready += 1;
        self.count(|counts| counts.connected += 1);
        match lost_ns {
            None => {
                stats::record_ns(&mut self.ledger.second.connect, connect_ns);
                stats::record_ns(&mut self.ledger.phase_at(now).connect, connect_ns);
            }
            Some(lost_ns) => {
                self.count(|counts| counts.reconnected += 1);
                stats::record_ns(&mut self.ledger.phase_at(now).reconnect, now.saturating_sub(lost_ns));
            }
        }
        if let Some(lifetime_ms) = self.plan.lifetime_ms {
            self.timers.push(Reverse((now + lifetime_ms * 1_000_000, index, generation, Timer::LifetimeOver)));
        }
        if self.stopping_since.is_some() || index >= self.target {
            self.leave(index);
        }
    }

    pub(super) fn leave(&mut self, index: u32) {
        let now = self.now();
        let client = &mut self.clients[index as usize];
        match client.status {
            Status::Ready => {
                self.abandon(index);
                self.ready -= 1;
                let client = &mut self.clients[index as usize];
                client.status = Status::Leaving;
                client.is_paused = false;
                if let Some(session) = &mut client.session {
                    session.leave(&self.config);
                }
                self.timers.push(Reverse((now + LEAVE_NS, index, client.generation, Timer::CloseHard)));
                self.dirty.push(index);
            }
            Status::Leaving => {}
            _ => {
                client.links = [None, None, None];
                client.session = None;
                client.generation += 1;
                client.rest();
            }
        }
    }

    /// A client that left is gone; in churn the next one takes its place.
    pub(super) fn gone(&mut self, index: u32) {
        let client = &mut self.clients[index as usize];
        client.links = [None, None, None];
        client.session = None;
        client.generation += 1;
        client.rest();
        if self.is_churning() && index < self.target {
            self.queue.push_back(index);
        }
    }

    /// What was sent and not answered will not be. What has been passed over for long is lost, and counted as that.
    fn abandon(&mut self, index: u32) {
        let (now, patience_ns) = (self.now(), self.patience_ns());
        let client = &mut self.clients[index as usize];
        if client.status == Status::Ready {
            client.ended_ns = now;
        }
        let certain_until_ns = client.certain_until_ns(patience_ns);
        let lost: u32 = client.own.iter().map(|stream| stream.passed_over(certain_until_ns)).sum();
        let count = u64::from(std::mem::take(&mut client.unanswered).saturating_sub(lost));
        if count > 0 {
            self.count(|counts| counts.abandoned += count);
        }
    }

    /// The connection is gone without a goodbye.
    pub(super) fn lose(&mut self, index: u32) {
        self.abandon(index);
        self.doubt(index);
        let now = self.now();
        let client = &mut self.clients[index as usize];
        if client.status == Status::Ready {
            self.ready -= 1;
            client.lost_ns = Some(now);
        }
        client.links = [None, None, None];
        client.session = None;
        client.is_paused = false;
        client.generation += 1;
        client.status = Status::Failed;
    }

    pub(super) fn fail(&mut self, index: u32, failure: &Failure) {
        if self.clients[index as usize].status == Status::Leaving {
            self.doubt(index);
            return self.gone(index);
        }
        self.failures.record(failure);
        self.second_failures.record(failure);
        self.count(|counts| counts.failed += 1);
        self.lose(index);
        if failure.class == Class::Exhausted || self.stopping_since.is_some() {
            return;
        }
        match self.plan.reconnection {
            Some(reconnection) => self.wait_to_reconnect(index, reconnection),
            None if self.is_churning() => {
                self.clients[index as usize].rest();
                self.queue.push_back(index);
            }
            None => {}
        }
    }

    pub(super) fn wait_to_reconnect(&mut self, index: u32, reconnection: Reconnection) {
        let now = self.now();
        let client = &mut self.clients[index as usize];
        client.status = Status::Waiting;
        let pause_ns = (pause_ms(reconnection, client.attempts, fastrand::f64()) * 1e6) as u64;
        client.attempts += 1;
        self.timers.push(Reverse((now + pause_ns, index, client.generation, Timer::Reconnect)));
    }

    pub(super) fn run_timers(&mut self, now: u64) {
        while let Some(Reverse((due_ns, index, generation, timer))) = self.timers.peek().copied() {
            if due_ns > now {
                return;
            }
            self.timers.pop();
            if self.clients[index as usize].generation != generation {
                continue;
            }
            match timer {
                Timer::Reconnect => self.connect(index, due_ns),
                Timer::LifetimeOver => self.leave(index),
                Timer::ReadAgain => self.read_again(index),
                Timer::CloseHard => {
                    self.doubt(index);
                    self.gone(index);
                }
            }
        }
    }

    pub(super) fn read_again(&mut self, index: u32) {
        if std::mem::take(&mut self.clients[index as usize].is_paused) {
            for role in Role::ALL {
                self.read(index, role, false);
            }
        }
    }
}

/// How long a client pauses that has tried to come back so often already, as socket.io-client does: the pause doubles, chance
/// (0.0 to 1.0) varies it, and the longest pause bounds what that gives. Milliseconds.
fn pause_ms(reconnection: Reconnection, attempts: u32, chance: f64) -> f64 {
    let Reconnection { delay_ms, delay_max_ms, jitter } = reconnection;
    let doubled = delay_ms as f64 * f64::from(attempts.min(64)).exp2();
    (doubled * (1.0 + jitter * (2.0 * chance - 1.0))).min(delay_max_ms as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANCES: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 0.999];

    fn pauses(reconnection: Reconnection, chance: f64) -> Vec<f64> {
        [0, 1, 2, 3, 4, 63, u32::MAX].map(|attempts| pause_ms(reconnection, attempts, chance)).to_vec()
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let steady = Reconnection { jitter: 0.0, ..Reconnection::default() };
        for chance in CHANCES {
            assert_eq!(pauses(steady, chance), [1e3, 2e3, 4e3, 5e3, 5e3, 5e3, 5e3]);
        }
    }

    /// Half as long to half as long again, and never longer than the longest.
    #[test]
    fn pauses_are_varied_within_their_bounds() {
        let varied = Reconnection::default();
        assert_eq!(pauses(varied, 0.0), [500.0, 1e3, 2e3, 4e3, 5e3, 5e3, 5e3]);
        assert_eq!(pauses(varied, 0.5), [1e3, 2e3, 4e3, 5e3, 5e3, 5e3, 5e3]);
        assert_eq!(pauses(varied, 1.0), [1.5e3, 3e3, 5e3, 5e3, 5e3, 5e3, 5e3]);
        let wide = Reconnection { jitter: 1.0, ..varied };
        assert_eq!((pause_ms(wide, 0, 0.0), pause_ms(wide, 0, 1.0)), (0.0, 2e3));
    }
}
