//! `deliver` with a real broker, a real database and subscribers that misbehave.

mod alerts;
mod amendments;
mod courier;
mod dispatch;
mod egress;
mod endings;
mod held;
mod hostile;
mod http2;
mod life;
mod names;
mod own_events;
mod queries;
mod reconciler;
mod replays;
mod rig;
mod sender;
mod shutdown;
mod table;
