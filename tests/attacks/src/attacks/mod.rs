//! The attacks, by what they aim at.
//!
//! | file | aims at |
//! |---|---|
//! | [`handshake`] | ids, origins, queries, header fields, extensions, files |
//! | [`http`] | bodies, lengths, smuggling, pipelining, overlap, cut connections |
//! | [`frames`] | WebSocket: lengths, fragments, control frames, UTF-8, deflate |
//! | [`packets`] | Engine.IO and Socket.IO: names, ids, attachments, JSON, namespaces; and generated nonsense |
//! | [`transports`] | what holds on one transport and must hold on all: refusals, the longest message, revision 3, sessions of other cores |
//! | [`states`] | clients that stop half way, in every state, and those that are slow on purpose |
//! | [`load`] | senders that never stop, receivers that never read, crowds |
//! | [`slowloris`] | the same slowness by the tool that everybody has, slowhttptest |

pub mod frames;
pub mod handshake;
pub mod http;
pub mod load;
pub mod packets;
pub mod slowloris;
pub mod states;
pub mod transports;

use crate::scene::Scene;
use crate::server::Setting;
use std::io;

/// How an attack goes.
pub type Story = fn(&mut Scene<'_>) -> io::Result<()>;

/// One attack.
#[derive(Clone, Copy, Debug)]
pub struct Attack {
    /// What it does.
    pub name: &'static str,
    /// The class of bug it looks for: CVE, advisory, or where it was told of.
    pub class: &'static str,
    /// The server it needs.
    pub setting: Setting,
    /// Whether it mostly waits for deadlines.
    pub is_slow: bool,
    /// Whether every test run plays it.
    pub is_quick: bool,
    /// What happens.
    pub story: Story,
}

impl Attack {
    const fn new(name: &'static str, class: &'static str, story: Story) -> Self {
        Self { name, class, setting: Setting::Impatient, is_slow: false, is_quick: true, story }
    }

    const fn on(self, setting: Setting) -> Self {
        Self { setting, ..self }
    }

    const fn slow(self) -> Self {
        Self { is_slow: true, ..self }
    }

    const fn on_the_whole_board(self) -> Self {
        Self { is_quick: false, ..self }
    }
}

/// All attacks.
pub const BOARD: &[&[Attack]] = &[
    handshake::ATTACKS,
    http::ATTACKS,
    frames::ATTACKS,
    packets::ATTACKS,
    transports::ATTACKS,
    states::ATTACKS,
    load::ATTACKS,
    slowloris::ATTACKS,
];
