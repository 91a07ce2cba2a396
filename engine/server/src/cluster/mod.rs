//! Several servers as one: what an adapter is, and the one for servers in the same process.
//!
//! ```text
//!   shard --Outgoing--> Link::publish   ~~~ broker or memory ~~~   Inbox::deliver --Incoming--> first shard
//!             (never waits)               the link's own thread          (bounded)
//! ```
//! An [`Adapter`] connects a server to the others when it starts and gives a [`Link`], which says what this server
//! publishes and hands in what others have published. What the operations mean is decided by the engine, the same for every
//! adapter: the local part always happens at once, and also if the link fails; nobody hears his own; questions
//! end with their time. [`LocalCluster`] is the adapter for servers in one process, and the model for others.
//!
//! Connection state recovery stays with each server: what comes from others is logged by every server under its own
//! offsets, so a client that comes back to the same server misses nothing, and at another server it is a new one.

mod adapter;
mod delivery;
mod gateway;
mod inbox;
mod local;
mod room_listeners;
mod server_side;
mod server_side_handler;
mod server_side_listeners;

pub(crate) use delivery::Opened;
pub(crate) use gateway::Gateway;
pub(crate) use room_listeners::RoomListeners;
pub(crate) use server_side::write_timeout;
pub(crate) use server_side_handler::{ErasedServerSideHandler, SharedServerSideHandler};
pub(crate) use server_side_listeners::ServerSideListeners;

pub use adapter::{Adapter, Incoming, Link, MembersReply, Outgoing, PublishError};
pub use gateway::ClusterCounters;
pub use inbox::{Inbox, InboxError};
pub use local::LocalCluster;
pub use ringio_core::cluster::nodes::HeartbeatOptions;
pub use ringio_core::cluster::roll::Members;
pub use ringio_core::cluster::{ClusterMessage, ClusterPacket, NodeId, RequestId};
pub use ringio_core::door::{EmitFlags, HandshakeRequest, SocketDescription};
pub use ringio_core::room::select::Target;
pub use server_side::{ServerCount, ServerSideError, ServerSideReplies};
pub use server_side_handler::{FromServerSideEvent, ServerSideAck, ServerSideContext, ServerSideHandler};
