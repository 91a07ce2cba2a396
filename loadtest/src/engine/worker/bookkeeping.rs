//! What a worker looks after between events: full outboxes, silence, the end of seconds, of growing and of draining.

use super::super::Report;
use super::super::client::{Client, Status};
use super::super::stats::{Second, Stats};
use super::{CHECK_INTERVAL_NS, HEARTBEAT_GRACE_NS, LEAVE_NS, QUIET_NS, Worker};
use crate::clock::{SECOND_NS, thread_cpu_ns};
use crate::failure::{Class, Failure};
use crate::protocol::Role;

impl Worker<'_> {
    pub(super) fn flush_dirty(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for index in dirty.drain(..) {
            self.tend_links(index);
            for role in Role::ALL {
                if let Err(failure) = self.flush(index, role) {
                    self.fail(index, &failure);
                    break;
                }
            }
        }
        // Failures may have marked others.
        if self.dirty.is_empty() {
            self.dirty = dirty;
        }
    }

    pub(super) fn flush(&mut self, index: u32, role: Role) -> Result<(), Failure> {
        let client = &mut self.clients[index as usize];
        let (Some(link), Some(session)) = (client.links[role as usize].as_mut(), client.session.as_mut()) else {
            return Ok(());
        };
        let outbox = session.outbox(role);
        if outbox.is_empty() && !link.is_tls() {
            return Ok(());
        }
        let before = outbox.len();
        link.flush(outbox)?;
        self.ledger.second.counts.bytes_out += (before - outbox.len()) as u64;
        Ok(())
    }

    /// The checks that need a look at every client.
    pub(super) fn check(&mut self, now: u64) -> Option<Report> {
        if now < self.checked_ns + CHECK_INTERVAL_NS {
            return None;
        }
        let is_new_second = now / SECOND_NS != self.checked_ns / SECOND_NS;
        self.checked_ns = now;
        if is_new_second {
            self.check_silence(now);
        }
        if self.is_growing {
            let is_busy = |client: &Client| {
                matches!(client.status, Status::Connecting | Status::SettingUp | Status::Waiting | Status::Idle)
            };
            let target = self.target as usize;
            if self.is_churning() || !self.clients[..target].iter().any(is_busy) {
                self.is_growing = false;
                return Some(Report::Grown { ready: self.ready });
            }
        }
        let (since, sent) = self.awaited.as_ref()?;
        let quiet_ns = now.saturating_sub(self.ledger.read_ns.max(*since));
        let is_answered = self.clients.iter().all(|client| client.unanswered == 0);
        // The look at every stream waits until it is quiet.
        let is_settled =
            is_answered && (!self.plan.has_group_actions() || quiet_ns > QUIET_NS && self.has_arrived(sent));
        if !is_settled && quiet_ns < self.patience_ns() {
            return None;
        }
        self.awaited = None;
        Some(Report::Drained(self.sent()))
    }

    pub(super) fn check_silence(&mut self, now: u64) {
        let timeout_ns = self.plan.connect_timeout_ms * 1_000_000;
        for index in 0..self.clients.len() as u32 {
            let client = &self.clients[index as usize];
            let silence_ns = now.saturating_sub(client.heard_ns);
            let promised_ms = client.session.as_ref().map_or(0, |session| u64::from(session.silence_max_ms));
            match client.status {
                Status::Connecting | Status::SettingUp if now.saturating_sub(client.attempt_ns) > timeout_ns => {
                    let text = format!("not ready after {} ms", self.plan.connect_timeout_ms);
                    self.fail(index, &Failure::new(Class::ConnectTimeout, text));
                }
                Status::Ready
                    if !client.is_slow
                        && promised_ms > 0
                        && silence_ns > promised_ms * 1_000_000 + HEARTBEAT_GRACE_NS =>
                {
                    let text = format!("silent for {} ms, {promised_ms} ms were promised", silence_ns / 1_000_000);
                    self.fail(index, &Failure::new(Class::Heartbeat, text));
                }
                _ => {}
            }
        }
    }

    pub(super) fn take_second(&mut self, is_last: bool) -> Option<Box<Second>> {
        let index = self.now() / SECOND_NS;
        if index == self.second_index && !is_last {
            return None;
        }
        let ended = self.second_index;
        self.second_index += u64::from(!is_last);
        let stats = std::mem::replace(&mut self.ledger.second, Stats::new(self.plan.actions.len()));
        let cpu_ns = thread_cpu_ns();
        let before = std::mem::replace(&mut self.second_cpu_ns, cpu_ns);
        let (faults, earlier) = (self.ledger.faults, std::mem::replace(&mut self.reported_faults, self.ledger.faults));
        Some(Box::new(Second {
            index: ended,
            latency: stats.latency_of_all(),
            counts: stats.counts,
            ready: self.ready,
            faults: faults.since(&earlier),
            cpu_ns: cpu_ns - before,
            failures: std::mem::take(&mut self.second_failures),
        }))
    }

    pub(super) fn is_gone(&self, since: u64) -> bool {
        self.now() > since + LEAVE_NS + SECOND_NS
            || self.clients.iter().all(|client| matches!(client.status, Status::Idle | Status::Failed))
    }
}
