//! The simulator (design §7): the real service and the real workers of several replicas on simulated time, one
//! database in memory, and everything around them that can fail, failing by the throw of seeded dice. The same
//! seed gives the same run, byte for byte. docs/reliability.md says how to use it.

mod capacity;
mod clients;
mod clock;
mod config;
mod database;
mod dice;
mod driver;
mod engine;
mod exchange;
mod life;
mod network;
mod plan;
mod play;
mod record;
mod referee;
mod replica;
mod scene;
mod streams;
mod tests;
mod trouble;
mod twins;
mod verdict;
mod weather;
mod world;
